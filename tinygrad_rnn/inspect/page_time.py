"""Gradients through time: the states of a recurrence, ‖∂L/∂h_t‖, and ‖∂L_s/∂h_t‖ where losses by step exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..apply import sweep_namespace
from ..errors import ArgumentError
from ..tape import Record, Tape, paused
from ..tensor import Tensor
from ..transforms import _slot_of
from .contributions import is_floating, norm, outputs_of, results_of

MOST = 64  # rows and columns of a heat map; longer sequences are sampled evenly


@dataclass(frozen=True)
class State:
    """A state of a recurrence: its slot at each time step, in the order of the tape.

    steps: the time steps.  slots: one for each step.  operation: the name of the operation that makes it.
    """

    steps: list[int]
    slots: list[int]
    operation: str


def states(tape: Tape) -> list[State]:
    """Find the states of the recurrences on a tape: what one time step hands to the next.

    A state is made at the same place of each step and read in the step after it. The states that are read most outside
    time (by a loss, by `stack`) come first, as a cell's output does.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.LSTMCell(2, 3, rng=0)
    >>> with tg.Tape() as tape:
    ...     ys, _ = tg.rnn.scan(cell, tg.ones((4, 1, 2)))
    >>> [(state.operation, state.steps) for state in states(tape)]  # h, then c
    [('multiply', [0, 1, 2, 3]), ('add', [0, 1, 2, 3])]
    """
    found = []
    for runs in _sequences(tape.records):
        found += _states_of(tape, runs)
    return found


def _sequences(records: list[Record]) -> list[list[range]]:
    """Stretches of time: consecutive steps, each a range of record numbers."""
    sequences: list[list[range]] = []
    previous: int | None = None
    start = 0
    for number in range(len(records) + 1):
        step = records[number].step if number < len(records) else None
        if number == len(records) or step != previous or number == 0:
            if previous is not None and number > start:
                sequences[-1].append(range(start, number))
            if step is not None and (previous is None or abs(step - previous) != 1):
                sequences.append([])
            previous, start = step, number
    return [runs for runs in sequences if len(runs) > 1]


def _states_of(tape: Tape, runs: Sequence[range]) -> list[State]:
    records = tape.records
    when: dict[int, int] = {}  # slot -> which run made it
    place: dict[int, tuple[int, int]] = {}  # slot -> (record within its run, which of its results)
    carried: dict[tuple[int, int], int] = {}
    for at, run in enumerate(runs):
        for number in run:
            for slot in records[number].inputs:
                if at and when.get(slot) == at - 1:
                    carried.setdefault(place[slot], slot)
            for which, (slot, value) in enumerate(zip(outputs_of(records[number]), results_of(records[number]))):
                if is_floating(value):
                    when[slot], place[slot] = at, (number - run.start, which)
    inside = {number for run in runs for number in run}
    read = {slot for n, r in enumerate(records) if n not in inside for slot in r.inputs if slot in place}
    outside = Counter(place[slot] for slot in read)
    found = []
    for offset, which in sorted(carried, key=lambda each: (-outside[each], each)):
        steps, slots, names = [], [], []
        for run in runs:
            if offset < len(run) and which < len(outputs_of(records[run[offset]])):
                record = records[run[offset]]
                slot = outputs_of(record)[which]
                if slot in when and record.step is not None:
                    steps.append(record.step)
                    slots.append(slot)
                    names.append(record.primitive.name)
        if len(slots) > len(runs) // 2 and len(set(names)) == 1:
            found.append(State(steps, slots, names[0]))
    return found


def losses_by_step(tape: Tape, losses: Any = None) -> list[tuple[int, int, int]]:
    """The losses of single steps as (s, slot, entry of that slot).

    losses: a Tensor (T,) of the tape, or a list of T scalar Tensors. None: the scalar that each time step records at
        the same place, if there is one.
    Raises ArgumentError for losses of other shapes or from elsewhere.
    """
    if losses is not None:
        return _given(tape, losses)
    for runs in _sequences(tape.records):
        patterns = [[tape.records[number].primitive.name for number in run] for run in runs]
        if any(pattern != patterns[0] for pattern in patterns):
            continue
        for offset in range(len(runs[0]) - 1, -1, -1):
            made = [tape.records[run[offset]] for run in runs]
            if all(r.primitive.outputs == 1 and r.result.size == 1 and is_floating(r.result) for r in made):
                return [(int(r.step or 0), r.output, 0) for r in made]
    return []


def _given(tape: Tape, losses: Any) -> list[tuple[int, int, int]]:
    if isinstance(losses, Tensor):
        slot = _slot_of(tape, losses)
        if losses.ndim != 1 or slot is None:
            raise ArgumentError(f"losses: expected a Tensor of shape (T,) of this tape; got shape {losses.shape}")
        return [(s, slot, s) for s in range(losses.size)]
    found = []
    for s, loss in enumerate(losses):
        slot = _slot_of(tape, loss)
        if loss.size != 1 or slot is None:
            raise ArgumentError(f"losses[{s}]: expected a scalar Tensor of this tape; got shape {loss.shape}")
        found.append((s, slot, 0))
    return found


def norms_over_time(found: Sequence[State], norms: Mapping[int, float]) -> list[list[float]]:
    """‖∂L/∂h_t‖ of each state by step; 0 where the sweep never arrived."""
    return [[norms.get(slot, 0.0) for slot in state.slots] for state in found]


def heat_map(tape: Tape, state: State, losses: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """‖∂L_s/∂h_t‖ for each loss (row) and state (column), by one sweep for each row.

    Returns {"s": steps of the rows, "t": steps of the columns, "norms": rows of floats}; at most `MOST` of each.
    """
    rows = [losses[i] for i in _sampled(len(losses))]
    columns = _sampled(len(state.slots))
    slots = [state.slots[i] for i in columns]
    values = {slot: value for r in tape.records for slot, value in zip(outputs_of(r), results_of(r))}
    norms = []
    swept = tape.swept
    try:
        with paused(), np.errstate(all="ignore"):
            for _, slot, entry in rows:
                seed = np.zeros(values[slot].shape, str(values[slot].dtype))
                seed.reshape(-1)[entry] = 1
                backend = tape.records[0].backend
                reached = tape.sweep_backward({slot: _seed_like(backend, seed, tape)}, slots, sweep_namespace(tape))
                norms.append([norm(backend, reached.get(each)) for each in slots])
    finally:
        tape.swept = swept
    return {"s": [row[0] for row in rows], "t": [state.steps[i] for i in columns], "norms": norms}


def _seed_like(backend: Any, seed: Any, tape: Tape) -> Any:
    from ..apply import placed

    array = backend.asarray(seed)
    return placed(array, backend) if tape.nested else array


def _sampled(count: int) -> list[int]:
    """At most MOST numbers below `count`, evenly spread, both ends among them."""
    if count <= MOST:
        return list(range(count))
    return sorted({round(i * (count - 1) / (MOST - 1)) for i in range(MOST)})


def decay(norms: Sequence[float]) -> float | None:
    """The factor by which a norm changes per step backward in time: a least-squares line through its logarithm."""
    logs = [(i, np.log(each)) for i, each in enumerate(norms) if 0 < each < np.inf]
    if len(logs) < 3:
        return None
    x, y = np.array(logs, dtype=float).T
    return float(np.exp(-np.polyfit(x, y, 1)[0]))
