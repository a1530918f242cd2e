"""Modules: what has parameters, and how parameters start."""

from ..tensor import Parameter
from . import init
from .batch_norm import BatchNorm
from .container import Sequential
from .convolution import AvgPool2d, Conv1d, Conv2d, MaxPool2d
from .dropout import Dropout, Spread, StochasticDepth, VariationalDropout, monte_carlo
from .embedding import Embedding
from .linear import Linear
from .module import Module
from .normalization import LayerNorm
from .penalty import adaptive_weight_decay, l1_penalty, l2_penalty
from .residual import HighwayBlock, PaddedShortcut, Residual, ResidualConvBlock, ResidualMLPBlock
from .resnet import ResidualMLP, ResNet

__all__ = [
    "AvgPool2d", "BatchNorm", "Conv1d", "Conv2d", "Dropout", "Embedding", "HighwayBlock", "LayerNorm", "Linear",
    "MaxPool2d", "Module", "PaddedShortcut", "Parameter", "ResNet", "Residual", "ResidualConvBlock", "ResidualMLP",
    "ResidualMLPBlock", "Sequential", "Spread", "StochasticDepth", "VariationalDropout", "adaptive_weight_decay",
    "init", "l1_penalty", "l2_penalty", "monte_carlo",
]  # fmt: skip
