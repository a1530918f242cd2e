"""Which entries of the Jacobians of a step can differ from zero: from the cell's structure, not from its values.

The sweep of `sweep.py` is run once more with every slope and every value replaced by one, so that nothing cancels.
Zeros that count are those of the cell's buffers (masks), and what indexing, joining and products leave apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Elementwise
from ..rnn.state import detached, leaves_of, like_state
from ..tape import Record
from ..tensor import Tensor
from . import sweep as block
from .jacobian import StepTape


def patterns(cell: Any, x: Tensor, state: Any) -> tuple[Any, dict[str, Any]]:
    """Return where D and I of one lane can differ from zero: (n, n), and (n, *shape) by parameter, both bool.

    cell: its lanes must not influence each other.  x: (B, ...).  state: a state of the cell; only the first lane of
    both is looked at, and only for shapes.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.gradients.pattern import patterns
    >>> cell = tg.rnn.ElmanCell(1, 2, rng=0)
    >>> d, immediate = patterns(cell, tg.ones((1, 1)), cell.initial_state(1))
    >>> d.tolist(), immediate["weight_hh"][0].tolist()
    ([[True, True], [True, True]], [[True, True], [False, False]])
    """
    one = like_state(detached(state), [leaf.detach()[:1] for leaf in leaves_of(state)])
    step = StepTape(cell, x.detach()[:1], one, 1)
    return step_patterns(cell, step)


def step_patterns(cell: Any, step: StepTape) -> tuple[Any, dict[str, Any]]:
    """The same for a step of one lane, or for an initial state, that is on a tape already."""
    nonzero = _Nonzero(cell, step)
    layout, size = step.layout, step.layout.size
    totals = block.Cotangents(step.tape, frozenset(), 1, np)
    for slot, part in zip(step.outputs, layout.split(np.eye(size)[:, None, :], np)):
        if slot is not None:
            totals.seed(slot, part)
    with np.errstate(all="ignore"):
        found = block.sweep(step.tape, totals, [*step.inputs, *step.parameters.values()], nonzero.pull)

    def reached(slot: int, shape: tuple[int, ...]) -> Any:
        parts = found[slot]
        return np.reshape(parts[0] != 0, (size, *shape)) if parts else np.zeros((size, *shape), dtype=bool)

    d = [reached(slot, (-1,)) for slot, shape in zip(step.inputs, layout.shapes)] if step.inputs else []
    immediate = {
        name: reached(step.parameters[name], shape) if name in step.parameters else np.zeros((size, *shape), dtype=bool)
        for name, shape in step.shapes.items()
    }
    return (np.concatenate(d, axis=1) if d else np.zeros((size, size), dtype=bool)), immediate


class _Nonzero:
    """Where the values on a tape can differ from zero, by slot: arrays of 0.0 and 1.0; and how patterns are pulled."""

    def __init__(self, cell: Any, step: StepTape) -> None:
        self.xp = step.xp
        buffers = {id(b) for _, b in getattr(cell, "named_buffers", list)()}
        self.of: dict[int, Any] = {
            slot: np.asarray(leaf.numpy() != 0, dtype=float)
            for slot, leaf in step.tape.leaves.values()
            if id(leaf) in buffers
        }
        for record in step.tape:
            results = record.result if isinstance(record.output, tuple) else (record.result,)
            outputs = record.output if isinstance(record.output, tuple) else (record.output,)
            for slot, pattern in zip(outputs, self._forward(record, results)):
                self.of[slot] = np.asarray(pattern != 0, dtype=float)

    def inputs(self, record: Record) -> list[Any]:
        """The patterns of what goes into a record; ones for what is no buffer and comes from none."""
        return [
            self.of[slot] if slot in self.of else np.ones(getattr(value, "shape", ()))
            for slot, value in zip(record.inputs, record.values)
        ]

    def _forward(self, record: Record, results: tuple[Any, ...]) -> list[Any]:
        name, known = record.primitive.name, [slot in self.of for slot in record.inputs]
        if any(known):
            inputs = self.inputs(record)
            if name == "multiply":
                return [inputs[0] * inputs[1]]
            if name in ("divide", "negative", "astype"):
                return [np.broadcast_to(inputs[0], results[0].shape)]
            if name in ("add", "subtract", "where"):
                return [sum(inputs[-2:])]
            if record.primitive.linear and record.primitive.forward is not None:
                made = record.primitive.forward(np if name != "getitem" else self.xp, *inputs, **record.params)
                return list(made) if isinstance(made, tuple) else [made]
        return [np.ones(y.shape) for y in results]

    def pull(self, xp: Any, record: Record, g: tuple[Any, ...], lead: int, needs: list[bool]) -> list[Any]:
        """Patterns of cotangents of a record's inputs, as `sweep.pull` gives the cotangents."""
        inputs, name = self.inputs(record), record.primitive.name
        alike = record._replace(values=tuple(inputs))
        if isinstance(record.primitive, Elementwise):
            parts = [g[0] * inputs[1 - k] if name == "multiply" else g[0] for k in range(len(inputs))]
            return [
                block._fitted(xp, part, value, lead) if on and derivative is not None else None
                for part, value, on, derivative in zip(parts, inputs, needs, record.primitive.derivatives)
            ]
        if name == "where":
            return [
                block._fitted(xp, g[0], value, lead) if on and k else None
                for k, (value, on) in enumerate(zip(inputs, needs))
            ]
        if name == "matmul" or record.primitive.linear:
            return block.pull(xp, alike, g, lead, needs)
        # of an operation that is not known, every result may depend on every input
        any_of = sum(part.reshape((*part.shape[:lead], -1)).any(axis=-1) for part in g if part is not None)
        return [
            np.broadcast_to(np.reshape(any_of, (*any_of.shape, *[1] * value.ndim)), (*any_of.shape, *value.shape)) * 1.0
            if on
            else None
            for value, on in zip(inputs, needs)
        ]
