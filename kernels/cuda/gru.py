"""Launchers of gru.cu: the gated recurrent unit, in both of its forms. [Cho et al. 2014]"""

from __future__ import annotations

from typing import Any

from ..reference.common import input_gradients, input_products, recurrent_weight_gradient
from . import recurrence
from .machine import Machine, blocks
from .recurrence import THREADS, Order, RowPlan, device_lengths, prepared, run_steps

FILE = "gru.cu"


def gru_forward(
    xs: Any,
    w_ih: Any,
    bias: Any,
    w_hh: Any,
    b_hn: Any,
    h0: Any,
    lengths: Any = None,
    reverse: bool = False,
    reset_after: bool = True,
) -> tuple[Any, Any, Any]:
    """Run a GRU over a whole sequence; arguments and results as in `reference`."""
    machine, xs, w_ih, bias, w_hh, b_hn, h0 = prepared(xs, w_ih, bias, w_hh, b_hn, h0)
    gates = input_products(xs, w_ih, bias, machine.xp.matmul)
    steps, (batch, units), real = len(gates), h0.shape, gates.dtype
    ends = device_lengths(machine, lengths)
    h, inner = (machine.empty((steps, batch, units), real) for _ in range(2))
    plan = recurrence.row_plan(machine, 3, units, batch, real)
    if plan is not None:
        machine.launch(
            FILE, "gru_row_forward" if reset_after else "gru_row_forward_before", batch, plan.threads,
            gates, w_hh, b_hn, h, inner, h0, ends, steps, reverse,
            real=real, defines=plan.defines, shared=plan.shared,
        )  # fmt: skip
        return h, gates, inner
    grid = blocks(batch * units, THREADS)
    product = machine.empty((batch, (3 if reset_after else 2) * units), real)
    second = machine.empty((batch, units), real)

    def after(w_hh: Any, b_hn: Any, h0: Any, gates: Any, h: Any, inner: Any, product: Any, second: Any) -> None:
        for t, before in Order.of(steps, reverse):
            machine.matmul(h0 if before < 0 else h[before], w_hh.T, product)
            arguments = gates, product, b_hn, h, inner, h0, ends, t, before, batch, units
            machine.launch(FILE, "gru_step_forward", grid, THREADS, *arguments, real=real)

    def before_product(
        w_hh: Any, b_hn: Any, h0: Any, gates: Any, h: Any, inner: Any, product: Any, second: Any
    ) -> None:
        for t, before in Order.of(steps, reverse):
            shape = t, before, batch, units
            machine.matmul(h0 if before < 0 else h[before], w_hh[: 2 * units].T, product)
            arguments = gates, product, h, inner, h0, *shape
            machine.launch(FILE, "gru_step_forward_gates", grid, THREADS, *arguments, real=real)
            machine.matmul(inner[t], w_hh[2 * units :].T, second)
            arguments = gates, second, b_hn, h, h0, ends, *shape
            machine.launch(FILE, "gru_step_forward_state", grid, THREADS, *arguments, real=real)

    key, loop = ("gru_forward", reverse, reset_after), after if reset_after else before_product
    run_steps(machine, key, loop, ends, (w_hh, b_hn, h0), (gates,), (h, inner, product, second))
    return h, gates, inner


def gru_backward(
    dh: Any,
    dh_last: Any,
    h: Any,
    gates: Any,
    inner: Any,
    xs: Any,
    w_ih: Any,
    w_hh: Any,
    h0: Any,
    dx: Any = None,
    lengths: Any = None,
    reverse: bool = False,
    reset_after: bool = True,
) -> tuple[Any, Any, Any, Any, Any]:
    """Pull cotangents back through `gru_forward`; arguments and results as in `reference`."""
    given = prepared(dh, dh_last, h, gates, inner, xs, w_ih, w_hh, h0)
    machine, dh, dh_last, h, gates, inner, xs, w_ih, w_hh, h0 = given
    units = h.shape[2]
    ends = device_lengths(machine, lengths)
    plan = recurrence.row_plan(machine, 3, units, h.shape[1], h.dtype)
    pull = _after if reset_after else _before
    d_xw, through, dh0 = pull(machine, plan, dh, dh_last, h, gates, inner, w_hh, h0, ends, reverse)
    dw_ih, db = input_gradients(d_xw, xs, w_ih, dx, machine.xp.matmul)
    if reset_after:
        dw_hh = recurrent_weight_gradient(through, h, h0, reverse)
        return dw_ih, db, dw_hh, through[:, :, 2 * units :].sum((0, 1)), dh0
    d_new = d_xw[:, :, 2 * units :]
    dw_gates = recurrent_weight_gradient(d_xw[:, :, : 2 * units], h, h0, reverse)
    dw_new = d_new.reshape(-1, units).T @ inner.reshape(-1, units)
    return dw_ih, db, machine.xp.concatenate([dw_gates, dw_new]), d_new.sum((0, 1)), dh0


def _after(
    machine: Machine, plan: RowPlan | None, dh: Any, dh_last: Any, h: Any, gates: Any, inner: Any, w_hh: Any, h0: Any,
    ends: Any, reverse: bool,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """d_xw, the cotangents of the products with W_hh (T, B, 3H), and dh0."""
    (steps, batch, units), real = h.shape, h.dtype
    d_xw, through = machine.empty(gates.shape, real), machine.empty(gates.shape, real)
    if plan is not None:
        dh0 = machine.empty(h0.shape, real)
        arguments = dh, dh_last, h, gates, inner, w_hh, h0, d_xw, through, dh0, ends, steps, reverse
        machine.launch(
            FILE, "gru_row_backward", batch, plan.threads, *arguments,
            real=real, defines=plan.defines, shared=plan.shared,
        )  # fmt: skip
        return d_xw, through, dh0
    product, kept = dh_last.copy(), machine.zeros(h0.shape, real)
    grid = blocks(batch * units, THREADS)

    def loop(
        dh: Any, h: Any, gates: Any, inner: Any, w_hh: Any, h0: Any, product: Any, kept: Any, d_xw: Any, through: Any
    ) -> None:
        for t, before in reversed(Order.of(steps, reverse)):
            arguments = dh, h, gates, inner, h0, product, kept, d_xw, through, ends, t, before, batch, units
            machine.launch(FILE, "gru_step_backward", grid, THREADS, *arguments, real=real)
            machine.matmul(through[t], w_hh, product)

    reads, key = (dh, h, gates, inner, w_hh, h0), ("gru_backward after", reverse)
    run_steps(machine, key, loop, ends, reads, (product, kept), (d_xw, through))
    return d_xw, through, product + kept


def _before(
    machine: Machine, plan: RowPlan | None, dh: Any, dh_last: Any, h: Any, gates: Any, inner: Any, w_hh: Any, h0: Any,
    ends: Any, reverse: bool,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """d_xw, None, and dh0."""
    (steps, batch, units), real = h.shape, h.dtype
    d_xw = machine.empty(gates.shape, real)
    if plan is not None:
        dh0 = machine.empty(h0.shape, real)
        machine.launch(
            FILE, "gru_row_backward_before", batch, plan.threads,
            dh, dh_last, h, gates, w_hh, h0, d_xw, dh0, ends, steps, reverse,
            real=real, defines=plan.defines, shared=plan.shared,
        )  # fmt: skip
        return d_xw, None, dh0
    product, kept = dh_last.copy(), machine.zeros(h0.shape, real)
    d_n, d_inner = machine.empty(h0.shape, real), machine.empty(h0.shape, real)
    pair = machine.empty((batch, 2 * units), real)
    grid = blocks(batch * units, THREADS)

    def loop(
        dh: Any, h: Any, gates: Any, w_hh: Any, h0: Any, product: Any, kept: Any, d_xw: Any, d_n: Any, d_inner: Any,
        pair: Any,
    ) -> None:  # fmt: skip
        for t, before in reversed(Order.of(steps, reverse)):
            shape = ends, t, before, batch, units
            arguments = dh, h, gates, h0, product, kept, d_xw, d_n, *shape
            machine.launch(FILE, "gru_step_backward_state", grid, THREADS, *arguments, real=real)
            machine.matmul(d_n, w_hh[2 * units :], d_inner)
            arguments = h, gates, h0, d_inner, kept, d_xw, pair, *shape
            machine.launch(FILE, "gru_step_backward_gates", grid, THREADS, *arguments, real=real)
            machine.matmul(pair, w_hh[: 2 * units], product)

    reads, key = (dh, h, gates, w_hh, h0), ("gru_backward before", reverse)
    run_steps(machine, key, loop, ends, reads, (product, kept), (d_xw, d_n, d_inner, pair))
    return d_xw, None, product + kept
