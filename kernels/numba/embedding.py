"""The gradient of a table whose rows were looked up: rows of cotangents, added where their row came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from .common import integers, plain
from .compiling import jit
from .recurrence import flat
from .simd import add_to


def embedding_gradient(dy: Any, ids: Any, count: int) -> Any:
    """Add every cotangent to its row; arguments and result as in `reference`."""
    dw = np.zeros((count, dy.shape[-1]), dy.dtype)
    _add_rows(*flat(plain(dy), integers(ids), dw), count, dy.shape[-1])
    return dw


@jit
def _add_rows(dy, ids, dw, count, size):
    """In the order of the look-ups."""
    for n in range(ids.size):
        row = ids[n] + count if ids[n] < 0 else ids[n]
        add_to(dy, n * size, dw, row * size, size)
