"""Anticipated reweighted truncated back-propagation: random truncation that is right in expectation.

Between steps t-1 and t time is cut with probability c_t. The sweep stops at a cut, and multiplies the cotangent of the
state by 1 / (1 - c_t) where there might have been one and was not. [Tallec & Ollivier 2017, "Unbiasing truncated
backpropagation through time", eq. 5 to 7]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from ..random import Seed, as_generator, generator_state, set_generator_state
from ..rnn.state import leaves_of
from ..tensor import Tensor
from .bptt import WindowLearner, step_cost
from .rule import Cost, Gradients, Loss, Rule, Step, add_gradients, named_parameters


class ARTBP(Rule):
    """Truncated BPTT whose windows end at random, with the weights that make its expectation that of BPTT.

    cut: the probability of a cut before a step, in [0, 1); or a function that gives it from the number of steps since
        the last cut.  seed: of the cuts; None draws differently each time.

    Gradients come when time is cut, and from `flush`. Windows are 1/cut steps long on average, and only one is held.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.ElmanCell(2, 3, rng=0), tg.ones((6, 1, 2))
    >>> a, b = (tg.gradients.ARTBP(0.3, seed=5).gradient(cell, xs, lambda y, t: tg.sum(y)) for _ in range(2))
    >>> bool(tg.all(a.gradients["weight_hh"] == b.gradients["weight_hh"]).item())
    True
    """

    exactness = "unbiased"

    def __init__(self, cut: float | Callable[[int], float], seed: Seed = None) -> None:
        if not callable(cut):
            _check(cut)
        as_generator(seed)
        self.cut, self.seed = cut, seed

    def __repr__(self) -> str:
        return f"ARTBP(cut={self.cut!r}, seed={self.seed!r})"

    def start(self, cell: Any, batch: int, state: Any = None) -> ARTBPLearner:
        return ARTBPLearner(cell, batch, state, self.cut, as_generator(self.seed))

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        """As of BPTT, with the bytes of a window of average length."""
        forward, held = step_cost(cell, batch)
        alive, expected = 1.0, 0.0  # P(a window is longer than k steps), and the sum of these
        for k in range(1, steps + 1):
            expected += alive
            alive *= 1 - _at(self.cut, k)
        return Cost(3 * forward * steps, round(held * expected))


class ARTBPLearner(WindowLearner):
    """A stream with the window since the last cut, and the factor at each boundary inside it."""

    def __init__(self, cell: Any, batch: int, state: Any, cut: Any, rng: Any) -> None:
        super().__init__(cell, batch, state, None, None)
        self.cut, self.rng = cut, rng
        self.factors: list[float] = []  # at the boundary before each step of the window; 1 before the first

    def _step(self, x: Tensor, loss: Loss, reset: Any) -> Step:
        gradients = None
        factor = 1.0
        if self.window:
            c = _at(self.cut, len(self.window))
            if c > 0 and self.rng.random() < c:
                gradients = self._swept()
                self.window.clear()
                self.factors.clear()
            else:
                factor = 1 / (1 - c)
        step = super()._step(x, loss, reset)
        self.factors.append(factor)
        return step._replace(gradients=gradients)

    def _swept(self) -> Gradients | None:
        """Gradients of the losses of this window that have not been returned yet."""
        if not any(record.loss is not None for record in self.window):
            return None
        pairs = named_parameters(self.cell)
        total: Gradients | None = self.zeros()
        cotangents: list[Any] = [None] * len(leaves_of(self.window[-1].after))
        for record, factor in zip(reversed(self.window), reversed(self.factors)):
            cotangents, gradients = record.sweep(cotangents, pairs)
            cotangents = [None if part is None else part * factor for part in cotangents]
            total = add_gradients(total, gradients)
            if record.loss is not None:
                total = add_gradients(total, record.loss.own)
                record.loss = None
        self.check(total)
        return total

    def flush(self) -> Gradients | None:
        return self._swept()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"factors": list(self.factors), "rng": generator_state(self.rng)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        super().load_state_dict(saved)
        self.factors = list(saved["factors"])
        set_generator_state(self.rng, saved["rng"])


def _at(cut: Any, length: int) -> float:
    return _check(cut(length)) if callable(cut) else cut


def _check(probability: Any) -> float:
    if not isinstance(probability, (int, float)) or not 0 <= probability < 1:
        raise ArgumentError(f"the probability of a cut lies in [0, 1); got {probability!r}")
    return float(probability)
