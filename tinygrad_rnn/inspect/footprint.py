"""What a tape holds: the bytes of its arrays, each counted once, and what checkpointing would save."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..tape import CONSTANT, Record, Tape
from ..tensor import Tensor
from .contributions import outputs_of, plain, results_of
from .page_time import State, _sequences, _states_of


@dataclass(frozen=True)
class Saving:
    """What `rnn.scan(..., checkpoint=segment)` would do to one recurrence.

    held: bytes that its steps hold on the tape.  checkpointed: bytes at the peak of the backward sweep instead: the
    outputs, one state a segment, and the steps of one segment.
    """

    name: str
    steps: int
    held: int
    segment: int
    checkpointed: int


@dataclass(frozen=True)
class Footprint:
    """What `memory` found; ``print`` shows it.

    total: bytes of all arrays that the tape holds.  arrays: how many those are; views count with what they show.
    kinds: bytes of "leaves" (parameters and inputs), "constants" (arrays that are no Tensors), "results", "residuals"
        (what fused rules keep for their backward) and "options" (arrays among the parameters of operations).
    operations: bytes of results, residuals and options by operation, the largest first.
    savings: for each recurrence that is recorded step by step, what checkpointing would save; where it saves nothing,
        nothing.
    """

    total: int
    arrays: int
    kinds: dict[str, int]
    operations: dict[str, int]
    savings: list[Saving]

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.kinds.items() if count)
        lines = [f"{self.total:,} bytes in {self.arrays:,} arrays: {kinds or 'nothing'}"]
        width = max(map(len, self.operations), default=0)
        lines += [f"  {name:<{width}}  {count:>12,}" for name, count in self.operations.items() if count]
        for each in self.savings:
            share = each.checkpointed / each.held
            lines.append(
                f"{each.name}: {each.steps} steps hold {each.held:,} bytes; rnn.scan(..., checkpoint={each.segment}) "
                f"would hold {each.checkpointed:,} ({share:.0%}), for one more forward"
            )
        return "\n".join(lines)


def memory(tape: Tape) -> Footprint:
    """Count the bytes that a tape keeps alive. Arrays that share memory are counted once; nothing is copied.

    On a tape inside another tape, the arrays behind the outer tape's Tensors are counted. The cotangents of a sweep
    come on top.

    >>> import tinygrad_rnn as tg
    >>> x = tg.zeros((100,))
    >>> with tg.Tape() as tape:
    ...     y = tg.exp(x) + x
    ...     z = tg.reshape(y, (10, 10))  # a view of y
    >>> print(tape.memory())
    1,200 bytes in 3 arrays: leaves 400, results 800
      exp             400
      add             400
    """
    count = _Count(tape)
    operations: dict[str, int] = {}
    for record, made in zip(tape.records, count.records):
        name = record.primitive.name
        operations[name] = operations.get(name, 0) + made
    largest = dict(sorted(operations.items(), key=lambda item: -item[1]))
    total = sum(count.kinds.values())
    return Footprint(total, len(count.seen), count.kinds, largest, list(_savings(tape, count.records)))


def record_bytes(tape: Tape) -> list[int]:
    """Bytes that each record adds to the tape: of arrays that share no memory with anything before."""
    return _Count(tape).records


class _Count:
    """A walk over all that a tape holds: bytes by kind, and bytes that each record adds."""

    def __init__(self, tape: Tape) -> None:
        self.seen: dict[int, Any] = {}  # id -> owner, which keeps the id from being used again
        self.kinds = dict.fromkeys(("leaves", "constants", "results", "residuals", "options"), 0)
        for _, leaf in tape.leaves.values():
            self._add("leaves", leaf)
        written: set[int] = set()
        for record in tape.records:
            for slot, value in zip(record.inputs, record.values):
                if slot not in written:
                    self._add("constants" if slot == CONSTANT else "leaves", value)
            written.update(outputs_of(record))
        self.records = [
            self._add("results", results_of(record))
            + self._add("residuals", record.residual)
            + self._add("options", record.params)
            for record in tape.records
        ]

    def _add(self, kind: str, value: Any) -> int:
        """Count what is new in a value. Returns its bytes."""
        count = 0
        for array in _arrays(value):
            owner = _owner(array)
            if id(owner) not in self.seen:
                self.seen[id(owner)] = owner
                count += int(owner.nbytes)
        self.kinds[kind] += count
        return count


def _arrays(value: Any) -> Iterator[Any]:
    """The arrays in a value: an array, a Tensor, or containers of these."""
    if isinstance(value, (tuple, list)):
        for each in value:
            yield from _arrays(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _arrays(each)
    else:
        array = plain(value) if isinstance(value, Tensor) else value
        if hasattr(array, "nbytes") and hasattr(array, "dtype"):
            yield array


def _owner(array: Any) -> Any:
    """The array whose memory this one shows."""
    base = getattr(array, "base", None)
    while base is not None and hasattr(base, "nbytes") and hasattr(base, "dtype"):
        array, base = base, getattr(base, "base", None)
    return array


def _savings(tape: Tape, made: Sequence[int]) -> Iterator[Saving]:
    for runs in _sequences(tape.records):
        states = [state for state in _states_of(tape, runs) if len(state.slots) == len(runs)]
        if not states:
            continue
        steps = len(runs)
        held = sum(made[number] for run in runs for number in run)
        step = held / steps
        sizes = [_bytes_of(tape.records, runs[0], state) for state in states]

        def peak(segment: int, steps: int = steps, step: float = step, sizes: Sequence[int] = sizes) -> float:
            return steps * sizes[0] + math.ceil(steps / segment) * sum(sizes) + segment * step

        segment = min(range(1, steps + 1), key=peak)
        if peak(segment) < held:
            scope = tape.records[runs[0].start].scope
            name = scope or f"the recurrence of {states[0].operation}"
            yield Saving(name, steps, held, segment, round(peak(segment)))


def _bytes_of(records: Sequence[Record], run: range, state: State) -> int:
    for number in run:
        outputs = outputs_of(records[number])
        if state.slots[0] in outputs:
            return int(plain(results_of(records[number])[outputs.index(state.slots[0])]).nbytes)
    return 0
