"""LayerNorm: zero mean and unit variance over the last axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tape import user_line
from ..tensor import Parameter, Tensor, default_dtype
from .linear import check_size
from .module import Module


class LayerNorm(Module):
    """Normalise over the last axes, then scale and shift: ``(x - mean) / √(var + eps) · weight + bias``.
    [Ba, Kiros & Hinton 2016]

    normalized_shape: lengths of the last axes, an integer for one.  eps: added to the variance.
    elementwise_affine: whether there are ``weight`` (ones at first) and ``bias`` (zeros), of that shape.
    bias: whether there is a ``bias``.  dtype: float32 (the default) or float64.  backend: where the parameters live.

    Call: x (..., *normalized_shape), floating → the same shape.
    Raises ShapeError for other last axes, DTypeError for integers.

    >>> import tinygrad_rnn as tg
    >>> norm = tg.nn.LayerNorm(2)
    >>> norm(tg.tensor([[1.0, 3.0], [10.0, 30.0]])).numpy().round(3).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape:
            raise ArgumentError("normalized_shape must name at least one axis; got ()")
        for length in shape:
            check_size("normalized_shape", length)
        if not eps > 0:
            raise ArgumentError(f"LayerNorm eps must be above 0; got {eps}")
        self.normalized_shape, self.eps = shape, float(eps)
        dtype = default_dtype() if dtype is None else dtype
        self.weight = Parameter(np.ones(shape), dtype=dtype, backend=backend) if elementwise_affine else None
        self.bias = Parameter(np.zeros(shape), dtype=dtype, backend=backend) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Tensor:
        """x (..., *normalized_shape) → the same shape."""
        wanted = self.normalized_shape
        if not hasattr(x, "shape") or not str(x.dtype).startswith("float"):
            got = getattr(x, "dtype", type(x).__name__)
            raise DTypeError(
                f"LayerNorm expected a floating Tensor; got {got}. Cast it: tg.asarray(x).astype(tg.float32)"
                f"        at {user_line()}"
            )
        if tuple(x.shape[-len(wanted) :]) != wanted:
            raise ShapeError(
                f"LayerNorm expected an input of shape (..., {', '.join(map(str, wanted))}); got {tuple(x.shape)}. "
                f"Make the layer with normalized_shape={tuple(x.shape[-len(wanted) :])}, or change the input."
                f"        at {user_line()}"
            )
        axes = tuple(range(-len(wanted), 0))
        return ops.layer_norm(x, self.weight, self.bias, axis=axes, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"
