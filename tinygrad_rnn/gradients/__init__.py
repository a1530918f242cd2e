"""Gradient rules for recurrences, behind one interface: `Rule`.

Every exact rule serves every cell: anything with ``initial_state(batch)`` and ``cell(x, state) -> state``. A rule that
makes use of more says so where it meets a cell that has less.
"""

from .artbp import ARTBP
from .bptt import BPTT, TruncatedBPTT
from .checkpointed import CheckpointedBPTT
from .compare import Comparison, RuleComparison, compare
from .diagonal import DiagonalRTRL
from .dni import DNI
from .eprop import EProp
from .hybrid import Hybrid
from .kf_rtrl import KroneckerRTRL
from .ktp import KTP
from .optimal_kronecker import OptimalKronecker
from .rflo import RFLO
from .rtrl import RTRL
from .rule import Cost, GradientResult, Learner, Rule, Step
from .snap import SnAp
from .uoro import UORO

__all__ = [
    "ARTBP", "BPTT", "DNI", "KTP", "RFLO", "RTRL", "UORO", "CheckpointedBPTT", "Comparison", "Cost", "DiagonalRTRL",
    "EProp", "GradientResult", "Hybrid", "KroneckerRTRL", "Learner", "OptimalKronecker", "Rule", "RuleComparison",
    "SnAp", "Step", "TruncatedBPTT", "compare",
]  # fmt: skip
