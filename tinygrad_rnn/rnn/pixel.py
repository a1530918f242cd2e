"""Recurrences over images in which a pixel sees only pixels before it, in the order of reading.

With such layers a network gives p(x_i | x_1 … x_{i-1}) for all pixels of an image in one pass, and so the probability
of the image. [van den Oord, Kalchbrenner & Kavukcuoglu 2016, "Pixel recurrent neural networks", arXiv:1601.06759]

Masks follow the paper for images with one value a pixel: "A", for the layer that reads the image, hides a pixel from
its own place; "B", for all layers after it, does not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..nn import init
from ..nn.convolution import Convolution, check_channels
from ..nn.linear import check_size
from ..nn.module import Module
from ..random import Seed
from ..tensor import Parameter, Tensor, asarray
from .scan import scan

__all__ = ["DiagonalBiLSTM", "DiagonalLSTM", "MaskedConv2d", "RowLSTM"]


class MaskedConv2d(Convolution):
    """A convolution that sees only what was read before: the rows above, and the part of its row to the left.

    in_channels, out_channels: C and O.  kernel_size: one odd number, or two.  mask: "A" without the pixel itself,
    "B" with it.  bias, rng, dtype, backend: as in `nn.Conv2d`.

    Parameters: ``weight`` (O, C, K, L), whose entries under the mask are ignored and have no gradient, ``bias`` (O,).
    Call: x (B, C, H, W) → (B, O, H, W).

    Raises ArgumentError for another mask, for even sizes, and for a mask that lets nothing through.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.rnn.MaskedConv2d(1, 1, 3, mask="A", rng=0)
    >>> layer.weight.assign(tg.ones((1, 1, 3, 3)).numpy()); layer.bias.assign(tg.zeros(1).numpy())
    >>> layer(tg.ones((1, 1, 2, 3)))[0, 0].tolist()  # how many neighbours each pixel sees
    [[0.0, 1.0, 1.0], [2.0, 4.0, 3.0]]
    """

    axes = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        mask: str = "B",
        bias: bool = True,
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, padding="same", bias=bias, rng=rng, dtype=dtype, backend=backend
        )
        if mask not in ("A", "B"):
            raise ArgumentError(f'mask is "A", without the pixel itself, or "B", with it; got {mask!r}')
        height, width = self.kernel_size
        if not height % 2 or not width % 2:
            raise ArgumentError(
                f"kernel_size of a masked convolution is odd, so that it has a middle; got {kernel_size}"
            )
        if mask == "A" and (height, width) == (1, 1):
            raise ArgumentError('mask "A" lets nothing through a kernel of one pixel; use a kernel_size of 3 or more')
        self.mask = mask
        seen = np.arange(height * width) < height * width // 2 + (mask == "B")
        self._seen = seen.reshape(height, width)

    def forward(self, x: Any) -> Tensor:
        """x (B, C, H, W) → (B, O, H, W)."""
        check_channels(type(self).__name__, x, self.in_channels, self.axes)
        seen = asarray(self._seen, dtype=self.weight.dtype, backend=self.weight.backend)
        return ops.conv2d(x, self.weight * seen, self.bias, padding="same")

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, mask={self.mask!r}"


class _PixelLSTM(Module):
    """What both share: gates from the masked convolution of all pixels at once, and an LSTM along one axis of them."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int,
        mask: str,
        taps: int,
        rng: Seed,
        dtype: Any,
        backend: Any,
    ) -> None:
        check_size("hidden_channels", hidden_channels)
        rng = init.as_generator(rng)
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        self.input_to_state = MaskedConv2d(
            in_channels, 4 * hidden_channels, (1, kernel_size), mask, rng=rng, dtype=dtype, backend=backend
        )
        bias = self.input_to_state.bias
        if bias is not None:
            bias.assign(init.forget_gate_bias(bias.numpy()))
        bound = 1 / math.sqrt(taps * hidden_channels)
        weight = init.uniform((4 * hidden_channels, hidden_channels, taps), rng, low=-bound, high=bound, dtype=dtype)
        self.weight_hh = Parameter(weight, backend=backend)

    def _scan(self, gates: Any, padding: int) -> Tensor:
        """Run over the first axis: gates (T, B, 4H, N) of the input → h (T, B, H, N).

        To the input's gates a convolution of h along N is added: i, f, o = σ(·), g = tanh(·); c' = f c + i g;
        h' = o tanh(c').
        """
        length = gates.shape[3]

        def step(x: Any, state: Any) -> tuple[Any, Any]:
            h, c = state
            from_state = ops.conv1d(h, self.weight_hh, padding=padding)[..., :length]
            i, f, g, o = ops.split(x + from_state, 4, axis=1)
            c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
            return ops.sigmoid(o) * ops.tanh(c), c

        zeros = ops.zeros((gates.shape[1], self.hidden_channels, length), dtype=gates.dtype, backend=gates.backend)
        return scan(step, gates, (zeros, zeros))[0]

    def extra_repr(self) -> str:
        conv = self.input_to_state
        return f"{self.in_channels}, {self.hidden_channels}, kernel_size={conv.kernel_size[1]}, mask={conv.mask!r}"


class RowLSTM(_PixelLSTM):
    """An LSTM down the rows of an image, all pixels of a row in one step. [van den Oord et al. 2016, sec. 3.1, eq. 3]

    With ⊛ a convolution along the row, K_is under the mask and K_ss not:

        i, f, g, o = σ, σ, tanh, σ of  K_ss ⊛ h_{i-1} + K_is ⊛ x_i + b
        c_i = f c_{i-1} + i g;    h_i = o tanh(c_i)

    A pixel sees a triangle above it, which widens by half a kernel a row.

    in_channels, hidden_channels: C and H.  kernel_size: K, odd, of both filters.  mask: of K_is, "A" or "B".
    rng: a generator or a seed.  dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters: ``input_to_state.weight`` (4H, C, 1, K) and ``.bias`` (4H,), in which the forget gate's part begins at
    1, and ``weight_hh`` (4H, H, K), in the order i, f, g, o.
    Call: x (B, C, rows, columns) → (B, H, rows, columns).

    Raises ArgumentError as `MaskedConv2d`.

    >>> import tinygrad_rnn as tg
    >>> tg.rnn.RowLSTM(1, 4, mask="A", rng=0)(tg.ones((2, 1, 8, 6))).shape
    (2, 4, 8, 6)
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int = 3,
        mask: str = "B",
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        super().__init__(in_channels, hidden_channels, kernel_size, mask, kernel_size, rng, dtype, backend)

    def forward(self, x: Any) -> Tensor:
        """x (B, C, rows, columns) → (B, H, rows, columns)."""
        gates = self.input_to_state(x)
        hs = self._scan(ops.permute_dims(gates, (2, 0, 1, 3)), self.weight_hh.shape[2] // 2)
        return ops.permute_dims(hs, (1, 2, 0, 3))


class DiagonalLSTM(_PixelLSTM):
    """An LSTM along the diagonals of an image, from its upper left. [van den Oord et al. 2016, sec. 3.2]

    The state of a pixel comes from those of its left and of its upper neighbour: once row i is moved i places to the
    right, both lie in the column before, and a column is one step. With ⊛ a convolution along the column:

        i, f, g, o = σ, σ, tanh, σ of  K_ss ⊛ h_{d-1} + K_is x_d + b
        c_d = f c_{d-1} + i g;    h_d = o tanh(c_d)

    So a pixel sees all pixels above that are not to its right; beyond the image, states are zero.

    in_channels, hidden_channels: C and H.  kernel_size: of K_is along the row, odd; the paper's is 1, and mask "A"
    needs 3 or more.  mask, rng, dtype, backend: as in `RowLSTM`.

    Parameters and call as in `RowLSTM`, with ``weight_hh`` (4H, H, 2): first the upper, then the left neighbour.

    Raises ArgumentError as `MaskedConv2d`.

    >>> import tinygrad_rnn as tg
    >>> tg.rnn.DiagonalLSTM(1, 4, rng=0)(tg.ones((2, 1, 8, 6))).shape
    (2, 4, 8, 6)
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int = 1,
        mask: str = "B",
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        super().__init__(in_channels, hidden_channels, kernel_size, mask, 2, rng, dtype, backend)

    def forward(self, x: Any) -> Tensor:
        """x (B, C, rows, columns) → (B, H, rows, columns)."""
        gates = _skewed(self.input_to_state(x))
        hs = self._scan(ops.permute_dims(gates, (3, 0, 1, 2)), 1)
        return _straight(ops.permute_dims(hs, (1, 2, 3, 0)))


class DiagonalBiLSTM(Module):
    """Two diagonal LSTMs, from the upper left and from the upper right, so that a pixel sees all pixels before it.

    The second runs over the mirrored image, and its result is moved down by one row before it is added: it sees what
    is to the right, which in a pixel's own row is not known yet. [van den Oord et al. 2016, sec. 3.2]

    Arguments and call as in `DiagonalLSTM`. Its parts are ``left`` and ``right``.

    >>> import tinygrad_rnn as tg
    >>> tg.rnn.DiagonalBiLSTM(1, 4, rng=0)(tg.ones((2, 1, 8, 6))).shape
    (2, 4, 8, 6)
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int = 1,
        mask: str = "B",
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        rng = init.as_generator(rng)
        self.left, self.right = (
            DiagonalLSTM(in_channels, hidden_channels, kernel_size, mask, rng=rng, dtype=dtype, backend=backend)
            for _ in range(2)
        )

    def forward(self, x: Any) -> Tensor:
        """x (B, C, rows, columns) → (B, H, rows, columns)."""
        left = self.left(x)
        right = ops.flip(self.right(ops.flip(x, axis=3)), axis=3)
        return left + ops.concat([ops.zeros_like(right[:, :, :1]), right[:, :, :-1]], axis=2)


def _skewed(x: Any) -> Tensor:
    """Move row i by i places to the right: (B, C, H, W) → (B, C, H, H + W - 1), with zeros beside the image.

    With H zeros behind every row the entries lie row after row; rows that are one shorter begin one place later each.
    """
    batch, channels, height, width = x.shape
    zeros = ops.zeros((batch, channels, height, height), dtype=x.dtype, backend=x.backend)
    flat = ops.reshape(ops.concat([x, zeros], axis=3), (batch, channels, -1))
    return ops.reshape(flat[:, :, :-height], (batch, channels, height, height + width - 1))


def _straight(x: Any) -> Tensor:
    """The inverse of `_skewed`: (B, C, H, H + W - 1) → (B, C, H, W)."""
    batch, channels, height, length = x.shape
    zeros = ops.zeros((batch, channels, height), dtype=x.dtype, backend=x.backend)
    flat = ops.concat([ops.reshape(x, (batch, channels, -1)), zeros], axis=2)
    return ops.reshape(flat, (batch, channels, height, length + 1))[:, :, :, : length + 1 - height]
