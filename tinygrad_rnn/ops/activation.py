"""Activation functions."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..primitive import elementwise, primitive
from ..tensor import Tensor, asarray
from .elementwise import clip, where
from .reduction import _floats, one_axis

__all__ = [
    "elu", "erf", "gelu", "hardtanh", "leaky_relu", "log_softmax", "relu", "sigmoid", "silu", "softmax", "softplus",
]  # fmt: skip

sigmoid = elementwise(
    "sigmoid",
    derivative=lambda xp, y, x: y * (1 - y),
    doc="Logistic function, ``1 / (1 + exp(-x))``, without overflow.",
)
softplus = elementwise(
    "softplus",
    derivative=lambda xp, y, x: xp.sigmoid(x),
    doc="``log(1 + exp(x))``, without overflow.",
)
relu = elementwise(
    "relu",
    forward=lambda xp, x: xp.maximum(x, 0),
    derivative=lambda xp, y, x: xp.astype(x > 0, y.dtype),
    doc="``max(x, 0)``. Its derivative at 0 is 0.",
)
silu = elementwise(
    "silu",
    forward=lambda xp, x: x * xp.sigmoid(x),
    derivative=lambda xp, y, x: xp.sigmoid(x) + y * (1 - xp.sigmoid(x)),
    doc="``x * sigmoid(x)``, also called swish. [Ramachandran et al. 2017]",
)
erf = elementwise(
    "erf",
    derivative=lambda xp, y, x: (2 / math.sqrt(math.pi)) * xp.exp(-x * x),
    doc="Error function.",
)
_gelu = elementwise(
    "gelu",
    forward=lambda xp, x: 0.5 * x * (1 + xp.erf(x * math.sqrt(0.5))),
    derivative=lambda xp, y, x: (
        0.5 * (1 + xp.erf(x * math.sqrt(0.5))) + x * xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    ),
)


def gelu(x: Any, /, *, approximate: str = "none") -> Tensor:
    """``x * Phi(x)`` with the normal distribution function Phi. [Hendrycks & Gimpel 2016]

    approximate: "none", or "tanh" for the paper's ``x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3)))``.

    >>> import tinygrad_rnn as tg
    >>> round(tg.gelu(tg.tensor(1.0)).item(), 4)
    0.8413
    """
    from .elementwise import tanh

    if approximate == "none":
        return _gelu(x)
    if approximate != "tanh":
        raise ArgumentError(f'gelu: approximate must be "none" or "tanh"; got {approximate!r}')
    x = x if isinstance(x, Tensor) else asarray(x)
    return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def leaky_relu(x: Any, /, *, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, else ``negative_slope * x``. Its derivative at 0 is `negative_slope`.

    >>> import tinygrad_rnn as tg
    >>> tg.leaky_relu(tg.tensor([-2.0, 2.0]), negative_slope=0.5).tolist()
    [-1.0, 2.0]
    """
    x = x if isinstance(x, Tensor) else asarray(x)
    return where(x > 0, x, negative_slope * x)


def elu(x: Any, /, *, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else ``alpha * (exp(x) - 1)``. Its derivative at 0 is `alpha`. [Clevert et al. 2016]

    >>> import tinygrad_rnn as tg
    >>> tg.elu(tg.tensor([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    from .creation import zeros_like
    from .elementwise import expm1

    x = x if isinstance(x, Tensor) else asarray(x)
    return where(x > 0, x, alpha * expm1(where(x > 0, zeros_like(x), x)))


def hardtanh(x: Any, /) -> Tensor:
    """x limited to -1 .. 1.

    >>> import tinygrad_rnn as tg
    >>> tg.hardtanh(tg.tensor([-3.0, 0.5])).tolist()
    [-1.0, 0.5]
    """
    return clip(x, -1, 1)


def _shifted_exp(xp: Any, x: Any, axis: int) -> Any:
    return xp.exp(x - xp.max(x, axis=axis, keepdims=True))


def _softmax_forward(xp: Any, x: Any, axis: int) -> Any:
    weights = _shifted_exp(xp, x, axis)
    return weights / xp.sum(weights, axis=axis, keepdims=True)


def _softmax_product(xp: Any, v: Any, y: Any, axis: int) -> Any:
    """The Jacobian diag(y) - y yᵀ, which is symmetric, times v."""
    return y * (v - xp.sum(v * y, axis=axis, keepdims=True))


_softmax = primitive(
    "softmax",
    _softmax_forward,
    vjp=(lambda xp, g, y, x, axis: _softmax_product(xp, g, y, axis),),
    jvp=(lambda xp, d, y, x, axis: _softmax_product(xp, d, y, axis),),
)


def softmax(x: Any, /, *, axis: int = -1) -> Tensor:
    """``exp(x) / sum(exp(x))`` along an axis, without overflow.

    >>> import tinygrad_rnn as tg
    >>> tg.softmax(tg.tensor([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    x = _floats("softmax", x)
    return _softmax(x, axis=one_axis("softmax", x, axis))


def _log_softmax_forward(xp: Any, x: Any, axis: int) -> Any:
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


_log_softmax = primitive(
    "log_softmax",
    _log_softmax_forward,
    vjp=(lambda xp, g, y, x, axis: g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True),),
    jvp=(lambda xp, d, y, x, axis: d - xp.sum(xp.exp(y) * d, axis=axis, keepdims=True),),
)


def log_softmax(x: Any, /, *, axis: int = -1) -> Tensor:
    """``log(softmax(x))`` along an axis, accurate where softmax underflows.

    >>> import tinygrad_rnn as tg
    >>> tg.log_softmax(tg.tensor([0.0, -1000.0])).tolist()
    [0.0, -1000.0]
    """
    x = _floats("log_softmax", x)
    return _log_softmax(x, axis=one_axis("log_softmax", x, axis))
