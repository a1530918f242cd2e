"""Real-time recurrent learning: exact gradients with no memory of the past but the influence. [Williams & Zipser 1989]

    J_t = D_t J_{t-1} + I_t,    g_t = q_t J_t

s: state (n numbers a lane), θ: parameters (p numbers), J = ds/dθ: the influence, D_t = ∂s_t/∂s_{t-1},
I_t = ∂s_t/∂θ through step t alone, q_t = ∂ℓ_t/∂s_t. A step takes about n²p multiplications a lane and the influence np
numbers a lane, however long the stream: Elman, where p ≈ n², n⁴ and n³.
"""

from __future__ import annotations

from typing import Any

from .counting import held_bytes, one_step, sweep_multiplications
from .forward import ForwardLearner, load_arrays
from .jacobian import StepTape
from .rule import Cost, Rule
from .structured import StructuredLearner, has_kernel


class RTRL(Rule):
    """Real-time recurrent learning, exact for every cell that a tape can record.

    Each step gives the gradient of its own loss, ``ℓ_t``, with respect to parameters at all steps so far. Where
    parameters change inside a stream, the influence is that along the recorded path: each step with the parameters
    that it saw, as for every rule; it is the derivative by one offset added to the parameters of all steps, not the
    gradient at the newest parameters.

    Each lane has an influence of its own, and can be reset alone. A gradient is the sum over lanes of what the loss
    makes of them: a loss that takes a mean over the batch gets a mean.

    kernels: whether built-in cells use kernels that know their equations; False takes every cell's Jacobians from a
        tape of the step. The two agree to round-off.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.GRUCell(2, 3, rng=0, dtype="float64"), tg.ones((5, 1, 2), dtype="float64")
    >>> loss = lambda y, t: tg.sum(y * y)
    >>> forward, backward = (rule.gradient(cell, xs, loss).gradients for rule in (
    ...     tg.gradients.RTRL(), tg.gradients.BPTT()))
    >>> all(tg.max(tg.abs(forward[name] - backward[name])).item() < 1e-15 for name in backward)
    True
    """

    exactness = "exact"

    def __init__(self, kernels: bool = True) -> None:
        self.kernels = kernels

    def __repr__(self) -> str:
        return "RTRL()" if self.kernels else "RTRL(kernels=False)"

    def start(self, cell: Any, batch: int, state: Any = None) -> InfluenceLearner | StructuredLearner:
        kind = StructuredLearner if self.kernels and has_kernel(cell) else InfluenceLearner
        return kind(cell, batch, state)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        step = one_step(cell, batch)
        learner = self.start(cell, batch)
        d, immediate = step.jacobian()
        n = d.shape[1]
        held = sum(array.nbytes for array in learner.arrays())
        if isinstance(learner, StructuredLearner):
            a_step = learner.step_multiplications()
        else:
            outer = sum(part.multiplications() for each in immediate.values() for part in each)
            numbers = sum(array.size for array in learner.arrays())  # of the influence: B n p
            a_step = sweep_multiplications(step, step.seeds) + n * numbers + outer + numbers
            held += held_bytes(step) + d.nbytes
        return Cost((step.multiplications() + a_step) * steps, held)


class InfluenceLearner(ForwardLearner):
    """A stream with the influence of every parameter: ``influence[name]`` is (L, N, *shape)."""

    def prepare(self) -> None:
        layout, xp = self.layout, self.xp
        self.influence = {
            name: xp.zeros((layout.rows, layout.size, *p.shape), dtype=p.dtype) for name, p in self.parameters
        }

    def arrays(self) -> list[Any]:
        """The arrays of the trace."""
        return list(self.influence.values())

    def restart(self, start: StepTape, lanes: Any) -> None:
        _, immediate = start.jacobian()
        for name, total in self.influence.items():
            parts = immediate.get(name, [])
            fresh = self.xp.zeros_like(total)
            for part in parts:
                part.add_to(fresh, self.xp)
            if self.layout.lanes:
                total[lanes] = fresh[lanes]
            else:
                total[:] = fresh

    def learn(self, step: StepTape, cotangent: Any) -> dict[str, Any]:
        d, immediate = step.jacobian()
        update = self.backend.kernel("influence_update_dense")
        lanes, n = d.shape[:2]
        q = self.xp.reshape(cotangent, (1, -1))
        gradients = {}
        for name, p in self.parameters:
            total = self.influence[name]
            flat = self.xp.reshape(total, (lanes, n, -1))
            update(flat, d)
            whole = self.xp.reshape(total, (lanes, n, *p.shape))
            for part in immediate.get(name, []):
                part.add_to(whole, self.xp)
            gradients[name] = self.xp.reshape(
                self.xp.matmul(q, self.xp.reshape(total, (q.shape[1], -1))), p.shape
            ).astype(p.dtype, copy=False)
        return gradients

    def trace(self) -> dict[str, Any]:
        return {name: self.backend.to_numpy(total).copy() for name, total in self.influence.items()}

    def load_trace(self, saved: dict[str, Any]) -> None:
        load_arrays(self.influence, saved, self.backend)
