"""Launchers of parameters.cu: optimiser steps and the global norm, over all parameters in one launch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .machine import Machine, blocks
from .recurrence import THREADS, prepared

FILE = "parameters.cu"
CHUNK = 1024  # entries that a block serves, as in the text

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
    started = np.array([each is not None for each in buffers], np.int32)
    old = [g if b is None else b for b, g in zip(buffers, gradients)]
    machine, values, gradients, old = _rows(values, gradients, old)
    real = values[0].dtype
    new, kept = _like(machine, values), _like(machine, values) if momentum else values
    numbers = [real.type(each) for each in (lr, momentum, 1 - dampening, weight_decay)]
    roles = values, gradients, old, new, kept
    _over_all(machine, "sgd_step", roles, machine.xp.asarray(started), *numbers, nesterov)
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
    """Adam, or with `decoupled` AdamW; arguments and results as in `reference`."""
    if not values:
        return [], [], []
    machine, *given = _rows(values, gradients, means, squares)
    real = given[0][0].dtype
    made = [_like(machine, given[0]) for _ in range(3)]
    penalty, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    scales = machine.xp.asarray(np.array([lr / (1 - beta1**step) for step in steps], real))
    roots = machine.xp.asarray(np.array([math.sqrt(1 - beta2**step) for step in steps], real))
    numbers = beta1, 1 - beta1, beta2, 1 - beta2, eps, penalty, shrink
    _over_all(machine, "adam_step", (*given, *made), scales, roots, *[real.type(each) for each in numbers])
    return made[0], made[1], made[2]


def global_norm(gradients: Arrays) -> float:
    """The root of the sum of all squares; argument and result as in `reference`. Waits for the device."""
    given = [each for each in gradients if each.size]
    if not given:
        return 0.0
    machine, *given = prepared(*given)
    _, _, grid = _layout(machine, tuple([each.size for each in given]))
    parts, unit, norm = (machine.empty((size,), np.float64) for size in (grid, 1, 1))
    finished = machine.zeros((2,), np.uint32)
    _over_all(machine, "norm_unit", (given,), parts, finished[:1], unit)
    _over_all(machine, "norm_total", (given,), parts, finished[1:], unit, norm)
    return float(norm[0])


def _over_all(machine: Machine, kernel: str, roles: Sequence[Arrays], *arguments: Any) -> None:
    """Launch a kernel of the text over a table of arrays, one row for each role."""
    first = roles[0]
    sizes, starts, grid = _layout(machine, tuple([each.size for each in first]))
    table = machine.addresses([each for role in roles for each in role])
    machine.launch(FILE, kernel, grid, THREADS, table, sizes, starts, len(first), *arguments, real=first[0].dtype)


@lru_cache(maxsize=64)
def _layout(machine: Machine, sizes: tuple[int, ...]) -> tuple[Any, Any, int]:
    """On the device, the size of each array and the block that it starts at; and the number of blocks."""
    starts = np.cumsum([0, *[blocks(size, CHUNK) for size in sizes]])
    return (
        machine.xp.asarray(np.array(sizes, np.int64)),
        machine.xp.asarray(starts[:-1].astype(np.int32)),
        int(starts[-1]),
    )


def _rows(*roles: Arrays) -> tuple[Any, ...]:
    """The machine, and the arrays of each role as kernels take them."""
    machine, *flat = prepared(*[each for role in roles for each in role])
    count = len(roles[0])
    return machine, *[flat[k * count : (k + 1) * count] for k in range(len(roles))]


def _like(machine: Machine, arrays: Arrays) -> list[Any]:
    return [machine.empty(each.shape, each.dtype) for each in arrays]
