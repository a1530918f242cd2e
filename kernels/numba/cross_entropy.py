"""Softmax and cross-entropy of class numbers: the loss and its gradient from one pass over the logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .common import integers, plain
from .compiling import jit
from .recurrence import flat
from .simd import vector_fold, vector_loop
from .threads import GANG, finish, share, take
from .workspace import empty


def softmax_cross_entropy(x: Any, targets: Any) -> tuple[Any, Any]:
    """The loss of each row, and its slopes; arguments and results as in `reference`."""
    rows, classes = x.shape
    loss, slopes = empty((rows,), x.dtype), empty(x.shape, x.dtype)
    parts = share(rows, x.size)
    GANG.run(_rows, parts, False, parts, *flat(plain(x)), classes, integers(targets), loss, *flat(slopes))
    return loss, slopes


def _exponentials_body(v, x, slopes, largest):
    shifted = x.load() - largest
    # what is below the range of exp is nothing, above all -inf, with which logits are masked
    e = v.select("<", shifted, -708.0 if v.double else -87.0, 0.0, v.exp(shifted))
    slopes.store(e)
    return e


_largest = vector_fold("largest", 1, lambda v, x: x.load(), relation=">")
_exponentials = vector_fold("exponentials", 2, _exponentials_body, factors=1)
_divide = vector_loop("divide", 1, lambda v, x, total: x.store(x.load() / total), factors=1)


@jit
def _rows(me, board, parts, x, classes, targets, loss, slopes):
    rows = loss.size
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
            continue
        for n in range(rows * part // parts, rows * (part + 1) // parts):
            start = n * classes
            largest = _largest(x, start, classes)
            total = _exponentials(x, start, slopes, start, largest, classes)
            loss[n] = math.log(total) - (x[start + targets[n]] - largest)
            _divide(slopes, start, total, classes)
            slopes[start + targets[n]] -= np.float32(1)
        finish(board, part, 0)
