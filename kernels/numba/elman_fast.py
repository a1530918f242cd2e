"""The fast path of `elman`: vectors, packed weights, threads; built as `lstm_fast`, where the phases are explained."""

from __future__ import annotations

from typing import Any

from .common import ended, time
from .compiling import inlined, jit
from .denormals import flush_denormals, restore_denormals
from .dispatch import split
from .pack import pack_columns, pack_rows, padded, panel_width, panels_of
from .recurrence import cut_lanes, cut_panels, flat, products, trimmed, weight_gradient, weight_workspace
from .simd import vector_loop
from .threads import GANG, finish, take
from .workspace import empty, scratch


def forward(h: Any, w_hh: Any, h0: Any, lengths: Any, reverse: bool, squash: bool) -> None:
    """h holds the input products, and then the states."""
    cut = split(*h.shape, 1)
    columns = padded(h.shape[2], h.dtype)
    packed, sums = scratch(h.dtype, h.shape[2] * columns, h.shape[1] * columns)
    arrays = flat(h, w_hh, h0)
    GANG.run(_forward, cut.parts, cut.by_units, *cut, h.shape, reverse, squash, *arrays, packed, sums, lengths)


def backward(
    dh: Any, dh_last: Any, h: Any, w_hh: Any, h0: Any, lengths: Any, reverse: bool, squash: bool
) -> tuple[Any, Any, Any]:
    """Returns d_xw, dw_hh, dh0."""
    steps, batch, size = h.shape
    cut = split(steps, batch, size, 1)
    columns = padded(size, h.dtype)
    d_xw, dw_hh, carry = empty(h.shape, h.dtype), empty((size, columns), h.dtype), dh_last.copy()
    packed, sums, *room = scratch(h.dtype, size * columns, batch * columns, *weight_workspace(cut.parts, columns))
    sums[:] = 0
    arrays = *flat(dh, h, w_hh, h0), *flat(d_xw, dw_hh, carry), packed, sums
    GANG.run(_backward, cut.parts, cut.by_units, *cut, h.shape, reverse, squash, *arrays, tuple(room), lengths)
    return d_xw, trimmed(dw_hh, size), carry


def _through(slope):
    """The gradient through one nonlinearity, whose slope is a function of the state."""

    def body(v, dh, sums, carry, h, da):
        da.store((dh.load() + (sums.load() + carry.load())) * slope(v, h.load()))
        carry.store(0.0)

    return body


_tanh = vector_loop("tanh", 2, lambda v, h, sums: h.store(v.tanh(h.load() + sums.load())))
_relu = vector_loop("relu", 2, lambda v, h, sums: h.store(_positive(v, h.load() + sums.load())))
_tanh_gradient = vector_loop("tanh_gradient", 5, _through(lambda v, h: v.fma(0.0 - h, h, 1.0)))
_relu_gradient = vector_loop("relu_gradient", 5, _through(lambda v, h: v.select(">", h, 0.0, 1.0, 0.0)))


def _positive(v, x):
    """max(x, 0), where NaN stays."""
    return v.select("<", x, 0.0, 0.0, x)


@jit
def _forward(me, board, parts, by_units, shape, reverse, squash, h, w_hh, h0, packed, sums, lengths):
    state = flush_denormals()
    steps, _, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    for phase in range(1 + (steps if by_units else 1)):
        for turn in range(parts):
            part = (me + turn) % parts
            if not take(board, part, phase, turn, by_units):
                continue
            if phase == 0:
                p0, p1 = cut_panels(part, parts, True, panels)
                rows = min(p1 * width, size) - p0 * width
                pack_rows(w_hh, p0 * width * size, size, size, rows, packed, p0 * size * width)
            else:
                for n in range(phase - 1, phase if by_units else steps):
                    _forward_step(n, part, parts, by_units, shape, reverse, squash, h, h0, packed, sums, lengths)
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _forward_step(n, part, parts, by_units, shape, reverse, squash, h, h0, packed, sums, lengths):
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    columns = panels * width
    b0, b1 = cut_lanes(part, parts, by_units, batch)
    p0, p1 = cut_panels(part, parts, by_units, panels)
    t = time(n, steps, reverse)
    h_before, before = (h, time(n - 1, steps, reverse) * batch * size) if n else (h0, 0)
    products(
        h_before,
        before + b0 * size,
        size,
        b1 - b0,
        packed,
        0,
        p0,
        p1,
        size,
        size,
        sums,
        b0 * columns,
        columns,
        n & 1,
        0,
    )
    first, last = p0 * width, min(p1 * width, size)
    for b in range(b0, b1):
        here, earlier = (t * batch + b) * size, before + b * size
        if ended(lengths, b, t):
            for j in range(first, last):
                h[here + j] = h_before[earlier + j]
        elif squash:
            _tanh(h, here + first, sums, b * columns + first, last - first)
        else:
            _relu(h, here + first, sums, b * columns + first, last - first)


@jit
def _backward(
    me, board, parts, by_units, shape, reverse, squash, dh, h, w_hh, h0, da, dw_hh, carry, packed, sums, room, lengths
):
    state = flush_denormals()
    steps, _, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    sweep = steps + 1 if by_units else 1
    for phase in range(1 + sweep + 1):
        for turn in range(parts):
            part = (me + turn) % parts
            if not take(board, part, phase, turn, by_units):
                continue
            if phase == 0:
                p0, p1 = cut_panels(part, parts, True, panels)
                columns = min(p1 * width, size) - p0 * width
                pack_columns(w_hh, p0 * width, size, size, columns, packed, p0 * size * width)
            elif phase <= sweep:
                for n in range(phase - 1, phase if by_units else steps + 1):
                    _backward_step(
                        steps - 1 - n, part, parts, by_units, shape, reverse, squash, dh, h, da, carry, packed, sums,
                        lengths,
                    )  # fmt: skip
            else:
                weight_gradient(part, parts, da, size, size, h, h0, shape, reverse, dw_hh, 0, room)
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _backward_step(n, part, parts, by_units, shape, reverse, squash, dh, h, da, carry, packed, sums, lengths):
    """Through the product of step n + 1, then the nonlinearity of step n; n = -1 is the state at the start."""
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    columns = panels * width
    b0, b1 = cut_lanes(part, parts, by_units, batch)
    p0, p1 = cut_panels(part, parts, by_units, panels)
    if n < steps - 1:
        later = (time(n + 1, steps, reverse) * batch + b0) * size
        products(da, later, size, b1 - b0, packed, 0, p0, p1, size, size, sums, b0 * columns, columns, n & 1, 0)
    first, last = p0 * width, min(p1 * width, size)
    if n < 0:
        for b in range(b0, b1):
            for j in range(first, last):
                carry[b * size + j] += sums[b * columns + j]
        return
    t = time(n, steps, reverse)
    for b in range(b0, b1):
        here, lane, sum0 = (t * batch + b) * size, b * size, b * columns
        if ended(lengths, b, t):
            for j in range(first, last):
                carry[lane + j] = dh[here + j] + (sums[sum0 + j] + carry[lane + j])
                da[here + j] = 0
        elif squash:
            _tanh_gradient(
                dh,
                here + first,
                sums,
                sum0 + first,
                carry,
                lane + first,
                h,
                here + first,
                da,
                here + first,
                last - first,
            )
        else:
            _relu_gradient(
                dh,
                here + first,
                sums,
                sum0 + first,
                carry,
                lane + first,
                h,
                here + first,
                da,
                here + first,
                last - first,
            )
