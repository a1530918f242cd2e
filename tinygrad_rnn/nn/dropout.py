"""Dropout: noise for training, nothing for evaluation."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, DTypeError
from ..tape import user_line
from ..tensor import Tensor, asarray
from .init import as_generator
from .module import Module, Seed


class Dropout(Module):
    """While training, set entries to zero with probability p and scale the others by 1/(1-p). [Srivastava et al. 2014]

    p: from 0 to 1.
    rng: a generator or an integer seed. It is the attribute ``rng``; its state is what a run that is to
        continue bit for bit must save (see `Module.named_generators`).

    Call: x of any shape, floating → the same shape. After ``eval()`` x itself.
    Raises ArgumentError for p outside [0, 1], DTypeError for integers.

    >>> import tinygrad_rnn as tg
    >>> dropout = tg.nn.Dropout(0.5, rng=0)
    >>> dropout(tg.ones((6,)))
    Tensor([2., 0., 0., 0., 2., 2.], dtype=float32)
    >>> dropout.eval()(tg.ones((2,)))
    Tensor([1., 1.], dtype=float32)
    """

    def __init__(self, p: float = 0.5, *, rng: Seed = None) -> None:
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise ArgumentError(f"Dropout p is the probability of dropping an entry, from 0 to 1; got {p!r}")
        self.p = float(p)
        self.rng = as_generator(rng)

    def forward(self, x: Any) -> Any:
        """x (...) → (...)."""
        if not self.training or self.p == 0:
            return x
        dtype = getattr(x, "dtype", None)
        if not str(dtype).startswith("float"):
            raise DTypeError(
                f"Dropout expected a floating Tensor; got {dtype or type(x).__name__}. "
                f"Cast it: tg.asarray(x).astype(tg.float32)        at {user_line()}"
            )
        x = x if isinstance(x, Tensor) else asarray(x)
        kept = self.rng.random(x.shape) >= self.p
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        return x * asarray((kept * scale).astype(dtype), backend=x.backend)

    def extra_repr(self) -> str:
        return f"p={self.p}"
