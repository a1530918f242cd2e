"""One step of the influence of real-time recurrent learning, J <- D J + I. [Williams & Zipser 1989]

The product takes nearly all the time: J of an Elman network with 128 units and as many inputs has 4 million entries.
It runs in place, a few columns of J at a time: they are packed, and the microkernels write D times them over J. The
small rest, D and I, is that of `reference`. Where there are no vectors, so is all of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reference import influence as plainly
from .common import plain
from .compiling import jit
from .denormals import flush_denormals, restore_denormals
from .gemm import multiply
from .pack import TOGETHER, pack_columns, padded, panel_width, panels_of
from .recurrence import flat
from .simd import HOST, copy, vector_loop
from .threads import GANG, finish, take, thread_count
from .workspace import scratch

SHARED = 1_000_000  # multiply-adds from which on threads share an update
LEAST = 16  # units; with fewer, packing costs more than it saves


def influence_update_dense(influence: Any, d: Any) -> Any:
    """J <- D J; arguments and result as in `reference`."""
    if not _served(influence, d.shape[1]):
        return plainly.influence_update_dense(influence, d)
    lanes, units, size = influence.shape
    width = padded(1, influence.dtype)
    parts = _parts(lanes, units, size, width)
    room = scratch(influence.dtype, *[parts * units * width * TOGETHER] * 2)
    GANG.run(_dense, parts, False, parts, influence.shape, influence.reshape(-1), plain(d).reshape(-1), *room)
    return influence


def influence_update_diagonal(influence: Any, decay: Any, units: Any) -> Any:
    """E <- λ E; arguments and result as in `reference`."""
    if not influence.flags.c_contiguous or influence.dtype != decay.dtype or influence.dtype.kind != "f":
        return plainly.influence_update_diagonal(influence, decay, units)
    _diagonal(influence, plain(decay), plain(np.asarray(units, np.int64)), np.empty_like(influence[0, :, 0]))
    return influence


def influence_update_elman(influence: Any, w_hh: Any, slope: Any, a: Any) -> Any:
    """The influence of an Elman network; arguments and result as in `reference`."""
    if not _served(influence, slope.shape[1]):
        return plainly.influence_update_elman(influence, w_hh, slope, a)
    influence_update_dense(influence.reshape(*slope.shape, -1), slope[:, :, None] * w_hh)
    _add_own(influence[:, :, 0], plain(slope), plain(a))
    return influence


def influence_update_gru(
    influence: Any, w_hh: Any, h: Any, gates: Any, inner: Any, a: Any, recurrent: int, reset_after: bool = True
) -> Any:
    """The influence of a GRU; arguments and result as in `reference`."""
    d, slopes = plainly.gru_slopes(w_hh, h, gates, inner, reset_after)
    influence_update_dense(influence.reshape(*h.shape, -1), d)
    plainly.add_gru_own(influence, slopes, gates, inner, a, recurrent, reset_after)
    return influence


def influence_update_lstm(influence: Any, w_hh: Any, c: Any, c_new: Any, gates: Any, a: Any) -> Any:
    """The influence of an LSTM; arguments and result as in `reference`."""
    batch, units = c.shape
    if not _served(influence, units):
        return plainly.influence_update_lstm(influence, w_hh, c, c_new, gates, a)
    d, d_o, through, slopes = plainly.lstm_slopes(w_hh, c, c_new, gates)
    shape = batch, units, influence[0, 0, 0].size
    width = padded(1, influence.dtype)
    parts = _parts(*shape, width)
    room = scratch(influence.dtype, parts * units * width, parts * units * width)
    keep = np.ascontiguousarray(gates[:, units : 2 * units])
    GANG.run(_lstm, parts, False, parts, shape, influence.reshape(-1), *flat(d, d_o, keep, through), *room)
    plainly.add_lstm_own(influence, through, slopes, a)
    return influence


def _served(influence: Any, units: int) -> bool:
    fits = influence.flags.c_contiguous and influence.dtype in (np.float32, np.float64)
    return HOST is not None and units >= LEAST and influence.size > 0 and fits


def _parts(lanes: int, units: int, size: int, width: int) -> int:
    """Threads that share an update: by the number of panels, so that shape alone decides."""
    return min(thread_count(), lanes * -(-size // width)) if lanes * units * units * size >= SHARED else 1


_blend = vector_loop("blend", 2, lambda v, more, c, f: c.store(v.fma(f, c.load(), more.load())), factors=1)
_add_scaled = vector_loop("add_scaled", 2, lambda v, c, h, f: h.store(v.fma(f, c.load(), h.load())), factors=1)


@jit
def _dense(me, board, parts, shape, influence, d, panel, tail):
    state = flush_denormals()
    lanes, units, size = shape
    width = panel_width(influence)
    groups = -(-panels_of(size, influence) // TOGETHER)
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn, False):
            continue
        own = part * units * width * TOGETHER
        for s in range(lanes * groups * part // parts, lanes * groups * (part + 1) // parts):
            b, p = s // groups, s % groups * TOGETHER
            top, count = b * units * size + p * width, min(TOGETHER * width, size - p * width)
            pack_columns(influence, top, size, units, count, panel, own)
            for j in range(0, count, width):
                used = min(width, count - j)
                _times(d, b * units * units, units, panel, own + j * units, influence, top + j, size, used, tail, own)
        finish(board, part, 0)
    restore_denormals(state)


@jit
def _times(d, d0, units, panel, panel0, out, out0, ld, used, tail, tail0):
    """out <- D times the panel, of which `used` columns count."""
    width = panel_width(out)
    if used == width:
        multiply(d, d0, units, 1, panel, panel0, out, out0, ld, units, units, 0)
        return
    multiply(d, d0, units, 1, panel, panel0, tail, tail0, width, units, units, 0)
    for i in range(units):
        copy(tail, tail0 + i * width, out, out0 + i * ld, used)


@jit
def _add_own(influence, slope, a):
    """What the weights of each unit do to that unit."""
    for b in range(a.shape[0]):
        for j in range(slope.shape[1]):
            for k in range(a.shape[1]):
                influence[b, j, j, k] += slope[b, j] * a[b, k]


@jit
def _lstm(me, board, parts, shape, influence, d, d_o, keep, through, panel, more):
    """Both halves of the influence, on h and on c: c <- f c + D h, then h <- D_o h + through c."""
    state = flush_denormals()
    lanes, units, size = shape
    width = panel_width(influence)
    panels = panels_of(size, influence)
    on_c = lanes * units * size
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn, False):
            continue
        own = part * units * width
        for s in range(lanes * panels * part // parts, lanes * panels * (part + 1) // parts):
            b, p = s // panels, s % panels
            top, used = b * units * size + p * width, min(width, size - p * width)
            pack_columns(influence, top, size, units, used, panel, own)
            multiply(d, b * units * units, units, 1, panel, own, more, own, width, units, units, 0)
            for i in range(units):
                _blend(more, own + i * width, influence, on_c + top + i * size, keep[b * units + i], used)
            _times(d_o, b * units * units, units, panel, own, influence, top, size, used, more, own)
            for i in range(units):
                row = top + i * size
                _add_scaled(influence, on_c + row, influence, row, through[b * units + i], used)
        finish(board, part, 0)
    restore_denormals(state)


@jit
def _diagonal(influence, decay, units, new):
    """new: room for the states of a unit."""
    state = flush_denormals()
    lanes, kinds, size = influence.shape
    for b in range(lanes):
        if kinds == 1:
            for p in range(size):
                influence[b, 0, p] *= decay[b, 0, 0, units[p]]
            continue
        for p in range(size):
            for k in range(kinds):
                new[k] = 0
                for m in range(kinds):
                    new[k] += decay[b, k, m, units[p]] * influence[b, m, p]
            for k in range(kinds):
                influence[b, k, p] = new[k]
    restore_denormals(state)
