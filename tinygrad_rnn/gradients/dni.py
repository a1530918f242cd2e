"""Decoupled neural interfaces: a linear model guesses what later losses will say about the state.

    g_t = (q_t + λ̂_t) I_t,    λ̂_t = [s_t, y_t, 1] A,    A is regressed so that  λ̂_{t-1} → (q_t + λ̂_t) D_t

[Jaderberg et al. 2017, "Decoupled neural interfaces using synthetic gradients", section 2.1]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, ShapeError
from ..rnn.state import leaves_of
from ..tensor import Tensor, asarray
from .counting import held_bytes, one_step, sweep_multiplications
from .forward import SeededLearner
from .jacobian import StepTape
from .rule import Cost, Rule

Features = Callable[[Tensor, int], Any]


class DNI(Rule):
    """Synthetic gradients: a step back, and a learned guess of the rest. Biased; n² + p multiplications, n² numbers.

    learning_rate: of the regression, which begins at zero; there DNI is truncated BPTT with a window of one step.
    features: a function of (output, t) that returns more to guess from, (B, F), such as the target of the step.
    predict: a function of (state, t) that returns a guess (B, n), in place of the learned one; n counts all parts of
        the state, in their order. With the true cotangents of all later losses, the gradient is that of BPTT.

    One model serves all lanes; it learns from the mean over lanes. Where a lane begins anew, the credit of the state
    before is zero, and it learns that too.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.ElmanCell(2, 3, rng=0), tg.ones((4, 1, 2))
    >>> tg.gradients.DNI(0.01).gradient(cell, xs, lambda y, t: tg.sum(y)).gradients["weight_hh"].shape
    (3, 3)
    """

    exactness = "biased"

    def __init__(
        self, learning_rate: float = 0.001, features: Features | None = None, predict: Features | None = None
    ) -> None:
        if not isinstance(learning_rate, (int, float)) or not 0 <= learning_rate < float("inf"):
            raise ArgumentError(f"learning_rate is a finite number of at least 0; got {learning_rate!r}")
        for name, given in (("features", features), ("predict", predict)):
            if given is not None and not callable(given):
                raise ArgumentError(f"{name} is a function, or None; got {type(given).__name__}")
        self.learning_rate, self.features, self.predict = learning_rate, features, predict

    def __repr__(self) -> str:
        return f"DNI(learning_rate={self.learning_rate})"

    def start(self, cell: Any, batch: int, state: Any = None) -> DNILearner:
        return DNILearner(cell, batch, state, self)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        step = one_step(cell, batch)
        learner = self.start(cell, batch)
        learner.learn(step, learner._cotangent(None))  # shapes of what `features` returns are known then
        n, rows = step.layout.size, step.layout.rows
        immediate = step.pull(step.xp.zeros((1, rows, n), dtype=learner.dtype)).immediate
        outer = sum(part.multiplications() for each in immediate.values() for part in each)
        regression = 3 * learner.held["features"].size * n + learner.held["model"].size
        a_step = step.multiplications() + sweep_multiplications(step, 1) + outer + regression
        held = sum(array.nbytes for array in learner.arrays())
        return Cost(a_step * steps, held + held_bytes(step))


class DNILearner(SeededLearner):
    """A stream with the model, (F, N), and the features of the step before, (L, F)."""

    def __init__(self, cell: Any, batch: int, state: Any, rule: DNI) -> None:
        self.rule = rule
        super().__init__(cell, batch, state)

    def prepare(self) -> None:
        if not self.layout.lanes:
            raise ArgumentError(f"DNI needs states whose first axis is the batch; got {self.layout.shapes}")

    def restart(self, start: StepTape, lanes: Any) -> None:
        self.begun = start, lanes

    def learn(self, step: StepTape, cotangent: Any) -> dict[str, Any]:
        xp = self.xp
        leaves = [leaves_of(step.after)[place]._array[None] for place in self.layout.places]
        read = self._read(self.layout.join(leaves, xp)[0], step.output)
        seeds = xp.zeros((1, self.batch, self.layout.size), dtype=self.dtype)
        seeds[0] = cotangent[0] + self._guess(read)
        target, immediate = self.pull(step, seeds)
        before, model = self.held["features"], self.held["model"]
        error = xp.matmul(before, model) - target[0]
        slope = xp.matmul(xp.matrix_transpose(before), error)
        self.held["model"] = model - xp.multiply(slope, self.rule.learning_rate / self.batch)
        self.held["features"] = read
        return {
            name: sum((part.summed(xp) for part in immediate.get(name, [])), xp.zeros(p.shape, dtype=p.dtype))
            for name, p in self.parameters
        }

    def _read(self, state: Any, output: Tensor) -> Any:
        """What the model guesses from, (B, F); makes the model when this is first known."""
        xp = self.xp
        parts = [state, xp.ones((self.batch, 1), dtype=self.dtype)]
        if self.rule.features is not None:
            more = asarray(self.rule.features(output, self.t), backend=self.backend.name)
            if more.ndim != 2 or more.shape[0] != self.batch:
                raise ShapeError(f"features(output, t) must return ({self.batch}, F), a row a lane; got {more.shape}")
            parts.insert(1, more._array.astype(self.dtype, copy=False))
        read = xp.concat(parts, axis=1)
        if not self.held:
            self.held = {
                "model": xp.zeros((read.shape[1], self.layout.size), dtype=self.dtype),
                "features": xp.zeros(read.shape, dtype=self.dtype),
            }
        return read

    def _guess(self, read: Any) -> Any:
        """λ̂, (B, N)."""
        if self.rule.predict is None:
            return self.xp.matmul(read, self.held["model"])
        state = self.wrapped(read[:, : self.layout.size])
        guess = asarray(self.rule.predict(state, self.t), backend=self.backend.name)
        if guess.shape != state.shape:
            raise ShapeError(f"predict(state, t) must return {state.shape}; at step {self.t} it returned {guess.shape}")
        return guess._array.astype(self.dtype, copy=False)

    def load_trace(self, saved: dict[str, Any]) -> None:
        if not self.held:
            self.held = {
                name: self.backend.asarray(array, copy=True) for name, array in saved.get("arrays", {}).items()
            }
        super().load_trace(saved)
