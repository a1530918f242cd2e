"""The fast path of `lstm`: vectors, packed weights, threads. The equations are in `lstm.py`.

Forward: the products of all steps with the inputs, into `gates`. Then for each step, and each part of the lanes and
units: all products of the step into a padded workspace, `sums`; then the gates from it, a vector at a time.
"""

from __future__ import annotations

from typing import Any

from .common import ended, time
from .compiling import inlined, jit
from .denormals import flush_denormals, restore_denormals
from .dispatch import split
from .inputs import gradient_phase, gradient_phases, gradients_apart, gradients_with, products_with
from .pack import pack_columns, pack_rows, padded, panel_width, panels_of
from .product import product_phase, product_phases
from .recurrence import clear, cut_lanes, cut_panels, flat, products, trimmed, weight_gradient
from .simd import vector_loop
from .threads import GANG, finish, take
from .workspace import empty, scratch


def forward(
    xs: Any, w_ih: Any, bias: Any, w_hh: Any, h0: Any, c0: Any, lengths: Any, reverse: bool
) -> tuple[Any, Any, Any]:
    """Returns h, c, gates."""
    steps, batch, size = len(xs), *h0.shape
    cut = split(steps, batch, size, 4)
    columns = 4 * padded(size, xs.dtype)
    h, c = empty((steps, batch, size), xs.dtype), empty((steps, batch, size), xs.dtype)
    gates = empty((steps, batch, 4 * size), xs.dtype)
    parts, inputs, bias, sizes = products_with(xs, w_ih, bias, gates, cut)
    packed, sums, *room = scratch(h.dtype, size * columns, batch * columns, *sizes)
    arrays = *flat(h, c, gates, w_hh, h0, c0), bias, packed, sums, tuple(room)
    GANG.run(_forward, parts, cut.by_units, parts, *cut, h.shape, reverse, inputs, *arrays, lengths, kind=h.dtype)
    return h, c, gates


def backward(
    dh: Any,
    dh_last: Any,
    dc_last: Any,
    h: Any,
    c: Any,
    gates: Any,
    xs: Any,
    w_ih: Any,
    w_hh: Any,
    h0: Any,
    c0: Any,
    dx: Any,
    lengths: Any,
    reverse: bool,
) -> tuple[Any, Any, Any, Any, Any]:
    """Returns dw_ih, db, dw_hh, dh0, dc0."""
    steps, batch, size = h.shape
    cut = split(steps, batch, size, 4)
    columns = padded(size, h.dtype)
    dw_ih, db, dw_hh = empty(w_ih.shape, h.dtype), empty((4 * size,), h.dtype), empty((4 * size, columns), h.dtype)
    dh_carry, dc_carry = dh_last.copy(), dc_last.copy()
    joined, parts, inputs, sizes = gradients_with(xs, w_ih, dx, dw_ih, cut, columns)
    packed, sums, d_xw, *room = scratch(h.dtype, 4 * size * columns, batch * columns, gates.size, *sizes)
    if not joined:
        d_xw = empty((gates.size,), h.dtype)
    given, results = flat(dh, h, c, gates, w_hh, h0, c0), (d_xw, db, *flat(dw_hh, dh_carry, dc_carry))
    arrays = *given, *results, packed, sums, tuple(room)
    GANG.run(_backward, parts, cut.by_units, parts, *cut, h.shape, reverse, inputs, *arrays, lengths, kind=h.dtype)
    if not joined:
        gradients_apart(d_xw, xs, w_ih, dx, dw_ih)
    return dw_ih, db, trimmed(dw_hh, size), dh_carry, dc_carry


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
def _forward(
    me, board, parts, shares, by_units, shape, reverse, inputs, h, c, a, w_hh, h0, c0, bias, packed, sums, room, lengths
):
    """First the products with the inputs, while phase 0 packs W_hh too. Then the steps: one a phase if the units are
    cut, all in one phase if the lanes are.
    """
    state = flush_denormals()
    steps, _, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    ahead = product_phases(inputs)
    before = max(1, ahead)
    for phase in range(before + (steps if by_units else 1)):
        for turn in range(parts):
            part = (me + turn) % parts
            if not take(board, part, phase, turn):
                continue
            if phase == 0:
                p0, p1 = cut_panels(part, parts, True, panels)
                for q in range(4):
                    rows, source = min(p1 * width, size) - p0 * width, (q * size + p0 * width) * size
                    pack_rows(w_hh, source, size, size, rows, packed, (q * panels + p0) * size * width)
            if phase < ahead:
                product_phase(part, parts, phase, inputs, bias, a, room)
            if phase >= before:
                for n in range(phase - before, phase - before + 1 if by_units else steps):
                    _forward_step(n, part, shares, by_units, shape, reverse, h, c, a, h0, c0, packed, sums, lengths)
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _forward_step(n, part, shares, by_units, shape, reverse, h, c, a, h0, c0, packed, sums, lengths):
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    columns = 4 * panels * width
    b0, b1 = cut_lanes(part, shares, by_units, batch)
    p0, p1 = cut_panels(part, shares, by_units, panels)
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
    me, board, parts, shares, by_units, shape, reverse, inputs, dh, h, c, a, w_hh, h0, c0,
    da, db, dw_hh, dh_carry, dc_carry, packed, sums, room, lengths,
):  # fmt: skip
    """Phase 0 packs; then the steps as in `_forward`, and one more that ends at h0; at last the sums over all steps."""
    state = flush_denormals()
    steps, _, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    sweep = steps + 1 if by_units else 1
    for phase in range(1 + sweep + 1 + gradient_phases(inputs)):
        for turn in range(parts):
            part = (me + turn) % parts
            if not take(board, part, phase, turn):
                continue
            if phase == 0:
                clear(part, parts, sums)
                p0, p1 = cut_panels(part, parts, True, panels)
                columns = min(p1 * width, size) - p0 * width
                pack_columns(w_hh, p0 * width, size, 4 * size, columns, packed, p0 * 4 * size * width)
            elif phase <= sweep:
                for n in range(phase - 1, phase if by_units else steps + 1):
                    _backward_step(
                        steps - 1 - n, part, shares, by_units, shape, reverse, dh, c, a, c0,
                        da, dh_carry, dc_carry, packed, sums, lengths,
                    )  # fmt: skip
            elif phase == sweep + 1:
                rows = 4 * size
                weight_gradient(part, parts, da, rows, rows, h, h0, shape, reverse, dw_hh, 0, db, room)
            else:
                gradient_phase(part, parts, phase - sweep - 2, inputs, da, room)
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _backward_step(
    n, part, shares, by_units, shape, reverse, dh, c, a, c0, da, dh_carry, dc_carry, packed, sums, lengths
):
    """Through the products of step n + 1, and then through the gates of step n; n = -1 is the state at the start."""
    steps, batch, size = shape
    width = panel_width(c)
    panels = panels_of(size, c)
    columns = panels * width
    b0, b1 = cut_lanes(part, shares, by_units, batch)
    p0, p1 = cut_panels(part, shares, by_units, panels)
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
