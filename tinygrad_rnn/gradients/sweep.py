"""The backward sweep of one tape with many cotangents at once, each lane of a batch keeping its own.

A slot whose first axis is the batch (a lane slot) has cotangents (S, *shape): S seeds. Every other slot, such as a
weight, has cotangents (S, L, *shape): what lane l alone would send it. The rules below pull a whole block back where
the primitive is linear in a known way or elementwise; any other primitive is asked cotangent by cotangent.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from ..primitive import Elementwise
from ..tape import Record, Tape, fit


class Outer:
    """Cotangents of a weight that are outer products: [s, l, i, j] = rows[s, l, i] columns[s, l, j].

    One factor is the cotangent of a product, (S, L, m); the other is what the weight was multiplied with, (1, L, k).
    transposed: whether it is the columns that are the cotangent, as they are of b in ``a @ b``.
    index: slices of the weight which these are cotangents of (zero elsewhere); None for the whole.
    shape: of the weight.
    """

    def __init__(
        self, rows: Any, columns: Any, shape: tuple[int, ...], index: Any = None, transposed: bool = True
    ) -> None:
        self.rows, self.columns, self.shape, self.index, self.transposed = rows, columns, shape, index, transposed

    @property
    def seeds(self) -> int:
        """Number S of cotangents."""
        return int((self.columns if self.transposed else self.rows).shape[0])

    def factors(self, seeds: slice) -> tuple[Any, Any]:
        """Both factors, for some of the seeds."""
        if self.transposed:
            return self.rows, self.columns[seeds]
        return self.rows[seeds], self.columns

    def only(self, seeds: slice) -> Outer:
        """The same for some of the seeds."""
        return Outer(*self.factors(seeds), self.shape, self.index, self.transposed)

    def dense(self, xp: Any) -> Any:
        """The cotangents written out, (S, L, *shape)."""
        part = self.rows[..., :, None] * self.columns[..., None, :]
        if self.index is None:
            return part
        whole = xp.zeros((*part.shape[:2], *self.shape), dtype=part.dtype)
        whole[(slice(None), slice(None), *self.index)] = part
        return whole

    def through(self, record: Record) -> Outer | None:
        """The same for the input of a record whose output this is the cotangent of; None if it is no outer product."""
        shape = tuple(record.values[0].shape)
        if record.primitive.name == "permute_dims" and record.params["axes"] == (1, 0) and self.index is None:
            return Outer(self.columns, self.rows, shape, transposed=not self.transposed)
        if record.primitive.name == "getitem" and self.index is None and len(shape) == 2:
            index = record.params["index"]
            if all(isinstance(part, slice) and part.step in (None, 1) for part in index):
                return Outer(self.rows, self.columns, shape, index, self.transposed)
        return None


class Cotangents:
    """The cotangents of a sweep so far, by slot: a dense total, and outer products beside it."""

    def __init__(self, tape: Tape, lanes: frozenset[int], rows: int, xp: Any) -> None:
        self.lanes, self.rows, self.xp = lanes, rows, xp
        self.dense: dict[int, Any] = {}
        self.outer: dict[int, list[Outer]] = defaultdict(list)

    def seed(self, slot: int, part: Any) -> None:
        """Give a slot cotangents (S, *shape), as of a lane slot."""
        if slot not in self.lanes:
            part = self.xp.expand_dims(part, axis=1) if self.rows == 1 else _apart(self.xp, part)
        self.add(slot, part)

    def add(self, slot: int, part: Any) -> None:
        have = self.dense.get(slot)
        self.dense[slot] = part if have is None else have + part

    def take(self, slot: int, keep: bool) -> Any:
        """The dense cotangents of a slot, outer products included; None if nothing reached it."""
        for part in self.outer.pop(slot, []):
            self.add(slot, part.dense(self.xp))
        return self.dense.get(slot) if keep else self.dense.pop(slot, None)


def sweep(tape: Tape, totals: Cotangents, wanted: Iterable[int], rule: Any = None) -> dict[int, list[Any]]:
    """Pull the seeds in `totals` back; return for each wanted slot the parts (arrays, `Outer`) that reached it.

    rule: how a block of cotangents passes a record; `pull` by default.
    """
    rule = rule or pull
    kept = set(wanted)
    needed = tape._reachable_from(kept)
    lanes = totals.lanes
    for record in reversed(tape.records):
        outputs = (record.output,) if isinstance(record.output, int) else record.output
        if not any(needed[slot] for slot in outputs):
            continue
        if len(outputs) == 1 and outputs[0] in totals.outer and outputs[0] not in totals.dense:
            moved = [part.through(record) for part in totals.outer[outputs[0]]]
            if all(part is not None for part in moved) and outputs[0] not in kept:
                del totals.outer[outputs[0]]
                totals.outer[record.inputs[0]].extend(moved)  # type: ignore[arg-type]
                continue
        g: Any = tuple([totals.take(slot, slot in kept) for slot in outputs])
        if all(part is None for part in g):
            continue
        lane = outputs[0] in lanes
        inputs = [bool(needed[slot]) for slot in record.inputs]
        same = [on and (slot in lanes) == lane for slot, on in zip(record.inputs, inputs)]
        if any(same):
            for slot, part in zip(record.inputs, rule(totals.xp, record, g, 1 if lane else 2, same)):
                if part is not None:
                    totals.add(slot, part)
        for k, slot in enumerate(record.inputs):
            if inputs[k] and not same[k]:  # a weight meets the lanes
                part = _pull_across(totals, record, g, k)
                if isinstance(part, Outer):
                    totals.outer[slot].append(part)
                else:
                    totals.add(slot, part)
    return {slot: [*totals.outer.get(slot, []), *_listed(totals.dense.get(slot))] for slot in kept}


def _listed(part: Any) -> list[Any]:
    return [] if part is None else [part]


def _apart(xp: Any, part: Any) -> Any:
    """(S, B, ...) as (S, B, B, ...): the cotangent that each lane alone sends, zero for the rows of other lanes."""
    rows = np.arange(part.shape[1])
    alone = xp.zeros((part.shape[0], part.shape[1], *part.shape[1:]), dtype=part.dtype)
    alone[:, rows, rows] = part
    return alone


def pull(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
    """Cotangents of a record's inputs, from a block of cotangents of its outputs with `lead` leading axes."""
    rule = _elementwise if isinstance(record.primitive, Elementwise) else _RULES.get(record.primitive.name)
    parts = None if rule is None else rule(xp, record, g, lead, needs)
    if parts is None:
        return _one_by_one(xp, record, g, lead, needs)
    return [_fitted(xp, part, value, lead) if on else None for part, value, on in zip(parts, record.values, needs)]


def _pull_across(totals: Cotangents, record: Record, g: tuple[Any, ...], k: int) -> Any:
    """Cotangents (S, L, *shape) of the k-th input, which has no lanes, of a record whose output is lane-wise."""
    xp, value = totals.xp, record.values[k]
    name = record.primitive.name
    needs = [i == k for i in range(len(record.inputs))]
    if name == "matmul" and k == 1 and record.values[0].ndim == 2 and value.ndim == 2:
        return Outer(record.values[0][None], g[0], tuple(value.shape))
    if isinstance(record.primitive, Elementwise) or name == "where":
        rule = _elementwise if name != "where" else _where
        part = rule(xp, record, g, 1, needs)[k]
        if value.ndim < record.result.ndim:
            return _fitted(xp, part, value, 2)
        if value.shape[0] == 1:
            return _fitted(xp, xp.expand_dims(part, axis=2), value, 2)
        return _fitted(xp, _apart(xp, part), value, 2)
    alone = tuple([None if part is None else _apart(xp, part) for part in g])
    return pull(xp, record, alone, 2, needs)[k]


# ---- rules for a block of cotangents; each leaves shapes to `_fitted`, as the rules of primitives do


def _fitted(xp: Any, part: Any, value: Any, lead: int) -> Any:
    """Undo broadcasting and promotion, behind the leading axes."""
    shape = tuple(value.shape)
    extra = part.ndim - lead - len(shape)
    if extra > 0:
        part = xp.sum(part, axis=tuple(range(lead, lead + extra)))
    stretched = tuple([lead + i for i, want in enumerate(shape) if want == 1 and part.shape[lead + i] != 1])
    if stretched:
        part = xp.sum(part, axis=stretched, keepdims=True)
    whole = (*part.shape[:lead], *shape)
    if part.shape != whole:
        part = xp.broadcast_to(part, whole)
    return part if part.dtype == value.dtype else xp.astype(part, value.dtype)


def _elementwise(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
    """g times the local derivative of each input."""
    primitive: Any = record.primitive
    parts: list[Any] = []
    for derivative, on in zip(primitive.derivatives, needs):
        if not on or derivative is None:
            parts.append(xp.zeros_like(g[0]) if on else None)
        elif not callable(derivative):
            parts.append(g[0] if derivative == 1 else -g[0])
        else:
            slope = derivative(xp, record.result, *record.values, **record.params)
            part = g[0] * slope
            parts.append(xp.where(g[0] == 0, xp.zeros_like(part), part) if primitive.singular else part)
    return parts


def _where(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
    condition, zero = record.values[0], xp.zeros_like(g[0])
    return [None, xp.where(condition, g[0], zero), xp.where(condition, zero, g[0])]


def _matmul(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any] | None:
    a, b = record.values
    if a.ndim < 2 or b.ndim < 2:
        return None
    first = xp.matmul(g[0], xp.matrix_transpose(b)) if needs[0] else None
    return [first, xp.matmul(xp.matrix_transpose(a), g[0]) if needs[1] else None]


def _permute_dims(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
    axes = record.params["axes"]
    return [xp.permute_dims(g[0], (*range(lead), *[lead + axes.index(i) for i in range(len(axes))]))]


def _reshape(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
    return [xp.reshape(g[0], (*g[0].shape[:lead], *record.values[0].shape))]


def _unchanged(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
    return [g[0]]


def _getitem(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any] | None:
    index = record.params["index"]
    if any(isinstance(part, np.ndarray) for part in index):
        return None  # may name an entry twice
    whole = xp.zeros((*g[0].shape[:lead], *record.values[0].shape), dtype=g[0].dtype)
    whole[(slice(None),) * lead + tuple(index)] = g[0]
    return [whole]


def _concat(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any] | None:
    axis = record.params["axis"]
    if axis is None:
        return None
    axis %= record.result.ndim
    ends = np.cumsum([0, *[value.shape[axis] for value in record.values]])
    before = (slice(None),) * (lead + axis)
    return [g[0][(*before, slice(start, end))] for start, end in pairwise(ends)]


def _stack(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
    before = (slice(None),) * (lead + record.params["axis"] % record.result.ndim)
    return [g[0][(*before, i)] for i in range(len(record.values))]


def _sum(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
    value, axis = record.values[0], record.params["axis"]
    axes = range(value.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    gone = {each % value.ndim for each in axes} if value.ndim else set()
    shape = [1 if i in gone else size for i, size in enumerate(value.shape)]
    return [xp.reshape(g[0], (*g[0].shape[:lead], *shape))]


_RULES = {
    "where": _where,
    "matmul": _matmul,
    "permute_dims": _permute_dims,
    "reshape": _reshape,
    "broadcast_to": _unchanged,
    "astype": _unchanged,
    "getitem": _getitem,
    "concat": _concat,
    "stack": _stack,
    "sum": _sum,
}


def _one_by_one(xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
    """Ask the primitive's own rule for each cotangent of the block."""
    block = next(part for part in g if part is not None).shape[:lead]
    results = record.result if isinstance(record.output, tuple) else (record.result,)
    flat = [None if part is None else xp.reshape(part, (-1, *y.shape)) for part, y in zip(g, results)]
    needed = defaultdict(bool, {slot: bool(on) for slot, on in zip(record.inputs, needs) if on})
    found: list[list[Any]] = [[] for _ in needs]
    for s in range(math.prod(block)):
        one = tuple([None if part is None else part[s] for part in flat])
        given = one if isinstance(record.output, tuple) else one[0]
        parts = record.primitive.pullback(xp, given, record, needed)
        for k, (part, value) in enumerate(zip(parts, record.values)):
            if needs[k]:
                found[k].append(xp.zeros_like(value) if part is None else fit(xp, part, value))
    return [
        xp.reshape(xp.stack(parts), (*block, *value.shape)) if on else None
        for parts, value, on in zip(found, record.values, needs)
    ]
