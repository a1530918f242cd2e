"""A layer that sweeps over an image in four directions."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..nn import init
from ..nn.convolution import check_channels
from ..nn.linear import check_size
from ..nn.module import Module
from ..random import Seed
from ..tape import user_line
from ..tensor import Tensor
from .layers import GRU, LSTM, RNN

__all__ = ["FourDirections"]

KINDS: dict[str, type[RNN | GRU | LSTM]] = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}


class FourDirections(Module):
    """Recurrences down and up every column, then right and left along every row of what they give.

    With x_ij a patch of the image, as a vector:

        v_ij = (f↓(v_{i-1,j}, x_ij), f↑(v_{i+1,j}, x_ij));    h_ij = (f→(h_{i,j-1}, v_ij), f←(h_{i,j+1}, v_ij))

    So every output depends on the whole image, which a convolution needs many layers for. [Visin et al. 2015, "ReNet",
    arXiv:1505.00393, eqs. 1 to 4; Visin et al. 2016, "ReSeg", arXiv:1511.07053, sec. 3.1]

    in_channels, hidden_size: C, and U of each direction.  kind: "GRU" (as in ReSeg), "LSTM" or "RNN".
    patch: P, the side of the patches into which the image is cut.
    rng: a generator or a seed.  dtype: float32 (the default) or float64.  backend: where the parameters live.

    Its parts are ``vertical`` and ``horizontal``, bidirectional layers.
    Call: x (B, C, height, width) → (B, 2U, height / P, width / P).

    Raises ArgumentError for another kind, ShapeError if P does not divide height and width.

    >>> import tinygrad_rnn as tg
    >>> tg.rnn.FourDirections(3, 5, patch=2, rng=0)(tg.ones((4, 3, 8, 6))).shape
    (4, 10, 4, 3)
    """

    def __init__(
        self,
        in_channels: int,
        hidden_size: int,
        kind: str = "GRU",
        patch: int = 1,
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        for name, size in (("in_channels", in_channels), ("patch", patch)):
            check_size(name, size)
        if kind not in KINDS:
            raise ArgumentError(f"kind is one of {', '.join(KINDS)}; got {kind!r}")
        self.in_channels, self.hidden_size, self.kind, self.patch = in_channels, hidden_size, kind, patch
        made: dict[str, Any] = {
            "bidirectional": True, "rng": init.as_generator(rng), "dtype": dtype, "backend": backend,
        }  # fmt: skip
        self.vertical = KINDS[kind](in_channels * patch * patch, hidden_size, **made)
        self.horizontal = KINDS[kind](2 * hidden_size, hidden_size, **made)

    def forward(self, x: Any) -> Tensor:
        """x (B, C, height, width) → (B, 2U, height / P, width / P)."""
        check_channels("FourDirections", x, self.in_channels, 2)
        batch, channels, height, width = x.shape
        p = self.patch
        if height % p or width % p:
            raise ShapeError(
                f"FourDirections cuts the image into patches of {p} by {p}; got {height} by {width}. Pad it, or choose "
                f"another patch.        at {user_line()}"
            )
        rows, columns, size = height // p, width // p, 2 * self.hidden_size
        cut = ops.reshape(x, (batch, channels, rows, p, columns, p))
        down = ops.reshape(ops.permute_dims(cut, (2, 0, 4, 1, 3, 5)), (rows, batch * columns, channels * p * p))
        swept = ops.reshape(self.vertical(down)[0], (rows, batch, columns, size))
        right = ops.reshape(ops.permute_dims(swept, (2, 1, 0, 3)), (columns, batch * rows, size))
        swept = ops.reshape(self.horizontal(right)[0], (columns, batch, rows, size))
        return ops.permute_dims(swept, (1, 3, 2, 0))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.hidden_size}, {self.kind!r}, patch={self.patch}"
