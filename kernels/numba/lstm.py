"""Long short-term memory with a forget gate. [Hochreiter & Schmidhuber 1997; Gers et al. 2000]

i, f, o = sigmoid(...),  g = tanh(...)        of  W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
c_t = f c_{t-1} + i g
h_t = o tanh(c_t)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..reference.common import input_gradients, input_products
from . import lstm_fast
from .common import add_outer, add_product, ended, integers, plainly, sigmoid, time
from .compiling import allocating
from .denormals import flush_denormals, restore_denormals
from .dispatch import fast
from .product import matmul
from .workspace import empty


def lstm_forward(
    xs: Any, w_ih: Any, bias: Any, w_hh: Any, h0: Any, c0: Any, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any, Any]:
    """Run an LSTM over a whole sequence; arguments and results as in `reference`."""
    given = plainly(xs.dtype, xs, w_ih, bias, w_hh, h0, c0)
    how = integers(lengths), bool(reverse)
    if fast(len(xs), *h0.shape):
        return lstm_fast.forward(*given, *how)
    gates = input_products(*given[:3], matmul)
    h, c = (empty((len(xs), *h0.shape), xs.dtype) for _ in range(2))
    forward(h, c, gates, *given[3:], *how)
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
    given = plainly(h.dtype, dh, dh_last, dc_last, h, c, gates, xs, w_ih, w_hh, h0, c0)
    how = integers(lengths), bool(reverse)
    if fast(*h.shape):
        return lstm_fast.backward(*given, dx, *how)
    xs, w_ih = given[6:8]
    d_xw, dw_hh, dh0, dc0 = backward(*given[:6], *given[8:], *how)
    return *input_gradients(d_xw, xs, w_ih, dx, matmul), dw_hh, dh0, dc0


@allocating
def forward(h, c, gates, w_hh, h0, c0, lengths, reverse):
    """gates holds the input products, and then the gates."""
    state = flush_denormals()
    w = w_hh.T.copy()
    steps, batch, size = h.shape
    h_before, c_before = h0, c0
    for n in range(steps):
        t = time(n, steps, reverse)
        a = gates[t]
        add_product(a, h_before, w)
        for b in range(batch):
            for j in range(size):
                i, f = sigmoid(a[b, j]), sigmoid(a[b, size + j])
                g, o = math.tanh(a[b, 2 * size + j]), sigmoid(a[b, 3 * size + j])
                a[b, j], a[b, size + j], a[b, 2 * size + j], a[b, 3 * size + j] = i, f, g, o
                c[t, b, j] = f * c_before[b, j] + i * g
                h[t, b, j] = o * math.tanh(c[t, b, j])
                if ended(lengths, b, t):
                    h[t, b, j], c[t, b, j] = h_before[b, j], c_before[b, j]
        h_before, c_before = h[t], c[t]
    restore_denormals(state)


@allocating
def backward(dh, dh_last, dc_last, h, c, gates, w_hh, h0, c0, lengths, reverse):
    """The steps in the opposite order."""
    state = flush_denormals()
    steps, batch, size = h.shape
    d_xw = np.zeros_like(gates)
    dw_hh = np.zeros_like(w_hh)
    dh_carry, dc_carry = dh_last.copy(), dc_last.copy()
    for n in range(steps - 1, -1, -1):
        t = time(n, steps, reverse)
        before = time(n - 1, steps, reverse)
        c_before = c[before] if n else c0
        a, da = gates[t], d_xw[t]
        for b in range(batch):
            for j in range(size):
                dh_t = dh[t, b, j] + dh_carry[b, j]
                if ended(lengths, b, t):
                    dh_carry[b, j] = dh_t
                    continue
                i, f, g, o = a[b, j], a[b, size + j], a[b, 2 * size + j], a[b, 3 * size + j]
                tanh_c = math.tanh(c[t, b, j])
                dc_t = dh_t * o * (1 - tanh_c * tanh_c) + dc_carry[b, j]
                da[b, j] = dc_t * g * (i * (1 - i))
                da[b, size + j] = dc_t * c_before[b, j] * (f * (1 - f))
                da[b, 2 * size + j] = dc_t * i * (1 - g * g)
                da[b, 3 * size + j] = dh_t * tanh_c * (o * (1 - o))
                dh_carry[b, j], dc_carry[b, j] = 0, dc_t * f
        add_product(dh_carry, da, w_hh)
        add_outer(dw_hh, da, h[before] if n else h0)
    restore_denormals(state)
    return d_xw, dw_hh, dh_carry, dc_carry
