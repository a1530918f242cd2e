"""The products of a recurrence with its inputs, and their gradients, as phases of its kernel.

In kernels of their own each would cost another call, and its result would leave the cache before it is read.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..reference import common
from .compiling import inlined
from .dispatch import Split
from .product import FEW_ROWS, NOTHING, matmul, packing, product_phase, shared_by
from .recurrence import weight_workspace
from .threads import thread_count


def products_with(xs: Any, w_ih: Any, bias: Any, out: Any, cut: Split) -> tuple[int, Any, Any, tuple[int, int, int]]:
    """What a kernel needs to write W_ih x + bias, for all steps, to `out` (T, B, N).

    Returns the number of parts; the matrices as `product_phase` takes them, empty where they have been written here:
    if there are few rows, no inputs at all, or more threads for them; the bias; and the sizes of the kernel's room.
    """
    shape = xs.shape[0] * xs.shape[1], *w_ih.shape[::-1]
    joined, parts, deep, sizes = _products(cut, thread_count(), shape, xs.itemsize)
    nothing = NOTHING[xs.dtype]
    if not joined:
        out[...] = common.input_products(xs, w_ih, bias, matmul)
        return parts, ((0, 0, 0), deep, nothing, 1, nothing, 0), nothing, sizes
    return parts, (shape, deep, xs.ravel(), 1, w_ih.ravel(), 0), nothing if bias is None else bias, sizes


@functools.lru_cache(maxsize=1024)
def _products(
    cut: Split, threads: int, shape: tuple[int, int, int], itemsize: int
) -> tuple[bool, int, int, tuple[int, int, int]]:
    """Whether they run inside, the parts of the kernel, how many rows are packed at a time, and the room."""
    if shape[0] < FEW_ROWS or shape[1] == 0 or not _joined(cut, threads, shape):
        return False, cut.parts, 1, (0, 0, 0)
    parts = _parts(cut, threads, shape)
    return True, parts, *packing(shape, parts, itemsize)


def gradients_with(
    xs: Any, w_ih: Any, dx: Any, dw_ih: Any, cut: Split, columns: int
) -> tuple[bool, int, Any, tuple[int, int, int]]:
    """What a kernel needs for the gradients of the input products, beside that of W_hh, of so many padded columns.

    dx: (T, B, I), or None.  Returns whether they run inside, otherwise they are left to `gradients_apart`; the number
    of parts; what `gradient_phase` takes; and the sizes of the room.
    """
    rows = xs.shape[0] * xs.shape[1]
    shape = rows, *w_ih.shape[::-1]
    joined, parts, deep_x, deep_w, sizes = _gradients(cut, thread_count(), shape, columns, xs.itemsize)
    nothing = NOTHING[xs.dtype]
    if not joined:
        return False, parts, ((0, 0, 0), 1, 1, nothing, nothing, nothing, nothing), sizes
    arrays = xs.ravel(), w_ih.ravel(), nothing if dx is None else dx.ravel(), dw_ih.ravel()
    return True, parts, (shape, deep_x, deep_w, *arrays), sizes


@functools.lru_cache(maxsize=1024)
def _gradients(
    cut: Split, threads: int, shape: tuple[int, int, int], columns: int, itemsize: int
) -> tuple[bool, int, int, int, tuple[int, int, int]]:
    """Whether they run inside, the parts of the kernel, how many rows each product packs at a time, and the room."""
    if not _joined(cut, threads, shape):
        return False, cut.parts, 1, 1, (*weight_workspace(cut.parts, columns), 0)
    (rows, inputs, outputs), parts = shape, _parts(cut, threads, shape)
    deep_x, of_x = packing((rows, outputs, inputs), parts, itemsize)
    deep_w, of_w = packing((outputs, rows, inputs), parts, itemsize)
    panels, _ = weight_workspace(parts, columns)
    return True, parts, deep_x, deep_w, (max(panels, of_x[0], of_w[0]), *of_x[1:])


def gradients_apart(d_xw: Any, xs: Any, w_ih: Any, dx: Any, dw_ih: Any) -> None:
    """Write the gradients of the input products to dx, if it is wanted, and dw_ih, in kernels of their own.

    d_xw: (T B N,), no scratch memory, which these kernels need.
    """
    flat = d_xw.reshape(-1, len(w_ih))
    rows = xs.reshape(len(flat), -1)
    if dx is not None:
        matmul(flat, w_ih, out=dx.reshape(rows.shape))
    matmul(flat.T, rows, out=dw_ih)


def _joined(cut: Split, threads: int, shape: tuple[int, int, int]) -> bool:
    """Whether the products run inside: not where more threads share them than a recurrence in lockstep takes."""
    return not cut.by_units or shared_by(shape, threads) <= cut.parts


def _parts(cut: Split, threads: int, shape: tuple[int, int, int]) -> int:
    """A recurrence that one thread runs may have products for several; in lockstep more of them would only wait."""
    return cut.parts if cut.by_units else max(cut.parts, shared_by(shape, threads))


@inlined
def gradient_phases(given):
    """How many phases the gradients of the input products take."""
    (rows, _, _), _, deep_w = given[:3]
    return _phases_of_x(given) + 2 * -(-rows // deep_w)


@inlined
def _phases_of_x(given):
    (_, _, outputs), deep_x = given[:2]
    return 2 * -(-outputs // deep_x) if given[5].size else 0


@inlined
def gradient_phase(part, parts, phase, given, d_xw, room):
    """A part of a phase of dx = d_xw W_ih, if it is wanted, or of dw_ih = d_xwᵀ xs, which come after them."""
    (rows, inputs, outputs), deep_x, deep_w, xs, w_ih, dx, dw_ih = given
    yes, no = np.intp(1), np.intp(0)  # numbers of the program: constants would be compiled anew for each value
    factors, out = ((rows, outputs, inputs), deep_x, d_xw, yes, w_ih, yes), dx
    before = _phases_of_x(given)
    if phase >= before:
        phase -= before
        factors, out = ((outputs, rows, inputs), deep_w, d_xw, no, xs, yes), dw_ih
    product_phase(part, parts, phase, factors, dx[:0], out, room)
