"""Softmax and cross-entropy of class numbers: the loss and its gradient from one pass over the logits."""

from __future__ import annotations

from typing import Any

import numpy as np


def softmax_cross_entropy(x: Any, targets: Any) -> tuple[Any, Any]:
    """``loss = -log softmax(x)[target]``, and its gradient ``softmax(x) - onehot(target)``.

    x: (N, C) logits.  targets: (N,) integers in 0 .. C-1.  Returns loss (N,), slopes (N, C).
    """
    rows = np.arange(len(x))
    shifted = x - np.max(x, axis=-1, keepdims=True)
    slopes = np.exp(shifted)
    total = np.sum(slopes, axis=-1, keepdims=True)
    loss = -(shifted[rows, targets] - np.log(total[:, 0]))
    slopes /= total
    slopes[rows, targets] -= 1
    return loss, slopes
