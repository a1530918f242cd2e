"""The Jacobians of one step of any cell, from a tape of that step: what all forward rules stand on.

`StepTape` records one step with the state boxed. Many cotangents are pulled back through it in one sweep, and every
lane of the batch keeps its own: from the unit vectors come D = ds'/ds and the immediate Jacobian I = ds'/dθ,
lane by lane. Where a weight acts through a matrix product, I stays two factors, G ⊗ v, and is never written out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..errors import GradientError
from ..rnn.state import detached, leaves_of, like_state
from ..tape import Tape, paused
from ..tensor import Tensor
from .bptt import record_multiplications
from .lanes import lane_slots
from .rule import check_foreign, named_parameters
from .sweep import Cotangents, Outer, sweep


class Layout(NamedTuple):
    """How the floating parts of a state lie in one row of numbers, lane by lane.

    shapes: of the floating leaves, batch axis included.  places: which leaves of the state these are.
    lanes: whether the batch is the first axis of all of them; if not, the batch counts as one lane.
    """

    shapes: tuple[tuple[int, ...], ...]
    places: tuple[int, ...]
    batch: int
    lanes: bool

    @classmethod
    def of(cls, state: Any, batch: int) -> Layout:
        """The layout of a state of `batch` lanes."""
        leaves = leaves_of(state)
        places = tuple([i for i, leaf in enumerate(leaves) if leaf.dtype.kind == "f"])
        shapes = tuple([tuple(leaves[i].shape) for i in places])
        return cls(shapes, places, batch, all(shape[:1] == (batch,) for shape in shapes))

    @property
    def rows(self) -> int:
        """Number of lanes that are kept apart: B, or 1."""
        return self.batch if self.lanes else 1

    @property
    def sizes(self) -> list[int]:
        """Units of each leaf, in one lane."""
        return [math.prod(shape) // self.rows for shape in self.shapes]

    @property
    def size(self) -> int:
        """Number n of units in one lane."""
        return sum(self.sizes)

    def join(self, leaves: Sequence[Any], xp: Any) -> Any:
        """Leaves (S, *shape) as one array (S, rows, n)."""
        parts = [
            xp.reshape(leaf, (leaf.shape[0], self.rows, size)) for leaf, size in zip(leaves, self.sizes, strict=True)
        ]
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=2)

    def split(self, joined: Any, xp: Any) -> list[Any]:
        """The leaves (S, *shape) of an array (S, rows, n)."""
        ends = np.cumsum([0, *self.sizes])
        return [
            xp.reshape(joined[:, :, start:end], (joined.shape[0], *shape))
            for start, end, shape in zip(ends, ends[1:], self.shapes)
        ]


class Pulled(NamedTuple):
    """What a sweep of S cotangents gives.

    entering: (S, L, N), cotangents of the state before the step.
    immediate: by parameter, the parts whose sum is the cotangent (S, L, *shape) of its use in this step.
    """

    entering: Any
    immediate: dict[str, list[Immediate]]


class Immediate:
    """One part of S cotangents of a parameter, lane by lane: an array (S, L, *shape), or an outer product."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def dense(self, xp: Any) -> Any:
        """The part written out, (S, L, *shape)."""
        return self.part.dense(xp) if isinstance(self.part, Outer) else self.part

    def multiplications(self) -> int:
        """How many multiplications `add_to` takes."""
        part = self.part
        if not isinstance(part, Outer):
            return 0
        return part.seeds * int(part.rows.shape[1] * part.rows.shape[-1] * part.columns.shape[-1])

    def only(self, seeds: slice) -> Immediate:
        """The same of some of the cotangents."""
        return Immediate(self.part.only(seeds) if isinstance(self.part, Outer) else self.part[seeds])

    def summed(self, xp: Any) -> Any:
        """The sum over cotangents and lanes, (*shape)."""
        part = self.part
        if not isinstance(part, Outer):
            return xp.sum(part, axis=(0, 1))
        rows, columns = [xp.sum(factor, axis=0) for factor in (part.rows, part.columns)]  # one of them has S = 1
        product = xp.matmul(xp.matrix_transpose(rows), columns)
        if part.index is None:
            return product
        whole = xp.zeros(part.shape, dtype=product.dtype)
        whole[tuple(part.index)] = product
        return whole

    def at(self, units: Any, entries: Any, xp: Any) -> Any:
        """Some cotangents of some entries alone, (..., L). units: which cotangents.  entries: flat, of the shape."""
        part = self.part
        if not isinstance(part, Outer):
            return xp.reshape(part, (*part.shape[:2], -1))[units, :, entries]
        i, j = entries // part.shape[1], entries % part.shape[1]
        inside = None
        if part.index is not None:
            spans = [range(*cut.indices(size)) for cut, size in zip(part.index, part.shape)]
            spans += [range(size) for size in part.shape[len(spans) :]]
            inside = (i >= spans[0].start) & (i < spans[0].stop) & (j >= spans[1].start) & (j < spans[1].stop)
            i, j = xp.where(inside, i - spans[0].start, 0), xp.where(inside, j - spans[1].start, 0)
        first, second = (0, units) if part.transposed else (units, 0)
        product = xp.multiply(part.rows[first, :, i], part.columns[second, :, j])
        return product if inside is None else xp.where(inside[..., None], product, xp.zeros_like(product))

    def add_to(self, total: Any, xp: Any) -> None:
        """Add the part to an array (L, S, *shape), in place; of an outer product only a slab at a time exists."""
        part = self.part
        if not isinstance(part, Outer):
            total += xp.moveaxis(part, 0, 1)
            return
        if part.index is not None:
            total = total[(slice(None), slice(None), *part.index)]
        seeds = part.seeds
        slab = max(1, SLAB // max(1, total[:, :1].size))
        for start in range(0, seeds, slab):
            rows, columns = part.factors(slice(start, start + slab))
            total[:, start : start + slab] += xp.moveaxis(xp.multiply(rows[..., :, None], columns[..., None, :]), 0, 1)


def pull_begun(step: StepTape, start: StepTape | None, lanes: Any, cotangents: Any) -> Pulled:
    """`step.pull`, where some lanes begin: what enters those goes to the parameters of their initial state.

    start: the tape of the initial state; None if no lane begins.  lanes: which begin, (B,) bools.
    """
    entering, immediate = step.pull(cotangents)
    if start is None:
        return Pulled(entering, immediate)
    begun = entering * step.xp.asarray(lanes)[None, :, None] if step.layout.lanes else entering
    parts = dict(immediate)
    for name, more in start.pull(begun).immediate.items():
        parts[name] = [*parts.get(name, []), *more]
    return Pulled(entering - begun, parts)


SLAB = 1 << 16  # entries of an outer product that exist at once; they fit a processor's cache


class StepTape:
    """One step of a cell on a tape of its own, or (see `start`) its initial state.

    after: the state after the step, with no history.  layout: how its numbers lie.
    """

    def __init__(self, cell: Any, x: Tensor | None, state: Any, batch: int) -> None:
        parameters = named_parameters(cell)
        with paused(), Tape() as self.tape:
            if x is None:
                boxes, given = [], None
                after = cell.initial_state(batch)
            else:
                boxes = [self.tape.watch(leaf) for leaf in leaves_of(state)]
                given = x.detach()
                after = cell(given, like_state(state, boxes))
            # a state that is a parameter itself becomes the result of an operation, so that it has a slot
            after = like_state(after, [ops.reshape(y, y.shape) if y.requires_grad else y for y in leaves_of(after)])
        check_foreign(self.tape, [p for _, p in cell.named_parameters()], "the cell")
        known = {id(p): name for name, p in parameters}
        self.parameters = {known[id(leaf)]: slot for slot, leaf in self.tape.leaves.values() if id(leaf) in known}
        self.shapes = {name: tuple(p.shape) for name, p in parameters}
        self.layout = Layout.of(after, batch)
        self.after = detached(after)
        self.xp: Any = leaves_of(self.after)[0]._backend.xp
        leaves = [leaves_of(after)[place] for place in self.layout.places]
        self.outputs = [leaf._slot if leaf._tape is self.tape.ref else None for leaf in leaves]
        self.inputs = [boxes[place]._slot for place in self.layout.places] if boxes else []
        # x enters as a leaf whose first axis is the batch, as the state does
        lanes = set(self.inputs) | {slot for slot, leaf in self.tape.leaves.values() if leaf is given}
        self._lanes = lane_slots(self.tape, lanes, batch) if self.layout.lanes and boxes else None
        self._dtype = leaves_of(self.after)[self.layout.places[0]].dtype

    @classmethod
    def start(cls, cell: Any, batch: int) -> StepTape:
        """Record the cell's initial state: a step that takes no state, and whose Jacobian is I alone."""
        return cls(cell, None, None, batch)

    @property
    def seeds(self) -> int:
        """Number of cotangents in the sweep that gives the Jacobian: n, or Bn where lanes cannot be told apart."""
        return self.layout.size * (1 if self._lanes is not None else self.layout.rows)

    def multiplications(self) -> int:
        """How many multiplications the step itself took."""
        return sum(record_multiplications(record) for record in self.tape)

    @property
    def lanes(self) -> frozenset[int]:
        """The slots whose first axis is the batch and whose rows are independent; none where that is not known."""
        return self._lanes or frozenset()

    @property
    def output(self) -> Tensor:
        """The cell's output, (B, H)."""
        return leaves_of(self.after)[0]

    def jacobian(self) -> tuple[Any, dict[str, list[Immediate]]]:
        """Return D, (L, N, N), and by parameter the parts of I, whose sum is (N, L, *shape).

        L is the number of lanes, and N the units of one; L = 1 and N = Bn where lanes influence each other.
        """
        lanes, n = self.layout.rows, self.layout.size
        if self._lanes is None and lanes > 1:
            return self._jacobian_of_unknown()
        unit = self.xp.broadcast_to(self.xp.eye(n, dtype=self._dtype)[:, None, :], (n, lanes, n))
        found = self.pull(unit)
        return self.xp.moveaxis(found.entering, 0, 1), found.immediate

    def pull(self, cotangents: Any) -> Pulled:
        """Pull S cotangents of the state after the step, (S, L, N), back: the vector-Jacobian products, lane by lane.

        Raises GradientError where lanes influence each other, for then no lane has a gradient of its own.
        """
        lanes, n = self.layout.rows, self.layout.size
        if self._lanes is not None or lanes == 1:
            return self._swept(self.layout, self._lanes or frozenset(), cotangents)
        seeds, xp = cotangents.shape[0], self.xp
        alone = xp.zeros((lanes, seeds, lanes, n), dtype=cotangents.dtype)  # each lane's cotangents by themselves
        index = np.arange(lanes)
        alone[index, :, index] = xp.moveaxis(cotangents, 1, 0)
        found = self._swept(
            self.layout._replace(lanes=False), frozenset(), self._merged(xp.reshape(alone, (lanes * seeds, lanes, n)))
        )
        entering = xp.reshape(self._parted(found.entering), (lanes, seeds, lanes, n))
        own = entering[index, :, index]
        entering[index, :, index] = 0
        if entering.any():
            raise GradientError(
                "the lanes of this cell influence each other (through a mean over the batch, perhaps), so no lane has "
                "a gradient of its own. BPTT and RTRL serve such a cell; so does every rule with batch=1."
            )
        immediate = {
            name: [
                Immediate(xp.moveaxis(xp.reshape(p.dense(xp), (lanes, seeds, *self.shapes[name])), 0, 1)) for p in parts
            ]
            for name, parts in found.immediate.items()
        }
        return Pulled(xp.moveaxis(own, 0, 1), immediate)

    def push(self, tangents: Any) -> Any:
        """Push a tangent of the state before the step, (L, N), through: D times it, (L, N)."""
        layout, xp = self.layout, self.xp
        parts = layout.split(tangents[None], xp)
        with np.errstate(all="ignore"):
            found = self.tape.sweep_forward({slot: part[0] for slot, part in zip(self.inputs, parts)})
        leaves = [
            xp.zeros(shape, dtype=tangents.dtype) if slot is None or slot not in found else found[slot]
            for slot, shape in zip(self.outputs, layout.shapes)
        ]
        return layout.join([leaf[None] for leaf in leaves], xp)[0]

    def _jacobian_of_unknown(self) -> tuple[Any, dict[str, list[Immediate]]]:
        """D and I where nothing says that lanes stay apart: the batch as one lane, of B times as many units."""
        xp, lanes, n = self.xp, self.layout.rows, self.layout.size
        unit = self._merged(xp.reshape(xp.eye(lanes * n, dtype=self._dtype), (lanes * n, lanes, n)))
        found = self._swept(self.layout._replace(lanes=False), frozenset(), unit)
        d = xp.reshape(self._parted(found.entering), (lanes, n, lanes, n))
        index = np.arange(lanes)
        own = d[index, :, index]
        if xp.count_nonzero(d) > xp.count_nonzero(own):
            return xp.reshape(d, (1, lanes * n, lanes * n)), found.immediate
        immediate = {
            name: [Immediate(xp.moveaxis(xp.reshape(p.dense(xp), (lanes, n, *self.shapes[name])), 0, 1)) for p in parts]
            for name, parts in found.immediate.items()
        }
        return own, immediate

    def _merged(self, joined: Any) -> Any:
        """(S, B, n) as (S, 1, Bn) in the order of a layout that has one lane: leaf by leaf."""
        xp = self.xp
        flat = [xp.reshape(leaf, (joined.shape[0], 1, -1)) for leaf in self.layout.split(joined, xp)]
        return xp.concat(flat, axis=2)

    def _parted(self, merged: Any) -> Any:
        """(S, 1, Bn), leaf by leaf, as (S, B, n)."""
        return self.layout.join(self.layout._replace(lanes=False).split(merged, self.xp), self.xp)

    def _swept(self, layout: Layout, lanes: frozenset[int], cotangents: Any) -> Pulled:
        xp, seeds = self.xp, cotangents.shape[0]
        totals = Cotangents(self.tape, lanes, layout.rows, xp)
        for slot, part in zip(self.outputs, layout.split(cotangents, xp)):
            if slot is not None:
                totals.seed(slot, part)
        with np.errstate(all="ignore"):
            found = sweep(self.tape, totals, [*self.inputs, *self.parameters.values()])
        entering = [
            self._entering(found, slot, layout, seeds, shape, cotangents.dtype)
            for slot, shape in zip(self.inputs, layout.shapes)
        ]
        immediate = {
            name: [Immediate(part) for part in found[slot]] for name, slot in self.parameters.items() if found[slot]
        }
        joined = layout.join(entering, xp) if entering else xp.zeros_like(cotangents)  # an initial state has no past
        return Pulled(joined, immediate)

    def _entering(self, found: Any, slot: int, layout: Layout, seeds: int, shape: Any, dtype: Any) -> Any:
        parts = found[slot]
        if not parts:
            return self.xp.zeros((seeds, *shape), dtype=dtype)
        total = parts[0].dense(self.xp) if isinstance(parts[0], Outer) else parts[0]
        for part in parts[1:]:
            total = total + (part.dense(self.xp) if isinstance(part, Outer) else part)
        return self.xp.reshape(total, (seeds, *shape))
