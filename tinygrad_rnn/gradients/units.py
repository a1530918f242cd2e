"""What rules share whose parameters have influence on one unit each: one number a parameter and part of the state.

    E_t = λ_t E_{t-1} + I_t,    g_t = q_t E_t

E: for each parameter, its influence on the parts of its unit.  λ: how the parts of a unit pass on, K by K.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, asarray
from .counting import held_bytes, one_step, probe_input, sweep_multiplications
from .forward import ForwardLearner, load_arrays
from .jacobian import Pulled, StepTape
from .pattern import patterns, step_patterns
from .rule import Cost

Feedback = Callable[[Tensor, int], Any]


class UnitLearner(ForwardLearner):
    """A stream with the influence of each parameter on its unit: ``influence[name]`` is (B, K, *shape)."""

    rule: str
    otherwise: str  # what to use where this cannot serve

    def prepare(self) -> None:
        if not self.layout.lanes or len(set(self.layout.sizes)) > 1:
            shapes = ", ".join(map(str, self.layout.shapes))
            raise ArgumentError(
                f"{self.rule} needs a state of parts of one shape (B, ...); this cell's are {shapes}. {self.otherwise}"
            )
        self.width, self.parts = self.layout.sizes[0], len(self.layout.places)
        self.influence = {
            name: self.xp.zeros((self.batch, self.parts, *p.shape), dtype=p.dtype) for name, p in self.parameters
        }
        self.units: dict[str, Any] = {}
        x = probe_input(self.cell, 1)
        if x is not None:
            self._find_units(x, self.form)

    def _find_units(self, x: Tensor, state: Any) -> None:
        """Note which unit each parameter acts on; raise where there is more than one."""
        what = type(self.cell).__name__
        d, step = patterns(self.cell, x, state)
        _, first = step_patterns(self.cell, StepTape.start(self.cell, 1))
        parts, width = self.parts, self.width
        # kept[i, j]: whether what the rule keeps of D lets unit i depend on unit j
        kept = d.reshape(parts, width, parts, width)[:, :, self.carried()].any(axis=(0, 2))
        between = kept & ~np.eye(width, dtype=bool)
        if between.any():
            i, j = np.argwhere(between)[0]
            raise ArgumentError(
                f"{self.rule} needs a cell whose units depend on themselves alone; in {what} unit {i} depends on "
                f"unit {j}. {self.otherwise}"
            )
        for name, p in self.parameters:
            on = (step[name] | first[name]).reshape(parts, width, *p.shape).any(axis=0)
            if (on.sum(axis=0) > 1).any():
                raise ArgumentError(
                    f"{self.rule} needs parameters that act on one unit each; in {what} one entry of {name} acts on "
                    f"{int(on.sum(axis=0).max())}. {self.otherwise}"
                )
            self.units[name] = on.argmax(axis=0).astype(np.int32)

    def carried(self) -> slice:
        """The parts of the state before a step through which the rule keeps what passes."""
        return slice(None)

    @abstractmethod
    def decay(self, found: Pulled) -> Any:
        """λ, (B, K, K, H). found: of a step, for `seeds`."""

    def signal(self, step: StepTape, cotangent: Any) -> Any:
        """What the gradient multiplies influence on the output with, (B, H): ∂ℓ/∂output."""
        return cotangent[0, :, : self.width]

    def seeds(self) -> Any:
        """Cotangents (K, B, N): one for each part of the state, of ones; no two units get mixed."""
        whole = self.xp.repeat(self.xp.eye(self.parts, dtype=self.dtype), self.width, axis=1)
        return self.xp.broadcast_to(whole[:, None, :], (self.parts, self.batch, self.parts * self.width))

    def restart(self, start: StepTape, lanes: Any) -> None:
        immediate = start.pull(self.seeds()).immediate
        for name, total in self.influence.items():
            fresh = self.xp.zeros_like(total)
            for part in immediate.get(name, []):
                part.add_to(fresh, self.xp)
            total[lanes] = fresh[lanes]

    def advance(self, x: Tensor, state: Any) -> StepTape:
        if not self.units and self.parameters:
            self._find_units(x, state)
        return StepTape(self.cell, x, state, self.batch)

    def learn(self, step: StepTape, cotangent: Any) -> dict[str, Any]:
        xp = self.xp
        found = step.pull(self.seeds())
        decay, signal = self.decay(found), self.signal(step, cotangent)
        update = self.backend.kernel("influence_update_diagonal")
        gradients = {}
        for name, total in self.influence.items():
            units = self.units[name]
            update(xp.reshape(total, (self.batch, self.parts, -1)), decay, units.reshape(-1))
            for part in found.immediate.get(name, []):
                part.add_to(total, xp)
            product = xp.multiply(signal[:, units], total[:, 0])
            gradients[name] = xp.sum(product, axis=0).astype(total.dtype, copy=False)
        return gradients

    def by_unit(self, found: Pulled) -> Any:
        """What enters for `seeds`, as (B, K, K, H): of each unit, where D has no entries between units."""
        entering = self.xp.reshape(found.entering, (self.parts, self.batch, self.parts, self.width))
        return self.xp.moveaxis(entering, 1, 0)

    def total_cost(self, steps: int) -> Cost:
        """What `steps` steps cost."""
        step = one_step(self.cell, self.batch)
        numbers = self.batch * sum(int(np.prod(p.shape)) for _, p in self.parameters)
        immediate = step.pull(self.seeds()).immediate
        outer = sum(part.multiplications() for each in immediate.values() for part in each)
        swept = sweep_multiplications(step, self.parts)
        a_step = step.multiplications() + swept + outer + (self.parts**2 + 1) * numbers
        held = sum(array.nbytes for array in [*self.influence.values(), *self.units.values()])
        return Cost(a_step * steps, held + held_bytes(step))

    def trace(self) -> dict[str, Any]:
        return {name: self.backend.to_numpy(total).copy() for name, total in self.influence.items()}

    def load_trace(self, saved: dict[str, Any]) -> None:
        load_arrays(self.influence, saved, self.backend)


class SignalledLearner(UnitLearner):
    """One whose learning signal may come from outside: ``feedback(output, t)``, (B, H), in place of ∂ℓ/∂output."""

    def __init__(self, cell: Any, batch: int, state: Any, feedback: Feedback | None) -> None:
        self.feedback = feedback
        super().__init__(cell, batch, state)

    def signal(self, step: StepTape, cotangent: Any) -> Any:
        if self.feedback is None:
            return super().signal(step, cotangent)
        given = asarray(self.feedback(step.output, self.t), backend=self.backend.name)
        if given.shape != step.output.shape:
            raise ShapeError(
                f"feedback(output, t) must return a signal for every unit, {step.output.shape}; at step {self.t} it "
                f"returned {given.shape}. Multiply the error with a (outputs, units) matrix."
            )
        return self.xp.reshape(given._array, (self.batch, self.width)).astype(self.dtype, copy=False)


def check_feedback(feedback: Any) -> None:
    """Raise ArgumentError unless it is None or can be called."""
    if feedback is not None and not callable(feedback):
        raise ArgumentError(f"feedback is a function of (output, t), or None; got {type(feedback).__name__}")
