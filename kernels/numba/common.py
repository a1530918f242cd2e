"""What the recurrences share: the order of time, lanes past their end, products in plain loops, arguments in one form.

The compiled functions take every array as contiguous and writable, so that one compiled variant serves all callers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .compiling import inlined, jit


def plain(array: Any, dtype: Any = None) -> Any:
    """The array in the one form that kernels are compiled for: C order, aligned; a copy only where it has another.

    dtype: of the arrays that it meets; None keeps its own.

    A read-only array comes back as a writable view of the same memory. Kernels do not write to it; but to Numba a
    read-only array is a type of its own, and each mixture of them a variant to compile.
    """
    flags = array.flags
    if flags.carray and (dtype is None or array.dtype == dtype):
        return array
    if not (flags.c_contiguous and flags.aligned) or (dtype is not None and array.dtype != dtype):
        return np.array(array, dtype, order="C")
    return array if flags.writeable or array.size == 0 else np.asarray(_Unlocked(array))


def plainly(dtype: Any, *arrays: Any) -> list[Any]:
    """`plain` of each array, where None stays; those that have the form already, nearly all, cost no call."""
    given = []
    for array in arrays:
        if array is not None and not (array.flags.carray and array.dtype is dtype):
            array = plain(array, dtype)
        given.append(array)
    return given


def overwritten(array: Any) -> Any:
    """The array itself if a kernel can compute in it, else a copy in the form of `plain`."""
    return array if array.flags.carray else np.array(array, order="C")


class _Unlocked:
    """Shows the memory of a read-only array as writable, and keeps the array alive."""

    def __init__(self, array: Any) -> None:
        self._array = array
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


NO_LENGTHS = np.empty(0, dtype=np.int64)


def integers(lengths: Any) -> Any:
    """The lengths as int64; an empty array where there are none."""
    return NO_LENGTHS if lengths is None else np.array(lengths, dtype=np.int64)


@inlined
def time(n, steps, reverse):
    """The step that runs as number n."""
    return steps - 1 - n if reverse else n


@inlined
def ended(lengths, b, t):
    """Whether lane b is past its end at step t."""
    return lengths.size > 0 and lengths[b] <= t


@jit
def sigmoid(x):
    """1 / (1 + exp(-x)), as (tanh(x/2) + 1) / 2, which cannot overflow."""
    half = np.float32(0.5)  # which stays exact, and in the precision of x
    return half * math.tanh(half * x) + half


@jit
def add_product(out, a, w):
    """out += a @ w. Row by row of w, so that the inner loop runs along memory and needs no other order of sums."""
    for b in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(w.shape[1]):
                out[b, j] += a[b, k] * w[k, j]


@jit
def add_outer(out, a, h):
    """out += a.T @ h, the sum over the rows of both."""
    for b in range(a.shape[0]):
        for j in range(a.shape[1]):
            for k in range(h.shape[1]):
                out[j, k] += a[b, j] * h[b, k]
