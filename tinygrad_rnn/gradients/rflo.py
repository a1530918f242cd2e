"""Random-feedback local online learning: of the recurrence, only the leak is kept.

    E_t = (1 - α) E_{t-1} + I_t,    g_t = L_t ⊙ E_t

For a leaky network h' = (1 - α) h + α φ(W x + U h + b), where I_t = α φ' aᵀ; L_t is ∂ℓ_t/∂h_t, or a random matrix times
the error of the readout. [Murray 2019, "Local online learning in recurrent networks with random feedback", eq. 4]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tensor import Tensor
from .forward import ForwardLearner
from .jacobian import Pulled
from .rule import Cost, Rule
from .units import Feedback, SignalledLearner, check_feedback


class RFLO(Rule):
    """Random-feedback local online learning: p numbers and about p multiplications a lane, biased.

    leak: α in (0, 1], a number or one for each unit; None takes the cell's attribute ``leak``, or 1 if it has none.
    feedback: None for ∂ℓ/∂output, or a function of (output, t) that returns the learning signal, (B, H), such as an
        error times a fixed random matrix. It replaces the loss for the cell, not for parameters of the loss.

    Serves cells with one part of the state and parameters that act on one unit each: Elman networks, leaky ones, and
    GRUs with the reset after the product. With no recurrent weights and ∂ℓ/∂output it is RTRL.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.ElmanCell(2, 3, rng=0), tg.ones((4, 1, 2))
    >>> tg.gradients.RFLO(leak=0.5).gradient(cell, xs, lambda y, t: tg.sum(y)).gradients["weight_hh"].shape
    (3, 3)
    >>> tg.gradients.RFLO().start(tg.rnn.LSTMCell(2, 3), batch=1)
    Traceback (most recent call last):
    tinygrad_rnn.errors.ArgumentError: RFLO needs a state of one part, that of a leaky network; LSTMCell has 2. Use
    EProp or SnAp(1).
    """

    exactness = "biased"

    def __init__(self, leak: Any = None, feedback: Feedback | None = None) -> None:
        check_feedback(feedback)
        if leak is not None:
            _check(leak)
        self.leak, self.feedback = leak, feedback

    def __repr__(self) -> str:
        return f"RFLO(leak={self.leak!r})" if self.feedback is None else f"RFLO(leak={self.leak!r}, feedback=...)"

    def start(self, cell: Any, batch: int, state: Any = None) -> ForwardLearner:
        return RFLOLearner(cell, batch, state, self.leak, self.feedback)

    def coverage(self, cell: Any) -> dict[str, str]:
        self.start(cell, 1)
        return super().coverage(cell)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        return RFLOLearner(cell, batch, None, self.leak, None).total_cost(steps)


class RFLOLearner(SignalledLearner):
    """A stream with the eligibility of each parameter."""

    rule, otherwise = "RFLO", "Use EProp or SnAp(1)."

    def __init__(self, cell: Any, batch: int, state: Any, leak: Any, feedback: Feedback | None) -> None:
        given = getattr(cell, "leak", 1.0) if leak is None else leak
        self.leak = _check(given.numpy() if isinstance(given, Tensor) else given)
        super().__init__(cell, batch, state, feedback)

    def prepare(self) -> None:
        super().prepare()
        if self.parts > 1:
            raise ArgumentError(
                f"RFLO needs a state of one part, that of a leaky network; {type(self.cell).__name__} has "
                f"{self.parts}. {self.otherwise}"
            )
        if self.leak.ndim and self.leak.shape != (self.width,):
            raise ArgumentError(f"leak is a number, or one for each of {self.width} units; got {self.leak.shape}")

    def carried(self) -> slice:
        return slice(0, 0)

    def decay(self, found: Pulled) -> Any:
        kept = self.backend.asarray((1 - self.leak).astype(self.dtype))
        return self.xp.broadcast_to(kept, (self.batch, 1, 1, self.width))


def _check(leak: Any) -> Any:
    array = np.asarray(leak, dtype=np.float64)
    if not ((array > 0) & (array <= 1)).all():
        raise ArgumentError(f"leak lies in (0, 1]; got {leak!r}")
    return array
