"""What the recurrences share: the order of time, lanes past their end, and the products over all steps at once."""

from __future__ import annotations

from typing import Any

import numpy as np


def times(steps: int, reverse: bool) -> range:
    """The steps in the order in which the recurrence runs."""
    return range(steps - 1, -1, -1) if reverse else range(steps)


def ended(lengths: Any, t: int) -> Any:
    """Which lanes are past their end at step t: (B,) bool, or None if none is."""
    if lengths is None:
        return None
    past = lengths <= t
    return past if past.any() else None


def sigmoid_in_place(x: Any) -> None:
    """x <- 1 / (1 + exp(-x)), as (tanh(x/2) + 1) / 2, which cannot overflow."""
    x *= 0.5
    np.tanh(x, out=x)
    x *= 0.5
    x += 0.5


def input_products(xs: Any, w_ih: Any, bias: Any, matmul: Any = np.matmul) -> Any:
    """W_ih x of all steps in one product, and the bias, if there is one: (T, B, I) -> (T, B, N)."""
    steps, batch, size = xs.shape
    products = matmul(xs.reshape(steps * batch, size), w_ih.T)
    if bias is not None:
        products += bias
    return products.reshape(steps, batch, len(w_ih))


def input_gradients(d_xw: Any, xs: Any, w_ih: Any, dx: Any, matmul: Any = np.matmul) -> tuple[Any, Any]:
    """Pull a cotangent (T, B, N) back through `input_products`: those of W_ih (N, I) and of the bias (N,).

    dx: (T, B, I), C-contiguous, receives the cotangent of xs; None where nobody needs it.
    """
    steps, batch, size = xs.shape
    flat = d_xw.reshape(steps * batch, len(w_ih))
    if dx is not None:
        matmul(flat, w_ih, out=dx.reshape(steps * batch, size))
    return matmul(flat.T, xs.reshape(steps * batch, size)), flat.sum(0)


def recurrent_weight_gradient(da: Any, h: Any, h0: Any, reverse: bool) -> Any:
    """Sum over t of da[t].T @ (state before t), as one product over all steps but the first.

    da: (T, B, N).  h: (T, B, H), the states after each step.  h0: (B, H).  Returns (N, H).
    """
    steps = len(da)
    first, later, earlier = (steps - 1, da[:-1], h[1:]) if reverse else (0, da[1:], h[:-1])
    total = da[first].T @ h0
    if steps > 1:
        total += later.reshape(-1, da.shape[2]).T @ earlier.reshape(-1, h.shape[2])
    return total
