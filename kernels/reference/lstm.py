"""Long short-term memory with a forget gate. [Hochreiter & Schmidhuber 1997; Gers et al. 2000]

    i, f, o = sigmoid(...),  g = tanh(...)        of  W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

Every product of a step with W_hh is one matrix product; so are those of all steps with W_ih.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .common import ended, input_gradients, input_products, recurrent_weight_gradient, sigmoid_in_place, times


def lstm_forward(
    xs: Any, w_ih: Any, bias: Any, w_hh: Any, h0: Any, c0: Any, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any, Any]:
    """Run an LSTM over a whole sequence. Gate order i f g o, as torch.

    xs: (T, B, I).  w_ih: (4H, I).  bias: (4H,), the sum of both, or None.  w_hh: (4H, H).  h0, c0: (B, H).
    Returns h (T, B, H), c (T, B, H), gates (T, B, 4H) after their nonlinearities.
    """
    steps = len(xs)
    batch, size = h0.shape
    gates = input_products(xs, w_ih, bias)
    h, c = np.empty((2, steps, batch, size), gates.dtype)
    h_before, c_before = h0, c0
    for t in times(steps, reverse):
        a = gates[t]
        a += h_before @ w_hh.T
        sigmoid_in_place(a[:, : 2 * size])
        np.tanh(a[:, 2 * size : 3 * size], out=a[:, 2 * size : 3 * size])
        sigmoid_in_place(a[:, 3 * size :])
        i, f, g, o = (a[:, k * size : (k + 1) * size] for k in range(4))
        np.multiply(f, c_before, out=c[t])
        c[t] += i * g
        np.tanh(c[t], out=h[t])
        h[t] *= o
        past = ended(lengths, t)
        if past is not None:
            h[t][past], c[t][past] = h_before[past], c_before[past]
        h_before, c_before = h[t], c[t]
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
    """Pull cotangents back through `lstm_forward`.

    dh: (T, B, H) of the states h.  dh_last, dc_last: (B, H), beside it, of the state after the last step that ran.
    h, c, gates: what the forward returned; not changed.  xs, w_ih, w_hh, h0, c0: what it was given.
    dx: (T, B, I), C-contiguous, receives the cotangent of xs; None if nobody needs it.
    Returns dw_ih (4H, I), db (4H,), dw_hh (4H, H), dh0 (B, H), dc0 (B, H).
    """
    size = h.shape[2]
    d_xw = np.empty_like(gates)
    order = times(len(h), reverse)
    dh_carry, dc_carry = dh_last, dc_last
    for n, t in zip(range(len(h) - 1, -1, -1), reversed(order)):
        c_before = c[order[n - 1]] if n else c0
        i, f, g, o = (gates[t][:, k * size : (k + 1) * size] for k in range(4))
        da_i, da_f, da_g, da_o = (d_xw[t][:, k * size : (k + 1) * size] for k in range(4))
        tanh_c = np.tanh(c[t])
        dh_t = dh[t] + dh_carry
        dc_t = dh_t * o * (1 - tanh_c * tanh_c) + dc_carry
        np.multiply(dc_t * g, i * (1 - i), out=da_i)
        np.multiply(dc_t * c_before, f * (1 - f), out=da_f)
        np.multiply(dc_t * i, 1 - g * g, out=da_g)
        np.multiply(dh_t * tanh_c, o * (1 - o), out=da_o)
        past = ended(lengths, t)
        if past is not None:
            d_xw[t][past] = 0
        dc_before = dc_t * f
        dh_before = d_xw[t] @ w_hh
        if past is not None:
            dh_before[past], dc_before[past] = dh_t[past], dc_carry[past]
        dh_carry, dc_carry = dh_before, dc_before
    dw_ih, db = input_gradients(d_xw, xs, w_ih, dx)
    return dw_ih, db, recurrent_weight_gradient(d_xw, h, h0, reverse), dh_carry, dc_carry
