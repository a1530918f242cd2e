"""The composed form of a fused record: its stand-in where a kernel cannot go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .apply import _tensors, placed, sweep_namespace, watch
from .tape import Record, Tape, outside, state


def _lifted(record: Record) -> list[Any]:
    """The inputs of a record as Tensors, for its composed form."""
    kind = _tensors.kind
    types = record.backend.array_types
    return [
        placed(value, record.backend) if not isinstance(value, kind) and isinstance(value, types) else value
        for value in record.values
    ]


class _Run:
    """A record's composed form on a tape of its own; recorded further out only if its inputs were."""

    def __init__(self, composed: Callable[..., Any], record: Record, active: Sequence[bool]) -> None:
        inputs = _lifted(record)
        nested = any(isinstance(value, _tensors.kind) for value in record.values)
        before = state.tape
        if not nested:
            state.tape = None
        try:
            with Tape() as self.tape:
                self.boxes = [watch(self.tape, x) if on else x for x, on in zip(inputs, active)]
                result = composed(*self.boxes, **record.params)
        finally:
            state.tape = before
        self.results = result if isinstance(result, (tuple, list)) else (result,)

    def slots(self) -> list[int | None]:
        return [y._slot if y._tape is self.tape.ref else None for y in self.results]


def pull_composed(composed: Callable[..., Any], g: Any, record: Record, needed: Any) -> Sequence[Any]:
    active = [bool(needed[slot]) for slot in record.inputs]
    run = _Run(composed, record, active)
    cotangents = g if isinstance(g, tuple) else (g,)
    seeds: dict[int, Any] = {}
    for slot, part in zip(run.slots(), cotangents):
        if slot is not None and part is not None:
            seeds[slot] = seeds[slot] + part if slot in seeds else part
    wanted = [box._slot for box, on in zip(run.boxes, active) if on]
    with outside(run.tape):
        found = run.tape.sweep_backward(seeds, wanted, sweep_namespace(run.tape))
    return [found.get(box._slot) if on else None for box, on in zip(run.boxes, active)]


def push_composed(composed: Callable[..., Any], tangents: Sequence[Any], record: Record) -> Any:
    active = [d is not None for d in tangents]
    run = _Run(composed, record, active)
    seeds = {box._slot: d for box, d in zip(run.boxes, tangents) if d is not None}
    found = run.tape.sweep_forward(seeds, sweep_namespace(run.tape))
    parts = [None if slot is None else found.get(slot) for slot in run.slots()]
    return parts[0] if record.primitive.outputs == 1 else tuple(parts)
