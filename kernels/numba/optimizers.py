"""Steps of the optimisers, over all parameters in one call: a table says where their arrays lie.

Same operations in the same order as `reference`, none of them fused: the results have the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from ..reference import optimizers as plainly
from .compiling import allocating, inlined
from .simd import vector_fold, vector_loop
from .threads import GANG, finish, share, take
from .workspace import empty

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
    """Gradient descent with momentum; arguments and results as in `reference`."""
    if not values:
        return [], []
    new = _like(values)
    kept = _like(values) if momentum else new
    started = np.array([buffer is not None for buffer in buffers], values[0].dtype)
    old = [g if buffer is None else buffer for buffer, g in zip(buffers, gradients)]
    numbers = np.array([lr, weight_decay, momentum, 1 - dampening, bool(nesterov)], values[0].dtype)
    _over_all(_sgd, (values, gradients, old, new, kept), numbers, started)
    return new, kept if momentum else []


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
    """Adam, or AdamW; arguments and results as in `reference`."""
    if not values:
        return [], [], []
    real = values[0].dtype
    made = _like(values), _like(values), _like(values)
    penalty, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    numbers = np.array([shrink, penalty, beta1, 1 - beta1, beta2, 1 - beta2, eps], real)
    scales = np.array([lr / (1 - beta1**step) for step in steps], real)
    roots = np.array([math.sqrt(1 - beta2**step) for step in steps], real)
    _over_all(_adam, (values, gradients, means, squares, *made), numbers, scales, roots)
    return made


def global_norm(gradients: Arrays) -> float:
    """The root of the sum of all squares; argument and result as in `reference`."""
    if not gradients:
        return 0.0
    given = [np.ascontiguousarray(g) for g in gradients]
    total = _squares(*_table((given,)), np.empty(0, given[0].dtype))
    return plainly.global_norm(gradients) if math.isinf(total) else math.sqrt(total)


def _like(arrays: Arrays) -> list[Any]:
    return [empty(array.shape, array.dtype) for array in arrays]


def _over_all(kernel: Any, roles: Sequence[Arrays], *numbers: Any) -> None:
    """Run a kernel on the arrays of each role: values, gradients, and so on."""
    roles = [[np.ascontiguousarray(array) for array in role] for role in roles]  # which stay alive meanwhile
    table, sizes = _table(roles)
    parts = share(int(sizes.max()), int(sizes.sum()))
    GANG.run(kernel, parts, False, parts, table, sizes, *numbers)


def _table(roles: Sequence[Arrays]) -> tuple[Any, Any]:
    """(roles, arrays): the address of each; and the size of each."""
    table = np.array([[array.ctypes.data for array in role] for role in roles], np.int64)
    return table, np.array([array.size for array in roles[0]], np.int64)


@intrinsic
def _pointer(typing: Any, address: Any, like: Any) -> Any:
    """An address as a pointer to numbers of the type of an array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.int64, like), generate


@inlined
def _array(table, role, k, size, like):
    return carray(_pointer(table[role, k], like), (size,))


# Both alternatives are computed, and one is chosen: a vector has no branches.


def _penalised(v, value, g, penalty):
    return v.select("!=", penalty, 0.0, g + penalty * value, g)


def _sgd_body(v, value, g, new, lr, penalty):
    w = value.load()
    new.store(w - lr * _penalised(v, w, g.load(), penalty))


def _momentum_body(v, value, g, old, new, kept, lr, penalty, momentum, rest, nesterov, started):
    w = value.load()
    slope = _penalised(v, w, g.load(), penalty)
    b = v.select("!=", started, 0.0, momentum * old.load() + rest * slope, slope)
    kept.store(b)
    new.store(w - lr * v.select("!=", nesterov, 0.0, slope + momentum * b, b))


def _adam_body(
    v, value, g, mean, square, new, new_mean, new_square, shrink, penalty, beta1, rest1, beta2, rest2, eps, scale, root
):
    w = value.load()
    slope = _penalised(v, w, g.load(), penalty)
    m = beta1 * mean.load() + rest1 * slope
    s = beta2 * square.load() + rest2 * (slope * slope)
    new_mean.store(m)
    new_square.store(s)
    new.store(w * shrink - scale * (m / (v.sqrt(s) / root + eps)))


_sgd_loop = vector_loop("sgd_loop", 3, _sgd_body, factors=2)
_momentum_loop = vector_loop("momentum_loop", 5, _momentum_body, factors=6)
_adam_loop = vector_loop("adam_loop", 7, _adam_body, factors=9)
_square_sum = vector_fold("square_sum", 1, lambda v, x: v.in_double(x.load()) * v.in_double(x.load()), double=True)


@allocating
def _sgd(me, board, parts, table, sizes, numbers, started):
    lr, penalty, momentum, rest, nesterov = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
            continue
        for k in range(sizes.size):
            size = sizes[k]
            start, n = size * part // parts, size * (part + 1) // parts - size * part // parts
            value, g = _array(table, 0, k, size, numbers), _array(table, 1, k, size, numbers)
            new = _array(table, 3, k, size, numbers)
            if momentum == 0:
                _sgd_loop(value, start, g, start, new, start, lr, penalty, n)
            else:
                old, kept = _array(table, 2, k, size, numbers), _array(table, 4, k, size, numbers)
                _momentum_loop(
                    value, start, g, start, old, start, new, start, kept, start,
                    lr, penalty, momentum, rest, nesterov, started[k], n,
                )  # fmt: skip
        finish(board, part, 0)


@allocating
def _adam(me, board, parts, table, sizes, numbers, scales, roots):
    for turn in range(parts):
        part = (me + turn) % parts
        if not take(board, part, 0, turn):
            continue
        for k in range(sizes.size):
            size = sizes[k]
            start, n = size * part // parts, size * (part + 1) // parts - size * part // parts
            _adam_loop(
                _array(table, 0, k, size, numbers), start, _array(table, 1, k, size, numbers), start,
                _array(table, 2, k, size, numbers), start, _array(table, 3, k, size, numbers), start,
                _array(table, 4, k, size, numbers), start, _array(table, 5, k, size, numbers), start,
                _array(table, 6, k, size, numbers), start,
                numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6],
                scales[k], roots[k], n,
            )  # fmt: skip
        finish(board, part, 0)


@allocating
def _squares(table, sizes, like):
    total = 0.0
    for k in range(sizes.size):
        total += _square_sum(_array(table, 0, k, sizes[k], like), 0, sizes[k])
    return total
