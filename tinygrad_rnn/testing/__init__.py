"""Property-based gradient testing: is the gradient of this function right?"""

from typing import TYPE_CHECKING, Any

from .check import check_gradients
from .foreign import Foreign, autograd_function, jax_function, torch_function
from .report import GradientCheckError, GradReport

if TYPE_CHECKING:
    from .decorators import ParityError, gradcheck, parity
    from .machine import TapeMachine
    from .mutation import KINDS, Mutant, mutants, mutate
    from .operations import SMOOTH, Operation
    from .program import Program, programs
    from .strategies import CELLS, DOMAINS, CellCase, SquaredError, broadcastable, cells, cotangents, shapes, tensors

__all__ = [
    "CELLS",
    "DOMAINS",
    "KINDS",
    "SMOOTH",
    "CellCase",
    "Foreign",
    "GradReport",
    "GradientCheckError",
    "Mutant",
    "Operation",
    "ParityError",
    "Program",
    "SquaredError",
    "TapeMachine",
    "autograd_function",
    "broadcastable",
    "cells",
    "check_gradients",
    "cotangents",
    "gradcheck",
    "jax_function",
    "mutants",
    "mutate",
    "parity",
    "programs",
    "shapes",
    "tensors",
    "torch_function",
]

# What stands on Hypothesis is imported when it is first used, so that `check_gradients` does without it.
_WITH_HYPOTHESIS = {
    "decorators": ("ParityError", "gradcheck", "parity"),
    "machine": ("TapeMachine",),
    "mutation": ("KINDS", "Mutant", "mutants", "mutate"),
    "operations": ("SMOOTH", "Operation"),
    "program": ("Program", "programs"),
    "strategies": (
        "CELLS",
        "DOMAINS",
        "CellCase",
        "SquaredError",
        "broadcastable",
        "cells",
        "cotangents",
        "shapes",
        "tensors",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _WITH_HYPOTHESIS.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
