"""Modules: what has parameters, and how parameters start."""

from ..tensor import Parameter
from . import init
from .container import Sequential
from .dropout import Dropout
from .embedding import Embedding
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

__all__ = ["Dropout", "Embedding", "LayerNorm", "Linear", "Module", "Parameter", "Sequential", "init"]
