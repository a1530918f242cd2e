"""Gradient rules for recurrences, behind one interface: `Rule`.

Every rule serves every cell: anything with ``initial_state(batch)`` and ``cell(x, state) -> state``.
"""

from .bptt import BPTT, TruncatedBPTT
from .rule import Cost, GradientResult, Learner, Rule, Step

__all__ = ["BPTT", "Cost", "GradientResult", "Learner", "Rule", "Step", "TruncatedBPTT"]
