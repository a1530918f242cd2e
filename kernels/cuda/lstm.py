"""Launchers of lstm.cu: long short-term memory. [Hochreiter & Schmidhuber 1997; Gers et al. 2000]"""

from __future__ import annotations

from typing import Any

from ..reference.common import input_gradients, input_products, recurrent_weight_gradient
from . import recurrence
from .machine import blocks
from .recurrence import THREADS, Order, device_lengths, prepared, run_steps

FILE = "lstm.cu"


def lstm_forward(
    xs: Any, w_ih: Any, bias: Any, w_hh: Any, h0: Any, c0: Any, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any, Any]:
    """Run an LSTM over a whole sequence; arguments and results as in `reference`."""
    machine, xs, w_ih, bias, w_hh, h0, c0 = prepared(xs, w_ih, bias, w_hh, h0, c0)
    gates = input_products(xs, w_ih, bias, machine.xp.matmul)
    steps, (batch, units), real = len(gates), h0.shape, gates.dtype
    ends = device_lengths(machine, lengths)
    h, c = (machine.empty((steps, batch, units), real) for _ in range(2))
    plan = recurrence.row_plan(machine, 4, units, batch, real)
    if plan is not None:
        machine.launch(
            FILE, "lstm_row_forward", batch, plan.threads, gates, w_hh, h, c, h0, c0, ends, steps, reverse,
            real=real, defines=plan.defines, shared=plan.shared,
        )  # fmt: skip
        return h, c, gates
    product = machine.empty((batch, 4 * units), real)
    grid = blocks(batch * units, THREADS)

    def loop(w_hh: Any, h0: Any, c0: Any, gates: Any, h: Any, c: Any, product: Any) -> None:
        for t, before in Order.of(steps, reverse):
            machine.matmul(h0 if before < 0 else h[before], w_hh.T, product)
            arguments = gates, product, h, c, h0, c0, ends, t, before, batch, units
            machine.launch(FILE, "lstm_step_forward", grid, THREADS, *arguments, real=real)

    run_steps(machine, ("lstm_forward", reverse), loop, ends, (w_hh, h0, c0), (gates,), (h, c, product))
    return h, c, gates


def lstm_backward(
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
    dx: Any = None,
    lengths: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any, Any, Any, Any]:
    """Pull cotangents back through `lstm_forward`; arguments and results as in `reference`."""
    given = prepared(dh, dh_last, dc_last, h, c, gates, xs, w_ih, w_hh, h0, c0)
    machine, dh, dh_last, dc_last, h, c, gates, xs, w_ih, w_hh, h0, c0 = given
    (steps, batch, units), real = h.shape, h.dtype
    ends = device_lengths(machine, lengths)
    d_xw = machine.empty(gates.shape, real)
    plan = recurrence.row_plan(machine, 4, units, batch, real)
    if plan is not None:
        dh0, dc0 = machine.empty(h0.shape, real), machine.empty(h0.shape, real)
        arguments = dh, dh_last, dc_last, c, gates, w_hh, c0, d_xw, dh0, dc0, ends, steps, reverse
        machine.launch(
            FILE, "lstm_row_backward", batch, plan.threads, *arguments,
            real=real, defines=plan.defines, shared=plan.shared,
        )  # fmt: skip
    else:
        product, dc0, kept = dh_last.copy(), dc_last.copy(), machine.zeros(h0.shape, real)
        grid = blocks(batch * units, THREADS)

        def loop(dh: Any, c: Any, gates: Any, w_hh: Any, c0: Any, product: Any, kept: Any, dc0: Any, d_xw: Any) -> None:
            for t, before in reversed(Order.of(steps, reverse)):
                arguments = dh, c, gates, c0, product, kept, dc0, d_xw, ends, t, before, batch, units
                machine.launch(FILE, "lstm_step_backward", grid, THREADS, *arguments, real=real)
                machine.matmul(d_xw[t], w_hh, product)

        key, updates = ("lstm_backward", reverse), (product, kept, dc0)
        run_steps(machine, key, loop, ends, (dh, c, gates, w_hh, c0), updates, (d_xw,))
        dh0 = product + kept
    dw_ih, db = input_gradients(d_xw, xs, w_ih, dx, machine.xp.matmul)
    return dw_ih, db, recurrent_weight_gradient(d_xw, h, h0, reverse), dh0, dc0
