"""Reductions of the Numba backend: NumPy's functions over axes, on top of the loops of `reduction_text`.

Axes that lie together become one by reshaping; others are brought together first. NumPy's ufunc machinery does the
rest: it hands a loop every stride as it is. Results do not depend on the layout in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from . import reduction_text
from .numba_loops import HEADER, compiled_loop, note
from .scalar_rules import SERVED
from .ufuncs import make_ufunc

__all__ = ["REDUCTIONS"]

_SERVED = frozenset(map(np.dtype, SERVED))
_INT64 = np.dtype(np.int64)
_BOOL = np.dtype(bool)
_INT32, _LONG = np.dtype(np.int32).char, _INT64.char
_NUMBERS = (f"{_INT32}->{_INT32}", f"{_LONG}->{_LONG}", "f->f", "d->d")
_SIGNATURES = {
    **dict.fromkeys(("sum", "prod", "cumulative_sum", "cumulative_prod"), _NUMBERS),
    **dict.fromkeys(("max", "min"), ("?->?", *_NUMBERS)),
    "mean": ("f->f", "d->d"),
    **dict.fromkeys(("any", "all"), ("?->?", f"{_INT32}->?", f"{_LONG}->?", "f->?", "d->?")),
    **{
        name: tuple([f"{x}->{_LONG}" for x in ("?", _INT32, _LONG, "f", "d")])
        for name in ("count_nonzero", "argmax", "argmin")
    },
}


@cache
def _ufunc(name: str) -> np.ufunc:
    """The generalised ufunc of a reduction over the last axis."""
    running = name.startswith("cumulative")
    text = (
        reduction_text.running_text if running
        else reduction_text.arg_text if name.startswith("arg")
        else reduction_text.reduction_text
    )  # fmt: skip
    numpys = getattr(np, name)

    def compiled(signature: str) -> int | None:
        return compiled_loop(name, signature, lambda: HEADER + "\n" + text(name, signature))

    def stand_in(x: Any) -> Any:
        return numpys(x, axis=-1)

    for signature in _SIGNATURES[name]:
        note(name, signature, "jit", "not used yet")
    core = "(n)->(n)" if running else "(n)->()"
    return make_ufunc(name, _SIGNATURES[name], compiled, stand_in, core, f"`{name}` along an axis, as a JIT loop.")


def _served(x: Any) -> bool:
    return x.__class__ is np.ndarray and x.dtype in _SERVED


def _over(ufunc: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Reduce the last axis of x as it is after the axes to be reduced have become one."""
    ndim = x.ndim
    if axis is None:
        axes = tuple(range(ndim))
    elif axis.__class__ is tuple:
        axes = tuple(sorted([np.lib.array_utils.normalize_axis_index(a, ndim) for a in axis]))
    else:
        return ufunc(x, axis=axis, keepdims=keepdims)
    if len(axes) == 1:
        return ufunc(x, axis=axes[0], keepdims=keepdims)
    if len(set(axes)) != len(axes):
        raise ValueError("duplicate value in 'axis'")
    shape = x.shape
    if not axes:
        y = ufunc(x.reshape((*shape, 1)), axis=-1)
    elif len(axes) == ndim:
        y = ufunc(x.reshape(-1))
    elif axes[-1] - axes[0] == len(axes) - 1:  # neighbours
        first, after = axes[0], axes[-1] + 1
        y = ufunc(x.reshape((*shape[:first], math.prod(shape[first:after]), *shape[after:])), axis=first)
    else:
        others = [i for i in range(ndim) if i not in axes]
        count = math.prod([shape[i] for i in axes])
        y = ufunc(x.transpose((*others, *axes)).reshape((*[shape[i] for i in others], count)))
    if keepdims:
        y = np.reshape(y, tuple([1 if i in axes else n for i, n in enumerate(shape)]))
    return y


def _adding(name: str) -> Callable[..., Any]:
    numpys = getattr(np, name)

    def reduce(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        if dtype is None and x.dtype.kind in "bi":
            dtype = _INT64
        if dtype is not None and x.dtype != dtype:
            x = x.astype(dtype)
        if not _served(x) or x.dtype == _BOOL:
            return numpys(x, axis=axis, keepdims=keepdims)
        return _over(_ufunc(name), x, axis, keepdims)

    return _named(reduce, name)


def _running(name: str) -> Callable[..., Any]:
    numpys = getattr(np, name)

    def run(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
        if axis is None and x.ndim == 1:
            axis = 0
        if dtype is None and x.dtype.kind in "bi":
            dtype = _INT64
        if dtype is not None and x.dtype != dtype:
            x = x.astype(dtype)
        if axis is None or include_initial or not _served(x) or x.dtype == _BOOL:
            return numpys(x, axis=axis, include_initial=include_initial)
        return _ufunc(name)(x, axis=axis)

    return _named(run, name)


def _choosing(name: str) -> Callable[..., Any]:
    """Those that NumPy refuses for no entries."""
    numpys = getattr(np, name)

    def reduce(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        if not _served(x) or not x.size or not x.ndim:
            return numpys(x, axis=axis, keepdims=keepdims)
        return _over(_ufunc(name), x, axis, keepdims)

    return _named(reduce, name)


def _telling(name: str) -> Callable[..., Any]:
    numpys = getattr(np, name)

    def reduce(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        if not _served(x):
            return numpys(x, axis=axis, keepdims=keepdims)
        return _over(_ufunc(name), x, axis, keepdims)

    return _named(reduce, name)


def _mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum over count, rounded once for float32."""
    if not _served(x) or x.dtype.kind != "f":
        return np.mean(x, axis=axis, keepdims=keepdims)
    return _over(_ufunc("mean"), x, axis, keepdims)


def _var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Sum of squared deviations from the mean, over count - correction."""
    if not _served(x) or x.dtype.kind != "f":
        return np.var(x, axis=axis, correction=correction, keepdims=keepdims)
    deviations = x - _mean(x, axis=axis, keepdims=True)
    total = REDUCTIONS["sum"](deviations * deviations, axis=axis, keepdims=keepdims)
    count = x.size // max(total.size, 1)
    return total / x.dtype.type(count - correction)


def _std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    return np.sqrt(_var(x, axis=axis, correction=correction, keepdims=keepdims))


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    return function


REDUCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _adding(name) for name in ("sum", "prod")},
    **{name: _running(name) for name in ("cumulative_sum", "cumulative_prod")},
    **{name: _choosing(name) for name in ("max", "min", "argmax", "argmin")},
    **{name: _telling(name) for name in ("any", "all", "count_nonzero")},
    "mean": _named(_mean, "mean"),
    "var": _named(_var, "var"),
    "std": _named(_std, "std"),
}
