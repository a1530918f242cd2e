"""Unbiased online recurrent optimisation: the influence as one outer product, right on average.

    g = (q D s̃) θ̃ + q I,    then    s̃ ← ρ₀ D s̃ + ρ₁ ν,    θ̃ ← θ̃ / ρ₀ + νᵀ I / ρ₁

ν: random signs, so that E[ν νᵀ] is the unit matrix and E[s̃ θ̃] = J.  The gradient is read off before the noise of its
own step comes in: the same mean as q s̃ θ̃ afterwards, and much less noise.
[Tallec & Ollivier 2017, "Unbiased online recurrent optimization", proposition 2]
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..random import Seed, as_generator
from .counting import held_bytes, one_step, push_multiplications, sweep_multiplications
from .forward import SeededLearner, balanced, direct, lane_norm
from .jacobian import StepTape
from .rule import Cost, Rule


class UORO(Rule):
    """Unbiased online recurrent optimisation, for every cell: n + p numbers and about p multiplications a lane.

    seed: of the signs; None draws differently each time.
    nu: signs to use instead, (T, B, n) for the n numbers of a lane's state: for enumerations.

    Every lane has noise of its own. Lanes must not influence each other (batch=1 serves cells whose lanes do).

    >>> import numpy as np, tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.ElmanCell(2, 1, rng=0, dtype="float64"), tg.ones((2, 1, 2), dtype="float64")
    >>> loss = lambda y, t: tg.sum(y * y)
    >>> tables = [np.array(signs, dtype=float).reshape(2, 1, 1) for signs in ([1, 1], [1, -1], [-1, 1], [-1, -1])]
    >>> each = [tg.gradients.UORO(nu=nu).gradient(cell, xs, loss).gradients["weight_hh"].item() for nu in tables]
    >>> bool(abs(np.mean(each) - tg.gradients.RTRL().gradient(cell, xs, loss).gradients["weight_hh"].item()) < 1e-15)
    True
    """

    exactness = "unbiased"

    def __init__(self, seed: Seed = None, nu: Any = None) -> None:
        as_generator(seed)
        self.seed, self.nu = seed, nu

    def __repr__(self) -> str:
        return f"UORO(seed={self.seed!r})" if self.nu is None else "UORO(nu=...)"

    def start(self, cell: Any, batch: int, state: Any = None) -> UOROLearner:
        return UOROLearner(cell, batch, state, as_generator(self.seed), self.nu)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        step = one_step(cell, batch)
        learner = self.start(cell, batch)
        numbers = sum(array.size for array in learner.arrays())
        immediate = step.pull(step.xp.zeros((2, batch, step.layout.size), dtype=learner.dtype)).immediate
        outer = sum(part.multiplications() for each in immediate.values() for part in each)
        swept = sweep_multiplications(step, 2) + push_multiplications(step)
        held = sum(array.nbytes for array in learner.arrays())
        own = step.multiplications() + swept + outer
        # of θ̃: its share in g, its norm and that of νᵀI, and both scaled
        return Cost((own + 5 * numbers) * steps, held + held_bytes(step))


class UOROLearner(SeededLearner):
    """A stream with both factors of the influence: ``held["state"]``, (L, N), and one (L, *shape) a parameter."""

    def __init__(self, cell: Any, batch: int, state: Any, rng: Any, nu: Any) -> None:
        self.nu = nu
        super().__init__(cell, batch, state, rng)

    def prepare(self) -> None:
        xp, lanes = self.xp, self.layout.rows
        self.held = {"state": xp.zeros((lanes, self.layout.size), dtype=self.dtype)}
        self.held |= {f"of {name}": xp.zeros((lanes, *p.shape), dtype=p.dtype) for name, p in self.parameters}
        if self.nu is not None:
            self.nu = self.backend.asarray(self.nu, self.dtype)
            if self.nu.ndim != 3 or self.nu.shape[1:] != (lanes, self.layout.size):
                raise ArgumentError(
                    f"nu is a table of signs (T, B, n) = (T, {lanes}, {self.layout.size}); got {self.nu.shape}"
                )

    def noise(self) -> Any:
        """The signs of this step, (L, N)."""
        if self.nu is None:
            return self.signs(*self.held["state"].shape)
        if self.t >= len(self.nu):
            raise ArgumentError(f"nu has signs for {len(self.nu)} steps; the stream is at step {self.t}")
        return self.nu[self.t]

    def learn(self, step: StepTape, cotangent: Any) -> dict[str, Any]:
        xp, nu = self.xp, self.noise()
        seeds = xp.zeros((2, *nu.shape), dtype=self.dtype)
        seeds[0], seeds[1] = nu, cotangent[0]
        _, immediate = self.pull(step, seeds)
        past = step.push(self.held["state"])
        along = xp.sum(xp.multiply(cotangent[0], past), axis=1)  # q D s̃, a number a lane
        gradients, fresh = {}, {}
        for name, p in self.parameters:
            parts, theta = immediate.get(name, []), self.held[f"of {name}"]
            total = xp.sum(xp.multiply(theta, _lanewise(along, theta)), axis=0)
            gradients[name] = sum((part.only(slice(1, 2)).summed(xp) for part in parts), total).astype(p.dtype)
            fresh[name] = direct(parts, 0, xp.zeros_like(theta), xp)
        size = xp.sqrt(sum((lane_norm(self.held[f"of {name}"], xp) ** 2 for name in fresh), 0 * along))
        new = xp.sqrt(sum((lane_norm(array, xp) ** 2 for array in fresh.values()), 0 * along))
        past_up, past_down = balanced(lane_norm(past, xp), size, xp)
        noise_up, noise_down = balanced(xp.full_like(new, math.sqrt(nu.shape[1])), new, xp)
        self.held["state"] = xp.multiply(past, past_up[:, None]) + xp.multiply(nu, noise_up[:, None])
        for name, array in fresh.items():
            theta = self.held[f"of {name}"]
            kept = xp.multiply(theta, _lanewise(past_down, theta)) + xp.multiply(array, _lanewise(noise_down, theta))
            self.held[f"of {name}"] = kept.astype(theta.dtype, copy=False)
        return gradients


def _lanewise(numbers: Any, like: Any) -> Any:
    """(L,) so that it multiplies (L, ...)."""
    return numbers.reshape(-1, *[1] * (like.ndim - 1))
