"""Eligibility propagation: what stays inside a unit is exact, what passes between units is dropped.

    ε_t = (∂s_t/∂s_{t-1}) ε_{t-1} + ∂s_t/∂θ,    g_t = L_t (∂z_t/∂s_t) ε_t

s: the hidden state of the unit that θ acts on, z: its output, through which alone units reach each other. All paths
through z_{t-1} are left to the learning signal L. [Bellec et al. 2020, "A solution to the learning dilemma for
recurrent networks of spiking neurons", eq. 2 to 4]
"""

from __future__ import annotations

from typing import Any

from .forward import ForwardLearner
from .jacobian import Pulled
from .rule import Cost, Rule
from .units import Feedback, SignalledLearner, check_feedback


class EProp(Rule):
    """E-prop, online: p numbers for each part of the state and about p multiplications a lane, biased.

    The first part of a state is the output z, the others are the hidden state s of each unit: (h, c) of an LSTM, spike
    and membrane potential of a spiking neuron. A state of one part is its own hidden state, and must be element-wise.

    feedback: None for L = ∂ℓ/∂output, or a function of (output, t) that returns the learning signal, (B, H). With the
        total derivative of all losses with respect to the output at t, the gradient is that of BPTT, which is the
        factorisation that e-prop starts from.

    Serves cells whose hidden states depend on those of their own unit alone, and whose parameters act on one unit each.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.LSTMCell(2, 3, rng=0), tg.ones((4, 1, 2))
    >>> tg.gradients.EProp().gradient(cell, xs, lambda y, t: tg.sum(y)).gradients["weight_hh"].shape
    (12, 3)
    """

    exactness = "biased"

    def __init__(self, feedback: Feedback | None = None) -> None:
        check_feedback(feedback)
        self.feedback = feedback

    def __repr__(self) -> str:
        return "EProp()" if self.feedback is None else "EProp(feedback=...)"

    def start(self, cell: Any, batch: int, state: Any = None) -> ForwardLearner:
        return EPropLearner(cell, batch, state, self.feedback)

    def coverage(self, cell: Any) -> dict[str, str]:
        self.start(cell, 1)
        return super().coverage(cell)

    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        return EPropLearner(cell, batch, None, None).total_cost(steps)


class EPropLearner(SignalledLearner):
    """A stream with the eligibility of each parameter, on every part of its unit."""

    rule, otherwise = "EProp", "Use SnAp(1), which takes each unit's own entry of D."

    def carried(self) -> slice:
        return slice(1 if self.parts > 1 else 0, None)

    def decay(self, found: Pulled) -> Any:
        decay = self.by_unit(found)
        if self.parts > 1:
            decay = decay.copy()
            decay[:, :, 0] = 0  # from the output before
        return decay
