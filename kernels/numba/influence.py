"""One step of the influence of real-time recurrent learning, J <- D J + I. [Williams & Zipser 1989]

The product takes nearly all the time: J of an Elman network with 128 units and as many inputs has 4 million entries.
The built-in recurrences keep J as packed panels, a few columns next to one another, which the microkernels multiply
without any order to be made first. While a panel is in the cache it gets what its weights do in this step, and gives
its part of the gradient. A J of any other origin is multiplied where it lies, a few columns at a time, which are
packed and written over. Where there are no vectors, `reference` serves.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..reference import influence as plainly
from .common import plain
from .compiling import allocating, jit
from .denormals import flush_denormals, restore_denormals
from .gemm import hand_over, multiply, multiply_next
from .pack import TOGETHER, pack_columns, padded, panel_width, panels_of
from .recurrence import flat
from .simd import HOST, copy, vector_loop
from .threads import GANG, finish, take, thread_count
from .workspace import empty, scratch

SHARED = 1_000_000  # multiply-adds from which on threads share an update
LEAST = 16  # units; with fewer, packing costs more than it saves
PANELLED = 4  # axes of a packed influence
NONE = np.empty(0, np.float32), np.empty(0, np.float64)  # where nothing reaches every unit


def influence_pack(influence: Any) -> Any:
    """J in panels, (..., B, S, H, W): a panel has a row for each unit, W of the columns, zeros past the last one."""
    if not _served(influence, influence.shape[-2]):
        return influence
    *parts, batch, units, gates, _, columns = influence.shape
    size, width = gates * units * columns, padded(1, influence.dtype)
    panels = -(-size // width)
    packed = empty((*parts, batch, panels, units, width), influence.dtype)
    rows = np.moveaxis(packed, -2, -3)  # (..., B, H, S, W)
    given = influence.reshape(*parts, batch, units, size)
    whole = size // width
    rows[..., :whole, :] = given[..., : whole * width].reshape(*given.shape[:-1], whole, width)
    rows[..., whole:, :] = 0
    if whole < panels:
        rows[..., whole, : size - whole * width] = given[..., whole * width :]
    return packed


def influence_unpack(packed: Any, shape: tuple[int, ...]) -> Any:
    """The influence out of what `influence_pack` returned; arguments and result as in `reference`."""
    if packed.ndim >= len(shape):
        return packed.reshape(shape)
    rows = np.moveaxis(packed, -2, -3)
    size = math.prod(shape[-3:])
    return rows.reshape(*rows.shape[:-2], -1)[..., :size].reshape(shape)


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


def influence_update_elman(influence: Any, w_hh: Any, slope: Any, a: Any, q: Any) -> Any:
    """The influence of an Elman network; arguments and result as in `reference`."""
    if influence.ndim != PANELLED:
        return plainly.influence_update_elman(influence, w_hh, slope, a, q)
    d, step = _elman_terms(plain(w_hh), plain(slope), plain(a))
    return _panelled(influence, d, step, a, q)


def influence_update_gru(
    influence: Any, w_hh: Any, h: Any, gates: Any, inner: Any, a: Any, q: Any, recurrent: int, reset_after: bool = True
) -> Any:
    """The influence of a GRU; arguments and result as in `reference`."""
    if influence.ndim != PANELLED:
        return plainly.influence_update_gru(influence, w_hh, h, gates, inner, a, q, recurrent, reset_after)
    d, slopes = plainly.gru_slopes(w_hh, h, gates, inner, reset_after)
    step = plainly.gru_own(slopes, gates, inner, a, recurrent, reset_after)
    return _panelled(influence, d.reshape(-1), step.reshape(-1), a, q, None if reset_after else slopes[0].reshape(-1))


def influence_update_lstm(influence: Any, w_hh: Any, c: Any, c_new: Any, gates: Any, a: Any, q: Any) -> Any:
    """The influence of an LSTM; arguments and result as in `reference`."""
    if influence.ndim != PANELLED + 1:
        return plainly.influence_update_lstm(influence, w_hh, c, c_new, gates, a, q)
    d, d_o, through, slopes = plainly.lstm_slopes(w_hh, c, c_new, gates)
    step = plainly.lstm_own(slopes, a)
    _, lanes, panels, units, width = influence.shape
    parts = _parts(lanes, units, panels * width, width)
    keep = np.ascontiguousarray(gates[:, units : 2 * units])
    room = scratch(influence.dtype, *[parts * units * width] * 2)
    gradient = empty((panels * width,), influence.dtype)
    shape = lanes, panels, units, a.shape[1]
    arrays = flat(influence, d, d_o, keep, through, step, plain(q))
    GANG.run(_lstm, parts, False, parts, shape, *arrays, gradient, *room)
    return gradient[: step[0].size].reshape(-1, a.shape[1])


def _panelled(influence: Any, d: Any, step: Any, a: Any, q: Any, reach: Any = None) -> Any:
    """J <- D J + I in panels, and q J. step: (B, G, H, m), I of each unit on itself.  reach: (B, H, H) or None.

    All but J, a and q are one row in memory.
    """
    lanes, panels, units, width = influence.shape
    parts = _parts(lanes, units, panels * width, width)
    (room,) = scratch(influence.dtype, parts * units * width)
    gradient = empty((panels * width,), influence.dtype)
    shape = lanes, panels, units, a.shape[1]
    if reach is None:
        reach = NONE[influence.itemsize == 8]
    influence, a, q = flat(influence, plain(a), plain(q))
    GANG.run(_panels, parts, False, parts, shape, influence, d, step, reach, a, q, gradient, room)
    return gradient[: step.size // lanes].reshape(-1, shape[3])


def _served(influence: Any, units: int) -> bool:
    fits = influence.flags.c_contiguous and influence.dtype in (np.float32, np.float64)
    return HOST is not None and units >= LEAST and influence.size > 0 and fits


def _parts(lanes: int, units: int, size: int, width: int) -> int:
    """Threads that share an update: by the number of panels, so that shape alone decides."""
    return min(thread_count(), lanes * -(-size // width)) if lanes * units * units * size >= SHARED else 1


_blend = vector_loop("blend", 2, lambda v, more, c, f: c.store(v.fma(f, c.load(), more.load())), factors=1)
_add_scaled = vector_loop("add_scaled", 2, lambda v, c, h, f: h.store(v.fma(f, c.load(), h.load())), factors=1)


@allocating
def _elman_terms(w_hh, slope, a):
    """D, and what the weights of each unit do to that unit."""
    batch, units = slope.shape
    columns = a.shape[1]
    d = np.empty(batch * units * units, a.dtype)
    step = np.empty(batch * units * columns, a.dtype)
    for b in range(batch):
        for i in range(units):
            row = b * units + i
            for j in range(units):
                d[row * units + j] = slope[b, i] * w_hh[i, j]
            for k in range(columns):
                step[row * columns + k] = slope[b, i] * a[b, k]
    return d, step


@jit
def _dense(me, board, parts, shape, influence, d, panel, tail):
    state = flush_denormals()
    lanes, units, size = shape
    width = panel_width(influence)
    groups = -(-panels_of(size, influence) // TOGETHER)
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
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
        multiply(d, d0, units, np.intp(1), panel, panel0, out, out0, ld, units, units, np.intp(0))
        return
    multiply(d, d0, units, np.intp(1), panel, panel0, tail, tail0, width, units, units, np.intp(0))
    for i in range(units):
        copy(tail, tail0 + i * width, out, out0 + i * ld, used)


@jit
def _add_own(panel, panel0, s, units, columns, first, stop, step, step0):
    """Add what the weights first <= p < stop of panel number s do to their own unit, number p / m mod H."""
    width = panel_width(panel)
    p = max(first, s * width)
    unit, k = p // columns % units, p % columns
    for place in range(p, min(stop, (s + 1) * width)):
        panel[panel0 + unit * width + place - s * width] += step[step0 + place]
        k += 1
        if k == columns:
            k = 0
            unit = unit + 1 if unit + 1 < units else 0


@jit
def _add_reach(panel, panel0, s, units, columns, reach, a, b):
    """Add what the weights of the first gate do to every unit, (B, H, H) times a."""
    width = panel_width(panel)
    for p in range(s * width, min(units * columns, (s + 1) * width)):
        j, number = p // columns, a[b * columns + p % columns]
        for i in range(units):
            panel[panel0 + i * width + p - s * width] += reach[(b * units + i) * units + j] * number


@jit
def _panels(me, board, parts, shape, influence, d, step, reach, a, q, gradient, room):
    """J <- D J + I, and q J."""
    state = flush_denormals()
    lanes, panels, units, columns = shape
    width = panel_width(influence)
    size = step.size // lanes
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
            continue
        own = part * units * width
        for s in range(panels * part // parts, panels * (part + 1) // parts):
            for b in range(lanes):
                panel = (b * panels + s) * units * width
                multiply_next(d, b * units * units, influence, panel, room, own, units)
                _add_own(room, own, s, units, columns, 0, size, step, b * size)
                if reach.size > 0:
                    _add_reach(room, own, s, units, columns, reach, a, b)
                hand_over(room, own, q, b * units, influence, panel, gradient, s * width, units, int(b > 0))
        finish(board, part, 0)
    restore_denormals(state)


@jit
def _lstm(me, board, parts, shape, influence, d, d_o, keep, through, step, q, gradient, room, more):
    """Both halves of the influence, on h and on c: c <- f c + D h + I, then h <- D_o h + through c + I; and q h."""
    state = flush_denormals()
    lanes, panels, units, columns = shape
    width = panel_width(influence)
    size = step.size // lanes
    of_c = size // 4 * 3  # the weights of i, f, g reach h through c
    half = lanes * panels * units * width
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
            continue
        own = part * units * width
        for s in range(panels * part // parts, panels * (part + 1) // parts):
            for b in range(lanes):
                panel = (b * panels + s) * units * width
                on_c = half + panel
                multiply_next(d, b * units * units, influence, panel, more, own, units)
                _times(d_o, b * units * units, units, influence, panel, room, own, width, width, room, own)
                for i in range(units):
                    _blend(more, own + i * width, influence, on_c + i * width, keep[b * units + i], width)
                _add_own(influence, on_c, s, units, columns, 0, of_c, step, b * size)
                for i in range(units):
                    _add_scaled(influence, on_c + i * width, room, own + i * width, through[b * units + i], width)
                _add_own(room, own, s, units, columns, of_c, size, step, b * size)
                hand_over(room, own, q, b * units, influence, panel, gradient, s * width, units, int(b > 0))
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
