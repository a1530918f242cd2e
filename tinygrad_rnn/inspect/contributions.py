"""Where a gradient comes from: a backward sweep that keeps every contribution and every running sum.

The tape's own sweep adds contributions up and forgets them, which is what makes it fast. This one walks the same tape
once more, with the same rules in the same order, and shows each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..apply import sweep_namespace
from ..tape import CONSTANT, Record, Tape, fit, paused
from ..transforms import _seed, _slot_of


class Contribution(NamedTuple):
    """What one record adds to the cotangent of one of its inputs."""

    position: int  # which of the record's inputs
    slot: int
    raw: Any  # as the rule gives it; larger than the input if that was broadcast
    part: Any  # summed over the broadcast axes and cast: the input's shape and dtype
    before: Any  # the running sum of the slot before this part came; None for the first
    total: Any  # and after it


class Pull(NamedTuple):
    """One step of the backward sweep: a record, its results' cotangents, and what it sends to its inputs."""

    number: int  # of the record on the tape
    cotangents: tuple[Any, ...]  # one for each result; None where none arrived
    contributions: list[Contribution]


def contributions(tape: Tape, target: Any = None, cotangent: Any = None) -> list[Pull]:
    """Sweep a tape backward and keep what every record contributed.

    target: a Tensor of the tape, scalar unless `cotangent` is given. Default: what was swept last, or else the last
        floating scalar on the tape.
    Returns one `Pull` for each record that the sweep reached, in its order: from the last record to the first. Arrays
    are those of the tape's backend. The sums agree with `Tape.gradient` bit for bit.

    Raises TapeError, GradientError and ShapeError as `Tape.gradient` does.

    >>> import tinygrad_rnn as tg
    >>> x, b = tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([0.5, 0.5])
    >>> with tg.Tape() as tape:
    ...     y = tg.sum((x + b) * b)
    >>> for pull in tg.inspect.contributions(tape, y):
    ...     for each in pull.contributions:
    ...         if each.slot == tape.leaves[id(b)][0]:
    ...             print(tape[pull.number].primitive.name, each.raw.shape, each.part.tolist(), each.total.tolist())
    multiply (2, 2) [5.0, 7.0] [5.0, 7.0]
    add (2, 2) [1.0, 1.0] [6.0, 8.0]
    """
    return list(pulls(tape, seeds_of(tape, target, cotangent)))


def seeds_of(tape: Tape, target: Any = None, cotangent: Any = None) -> dict[int, Any]:
    """The seeds of a sweep, {slot: cotangent}: of `target`, or of what was swept last, or of the last scalar."""
    if target is not None:
        slot = _slot_of(tape, target)
        if slot is None:
            raise _foreign(tape)
        return {slot: _seed(tape, target, cotangent)}
    if tape.swept is not None:
        return dict(tape.swept)
    with paused():
        for record in reversed(tape.records):
            if record.primitive.outputs == 1 and record.result.size == 1 and is_floating(record.result):
                return {record.output: record.backend.xp.ones_like(plain(record.result))}
    return {}


def _foreign(tape: Tape) -> Exception:
    from ..errors import TapeError
    from ..tape import user_line

    return TapeError(f"the target was not recorded on this tape of {len(tape)} records.        at {user_line()}")


def pulls(tape: Tape, seeds: Mapping[int, Any], wanted: Iterable[int] | None = None) -> Iterator[Pull]:
    """Sweep backward from {slot: cotangent}; yields each record that is reached, with its contributions.

    wanted: the slots that contributions must lead to; default: all floating sources.
    What was yielded is not kept here, so a caller that keeps only norms needs little memory.
    """
    needed = tape._reachable_from(sources_of(tape) if wanted is None else wanted)
    return _pulled(tape, seeds, needed)


def _pulled(tape: Tape, seeds: Mapping[int, Any], needed: bytearray) -> Iterator[Pull]:
    records = tape.records
    namespace = sweep_namespace(tape)
    totals: list[Any] = [None] * tape.slots
    for slot, cotangent in seeds.items():
        totals[slot] = cotangent
    for index in range(len(records) - 1, -1, -1):
        record = records[index]
        outputs = outputs_of(record)
        cotangents = tuple([totals[slot] for slot in outputs])
        for slot in outputs:
            totals[slot] = None
        if all(part is None for part in cotangents):
            continue
        with paused(), np.errstate(all="ignore"):
            yield Pull(index, cotangents, _contributed(record, cotangents, totals, needed, namespace))


def _contributed(
    record: Record, cotangents: tuple[Any, ...], totals: list[Any], needed: bytearray, namespace: Any
) -> list[Contribution]:
    if not any(needed[slot] for slot in record.inputs) or not record.primitive.differentiable:
        return []
    xp = namespace or record.backend.xp
    cotangent = cotangents[0] if record.primitive.outputs == 1 else cotangents
    found = []
    parts = record.primitive.pullback(xp, cotangent, record, needed)
    for position, (slot, value, raw) in enumerate(zip(record.inputs, record.values, parts)):
        if raw is None or slot == CONSTANT:
            continue
        part = fit(xp, raw, value)
        before = totals[slot]
        totals[slot] = part if before is None else before + part
        found.append(Contribution(position, slot, raw, part, before, totals[slot]))
    return found


def cotangent_norms(tape: Tape, seeds: Mapping[int, Any]) -> dict[int, float]:
    """‖cotangent‖ of every slot that a sweep from the seeds reaches."""
    found: dict[int, float] = {}
    if not tape.records:
        return found
    backend = tape.records[0].backend
    for pull in pulls(tape, seeds):
        for slot, value in zip(outputs_of(tape.records[pull.number]), pull.cotangents):
            if value is not None:
                found[slot] = norm(backend, value)
        found.update((each.slot, norm(backend, each.total)) for each in pull.contributions)
    return found


def norm(backend: Any, value: Any) -> float:
    """Euclidean norm of all entries, in float64; 0 for None."""
    if value is None:
        return 0.0
    array = np.asarray(backend.to_numpy(plain(value)), dtype=np.float64)
    return float(np.sqrt(np.sum(array * array)))


def sources_of(tape: Tape) -> list[int]:
    """The floating slots that no record made: leaves, and what the transforms watch."""
    made = {slot for record in tape.records for slot in outputs_of(record)}
    return [slot for slot, value in source_values(tape).items() if slot not in made and is_floating(value)]


def source_values(tape: Tape) -> dict[int, Any]:
    """{slot: value} of every slot that records read and that no record made."""
    made: set[int] = set()
    found: dict[int, Any] = {}
    for record in tape.records:
        for slot, value in zip(record.inputs, record.values):
            if slot != CONSTANT and slot not in made:
                found[slot] = value
        made.update(outputs_of(record))
    return found


def outputs_of(record: Record) -> tuple[int, ...]:
    """The slots that a record writes."""
    output = record.output
    return output if isinstance(output, tuple) else (output,)


def results_of(record: Record) -> tuple[Any, ...]:
    """The arrays that a record made."""
    result = record.result
    return result if isinstance(result, tuple) else (result,)


def plain(value: Any) -> Any:
    """The backend's array behind what a record holds: on a nested tape that is a Tensor of the tape outside."""
    return value._array if hasattr(value, "_array") else value


def is_floating(value: Any) -> bool:
    """Whether a value is an array of floats."""
    return hasattr(value, "dtype") and str(value.dtype).startswith("float")
