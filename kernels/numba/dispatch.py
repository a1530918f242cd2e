"""Which of the two levels runs, and how it is shared among threads: by shape and thread count alone."""

from __future__ import annotations

import functools
from typing import NamedTuple

from .simd import HOST
from .threads import thread_count


class Split(NamedTuple):
    """How the work is cut: along the units (in lockstep, one barrier a step) or along the lanes."""

    parts: int
    by_units: bool


def fast(steps: int, batch: int, size: int) -> bool:
    """Whether vectors and packed weights pay.

    Plain loops serve hosts without a fused multiply-add on vectors, and sizes at which packing and padding to whole
    panels costs as much as it saves; they also compile in a third of the time.
    """
    return HOST is not None and size >= 8 and steps * batch * size >= 64


def split(steps: int, batch: int, size: int, gates: int) -> Split:
    """How a recurrence is shared among this process's threads."""
    return _split(thread_count(), steps, batch, size, gates)


@functools.lru_cache(maxsize=1024)
def _split(threads: int, steps: int, batch: int, size: int, gates: int) -> Split:
    """Cut along the lanes where each thread's weights fit its cache; else along the units.

    Lanes do not meet before the end, so cutting them needs no barrier; but every thread reads all the weights. At
    512 units those of an LSTM are 4 MB, more than a core's own cache: half of them each, and a barrier a step, is
    faster. So it is for few lanes, unless a step is so short that the barrier is most of it.
    """
    work = steps * batch * gates * size * size  # multiply-adds; a thread that has slept needs 0.1 ms to begin
    if threads == 1 or work < 1_000_000:
        return Split(1, False)
    if batch >= 8 and size < 512:
        return Split(min(threads, batch // 4), False)
    if batch * gates * size * size >= 16_000:
        return Split(min(threads, 4, size // 32), True) if size >= 64 else Split(1, False)
    return Split(1, False)
