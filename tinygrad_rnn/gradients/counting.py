"""What a rule costs, counted on a tape of one step: multiplications, and bytes that are held."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..primitive import Elementwise
from ..tensor import Tensor, asarray
from .bptt import tape_bytes
from .jacobian import StepTape
from .rule import check_cell


def probe_input(cell: Any, batch: int) -> Tensor | None:
    """An input (B, I) of zeros for a cell that says its ``input_size``; None for one that does not."""
    size = getattr(cell, "input_size", None)
    if size is None:
        return None
    parameters = [p for _, p in cell.named_parameters()]
    dtype = parameters[0].dtype if parameters else np.float32
    return asarray(np.zeros((batch, size), dtype), backend=parameters[0].backend if parameters else None)


def one_step(cell: Any, batch: int) -> StepTape:
    """The tape of one step of a cell on an input of zeros, from its initial state."""
    check_cell(cell)
    x = probe_input(cell, batch)
    if x is None:
        raise ArgumentError(f"cost needs cell.input_size to make an input; {type(cell).__name__} has none")
    return StepTape(cell, x, StepTape.start(cell, batch).after, batch)


def sweep_multiplications(step: StepTape, seeds: int) -> int:
    """Multiplications of pulling `seeds` cotangents back through a step; those of outer products are not among them."""
    needed = step.tape._reachable_from([*step.inputs, *step.parameters.values()])
    rows = step.layout.rows if step.lanes else 1
    total = 0
    for record in step.tape:
        outputs = (record.output,) if isinstance(record.output, int) else record.output
        if not any(needed[slot] for slot in outputs):
            continue
        lane = outputs[0] in step.lanes
        block = seeds * (1 if lane else rows)
        for k, (slot, value) in enumerate(zip(record.inputs, record.values)):
            if not needed[slot]:
                continue
            if record.primitive.name == "matmul":
                outer = lane and slot not in step.lanes and k == 1 and value.ndim == 2
                total += 0 if outer else block * record.result.size * record.values[0].shape[-1]
            elif isinstance(record.primitive, Elementwise):
                total += block * record.result.size if callable(record.primitive.derivatives[k]) else 0
    return total


def push_multiplications(step: StepTape) -> int:
    """Multiplications of pushing one tangent of the state through a step."""
    reached = step.tape._reachable_from(step.inputs)
    total = 0
    for record in step.tape:
        for k, slot in enumerate(record.inputs):
            if not reached[slot]:
                continue
            if record.primitive.name == "matmul":
                total += record.result.size * record.values[0].shape[-1]
            elif isinstance(record.primitive, Elementwise) and callable(record.primitive.derivatives[k]):
                total += record.result.size
    return total


def held_bytes(step: StepTape) -> int:
    """Bytes of the arrays that the tape of a step holds, parameters not included."""
    return tape_bytes(step.tape, [leaf for _, leaf in step.tape.leaves.values() if leaf.requires_grad])
