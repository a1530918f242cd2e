"""Dropout in its forms: by entry, the same through time, of whole branches; and at test time, to see the spread."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..errors import ArgumentError, AxisError, DTypeError
from ..tape import paused, user_line
from ..tensor import Tensor, asarray
from .init import as_generator
from .linear import check_size
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

    drops = True  # `monte_carlo` switches on what says so

    def __init__(self, p: float = 0.5, *, rng: Seed = None) -> None:
        self.p = check_probability(f"{type(self).__name__} p is the probability of dropping an entry,", p)
        self.rng = as_generator(rng)

    def forward(self, x: Any) -> Any:
        """x (...) → (...)."""
        if not self.training or self.p == 0:
            return x
        dtype = getattr(x, "dtype", None)
        if not str(dtype).startswith("float"):
            raise DTypeError(
                f"{type(self).__name__} expected a floating Tensor; got {dtype or type(x).__name__}. "
                f"Cast it: tg.asarray(x).astype(tg.float32)        at {user_line()}"
            )
        x = x if isinstance(x, Tensor) else asarray(x)
        kept = self.rng.random(self.mask_shape(x.shape)) >= self.p
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        return x * asarray((kept * scale).astype(dtype), backend=x.backend)

    def mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the mask, 1 where entries share their fate."""
        return shape

    def extra_repr(self) -> str:
        return f"p={self.p}"


class VariationalDropout(Dropout):
    """Dropout with one mask for all time steps: a unit that is dropped is dropped throughout. [Gal & Ghahramani 2016]

    p, rng: as in `Dropout`.  axis: the axis of time, 0 for (T, B, I), 1 for (B, T, I). For the state of a
    recurrence there is `rnn.VariationalDropoutCell`.

    Call: x floating → the same shape; after ``eval()`` x itself. Each call draws a mask.
    Raises ArgumentError for p outside [0, 1], AxisError for an x without that axis, DTypeError for integers.

    >>> import tinygrad_rnn as tg
    >>> dropout = tg.nn.VariationalDropout(0.5, rng=0)
    >>> dropout(tg.ones((2, 1, 6))).tolist()
    [[[2.0, 0.0, 0.0, 0.0, 2.0, 2.0]], [[2.0, 0.0, 0.0, 0.0, 2.0, 2.0]]]
    """

    def __init__(self, p: float = 0.5, *, axis: int = 0, rng: Seed = None) -> None:
        super().__init__(p, rng=rng)
        self.axis = axis

    def mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """1 along the axis of time."""
        if not -len(shape) <= self.axis < len(shape):
            raise AxisError(
                f"VariationalDropout shares its mask along axis {self.axis}, which shape {shape} does not have"
                f"        at {user_line()}"
            )
        at = self.axis % len(shape)
        return (*shape[:at], 1, *shape[at + 1 :])

    def extra_repr(self) -> str:
        return f"p={self.p}, axis={self.axis}"


class StochasticDepth(Dropout):
    """Dropout of whole examples: the branch of a residual block, gone with probability p. [Huang et al. 2016]

    While training, an example's branch is set to zero with probability p, and scaled by 1/(1-p) otherwise, so that
    evaluation needs no scale. `Residual` and the ready blocks take it as ``drop=``.

    p, rng: as in `Dropout`.  Call: x (B, ...), floating → the same shape; after ``eval()`` x itself.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.StochasticDepth(0.5, rng=0)(tg.ones((4, 2))).tolist()
    [[2.0, 2.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """

    drops = False  # a network with fewer layers, not the sample of a posterior

    def mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """1 along all axes but the first."""
        return (*shape[:1], *[1] * (len(shape) - 1))


class Spread(NamedTuple):
    """What `monte_carlo` returns."""

    mean: Tensor
    std: Tensor  # over the samples, divided by their number less one
    samples: Tensor  # (samples, *shape of one result)


def monte_carlo(model: Module, *inputs: Any, samples: int = 20, function: Any = None) -> Spread:
    """Predict with dropout left on, many times: mean, and spread as a measure of doubt. [Gal & Ghahramani 2016]

    model: a Module with Dropout in it. Every other layer is in evaluation mode; afterwards all modes are as before.
    inputs: what the model is called with.  samples: how often, at least 2.
    function: applied to each result before averaging, such as ``tg.softmax``; None takes results as they are.

    Nothing is recorded on a tape. Raises ArgumentError if there is nothing to drop in the model, or below 2 samples.

    >>> import tinygrad_rnn as tg
    >>> model = tg.nn.Sequential(tg.nn.Dropout(0.5, rng=0), tg.nn.Linear(8, 1, rng=1))
    >>> found = tg.nn.monte_carlo(model, tg.ones((3, 8)), samples=50)
    >>> found.mean.shape, bool((found.std.numpy() > 0).all())
    ((3, 1), True)
    """
    check_size("samples", samples)
    if samples < 2:
        raise ArgumentError(f"a spread needs at least 2 samples; got samples={samples}")
    modules = list(model.modules())
    dropping = [module for module in modules if getattr(module, "drops", False)]
    if not any(getattr(module, "p", 1) for module in dropping):
        raise ArgumentError(
            f"{type(model).__name__} holds no Dropout with p above 0, so that all samples would be equal. "
            f"Put an nn.Dropout between its layers, or call it in evaluation mode."
        )
    before = [module.training for module in modules]
    try:
        model.eval()
        for module in dropping:
            module.training = True
        with paused():
            results = [model(*inputs) for _ in range(samples)]
            drawn = ops.stack([result if function is None else function(result) for result in results])
            return Spread(ops.mean(drawn, axis=0), ops.std(drawn, axis=0, correction=1), drawn)
    finally:
        for module, mode in zip(modules, before):
            module.training = mode


def check_probability(what: str, p: Any) -> float:
    """Return p as a float. Raises ArgumentError unless it is a number from 0 to 1."""
    if isinstance(p, (bool, np.bool_)) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise ArgumentError(f"{what} from 0 to 1; got {p!r}")
    return float(p)
