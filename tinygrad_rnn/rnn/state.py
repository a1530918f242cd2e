"""What a state is: a Tensor, or a tuple of Tensors whose first is the output. And the checks of a sequence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, DTypeError, ShapeError
from ..tape import user_line
from ..tensor import Tensor, asarray


def leaves_of(state: Any) -> list[Tensor]:
    """The Tensors of a state, which is a Tensor or a tuple of Tensors."""
    return list(state) if isinstance(state, (tuple, list)) else [state]


def like_state(state: Any, leaves: Iterable[Any]) -> Any:
    """Put leaves back into the form of a state."""
    leaves = list(leaves)
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*leaves)
    return type(state)(leaves) if isinstance(state, (tuple, list)) else leaves[0]


def detached(state: Any) -> Any:
    """The same state with no history."""
    return like_state(state, [leaf.detach() for leaf in leaves_of(state)])


def check_sequence(xs: Any) -> Tensor:
    """Return xs as a Tensor (T, B, ...) with at least one step and one lane."""
    xs = xs if isinstance(xs, Tensor) else asarray(xs)
    if xs.ndim < 2:
        raise ShapeError(f"a sequence expects xs of shape (T, B, I); got {xs.shape}        at {user_line()}")
    steps, batch, *_ = xs.shape
    if steps == 0 or batch == 0:
        name, letter = ("time step", "T") if steps == 0 else ("lane", "B")
        raise DataError(
            f"a sequence needs at least one {name}; xs has shape {xs.shape}, {letter} = 0        at {user_line()}"
        )
    return xs


def check_lengths(lengths: Any, steps: int, batch: int) -> Any:
    """Return lengths as NumPy int64 (B,), each from 1 to T; None stays None."""
    if lengths is None:
        return None
    found = np.asarray(lengths.numpy() if isinstance(lengths, Tensor) else lengths)
    if found.dtype.kind not in "iu":
        raise DTypeError(f"lengths are integers, one a lane; got {found.dtype}        at {user_line()}")
    if found.shape != (batch,):
        raise ShapeError(f"lengths expects shape ({batch},), one a lane; got {found.shape}        at {user_line()}")
    if found.min() < 1 or found.max() > steps:
        wrong = found[(found < 1) | (found > steps)][0]
        raise ArgumentError(
            f"lengths lie in 1..T, and T is {steps}; got {wrong}. Drop empty sequences, or pad xs."
            f"        at {user_line()}"
        )
    return found.astype(np.int64)
