"""Launchers of layer normalisation in loss.cu. [Ba, Kiros & Hinton 2016]"""

from __future__ import annotations

from typing import Any

from .cross_entropy import FILE, threads_for
from .recurrence import prepared


def layer_norm_forward(x: Any, eps: float) -> tuple[Any, Any]:
    """Normalise each row; arguments and results as in `reference`."""
    machine, x = prepared(x)
    (rows, size), real = x.shape, x.dtype
    y, scale = machine.empty(x.shape, real), machine.empty((rows, 1), real)
    arguments = x, real.type(eps), y, scale, size
    machine.launch(FILE, "layer_norm_forward", rows, threads_for(size), *arguments, real=real)
    return y, scale


def layer_norm_backward(dy: Any, y: Any, scale: Any) -> Any:
    """Pull a cotangent back; arguments and result as in `reference`."""
    machine, dy, y, scale = prepared(dy, y, scale)
    rows, size = y.shape
    dx = machine.empty(y.shape, y.dtype)
    machine.launch(FILE, "layer_norm_backward", rows, threads_for(size), dy, y, scale, dx, size, real=y.dtype)
    return dx
