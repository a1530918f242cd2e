"""The fast path of `reservoir`: dense matrices on packed panels, as in `elman_fast`; rings; sparse ones by `slices`.

A sparse product of one lane gathers states. For several, the state is kept transposed beside the series, (N, lanes).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .common import ended, time
from .compiling import jit
from .denormals import flush_denormals, restore_denormals
from .dispatch import Split, split
from .pack import pack_rows, padded, panel_width, panels_of
from .recurrence import cut_lanes, cut_panels, flat, products
from .simd import BITS, vector_loop
from .slices import BROAD, slices, times_broad, times_group, times_narrow, transpose, vector_width
from .threads import GANG, finish, take, thread_count
from .workspace import scratch

TANH, IDENTITY, RELU, SIGMOID = range(4)

# Entries times lanes of a step from which on two threads and a barrier are faster than one thread. [measured]
SHARED_ENTRIES = 40_000
SHARED_UNITS = 8_000  # of a ring
AWAKE = 2_000_000  # multiply-adds in all; a thread that has slept needs 0.1 ms to begin


# ---- one row of arrays at a time: the nonlinearity and the leak

_add = vector_loop("add", 2, lambda v, h, sums: h.store(h.load() + sums.load()))
_add_ring = vector_loop("add_ring", 3, lambda v, h, w, before: h.store(v.fma(w.load(), before.load(), h.load())))
_tanh = vector_loop("tanh", 1, lambda v, h: h.store(v.tanh(h.load())))
_relu = vector_loop("relu", 1, lambda v, h: h.store(v.select("<", h.load(), 0.0, 0.0, h.load())))
_sigmoid = vector_loop("sigmoid", 1, lambda v, h: h.store(v.sigmoid(h.load())))
_leak = vector_loop("leak", 3, lambda v, h, b, leak: h.store(v.fma(leak.load(), h.load() - b.load(), b.load())))


@jit
def _settle(kind, leaky, h, here, before, earlier, leak, first, last):
    """Units first .. last of one lane: h <- (1 - a) before + a f(h)."""
    n = last - first
    if kind == TANH:
        _tanh(h, here + first, n)
    elif kind == RELU:
        _relu(h, here + first, n)
    elif kind == SIGMOID:
        _sigmoid(h, here + first, n)
    if leaky:
        _leak(h, here + first, before, earlier + first, leak, first, n)


@jit
def _stay(h, here, before, earlier, first, last):
    for i in range(first, last):
        h[here + i] = before[earlier + i]


@jit
def _earlier(n, shape, reverse, h, h0):
    """The array with the states before step n, and where they begin."""
    steps, batch, size = shape
    return (h, time(n - 1, steps, reverse) * batch * size) if n else (h0, 0)


# ---- dense


def dense(h: Any, w: Any, h0: Any, leak: Any, lengths: Any, reverse: bool, kind: int, leaky: bool) -> None:
    """h holds the input products, and then the states. w: (N, N)."""
    cut = split(*h.shape, 1)
    columns = padded(h.shape[2], h.dtype)
    packed, sums = scratch(h.dtype, h.shape[2] * columns, h.shape[1] * columns)
    arrays = flat(h, w, h0, leak)
    GANG.run(_dense, cut.parts, cut.by_units, *cut, h.shape, reverse, kind, leaky, *arrays, packed, sums, lengths)


@jit
def _dense(me, board, parts, by_units, shape, reverse, kind, leaky, h, w, h0, leak, packed, sums, lengths):
    state = flush_denormals()
    steps, _, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    for phase in range(1 + (steps if by_units else 1)):
        for turn in range(parts):
            part = (me + turn) % parts
            if not take(board, part, phase, turn):
                continue
            if phase == 0:
                p0, p1 = cut_panels(part, parts, True, panels)
                rows = min(p1 * width, size) - p0 * width
                pack_rows(w, p0 * width * size, size, size, rows, packed, p0 * size * width)
            else:
                for n in range(phase - 1, phase if by_units else steps):
                    _dense_step(
                        n, part, parts, by_units, shape, reverse, kind, leaky, h, h0, leak, packed, sums, lengths
                    )
            finish(board, part, phase)
    restore_denormals(state)


@jit
def _dense_step(n, part, parts, by_units, shape, reverse, kind, leaky, h, h0, leak, packed, sums, lengths):
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    columns = panels * width
    b0, b1 = cut_lanes(part, parts, by_units, batch)
    p0, p1 = cut_panels(part, parts, by_units, panels)
    t = time(n, steps, reverse)
    before, start = _earlier(n, shape, reverse, h, h0)
    products(
        before, start + b0 * size, size, b1 - b0, packed, 0, p0, p1, size, size, sums, b0 * columns, columns, n & 1, 0
    )
    first, last = p0 * width, min(p1 * width, size)
    for b in range(b0, b1):
        here, earlier = (t * batch + b) * size, start + b * size
        if ended(lengths, b, t):
            _stay(h, here, before, earlier, first, last)
        else:
            _add(h, here + first, sums, b * columns + first, last - first)
            _settle(kind, leaky, h, here, before, earlier, leak, first, last)


# ---- ring


def ring(h: Any, w: Any, h0: Any, leak: Any, lengths: Any, reverse: bool, kind: int, leaky: bool) -> None:
    """w: (N,), unit i hears unit i - 1."""
    steps, batch, size = h.shape
    cut = _cut(steps, batch, batch * size, size, size, SHARED_UNITS)
    GANG.run(_ring, cut.parts, cut.by_units, *cut, h.shape, reverse, kind, leaky, *flat(h, w, h0, leak), lengths)


@jit
def _ring(me, board, parts, by_units, shape, reverse, kind, leaky, h, w, h0, leak, lengths):
    state = flush_denormals()
    steps, batch, size = shape
    for phase in range(steps if by_units else 1):
        for turn in range(parts):
            part = (me + turn) % parts
            if not take(board, part, phase, turn):
                continue
            b0, b1 = cut_lanes(part, parts, by_units, batch)
            first, last = cut_panels(part, parts, by_units, size)
            for n in range(phase, phase + 1 if by_units else steps):
                t = time(n, steps, reverse)
                before, start = _earlier(n, shape, reverse, h, h0)
                for b in range(b0, b1):
                    here, earlier = (t * batch + b) * size, start + b * size
                    if ended(lengths, b, t):
                        _stay(h, here, before, earlier, first, last)
                        continue
                    begin = first
                    if first == 0:
                        h[here] += w[0] * before[earlier + size - 1]
                        begin = 1
                    _add_ring(h, here + begin, w, begin, before, earlier + begin - 1, last - begin)
                    _settle(kind, leaky, h, here, before, earlier, leak, first, last)
            finish(board, part, phase)
    restore_denormals(state)


# ---- sparse


def sparse(
    h: Any,
    indptr: Any,
    indices: Any,
    data: Any,
    h0: Any,
    leak: Any,
    lengths: Any,
    reverse: bool,
    kind: int,
    leaky: bool,
) -> None:
    """indptr, indices, data: compressed sparse rows."""
    steps, batch, size = h.shape
    width = BITS // (8 * h.itemsize)
    vectors = 0 if batch == 1 else -(-batch // width)
    cut = _cut(steps, vectors, len(data) * max(1, vectors * width // 4), len(data), size, SHARED_ENTRIES)
    matrix = slices(indptr, indices, data, width if batch == 1 else 1, _row_cuts(indptr, cut))
    lanes = max(1, vectors * width)
    # two states, in turns: while one part writes the next, another may still read this one
    state, sums, room = scratch(h.dtype, 2 * (size + 1) * lanes, size * lanes, cut.parts * 64)
    state.fill(0)
    run = _sparse_lane if batch == 1 else _sparse_lanes
    arrays = flat(h, h0, leak)
    GANG.run(
        run, cut.parts, cut.by_units, *cut, h.shape, reverse, kind, leaky, *arrays, matrix, state, sums, room, lengths
    )


def _cut(steps: int, strips: int, work: int, entries: int, size: int, shared: int) -> Split:
    """Along the lanes, in strips, where there are several; else along the units, where a step is long."""
    threads = thread_count()
    if threads == 1 or steps * work < AWAKE:
        return Split(1, False)
    if strips > 1:
        return Split(min(threads, strips), False)
    if max(work, entries) >= shared:
        return Split(min(threads, 4, max(1, size // 32)), True)
    return Split(1, False)


def _row_cuts(indptr: Any, cut: Split) -> Any:
    """The first row of each part, and the end: of about as many entries each."""
    parts = cut.parts if cut.by_units else 1
    cuts = np.searchsorted(indptr, indptr[-1] * np.arange(parts + 1) / parts)
    cuts[0], cuts[-1] = 0, len(indptr) - 1
    return cuts


@jit
def _sparse_lane(
    me, board, parts, by_units, shape, reverse, kind, leaky, h, h0, leak, matrix, state, sums, room, lengths
):
    """One series: phases as many as steps, if several threads share it."""
    flushed = flush_denormals()
    steps, _, size = shape
    height = vector_width(h)
    for phase in range(1 + (steps if by_units else 1)):
        for turn in range(parts):
            part = (me + turn) % parts
            if not take(board, part, phase, turn):
                continue
            first, last = matrix.cuts[part], matrix.cuts[part + 1]
            if phase == 0:
                for i in range(first, last):
                    state[i] = h0[i]
            else:
                for n in range(phase - 1, phase if by_units else steps):
                    old, new = (n & 1) * (size + 1), (~n & 1) * (size + 1)
                    here = time(n, steps, reverse) * size
                    if ended(lengths, 0, time(n, steps, reverse)):
                        _stay(h, here, state, old, first, last)
                    else:
                        g0, g1 = matrix.group_cuts[part], matrix.group_cuts[part + 1]
                        for each in range(g0, g1):
                            # what one step leaves in the cache is what the next begins with
                            group = g0 + g1 - 1 - each if n & 1 else each
                            start, stop = matrix.starts[group], matrix.starts[group + 1]
                            times_group(matrix.values, matrix.columns, start, stop, state, old, room, part * 64)
                            for r in range(height):
                                row = matrix.rows[group * height + r]
                                if row >= 0:
                                    h[here + row] += room[part * 64 + r]
                        _settle(kind, leaky, h, here, state, old, leak, first, last)
                    for i in range(first, last):
                        state[new + i] = h[here + i]
            finish(board, part, phase)
    restore_denormals(flushed)


@jit
def _sparse_lanes(
    me, board, parts, by_units, shape, reverse, kind, leaky, h, h0, leak, matrix, state, sums, room, lengths
):
    """Several series. The lanes of a part are whole vectors, of which the last may reach past the batch."""
    flushed = flush_denormals()
    steps, batch, size = shape
    width = vector_width(h)
    ld = sums.size // size
    for phase in range(1 + (steps if by_units else 1)):
        for turn in range(parts):
            part = (me + turn) % parts
            if not take(board, part, phase, turn):
                continue
            v0, v1 = cut_lanes(part, parts, by_units, ld // width)
            first, last = (matrix.cuts[part], matrix.cuts[part + 1]) if by_units else (0, size)
            b0, b1 = v0 * width, min(v1 * width, batch)
            if phase == 0:
                transpose(h0, b0 * size + first, size, b1 - b0, last - first, state, first * ld + b0, ld, 0)
            else:
                for n in range(phase - 1, phase if by_units else steps):
                    _lanes_step(
                        n, v0, v1, b0, b1, first, last, shape, reverse, kind, leaky, h, h0, leak, matrix, state, sums,
                        lengths,
                    )  # fmt: skip
            finish(board, part, phase)
    restore_denormals(flushed)


@jit
def _lanes_step(n, v0, v1, b0, b1, first, last, shape, reverse, kind, leaky, h, h0, leak, matrix, state, sums, lengths):
    steps, batch, size = shape
    width = vector_width(h)
    ld = sums.size // size
    old, new = (n & 1) * (size + 1) * ld, (~n & 1) * (size + 1) * ld
    values, columns, starts = matrix.values, matrix.columns, matrix.starts
    v = v0
    while v < v1:
        if v + BROAD <= v1:
            for i in range(first, last):
                times_broad(
                    values, columns, starts[i], starts[i + 1], state, old + v * width, ld, sums, i * ld + v * width
                )
            v += BROAD
        else:
            for i in range(first, last):
                times_narrow(
                    values, columns, starts[i], starts[i + 1], state, old + v * width, ld, sums, i * ld + v * width
                )
            v += 1
    t = time(n, steps, reverse)
    before, start = _earlier(n, shape, reverse, h, h0)
    corner = (t * batch + b0) * size + first
    transpose(sums, first * ld + b0, ld, last - first, b1 - b0, h, corner, size, 1)
    for b in range(b0, b1):
        here, earlier = (t * batch + b) * size, start + b * size
        if ended(lengths, b, t):
            _stay(h, here, before, earlier, first, last)
        else:
            _settle(kind, leaky, h, here, before, earlier, leak, first, last)
    transpose(h, corner, size, b1 - b0, last - first, state, new + first * ld + b0, ld, 0)
