"""Back-propagation through time, whole and truncated. [Werbos 1990; Williams & Peng 1990]

Every step is recorded on a tape of its own. A sweep runs from the newest tape to older ones and hands
the cotangent of the state from tape to tape. So a window can roll without recording anything twice,
and every step is differentiated with the parameters that it saw.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError, StateDictError
from ..rnn.state import detached, leaves_of, like_state
from ..tape import Tape
from ..tensor import Tensor, asarray
from .rule import (
    Cost,
    Gradients,
    Learner,
    Loss,
    LossGradient,
    Rule,
    Step,
    add_gradients,
    check_cell,
    check_finite,
    check_foreign,
    named_parameters,
    take_loss,
)


class TruncatedBPTT(Rule):
    """Back-propagation through a window of time, with the state carried on.

    Every `k1` steps the `k1` newest losses are swept back through the `k2` newest steps. Each loss counts
    once; `flush` sweeps the tail. With ``k2 >= T`` the gradient is that of `BPTT`.

    k1: steps between sweeps.  k2: steps that a sweep goes back, at least k1.
    """

    exactness = "biased"

    def __init__(self, k1: int, k2: int) -> None:
        for name, value in (("k1", k1), ("k2", k2)):
            if not isinstance(value, int) or value < 1:
                raise ArgumentError(f"{name} must be a whole number of at least 1; got {value!r}")
        if k1 > k2:
            raise ArgumentError(f"TruncatedBPTT needs k1 <= k2, or losses would be lost; got k1={k1}, k2={k2}")
        self.k1, self.k2 = k1, k2

    def __repr__(self) -> str:
        return f"TruncatedBPTT(k1={self.k1}, k2={self.k2})"

    def start(self, cell: Any, batch: int, state: Any = None) -> WindowLearner:
        return WindowLearner(cell, batch, state, self.k1, self.k2)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        forward, held = step_cost(cell, batch)
        sweeps, tail = divmod(steps, self.k1)
        swept = sum(min(self.k2, (i + 1) * self.k1) for i in range(sweeps))
        swept += min(self.k2 - self.k1 + tail, steps) if tail else 0
        return Cost(forward * (steps + 2 * swept), held * min(self.k2, steps))


class BPTT(Rule):
    """Back-propagation through the whole of time: exact; memory grows with the number of steps.

    Online, gradients come from `Learner.flush` alone.
    """

    exactness = "exact"

    def __repr__(self) -> str:
        return "BPTT()"

    def start(self, cell: Any, batch: int, state: Any = None) -> WindowLearner:
        return WindowLearner(cell, batch, state, None, None)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        forward, held = step_cost(cell, batch)
        return Cost(3 * forward * steps, held * steps)


class StepRecord:
    """One step of the cell on a tape of its own, and what the step's loss said about the output."""

    def __init__(self, cell: Any, x: Tensor, state: Any, reset: Any, batch: int) -> None:
        self.x = x.detach()
        self.reset = reset
        self.before = None if state is None else detached(state)
        self.parameters = {name: p._array for name, p in named_parameters(cell)}
        self.loss: LossGradient | None = None  # None once it has been swept
        with Tape() as self.tape:
            if state is None:
                self.boxes = []
                entering = cell.initial_state(batch)
            else:
                self.boxes = [self.tape.watch(leaf) for leaf in leaves_of(state)]
                entering = like_state(state, self.boxes)
                if reset is not None:
                    entering = restarted(entering, cell.initial_state(batch), reset)
            self.after = cell(self.x, entering)
        check_foreign(self.tape, [p for _, p in cell.named_parameters()], "the cell")

    def sweep(self, cotangents: list[Any], parameters: list[tuple[str, Any]]) -> tuple[list[Any], Gradients]:
        """From cotangents of the state after the step (None for zero): those of the state before, and gradients."""
        if self.loss is not None and self.loss.cotangent is not None:
            first = cotangents[0]
            cotangents = [self.loss.cotangent if first is None else first + self.loss.cotangent, *cotangents[1:]]
        known = {id(p): name for name, p in parameters}
        leaves = {slot: known[id(leaf)] for slot, leaf in self.tape.leaves.values() if id(leaf) in known}
        seeds: dict[int, Any] = {}
        entering: list[Any] = [None] * len(self.boxes)
        for leaf, cotangent in zip(leaves_of(self.after), cotangents):
            if cotangent is not None and leaf._tape is self.tape.ref:
                have = seeds.get(leaf._slot)
                seeds[leaf._slot] = cotangent._array if have is None else have + cotangent._array
        wanted = [box._slot for box in self.boxes]
        with np.errstate(all="ignore"):
            found = self.tape.sweep_backward(seeds, [*wanted, *leaves])
        for i, box in enumerate(self.boxes):
            if box._slot in found:
                entering[i] = asarray(found[box._slot], backend=box.backend)
        gradients = {
            name: asarray(found[slot], backend=self.x.backend) for slot, name in leaves.items() if slot in found
        }
        return entering, gradients


class WindowLearner(Learner):
    """A stream with a window of the newest `k2` steps, swept every `k1` steps; None means no bound."""

    def __init__(self, cell: Any, batch: int, state: Any, k1: int | None, k2: int | None) -> None:
        super().__init__(cell, batch, state)
        self.k1 = k1
        self.window: deque[StepRecord] = deque(maxlen=k2)

    def _step(self, x: Tensor, loss: Loss, reset: Any) -> Step:
        record = StepRecord(self.cell, x, self.state, reset, self.batch)
        output = leaves_of(record.after)[0].detach()
        record.loss = take_loss(self.cell, loss, output, self.t)
        value = record.loss.value
        self.window.append(record)
        self.state = detached(record.after)
        self.t += 1
        due = self.k1 is not None and self.t % self.k1 == 0
        return Step(value, output, self.flush() if due else None)

    def flush(self) -> Gradients | None:
        if not any(record.loss is not None for record in self.window):
            return None
        pairs = [(name, p) for name, p in named_parameters(self.cell)]
        total: Gradients | None = self.zeros()
        cotangents: list[Any] = [None] * len(leaves_of(self.window[-1].after))
        for record in reversed(self.window):
            cotangents, gradients = record.sweep(cotangents, pairs)
            total = add_gradients(total, gradients)
            if record.loss is not None:
                total = add_gradients(total, record.loss.own)
                record.loss = None
            if not record.boxes:
                break
        self.check(total)
        return total

    def check(self, total: Gradients | None) -> None:
        """Raise DataError if a gradient of this window is not finite."""
        first = self.t - len(self.window)
        steps = [(first + k, record.x, detached(record.after)) for k, record in enumerate(self.window)]
        check_finite({name: gradient._array for name, gradient in (total or {}).items()}, steps)

    def state_dict(self) -> dict[str, Any]:
        return {
            "t": self.t,
            "batch": self.batch,
            "state": None if self.state is None else [leaf.numpy().copy() for leaf in leaves_of(self.state)],
            "window": [_saved_step(record) for record in self.window],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        missing = [key for key in ("t", "batch", "state", "window") if key not in saved]
        if missing:
            raise StateDictError(f"this is not the state of a window learner: {', '.join(missing)} missing")
        if saved["batch"] != self.batch:
            raise StateDictError(f"the saved stream has {saved['batch']} lanes; this learner has {self.batch}")
        self.t = int(saved["t"])
        self.window.clear()
        form = self.state if self.state is not None else self.cell.initial_state(self.batch)
        for step in saved["window"]:
            self.window.append(_restored_step(self.cell, step, form, self.batch))
        self.state = None if saved["state"] is None else _as_state(form, saved["state"])


def step_cost(cell: Any, batch: int) -> tuple[int, int]:
    """Multiplications of one forward step, and bytes that its tape holds beside the parameters."""
    check_cell(cell)
    size = getattr(cell, "input_size", None)
    if size is None:
        raise ArgumentError(f"cost needs cell.input_size to make an input; {type(cell).__name__} has none")
    parameters = [p for _, p in cell.named_parameters()]
    dtype = parameters[0].dtype if parameters else np.float32
    backend = parameters[0].backend if parameters else None
    x = asarray(np.zeros((batch, size), dtype), backend=backend)
    record = StepRecord(cell, x, cell.initial_state(batch), None, batch)
    return sum(record_multiplications(entry) for entry in record.tape), tape_bytes(record.tape, parameters)


def tape_bytes(tape: Tape, parameters: list[Any]) -> int:
    """Bytes of the arrays that a tape holds, those of the parameters not included."""
    held = {id(p._array): 0 for p in parameters}
    for entry in tape:
        results = entry.result if isinstance(entry.result, tuple) else (entry.result,)
        for array in (*entry.values, *results):
            base: Any = getattr(array, "base", None)
            owner = base if hasattr(base, "nbytes") else array  # memory of a pool is no array
            if hasattr(owner, "nbytes"):
                held.setdefault(id(owner), owner.nbytes)
    return sum(held.values())


def record_multiplications(entry: Any) -> int:
    """Multiplications of one operation: those of products of matrices, and one an entry of an elementwise result."""
    results = entry.result if isinstance(entry.result, tuple) else (entry.result,)
    size = sum(int(array.size) for array in results)
    if entry.primitive.name == "matmul":
        return size * int(entry.values[0].shape[-1])
    return size if hasattr(entry.primitive, "derivatives") else 0


def restarted(state: Any, initial: Any, reset: Any) -> Any:
    """The state with the lanes of `reset` at their initial state."""
    leaves = []
    for leaf, start in zip(leaves_of(state), leaves_of(initial)):
        if leaf.shape[:1] != reset.shape:
            raise ShapeError(f"lanes can be reset where the batch is a state's first axis; this one has {leaf.shape}")
        mask = asarray(reset.reshape(-1, *[1] * (leaf.ndim - 1)), backend=leaf.backend)
        leaves.append(ops.where(mask, start, leaf))
    return like_state(state, leaves)


def _saved_step(record: StepRecord) -> dict[str, Any]:
    return {
        "x": record.x.numpy().copy(),
        "reset": record.reset,
        "before": None if record.before is None else [leaf.numpy().copy() for leaf in leaves_of(record.before)],
        "parameters": {name: np.array(record.x._backend.to_numpy(a)) for name, a in record.parameters.items()},
        "loss": saved_loss(record.loss),
    }


def saved_loss(loss: LossGradient | None) -> dict[str, Any] | None:
    """A loss as NumPy arrays; None stays None."""
    if loss is None:
        return None
    return {
        "value": loss.value.numpy().copy(),
        "cotangent": None if loss.cotangent is None else loss.cotangent.numpy().copy(),
        "own": {name: gradient.numpy().copy() for name, gradient in loss.own.items()},
    }


def restored_loss(saved: dict[str, Any] | None, backend: Any) -> LossGradient | None:
    """What `saved_loss` saved."""
    if saved is None:
        return None
    cotangent = saved["cotangent"]
    return LossGradient(
        asarray(saved["value"], backend=backend),
        None if cotangent is None else asarray(cotangent, backend=backend),
        {name: asarray(gradient, backend=backend) for name, gradient in saved["own"].items()},
    )


def _restored_step(cell: Any, saved: dict[str, Any], form: Any, batch: int) -> StepRecord:
    """Record a saved step again, with the parameters that it saw."""
    before = None if saved["before"] is None else _as_state(form, saved["before"])
    backend = leaves_of(form)[0].backend
    with parameters_as(cell, saved["parameters"]):
        record = StepRecord(cell, asarray(saved["x"], backend=backend), before, saved["reset"], batch)
    record.loss = restored_loss(saved["loss"], backend)
    return record


@contextmanager
def parameters_as(cell: Any, values: dict[str, Any]) -> Iterator[None]:
    """Give a cell other parameter values for a while."""
    pairs = [(p, values[name]) for name, p in named_parameters(cell) if name in values]
    now = [(p, p._array) for p, _ in pairs]
    for p, value in pairs:
        p.assign(value)
    try:
        yield
    finally:
        for p, value in now:
            p.assign(value)


def _as_state(form: Any, arrays: list[Any]) -> Any:
    backend = leaves_of(form)[0].backend
    return like_state(form, [asarray(array, backend=backend, copy=True) for array in arrays])
