"""Kronecker triple product: `KroneckerRTRL` whose second factor is itself a sum of r outer products.

    J ≈ u ⊗ Σᵢ aᵢ bᵢᵀ.    g = u ⊗ Σᵢ (q D aᵢ) bᵢ + a ⊗ q Δ,    then    u ← p₁ u + σ p₂ a,
    aᵢ ← ρᵢ D aᵢ / p₁ + κᵢ νᵢ,    bᵢ ← bᵢ / ρᵢ + σ Δᵀ νᵢ / (κᵢ p₂)

νᵢ: random signs on every r-th unit from the i-th on, zero on the others, so that the mean of Σᵢ νᵢ νᵢᵀ is the unit
matrix.  σ: a random sign.  Only r Jacobian-vector products and r + 1 vector-Jacobian products are needed.
[Benzing et al. 2019, "Optimal Kronecker-sum approximation of real time recurrent learning", its appendix on triple
products; how the noise is shared among the r terms is chosen here]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..random import Seed, as_generator
from .counting import push_multiplications
from .factors import Block, KroneckerLearner, kronecker_cost, outer
from .forward import balanced, lane_norm
from .jacobian import StepTape
from .optimal_kronecker import check_rank
from .rule import Cost, Rule


class KTP(Rule):
    """Kronecker triple product: r n numbers for a block of weights and about r times what a step costs. Unbiased.

    rank: r, the number of outer products; more of them, less noise.  seed: of the signs; None draws differently each
        time.

    Serves the cells that `KroneckerRTRL` serves.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.GRUCell(2, 3, rng=0), tg.ones((4, 1, 2))
    >>> tg.gradients.KTP(2, seed=0).gradient(cell, xs, lambda y, t: tg.sum(y)).gradients["weight_hh"].shape
    (9, 3)
    """

    exactness = "unbiased"

    def __init__(self, rank: int, seed: Seed = None) -> None:
        check_rank(rank)
        as_generator(seed)
        self.rank, self.seed = rank, seed

    def __repr__(self) -> str:
        return f"KTP(rank={self.rank}, seed={self.seed!r})"

    def start(self, cell: Any, batch: int, state: Any = None) -> KTPLearner:
        return KTPLearner(cell, batch, state, as_generator(self.seed), self.rank)

    def coverage(self, cell: Any) -> dict[str, str]:
        self.start(cell, 1)
        return super().coverage(cell)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        learner = self.start(cell, batch)
        a_step, held, step = kronecker_cost(cell, batch, learner, self.rank + 1)
        a_step += self.rank * len(learner.members) * push_multiplications(step)
        for key in learner.members:
            u, a, b = (learner.held[f"{key}: {what}"] for what in "uab")
            # Gram matrices for the size of a product; shares of a gradient; norms; each factor scaled with its noise
            a_step += (self.rank + 6) * a.size + (self.rank + 7) * b.size + 4 * u.size + 2 * u.size * b.shape[2]
        signs = self.rank * batch * learner.layout.size * np.dtype(learner.dtype).itemsize
        return Cost(a_step * steps, held + signs)


class KTPLearner(KroneckerLearner):
    """A stream with u, (L, m), a, (L, r, n), and b, (L, r, G), of each block."""

    rule = "KTP"

    def __init__(self, cell: Any, batch: int, state: Any, rng: Any, rank: int) -> None:
        self.rank = rank
        super().__init__(cell, batch, state, rng)

    def room(self, lanes: int, m: int, n: int, g: int) -> dict[str, tuple[int, ...]]:
        return {"u": (lanes, m), "a": (lanes, self.rank, n), "b": (lanes, self.rank, g)}

    def seeds(self, q: Any) -> Any:
        """νᵢ, and q last."""
        xp, (lanes, n) = self.xp, q.shape
        signs = self.signs(lanes, n)
        self.nu = xp.zeros((lanes, self.rank, n), dtype=self.dtype)
        for i in range(self.rank):
            self.nu[:, i, i :: self.rank] = signs[:, i :: self.rank]
        seeds = xp.zeros((self.rank + 1, lanes, n), dtype=self.dtype)
        seeds[:-1], seeds[-1] = xp.moveaxis(self.nu, 1, 0), q
        return seeds

    def take(self, factors: dict[str, Any], block: Block | None, step: StepTape, entering: Any, q: Any) -> Any:
        xp, u, b = self.xp, factors["u"], factors["b"]
        past = xp.stack([step.push(factors["a"][:, i]) for i in range(self.rank)], axis=1)
        along = xp.matmul(past, q[:, :, None])  # q D aᵢ, (L, r, 1)
        gradient = outer(xp.sum(xp.multiply(along, b), axis=1), u, xp)
        grams = [xp.matmul(each, xp.matrix_transpose(each)) for each in (past, b)]
        size = xp.sqrt(xp.maximum(xp.sum(grams[0] * grams[1], axis=(1, 2)), 0))  # of Σ D aᵢ bᵢᵀ
        up, down = balanced(lane_norm(u, xp), size, xp)
        u, past = xp.multiply(u, up[:, None]), xp.multiply(past, down[:, None, None])
        own_a, own_b = xp.zeros_like(past), xp.zeros_like(b)
        if block is not None:
            gradient = gradient + outer(block.delta[-1], block.a, xp)
            own_a, own_b = self.nu, xp.moveaxis(block.delta[:-1], 0, 1)
            up, down = balanced(lane_norm(block.a, xp), lane_norm(own_b, xp), xp)
            sign = self.signs(q.shape[0])
            u = u + xp.multiply(block.a, (sign * up)[:, None])
            own_b = xp.multiply(own_b, (sign * down)[:, None, None])
        factors["u"] = u
        factors["a"], factors["b"] = xp.zeros_like(past), xp.zeros_like(b)
        for left, right in ((past, b), (own_a, own_b)):
            up, down = balanced(_row_norm(left, xp), _row_norm(right, xp), xp)
            factors["a"] = factors["a"] + xp.multiply(left, up[:, :, None])
            factors["b"] = factors["b"] + xp.multiply(right, down[:, :, None])
        return gradient


def _row_norm(array: Any, xp: Any) -> Any:
    """Euclidean norms along the last axis, (L, r)."""
    return xp.sqrt(xp.sum(xp.multiply(array, array), axis=2))
