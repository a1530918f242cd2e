"""The simple recurrent network of Elman (1990): h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..reference.common import input_gradients, input_products
from . import elman_fast
from .common import add_outer, add_product, ended, integers, plainly, time
from .compiling import allocating
from .denormals import flush_denormals, restore_denormals
from .dispatch import fast
from .product import matmul


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
    given = plainly(xs.dtype, xs, w_ih, bias, w_hh, h0)
    how = integers(lengths), bool(reverse), nonlinearity == "tanh"
    if fast(len(xs), *h0.shape):
        return elman_fast.forward(*given, *how)
    h = input_products(*given[:3], matmul)
    forward(h, *given[3:], *how)
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
    given = plainly(h.dtype, dh, dh_last, h, xs, w_ih, w_hh, h0)
    how = integers(lengths), bool(reverse), nonlinearity == "tanh"
    if fast(*h.shape):
        return elman_fast.backward(*given, dx, *how)
    xs, w_ih = given[3:5]
    d_xw, dw_hh, dh0 = backward(*given[:3], *given[5:], *how)
    return *input_gradients(d_xw, xs, w_ih, dx, matmul), dw_hh, dh0


@allocating
def forward(h, w_hh, h0, lengths, reverse, squash):
    """h holds the input products, and then the states."""
    state = flush_denormals()
    w = w_hh.T.copy()
    steps, batch, size = h.shape
    before = h0
    for n in range(steps):
        t = time(n, steps, reverse)
        add_product(h[t], before, w)
        for b in range(batch):
            for j in range(size):
                if ended(lengths, b, t):
                    h[t, b, j] = before[b, j]
                elif squash:
                    h[t, b, j] = math.tanh(h[t, b, j])
                else:
                    h[t, b, j] = 0 if h[t, b, j] < 0 else h[t, b, j]
        before = h[t]
    restore_denormals(state)


@allocating
def backward(dh, dh_last, h, w_hh, h0, lengths, reverse, squash):
    """The steps in the opposite order."""
    state = flush_denormals()
    steps, batch, size = h.shape
    d_xw = np.empty_like(h)
    dw_hh = np.zeros_like(w_hh)
    carry = dh_last.copy()
    for n in range(steps - 1, -1, -1):
        t = time(n, steps, reverse)
        for b in range(batch):
            for j in range(size):
                total = dh[t, b, j] + carry[b, j]
                past = ended(lengths, b, t)
                if past:
                    slope = total * 0
                elif squash:
                    slope = 1 - h[t, b, j] * h[t, b, j]
                else:
                    slope = total * 0 + (h[t, b, j] > 0)
                d_xw[t, b, j] = total * slope
                carry[b, j] = total if past else 0
        add_product(carry, d_xw[t], w_hh)
        add_outer(dw_hh, d_xw[t], h[time(n - 1, steps, reverse)] if n else h0)
    restore_denormals(state)
    return d_xw, dw_hh, carry
