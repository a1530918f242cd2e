"""Optimisers, learning-rate schedules and gradient clipping."""

from .adagrad import Adagrad
from .adam import Adam, AdamW
from .clipping import clip_by_norm, clip_by_value, clip_grad_norm, clip_grad_value, global_norm
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .schedules import CosineDecay, Schedule, StepDecay, WarmUp
from .sgd import SGD

__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "CosineDecay", "Optimizer", "RMSprop", "Schedule", "StepDecay", "WarmUp",
    "clip_by_norm", "clip_by_value", "clip_grad_norm", "clip_grad_value", "global_norm",
]  # fmt: skip
