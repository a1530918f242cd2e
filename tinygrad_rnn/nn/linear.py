"""Linear: an affine map of the last axis."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tape import user_line
from ..tensor import Parameter, Tensor
from . import init
from .module import Module, Seed


class Linear(Module):
    """``y = x Wᵀ + b`` on the last axis of x.

    in_features, out_features: lengths of the last axis before and after; at least 1.
    bias: whether b is added.
    rng: a generator or an integer seed for the initial values, both uniform in ±1/√in_features as in torch.
    dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters: ``weight`` (out_features, in_features), ``bias`` (out_features,), torch's names and shapes.
    Call: x (..., in_features), floating → (..., out_features).
    Raises ShapeError for another last axis, DTypeError for integers.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.Linear(3, 2, rng=0)
    >>> layer(tg.ones((5, 3))).shape
    (5, 2)
    """

    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_size("in_features", in_features)
        check_size("out_features", out_features)
        self.in_features, self.out_features = in_features, out_features
        rng = init.as_generator(rng)
        bound = 1 / math.sqrt(in_features)
        weight = init.uniform((out_features, in_features), rng, low=-bound, high=bound, dtype=dtype)
        self.weight = Parameter(weight, backend=backend)
        self.bias = None
        if bias:
            offset = init.uniform((out_features,), rng, low=-bound, high=bound, dtype=dtype)
            self.bias = Parameter(offset, backend=backend)

    def forward(self, x: Any) -> Tensor:
        """x (..., in_features) → (..., out_features)."""
        check_features("Linear", x, self.in_features, self.weight)
        y = ops.matmul(x, ops.matrix_transpose(self.weight))
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


def check_size(name: str, value: Any) -> None:
    """Raise ArgumentError unless a constructor's size is an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{name} must be an integer of at least 1; got {value!r}")


def check_features(layer: str, x: Any, features: int, weight: Tensor) -> None:
    """Raise unless x is floating, and its last axis has the length that a layer was made for."""
    shape = getattr(x, "shape", None)
    if shape is None:
        raise DTypeError(
            f"{layer} got a {type(x).__name__}, not a Tensor. Wrap it: tg.tensor(...)        at {user_line()}"
        )
    if not shape or shape[-1] != features:
        fix = f"Make the layer with {shape[-1]} features, or change the input." if shape else "Add an axis."
        raise ShapeError(
            f"{layer} expected an input of shape (..., {features}); got {tuple(shape)}. {fix}        at {user_line()}"
        )
    if getattr(x.dtype, "kind", "") != "f":
        raise DTypeError(
            f"{layer} expected a floating input; got {x.dtype}. "
            f"Cast it: x.astype(tg.{weight.dtype}), or look integers up in an nn.Embedding.        at {user_line()}"
        )
