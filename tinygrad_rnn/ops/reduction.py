"""Reductions over axes, as the array API standard (2024.12) names and defines them, and logsumexp."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import AxisError, DTypeError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor, as_dtype, asarray

__all__ = [
    "all", "any", "argmax", "argmin", "count_nonzero", "cumulative_prod", "cumulative_sum", "logsumexp", "max",
    "mean", "min", "prod", "std", "sum", "var",
]  # fmt: skip

Axis = int | Sequence[int] | None


def axes_of(name: str, x: Any, axis: Axis) -> tuple[int, ...]:
    """Return the axes as a sorted tuple of non-negative numbers; None means all of them."""
    ndim = x.ndim
    if axis is None:
        return tuple(range(ndim))
    try:
        listed = [axis.__index__()] if hasattr(axis, "__index__") else [int(a.__index__()) for a in axis]
    except (TypeError, AttributeError) as error:
        raise ShapeError(f"{name}: axis must be an int, a tuple of ints or None; got {axis!r}") from error
    for a in listed:
        if not -ndim <= a < ndim:
            raise AxisError(
                f"{name}: axis {a} is out of range for a tensor of shape {tuple(x.shape)}        at {user_line()}"
            )
    found = [a % ndim for a in listed]
    if len(set(found)) != len(found):
        raise ShapeError(f"{name}: axis {axis} names an axis twice for shape {tuple(x.shape)}")
    return tuple(sorted(found))


def one_axis(name: str, x: Any, axis: int) -> int:
    """Return one axis as a non-negative number."""
    if not hasattr(axis, "__index__"):
        raise ShapeError(f"{name}: axis must be an int; got {axis!r}")
    return axes_of(name, x, axis)[0]


def _tensor(x: Any) -> Any:
    return x if isinstance(x, Tensor) else asarray(x)


def _keep(xp: Any, y: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Give a reduced array its lost axes back, with length 1."""
    if keepdims or not axis:
        return y
    return xp.reshape(y, tuple([1 if i in axis else n for i, n in enumerate(x.shape)]))


def _count(x: Any, axis: tuple[int, ...]) -> int:
    return math.prod([x.shape[a] for a in axis])


def _nonempty(name: str, x: Any, axis: tuple[int, ...]) -> None:
    if _count(x, axis) == 0:
        raise ShapeError(f"{name}: nothing to reduce over axis {axis} of shape {tuple(x.shape)}: an axis has length 0")


# ---- sum and its relatives

_sum = primitive(
    "sum",
    lambda xp, x, axis, keepdims: xp.sum(x, axis=axis, dtype=x.dtype, keepdims=keepdims),
    linear=True,
    vjp=(lambda xp, g, y, x, axis, keepdims: xp.broadcast_to(_keep(xp, g, x, axis, keepdims), x.shape),),
    jvp=(lambda xp, d, y, x, axis, keepdims: xp.sum(d, axis=axis, keepdims=keepdims),),
)


def sum(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """Sum of the entries over axes (all of them by default). Bools and int32 are summed as int64.

    axis: an int or a tuple of ints.  dtype: of the result; default: that of x for floats, int64 for integers.
    keepdims: keep the reduced axes with length 1.  Raises ShapeError for an axis out of range.

    >>> import tinygrad_rnn as tg
    >>> tg.sum(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    Tensor([4., 6.], dtype=float32)
    """
    x = _widened(_tensor(x), dtype)
    return _sum(x, axis=axes_of("sum", x, axis), keepdims=keepdims)


def _widened(x: Any, dtype: Any) -> Any:
    if dtype is None:
        dtype = "int64" if x.dtype.kind in "bi" else x.dtype
    return x if x.dtype == as_dtype(dtype) else x.astype(dtype)


def _floats(name: str, x: Any) -> Any:
    x = _tensor(x)
    if x.dtype.kind != "f":
        raise DTypeError(f"{name} needs floats; got {x.dtype}. Cast it: x.astype(tg.float32)        at {user_line()}")
    return x


_mean = primitive(
    "mean",
    lambda xp, x, axis, keepdims: xp.mean(x, axis=axis, keepdims=keepdims),
    linear=True,
    vjp=(
        lambda xp, g, y, x, axis, keepdims: xp.broadcast_to(
            _keep(xp, g / builtins.max(_count(x, axis), 1), x, axis, keepdims), x.shape
        ),
    ),
    jvp=(lambda xp, d, y, x, axis, keepdims: xp.mean(d, axis=axis, keepdims=keepdims),),
)


def mean(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over axes; NaN where there is nothing to average. Raises DTypeError for integers.

    >>> import tinygrad_rnn as tg
    >>> tg.mean(tg.tensor([1.0, 2.0, 6.0])).item()
    3.0
    """
    x = _floats("mean", x)
    axes = axes_of("mean", x, axis)
    if _count(x, axes) == 0:
        return _undefined(x, axes, keepdims)
    return _mean(x, axis=axes, keepdims=keepdims)


def _undefined(x: Any, axis: tuple[int, ...], keepdims: bool) -> Tensor:
    """NaN in the shape of a reduction, as the standard has it for a mean or a variance of too few entries."""
    return _sum(x, axis=axis, keepdims=keepdims) * math.nan


def _deviation(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    return x - xp.mean(x, axis=axis, keepdims=True)


_var = primitive(
    "var",
    lambda xp, x, axis, correction, keepdims: xp.var(x, axis=axis, correction=correction, keepdims=keepdims),
    vjp=(
        lambda xp, g, y, x, axis, correction, keepdims: (
            _keep(xp, g, x, axis, keepdims) * _deviation(xp, x, axis) * (2 / (_count(x, axis) - correction))
        ),
    ),
    jvp=(
        lambda xp, d, y, x, axis, correction, keepdims: (
            xp.sum(d * _deviation(xp, x, axis), axis=axis, keepdims=keepdims) * (2 / (_count(x, axis) - correction))
        ),
    ),
)


def var(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Variance over axes: the sum of squared deviations over (count - correction); NaN if that is not above 0.

    >>> import tinygrad_rnn as tg
    >>> tg.var(tg.tensor([1.0, 3.0])).item()
    1.0
    """
    x = _floats("var", x)
    axes = axes_of("var", x, axis)
    if _count(x, axes) <= correction:
        return _undefined(x, axes, keepdims)
    return _var(x, axis=axes, correction=correction, keepdims=keepdims)


def std(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Standard deviation over axes, the root of `var`. Its derivative where the variance is 0 is 0.

    >>> import tinygrad_rnn as tg
    >>> tg.std(tg.tensor([1.0, 3.0])).item()
    1.0
    """
    from .elementwise import sqrt, where

    variance = var(x, axis=axis, correction=correction, keepdims=keepdims)
    some = variance > 0
    return where(some, sqrt(where(some, variance, 1.0)), 0.0 * variance)


# ---- products


def _others(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """For each entry the product of all the others over `axis`; right where entries are zero."""
    moved = xp.permute_dims(x, _front_last(x.ndim, axis))
    shape = moved.shape
    flat = xp.reshape(moved, (*shape[: x.ndim - len(axis)], math.prod(shape[x.ndim - len(axis) :])))
    ones = xp.ones_like(flat[..., :1])
    before = xp.concat([ones, xp.cumulative_prod(flat, axis=-1)[..., :-1]], axis=-1)
    after = xp.flip(xp.concat([ones, xp.cumulative_prod(xp.flip(flat, axis=-1), axis=-1)[..., :-1]], axis=-1), axis=-1)
    back = _front_last(x.ndim, axis)
    return xp.permute_dims(xp.reshape(before * after, shape), tuple([back.index(i) for i in range(x.ndim)]))


def _front_last(ndim: int, axis: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([i for i in range(ndim) if i not in axis]) + axis


_prod = primitive(
    "prod",
    lambda xp, x, axis, keepdims: xp.prod(x, axis=axis, dtype=x.dtype, keepdims=keepdims),
    vjp=(lambda xp, g, y, x, axis, keepdims: _keep(xp, g, x, axis, keepdims) * _others(xp, x, axis),),
    jvp=(lambda xp, d, y, x, axis, keepdims: xp.sum(d * _others(xp, x, axis), axis=axis, keepdims=keepdims),),
)


def prod(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """Product over axes; its derivative is right where entries are zero. Arguments as in `sum`.

    >>> import tinygrad_rnn as tg
    >>> tg.grad(tg.prod)(tg.tensor([2.0, 0.0, 3.0])).tolist()
    [0.0, 6.0, 0.0]
    """
    x = _widened(_tensor(x), dtype)
    return _prod(x, axis=axes_of("prod", x, axis), keepdims=keepdims)


_cumulative_sum = primitive(
    "cumulative_sum",
    lambda xp, x, axis: xp.cumulative_sum(x, axis=axis, dtype=x.dtype),
    linear=True,
    vjp=(lambda xp, g, y, x, axis: xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis),),
    jvp=(lambda xp, d, y, x, axis: xp.cumulative_sum(d, axis=axis),),
)


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """Running sum along an axis (which a 1-d tensor need not name).

    include_initial: begin with the empty sum, 0; the axis is then longer by one.

    >>> import tinygrad_rnn as tg
    >>> tg.cumulative_sum(tg.tensor([1.0, 2.0, 3.0])).tolist()
    [1.0, 3.0, 6.0]
    """
    x = _widened(_tensor(x), dtype)
    at = _running_axis("cumulative_sum", x, axis)
    return _with_initial(_cumulative_sum(x, axis=at), x, at, 0, include_initial)


def _running_axis(name: str, x: Any, axis: int | None) -> int:
    if axis is None:
        if x.ndim != 1:
            raise ShapeError(f"{name}: name the axis; the tensor has shape {tuple(x.shape)}")
        return 0
    return one_axis(name, x, axis)


def _with_initial(y: Any, x: Any, axis: int, value: int, include: bool) -> Any:
    if not include:
        return y
    from .shape import concat

    shape = tuple([1 if i == axis else n for i, n in enumerate(x.shape)])
    return concat([asarray(np.full(shape, value, y.dtype), backend=y.backend), y], axis=axis)


def _running_product_slope(xp: Any, g: Any, x: Any, axis: int) -> Any:
    """sum_j>=i g_j prod_{k<=j, k != i} x_k, with no division: exact where entries are zero."""
    n = x.shape[axis]
    moved, seed = xp.moveaxis(x, axis, -1), xp.moveaxis(g, axis, -1)
    parts = []
    for i in range(n):
        head = xp.prod(moved[..., :i], axis=-1, keepdims=True)
        tail = xp.concat([head, moved[..., i + 1 :]], axis=-1)
        parts.append(xp.sum(seed[..., i:] * xp.cumulative_prod(tail, axis=-1), axis=-1))
    return xp.moveaxis(xp.stack(parts, axis=-1), -1, axis) if parts else xp.zeros_like(x)


def _running_product_push(xp: Any, d: Any, x: Any, axis: int) -> Any:
    n = x.shape[axis]
    moved, dm = xp.moveaxis(x, axis, -1), xp.moveaxis(d, axis, -1)
    parts = []
    for j in range(n):
        head, slope = moved[..., : j + 1], dm[..., : j + 1]
        parts.append(xp.sum(slope * _others(xp, head, (x.ndim - 1,)), axis=-1))
    return xp.moveaxis(xp.stack(parts, axis=-1), -1, axis) if parts else xp.zeros_like(x)


_cumulative_prod = primitive(
    "cumulative_prod",
    lambda xp, x, axis: xp.cumulative_prod(x, axis=axis, dtype=x.dtype),
    vjp=(lambda xp, g, y, x, axis: _running_product_slope(xp, g, x, axis),),
    jvp=(lambda xp, d, y, x, axis: _running_product_push(xp, d, x, axis),),
)


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """Running product along an axis. Arguments as in `cumulative_sum`.

    >>> import tinygrad_rnn as tg
    >>> tg.cumulative_prod(tg.tensor([1.0, 2.0, 3.0])).tolist()
    [1.0, 2.0, 6.0]
    """
    x = _widened(_tensor(x), dtype)
    at = _running_axis("cumulative_prod", x, axis)
    return _with_initial(_cumulative_prod(x, axis=at), x, at, 1, include_initial)


# ---- extremes: ties share the derivative equally


def _shares(xp: Any, y: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    winners = xp.astype(x == _keep(xp, y, x, axis, keepdims), x.dtype)
    return winners / xp.sum(winners, axis=axis, keepdims=True)


def _extreme(name: str) -> Any:
    return primitive(
        name,
        lambda xp, x, axis, keepdims: getattr(xp, name)(x, axis=axis, keepdims=keepdims),
        vjp=(lambda xp, g, y, x, axis, keepdims: _keep(xp, g, x, axis, keepdims) * _shares(xp, y, x, axis, keepdims),),
        jvp=(
            lambda xp, d, y, x, axis, keepdims: xp.sum(
                d * _shares(xp, y, x, axis, keepdims), axis=axis, keepdims=keepdims
            ),
        ),
    )


_max, _min = _extreme("max"), _extreme("min")


def max(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest entry over axes. Entries that tie share its derivative equally.

    >>> import tinygrad_rnn as tg
    >>> tg.grad(tg.max)(tg.tensor([1.0, 2.0, 2.0])).tolist()
    [0.0, 0.5, 0.5]
    """
    x = _tensor(x)
    axes = axes_of("max", x, axis)
    _nonempty("max", x, axes)
    return _max(x, axis=axes, keepdims=keepdims)


def min(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest entry over axes. Entries that tie share its derivative equally.

    >>> import tinygrad_rnn as tg
    >>> tg.min(tg.tensor([[1.0, 2.0], [3.0, 0.0]]), axis=1).tolist()
    [1.0, 0.0]
    """
    x = _tensor(x)
    axes = axes_of("min", x, axis)
    _nonempty("min", x, axes)
    return _min(x, axis=axes, keepdims=keepdims)


def _finite_max(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    top = xp.max(x, axis=axis, keepdims=True)
    return xp.where(xp.isfinite(top), top, xp.zeros_like(top))


def _logsumexp_forward(xp: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    top = _finite_max(xp, x, axis)
    y = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims or not axis else xp.squeeze(y, axis=axis)


def _weights(xp: Any, y: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """softmax(x), from y = logsumexp(x); 0 where everything is -inf."""
    full = _keep(xp, y, x, axis, keepdims)
    return xp.exp(x - xp.where(xp.isfinite(full), full, xp.zeros_like(full)))


_logsumexp = primitive(
    "logsumexp",
    _logsumexp_forward,
    vjp=(lambda xp, g, y, x, axis, keepdims: _keep(xp, g, x, axis, keepdims) * _weights(xp, y, x, axis, keepdims),),
    jvp=(
        lambda xp, d, y, x, axis, keepdims: xp.sum(
            d * _weights(xp, y, x, axis, keepdims), axis=axis, keepdims=keepdims
        ),
    ),
)


def logsumexp(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` over axes, without overflow; -inf where all entries are -inf.

    >>> import tinygrad_rnn as tg
    >>> tg.logsumexp(tg.tensor([1000.0, 1000.0])).item()
    1000.6931762695312
    """
    x = _floats("logsumexp", x)
    axes = axes_of("logsumexp", x, axis)
    _nonempty("logsumexp", x, axes)
    return _logsumexp(x, axis=axes, keepdims=keepdims)


# ---- no derivatives


def _reducer(name: str) -> Any:
    return primitive(
        name,
        lambda xp, x, axis, keepdims: getattr(xp, name)(x, axis=axis, keepdims=keepdims),
        differentiable=False,
    )


_argmax, _argmin, _any, _all, _count_nonzero = (
    _reducer(name) for name in ("argmax", "argmin", "any", "all", "count_nonzero")
)


def _arg(name: str, reducer: Any, x: Any, axis: int | None, keepdims: bool) -> Any:
    x = _tensor(x)
    axes = axes_of(name, x, axis)
    _nonempty(name, x, axes)
    return reducer(x, axis=None if axis is None else axes[0], keepdims=keepdims)


def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the largest entry, of the first one where several tie; over the flattened tensor by default.

    >>> import tinygrad_rnn as tg
    >>> tg.argmax(tg.tensor([1.0, 3.0, 2.0])).item()
    1
    """
    return _arg("argmax", _argmax, x, axis, keepdims)


def argmin(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the smallest entry; see `argmax`.

    >>> import tinygrad_rnn as tg
    >>> tg.argmin(tg.tensor([1.0, 3.0, 2.0])).item()
    0
    """
    return _arg("argmin", _argmin, x, axis, keepdims)


def any(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether an entry is true (not zero); False over nothing.

    >>> import tinygrad_rnn as tg
    >>> tg.any(tg.tensor([False, True])).item()
    True
    """
    x = _tensor(x)
    return _any(x, axis=axes_of("any", x, axis), keepdims=keepdims)


def all(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether every entry is true (not zero); True over nothing.

    >>> import tinygrad_rnn as tg
    >>> tg.all(tg.tensor([False, True])).item()
    False
    """
    x = _tensor(x)
    return _all(x, axis=axes_of("all", x, axis), keepdims=keepdims)


def count_nonzero(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Number of entries that are not zero.

    >>> import tinygrad_rnn as tg
    >>> tg.count_nonzero(tg.tensor([0.0, 2.0, 3.0])).item()
    2
    """
    x = _tensor(x)
    return _count_nonzero(x, axis=axes_of("count_nonzero", x, axis), keepdims=keepdims)
