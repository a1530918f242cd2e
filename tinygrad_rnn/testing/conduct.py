"""How a function must behave to be checked: it repeats itself, and its gradients keep their memory to themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from .numeric import EPS, ROUNDINGS
from .report import GradientCheckError


def check_repeats(subject: Any) -> None:
    """Raise GradientCheckError if a second call at the same inputs gives something else."""
    first, again = subject.first, subject.base()
    if (again == first).all():
        return
    # a threaded sum may round differently each time; more than that is another function
    with np.errstate(invalid="ignore"):
        size = np.abs(first[np.isfinite(first)]).max(initial=0.0)
        differs = ~((again == first) | (abs(again - first) <= ROUNDINGS * EPS * size))
    if differs.any():
        at = int(np.flatnonzero(differs)[0])
        raise GradientCheckError(
            f"fn is not deterministic: two calls at the same inputs gave {first[at]:.10g} and {again[at]:.10g} "
            f"at output index {subject.output_index(at)}. Draw random numbers outside fn."
        )


def check_memory(subject: Any, v: Any) -> None:
    """Raise GradientCheckError if gradients share memory, if a rule writes to its cotangent, or if sweeps differ.

    v: a flat cotangent of the results, an array of its own.
    """
    kept = np.array(v)
    gradients = subject.pull(v)
    if not (v == kept).all():
        raise GradientCheckError("the vjp wrote into its cotangent. Compute g * 2, don't write g *= 2.")
    again = subject.pull(v)
    for k, g, other in zip(subject.wrt, gradients, again):
        x = subject.points[k]
        if g.dtype != x.dtype or g.shape != x.shape:
            raise GradientCheckError(
                f"the gradient of input {k} is {g.dtype} {g.shape}, and the input {x.dtype} {x.shape}"
            )
        if not np.array_equal(g, other) and not np.allclose(g, other, 1e-12, 0, equal_nan=True):
            raise GradientCheckError(f"the gradient of input {k} is not deterministic: two sweeps differ")
    named = [(f"the gradient of input {k}", g) for k, g in zip(subject.wrt, gradients)]
    others = [*named, ("the cotangent", v), *((f"input {k}", x) for k, x in enumerate(subject.points))]
    for i, (name, g) in enumerate(named):
        for other_name, other in others[i + 1 :]:
            if np.may_share_memory(g, other) and np.shares_memory(g, other):
                raise GradientCheckError(f"{name} shares memory with {other_name}; return a new array")
