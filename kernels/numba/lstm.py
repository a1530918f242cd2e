"""Long short-term memory with a forget gate. [Hochreiter & Schmidhuber 1997; Gers et al. 2000]

i, f, o = sigmoid(...),  g = tanh(...)        of  W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
c_t = f c_{t-1} + i g
h_t = o tanh(c_t)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import lstm_fast
from .common import add_outer, add_product, ended, integers, overwritten, plain, sigmoid, time
from .compiling import jit
from .denormals import flush_denormals, restore_denormals
from .dispatch import fast
from .workspace import empty


def lstm_forward(
    xw: Any, w_hh: Any, h0: Any, c0: Any, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any, Any]:
    """Run an LSTM over a whole sequence; arguments and results as in `reference`."""
    steps, batch, size = len(xw), *h0.shape
    run = lstm_fast.forward if fast(steps, batch, size) else forward
    gates = overwritten(xw)
    h, c = empty((steps, batch, size), xw.dtype), empty((steps, batch, size), xw.dtype)
    run(h, c, gates, *[plain(each, h.dtype) for each in (w_hh, h0, c0)], integers(lengths), bool(reverse))
    return h, c, gates


def lstm_backward(
    dh: Any,
    dh_last: Any,
    dc_last: Any,
    h: Any,
    c: Any,
    gates: Any,
    w_hh: Any,
    h0: Any,
    c0: Any,
    lengths: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any, Any, Any]:
    """Pull cotangents back through `lstm_forward`; arguments and results as in `reference`."""
    run = lstm_fast.backward if fast(*h.shape) else backward
    given = [plain(array, h.dtype) for array in (dh, dh_last, dc_last, h, c, gates, w_hh, h0, c0)]
    return run(*given, integers(lengths), bool(reverse))


@jit
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


@jit
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
