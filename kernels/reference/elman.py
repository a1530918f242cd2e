"""The simple recurrent network of Elman (1990): h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .common import ended, input_gradients, input_products, recurrent_weight_gradient, times


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
    """Run an Elman network over a whole sequence.

    xs: (T, B, I).  w_ih: (H, I).  bias: (H,), the sum of both, or None.  w_hh: (H, H).  h0: (B, H).
    nonlinearity: "tanh" or "relu".  Returns h (T, B, H).
    """
    h = input_products(xs, w_ih, bias)
    before = h0
    for t in times(len(h), reverse):
        h[t] += before @ w_hh.T
        if nonlinearity == "tanh":
            np.tanh(h[t], out=h[t])
        else:
            np.maximum(h[t], 0, out=h[t])
        past = ended(lengths, t)
        if past is not None:
            h[t][past] = before[past]
        before = h[t]
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
    """Pull cotangents back through `elman_forward`.

    dh: (T, B, H) of the states.  dh_last: (B, H), beside it, of the state after the last step that ran.
    h: what the forward returned.  xs, w_ih, w_hh, h0: what it was given.
    dx: (T, B, I), C-contiguous, receives the cotangent of xs; None if nobody needs it.
    Returns dw_ih (H, I), db (H,), dw_hh (H, H), dh0 (B, H).
    """
    d_xw = np.empty_like(h)
    carry = dh_last
    for t in reversed(times(len(h), reverse)):
        total = dh[t] + carry
        slope = 1 - h[t] * h[t] if nonlinearity == "tanh" else h[t] > 0
        np.multiply(total, slope, out=d_xw[t])
        past = ended(lengths, t)
        if past is not None:
            d_xw[t][past] = 0
        carry = d_xw[t] @ w_hh
        if past is not None:
            carry[past] = total[past]
    return *input_gradients(d_xw, xs, w_ih, dx), recurrent_weight_gradient(d_xw, h, h0, reverse), carry
