"""Optimal Kronecker-sum approximation: r Kronecker products, and the least noise that r of them can have.

    J ≈ Σᵢ uᵢ ⊗ Aᵢ.    g = Σᵢ uᵢ ⊗ q D Aᵢ + a ⊗ q Δ,    then    (uᵢ, D Aᵢ), (a, Δ) → r products

The r + 1 products are a matrix of rank r + 1 in the basis of both kinds of factors: two QR factorisations and one SVD
leave a diagonal of singular values. The largest are kept; of the rest an unbiased approximation of one rank less, with
the least variance, is drawn. [Benzing et al. 2019, "Optimal Kronecker-sum approximation of real time recurrent
learning", section 3 and algorithm 2]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..random import Seed, as_generator
from .factors import Block, KroneckerLearner, kronecker_cost, outer
from .jacobian import StepTape
from .kf_rtrl import unit_seeds
from .rule import Cost, Rule


class OptimalKronecker(Rule):
    """Optimal Kronecker-sum approximation (OK): r times what `KroneckerRTRL` takes, and far less noise.

    rank: r, the number of Kronecker products. With as many as the numbers that a block of weights reads (inputs, units,
        a bias), the result is that of RTRL.  seed: of the signs; None draws differently each time.

    Serves the cells that `KroneckerRTRL` serves.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.ElmanCell(1, 2, bias=False, rng=0, dtype="float64"), tg.ones((4, 1, 1), dtype="float64")
    >>> loss = lambda y, t: tg.sum(y * y)
    >>> a, b = (rule.gradient(cell, xs, loss).gradients["weight_hh"] for rule in (
    ...     tg.gradients.OptimalKronecker(3), tg.gradients.RTRL()))
    >>> tg.max(tg.abs(a - b)).item() < 1e-14
    True
    """

    exactness = "unbiased"

    def __init__(self, rank: int, seed: Seed = None) -> None:
        check_rank(rank)
        as_generator(seed)
        self.rank, self.seed = rank, seed

    def __repr__(self) -> str:
        return f"OptimalKronecker(rank={self.rank}, seed={self.seed!r})"

    def start(self, cell: Any, batch: int, state: Any = None) -> OptimalKroneckerLearner:
        return OptimalKroneckerLearner(cell, batch, state, as_generator(self.seed), self.rank)

    def coverage(self, cell: Any) -> dict[str, str]:
        """As for every rule; parameters of blocks that read no more than `rank` numbers are "exact"."""
        learner = self.start(cell, 1)
        exact = {
            member.name: learner.held[f"{key}: u"].shape[2] <= self.rank
            for key, members in learner.members.items()
            for member in members
        }
        found = super().coverage(cell)
        return {name: "exact" if kind != "none" and exact.get(name) else kind for name, kind in found.items()}

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        """As for every rule; a QR factorisation of M rows and k columns counts as 2 M k² multiplications."""
        learner = self.start(cell, batch)
        n, terms = learner.layout.size, self.rank + 1
        a_step, held, _ = kronecker_cost(cell, batch, learner, n)
        for key in learner.members:
            u, a = (learner.held[f"{key}: {what}"] for what in "uA")
            rows = u[:, 0].size + a[:, 0].size
            a_step += n * a.size + terms * a[:, 0].size  # D A, and q times all terms
            a_step += terms * u[:, 0].size * a.shape[-1]  # the gradient
            a_step += rows * (2 * terms**2 + terms * self.rank)  # factorisations, and their products with the core
        return Cost(a_step * steps, held)


class OptimalKroneckerLearner(KroneckerLearner):
    """A stream with u, (L, r, m), and A, (L, r, n, G), of each block."""

    rule = "OptimalKronecker"

    def __init__(self, cell: Any, batch: int, state: Any, rng: Any, rank: int) -> None:
        self.rank = rank
        super().__init__(cell, batch, state, rng)

    def room(self, lanes: int, m: int, n: int, g: int) -> dict[str, tuple[int, ...]]:
        return {"u": (lanes, self.rank, m), "A": (lanes, self.rank, n, g)}

    def seeds(self, q: Any) -> Any:
        return unit_seeds(q, self.xp)

    def take(self, factors: dict[str, Any], block: Block | None, step: StepTape, entering: Any, q: Any) -> Any:
        xp, left = self.xp, factors["u"]
        right = xp.matmul(xp.moveaxis(entering, 0, 1)[:, None], factors["A"])
        if block is not None:
            left = xp.concat([left, block.a[:, None]], axis=1)
            right = xp.concat([right, xp.moveaxis(block.delta, 0, 1)[:, None]], axis=1)
        pulled = xp.matmul(q[:, None, None], right)[:, :, 0]
        gradient = outer(xp.reshape(pulled, (-1, pulled.shape[-1])), xp.reshape(left, (-1, left.shape[-1])), xp)
        if block is not None:
            left, right = self._reduced(left, right)
        factors["u"], factors["A"] = left, right
        return gradient

    def _reduced(self, left: Any, right: Any) -> tuple[Any, Any]:
        """The r + 1 products (L, r + 1, ...) as r, with the same mean."""
        xp, lanes, shape = self.xp, left.shape[0], right.shape[2:]
        q_left, r_left = xp.linalg.qr(xp.matrix_transpose(left))
        q_right, r_right = xp.linalg.qr(xp.matrix_transpose(xp.reshape(right, (*right.shape[:2], -1))))
        core = xp.matmul(r_left, xp.matrix_transpose(r_right))
        if not xp.isfinite(core).all():  # let the gradient report it, with its step
            return left[:, : self.rank] * core.sum(), right[:, : self.rank]
        u, values, v = xp.linalg.svd(core, full_matrices=False)
        count = values.shape[1]
        values = self.backend.to_numpy(values).astype(np.float64)
        values[values <= 10 * np.finfo(self.dtype).eps * values[:, :1]] = 0  # round-off is not to be mixed with
        signs = self.backend.to_numpy(self.signs(lanes, self.rank + 1))[:, :count]
        mixed = np.zeros((lanes, count, self.rank))
        for lane in range(lanes):
            mixed[lane] = mixture(values[lane], self.rank, signs[lane])
        mix = self.backend.asarray(mixed.astype(self.dtype))
        new_left = xp.matmul(q_left, xp.matmul(u, mix))
        new_right = xp.matmul(q_right, xp.matmul(xp.matrix_transpose(v), mix))
        turned = xp.reshape(xp.matrix_transpose(new_right), (lanes, self.rank, *shape))
        return xp.matrix_transpose(new_left), turned


def mixture(values: Any, rank: int, signs: Any) -> Any:
    """M, (q, r), with E[M Mᵀ] = diag(values) over random signs, of the least variance.

    values: (q,), singular values, falling, q at most r + 1.  signs: (q,).

    >>> import itertools, numpy as np
    >>> from tinygrad_rnn.gradients.optimal_kronecker import mixture
    >>> each = [mixture(np.array([3.0, 0.5, 0.2]), 2, np.array(s)) for s in itertools.product([-1, 1], repeat=3)]
    >>> np.round(np.mean([m @ m.T for m in each], axis=0), 12).tolist()
    [[3.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.2]]
    """
    q = values.size
    if q <= rank:
        return np.concatenate([np.diag(np.sqrt(values)), np.zeros((q, rank - q))], axis=1)
    rests = np.cumsum(values[::-1])[::-1]  # of value k and all smaller ones
    # the first k at which a unit vector of the right lengths exists; at k = r - 1, two are left to share one
    k = next((k for k in range(rank) if values[k] * (rank - k) <= rests[k]), rank - 1)
    mixed = np.zeros((q, rank))
    mixed[np.arange(k), np.arange(k)] = np.sqrt(values[:k])
    if rests[k] > 0:
        share = rests[k] / (rank - k)
        axis = np.sqrt(np.maximum(1 - values[k:] / share, 0))
        mixed[k:, k:] = np.sqrt(share) * signs[k:, None] * _beside(axis / np.linalg.norm(axis))
    return mixed


def _beside(axis: Any) -> Any:
    """An orthonormal basis (q, q - 1) of what is at right angles to a unit vector: a reflection less one column."""
    mirror = axis.copy()
    mirror[0] += 1.0  # entries of the axis are not negative, so nothing cancels
    return (np.eye(axis.size) - 2 * np.outer(mirror, mirror) / (mirror @ mirror))[:, 1:]


def check_rank(rank: Any) -> None:
    """Raise ArgumentError unless it is a whole number of at least 1."""
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ArgumentError(f"rank is a number of products, at least 1; got {rank!r}")
