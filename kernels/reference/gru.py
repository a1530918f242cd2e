"""The gated recurrent unit, in both of its forms. [Cho et al. 2014]

r, z = sigmoid(...)                                  of  W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
n = tanh(W_in x_t + b_in + r (W_hn h_{t-1} + b_hn))     reset after the product: torch's, cuDNN's
n = tanh(W_in x_t + b_in + W_hn (r h_{t-1}) + b_hn)     reset before it: Cho's
h_t = (1 - z) n + z h_{t-1}
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .common import ended, input_gradients, input_products, recurrent_weight_gradient, sigmoid_in_place, times


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
    """Run a GRU over a whole sequence. Gate order r z n, as torch.

    xs: (T, B, I).  w_ih: (3H, I).  bias: (3H,), the sum of every bias but b_hn, or None.
    w_hh: (3H, H).  b_hn: (H,).  h0: (B, H).
    Returns h (T, B, H), gates (T, B, 3H) after their nonlinearities, and inner (T, B, H): W_hn h_{t-1} + b_hn where
    the reset comes after the product, r h_{t-1} where it comes before.
    """
    steps = len(xs)
    batch, size = h0.shape
    gates = input_products(xs, w_ih, bias)
    h, inner = np.empty((2, steps, batch, size), gates.dtype)
    w_gates, w_new = w_hh[: 2 * size], w_hh[2 * size :]
    before = h0
    for t in times(steps, reverse):
        a = gates[t]
        rz, r, z, n = a[:, : 2 * size], a[:, :size], a[:, size : 2 * size], a[:, 2 * size :]
        if reset_after:
            product = before @ w_hh.T
            rz += product[:, : 2 * size]
            sigmoid_in_place(rz)
            np.add(product[:, 2 * size :], b_hn, out=inner[t])
            n += r * inner[t]
        else:
            rz += before @ w_gates.T
            sigmoid_in_place(rz)
            np.multiply(r, before, out=inner[t])
            n += inner[t] @ w_new.T
            n += b_hn
        np.tanh(n, out=n)
        np.subtract(before, n, out=h[t])  # (1 - z) n + z h = n + z (h - n)
        h[t] *= z
        h[t] += n
        past = ended(lengths, t)
        if past is not None:
            h[t][past] = before[past]
        before = h[t]
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
    """Pull cotangents back through `gru_forward`.

    dh: (T, B, H) of the states.  dh_last: (B, H), beside it, of the state after the last step that ran.
    h, gates, inner: what the forward returned; not changed.  xs, w_ih, w_hh, h0: what it was given.
    dx: (T, B, I), C-contiguous, receives the cotangent of xs; None if nobody needs it.
    Returns dw_ih (3H, I), db (3H,), dw_hh (3H, H), db_hn (H,), dh0 (B, H).
    """
    steps, _, size = h.shape
    d_xw = np.empty_like(gates)
    # cotangent of W_hn h + b_hn, which is that of the n gate's sum if the reset comes before the product
    d_new = np.empty_like(h) if reset_after else d_xw[:, :, 2 * size :]
    w_gates, w_new = w_hh[: 2 * size], w_hh[2 * size :]
    order = times(steps, reverse)
    carry = dh_last
    for k, t in zip(range(steps - 1, -1, -1), reversed(order)):
        before = h[order[k - 1]] if k else h0
        r, z, n = (gates[t][:, m * size : (m + 1) * size] for m in range(3))
        da_r, da_z, da_n = (d_xw[t][:, m * size : (m + 1) * size] for m in range(3))
        dh_t = dh[t] + carry
        past = ended(lengths, t)
        np.multiply(dh_t * (before - n), z * (1 - z), out=da_z)
        np.multiply(dh_t * (1 - z), 1 - n * n, out=da_n)
        if past is not None:
            da_z[past], da_n[past] = 0, 0
        if reset_after:
            np.multiply(da_n * inner[t], r * (1 - r), out=da_r)
            np.multiply(da_n, r, out=d_new[t])
            carry = dh_t * z + d_new[t] @ w_new
        else:
            d_inner = da_n @ w_new
            np.multiply(d_inner * before, r * (1 - r), out=da_r)
            carry = dh_t * z + d_inner * r
        carry += d_xw[t][:, : 2 * size] @ w_gates
        if past is not None:
            carry[past] = dh_t[past]
    dw_gates = recurrent_weight_gradient(d_xw[:, :, : 2 * size], h, h0, reverse)
    if reset_after:
        dw_new = recurrent_weight_gradient(d_new, h, h0, reverse)
    else:
        dw_new = d_new.reshape(-1, size).T @ inner.reshape(-1, size)
    dw_ih, db = input_gradients(d_xw, xs, w_ih, dx)
    return dw_ih, db, np.concatenate([dw_gates, dw_new]), d_new.sum((0, 1)), carry
