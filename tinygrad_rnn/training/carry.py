"""What a loss carries from one step to the next, such as the state of a recurrent network: cut off, and saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, SnapshotError
from ..tensor import Tensor, tensor


def detached(carry: Any) -> Any:
    """The same values with no history, in the same form: truncated back-propagation through time.

    carry: None, a Tensor, an array, a number, a text, or a tuple, list or dict of such.
    Raises ArgumentError for anything else.
    """
    return _mapped(carry, lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf)


def packed(carry: Any) -> tuple[dict[str, Any], Any]:
    """The arrays of a carry by their number, and its form as JSON.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.training.carry import packed
    >>> packed((tg.ones((1,)), None))
    ({'0': array([1.], dtype=float32)}, {'tuple': [{'tensor': 0}, {'value': None}]})
    """
    arrays: dict[str, Any] = {}

    def form(part: Any) -> Any:
        if isinstance(part, (Tensor, np.ndarray)):
            kind = "tensor" if isinstance(part, Tensor) else "array"
            arrays[str(len(arrays))] = part.numpy() if isinstance(part, Tensor) else part
            return {kind: len(arrays) - 1}
        if isinstance(part, (tuple, list)):
            return {"tuple" if isinstance(part, tuple) else "list": [form(each) for each in part]}
        if isinstance(part, dict):
            return {"dict": [[key, form(each)] for key, each in part.items()]}
        return {"value": part.item() if isinstance(part, np.generic) else part}

    whole = form(carry)
    return arrays, whole


def unpacked(arrays: Mapping[str, Any], form: Any, backend: str) -> Any:
    """The carry that `packed` took apart, its Tensors on a backend; a NamedTuple comes back as a tuple.

    Raises SnapshotError if arrays and form do not belong together.
    """
    used: set[str] = set()

    def part(form: Any) -> Any:
        (kind, inside), *others = form.items()
        if others:
            raise ValueError(f"{form!r} is not one part")
        if kind in ("tensor", "array"):
            used.add(str(inside))
            array = arrays[str(inside)]
            return tensor(array, backend=backend) if kind == "tensor" else array
        if kind in ("tuple", "list"):
            listed = [part(each) for each in inside]
            return tuple(listed) if kind == "tuple" else listed
        if kind == "dict":
            return {key: part(each) for key, each in inside}
        if kind == "value":
            return inside
        raise ValueError(f"{kind!r} is no kind of part")

    try:
        whole = part(form)
        if used != set(arrays):
            raise ValueError("arrays are left over")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"the state that the loss carries is damaged: {error}") from error
    return whole


def _mapped(carry: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(carry, tuple) and hasattr(carry, "_fields"):
        return type(carry)(*[_mapped(each, change) for each in carry])
    if isinstance(carry, (tuple, list)):
        return type(carry)([_mapped(each, change) for each in carry])
    if isinstance(carry, dict):
        return {key: _mapped(each, change) for key, each in carry.items()}
    if carry is None or isinstance(carry, (Tensor, np.ndarray, np.generic, bool, int, float, str)):
        return change(carry)
    raise ArgumentError(
        "what a loss carries to the next step is Tensors, arrays, numbers, and tuples, lists and dicts of them; "
        f"got a {type(carry).__name__}"
    )
