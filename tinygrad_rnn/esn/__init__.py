"""Echo-state networks: reservoirs, which are cells; readouts; and models in the style of scikit-learn.

`Reservoir` draws and runs; `ESN` is a reservoir with a ridge readout; `ridge` is the same solve for a tape.
"""

from . import matrices
from .classifier import ESNClassifier
from .conceptor import Memory, adapt_aperture, conceptor, conjunction, disjunction, load, negation
from .deep import BidirectionalReservoir, DeepESN, DeepReservoir
from .estimator import NotFittedError
from .model import ESN, ConstantInputWarning, ESNState
from .nvar import NVAR
from .plasticity import Adapted, intrinsic_plasticity
from .readout import LMS, RLS, SoftmaxReadout, force
from .reservoir import Reservoir
from .ridge import IllConditionedWarning, RidgeSolution, RidgeStatistics, fit_ridge, ridge

__all__ = [
    "ESN", "LMS", "NVAR", "RLS", "Adapted", "BidirectionalReservoir", "ConstantInputWarning", "DeepESN",
    "DeepReservoir", "ESNClassifier", "ESNState", "IllConditionedWarning", "Memory", "NotFittedError", "Reservoir",
    "RidgeSolution", "RidgeStatistics", "SoftmaxReadout", "adapt_aperture", "conceptor", "conjunction", "disjunction",
    "fit_ridge", "force", "intrinsic_plasticity", "load", "matrices", "negation", "ridge",
]  # fmt: skip
