"""Products of large matrices on the same threads as the recurrences.

A BLAS library has threads of its own, which spin for a while after each product; beside ours that makes four on two
cores, and every barrier waits. So large products come here, and small ones stay with the library, which computes
them on the caller's thread.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .common import plain
from .compiling import inlined, jit
from .gemm import multiply
from .pack import pack_columns, pack_rows, padded, panel_width, panels_of
from .recurrence import CHUNK, NARROW, ROWS
from .simd import HOST, copy, vector_fold, vector_loop
from .threads import GANG, finish, take, thread_count
from .workspace import empty, scratch

SMALL = 1 << 18  # multiply-adds up to which OpenBLAS, for one, keeps to one thread
SMALL_ROW = 1 << 13  # the same for one row times a matrix
FEW_ROWS = 12  # with fewer, packing the second matrix costs more than it saves
DEEP = 1 << 18  # elements of the second matrix that are packed before the threads meet: what a core's cache holds
TOGETHER = 8  # rows of the second matrix at a time, if the first has few
STRIP = 1024  # columns of a product of few rows at a time: the sums of a row stay in the first cache


def matmul(a: Any, b: Any, /, out: Any = None) -> Any:
    """a @ b, as numpy.matmul; which also computes the shapes and types that this is not made for.

    a: (..., M, K).  b: (K, N), or stacks of matrices, which are NumPy's.  Returns (..., M, N), in `out` if it is given.
    out: shares no memory with a or b.

    Raises
    ------
    ValueError
        If the shapes do not fit; the text is NumPy's.
    """
    if (
        HOST is None
        or a.ndim < 2
        or b.ndim != 2
        or a.size * b.shape[1] <= (SMALL_ROW if a.size == b.shape[0] else SMALL)
        or a.shape[-1] != b.shape[0]
        or a.dtype != b.dtype
        or a.dtype.kind != "f"
        or a.itemsize not in (4, 8)
        or (out is not None and not (out.flags.c_contiguous and out.dtype == a.dtype and out.size))
    ):
        return np.matmul(a, b, out=out)
    if out is None:
        out = empty((*a.shape[:-1], b.shape[1]), a.dtype)
    elif out.shape != (*a.shape[:-1], b.shape[1]):
        return np.matmul(a, b, out=out)  # which says what is wrong
    multiply_rows(a.reshape(-1, b.shape[0]), b, out.ravel())
    return out


def multiply_rows(a: Any, b: Any, out: Any) -> None:
    """out (M N,) = a @ b for matrices of one floating dtype, neither of which shares memory with it."""
    (m, inner), n = a.shape, b.shape[1]
    shape = m, inner, n
    b_row, b_by_rows = _row(b)
    if m < FEW_ROWS:
        parts = min(thread_count(), -(-n // STRIP)) if m * inner * n >= SMALL else 1
        run = _few_rows if b_by_rows else _few_rows_turned
        GANG.run(run, parts, False, parts, shape, plain(a).ravel(), b_row, out)
        return
    parts = shared_by(shape, thread_count())
    deep, sizes = packing(shape, parts, a.itemsize)
    factors = shape, deep, *_row(a), b_row, b_by_rows
    GANG.run(_product, parts, False, parts, factors, NOTHING[a.dtype], out, scratch(a.dtype, *sizes))


NOTHING = {np.dtype(kind): np.empty(0, kind) for kind in ("float32", "float64")}  # where there is no bias


def shared_by(shape: tuple[int, int, int], threads: int) -> int:
    """How many of so many threads share a product."""
    m, inner, n = shape
    return min(threads, m // FEW_ROWS) if m * inner * n >= 4 * SMALL else 1


@functools.lru_cache(maxsize=1024)
def packing(shape: tuple[int, int, int], parts: int, itemsize: int) -> tuple[int, tuple[int, int, int]]:
    """How many rows of b are packed at a time; and the sizes of what a product packs into.

    They are panels, and for each part a block and a strip.
    """
    _, inner, n = shape
    dtype = np.dtype(f"f{itemsize}")
    columns = padded(n, dtype)
    deep = CHUNK * max(1, min(-(-inner // CHUNK), DEEP // (CHUNK * max(1, columns))))
    return deep, (min(deep, inner) * columns, parts * CHUNK * ROWS, parts * ROWS * padded(1, dtype))


def _row(matrix: Any) -> tuple[Any, int]:
    """The matrix as one row in memory, and 1 if it lies there row by row, 0 if column by column."""
    if matrix.flags.f_contiguous and not matrix.flags.c_contiguous:
        return plain(matrix.T).ravel(), 0
    return plain(matrix).ravel(), 1


@jit
def _product(me, board, parts, factors, bias, out, room):
    for phase in range(product_phases(factors)):
        for turn in range(parts):
            part = (me + turn) % parts
            if take(board, part, phase, turn):
                product_phase(part, parts, phase, factors, bias, out, room)
                finish(board, part, phase)


@inlined
def product_phases(factors):
    """How many phases a product has: for each stretch of the inner index one that packs, and one that multiplies."""
    return 2 * -(-factors[0][1] // factors[1])


@jit
def product_phase(part, parts, phase, factors, bias, out, room):
    """A part of a phase of out = a b + bias, of a (M, K) and b (K, N).

    factors: (M, K, N); how many rows of b are packed at a time; a and b, each as one row in memory and a number, 1 if
    it lies there row by row, 0 if column by column.
    bias: (N,), or empty for none.  out: (M N,).  room: of the sizes of `packing`, or larger.
    """
    shape, deep, a, a_by_rows, b, b_by_rows = factors
    m, inner, n = shape
    width = panel_width(out)
    panels = panels_of(n, out)
    k0 = phase // 2 * deep
    height = min(deep, inner - k0)
    if phase % 2 == 0:
        p0, p1 = panels * part // parts, panels * (part + 1) // parts
        columns, j = min(p1 * width, n) - p0 * width, p0 * width
        if b_by_rows and n == width:
            return  # it is a panel as it lies
        if b_by_rows:
            pack_columns(b, k0 * n + j, n, height, columns, room[0], j * height)
        else:
            pack_rows(b, j * inner + k0, inner, height, columns, room[0], j * height)
        return
    first, last = m * part // parts, m * (part + 1) // parts
    packed, start = (b, k0) if b_by_rows and n == width else (room[0], 0)
    for k in range(k0, k0 + height, CHUNK):
        depth = min(CHUNK, k0 + height - k)
        for top in range(first, last, ROWS):
            rows = min(ROWS, last - top)
            _strip(part, top, rows, k, depth, start + k - k0, height, shape, a, a_by_rows, packed, bias, out, room)


@inlined
def _strip(part, top, rows, k0, depth, skipped, height, shape, a, a_by_rows, packed, bias, out, room):
    """Rows of the product, from `top` on, of one chunk of the inner index: after `skipped` rows of the panels."""
    m, inner, n = shape
    block_room, tail_room = room[1:]
    width = panel_width(out)
    if a_by_rows:
        strip, strip0, by_row, by_k = a, top * inner + k0, inner, 1
    elif m <= NARROW:
        strip, strip0, by_row, by_k = a, k0 * m + top, 1, m
    else:
        strip, strip0, by_row, by_k = block_room, part * CHUNK * ROWS, 1, rows
        for k in range(depth):
            copy(a, (k0 + k) * m + top, strip, strip0 + k * rows, rows)
    biased = bias.size > 0 and k0 == 0
    for p in range(panels_of(n, out)):
        panel, target = (p * height + skipped) * width, top * n + p * width
        used = min(width, n - p * width)
        if biased:
            for r in range(rows):
                copy(bias, p * width, out, target + r * n, used)
        adding = np.intp(1 if k0 or biased else 0)
        if used == width:
            multiply(strip, strip0, by_row, by_k, packed, panel, out, target, n, depth, rows, adding)
            continue
        tail = part * ROWS * width
        multiply(strip, strip0, by_row, by_k, packed, panel, tail_room, tail, width, depth, rows, np.intp(0))
        for r in range(rows):
            for j in range(used):
                if adding:
                    out[target + r * n + j] += tail_room[tail + r * width + j]
                else:
                    out[target + r * n + j] = tail_room[tail + r * width + j]


def _add_rows_body(v, out, *rest):
    total = out.load()
    for row, factor in zip(rest[:TOGETHER], rest[TOGETHER:]):
        total = v.fma(factor, row.load(), total)
    out.store(total)


_add_rows = vector_loop("add_rows", 1 + TOGETHER, _add_rows_body, factors=TOGETHER)
_add_one = vector_loop("add_one", 2, lambda v, out, b, a: out.store(v.fma(a, b.load(), out.load())), factors=1)


@jit
def _few_rows(me, board, parts, shape, a, b, out):
    """Row by row of b, as it lies in memory, which is read once: there is too little to do to pack it."""
    m, inner, n = shape
    strips = -(-n // STRIP)
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
            continue
        for j in range(strips * part // parts * STRIP, min(strips * (part + 1) // parts * STRIP, n), STRIP):
            used = min(STRIP, n - j)
            for r in range(m):
                for i in range(r * n + j, r * n + j + used):
                    out[i] = 0
            for k in range(0, inner - inner % TOGETHER, TOGETHER):
                b0, b1, b2, b3 = k * n + j, (k + 1) * n + j, (k + 2) * n + j, (k + 3) * n + j
                b4, b5, b6, b7 = b0 + 4 * n, b1 + 4 * n, b2 + 4 * n, b3 + 4 * n
                for r in range(m):
                    x = r * inner + k
                    _add_rows(
                        out, r * n + j, b, b0, b, b1, b, b2, b, b3, b, b4, b, b5, b, b6, b, b7,
                        a[x], a[x + 1], a[x + 2], a[x + 3], a[x + 4], a[x + 5], a[x + 6], a[x + 7], used,
                    )  # fmt: skip
            for k in range(inner - inner % TOGETHER, inner):
                for r in range(m):
                    _add_one(out, r * n + j, b, k * n + j, a[r * inner + k], used)
        finish(board, part, 0)


_dot = vector_fold("dot", 2, lambda v, a, b: a.load() * b.load())


@jit
def _few_rows_turned(me, board, parts, shape, a, b, out):
    """The same with b column by column."""
    m, inner, n = shape
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
            continue
        for j in range(n * part // parts, n * (part + 1) // parts):
            for r in range(m):
                out[r * n + j] = _dot(a, r * inner, b, j * inner, inner)
        finish(board, part, 0)
