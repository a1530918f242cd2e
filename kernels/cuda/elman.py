"""Launchers of elman.cu: the simple recurrent network of Elman (1990)."""

from __future__ import annotations

from typing import Any

from ..reference.common import input_gradients, input_products, recurrent_weight_gradient
from . import recurrence
from .machine import blocks
from .recurrence import THREADS, Order, device_lengths, prepared, run_steps

FILE = "elman.cu"


def elman_forward(
    xs: Any,
    w_ih: Any,
    bias: Any,
    w_hh: Any,
    h0: Any,
    lengths: Any = None,
    reverse: bool = False,
    nonlinearity: str = "tanh",
) -> Any:
    """Run an Elman network over a whole sequence; arguments and result as in `reference`."""
    machine, xs, w_ih, bias, w_hh, h0 = prepared(xs, w_ih, bias, w_hh, h0)
    h = input_products(xs, w_ih, bias, machine.xp.matmul)
    steps, batch, units = h.shape
    ends, relu = device_lengths(machine, lengths), _relu(nonlinearity)
    plan = recurrence.row_plan(machine, 1, units, batch, h.dtype)
    if plan is not None:
        arguments = h, w_hh, h0, ends, steps, reverse, relu
        machine.launch(
            FILE, "elman_row_forward", batch, plan.threads, *arguments,
            real=h.dtype, defines=plan.defines, shared=plan.shared,
        )  # fmt: skip
        return h
    product = machine.empty((batch, units), h.dtype)
    grid = blocks(batch * units, THREADS)

    def loop(w_hh: Any, h0: Any, h: Any, product: Any) -> None:
        for t, before in Order.of(steps, reverse):
            machine.matmul(h0 if before < 0 else h[before], w_hh.T, product)
            arguments = h, product, h0, ends, t, before, batch, units, relu
            machine.launch(FILE, "elman_step_forward", grid, THREADS, *arguments, real=h.dtype)

    run_steps(machine, ("elman_forward", reverse, relu), loop, ends, (w_hh, h0), (h,), (product,))
    return h


def elman_backward(
    dh: Any,
    dh_last: Any,
    h: Any,
    xs: Any,
    w_ih: Any,
    w_hh: Any,
    h0: Any,
    dx: Any = None,
    lengths: Any = None,
    reverse: bool = False,
    nonlinearity: str = "tanh",
) -> tuple[Any, Any, Any, Any]:
    """Pull cotangents back through `elman_forward`; arguments and results as in `reference`."""
    machine, dh, dh_last, h, xs, w_ih, w_hh, h0 = prepared(dh, dh_last, h, xs, w_ih, w_hh, h0)
    steps, batch, units = h.shape
    ends, relu = device_lengths(machine, lengths), _relu(nonlinearity)
    d_xw = machine.empty(h.shape, h.dtype)
    plan = recurrence.row_plan(machine, 1, units, batch, h.dtype)
    if plan is not None:
        carry = machine.empty(h0.shape, h.dtype)
        arguments = dh, dh_last, h, w_hh, d_xw, carry, ends, steps, reverse, relu
        machine.launch(
            FILE, "elman_row_backward", batch, plan.threads, *arguments,
            real=h.dtype, defines=plan.defines, shared=plan.shared,
        )  # fmt: skip
    else:
        product, kept = dh_last.copy(), machine.zeros(h0.shape, h.dtype)
        grid = blocks(batch * units, THREADS)

        def loop(dh: Any, h: Any, w_hh: Any, product: Any, kept: Any, d_xw: Any) -> None:
            for t, _ in reversed(Order.of(steps, reverse)):
                arguments = dh, h, product, kept, d_xw, ends, t, batch, units, relu
                machine.launch(FILE, "elman_step_backward", grid, THREADS, *arguments, real=h.dtype)
                machine.matmul(d_xw[t], w_hh, product)

        key = "elman_backward", reverse, relu
        run_steps(machine, key, loop, ends, (dh, h, w_hh), (product, kept), (d_xw,))
        carry = product + kept
    dw_ih, db = input_gradients(d_xw, xs, w_ih, dx, machine.xp.matmul)
    return dw_ih, db, recurrent_weight_gradient(d_xw, h, h0, reverse), carry


def _relu(nonlinearity: str) -> bool:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f'nonlinearity is "tanh" or "relu"; got {nonlinearity!r}')
    return nonlinearity == "relu"
