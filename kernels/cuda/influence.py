"""Launchers of influence.cu: one step of real-time recurrent learning, J <- D J + I. [Williams & Zipser 1989]"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .machine import Machine, blocks
from .recurrence import THREADS, prepared

FILE = "influence.cu"
PANEL, ROWS = 32, 8  # as in the text
LARGEST = 128  # units; beyond, cuBLAS multiplies faster than the kernel
SCRATCH = 1 << 24  # entries of J that are multiplied at once there
STATES = 8  # of a unit, in the text


def influence_pack(influence: Any) -> Any:
    """The order in which the updates work; as in `reference`."""
    return influence


def influence_unpack(packed: Any, shape: tuple[int, ...]) -> Any:
    """The influence out of what was packed; as in `reference`."""
    return packed.reshape(shape)


def influence_update_dense(influence: Any, d: Any) -> Any:
    """J <- D J; arguments and result as in `reference`."""
    machine, _, d = prepared(influence, d)
    with _in_place(machine, influence) as work:
        _multiply(machine, work, d)
    return influence


def influence_update_diagonal(influence: Any, decay: Any, units: Any) -> Any:
    """E <- λ E; arguments and result as in `reference`.

    Raises ValueError for units of over 8 states.
    """
    machine, _, decay = prepared(influence, decay)
    lanes, states, size = influence.shape
    if states > STATES:
        raise ValueError(f"influence_update_diagonal serves units of up to {STATES} states; got {states}")
    owners = machine.xp.ascontiguousarray(machine.xp.asarray(units, np.int64))
    with _in_place(machine, influence) as work:
        grid = blocks(size, THREADS), lanes
        arguments = work, decay, owners, states, decay.shape[3], np.int64(size)
        machine.launch(FILE, "influence_diagonal", grid, THREADS, *arguments, real=work.dtype)
    return influence


def influence_update_elman(influence: Any, w_hh: Any, slope: Any, a: Any, q: Any) -> Any:
    """The influence of an Elman network; arguments and result as in `reference`."""
    machine, _, w_hh, slope, a, q = prepared(influence, w_hh, slope, a, q)
    (batch, units), real = slope.shape, slope.dtype
    d = machine.empty((batch, units, units), real)
    _each(machine, "elman_slopes", d.size, d, slope, w_hh, batch, units, real=real)
    with _in_place(machine, influence) as work:
        _multiply(machine, work.reshape(batch, units, -1), d)
        m = a.shape[1]
        _each(machine, "elman_own", batch * units * m, work, slope, a, batch, units, m, real=real)
    return _gradient(machine, influence, q)


def influence_update_gru(
    influence: Any, w_hh: Any, h: Any, gates: Any, inner: Any, a: Any, q: Any, recurrent: int, reset_after: bool = True
) -> Any:
    """The influence of a GRU; arguments and result as in `reference`."""
    machine, _, w_hh, h, gates, inner, a, q = prepared(influence, w_hh, h, gates, inner, a, q)
    (batch, units), real, m = h.shape, h.dtype, a.shape[1]
    d = machine.empty((batch, units, units), real)
    slope_r = machine.empty((batch, units) if reset_after else d.shape, real)
    slope_z, slope_n = machine.empty((batch, units), real), machine.empty((batch, units), real)
    slopes = slope_r, slope_z, slope_n
    arguments = d, *slopes, w_hh, h, gates, inner, batch, units, reset_after
    _each(machine, "gru_slopes", d.size, *arguments, real=real)
    if not reset_after:
        d += machine.xp.matmul(slope_r, w_hh[:units])
    with _in_place(machine, influence) as work:
        _multiply(machine, work.reshape(batch, units, -1), d)
        arguments = work, *slopes, gates, inner, a, recurrent, batch, units, m, reset_after
        _each(machine, "gru_own", batch * units * m, *arguments, real=real)
    return _gradient(machine, influence, q)


def influence_update_lstm(influence: Any, w_hh: Any, c: Any, c_new: Any, gates: Any, a: Any, q: Any) -> Any:
    """The influence of an LSTM; arguments and result as in `reference`."""
    machine, _, w_hh, c, c_new, gates, a, q = prepared(influence, w_hh, c, c_new, gates, a, q)
    (batch, units), real, m = c.shape, c.dtype, a.shape[1]
    d, d_o = (machine.empty((batch, units, units), real) for _ in range(2))
    through, slopes = machine.empty((batch, units), real), machine.empty((4, batch, units), real)
    arguments = d, d_o, through, slopes, w_hh, c, c_new, gates, batch, units
    _each(machine, "lstm_slopes", d.size, *arguments, real=real)
    with _in_place(machine, influence) as work:
        on_h, on_c = work.reshape(2, batch, units, -1)
        size = on_h.shape[2]
        if _served(machine, units, real):
            forget = gates.reshape(-1)[units:]  # of each lane 4 units numbers after that of the one before
            arguments = on_h, on_c, d, d_o, forget, 4 * units, through, units, np.int64(size)
            grid, shared = (blocks(size, PANEL), batch), units * PANEL * real.itemsize
            machine.launch(FILE, "influence_lstm", grid, PANEL * ROWS, *arguments, real=real, shared=shared)
        else:
            on_c *= gates[:, units : 2 * units, None]
            for panel in _panels(on_h):
                on_c[panel] += machine.xp.matmul(d, on_h[panel])
                on_h[panel] = machine.xp.matmul(d_o, on_h[panel])
                on_h[panel] += through[:, :, None] * on_c[panel]
        arguments = on_h, on_c, through, slopes, a, batch, units, m
        _each(machine, "lstm_own", batch * units * m, *arguments, real=real)
    return _gradient(machine, influence[0], q)


# ---- small parts


def _each(machine: Machine, kernel: str, items: int, *arguments: Any, real: Any) -> None:
    """Launch one thread for each item."""
    machine.launch(FILE, kernel, blocks(items, THREADS), THREADS, *arguments, real=real)


@contextmanager
def _in_place(machine: Machine, influence: Any) -> Iterator[Any]:
    """The array itself if kernels can write to it, else a copy that is written back."""
    work = influence if influence.flags.c_contiguous else machine.xp.ascontiguousarray(influence)
    yield work
    if work is not influence:
        influence[...] = work


def _gradient(machine: Machine, influence: Any, q: Any) -> Any:
    """q J, (G H, m)."""
    _, units, gates, _, columns = influence.shape
    return machine.xp.matmul(q.reshape(1, -1), influence.reshape(q.size, -1)).reshape(gates * units, columns)


def _served(machine: Machine, units: int, real: Any) -> bool:
    return units <= LARGEST and units * PANEL * real.itemsize <= machine.properties.shared_per_block


def _panels(influence: Any) -> Iterator[Any]:
    lanes, units, size = influence.shape
    width = max(1, SCRATCH // max(1, lanes * units))
    for start in range(0, size, width):
        yield slice(None), slice(None), slice(start, start + width)


def _multiply(machine: Machine, influence: Any, d: Any) -> None:
    """J <- D J, in place."""
    lanes, units, size = influence.shape
    real = influence.dtype
    if _served(machine, units, real):
        grid, shared = (blocks(size, PANEL), lanes), units * PANEL * real.itemsize
        arguments = influence, d, units, np.int64(size)
        machine.launch(FILE, "influence_dense", grid, PANEL * ROWS, *arguments, real=real, shared=shared)
    else:
        for panel in _panels(influence):
            influence[panel] = machine.xp.matmul(d, influence[panel])
