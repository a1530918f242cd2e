"""Normalisation of rows to mean 0 and variance 1. [Ba, Kiros & Hinton 2016]"""

from __future__ import annotations

import math
from typing import Any

from .common import plain
from .compiling import jit
from .recurrence import flat
from .simd import vector_fold, vector_loop
from .threads import GANG, finish, share, take
from .workspace import empty


def layer_norm_forward(x: Any, eps: float) -> tuple[Any, Any]:
    """Normalise every row; arguments and results as in `reference`."""
    y, scale = empty(x.shape, x.dtype), empty((len(x), 1), x.dtype)
    parts = share(len(x), x.size)
    GANG.run(_forward, parts, False, parts, *flat(plain(x), y, scale), x.shape[1], x.dtype.type(eps))
    return y, scale


def layer_norm_backward(dy: Any, y: Any, scale: Any) -> Any:
    """Pull a cotangent back; arguments and result as in `reference`."""
    dx = empty(y.shape, y.dtype)
    parts = share(len(y), y.size)
    GANG.run(_backward, parts, False, parts, *flat(plain(dy), plain(y), plain(scale), dx), y.shape[1])
    return dx


def _moved(v, x, mean):
    return x.load() - mean


_sum = vector_fold("total", 1, lambda v, x: x.load())
_product_sum = vector_fold("product_total", 2, lambda v, x, y: x.load() * y.load())
_squares = vector_fold("squares", 1, lambda v, x, mean: _moved(v, x, mean) * _moved(v, x, mean), factors=1)
_scaled = vector_loop("scaled", 2, lambda v, x, y, mean, scale: y.store(_moved(v, x, mean) * scale), factors=2)
_pulled = vector_loop(
    "pulled",
    3,
    lambda v, dy, y, dx, mean, along, scale: dx.store(scale * (dy.load() - mean - y.load() * along)),
    factors=3,
)


@jit
def _forward(me, board, parts, x, y, scale, size, eps):
    rows = scale.size
    count = x.dtype.type(size)
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
            continue
        for n in range(rows * part // parts, rows * (part + 1) // parts):
            start = n * size
            mean = _sum(x, start, size) / count
            variance = _squares(x, start, mean, size) / count
            scale[n] = x.dtype.type(1) / math.sqrt(variance + eps)
            _scaled(x, start, y, start, mean, scale[n], size)
        finish(board, part, 0)


@jit
def _backward(me, board, parts, dy, y, scale, dx, size):
    rows = scale.size
    count = y.dtype.type(size)
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
            continue
        for n in range(rows * part // parts, rows * (part + 1) // parts):
            start = n * size
            mean = _sum(dy, start, size) / count
            along = _product_sum(dy, start, y, start, size) / count
            _pulled(dy, start, y, start, dx, start, mean, along, scale[n], size)
        finish(board, part, 0)
