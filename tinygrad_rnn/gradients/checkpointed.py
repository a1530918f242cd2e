"""Back-propagation through time that keeps few states and runs the steps between them again.

√T: [Chen et al. 2016]. The optimal schedule for a number of slots: [Griewank & Walther 2000, "Revolve"], of which the
dynamic programme of [Gruslys et al. 2016] gives the same numbers.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, StateDictError
from ..rnn.state import check_sequence, detached, leaves_of, like_state
from ..tape import paused, scope
from ..tensor import Tensor, asarray
from .bptt import StepRecord, parameters_as, restarted, restored_loss, saved_loss, step_cost
from .rule import (
    Cost,
    GradientResult,
    Gradients,
    Learner,
    Loss,
    LossGradient,
    Rule,
    Step,
    add_gradients,
    check_cell,
    named_parameters,
    take_loss,
)


class CheckpointedBPTT(Rule):
    """BPTT with less memory: the same gradient, bit for bit, of a cell that computes the same twice.

    slots: how many states are kept; one tape is held beside them. The steps between are run again in the order that
        needs the fewest: ``advances(T, slots)`` without a tape, and T with one. None keeps about √T states and √T
        tapes, and runs each step twice at most.

    `gradient` evaluates each loss once, newest first; it must not depend on the order. Online (`start`), x and the
    cotangent of every output are held as well, and the gradient comes from `Learner.flush`.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.ElmanCell(2, 3, rng=0), tg.ones((9, 1, 2))
    >>> few, all = (rule.gradient(cell, xs, lambda y, t: tg.sum(y)).gradients["weight_hh"] for rule in (
    ...     tg.gradients.CheckpointedBPTT(slots=2), tg.gradients.BPTT()))
    >>> bool(tg.all(few == all).item())
    True
    """

    exactness = "exact"

    def __init__(self, slots: int | None = None) -> None:
        if slots is not None and (not isinstance(slots, int) or isinstance(slots, bool) or slots < 1):
            raise ArgumentError(f"slots is a number of states to keep, at least 1, or None for √T; got {slots!r}")
        self.slots = slots

    def __repr__(self) -> str:
        return f"CheckpointedBPTT(slots={self.slots})"

    def start(self, cell: Any, batch: int, state: Any = None) -> CheckpointLearner:
        return CheckpointLearner(cell, batch, state, self.slots)

    def gradient(self, cell: Any, xs: Any, loss: Loss, state: Any = None) -> GradientResult:
        check_cell(cell)
        xs = check_sequence(xs)
        steps, batch = xs.shape[:2]
        values: list[Any] = [None] * steps

        def loss_of(t: int, output: Tensor) -> LossGradient:
            taken = take_loss(cell, loss, output, t)
            values[t] = taken.value
            return taken

        run = _Reversal(cell, batch, lambda t: (xs[t], None, None), loss_of)
        pairs = named_parameters(cell, loss)
        run.total = {name: asarray(np.zeros(p.shape, p.dtype), backend=p.backend) for name, p in pairs}
        run.reverse(0, steps, None if state is None else detached(state), self.slots)
        total: Any = values[0]
        for value in values[1:]:
            total = total + value
        return GradientResult(total, run.total, run.last)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        forward, held = step_cost(cell, batch)
        state = sum(leaf.numpy().nbytes for leaf in leaves_of(cell.initial_state(batch)))
        if self.slots is None:
            length = _root(steps)
            kept = -(-steps // length)
            return Cost(forward * (3 * steps + steps - min(length, steps)), state * kept + held * min(length, steps))
        return Cost(forward * (3 * steps + advances(steps, self.slots)), state * min(self.slots, steps) + held)


def advances(steps: int, slots: int) -> int:
    """Fewest steps without a tape that a sweep over `steps` steps needs, if `slots` states fit in memory.

    ``r T - C(S + r, S + 1)`` with the smallest r for which ``T <= C(S + r, S)``. [Griewank & Walther 2000, eq. 4]

    >>> from tinygrad_rnn.gradients.checkpointed import advances
    >>> advances(4, 1), advances(4, 4), advances(1000, 50)
    (6, 3, 1948)
    """
    r = _repetitions(steps, slots)
    return r * steps - math.comb(slots + r, slots + 1)


def _repetitions(steps: int, slots: int) -> int:
    r = 0
    while math.comb(slots + r, slots) < steps:
        r += 1
    return r


def _split(steps: int, slots: int) -> int:
    """How many steps to run before the next state is kept: both parts then need no more repetitions than the whole."""
    r = _repetitions(steps, slots)
    return min(math.comb(slots + r - 1, slots), steps - math.comb(slots + r - 2, slots - 1))


def _root(steps: int) -> int:
    return max(1, math.isqrt(max(steps - 1, 0)) + 1)


class _Reversal:
    """Visit steps from the newest to the oldest, each on a tape, with few states in memory.

    step(t): x, reset and parameters (None for those of now) of a step.
    loss_of(t, output): its `LossGradient`, or None.
    """

    def __init__(self, cell: Any, batch: int, step: Any, loss_of: Any) -> None:
        self.cell, self.batch, self.step, self.loss_of = cell, batch, step, loss_of
        self.parameters = named_parameters(cell)
        self.total: Gradients | None = None
        self.cotangents: list[Any] | None = None
        self.last: Any = None  # the state after the newest step
        self.ran = 0  # steps without a tape

    def reverse(self, low: int, high: int, state: Any, slots: int | None) -> None:
        """Visit steps high - 1 down to low. state: before step low; it fills one of the slots. None: √ of the steps."""
        if slots is None:
            self._reverse_by_root(low, high, state)
            return
        while high - low > 1:
            if slots == 1:
                high -= 1
                self._visit(self._recorded(high, self._advanced(low, high, state)))
            else:
                ahead = _split(high - low, slots)
                self.reverse(low + ahead, high, self._advanced(low, low + ahead, state), slots - 1)
                high = low + ahead
        self._visit(self._recorded(low, state))

    def _reverse_by_root(self, low: int, high: int, state: Any) -> None:
        length = _root(high - low)
        kept = {low: state}
        for start in range(low + length, high, length):
            kept[start] = self._advanced(start - length, start, kept[start - length])
        for start in reversed(kept):
            records: list[StepRecord] = []
            for t in range(start, min(start + length, high)):
                records.append(self._recorded(t, kept[start] if t == start else detached(records[-1].after)))
            while records:
                self._visit(records.pop())

    def _advanced(self, low: int, high: int, state: Any) -> Any:
        """The state before step `high`, from that before step `low`, with no tape."""
        with paused():
            for t in range(low, high):
                x, reset, parameters = self.step(t)
                with scope(step=t), seen(self.cell, parameters):
                    state = detached(run_step(self.cell, x, state, reset, self.batch))
                if not np.isfinite(leaves_of(state)[0].numpy()).all():
                    raise DataError(
                        f"the output holds NaN or infinity at step {t}; look at x there, and at the weights"
                    )
                self.ran += 1
        return state

    def _recorded(self, t: int, state: Any) -> StepRecord:
        x, reset, parameters = self.step(t)
        with scope(step=t):
            with seen(self.cell, parameters):
                record = StepRecord(self.cell, x, state, reset, self.batch)
            record.loss = self.loss_of(t, leaves_of(record.after)[0].detach())
        return record

    def _visit(self, record: StepRecord) -> None:
        """Sweep back through one step. The order of additions is that of BPTT, so the result is the same to the bit."""
        if self.cotangents is None:
            self.cotangents = [None] * len(leaves_of(record.after))
            self.last = detached(record.after)
        self.cotangents, gradients = record.sweep(self.cotangents, self.parameters)
        self.total = add_gradients(self.total, gradients)
        if record.loss is not None:
            self.total = add_gradients(self.total, record.loss.own)


def run_step(cell: Any, x: Tensor, state: Any, reset: Any, batch: int) -> Any:
    """The state after one step, lanes of `reset` from their initial state; None for the state: all lanes."""
    if state is None:
        return cell(x, cell.initial_state(batch))
    return cell(x, state if reset is None else restarted(state, cell.initial_state(batch), reset))


def seen(cell: Any, parameters: Any) -> Any:
    """A context in which a cell has the parameters that a step saw; None for those that it has."""
    return nullcontext() if parameters is None else parameters_as(cell, parameters)


class CheckpointLearner(Learner):
    """A stream that keeps x and the cotangent of the output of every step, and the states of few."""

    def __init__(self, cell: Any, batch: int, state: Any, slots: int | None) -> None:
        super().__init__(cell, batch, state)
        self.slots = slots
        self.steps: list[
            tuple[Tensor, Any, dict[str, Any]]
        ] = []  # x, reset, parameters (arrays, shared while unchanged)
        self.losses: list[LossGradient | None] = []  # None once swept
        self.stride = 1
        self.kept: dict[int, Any] = {}  # the state before each `stride`-th step

    def _step(self, x: Tensor, loss: Loss, reset: Any) -> Step:
        before = self.state
        with paused():
            after = detached(run_step(self.cell, x, before, reset, self.batch))
        output = leaves_of(after)[0]
        taken = take_loss(self.cell, loss, output, self.t)
        at = len(self.steps)
        if at % self.stride == 0:
            self.kept[at] = before
            while len(self.kept) > (2 * self.stride if self.slots is None else self.slots):
                self.stride *= 2
                self.kept = {t: state for t, state in self.kept.items() if t % self.stride == 0}
        self.steps.append((x.detach(), reset, {name: p._array for name, p in named_parameters(self.cell)}))
        self.losses.append(taken)
        self.state = after
        self.t += 1
        return Step(taken.value, output, None)

    def flush(self) -> Gradients | None:
        if all(loss is None for loss in self.losses):
            return None
        run = _Reversal(self.cell, self.batch, self.steps.__getitem__, lambda t, output: self.losses[t])
        run.total = self.zeros()
        high = len(self.steps)
        for filled, low in reversed(list(enumerate(self.kept))):
            run.reverse(low, high, self.kept[low], None if self.slots is None else self.slots - filled)
            high = low
        self.losses = [None] * len(self.losses)
        return run.total

    def state_dict(self) -> dict[str, Any]:
        return {
            "t": self.t,
            "batch": self.batch,
            "state": arrays_of(self.state),
            "stride": self.stride,
            "kept": {t: arrays_of(state) for t, state in self.kept.items()},
            "steps": [
                (x.numpy().copy(), reset, {name: np.array(x._backend.to_numpy(p)) for name, p in parameters.items()})
                for x, reset, parameters in self.steps
            ],
            "losses": [saved_loss(loss) for loss in self.losses],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        keys = ("t", "batch", "state", "stride", "kept", "steps", "losses")
        if missing := [key for key in keys if key not in saved]:
            raise StateDictError(f"this is not the state of a CheckpointLearner: {', '.join(missing)} missing")
        if saved["batch"] != self.batch:
            raise StateDictError(f"the saved stream has {saved['batch']} lanes; this learner has {self.batch}")
        form = self.state if self.state is not None else self.cell.initial_state(self.batch)
        backend = leaves_of(form)[0].backend

        def state_of(arrays: Any) -> Any:
            return (
                None if arrays is None else like_state(form, [asarray(a, backend=backend, copy=True) for a in arrays])
            )

        self.t, self.stride = int(saved["t"]), int(saved["stride"])
        self.state = state_of(saved["state"])
        self.kept = {t: state_of(arrays) for t, arrays in saved["kept"].items()}
        self.steps = [(asarray(x, backend=backend), reset, dict(found)) for x, reset, found in saved["steps"]]
        self.losses = [restored_loss(loss, backend) for loss in saved["losses"]]


def arrays_of(state: Any) -> list[Any] | None:
    """The parts of a state as NumPy arrays, for saving."""
    return None if state is None else [leaf.numpy().copy() for leaf in leaves_of(state)]
