"""RTRL for element-wise recurrences, at the price of back-propagation.

    E_t = λ_t ⊙ E_{t-1} + I_t,    g_t = q_t ⊙ E_t

Where unit i of the state depends on unit i alone, D is diagonal (λ), and a parameter that acts on one unit has
influence on that unit only: p numbers and about p multiplications a lane. [Mozer 1989; Irie et al. 2023]
"""

from __future__ import annotations

from typing import Any

from .forward import ForwardLearner
from .jacobian import Pulled
from .rule import Cost, Rule
from .units import UnitLearner


class DiagonalRTRL(Rule):
    """Exact RTRL for cells whose units have no connections to each other, such as IndRNN: the same result for less.

    A state may have several parts of the same width (the real and imaginary part of a linear recurrence, or the slow
    and fast memory of a unit): unit i of each part may then depend on unit i of all parts.
    Each parameter must act on one unit. Other cells are refused, with the reason, by `start`, `gradient` and
    `coverage` (by the first step if the cell has no ``input_size``), as their structure says, not their values.

    >>> import tinygrad_rnn as tg
    >>> class Leaky(tg.nn.Module):
    ...     input_size = 2
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.w, self.decay = tg.Parameter([[0.5, -1.0], [1.0, 0.5]]), tg.Parameter([0.9, 0.5])
    ...     def initial_state(self, batch):
    ...         return tg.zeros((batch, 2))
    ...     def forward(self, x, h):
    ...         return tg.tanh(x @ self.w + self.decay * h)
    >>> xs, loss = tg.ones((3, 1, 2)), lambda y, t: tg.sum(y)
    >>> tg.gradients.DiagonalRTRL().gradient(Leaky(), xs, loss).gradients["decay"].shape
    (2,)
    >>> tg.gradients.DiagonalRTRL().start(tg.rnn.ElmanCell(2, 2), batch=1)
    Traceback (most recent call last):
    tinygrad_rnn.errors.ArgumentError: DiagonalRTRL needs a cell whose units depend on themselves alone; in ElmanCell
    unit 0 depends on unit 1. Use RTRL.
    """

    exactness = "exact"

    def __repr__(self) -> str:
        return "DiagonalRTRL()"

    def start(self, cell: Any, batch: int, state: Any = None) -> ForwardLearner:
        return DiagonalLearner(cell, batch, state)

    def coverage(self, cell: Any) -> dict[str, str]:
        self.start(cell, 1)
        return super().coverage(cell)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        return DiagonalLearner(cell, batch, None).total_cost(steps)


class DiagonalLearner(UnitLearner):
    """A stream with the influence of each parameter on its unit, all there is of it."""

    rule, otherwise = "DiagonalRTRL", "Use RTRL."

    def decay(self, found: Pulled) -> Any:
        return self.by_unit(found)
