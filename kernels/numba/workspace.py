"""Large arrays come from a pool: fresh memory costs a page fault every 4 kB, some milliseconds for 100 MB."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
from typing import Any

import numpy as np

POOLED = 1 << 17  # bytes; below, the allocator of the C library keeps the memory itself
SHARE = 8  # what waits for its next use takes at most this part of the machine's memory
STEPS = 4  # sizes of blocks have so many leading bits, so that arrays of about one size share them
SCRATCH = 64 << 20  # bytes that a thread keeps for its kernels at most
KNOWN = 64  # lists of sizes whose arrays are kept
ALIGNMENT = 64  # a cache line: a vector load across two costs a matrix-vector product half its speed


def _kept() -> int:
    """Bytes that wait for their next use at most: on a virtual machine, fresh memory costs up to 10 µs a page."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # a system that does not say
        memory = 4 << 30
    return min(memory // SHARE, 2 << 30)


KEPT = _kept()
_free: dict[int, list[tuple[Any, int]]] = {}  # memory by its size, each with the bytes up to its first cache line
_held = 0
_lock = threading.Lock()


class _Block:
    """Memory that goes back to the pool when the last array on it is gone: it is their base, and no array itself."""

    waiting: tuple[Any, int]  # what goes back

    def __del__(self) -> None:
        global _held
        # a collection may run this inside the lock below: then the memory is simply freed
        if _lock.acquire(blocking=False):
            try:
                size = self.waiting[0].nbytes
                if _held + size > KEPT:  # sizes change: what waits is not wanted any more
                    _free.clear()
                    _held = 0
                if size <= KEPT:
                    _free.setdefault(size, []).append(self.waiting)
                    _held += size
            finally:
                _lock.release()


@functools.cache  # there are few sizes
def _block_of(size: int) -> Any:
    """A block as NumPy takes memory from: a type of `ctypes`, which has its size."""
    return type("_Block", (_Block, ctypes.c_ubyte * size), {})


def _block(size: int) -> Any:
    """At least so many bytes, from a cache line on."""
    global _held
    step = 1 << max(12, size.bit_length() - STEPS)
    size = -(-size // step) * step + ALIGNMENT
    with _lock:
        free = _free.get(size)
        found = free.pop() if free else None
        if found is not None:
            _held -= size
    if found is None:
        memory = np.empty(size, dtype=np.uint8)
        found = memory, -memory.ctypes.data % ALIGNMENT
    block = _block_of(size - ALIGNMENT).from_buffer(*found)
    block.waiting = found
    return block


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """An uninitialised array; from the pool if it is large."""
    if not isinstance(dtype, np.dtype):
        dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    return np.ndarray(shape, dtype, _block(size)) if size >= POOLED else np.empty(shape, dtype)


def aligned(size: int, dtype: Any) -> Any:
    """An uninitialised one-dimensional array that starts on a cache line."""
    dtype = np.dtype(dtype)
    raw = np.empty(size * dtype.itemsize + ALIGNMENT, dtype=np.uint8)
    skipped = -raw.ctypes.data % ALIGNMENT
    return raw[skipped : skipped + size * dtype.itemsize].view(dtype)


class _Scratch(threading.local):
    """Each thread's own memory for what a kernel needs while it runs, and the arrays made of it, by their sizes."""

    def __init__(self) -> None:
        self.memory = np.empty(0, dtype=np.uint8)
        self.made: dict[Any, tuple[Any, ...]] = {}


_scratch = _Scratch()


def scratch(dtype: Any, *sizes: int) -> tuple[Any, ...]:
    """Uninitialised one-dimensional arrays, each on a cache line of its own, until the thread's next call."""
    made = _scratch.made.get((dtype, sizes))
    if made is not None:
        return made
    dtype = np.dtype(dtype)
    width = dtype.itemsize
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] - (-size * width // ALIGNMENT) * ALIGNMENT)
    memory = _scratch.memory
    if memory.nbytes < starts[-1]:
        memory = aligned(starts[-1], np.uint8)
        if starts[-1] <= SCRATCH:
            _scratch.memory = memory
            _scratch.made.clear()
    made = tuple([memory[start : start + size * width].view(dtype) for size, start in zip(sizes, starts)])
    if memory is _scratch.memory:
        if len(_scratch.made) >= KNOWN:
            _scratch.made.clear()
        _scratch.made[dtype, sizes] = made
    return made
