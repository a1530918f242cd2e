"""What the recurrences share: the order of time, the previous state, and the product that gives a weight gradient."""

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
