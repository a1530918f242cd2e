"""Sparse n-step approximation: RTRL that keeps the entries of the influence which n steps can reach.

    J_t = M_n ⊙ (D_t J_{t-1} + I_t),    M_1 = nz(I),  M_n = M_{n-1} ∪ nz(D) M_{n-1}

[Menick et al. 2020, "Practical real time recurrent learning with a sparse approximation", section 3]
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, GradientError
from ..tensor import Tensor
from .counting import held_bytes, one_step, probe_input, sweep_multiplications
from .forward import ForwardLearner, load_arrays
from .jacobian import StepTape
from .pattern import patterns, step_patterns
from .rule import Cost, Rule


class SnAp(Rule):
    """Sparse n-step approximation. With n large enough that the mask closes it is RTRL: dense networks at n = 2.

    n: steps within which a parameter must reach a unit for its influence there to be kept.

    Masks come from the structure of the cell: which entries of the Jacobians of a step can be other than zero at any
    values. Fixed zeros count where they are those of a buffer (a mask), not those of a parameter. Only kept entries
    are stored and computed: at n = 1 about as many as there are parameters. The Jacobian D comes from a sweep of n
    unit vectors through the tape of the step, n times what a step costs.

    `coverage` says "exact" for parameters whose mask is closed: no kept entry is fed by one that is dropped.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.ElmanCell(2, 3, bias=False, rng=0)
    >>> tg.gradients.SnAp(1).coverage(cell), tg.gradients.SnAp(2).coverage(cell)
    ({'weight_ih': 'approximate', 'weight_hh': 'approximate'}, {'weight_ih': 'exact', 'weight_hh': 'exact'})
    """

    exactness = "biased"

    def __init__(self, n: int) -> None:
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ArgumentError(f"n is a number of steps, at least 1; got {n!r}")
        self.n = n

    def __repr__(self) -> str:
        return f"SnAp({self.n})"

    def start(self, cell: Any, batch: int, state: Any = None) -> SnApLearner:
        return SnApLearner(cell, batch, state, self.n)

    def coverage(self, cell: Any) -> dict[str, str]:
        found = super().coverage(cell)
        closed = self.start(cell, 1).closed
        return {name: "exact" if closed.get(name) else kind for name, kind in found.items()}

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        step = one_step(cell, batch)
        learner = self.start(cell, batch)
        d, immediate = step.jacobian()
        a_step = step.multiplications() + sweep_multiplications(step, step.seeds)
        for name, stacks in learner.influence.items():
            outer = sum(part.multiplications() > 0 for part in immediate.get(name, []))
            for stack in stacks:
                a_step += stack.kept.size * (stack.units.shape[1] + 1 + outer)
        return Cost(a_step * steps, sum(a.nbytes for a in learner.arrays()) + held_bytes(step) + d.nbytes)


class Stack(NamedTuple):
    """Kept influence of G groups of parameters, each of C entries that reach the same R units.

    units: (G, R).  entries: (G, C), flat numbers of entries of one parameter.  kept: (L, G, R, C).
    """

    units: Any
    entries: Any
    kept: Any


class SnApLearner(ForwardLearner):
    """A stream with the kept influence of each parameter, a list of stacks for each: ``influence[name]``."""

    def __init__(self, cell: Any, batch: int, state: Any, n: int) -> None:
        self.n = n
        super().__init__(cell, batch, state)

    def prepare(self) -> None:
        if not self.layout.lanes:
            raise ArgumentError(f"{self._name()} needs states whose first axis is the batch; got {self.layout.shapes}")
        self.influence: dict[str, list[Stack]] = {}
        self.closed: dict[str, bool] = {}
        x = probe_input(self.cell, 1)
        if x is not None:
            self._find_masks(x, self.form)

    def _name(self) -> str:
        return f"SnAp({self.n})"

    def _find_masks(self, x: Tensor, state: Any) -> None:
        """Group the entries of every parameter by the units that they reach within n steps."""
        d, immediate = patterns(self.cell, x, state)
        _, first = step_patterns(self.cell, StepTape.start(self.cell, 1))
        between = d.astype(np.float32)  # a product of floats is far faster than one of bools
        for name, p in self.parameters:
            mask = (immediate[name] | first[name]).reshape(self.layout.size, -1)
            reached = mask
            for _ in range(self.n):
                mask = reached
                reached = mask | (between @ mask.astype(np.float32) > 0)
                if np.array_equal(mask, reached):
                    break
            self.closed[name] = np.array_equal(mask, reached)
            self.influence[name] = self._stacks(mask, p.dtype)

    def _stacks(self, mask: Any, dtype: Any) -> list[Stack]:
        """Stacks for a mask (n, entries); entries that reach nothing are in none."""
        groups: dict[bytes, list[int]] = defaultdict(list)
        for entry, packed in enumerate(np.packbits(mask, axis=0).T):
            groups[packed.tobytes()].append(entry)
        alike = defaultdict(list)
        for entries in groups.values():
            units = np.flatnonzero(mask[:, entries[0]])
            if units.size:
                alike[units.size, len(entries)].append((units, entries))
        return [
            Stack(
                np.array([units for units, _ in members]),
                np.array([entries for _, entries in members]),
                self.xp.zeros((self.batch, len(members), *shape), dtype=dtype),
            )
            for shape, members in alike.items()
        ]

    def arrays(self) -> list[Any]:
        """The arrays of the trace, and the numbers of units and entries."""
        return [array for stacks in self.influence.values() for stack in stacks for array in stack]

    def restart(self, start: StepTape, lanes: Any) -> None:
        _, immediate = start.jacobian()
        for name, stacks in self.influence.items():
            for stack in stacks:
                fresh = self._immediate(stack, immediate.get(name, []))
                stack.kept[lanes] = fresh[lanes]

    def advance(self, x: Tensor, state: Any) -> StepTape:
        if not self.influence and self.parameters:
            self._find_masks(x, state)
            if self.t == 0:
                self.restart(StepTape.start(self.cell, self.batch), np.ones(self.batch, dtype=bool))
        return StepTape(self.cell, x, state, self.batch)

    def learn(self, step: StepTape, cotangent: Any) -> dict[str, Any]:
        xp, (d, immediate) = self.xp, step.jacobian()
        if d.shape[0] != self.batch:
            raise GradientError(
                f"{self._name()} keeps lanes apart, and those of this cell influence each other (through a mean over "
                "the batch, perhaps). BPTT and RTRL serve such a cell; so does every rule with batch=1."
            )
        gradients = {}
        for name, p in self.parameters:
            total = xp.zeros(p.shape, dtype=p.dtype)
            flat = xp.reshape(total, (-1,))
            for stack in self.influence[name]:
                units, kept = stack.units, stack.kept
                kept[...] = xp.matmul(d[:, units[:, :, None], units[:, None, :]], kept)
                kept += self._immediate(stack, immediate.get(name, []))
                q = xp.expand_dims(cotangent[0][:, units], axis=2)
                flat[stack.entries] = xp.sum(xp.matmul(q, kept), axis=0)[:, 0]
            gradients[name] = total
        return gradients

    def _immediate(self, stack: Stack, parts: list[Any]) -> Any:
        """I at the kept entries, (L, G, R, C)."""
        total = self.xp.zeros_like(stack.kept)
        for part in parts:
            found = part.at(stack.units[:, :, None], stack.entries[:, None, :], self.xp)
            total += self.xp.moveaxis(found, -1, 0)
        return total

    def trace(self) -> dict[str, Any]:
        return {name: self.backend.to_numpy(array).copy() for name, array in self._named().items()}

    def load_trace(self, saved: dict[str, Any]) -> None:
        load_arrays(self._named(), saved, self.backend)

    def _named(self) -> dict[str, Any]:
        return {f"{name}.{k}": s.kept for name, stacks in self.influence.items() for k, s in enumerate(stacks)}
