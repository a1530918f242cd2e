"""How the gradient of the last loss travels back through the recurrences of a tape, and what it meets on the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..composed import _Run
from ..tape import Record, Tape, paused
from .contributions import cotangent_norms, is_floating, outputs_of, plain, pulls
from .page_time import State, _sequences, _states_of, decay

FUSED = ("elman_sequence", "gru_sequence", "lstm_sequence")
SMALL = 0.1  # a unit is saturated where its derivative is below this share of the largest that it can have
ENOUGH = 100.0  # a gradient that changes by more than this factor on its way has vanished or exploded
GATES = {("sigmoid", "sigmoid", "tanh", "sigmoid"): "ifgo", ("sigmoid", "sigmoid", "tanh"): "rzn"}


@dataclass(frozen=True)
class Passage:
    """The way of a gradient back through a recurrence, or through the layers of a model.

    name: of the recurrence: its scope on the tape, or its operation.
    along: "time" or "depth".
    norms: ‖∂L/∂h_t‖ of the last loss for each time step (or layer), in the order in which they ran; of a state of
        several parts, all parts together.
    spectral_radius: largest |eigenvalue| of the recurrent matrix, for each gate that it serves.
    saturation: share of entries whose derivative is below a tenth of its largest, for each gate and unit.
    """

    name: str
    along: str
    norms: list[float]
    spectral_radius: dict[str, float] = field(default_factory=dict)
    saturation: dict[str, float] = field(default_factory=dict)

    @property
    def decay(self) -> float:
        """The factor by which the norm changes per step back, the geometric mean of all steps.

        Where the norm reaches zero on its way (small numbers underflow), the slope of its logarithm before that.
        """
        if 0 < self.ratio < math.inf:
            return float(self.ratio ** (1 / (len(self.norms) - 1)))
        fitted = decay(self.norms)
        return self.ratio if fitted is None else fitted

    @property
    def ratio(self) -> float:
        """The norm at the first step over that at the last."""
        first, last = self.norms[0], self.norms[-1]
        return first / last if last else (0.0 if first == 0 else math.inf)

    @property
    def horizon(self) -> float:
        """Steps back after which the gradient has changed a hundredfold, at that decay; infinity if it never does."""
        if not 0 < self.decay < math.inf:
            return 0.0 if self.decay == 0 else math.nan
        speed = abs(math.log(self.decay))
        return math.log(ENOUGH) / speed if speed else math.inf

    @property
    def verdict(self) -> str:
        """ "vanishing", "exploding" or "healthy": whether a hundredth arrives, or a hundredfold, or in between."""
        if not all(map(math.isfinite, self.norms)) or self.ratio > ENOUGH:
            return "exploding"
        return "vanishing" if self.ratio < 1 / ENOUGH else "healthy"

    @property
    def change(self) -> float:
        """How far the ratio is from 1, in powers of e, either way."""
        if not math.isfinite(self.ratio):
            return math.inf
        return abs(math.log(self.ratio)) if self.ratio else math.inf


def passages(tape: Tape, seeds: Mapping[int, Any]) -> list[Passage]:
    """Follow the gradient of the last loss through every recurrence of a tape.

    seeds: {slot: cotangent}, where the backward sweep of the whole tape begins. What of it reaches the state after the
    last step, from outside the recurrence, is sent back through the recurrence alone; a direction of norm 1 where
    nothing does. A fused record is run again step by step.
    """
    found = []
    for name, each, begin in [("", tape, seeds), *_unfused(tape, seeds)]:
        for runs in _sequences(each.records):
            states = [s for s in _states_of(each, runs) if len(s.slots) == len(runs)]
            if states:
                found.append(_passage(name, each, runs, states, begin))
    return found


def dead_units(tape: Tape) -> dict[str, tuple[int, int]]:
    """ReLU units that are zero for every example and time step: {place: (dead, all)}; a unit is on the last axis."""
    alive: dict[str, Any] = {}
    for name, each, _ in [("", tape, {}), *_unfused(tape, {})]:
        offsets = {n: n - run.start for runs in _sequences(each.records) for run in runs for n in run}
        for number, record in enumerate(each.records):
            if record.primitive.name == "relu" and record.result.ndim:
                y = _host(record)
                fired = (y > 0).reshape(-1, y.shape[-1]).any(axis=0)
                where = f"record {offsets[number]} of a step" if number in offsets else f"record {number}"
                place = f"{name or record.scope or 'relu'}, {where}"
                known = alive.get(place)
                alive[place] = fired if known is None or known.shape != fired.shape else known | fired
    return {place: (int((~fired).sum()), int(fired.size)) for place, fired in alive.items()}


# ---- one recurrence


def _passage(name: str, tape: Tape, runs: list[range], states: list[State], seeds: Mapping[int, Any]) -> Passage:
    with np.errstate(all="ignore"):
        norms = cotangent_norms(tape, _entering(tape, states, seeds))
        by_step = [math.hypot(*[norms.get(s.slots[k], 0.0) for s in states]) for k in range(len(runs))]
    scope = tape.records[runs[0].start].scope
    return Passage(
        name or scope or f"the recurrence of {states[0].operation}",
        "time",
        by_step,
        _spectral_radii(tape, runs, states),
        _saturation(tape, runs),
    )


def _entering(tape: Tape, states: list[State], seeds: Mapping[int, Any]) -> dict[int, Any]:
    """What reaches the state after the last step from outside the recurrence."""
    ends = {state.slots[-1] for state in states}
    made = {slot: number for number, record in enumerate(tape.records) for slot in outputs_of(record)}
    last = max(made[slot] for slot in ends)
    entering = {slot: value for slot, value in seeds.items() if slot in ends}
    for pull in pulls(tape, seeds):
        if pull.number <= last:
            break
        entering.update((each.slot, each.total) for each in pull.contributions if each.slot in ends)
    if any(np.any(tape.records[0].backend.to_numpy(plain(value))) for value in entering.values()):
        return entering
    slot = states[0].slots[-1]
    record = tape.records[made[slot]]
    value = plain(record.result if not isinstance(record.output, tuple) else record.result[record.output.index(slot)])
    direction = np.random.default_rng(0).standard_normal(value.shape)
    return {slot: _like(tape, record, (direction / np.linalg.norm(direction)).astype(str(value.dtype)))}


def _like(tape: Tape, record: Record, host: Any) -> Any:
    """A host array as a cotangent of the tape: on a nested tape those are Tensors."""
    from ..apply import placed

    array = record.backend.asarray(host)
    return placed(array, record.backend) if tape.nested else array


def _unfused(tape: Tape, seeds: Mapping[int, Any]) -> list[tuple[str, Tape, dict[int, Any]]]:
    """The fused records, step by step: (name, tape, seeds) of each, with the cotangents of its last step."""
    numbers = [n for n, record in enumerate(tape.records) if record.primitive.name in FUSED]
    cotangents: dict[int, tuple[Any, ...]] = {}
    if numbers and seeds:
        cotangents = {pull.number: pull.cotangents for pull in pulls(tape, seeds) if pull.number in numbers}
    found = []
    for n in numbers:
        record = tape.records[n]
        record = record._replace(values=tuple([plain(value) for value in record.values]))
        with paused():
            run = _Run(record.primitive.composed, record, [is_floating(value) for value in record.values])  # type: ignore[arg-type]
        name = f"{record.primitive.name.removesuffix('_sequence')} {record.scope}".strip()
        begin: dict[int, Any] = {}
        for i, (slot, part) in enumerate(zip(run.slots(), cotangents.get(n, ()))):
            if slot is not None and part is not None:
                host = np.array(record.backend.to_numpy(plain(part)))
                if i == 0:  # outputs by time step: of these the last that ran
                    kept = 0 if record.params.get("reverse") else -1
                    host[np.arange(len(host)) != kept % len(host)] = 0
                begin[slot] = record.backend.asarray(host)
        found.append((name, run.tape, begin))
    return found


# ---- recurrent matrices, gates and units


def _spectral_radii(tape: Tape, runs: list[range], states: list[State]) -> dict[str, float]:
    """Spectral radius of each square block of the matrices that the state is multiplied with."""
    before = {state.slots[0] for state in states}  # what the second step reads
    views = _views(tape.records[: runs[1].stop])
    carried = set(before)
    found: dict[str, float] = {}
    letters = "".join(_gate_letters(tape, runs[1]).values())  # in the order of the blocks
    for number in runs[1]:
        record = tape.records[number]
        if record.primitive.name == "multiply" and carried & set(record.inputs):
            carried.add(record.output)  # a gate on the state, before its product
        if record.primitive.name != "matmul":
            continue
        for state, weight in ((0, 1), (1, 0)):
            if record.inputs[state] in carried and record.inputs[weight] in views:
                matrix = np.asarray(record.backend.to_numpy(plain(record.values[weight])), dtype=np.float64)
                if matrix.ndim == 2:
                    found.update(_radii_of(matrix if weight == 0 else matrix.T, letters, found))
    return found


def _radii_of(matrix: Any, letters: str, known: Mapping[str, float]) -> dict[str, float]:
    """Radii of the square blocks of a matrix (k H, H)."""
    rows, size = matrix.shape
    if not size or rows % size or not np.isfinite(matrix).all():
        return {}
    radii = [float(np.max(np.abs(np.linalg.eigvals(block)))) for block in np.split(matrix, rows // size)]
    if len(radii) == 1 and not known:
        return {"W": radii[0]}
    names = [letters[len(known) + i : len(known) + i + 1] or f"block {len(known) + i}" for i in range(len(radii))]
    return dict(zip(names, radii))


def _views(records: Iterable[Record]) -> set[int]:
    """Slots that hold a source, or a part or transpose of one."""
    shapes = {"matrix_transpose", "permute_dims", "reshape", "getitem", "index", "slice"}
    made: set[int] = set()
    views: set[int] = set()
    for record in records:
        views.update(slot for slot in record.inputs if slot not in made)
        made.update(outputs_of(record))
        if record.primitive.name in shapes and record.inputs[0] in views:
            views.update(outputs_of(record))
    return views


def _gate_letters(tape: Tape, run: range) -> dict[int, str]:
    """The usual letters of an LSTM's and a GRU's gates, by record, where a step has their pattern.

    The pattern: a product is cut into three or four parts, which go through these functions, directly or after sums.
    """
    parts: dict[int, tuple[int, int]] = {}  # slot -> (number of parts, which of them)
    found: dict[tuple[int, int], int] = {}
    for number in run:
        record = tape.records[number]
        name = record.primitive.name
        if name == "getitem":
            parts[record.output] = _part(record)
        part = next((parts[slot] for slot in record.inputs if slot in parts), None)
        if part is not None and name == "add":
            parts[record.output] = part
        elif part is not None and name in ("sigmoid", "tanh"):
            found.setdefault(part, number)
    for (*pattern,), letters in GATES.items():
        numbers = [found.get((len(letters), i)) for i in range(len(letters))]
        if [n is not None and tape.records[n].primitive.name for n in numbers] == pattern:
            return {n: letter for n, letter in zip(numbers, letters) if n is not None}
    return {}


def _part(record: Record) -> tuple[int, int]:
    """Of a slice of the last axis: into how many parts of its size the axis can be cut, and which one it is."""
    before, after = plain(record.values[0]).shape, plain(record.result).shape
    index = record.params.get("index")
    last = index[-1] if isinstance(index, tuple) and index else None
    if not isinstance(last, slice) or before[:-1] != after[:-1] or not after[-1] or before[-1] % after[-1]:
        return 0, 0
    return before[-1] // after[-1], (last.start or 0) // after[-1]


def _saturation(tape: Tape, runs: list[range]) -> dict[str, float]:
    """Share of saturated entries of each sigmoid and tanh of a step, over all steps."""
    letters = _gate_letters(tape, runs[0])
    counts: dict[str, list[int]] = {}
    for offset, number in enumerate(runs[0]):
        name = tape.records[number].primitive.name
        if name not in ("sigmoid", "tanh"):
            continue
        label = f"{name} {letters[number]}" if number in letters else name
        while label in counts:
            label += "′"
        seen = counts[label] = [0, 0]
        for run in runs:
            if offset < len(run) and tape.records[run[offset]].primitive.name == name:
                y = _host(tape.records[run[offset]])
                slope = 4 * y * (1 - y) if name == "sigmoid" else 1 - y * y
                seen[0] += int((slope < SMALL).sum())
                seen[1] += y.size
    return {label: low / count for label, (low, count) in counts.items() if count}


def _host(record: Record) -> Any:
    return np.asarray(record.backend.to_numpy(plain(record.result)), dtype=np.float64)


def along_depth(name: str, norms: Sequence[float]) -> Passage:
    """The passage through the layers of a model, from the norms of the gradients of their outputs."""
    return Passage(name, "depth", list(norms))
