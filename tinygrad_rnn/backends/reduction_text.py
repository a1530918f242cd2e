"""The text of the reduction loops, which have the signature of NumPy's generalised inner loops.

Every reduction of n entries has one order, which n alone decides. Entry i lies in block i // 512 and lane i % 16. A
lane of a block is summed in order; the 16 lanes are folded by halves (l + 8, l + 4, l + 2, l + 1); the blocks are
added in pairs, then pairs of pairs, as in pairwise summation. Memory layout, threads and vector width change nothing.
With u the unit roundoff of the dtype, the error of a sum is at most

    (31 + 4 + ceil(log2(n / 512)) + 1) u  sum |x_i|   to first order

[Higham 2002, Accuracy and Stability of Numerical Algorithms, section 4.2: a tree of depth d has a bound of d u].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["arg_text", "reduction_text", "running_text"]

# The numbers in the texts: blocks of 512 entries; 16 lanes; 40 levels of pairs of blocks; 512 columns that are reduced
# together where the reduced axis is not the last one in memory.


class _Operation(NamedTuple):
    """Which of `lane_intrinsics` a reduction is made of, its result for no entries, and its end."""

    steps: str
    empty: str
    finish: str = "total"


_OPERATIONS = {
    "sum": _Operation("sum", "0"),
    "mean": _Operation("sum", "nan", "total / n"),
    "prod": _Operation("prod", "1"),
    "max": _Operation("max", "0", "restored(total, {y_kind})"),
    "min": _Operation("min", "0", "restored(total, {y_kind})"),
    "any": _Operation("any", "False"),
    "all": _Operation("all", "True"),
    "count_nonzero": _Operation("count_nonzero", "0"),
}

_KEYS = {"float32": "int32", "float64": "int64"}  # what max and min compare

_LANES = """
from tinygrad_rnn.backends.lane_intrinsics import COMBINE, FOLD, PREPARE, restored

combine, fold, prepared = COMBINE["{steps}"], FOLD["{steps}"], PREPARE["{steps}"]
"""

_REDUCTION = '''
@njit(error_model="numpy")
def rows(x, n, lanes, pairs):
    """Reduce n entries that lie side by side."""
    for block in range((n + 511) // 512):
        start = block * 512
        count = min(512, n - start)
        used = min(16, count)
        for lane in range(used):
            put(lanes, lane, prepared(get(x, start + lane)))
        whole = count - count % 16
        fold(x, start + 16, start + whole, lanes)
        for i in range(max(whole, 16), count):
            put(lanes, i - whole, combine(get(lanes, i - whole), prepared(get(x, start + i))))
        half = 8
        while half > 0:
            for lane in range(min(half, used - half)):
                put(lanes, lane, combine(get(lanes, lane), get(lanes, lane + half)))
            used = min(used, half)
            half //= 2
        total = get(lanes, 0)
        level = 0
        while (block >> level) & 1:
            total = combine(get(pairs, level), total)
            level += 1
        put(pairs, level, total)
    blocks = (n + 511) // 512
    level = 0
    while not (blocks >> level) & 1:
        level += 1
    total = get(pairs, level)
    level += 1
    while blocks >> level:
        if (blocks >> level) & 1:
            total = combine(get(pairs, level), total)
        level += 1
    return total


@njit(error_model="numpy")
def merge(into, a, b, width):
    for c in range(width):
        put(into, c, combine(get(a, c), get(b, c)))


@njit(error_model="numpy")
def columns(address, step, across, n, width, lanes, pairs):
    """Reduce n rows of `width` entries, column by column in the order of `rows`. Returns where the totals are."""
    size = {acc_size} * 512
    first = intp_of(lanes)
    kept = intp_of(pairs)
    for block in range((n + 511) // 512):
        start = block * 512
        count = min(512, n - start)
        used = min(16, count)
        for i in range(count):
            lane = pointer(first + (i % 16) * size, {acc})
            at = address + (start + i) * step
            if i < 16 and across == {x_size}:
                x = pointer(at, {x_kind})
                for c in range(width):
                    put(lane, c, prepared(get(x, c)))
            elif i < 16:
                for c in range(width):
                    put(lane, c, prepared(get(pointer(at + c * across, {x_kind}), 0)))
            elif across == {x_size}:
                x = pointer(at, {x_kind})
                for c in range(width):
                    put(lane, c, combine(get(lane, c), prepared(get(x, c))))
            else:
                for c in range(width):
                    put(lane, c, combine(get(lane, c), prepared(get(pointer(at + c * across, {x_kind}), 0))))
        half = 8
        while half > 0:
            for lane in range(min(half, used - half)):
                into = pointer(first + lane * size, {acc})
                merge(into, into, pointer(first + (lane + half) * size, {acc}), width)
            used = min(used, half)
            half //= 2
        level = 0
        while (block >> level) & 1:
            merge(lanes, pointer(kept + level * size, {acc}), lanes, width)
            level += 1
        into = pointer(kept + level * size, {acc})
        for c in range(width):
            put(into, c, get(lanes, c))
    blocks = (n + 511) // 512
    level = 0
    while not (blocks >> level) & 1:
        level += 1
    total = pointer(kept + level * size, {acc})
    level += 1
    while blocks >> level:
        if (blocks >> level) & 1:
            merge(total, pointer(kept + level * size, {acc}), total, width)
        level += 1
    return total


def loop(args, dims, steps, data):
    count = dims[0]
    n = dims[1]
    if n == 0:
        for j in range(count):
            put(pointer(args[1] + j * steps[1], {y_kind}), 0, {y_kind}({empty}))
    elif steps[2] == {x_size} or count == 1 and n == 1:
        lanes = stack({acc}, 16)
        pairs = stack({acc}, 40)
        for j in range(count):
            total = rows(pointer(args[0] + j * steps[0], {x_kind}), n, lanes, pairs)
            put(pointer(args[1] + j * steps[1], {y_kind}), 0, {y_kind}({finish}))
    else:
        wide_lanes = stack({acc}, 8192)
        wide_pairs = stack({acc}, 20480)
        for j in range(0, count, 512):
            width = min(512, count - j)
            totals = columns(args[0] + j * steps[0], steps[2], steps[0], n, width, wide_lanes, wide_pairs)
            for c in range(width):
                total = get(totals, c)
                put(pointer(args[1] + (j + c) * steps[1], {y_kind}), 0, {y_kind}({finish}))
    quiet()
'''

_ARG = '''
@njit(error_model="numpy")
def top_of(x, start, stop, lanes):
    """The best of at least 16 entries that lie side by side."""
    for lane in range(16):
        put(lanes, lane, prepared(get(x, start + lane)))
    whole = stop - (stop - start) % 16
    fold(x, start + 16, whole, lanes)
    for i in range(whole, stop):
        put(lanes, 0, combine(get(lanes, 0), prepared(get(x, i))))
    top = get(lanes, 0)
    for lane in range(1, 16):
        top = combine(top, get(lanes, lane))
    return top


@njit(error_model="numpy")
def found(address, step, n, lanes):
    """The index of the first best entry, or of the first nan."""
    best = prepared(get(pointer(address, {x_kind}), 0))
    at = 0
    i = 0
    while i < n:
        stop = min(i + 512, n)
        if step == {x_size} and stop - i >= 16:
            top = top_of(pointer(address, {x_kind}), i, stop, lanes)
        else:
            top = prepared(get(pointer(address + i * step, {x_kind}), 0))
            for k in range(i + 1, stop):
                top = combine(top, prepared(get(pointer(address + k * step, {x_kind}), 0)))
        if i == 0 or top {sign} best:
            best = top
            at = i
            while prepared(get(pointer(address + at * step, {x_kind}), 0)) != top:
                at += 1
        i = stop
    return at


def loop(args, dims, steps, data):
    lanes = stack({key}, 16)
    for j in range(dims[0]):
        put(pointer(args[1] + j * steps[1], int64), 0, found(args[0] + j * steps[0], steps[2], dims[1], lanes))
    quiet()
'''

_RUNNING = """
def loop(args, dims, steps, data):
    for j in range(dims[0]):
        total = {acc}({start})
        for i in range(dims[1]):
            total = {acc}(total {sign} {acc}(get(pointer(args[0] + j * steps[0] + i * steps[2], {x_kind}), 0)))
            put(pointer(args[1] + j * steps[1] + i * steps[3], {y_kind}), 0, {y_kind}(total))
    quiet()
"""


def _kind(character: str) -> str:
    return {"bool": "boolean"}.get(np.dtype(character).name, np.dtype(character).name)


def reduction_text(name: str, signature: str) -> str:
    """The file of a reduction "(n)->()" for a signature such as "f->f"."""
    x, y = (_kind(each) for each in signature.split("->"))
    operation = _OPERATIONS[name]
    return _LANES.format(steps=operation.steps) + _REDUCTION.format(
        acc=_KEYS.get(y, y) if name in ("max", "min") else y,
        x_kind=x,
        y_kind=y,
        x_size=np.dtype(signature[0]).itemsize,
        acc_size=np.dtype(signature[-1]).itemsize,  # that of a float's integer, too
        finish=operation.finish.format(y_kind=y),
        empty=operation.empty,
    )


def arg_text(name: str, signature: str) -> str:
    """The file of argmax or argmin."""
    x = _kind(signature[0])
    return _LANES.format(steps=name) + _ARG.format(
        x_kind=x,
        x_size=np.dtype(signature[0]).itemsize,
        key={**_KEYS, "boolean": "int32"}.get(x, x),
        sign=">" if name == "argmax" else "<",
    )


def running_text(name: str, signature: str) -> str:
    """The file of a running sum or product, "(n)->(n)"; float32 is summed in float64, and rounded at every step."""
    x, y = (_kind(each) for each in signature.split("->"))
    product = name == "cumulative_prod"
    acc = "float64" if y == "float32" and not product else y
    return _RUNNING.format(x_kind=x, y_kind=y, acc=acc, sign="*" if product else "+", start=1 if product else 0)
