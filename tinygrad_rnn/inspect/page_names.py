"""Names for what a tape holds: those of the variables, Modules and dictionaries in which its Tensors lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..nn.module import Module
from ..tape import Tape, user_frame
from ..tensor import Tensor
from ..transforms import _slot_of


def names_by_slot(tape: Tape, variables: Mapping[str, Any]) -> dict[int, str]:
    """Name the slots of a tape after variables; of several names the first stands.

    variables: {name: value}, such as ``locals()`` or ``dict(model.named_parameters())``. A Tensor gets its name, the
    parameters of a Module ``name.parameter``, Tensors in lists, tuples and dictionaries ``name[0]`` or ``name[key]``.
    Everything else, and names that begin with an underscore, are skipped.
    """
    found: dict[int, str] = {}
    for name, value in variables.items():
        if isinstance(name, str) and not name.startswith("_"):
            for label, each in _tensors(name, value):
                slot = _slot_of(tape, each)
                if slot is not None:
                    found.setdefault(slot, label)
    return found


def variables_of_caller(depth: int = 2) -> dict[str, Any]:
    """The variables that the user's innermost frame sees: its own, then those of its module."""
    frame = user_frame(depth)
    found = dict(frame.f_locals)
    for name, value in frame.f_globals.items():
        found.setdefault(name, value)
    return found


def _tensors(name: str, value: Any) -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(name, value)]
    if isinstance(value, Module):
        return [(f"{name}.{path}", parameter) for path, parameter in value.named_parameters()]
    if type(value) is dict and len(value) <= 1000:
        return [(f"{name}[{key}]", each) for key, each in value.items() if isinstance(each, Tensor)]
    if type(value) in (list, tuple) and len(value) <= 1000:
        return [(f"{name}[{i}]", each) for i, each in enumerate(value) if isinstance(each, Tensor)]
    return []
