"""The launcher of the cross-entropy in loss.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from .machine import blocks
from .recurrence import prepared

FILE = "loss.cu"


def softmax_cross_entropy(x: Any, targets: Any) -> tuple[Any, Any]:
    """The loss of each row and its slopes; arguments and results as in `reference`."""
    machine, x = prepared(x)
    rows, classes = x.shape
    numbers = machine.xp.ascontiguousarray(machine.xp.asarray(targets, np.int64))
    loss, slopes = machine.empty((rows,), x.dtype), machine.empty(x.shape, x.dtype)
    arguments = x, numbers, loss, slopes, classes
    machine.launch(FILE, "softmax_cross_entropy", rows, threads_for(classes), *arguments, real=x.dtype)
    return loss, slopes


def threads_for(columns: int) -> int:
    """Threads of a block that reads a row of so many columns: whole warps, at most 1024."""
    return min(1024, blocks(max(1, columns), 32) * 32)
