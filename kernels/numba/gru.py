"""The gated recurrent unit, in both of its forms. [Cho et al. 2014]

r, z = sigmoid(...)                                  of  W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
n = tanh(W_in x_t + b_in + r (W_hn h_{t-1} + b_hn))     reset after the product: torch's, cuDNN's
n = tanh(W_in x_t + b_in + W_hn (r h_{t-1}) + b_hn)     reset before it: Cho's
h_t = (1 - z) n + z h_{t-1}
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..reference.common import input_gradients, input_products
from . import gru_fast
from .common import add_outer, add_product, ended, integers, plainly, sigmoid, time
from .compiling import allocating
from .denormals import flush_denormals, restore_denormals
from .dispatch import fast
from .product import matmul
from .workspace import empty


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
    given = plainly(xs.dtype, xs, w_ih, bias, w_hh, b_hn, h0)
    how = integers(lengths), bool(reverse)
    if reset_after and fast(len(xs), *h0.shape):
        return gru_fast.forward(*given, *how)
    gates = input_products(*given[:3], matmul)
    h, inner = (empty((len(xs), *h0.shape), xs.dtype) for _ in range(2))
    forward(h, gates, inner, *given[3:], *how, bool(reset_after))
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
    given = plainly(h.dtype, dh, dh_last, h, gates, inner, xs, w_ih, w_hh, h0)
    how = integers(lengths), bool(reverse)
    if reset_after and fast(*h.shape):
        return gru_fast.backward(*given, dx, *how)
    xs, w_ih = given[5:7]
    d_xw, dw_hh, db_hn, dh0 = backward(*given[:5], *given[7:], *how, bool(reset_after))
    return *input_gradients(d_xw, xs, w_ih, dx, matmul), dw_hh, db_hn, dh0


@allocating
def forward(h, gates, inner, w_hh, b_hn, h0, lengths, reverse, reset_after):
    """gates holds the input products, and then the gates."""
    state = flush_denormals()
    steps, batch, size = h.shape
    w_gates, w_new = w_hh[: 2 * size].T.copy(), w_hh[2 * size :].T.copy()
    before = h0
    for n in range(steps):
        t = time(n, steps, reverse)
        a = gates[t]
        add_product(a, before, w_gates)  # the first 2H columns
        for b in range(batch):
            for j in range(2 * size):
                a[b, j] = sigmoid(a[b, j])
            for j in range(size):
                inner[t, b, j] = b_hn[j] if reset_after else a[b, j] * before[b, j]
        if reset_after:
            add_product(inner[t], before, w_new)
        else:
            add_product(a[:, 2 * size :], inner[t], w_new)
        for b in range(batch):
            for j in range(size):
                r, z = a[b, j], a[b, size + j]
                new = math.tanh(a[b, 2 * size + j] + (r * inner[t, b, j] if reset_after else b_hn[j]))
                a[b, 2 * size + j] = new
                h[t, b, j] = before[b, j] if ended(lengths, b, t) else z * (before[b, j] - new) + new
        before = h[t]
    restore_denormals(state)


@allocating
def backward(dh, dh_last, h, gates, inner, w_hh, h0, lengths, reverse, reset_after):
    """The steps in the opposite order."""
    state = flush_denormals()
    steps, batch, size = h.shape
    w_gates, w_new = w_hh[: 2 * size], w_hh[2 * size :]
    d_xw = np.zeros_like(gates)
    dw_hh = np.zeros_like(w_hh)
    db_hn = np.zeros(size, h.dtype)
    carry = dh_last.copy()
    d_new, d_inner = np.empty_like(h0), np.empty_like(h0)  # cotangents of W_hn h + b_hn, and of r h
    for n in range(steps - 1, -1, -1):
        t = time(n, steps, reverse)
        before = h[time(n - 1, steps, reverse)] if n else h0
        a, da = gates[t], d_xw[t]
        d_inner[:] = 0
        for b in range(batch):
            for j in range(size):
                total = dh[t, b, j] + carry[b, j]
                d_new[b, j], carry[b, j] = 0, total
                if ended(lengths, b, t):
                    continue
                r, z, new = a[b, j], a[b, size + j], a[b, 2 * size + j]
                da_n = total * (1 - z) * (1 - new * new)
                da[b, size + j] = total * (before[b, j] - new) * (z * (1 - z))
                da[b, 2 * size + j] = da_n
                if reset_after:
                    da[b, j] = da_n * inner[t, b, j] * (r * (1 - r))
                d_new[b, j], carry[b, j] = da_n * r if reset_after else da_n, total * z
        if reset_after:
            add_product(carry, d_new, w_new)
            add_outer(dw_hh[2 * size :], d_new, before)
        else:
            add_product(d_inner, d_new, w_new)
            add_outer(dw_hh[2 * size :], d_new, inner[t])
            for b in range(batch):
                for j in range(size):
                    r = a[b, j]
                    da[b, j] = d_inner[b, j] * before[b, j] * (r * (1 - r))
                    carry[b, j] += d_inner[b, j] * r
        add_product(carry, da[:, : 2 * size], w_gates)
        add_outer(dw_hh, da[:, : 2 * size], before)  # the first 2H rows
        for b in range(batch):
            for j in range(size):
                db_hn[j] += d_new[b, j]
    restore_denormals(state)
    return d_xw, dw_hh, db_hn, carry
