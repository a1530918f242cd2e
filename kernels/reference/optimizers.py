"""Steps of the optimisers, over all parameters at once. Every list has an array for each parameter.

Nothing is written to: new values and a new state are returned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Arrays = Sequence[Any]


def sgd_step(
    values: Arrays,
    gradients: Arrays,
    buffers: Arrays,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[list[Any], list[Any]]:
    """Gradient descent with momentum. [Polyak 1964; Nesterov 1983 in the form of Sutskever et al. 2013, as torch]

    g <- g + weight_decay w;  b <- momentum b + (1 - dampening) g;  w <- w - lr (g + momentum b if nesterov, else b)

    buffers: b of each parameter, None before its first step, where b becomes g. Without momentum all are None.
    Returns the values, and the buffers (none without momentum).
    """
    new_values, new_buffers = [], []
    for value, g, buffer in zip(values, gradients, buffers):
        if weight_decay:
            g = g + weight_decay * value
        if momentum:
            # a copy, for the caller may still write to its gradient
            buffer = g.copy() if buffer is None else momentum * buffer + (1 - dampening) * g
            new_buffers.append(buffer)
            g = g + momentum * buffer if nesterov else buffer
        new_values.append(value - lr * g)
    return new_values, new_buffers


def adam_step(
    values: Arrays,
    gradients: Arrays,
    means: Arrays,
    squares: Arrays,
    steps: Sequence[int],
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> tuple[list[Any], list[Any], list[Any]]:
    """Adam [Kingma & Ba 2015, alg. 1]; with decoupled weight decay AdamW [Loshchilov & Hutter 2019, alg. 2].

    g <- g + weight_decay w   or, decoupled,   w <- w (1 - lr weight_decay)
    m <- β1 m + (1 - β1) g;  v <- β2 v + (1 - β2) g²;  w <- w - lr (m / (1 - β1^t)) / (sqrt(v / (1 - β2^t)) + eps)

    means, squares: m and v, zeros before the first step.  steps: t, the number of this step of each, from 1.
    Returns the values, means and squares.
    """
    new: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for value, g, mean, square, step in zip(values, gradients, means, squares, steps):
        if decoupled:
            value = value * (1 - lr * weight_decay)
        elif weight_decay:
            g = g + weight_decay * value
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * (g * g)
        scale = lr / (1 - beta1**step)
        root = np.sqrt(square) / math.sqrt(1 - beta2**step) + eps
        for kept, array in zip(new, (value - scale * (mean / root), mean, square)):
            kept.append(array)
    return new


def global_norm(gradients: Arrays) -> float:
    """The root of the sum of the squares of all entries, added in float64 and without overflow.

    Returns a Python number: infinite if an entry is, and NaN if one is NaN.
    """
    total = _squares(gradients, 1.0)
    if math.isinf(total):  # the squares of float64 entries above 1e154 overflow: measure in units of the largest
        largest = max(float(np.max(np.abs(g))) for g in gradients if g.size)
        if math.isfinite(largest):
            return largest * math.sqrt(_squares(gradients, largest))
    return math.sqrt(total)


def _squares(gradients: Arrays, unit: float) -> float:
    with np.errstate(over="ignore"):
        return sum(float(np.sum(np.square(g.astype("float64") / unit))) for g in gradients)
