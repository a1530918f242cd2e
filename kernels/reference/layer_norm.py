"""Normalisation of rows to mean 0 and variance 1. [Ba, Kiros & Hinton 2016]"""

from __future__ import annotations

from typing import Any

import numpy as np


def layer_norm_forward(x: Any, eps: float) -> tuple[Any, Any]:
    """``y = (x - mean) scale`` with ``scale = 1 / sqrt(variance + eps)``, row by row.

    x: (N, D).  Returns y (N, D), scale (N, 1).
    """
    centred = x - np.mean(x, axis=-1, keepdims=True)
    scale = 1 / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + eps)
    return centred * scale, scale


def layer_norm_backward(dy: Any, y: Any, scale: Any) -> Any:
    """Pull a cotangent back: ``dx = scale (dy - mean(dy) - y mean(dy y))``.

    dy: (N, D).  y, scale: what the forward returned.  Returns dx (N, D).
    """
    along = np.mean(dy * y, axis=-1, keepdims=True)
    return scale * (dy - np.mean(dy, axis=-1, keepdims=True) - y * along)
