"""Kronecker-factored RTRL: the influence of a block of weights as one Kronecker product, right on average.

    g = u ⊗ q D A + a ⊗ q Δ,    then    u ← p₁ u + σ p₂ a,    A ← D A / p₁ + σ Δ / p₂

σ: a random sign for each lane.  p₁, p₂: make both factors of each product the same size, which makes the noise least.
The gradient is read off before the noise of its own step comes in. [Mujika et al. 2018, "Approximating real-time
recurrent learning with random Kronecker factors", algorithm 1]
"""

from __future__ import annotations

from typing import Any

from ..random import Seed, as_generator
from .factors import Block, KroneckerLearner, kronecker_cost, outer
from .forward import balanced, lane_norm
from .jacobian import StepTape
from .rule import Cost, Rule


class KroneckerRTRL(Rule):
    """Kronecker-factored RTRL (KF-RTRL): n² numbers for a block of weights, n³ multiplications. Unbiased.

    seed: of the signs; None draws differently each time.

    Serves cells whose weights act through one product of matrices each: Elman networks, GRUs, LSTMs, stacks of these.
    Weights and biases that go into the same sums share their factors. Other cells are refused when first met.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.LSTMCell(2, 3, rng=0), tg.ones((4, 1, 2))
    >>> rule = tg.gradients.KroneckerRTRL(seed=0)
    >>> rule.gradient(cell, xs, lambda y, t: tg.sum(y)).gradients["weight_hh"].shape
    (12, 3)
    >>> sorted(rule.start(cell, batch=1).members)
    ['weight_ih+bias_ih+weight_hh+bias_hh']
    """

    exactness = "unbiased"

    def __init__(self, seed: Seed = None) -> None:
        as_generator(seed)
        self.seed = seed

    def __repr__(self) -> str:
        return f"KroneckerRTRL(seed={self.seed!r})"

    def start(self, cell: Any, batch: int, state: Any = None) -> KroneckerRTRLLearner:
        return KroneckerRTRLLearner(cell, batch, state, as_generator(self.seed))

    def coverage(self, cell: Any) -> dict[str, str]:
        self.start(cell, 1)
        return super().coverage(cell)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        learner = self.start(cell, batch)
        n = learner.layout.size
        a_step, held, _ = kronecker_cost(cell, batch, learner, n)
        for key in learner.members:
            u, a = (learner.held[f"{key}: {what}"] for what in "uA")
            # D A; norms of D A and Δ, both scaled, and q times both; and the two products of a gradient
            a_step += (n + 6) * a.size + 4 * u.size + 2 * u.size * a.shape[2]
        return Cost(a_step * steps, held)


class KroneckerRTRLLearner(KroneckerLearner):
    """A stream with u, (L, m), and A, (L, n, G), of each block."""

    rule = "KroneckerRTRL"

    def room(self, lanes: int, m: int, n: int, g: int) -> dict[str, tuple[int, ...]]:
        return {"u": (lanes, m), "A": (lanes, n, g)}

    def seeds(self, q: Any) -> Any:
        return unit_seeds(q, self.xp)

    def take(self, factors: dict[str, Any], block: Block | None, step: StepTape, entering: Any, q: Any) -> Any:
        xp, u = self.xp, factors["u"]
        carried = xp.matmul(xp.moveaxis(entering, 0, 1), factors["A"])
        gradient = outer(xp.matmul(q[:, None], carried)[:, 0], u, xp)
        up, down = balanced(lane_norm(u, xp), lane_norm(carried, xp), xp)
        u, carried = xp.multiply(u, up[:, None]), xp.multiply(carried, down[:, None, None])
        if block is not None:
            delta = xp.moveaxis(block.delta, 0, 1)
            gradient = gradient + outer(xp.matmul(q[:, None], delta)[:, 0], block.a, xp)
            sign = self.signs(q.shape[0])
            up, down = balanced(lane_norm(block.a, xp), lane_norm(delta, xp), xp)
            u = u + xp.multiply(block.a, (sign * up)[:, None])
            carried = carried + xp.multiply(delta, (sign * down)[:, None, None])
        factors["u"], factors["A"] = u, carried
        return gradient


def unit_seeds(q: Any, xp: Any) -> Any:
    """The unit vectors as cotangents (N, L, N). q: (L, N)."""
    lanes, n = q.shape
    return xp.broadcast_to(xp.eye(n, dtype=q.dtype)[:, None, :], (n, lanes, n))
