"""The fast path of `gru`, reset after the product: vectors, packed weights, threads; built as `lstm_fast`.

A reset before the product needs two products a step, one after the other, and stays with the plain loops.
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
from .recurrence import clear, column_sum, cut_lanes, cut_panels, flat, products, trimmed, weight_gradient
from .simd import vector_loop
from .threads import GANG, finish, take
from .workspace import empty, scratch


def forward(
    xs: Any, w_ih: Any, bias: Any, w_hh: Any, b_hn: Any, h0: Any, lengths: Any, reverse: bool
) -> tuple[Any, Any, Any]:
    """Returns h, gates, inner; gates first holds the input products."""
    steps, batch, size = len(xs), *h0.shape
    cut = split(steps, batch, size, 3)
    columns = 3 * padded(size, xs.dtype)
    h, inner = empty((steps, batch, size), xs.dtype), empty((steps, batch, size), xs.dtype)
    gates = empty((steps, batch, 3 * size), xs.dtype)
    parts, inputs, bias, sizes = products_with(xs, w_ih, bias, gates, cut)
    packed, sums, *room = scratch(h.dtype, size * columns, batch * columns, *sizes)
    arrays = *flat(h, gates, inner, w_hh, b_hn, h0), bias, packed, sums, tuple(room)
    GANG.run(_forward, parts, cut.by_units, parts, *cut, h.shape, reverse, inputs, *arrays, lengths, kind=h.dtype)
    return h, gates, inner


def backward(
    dh: Any,
    dh_last: Any,
    h: Any,
    gates: Any,
    inner: Any,
    xs: Any,
    w_ih: Any,
    w_hh: Any,
    h0: Any,
    dx: Any,
    lengths: Any,
    reverse: bool,
) -> tuple[Any, Any, Any, Any, Any]:
    """Returns dw_ih, db, dw_hh, db_hn, dh0."""
    steps, batch, size = h.shape
    cut = split(steps, batch, size, 3)
    columns = padded(size, h.dtype)
    dw_ih, dw_hh = empty(w_ih.shape, h.dtype), empty((3 * size, columns), h.dtype)
    db, db_hn, carry = empty((3 * size,), h.dtype), empty((size,), h.dtype), dh_last.copy()
    joined, parts, inputs, sizes = gradients_with(xs, w_ih, dx, dw_ih, cut, columns)
    packed, sums, d_xw, d_inner, *room = scratch(
        h.dtype, 3 * size * columns, batch * columns, gates.size, h.size, *sizes
    )
    if not joined:
        d_xw = empty((gates.size,), h.dtype)
    given, results = flat(dh, h, gates, inner, w_hh, h0), (d_xw, d_inner, db, db_hn, *flat(dw_hh, carry))
    arrays = *given, *results, packed, sums, tuple(room)
    GANG.run(_backward, parts, cut.by_units, parts, *cut, h.shape, reverse, inputs, *arrays, lengths, kind=h.dtype)
    if not joined:
        gradients_apart(d_xw, xs, w_ih, dx, dw_ih)
    return dw_ih, db, trimmed(dw_hh, size), db_hn, carry


def _gates_body(v, sums, a, b_hn, inner, h_before, h, columns, size):
    """columns, size: from one gate to the next, in sums and in a, which holds the input products."""
    r = v.sigmoid(a.load() + sums.load())
    z = v.sigmoid(a.at(1, size).load() + sums.at(1, columns).load())
    product = sums.at(2, columns).load() + b_hn.load()
    n = v.tanh(v.fma(r, product, a.at(2, size).load()))
    for k, gate in enumerate((r, z, n)):
        a.at(k, size).store(gate)
    inner.store(product)
    h.store(v.fma(z, h_before.load() - n, n))


def _gate_gradients_body(v, dh, sums, carry, a, inner, h_before, da, d_inner, size):
    """The cotangent of h is what came from outside, what the products brought, and what passed by them."""
    r, z, n = (a.at(k, size).load() for k in range(3))
    total = dh.load() + (sums.load() + carry.load())
    da_n = total * (1.0 - z) * v.fma(0.0 - n, n, 1.0)
    da.store(da_n * inner.load() * (r * (1.0 - r)))
    da.at(1, size).store(total * (h_before.load() - n) * (z * (1.0 - z)))
    da.at(2, size).store(da_n)
    d_inner.store(da_n * r)
    carry.store(total * z)


_gates = vector_loop("gates", 6, _gates_body, numbers=2)
_gate_gradients = vector_loop("gate_gradients", 8, _gate_gradients_body, numbers=1)


@jit
def _forward(
    me, board, parts, shares, by_units, shape, reverse, inputs, h, a, inner, w_hh, b_hn, h0, bias,
    packed, sums, room, lengths,
):  # fmt: skip
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
                for q in range(3):
                    rows, source = min(p1 * width, size) - p0 * width, (q * size + p0 * width) * size
                    pack_rows(w_hh, source, size, size, rows, packed, (q * panels + p0) * size * width)
            if phase < ahead:
                product_phase(part, parts, phase, inputs, bias, a, room)
            if phase >= before:
                for n in range(phase - before, phase - before + 1 if by_units else steps):
                    _forward_step(
                        n, part, shares, by_units, shape, reverse, h, a, inner, b_hn, h0, packed, sums, lengths
                    )
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _forward_step(n, part, shares, by_units, shape, reverse, h, a, inner, b_hn, h0, packed, sums, lengths):
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    columns = 3 * panels * width
    b0, b1 = cut_lanes(part, shares, by_units, batch)
    p0, p1 = cut_panels(part, shares, by_units, panels)
    t = time(n, steps, reverse)
    h_before, before = (h, time(n - 1, steps, reverse) * batch * size) if n else (h0, 0)
    for k in range(3 if by_units else 1):
        q = 2 - k if by_units and n & 1 else k
        q0, q1 = (q * panels + p0, q * panels + p1) if by_units else (0, 3 * panels)
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
            sums, b * columns + first, a, 3 * here + first, b_hn, first, inner, here + first, h_before, earlier + first,
            h, here + first, panels * width, size, last - first,
        )  # fmt: skip
        if ended(lengths, b, t):
            for j in range(first, last):
                h[here + j] = h_before[earlier + j]


@jit
def _backward(
    me, board, parts, shares, by_units, shape, reverse, inputs, dh, h, a, inner, w_hh, h0,
    da, d_inner, db, db_hn, dw_hh, carry, packed, sums, room, lengths,
):  # fmt: skip
    state = flush_denormals()
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    sweep = steps + 1 if by_units else 1
    for phase in range(1 + sweep + 1 + gradient_phases(inputs)):
        for turn in range(parts):
            part = (me + turn) % parts
            if not take(board, part, phase, turn):
                continue
            p0, p1 = cut_panels(part, parts, True, panels)
            last = min(p1 * width, size)
            if phase == 0:
                clear(part, parts, sums)
                pack_columns(w_hh, p0 * width, size, 3 * size, last - p0 * width, packed, p0 * 3 * size * width)
            elif phase <= sweep:
                for n in range(phase - 1, phase if by_units else steps + 1):
                    _backward_step(
                        steps - 1 - n, part, shares, by_units, shape, reverse, dh, h, a, inner, h0,
                        da, d_inner, carry, packed, sums, lengths,
                    )  # fmt: skip
            elif phase == sweep + 1:
                rows = 2 * size  # of r and z; those of n come from the cotangent of W_hn h + b_hn
                weight_gradient(part, parts, da, 3 * size, rows, h, h0, shape, reverse, dw_hh, 0, db, room)
                weight_gradient(part, parts, d_inner, size, size, h, h0, shape, reverse, dw_hh, rows, db_hn, room)
                column_sum(da, steps * batch, 3 * size, rows + p0 * width, rows + last, db)
            else:
                gradient_phase(part, parts, phase - sweep - 2, inputs, da, room)
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _backward_step(
    n, part, shares, by_units, shape, reverse, dh, h, a, inner, h0, da, d_inner, carry, packed, sums, lengths
):
    """Through the products of step n + 1, and then through the gates of step n; n = -1 is the state at the start."""
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    columns = panels * width
    b0, b1 = cut_lanes(part, shares, by_units, batch)
    p0, p1 = cut_panels(part, shares, by_units, panels)
    if n < steps - 1:
        later = (time(n + 1, steps, reverse) * batch + b0) * size
        rows = b1 - b0
        products(
            da, 3 * later, 3 * size, rows, packed, 0, p0, p1, 3 * size, 2 * size, sums, b0 * columns, columns, n & 1, 0
        )
        products(
            d_inner, later, size, rows, packed, 2 * size, p0, p1, 3 * size, size, sums, b0 * columns, columns, n & 1, 1
        )
    first, last = p0 * width, min(p1 * width, size)
    if n < 0:
        for b in range(b0, b1):
            for j in range(first, last):
                carry[b * size + j] += sums[b * columns + j]
        return
    t = time(n, steps, reverse)
    h_before, before = (h, time(n - 1, steps, reverse) * batch * size) if n else (h0, 0)
    for b in range(b0, b1):
        here, lane, sum0 = (t * batch + b) * size, b * size, b * columns
        if ended(lengths, b, t):
            for j in range(first, last):
                carry[lane + j] = dh[here + j] + (sums[sum0 + j] + carry[lane + j])
                d_inner[here + j] = 0
            for q in range(3):
                for j in range(first, last):
                    da[3 * here + q * size + j] = 0
        else:
            _gate_gradients(
                dh, here + first, sums, sum0 + first, carry, lane + first, a, 3 * here + first, inner, here + first,
                h_before, before + lane + first, da, 3 * here + first, d_inner, here + first, size, last - first,
            )  # fmt: skip
