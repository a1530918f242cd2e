"""The launcher of embedding.cu: the gradient of a table whose rows were looked up."""

from __future__ import annotations

from typing import Any

import numpy as np

from .machine import blocks
from .recurrence import THREADS, prepared

FILE = "embedding.cu"


def embedding_gradient(dy: Any, ids: Any, count: int) -> Any:
    """``dw[ids[n]] += dy[n]`` on zeros; arguments and result as in `reference`."""
    machine, dy = prepared(dy)
    width = dy.shape[-1]
    dw = machine.zeros((count, width), dy.dtype)
    if dy.size == 0:
        return dw
    rows = machine.xp.asarray(ids, np.int64).reshape(-1) % count
    places = rows.size
    # sorted together with their places, so that equal ones keep their order where the sort does not promise it
    keys = machine.xp.sort(rows * places + machine.xp.arange(places, dtype=np.int64))
    arguments = dy, keys % places, keys // places, dw, places, width
    machine.launch(FILE, "embedding_gradient", blocks(places * width, THREADS), THREADS, *arguments, real=dy.dtype)
    return dw
