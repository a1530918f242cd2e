"""Looking inside: what a tape recorded, and how derivatives pass through the layers of a model."""

from .jacobian import GradientFlow, JacobianSpectrum, gradient_flow, jacobian_spectrum
from .table import table

__all__ = ["GradientFlow", "JacobianSpectrum", "gradient_flow", "jacobian_spectrum", "table"]
