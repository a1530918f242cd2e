"""The fast path of `elman`: vectors, packed weights, threads; built as `lstm_fast`, where the phases are explained."""

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


def forward(xs: Any, w_ih: Any, bias: Any, w_hh: Any, h0: Any, lengths: Any, reverse: bool, squash: bool) -> Any:
    """Returns h, which first holds the input products."""
    steps, batch, size = len(xs), *h0.shape
    cut = split(steps, batch, size, 1)
    columns = padded(size, xs.dtype)
    h = empty((steps, batch, size), xs.dtype)
    parts, inputs, bias, sizes = products_with(xs, w_ih, bias, h, cut)
    packed, sums, *room = scratch(h.dtype, size * columns, batch * columns, *sizes)
    arrays = *flat(h, w_hh, h0), bias, packed, sums, tuple(room)
    GANG.run(
        _forward, parts, cut.by_units, parts, *cut, h.shape, reverse, squash, inputs, *arrays, lengths, kind=h.dtype
    )
    return h


def backward(
    dh: Any,
    dh_last: Any,
    h: Any,
    xs: Any,
    w_ih: Any,
    w_hh: Any,
    h0: Any,
    dx: Any,
    lengths: Any,
    reverse: bool,
    squash: bool,
) -> tuple[Any, Any, Any, Any]:
    """Returns dw_ih, db, dw_hh, dh0."""
    steps, batch, size = h.shape
    cut = split(steps, batch, size, 1)
    columns = padded(size, h.dtype)
    dw_ih, db, dw_hh = empty(w_ih.shape, h.dtype), empty((size,), h.dtype), empty((size, columns), h.dtype)
    carry = dh_last.copy()
    joined, parts, inputs, sizes = gradients_with(xs, w_ih, dx, dw_ih, cut, columns)
    packed, sums, d_xw, *room = scratch(h.dtype, size * columns, batch * columns, h.size, *sizes)
    if not joined:
        d_xw = empty((h.size,), h.dtype)
    arrays = *flat(dh, h, w_hh, h0), d_xw, db, *flat(dw_hh, carry), packed, sums, tuple(room)
    GANG.run(
        _backward, parts, cut.by_units, parts, *cut, h.shape, reverse, squash, inputs, *arrays, lengths, kind=h.dtype
    )
    if not joined:
        gradients_apart(d_xw, xs, w_ih, dx, dw_ih)
    return dw_ih, db, trimmed(dw_hh, size), carry


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
def _forward(
    me, board, parts, shares, by_units, shape, reverse, squash, inputs, h, w_hh, h0, bias, packed, sums, room, lengths
):
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
                rows = min(p1 * width, size) - p0 * width
                pack_rows(w_hh, p0 * width * size, size, size, rows, packed, p0 * size * width)
            if phase < ahead:
                product_phase(part, parts, phase, inputs, bias, h, room)
            if phase >= before:
                for n in range(phase - before, phase - before + 1 if by_units else steps):
                    _forward_step(n, part, shares, by_units, shape, reverse, squash, h, h0, packed, sums, lengths)
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _forward_step(n, part, shares, by_units, shape, reverse, squash, h, h0, packed, sums, lengths):
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    columns = panels * width
    b0, b1 = cut_lanes(part, shares, by_units, batch)
    p0, p1 = cut_panels(part, shares, by_units, panels)
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
    me, board, parts, shares, by_units, shape, reverse, squash, inputs, dh, h, w_hh, h0, da, db, dw_hh, carry,
    packed, sums, room, lengths,
):  # fmt: skip
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
                pack_columns(w_hh, p0 * width, size, size, columns, packed, p0 * size * width)
            elif phase <= sweep:
                for n in range(phase - 1, phase if by_units else steps + 1):
                    _backward_step(
                        steps - 1 - n, part, shares, by_units, shape, reverse, squash, dh, h, da, carry, packed, sums,
                        lengths,
                    )  # fmt: skip
            elif phase == sweep + 1:
                weight_gradient(part, parts, da, size, size, h, h0, shape, reverse, dw_hh, 0, db, room)
            else:
                gradient_phase(part, parts, phase - sweep - 2, inputs, da, room)
            finish(board, part, phase)
    restore_denormals(state)


@inlined
def _backward_step(n, part, shares, by_units, shape, reverse, squash, dh, h, da, carry, packed, sums, lengths):
    """Through the product of step n + 1, then the nonlinearity of step n; n = -1 is the state at the start."""
    steps, batch, size = shape
    width = panel_width(h)
    panels = panels_of(size, h)
    columns = panels * width
    b0, b1 = cut_lanes(part, shares, by_units, batch)
    p0, p1 = cut_panels(part, shares, by_units, panels)
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
