"""Hopfield's network: patterns as the minima of an energy."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..nn.linear import check_size
from ..nn.module import Module
from ..random import Seed, as_generator
from ..tape import user_line
from ..tensor import Parameter, Tensor, asarray, tensor

__all__ = ["HopfieldNetwork"]


class HopfieldNetwork(Module):
    """Units of ±1 with symmetric weights, which recall a stored pattern from a part of it. [Hopfield 1982, PNAS 79]

    units: N.  dtype: float32 (the default) or float64.  backend: where the weights live.

    Parameters: ``weights`` (N, N), symmetric with a zero diagonal; zeros until patterns are stored.
    Call: states (B, N) → (B, N), one step of all units at once; `recall` updates unit by unit, as Hopfield did.

    About 0.138 N random patterns can be recalled. [Amit, Gutfreund & Sompolinsky 1985, Phys. Rev. Lett. 55]

    >>> import numpy as np, tinygrad_rnn as tg
    >>> patterns = np.where(np.random.default_rng(0).random((3, 60)) < 0.5, -1.0, 1.0)
    >>> network = tg.rnn.HopfieldNetwork(60)
    >>> network.store(patterns)
    >>> spoiled = patterns.copy(); spoiled[:, :12] *= -1
    >>> bool(np.all(network.recall(spoiled, rng=0).numpy() == patterns))
    True
    """

    def __init__(self, units: int, *, dtype: Any = None, backend: Any = None) -> None:
        check_size("units", units)
        self.units = units
        self.weights = Parameter(ops.zeros((units, units), dtype=dtype, backend=backend))

    def store(self, patterns: Any) -> None:
        """Add patterns (P, N) of ±1 by Hebb's rule: w_ij += Σ s_i s_j / N, w_ii = 0. (Hopfield's eq. 2, over N)"""
        found = self._states("store", patterns).numpy()
        if not np.all(np.abs(found) == 1):
            wrong = found[np.abs(found) != 1][0]
            raise ArgumentError(f"patterns consist of -1 and 1; got {wrong}. For 0 and 1 write 2 * patterns - 1.")
        hebb = found.T @ found / self.units
        np.fill_diagonal(hebb, 0)
        self.weights.assign((self.weights.numpy() + hebb).astype(found.dtype))

    def forward(self, states: Any) -> Tensor:
        """One step of all units at once: (B, N) → (B, N), sign(W s); a unit without drive stays as it is."""
        states = self._states("HopfieldNetwork", states)
        drive = states @ self.weights
        return ops.where(drive == 0, states, ops.sign(drive))

    def energy(self, states: Any) -> Tensor:
        """E = −½ sᵀ W s for states (B, N): (B,). No update of a single unit ever raises it. (Hopfield's eq. 7)"""
        states = self._states("energy", states)
        return -0.5 * ops.sum((states @ self.weights) * states, axis=-1)

    def recall(self, states: Any, *, sweeps: int = 20, rng: Seed = None) -> Tensor:
        """Update unit by unit in random order until nothing changes, or for so many sweeps over all units.

        states: (B, N) of ±1; the lanes share the order.  rng: a generator or a seed, for the order.
        Returns the states where it stopped, (B, N).
        """
        check_size("sweeps", sweeps)
        rng = as_generator(rng)
        weights = self.weights.numpy()
        found = self._states("recall", states).numpy().copy()
        for _ in range(sweeps):
            before = found.copy()
            for unit in rng.permutation(self.units):
                drive = found @ weights[unit]
                found[:, unit] = np.where(drive == 0, found[:, unit], np.sign(drive))
            if np.array_equal(found, before):
                break
        return tensor(found, backend=self.weights.backend)

    def _states(self, name: str, states: Any) -> Tensor:
        states = states if isinstance(states, Tensor) else asarray(states, backend=self.weights.backend)
        if states.ndim != 2 or states.shape[1] != self.units:
            raise ShapeError(f"{name} expected states of shape (B, {self.units}); got {states.shape}"
                             f"        at {user_line()}")  # fmt: skip
        return states if states.dtype == self.weights.dtype else states.astype(self.weights.dtype)

    def extra_repr(self) -> str:
        return f"{self.units}"
