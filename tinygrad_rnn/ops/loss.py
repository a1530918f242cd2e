"""Losses, and layer normalisation: each fused into one record, with a rule that differentiates again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, DTypeError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor, asarray
from .activation import softplus
from .elementwise import abs as _abs
from .elementwise import where
from .reduction import _floats
from .reduction import mean as _mean
from .reduction import sum as _sum

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "l1_loss", "layer_norm", "mse_loss",
]  # fmt: skip


def _reduced(loss: Any, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ArgumentError(f'reduction must be "mean", "sum" or "none"; got {reduction!r}')
    return _mean(loss) if reduction == "mean" else _sum(loss)


def _log_normalised(xp: Any, x: Any) -> Any:
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def _softmax(xp: Any, x: Any) -> Any:
    weights = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return weights / xp.sum(weights, axis=-1, keepdims=True)


# -sum_k goal_k log softmax(x)_k, for goals that are constants; its slope is softmax(x) * sum(goal) - goal
_cross_entropy = primitive(
    "cross_entropy",
    lambda xp, x, goal: -xp.sum(goal * _log_normalised(xp, x), axis=-1),
    vjp=(
        lambda xp, g, y, x, goal: (
            xp.expand_dims(g, axis=-1) * (_softmax(xp, x) * xp.sum(goal, axis=-1, keepdims=True) - goal)
        ),
        None,
    ),
    jvp=(
        lambda xp, d, y, x, goal: xp.sum(d * (_softmax(xp, x) * xp.sum(goal, axis=-1, keepdims=True) - goal), axis=-1),
        None,
    ),
)


def _minus_one_at(xp: Any, x: Any, targets: Any) -> Any:
    """softmax(x) minus the one-hot of the targets."""
    classes = xp.arange(x.shape[-1])
    return _softmax(xp, x) - xp.astype(xp.expand_dims(targets, axis=-1) == classes, x.dtype)


def _class_cross_entropy_forward(xp: Any, x: Any, targets: Any) -> Any:
    """The loss, and beside it its slopes, which the backward multiplies by what comes in."""
    rows = xp.reshape(x, (-1, x.shape[-1])), xp.reshape(targets, (-1,))
    loss, slopes = xp.kernel("softmax_cross_entropy")(*rows)
    return xp.reshape(loss, targets.shape), xp.reshape(slopes, x.shape)


def _class_cross_entropy_vjp(xp: Any, g: Any, y: Any, x: Any, targets: Any, residual: Any) -> Any:
    slopes = _minus_one_at(xp, x, targets) if residual is None else residual  # none under an outer tape
    return xp.expand_dims(g, axis=-1) * slopes, None


_class_cross_entropy = primitive(  # the plain case, which needs no goals
    "class_cross_entropy",
    _class_cross_entropy_forward,
    vjp=_class_cross_entropy_vjp,
    jvp=(lambda xp, d, y, x, targets: xp.sum(d * _minus_one_at(xp, x, targets), axis=-1), None),
    residual=True,
)


def cross_entropy(
    logits: Any,
    targets: Any,
    /,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy in nats between softmax(logits) and class numbers.

    logits: (..., C), floats.  targets: (...), integers in 0 .. C-1 (or `ignore_index`, which counts for nothing).
    weight: (C,), a weight for each class; "mean" then divides by the sum of the weights of the targets.
    label_smoothing: share of the goal that is spread evenly over all classes.
    reduction: "mean", "sum", or "none" for a loss at each place.

    Raises ShapeError, DTypeError, and DataError for a class number out of range.

    >>> import tinygrad_rnn as tg
    >>> round(tg.cross_entropy(tg.zeros((2, 4)), tg.tensor([0, 3])).item(), 4)
    1.3863
    """
    logits = _floats("cross_entropy", logits)
    targets = targets if isinstance(targets, Tensor) else asarray(targets, backend=logits.backend)
    if logits.ndim < 1 or targets.shape != logits.shape[:-1]:
        raise ShapeError(
            f"cross_entropy expects logits (..., C) and targets (...); got {tuple(logits.shape)} and "
            f"{tuple(targets.shape)}        at {user_line()}"
        )
    if targets.dtype.kind != "i":
        raise DTypeError(f"cross_entropy expects class numbers as integers; got {targets.dtype}")
    classes = logits.shape[-1]
    numbers = targets.numpy()
    counts = np.ones(numbers.shape, dtype=bool) if ignore_index is None else numbers != ignore_index
    used = numbers[counts]
    if used.size and not (used.min() >= 0 and used.max() < classes):
        bad = used.min() if used.min() < 0 else used.max()
        raise DataError(f"cross_entropy: class {bad} is not among 0 .. {classes - 1}        at {user_line()}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(f"label_smoothing must lie in 0 .. 1; got {label_smoothing}")
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f'reduction must be "mean", "sum" or "none"; got {reduction!r}')
    if weight is None and label_smoothing == 0.0 and ignore_index is None:
        return _reduced(_class_cross_entropy(logits, targets), reduction)
    weights = np.ones(classes) if weight is None else np.asarray(getattr(weight, "numpy", lambda: weight)())
    if weights.shape != (classes,):
        raise ShapeError(f"cross_entropy: weight has shape {weights.shape}; there are {classes} classes")
    safe = np.where(counts, numbers, 0)
    one_hot = (safe[..., None] == np.arange(classes)) * weights
    goal = ((1 - label_smoothing) * one_hot + label_smoothing / classes * weights) * counts[..., None]
    loss = _cross_entropy(logits, asarray(goal.astype(logits.dtype), backend=logits.backend))
    if reduction != "mean":
        return _reduced(loss, reduction)
    total = float((weights[safe] * counts).sum())
    if total == 0.0:
        raise DataError("cross_entropy: every target is ignored, or has weight 0: there is no mean")
    return _sum(loss) / total


def binary_cross_entropy_with_logits(logits: Any, targets: Any, /, *, reduction: str = "mean") -> Tensor:
    """Cross-entropy in nats between sigmoid(logits) and targets in 0 .. 1 of the same shape, without overflow.

    >>> import tinygrad_rnn as tg
    >>> round(tg.binary_cross_entropy_with_logits(tg.zeros(2), tg.tensor([0.0, 1.0])).item(), 4)
    0.6931
    """
    logits, targets = _alike("binary_cross_entropy_with_logits", logits, targets)
    return _reduced(softplus(logits) - logits * targets, reduction)


def mse_loss(prediction: Any, target: Any, /, *, reduction: str = "mean") -> Tensor:
    """Mean squared error. The shapes must be equal: a silent broadcast is the usual bug here.

    >>> import tinygrad_rnn as tg
    >>> tg.mse_loss(tg.tensor([1.0, 3.0]), tg.tensor([0.0, 0.0])).item()
    5.0
    """
    prediction, target = _alike("mse_loss", prediction, target)
    return _reduced((prediction - target) ** 2, reduction)


def l1_loss(prediction: Any, target: Any, /, *, reduction: str = "mean") -> Tensor:
    """Mean absolute error, of equal shapes.

    >>> import tinygrad_rnn as tg
    >>> tg.l1_loss(tg.tensor([1.0, -3.0]), tg.tensor([0.0, 0.0])).item()
    2.0
    """
    prediction, target = _alike("l1_loss", prediction, target)
    return _reduced(_abs(prediction - target), reduction)


def huber_loss(prediction: Any, target: Any, /, *, delta: float = 1.0, reduction: str = "mean") -> Tensor:
    """Half the squared error up to `delta`, linear beyond. [Huber 1964]

    >>> import tinygrad_rnn as tg
    >>> tg.huber_loss(tg.tensor([1.0, 3.0]), tg.tensor([0.0, 0.0]), reduction="none").tolist()
    [0.5, 2.5]
    """
    if delta <= 0:
        raise ArgumentError(f"huber_loss: delta must be positive; got {delta}")
    prediction, target = _alike("huber_loss", prediction, target)
    error = prediction - target
    size = _abs(error)
    return _reduced(where(size <= delta, 0.5 * error * error, delta * (size - 0.5 * delta)), reduction)


def _alike(name: str, prediction: Any, target: Any) -> tuple[Any, Any]:
    prediction = _floats(name, prediction)
    if not isinstance(target, Tensor):
        target = asarray(np.asarray(target, dtype=prediction.dtype), backend=prediction.backend)
    if target.shape != prediction.shape:
        raise ShapeError(
            f"{name} expects equal shapes; got {tuple(prediction.shape)} and {tuple(target.shape)}"
            f"        at {user_line()}"
        )
    return prediction, target


# ---- layer normalisation. [Ba, Kiros & Hinton 2016]


def _spread(xp: Any, x: Any, axis: tuple[int, ...], eps: float) -> tuple[Any, Any]:
    """Centred x, and 1 / its standard deviation."""
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    return centred, 1 / xp.sqrt(xp.mean(centred * centred, axis=axis, keepdims=True) + eps)


def _normalise_product(xp: Any, v: Any, y: Any, x: Any, axis: tuple[int, ...], eps: float) -> Any:
    """The Jacobian of the normalisation, which is symmetric, times v: (v - mean(v) - y mean(v y)) / std."""
    _, scale = _spread(xp, x, axis, eps)
    along = xp.mean(v * y, axis=axis, keepdims=True)
    return scale * (v - xp.mean(v, axis=axis, keepdims=True) - y * along)


def _in_rows(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """x with the normalised axes, which are its last, as one."""
    return xp.reshape(x, (-1, math.prod(x.shape[x.ndim - len(axis) :])))


def _normalise_forward(xp: Any, x: Any, axis: tuple[int, ...], eps: float) -> Any:
    """The normalised x; and 1 / its standard deviation if a kernel has computed it."""
    if axis != tuple(range(x.ndim - len(axis), x.ndim)) or not axis:
        centred, scale = _spread(xp, x, axis, eps)
        return centred * scale, None
    y, scale = xp.kernel("layer_norm_forward")(_in_rows(xp, x, axis), eps)
    return xp.reshape(y, x.shape), scale


def _normalise_vjp(
    xp: Any, g: Any, y: Any, x: Any, axis: tuple[int, ...], eps: float, residual: Any
) -> tuple[Any, ...]:
    if residual is None:
        return (_normalise_product(xp, g, y, x, axis, eps),)
    dx = xp.kernel("layer_norm_backward")(_in_rows(xp, g, axis), _in_rows(xp, y, axis), residual)
    return (xp.reshape(dx, x.shape),)


_normalise = primitive(
    "normalise",
    _normalise_forward,
    vjp=_normalise_vjp,
    jvp=(lambda xp, d, y, x, axis, eps: _normalise_product(xp, d, y, x, axis, eps),),
    residual=True,
)


def layer_norm(
    x: Any, weight: Any = None, bias: Any = None, /, *, axis: int | Sequence[int] = -1, eps: float = 1e-5
) -> Tensor:
    """Normalise x to mean 0 and variance 1 over axes, then scale and shift. [Ba, Kiros & Hinton 2016]

    weight, bias: of the shape of the normalised axes, or None.  eps: added to the variance.

    >>> import tinygrad_rnn as tg
    >>> tg.layer_norm(tg.tensor([1.0, 3.0]), eps=0.0).tolist()
    [-1.0, 1.0]
    """
    from .reduction import axes_of

    x = _floats("layer_norm", x)
    axes = axes_of("layer_norm", x, axis)
    if any(x.shape[a] == 0 for a in axes):
        raise ShapeError(f"layer_norm: nothing to normalise over axes {axes} of shape {tuple(x.shape)}")
    for name, part in (("weight", weight), ("bias", bias)):
        shape = tuple([x.shape[a] for a in axes])
        if part is not None and tuple(part.shape) != shape:
            raise ShapeError(f"layer_norm: {name} has shape {tuple(part.shape)}; the normalised axes have {shape}")
    y = _normalise(x, axis=axes, eps=eps)
    full = tuple([x.shape[a] if a in axes else 1 for a in range(x.ndim)])
    from .shape import reshape

    if weight is not None:
        y = y * reshape(weight, full)
    return y if bias is None else y + reshape(bias, full)
