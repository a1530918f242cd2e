"""The fast path of `lstm`: vectors, packed weights, threads. The equations are in `lstm.py`.

For each step, and each part of the lanes and units: all products of the step into a padded workspace, `sums`; then
the gates from it, a vector at a time.
"""

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


def forward(h: Any, c: Any, gates: Any, w_hh: Any, h0: Any, c0: Any, lengths: Any, reverse: bool) -> None:
    """gates holds the input products, and then the gates."""
    steps, batch, size = h.shape
    cut = split(steps, batch, size, 4)
    columns = 4 * padded(size, h.dtype)
    packed, sums = scratch(h.dtype, size * columns, batch * columns)
    arrays = flat(h, c, gates, w_hh, h0, c0)
    GANG.run(_forward, cut.parts, cut.by_units, *cut, h.shape, reverse, *arrays, packed, sums, lengths)


def backward(
    dh: Any,
    dh_last: Any,
    dc_last: Any,
    h: Any,
    c: Any,
    gates: Any,
    w_hh: Any,
    h0: Any,
    c0: Any,
    lengths: Any,
    reverse: bool,
) -> tuple[Any, Any, Any, Any]:
    """Returns d_xw, dw_hh, dh0, dc0."""
    steps, batch, size = h.shape
    cut = split(steps, batch, size, 4)
    columns = padded(size, h.dtype)
    d_xw, dw_hh = empty(gates.shape, h.dtype), empty((4 * size, columns), h.dtype)
    dh_carry, dc_carry = dh_last.copy(), dc_last.copy()
    packed, sums, *room = scratch(h.dtype, 4 * size * columns, batch * columns, *weight_workspace(cut.parts, columns))
    sums[:] = 0
    given, results = flat(dh, h, c, gates, w_hh, h0, c0), flat(d_xw, dw_hh, dh_carry, dc_carry)
    GANG.run(
        _backward, cut.parts, cut.by_units, *cut, h.shape, reverse, *given, *results, packed, sums, tuple(room), lengths
    )
    return d_xw, trimmed(dw_hh, size), dh_carry, dc_carry


def _gates_body(v, sums, a, c_before, c, h, columns, size):
    """columns, size: from one gate to the next, in sums and in a, which holds the input products."""
    i = v.sigmoid(a.load() + sums.load())
    f = v.sigmoid(a.at(1, size).load() + sums.at(1, columns).load())
    g = v.tanh(a.at(2, size).load() + sums.at(2, columns).load())
    o = v.sigmoid(a.at(3, size).load() + sums.at(3, columns).load())
    new = v.fma(f, c_before.load(), i * g)
    for k, gate in enumerate((i, f, g, o)):
        a.at(k, size).store(gate)
    c.store(new)
    h.store(o * v.tanh(new))


def _gate_gradients_body(v, dh, sums, dh_carry, dc_carry, a, c_before, c, da, size):
    """The cotangent of h is what came from outside, what the products brought, and what a lane past its end kept."""
    i, f, g, o = (a.at(k, size).load() for k in range(4))
    tanh_c = v.tanh(c.load())
    dh_t = dh.load() + (sums.load() + dh_carry.load())
    dc_t = v.fma(dh_t * o, v.fma(0.0 - tanh_c, tanh_c, 1.0), dc_carry.load())
    da.store(dc_t * g * (i * (1.0 - i)))
    da.at(1, size).store(dc_t * c_before.load() * (f * (1.0 - f)))
    da.at(2, size).store(dc_t * i * v.fma(0.0 - g, g, 1.0))
    da.at(3, size).store(dh_t * tanh_c * (o * (1.0 - o)))
    dh_carry.store(0.0)
    dc_carry.store(dc_t * f)


_gates = vector_loop("gates", 5, _gates_body, numbers=2)
_gate_gradients = vector_loop("gate_gradients", 8, _gate_gradients_body, numbers=1)


@jit
def _forward(me, board, parts, by_units, shape, reverse, h, c, a, w_hh, h0, c0, packed, sums, lengths):
    """Phase 0 packs; then come the steps, one a phase if the units are cut, all in one phase if the lanes are."""
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
                for q in range(4):
                    rows, source = min(p1 * width, size) - p0 * width, (q * size + p0 * width) * size
                    pack_rows(w_hh, source, size, size, rows, packed, (q * panels + p0) * size * width)
            else:
                for n in range(phase - 1, phase if by_units else steps):
                    _forward_step(n, part, parts, by_units, shape, reverse, h, c, a, h0, c0, packed, sums, lengths)
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _forward_step(n, part, parts, by_units, shape, reverse, h, c, a, h0, c0, packed, sums, lengths):
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    columns = 4 * panels * width
    b0, b1 = cut_lanes(part, parts, by_units, batch)
    p0, p1 = cut_panels(part, parts, by_units, panels)
    t = time(n, steps, reverse)
    before = time(n - 1, steps, reverse) * batch * size if n else 0
    h_before, c_before = (h, c) if n else (h0, c0)
    for k in range(4 if by_units else 1):
        q = 3 - k if by_units and n & 1 else k
        q0, q1 = (q * panels + p0, q * panels + p1) if by_units else (0, 4 * panels)
        products(
            h_before,
            before + b0 * size,
            size,
            b1 - b0,
            packed,
            0,
            q0,
            q1,
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
        _gates(
            sums, b * columns + first, a, 4 * here + first, c_before, earlier + first, c, here + first, h, here + first,
            panels * width, size, last - first,
        )  # fmt: skip
        if ended(lengths, b, t):
            for j in range(first, last):
                h[here + j] = h_before[earlier + j]
                c[here + j] = c_before[earlier + j]


@jit
def _backward(
    me, board, parts, by_units, shape, reverse, dh, h, c, a, w_hh, h0, c0,
    da, dw_hh, dh_carry, dc_carry, packed, sums, room, lengths,
):  # fmt: skip
    """Phase 0 packs; then the steps as in `_forward`, and one more that ends at h0; at last the weight gradient."""
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
                pack_columns(w_hh, p0 * width, size, 4 * size, columns, packed, p0 * 4 * size * width)
            elif phase <= sweep:
                for n in range(phase - 1, phase if by_units else steps + 1):
                    _backward_step(
                        steps - 1 - n, part, parts, by_units, shape, reverse, dh, c, a, c0,
                        da, dh_carry, dc_carry, packed, sums, lengths,
                    )  # fmt: skip
            else:
                weight_gradient(part, parts, da, 4 * size, 4 * size, h, h0, shape, reverse, dw_hh, 0, room)
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _backward_step(
    n, part, parts, by_units, shape, reverse, dh, c, a, c0, da, dh_carry, dc_carry, packed, sums, lengths
):
    """Through the products of step n + 1, and then through the gates of step n; n = -1 is the state at the start."""
    steps, batch, size = shape
    width = panel_width(c)
    panels = panels_of(size, c)
    columns = panels * width
    b0, b1 = cut_lanes(part, parts, by_units, batch)
    p0, p1 = cut_panels(part, parts, by_units, panels)
    if n < steps - 1:
        later = (time(n + 1, steps, reverse) * batch + b0) * 4 * size
        height = 4 * size
        products(da, later, height, b1 - b0, packed, 0, p0, p1, height, height, sums, b0 * columns, columns, n & 1, 0)
    first, last = p0 * width, min(p1 * width, size)
    if n < 0:
        for b in range(b0, b1):
            for j in range(first, last):
                dh_carry[b * size + j] += sums[b * columns + j]
        return
    t = time(n, steps, reverse)
    before = time(n - 1, steps, reverse) * batch * size if n else 0
    c_before = c if n else c0
    for b in range(b0, b1):
        here, lane, sum0 = (t * batch + b) * size, b * size, b * columns
        if ended(lengths, b, t):
            for j in range(first, last):
                dh_carry[lane + j] = dh[here + j] + (sums[sum0 + j] + dh_carry[lane + j])
            for q in range(4):
                for j in range(first, last):
                    da[4 * here + q * size + j] = 0
        else:
            _gate_gradients(
                dh, here + first, sums, sum0 + first, dh_carry, lane + first, dc_carry, lane + first,
                a, 4 * here + first, c_before, before + lane + first, c, here + first, da, 4 * here + first,
                size, last - first,
            )  # fmt: skip
