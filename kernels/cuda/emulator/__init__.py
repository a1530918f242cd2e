"""Runs the CUDA texts on the CPU, to prove them where there is no GPU.

Every CUDA thread is a fiber. Shared memory begins as NaN, so does what `empty` returns, and every array that a kernel
gets lies between guards that are NaN when read and are checked after the launch. A launch runs under one of three
schedules, in which threads run as far ahead of each other as the barriers allow: a kernel that is right gives the same
bits under all of them. The launchers are those of the GPU, and what they pass is checked against the kernel's
declaration: types, limits of the device, launch bounds.

What it cannot show: the memory order of a GPU (every write is seen at once; fences do nothing), threads of a warp in
lock-step, occupancy and registers, faults of alignment, and the last bits of the device's exp and tanh. Speed least of
all.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..machine import Machine, Properties
from .building import EmulatorError, build, cache_folder, compiler
from .translate import Barrier, barriers, kernel_names, translate

__all__ = [
    "SCHEDULES", "Barrier", "Emulator", "EmulatorError", "barriers", "build", "cache_folder", "compiler",
    "kernel_names", "translate",
]  # fmt: skip

SCHEDULES = ("forward", "reverse", "shuffled")
H200 = Properties(multiprocessors=132, shared_per_block=227 * 1024)
GUARD = 256  # bytes on each side of an array
_one_at_a_time = threading.Lock()  # the fibers of a library have one scheduler


class _Launch(ctypes.Structure):
    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_size_t),
        ("cooperative", ctypes.c_int),
        ("schedule", ctypes.c_int),
        ("seed", ctypes.c_uint),
        ("silenced", ctypes.c_int),
    ]


class Emulator(Machine):
    """A device made of fibers.

    schedule: which thread runs first, "forward" (the first that can), "reverse" (the last) or "shuffled" (any).
    seed: of the shuffling.  silenced: {file's text: number of a barrier that does nothing}, to prove that it is needed.
    properties: the sizes of the device that is played; an H200's if not given.
    graphs: whether loops over time are captured and replayed, as CUDA graphs are.
    """

    xp = np

    def __init__(
        self,
        schedule: str = "forward",
        seed: int = 0,
        silenced: Mapping[str, int] | None = None,
        properties: Properties = H200,
        graphs: bool = False,
    ) -> None:
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule is one of {', '.join(SCHEDULES)}; got {schedule!r}")
        self.schedule = SCHEDULES.index(schedule)
        self.seed = seed
        self.graphs = graphs
        self.silenced = dict(silenced or {})
        self.properties = properties
        self.launched: list[str] = []  # the kernels that ran, by name
        self._noted: list[Callable[[], None]] | None = None  # during a capture

    def run(
        self,
        text: str,
        kernel: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Any],
        defines: Mapping[str, str],
        shared: int,
        cooperative: bool,
    ) -> None:
        if self._noted is not None:
            given = text, kernel, grid, block, list(arguments), dict(defines), shared, cooperative
            self._noted.append(lambda: self.run(*given))
            return
        library = build(text, tuple(defines.items()))
        self._check_sizes(kernel, grid, block, shared, cooperative)
        self._check_types(library, kernel, block, arguments)
        guarded = _Guarded(arguments)
        pointers = (ctypes.c_void_p * len(arguments))(*[ctypes.addressof(each) for each in guarded.values])
        launch = _Launch(
            (*grid, 1, 1)[:3],
            (*block, 1, 1)[:3],
            shared,
            int(cooperative),
            self.schedule,
            self.seed,
            self.silenced.get(text, -1),
        )
        message = ctypes.create_string_buffer(400)
        entry = getattr(library, f"launch_{kernel}")
        with _one_at_a_time:
            failed = entry(pointers, ctypes.byref(launch), message, ctypes.c_size_t(len(message)))
        if failed:
            raise EmulatorError(f"{kernel}: {message.value.decode()}")
        guarded.give_back(kernel)
        self.launched.append(kernel)

    def matmul(self, a: Any, b: Any, out: Any) -> None:
        if not out.flags.c_contiguous:
            raise ValueError("matmul writes into C-contiguous memory")
        if self._noted is not None:
            self._noted.append(lambda: self.matmul(a, b, out))
            return
        np.matmul(a, b, out=out)

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        noted = self._noted = []
        try:
            function()
        finally:
            self._noted = None

        def replay() -> None:
            for each in noted:
                each()

        return replay

    def empty(self, shape: Sequence[int], dtype: Any) -> Any:
        made = np.empty(tuple(shape), dtype)
        made.view(np.uint8).fill(0xFF) if made.size and made.ndim else None
        return made

    def addresses(self, arrays: Sequence[Any]) -> Any:
        return np.array([each.ctypes.data for each in arrays], np.int64)

    def _check_sizes(
        self, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], shared: int, cooperative: bool
    ) -> None:
        p = self.properties
        if np.prod(block) > p.threads_per_block:
            raise EmulatorError(f"{kernel}: a block of {block} has over {p.threads_per_block} threads")
        if shared > p.shared_per_block:
            raise EmulatorError(f"{kernel}: {shared} bytes of shared memory; a block has {p.shared_per_block}")
        if grid[0] >= 2**31 or any(size > 65535 for size in grid[1:]):
            raise EmulatorError(f"{kernel}: a grid of {grid} is over the limits of a device")
        if cooperative and np.prod(grid) > p.multiprocessors:
            raise EmulatorError(f"{kernel}: {grid} blocks at once, and {p.multiprocessors} multiprocessors")

    def _check_types(self, library: Any, kernel: str, block: tuple[int, ...], arguments: Sequence[Any]) -> None:
        text = ctypes.create_string_buffer(2000)
        most = getattr(library, f"describe_{kernel}")(text)
        if np.prod(block) > most:
            raise EmulatorError(f"{kernel}: a block of {block} is over its __launch_bounds__ of {most}")
        declared = text.value.decode().split()
        given = [_code(each) for each in arguments]
        fits = len(declared) == len(given) and all(
            a == b or (b == "null" and a.startswith("*")) for a, b in zip(declared, given)
        )
        if not fits:
            raise EmulatorError(f"{kernel} declares ({', '.join(declared)}); the launcher passes ({', '.join(given)})")


def _code(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"*{value.dtype.kind}{value.dtype.itemsize}"
    return "null" if isinstance(value, np.uintp) and value == 0 else f"{value.dtype.kind}{value.dtype.itemsize}"


class _Guarded:
    """Copies of a launch's arrays, each between two guards; arrays that share memory share a copy."""

    def __init__(self, arguments: Sequence[Any]) -> None:
        arrays = [each for each in arguments if isinstance(each, np.ndarray)]
        spans = sorted({(each.ctypes.data, each.ctypes.data + each.nbytes) for each in arrays if each.nbytes})
        merged: list[list[int]] = []
        for start, stop in spans:
            if merged and start < merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], stop)
            else:
                merged.append([start, stop])
        self.copies = []
        for start, stop in merged:
            copy = np.full(stop - start + 2 * GUARD, 0xFF, np.uint8)
            ctypes.memmove(copy.ctypes.data + GUARD, start, stop - start)
            self.copies.append((start, stop, copy))
        self.values = [self._value(each) for each in arguments]

    def _value(self, argument: Any) -> Any:
        if not isinstance(argument, np.ndarray):
            return np.ctypeslib.as_ctypes_type(argument.dtype)(argument.item())
        where = argument.ctypes.data
        for start, stop, copy in self.copies:
            if start <= where < stop:
                return ctypes.c_void_p(copy.ctypes.data + GUARD + where - start)
        return ctypes.c_void_p(where)

    def give_back(self, kernel: str) -> None:
        """Copy the arrays back; raise EmulatorError if a guard was written to."""
        for start, stop, copy in self.copies:
            if not (copy[:GUARD] == 0xFF).all() or not (copy[-GUARD:] == 0xFF).all():
                raise EmulatorError(f"{kernel} wrote outside an array of {stop - start} bytes")
            ctypes.memmove(start, copy.ctypes.data + GUARD, stop - start)
