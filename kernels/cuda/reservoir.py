"""The launcher of reservoir.cu: the leaky reservoir of an echo-state network. [Jaeger 2001]"""

from __future__ import annotations

from typing import Any

import numpy as np

from .machine import blocks
from .recurrence import THREADS, device_lengths, prepared

FILE = "reservoir.cu"
NONLINEARITIES = ("tanh", "identity", "relu", "sigmoid")  # in the text's order
DENSE, RING, SPARSE = range(3)


def reservoir_run(
    xw: Any, w: Any, h0: Any, leak: Any, lengths: Any = None, reverse: bool = False, nonlinearity: str = "tanh"
) -> Any:
    """Run a leaky reservoir over a whole sequence; arguments and result as in `reference`."""
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f'nonlinearity is "tanh", "identity", "relu" or "sigmoid"; got {nonlinearity!r}')
    indptr, indices, weights = w if isinstance(w, tuple) else (None, None, w)
    machine, h, weights, h0, leak = prepared(xw, weights, h0, leak)
    steps, batch, units = h.shape
    if not h.size:
        return h
    form = SPARSE if indptr is not None else DENSE if weights.ndim == 2 else RING
    rows, columns = device_lengths(machine, indptr), device_lengths(machine, indices)
    warps = THREADS // 32
    grid = min(machine.properties.multiprocessors, blocks(batch * units, warps))  # all of them at once
    arrived = machine.zeros((1,), np.uint32)
    machine.launch(
        FILE, "reservoir_run", grid, THREADS,
        h, form, weights, rows, columns, h0, leak, device_lengths(machine, lengths), arrived,
        steps, batch, units, reverse, NONLINEARITIES.index(nonlinearity),
        real=h.dtype, cooperative=True,
    )  # fmt: skip
    return h
