"""Which record of a tape is wrong: each is examined on its own, at the values that it saw."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import TinygradRNNError
from ..tape import CONSTANT
from .examine import Examination
from .report import GradReport
from .subjects import TensorSubject

_MOST = 300  # records to examine; a longer tape repeats itself


def suspect(tape: Any, report: GradReport) -> Any:
    """The first record whose own rule fails an examination, or None.

    tape: the records of the function under test, on plain arrays.  report: of the failed check; its mode tells
    which rules to look at.
    """
    modes = ("fwd",) if report.mode == "fwd" else ("rev",) if report.mode == "rev" else ("rev", "fwd", "dot")
    kinks = "subgradient" if report.options.get("kinks") == "subgradient" else "inconclusive"
    seen: dict[Any, int] = {}
    examined = 0
    for record in tape:
        if not record.primitive.differentiable or examined >= _MOST:
            continue
        key = (record.primitive.name, tuple(getattr(value, "shape", None) for value in record.values))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 8:  # the same operation on the same shapes
            continue
        examined += 1
        if _fails(record, modes, kinks) or (report.order == 2 and _fails(record, modes, kinks, order=2)):
            return record
    return None


def _fails(record: Any, modes: tuple[str, ...], kinks: str, order: int = 1) -> bool:
    moving = [
        k
        for k, (slot, value) in enumerate(zip(record.inputs, record.values))
        if slot != CONSTANT and getattr(value, "dtype", None) == np.float64
    ]
    if not moving:
        return False
    backends = [record.backend if k in moving else None for k in range(len(record.values))]
    points = [
        np.asarray(x) if k in moving and record.backend.name == "numpy" else x for k, x in enumerate(record.values)
    ]
    options: dict[str, Any] = {
        "modes": modes, "order": order, "method": "auto", "exhaustive": "auto", "directions": 2,
        "kinks": kinks, "seed": 0, "rtol": None, "atol": None,
    }  # fmt: skip
    try:
        subject: Any = TensorSubject(lambda *xs: record.primitive(*xs, **record.params), points, moving, backends)
        if order == 2:
            from .check import second

            subject = second(subject)
        return Examination(subject, modes, options).run(False, False).verdict == "fail"
    except (TinygradRNNError, ArithmeticError, TypeError, ValueError):
        return False
