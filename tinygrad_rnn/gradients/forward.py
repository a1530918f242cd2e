"""What every forward rule does alike: keep a state and a trace, restart lanes, read a gradient off every step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from .. import ops
from ..apply import placed
from ..errors import GradientError, StateDictError
from ..random import generator_state, set_generator_state
from ..rnn.state import leaves_of, like_state
from ..tensor import Tensor, asarray
from .jacobian import Layout, Pulled, StepTape, pull_begun
from .rule import Gradients, Learner, Loss, Step, add_gradients, check_finite, named_parameters, take_loss


class CarryingLearner(Learner):
    """A stream that carries its state and a trace forward, both with no history; lanes start, and start anew, here.

    A rule implements `prepare`, `restart`, `trace` and `load_trace`.
    """

    def __init__(self, cell: Any, batch: int, state: Any) -> None:
        super().__init__(cell, batch, state)
        self.parameters = named_parameters(cell)
        first = cell.initial_state(batch) if state is None else self.state
        self.layout = Layout.of(first, batch)
        if 0 not in self.layout.places:
            raise GradientError(
                f"the first part of a state is the output, and floating; got {leaves_of(first)[0].dtype}"
            )
        self.form = first
        self.backend = leaves_of(first)[0]._backend
        self.xp: Any = self.backend.xp
        self.dtype = leaves_of(first)[0].dtype
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Make the trace of a stream that begins: nothing has influenced the state."""

    @abstractmethod
    def restart(self, start: StepTape, lanes: Any) -> None:
        """Forget the past of some lanes, (B,) bools; `start` is the tape of the initial state that they now have."""

    @abstractmethod
    def trace(self) -> dict[str, Any]:
        """The trace, as arrays and numbers."""

    @abstractmethod
    def load_trace(self, saved: dict[str, Any]) -> None:
        """Put back what `trace` returned, as NumPy arrays."""

    def _begin(self, reset: Any) -> None:
        """Give the lanes that start here their initial state."""
        lanes = np.ones(self.batch, dtype=bool) if self.state is None else reset
        if lanes is None or not lanes.any():
            return
        if not self.layout.lanes and not lanes.all():
            raise GradientError("lanes can be reset where the batch is the first axis of every part of a state")
        start = StepTape.start(self.cell, self.batch)
        if lanes.all():
            self.state = start.after
        else:
            leaves = []
            for leaf, fresh in zip(leaves_of(self.state), leaves_of(start.after)):
                mask = asarray(lanes.reshape(-1, *[1] * (leaf.ndim - 1)), backend=leaf.backend)
                leaves.append(ops.where(mask, fresh, leaf))
            self.state = like_state(self.state, leaves)
        self.restart(start, lanes)

    def _cotangent(self, of_output: Tensor | None) -> Any:
        """The cotangent of the whole state, (1, L, N), from that of the output: zero in the other parts."""
        total = self.xp.zeros((1, self.layout.rows, self.layout.size), dtype=self.dtype)
        if of_output is not None:
            total[:, :, : self.layout.sizes[0]] = self.xp.reshape(of_output._array, (1, self.layout.rows, -1))
        return total

    def wrapped(self, array: Any) -> Tensor:
        """A Tensor of a raw array."""
        return placed(self.backend.asarray(array), self.backend)

    def state_dict(self) -> dict[str, Any]:
        return {
            "t": self.t,
            "batch": self.batch,
            "state": None if self.state is None else [leaf.numpy().copy() for leaf in leaves_of(self.state)],
            "trace": self.trace(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        missing = [key for key in ("t", "batch", "state", "trace") if key not in saved]
        if missing:
            raise StateDictError(f"this is not the state of a {type(self).__name__}: {', '.join(missing)} missing")
        if saved["batch"] != self.batch:
            raise StateDictError(f"the saved stream has {saved['batch']} lanes; this learner has {self.batch}")
        self.t = int(saved["t"])
        self.load_trace(saved["trace"])
        self.state = saved["state"]
        if self.state is not None:
            name = self.backend.name
            self.state = like_state(self.form, [asarray(leaf, backend=name, copy=True) for leaf in saved["state"]])


class ForwardLearner(CarryingLearner):
    """A stream whose every step gives a gradient, from the trace; nothing is left to flush.

    A rule implements `learn` as well.
    """

    def advance(self, x: Tensor, state: Any) -> Any:
        """Run the cell on a state with no history; the result has `after`, the new state."""
        return StepTape(self.cell, x, state, self.batch)

    def _step(self, x: Tensor, loss: Loss, reset: Any) -> Step:
        self._begin(reset)
        step = self.advance(x, self.state)
        output = leaves_of(step.after)[0]
        taken = take_loss(self.cell, loss, output, self.t)
        with np.errstate(all="ignore"):  # check_finite says more than a warning
            raw = self.learn(step, self._cotangent(taken.cotangent))
        check_finite(raw, [(self.t, x, step.after)])
        gradients = add_gradients({name: self.wrapped(g) for name, g in raw.items()}, taken.own)
        self.state = step.after
        self.t += 1
        return Step(taken.value, output, gradients)

    @abstractmethod
    def learn(self, step: StepTape, cotangent: Any) -> dict[str, Any]:
        """Take the step into the trace; return the gradients by name, summed over lanes, as raw arrays.

        cotangent: (1, L, N), of the loss with respect to the state after the step.
        """

    def flush(self) -> Gradients | None:
        """Nothing is pending: every step gave its gradient."""
        return None


class SeededLearner(ForwardLearner):
    """A stream whose trace is arrays with lanes first, and that pulls few cotangents back through a step.

    rng: a generator, for rules that draw; its state is part of the trace.  A rule implements `prepare`, which makes
    ``arrays``, and `learn`.
    """

    def __init__(self, cell: Any, batch: int, state: Any, rng: np.random.Generator | None = None) -> None:
        self.rng = rng
        self.held: dict[str, Any] = {}
        self.begun: tuple[StepTape | None, Any] = (None, None)
        super().__init__(cell, batch, state)

    def arrays(self) -> list[Any]:
        """The arrays of the trace."""
        return list(self.held.values())

    def restart(self, start: StepTape, lanes: Any) -> None:
        self.begun = start, lanes
        for array in self.held.values():
            array[lanes if self.layout.lanes else ...] = 0

    def pull(self, step: StepTape, cotangents: Any) -> Pulled:
        """Pull cotangents (S, L, N) back through the step, and through the initial state of lanes that begin with it.

        To be called once a step.
        """
        (start, lanes), self.begun = self.begun, (None, None)
        return pull_begun(step, start, lanes, cotangents)

    def signs(self, *shape: int) -> Any:
        """Random signs, of the floating type of the state."""
        assert self.rng is not None
        return self.backend.asarray((2 * self.rng.integers(0, 2, size=shape) - 1).astype(self.dtype))

    def trace(self) -> dict[str, Any]:
        arrays = {name: self.backend.to_numpy(array).copy() for name, array in self.held.items()}
        return {"arrays": arrays} | ({} if self.rng is None else {"rng": generator_state(self.rng)})

    def load_trace(self, saved: dict[str, Any]) -> None:
        if "arrays" not in saved or (self.rng is not None and "rng" not in saved):
            raise StateDictError("the saved trace is that of another rule: it lacks arrays, or the state of its draws")
        load_arrays(self.held, saved["arrays"], self.backend)
        if self.rng is not None:
            set_generator_state(self.rng, saved["rng"])


def direct(parts: list[Any], seed: int, total: Any, xp: Any) -> Any:
    """Add one of the cotangents in `parts` of a parameter to an array (L, *shape), in place; return it."""
    for part in parts:
        part.only(slice(seed, seed + 1)).add_to(total[:, None], xp)
    return total


def balanced(first: Any, second: Any, xp: Any) -> tuple[Any, Any]:
    """Factors a and 1 / a by which the sizes of two arrays become equal, lane by lane; zero where one of them is zero.

    A product of two factors may be shared out between them at will; noise is least where they are of one size.
    """
    alive = (first > 0) & (second > 0)
    ratio = xp.sqrt(xp.where(alive, second, 1) / xp.where(alive, first, 1))
    return xp.where(alive, ratio, 0), xp.where(alive, 1 / ratio, 0)


def lane_norm(array: Any, xp: Any) -> Any:
    """Euclidean norm of everything in a lane, (L,)."""
    return xp.sqrt(xp.sum(xp.multiply(array, array), axis=tuple(range(1, array.ndim))))


def load_arrays(into: dict[str, Any], saved: dict[str, Any], backend: Any) -> None:
    """Copy saved NumPy arrays into the arrays of a trace, in place. Raises StateDictError where one does not fit."""
    for name, array in into.items():
        found = getattr(saved.get(name), "shape", None)
        if found != array.shape:
            raise StateDictError(f"the trace of {name} has shape {array.shape}; the saved one has {found}")
        array[...] = backend.asarray(saved[name])
