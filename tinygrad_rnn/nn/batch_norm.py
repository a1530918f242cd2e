"""BatchNorm: zero mean and unit variance over the batch, and running statistics for evaluation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..tape import paused, user_line
from ..tensor import Parameter, Tensor, asarray, default_dtype
from .convolution import check_channels
from .linear import check_size
from .module import Module


class BatchNorm(Module):
    """Normalise each channel over the batch, then scale and shift: ``(x - mean) / √(var + eps) · weight + bias``.
    [Ioffe & Szegedy 2015, algorithm 1]

    While training, mean and var are those of the batch, over all axes but the second, and the running statistics
    move towards them: ``running ← (1 - momentum) running + momentum batch``, with the unbiased variance as in torch.
    After ``eval()`` the running statistics are used, each example stands alone, and nothing changes.

    num_features: C, the length of axis 1.  eps: added to the variance.
    momentum: weight of the newest batch, above 0 and at most 1; None for the plain mean of all batches so far.
    affine: whether there are ``weight`` (ones at first) and ``bias`` (zeros), each (C,).
    dtype: float32 (the default) or float64.  backend: where parameters and statistics live.

    Buffers: ``running_mean`` (C,), ``running_var`` (C,), ``num_batches_tracked`` (), torch's names.
    Call: x (B, C) or (B, C, ...), floating → the same shape. A function that `tg.checkpoint` runs twice counts
    its batch twice.
    Raises ShapeError for other channels, and while training for a channel that has a single value in the batch (a
    batch of one), whose variance says nothing; DTypeError for integers; ArgumentError for eps or momentum out of range.

    >>> import tinygrad_rnn as tg
    >>> norm = tg.nn.BatchNorm(2, momentum=0.5)
    >>> norm(tg.tensor([[1.0, 10.0], [3.0, 30.0]])).numpy().round(3).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    >>> norm.running_mean.tolist()
    [1.0, 10.0]
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        *,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_size("num_features", num_features)
        if not eps > 0:
            raise ArgumentError(f"BatchNorm eps must be above 0; got {eps}")
        if momentum is not None and not 0 < momentum <= 1:
            raise ArgumentError(f"BatchNorm momentum lies above 0 and is at most 1, or is None; got {momentum}")
        self.num_features, self.eps, self.momentum = num_features, float(eps), momentum
        dtype = default_dtype() if dtype is None else dtype
        shape = (num_features,)
        self.weight = Parameter(np.ones(shape), dtype=dtype, backend=backend) if affine else None
        self.bias = Parameter(np.zeros(shape), dtype=dtype, backend=backend) if affine else None
        self.register_buffer("running_mean", asarray(np.zeros(shape), dtype=dtype, backend=backend))
        self.register_buffer("running_var", asarray(np.ones(shape), dtype=dtype, backend=backend))
        self.register_buffer("num_batches_tracked", asarray(np.int64(0), backend=backend))

    def forward(self, x: Any) -> Tensor:
        """x (B, C, ...) → the same shape."""
        check_channels("BatchNorm", x, self.num_features, None)
        x = x if isinstance(x, Tensor) else asarray(x, backend=self.running_mean.backend)
        along = (1, self.num_features, *[1] * (x.ndim - 2))
        if self.training:
            axes = (0, *range(2, x.ndim))
            self._notice(x, axes)
            return self._affine(ops.layer_norm(x, axis=axes, eps=self.eps), along)
        with paused():  # of constants
            scale = 1 / ops.sqrt(self.running_var + self.eps)
        y = (x - ops.reshape(self.running_mean, along)) * ops.reshape(scale, along)
        return self._affine(y, along)

    def _affine(self, y: Tensor, along: tuple[int, ...]) -> Tensor:
        if self.weight is None or self.bias is None:
            return y
        return y * ops.reshape(self.weight, along) + ops.reshape(self.bias, along)

    def _notice(self, x: Any, axes: tuple[int, ...]) -> None:
        """Move the running statistics towards those of a batch."""
        count = math.prod([x.shape[axis] for axis in axes])
        if count < 2:
            raise ShapeError(
                f"BatchNorm needs more than one value in each channel while training; got x {tuple(x.shape)}. Give a "
                f"larger batch, call eval() to use the running statistics, or use nn.LayerNorm.        at {user_line()}"
            )
        with paused():  # statistics have no gradient
            batch = x.detach()
            mean, spread = ops.mean(batch, axis=axes), ops.var(batch, axis=axes, correction=1)
            self.num_batches_tracked = self.num_batches_tracked + 1
            share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
            dtype = self.running_mean.dtype
            self.running_mean = self.running_mean + share * (mean.astype(dtype) - self.running_mean)
            self.running_var = self.running_var + share * (spread.astype(dtype) - self.running_var)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}" + (
            "" if self.weight is not None else ", affine=False"
        )
