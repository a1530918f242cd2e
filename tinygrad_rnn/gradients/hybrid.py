"""RTRL between blocks, back-propagation inside them: exact, and cheaper than RTRL by the length of a block.

For a block of h steps from t0:  g = Σ_t λ_t I_t + λ_{t0} J,  and at its end  J ← R_{t0} J + Σ_t R_t I_t,
where λ_t pulls the losses of the block back to the state after step t, and R_t pulls the n unit vectors back from its
end. n²p/h + np multiplications a step instead of n²p; np numbers, and h tapes. [Schmidhuber 1992]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..rnn.state import leaves_of, like_state
from ..tensor import Tensor
from .bptt import parameters_as, step_cost
from .counting import one_step, sweep_multiplications
from .forward import CarryingLearner, load_arrays
from .jacobian import StepTape, pull_begun
from .rule import Cost, Gradients, Loss, Rule, Step, add_gradients, check_finite, named_parameters, take_loss


class Hybrid(Rule):
    """Schmidhuber's union of RTRL and BPTT: exact, with memory that does not grow with the stream.

    block: number h of steps between gradients. With 1 it is RTRL; with h near the number n of units, a step costs about
    what RTRL's costs divided by n. `Learner.step` gives gradients at the end of a block, `flush` those of the rest.

    Every step is differentiated with the parameters that it saw. Lanes must not influence each other (batch=1 serves
    cells whose lanes do).

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.ElmanCell(2, 3, rng=0, dtype="float64"), tg.ones((5, 1, 2), dtype="float64")
    >>> loss = lambda y, t: tg.sum(y * y)
    >>> a, b = (rule.gradient(cell, xs, loss).gradients["weight_hh"] for rule in (
    ...     tg.gradients.Hybrid(2), tg.gradients.RTRL()))
    >>> tg.max(tg.abs(a - b)).item() < 1e-15
    True
    """

    exactness = "exact"

    def __init__(self, block: int) -> None:
        if not isinstance(block, int) or isinstance(block, bool) or block < 1:
            raise ArgumentError(f"block is a number of steps, at least 1; got {block!r}")
        self.block = block

    def __repr__(self) -> str:
        return f"Hybrid(block={self.block})"

    def start(self, cell: Any, batch: int, state: Any = None) -> HybridLearner:
        return HybridLearner(cell, batch, state, self.block)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        step = one_step(cell, batch)
        forward, held = step_cost(cell, batch)
        influence = HybridLearner(cell, batch, None, 1).influence
        n, numbers = step.layout.size, sum(array.size for array in influence.values())
        _, immediate = step.jacobian()
        outer = sum(part.multiplications() for each in immediate.values() for part in each)
        blocks = -(-steps // self.block)  # the last may be short
        a_step = forward + sweep_multiplications(step, step.seeds + 1) + outer + outer // n
        a_block = (n + 1) * numbers
        bytes_ = sum(array.nbytes for array in influence.values()) + held * min(self.block, steps)
        return Cost(a_step * steps + a_block * blocks, bytes_)


class _Kept:
    """A step of a block: its tape, the cotangent of its output's loss, and which lanes began with it."""

    def __init__(self, cell: Any, x: Tensor, state: Any, batch: int, lanes: Any, start: StepTape | None) -> None:
        self.x, self.before, self.lanes = x, state, lanes
        self.step, self.start = StepTape(cell, x, state, batch), start
        self.parameters = {name: p._array for name, p in named_parameters(cell)}
        self.cotangent: Any = None
        self.own: Gradients = {}


class HybridLearner(CarryingLearner):
    """A stream with the influence at the start of a block, and the tapes of the block so far."""

    def __init__(self, cell: Any, batch: int, state: Any, block: int) -> None:
        self.block = block
        super().__init__(cell, batch, state)

    def prepare(self) -> None:
        layout, xp = self.layout, self.xp
        self.influence = {
            name: xp.zeros((layout.rows, layout.size, *p.shape), dtype=p.dtype) for name, p in self.parameters
        }
        self.kept: list[_Kept] = []
        self.swept = 0  # steps of the block whose losses have been returned
        self.begun: tuple[Any, StepTape | None] = (None, None)

    def restart(self, start: StepTape, lanes: Any) -> None:
        self.begun = lanes, start

    def _step(self, x: Tensor, loss: Loss, reset: Any) -> Step:
        self.begun = None, None
        self._begin(reset)
        kept = _Kept(self.cell, x, self.state, self.batch, *self.begun)
        output = leaves_of(kept.step.after)[0]
        taken = take_loss(self.cell, loss, output, self.t)
        kept.cotangent, kept.own = self._cotangent(taken.cotangent), taken.own
        self.kept.append(kept)
        self.state = kept.step.after
        self.t += 1
        gradients = None
        if len(self.kept) == self.block:
            gradients = self.flush()
            with np.errstate(all="ignore"):
                self._close()
        return Step(taken.value, output, gradients)

    def flush(self) -> Gradients | None:
        """Gradients of the losses of this block that have not been returned yet."""
        if self.swept == len(self.kept):
            return None
        xp, own = self.xp, None
        cotangent = xp.zeros_like(self.kept[-1].cotangent)
        total = self._zeros(1)
        with np.errstate(all="ignore"):  # check_finite says more than a warning
            for k in range(len(self.kept) - 1, -1, -1):
                if k >= self.swept:
                    cotangent = cotangent + self.kept[k].cotangent
                    own = add_gradients(self.kept[k].own, own)
                cotangent = self._pulled(self.kept[k], cotangent, total)
            self._through_past(cotangent, total)
        self.swept = len(self.kept)
        raw = {name: xp.sum(array, axis=(0, 1)) for name, array in total.items()}
        first = self.t - len(self.kept)
        check_finite(raw, [(first + k, kept.x, kept.step.after) for k, kept in enumerate(self.kept)])
        return add_gradients({name: self.wrapped(array) for name, array in raw.items()}, own)

    def _close(self) -> None:
        """Take the block into the influence, and drop its tapes."""
        xp, layout = self.xp, self.layout
        n, rows = layout.size, layout.rows
        cotangent = xp.broadcast_to(xp.eye(n, dtype=self.dtype)[:, None, :], (n, rows, n))
        total = self._zeros(n)
        for kept in reversed(self.kept):
            cotangent = self._pulled(kept, cotangent, total)
        self._through_past(cotangent, total)
        self.influence = {name: xp.moveaxis(array, 0, 1).copy() for name, array in total.items()}
        self.kept, self.swept = [], 0

    def _zeros(self, seeds: int) -> dict[str, Any]:
        """Cotangents (S, L, *shape) of all parameters."""
        rows = self.layout.rows
        return {name: self.xp.zeros((seeds, rows, *p.shape), dtype=p.dtype) for name, p in self.parameters}

    def _pulled(self, kept: _Kept, cotangent: Any, total: dict[str, Any]) -> Any:
        """Pull cotangents (S, L, N) back through a step; add to the totals, (S, L, *shape), what parameters get."""
        xp = self.xp
        entering, parts = pull_begun(kept.step, kept.start, kept.lanes, cotangent)
        for name, each in parts.items():
            for part in each:
                part.add_to(xp.moveaxis(total[name], 0, 1), xp)
        return entering

    def _through_past(self, cotangent: Any, total: dict[str, Any]) -> None:
        """Add what the state at the start of the block owes to the steps before."""
        xp = self.xp
        lanes_first = xp.moveaxis(cotangent, 0, 1)
        for name, array in self.influence.items():
            flat = xp.reshape(array, (*array.shape[:2], -1))
            part = xp.reshape(xp.matmul(lanes_first, flat), (*lanes_first.shape[:2], *array.shape[2:]))
            total[name] += xp.moveaxis(part, 0, 1)

    def trace(self) -> dict[str, Any]:
        """The influence, and what it takes to record the steps of the block again."""
        out = self.backend.to_numpy
        return {
            "influence": {name: out(array).copy() for name, array in self.influence.items()},
            "swept": self.swept,
            "kept": [
                {
                    "x": kept.x.numpy().copy(),
                    "before": [leaf.numpy().copy() for leaf in leaves_of(kept.before)],
                    "lanes": kept.lanes,
                    "parameters": {name: out(array).copy() for name, array in kept.parameters.items()},
                    "cotangent": out(kept.cotangent).copy(),
                    "own": {name: gradient.numpy().copy() for name, gradient in kept.own.items()},
                }
                for kept in self.kept
            ],
        }

    def load_trace(self, saved: dict[str, Any]) -> None:
        load_arrays(self.influence, saved["influence"], self.backend)
        self.swept = int(saved["swept"])
        self.kept = [self._restored(each) for each in saved["kept"]]

    def _restored(self, saved: dict[str, Any]) -> _Kept:
        before = like_state(self.form, [self.wrapped(leaf) for leaf in saved["before"]])
        with parameters_as(self.cell, saved["parameters"]):
            start = None if saved["lanes"] is None else StepTape.start(self.cell, self.batch)
            kept = _Kept(self.cell, self.wrapped(saved["x"]), before, self.batch, saved["lanes"], start)
        kept.cotangent = self.backend.asarray(saved["cotangent"])
        kept.own = {name: self.wrapped(gradient) for name, gradient in saved["own"].items()}
        return kept
