"""What the launchers of the recurrences share: arguments as kernels take them, and the choice between two layouts.

Steps: for each step one matrix product, and one kernel for all that follows it. Rows: one launch for the sequence, one
block for each lane, with the recurrent weights in registers and shared memory; for few units, where launches and not
arithmetic take the time. [Diamos et al. 2016, Persistent RNNs]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .machine import Machine, machine_for

__all__ = ["THREADS", "Order", "RowPlan", "device_lengths", "prepared", "row_plan", "run_steps"]

THREADS = 256  # of a block, where one thread serves one entry
OVERHEAD = 64  # registers of a row kernel beside its weights
WAVES = 2  # lanes beyond so many for each multiprocessor share one matrix product instead


class RowPlan(NamedTuple):
    """How a row kernel lies on the device."""

    threads: int
    defines: dict[str, int]
    shared: int


def row_plan(machine: Machine, gates: int, units: int, batch: int, dtype: Any) -> RowPlan | None:
    """The layout of a row kernel; None where the weights of a lane do not fit on one multiprocessor.

    A thread holds `units` weights. As many as its registers take lie there, the others in shared memory, which also
    holds up to 8 numbers a unit that the threads exchange.
    """
    threads = gates * units
    properties = machine.properties
    if not 0 < threads <= properties.threads_per_block or batch > WAVES * properties.multiprocessors:
        return None
    size = np.dtype(dtype).itemsize
    warps = -(-threads // 128) * 128  # registers are given to four warps at a time
    spare = min(255, properties.registers // warps) - OVERHEAD
    kept = min(units, max(0, spare // (size // 4)) // 4 * 4)
    shared = ((units - kept) * threads + 8 * units) * size
    if shared > properties.shared_per_block:
        return None
    return RowPlan(threads, {"UNITS": units, "KEPT": kept}, shared)


class Order(NamedTuple):
    """One step of a recurrence: its time, and that of the step before it, -1 for none."""

    t: int
    before: int

    @staticmethod
    def of(steps: int, reverse: bool) -> list[Order]:
        """All steps in the order in which the recurrence runs."""
        order = range(steps - 1, -1, -1) if reverse else range(steps)
        return [Order(t, before) for t, before in zip(order, [-1, *order])]


def run_steps(
    machine: Machine,
    key: tuple[Any, ...],
    loop: Callable[..., None],
    lengths: Any,
    reads: Sequence[Any],
    updates: Sequence[Any] = (),
    writes: Sequence[Any] = (),
) -> None:
    """Run a loop over time, as one graph where the machine keeps graphs; with lengths, which change, step by step."""
    if lengths is None:
        machine.sequence(key, loop, reads, updates, writes)
    else:
        loop(*reads, *updates, *writes)


def prepared(*arrays: Any) -> tuple[Any, ...]:
    """The machine, and the arrays as its kernels take them: C-contiguous, and all of one floating dtype.

    Raises TypeError for two dtypes.
    """
    machine = machine_for(*arrays)
    kinds = {each.dtype for each in arrays if each is not None}
    if len(kinds) > 1:
        found = ", ".join(sorted(str(kind) for kind in kinds))
        raise TypeError(f"a kernel computes in one dtype; got {found}. Cast: x.astype(np.float32)")
    contiguous = machine.xp.ascontiguousarray
    return machine, *[each if each is None else contiguous(each) for each in arrays]


def device_lengths(machine: Machine, lengths: Any) -> Any:
    """Lengths as C ints on the device; None stays None."""
    return None if lengths is None else machine.xp.ascontiguousarray(machine.xp.asarray(lengths).astype(np.int32))
