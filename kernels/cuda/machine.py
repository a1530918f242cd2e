"""What runs the CUDA texts: a GPU, through CuPy, or the emulator, on the CPU. The launchers know only this.

The arrays decide: NumPy arrays go to the emulator, CuPy arrays to the GPU that they lie on.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Machine", "Properties", "blocks", "emulated_by", "machine_for", "source"]

HERE = Path(__file__).resolve().parent
GRAPHS = 16  # that a machine keeps, each with buffers of its own
REALS = {"float32": "float", "float64": "double"}
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', flags=re.MULTILINE)


class Properties(NamedTuple):
    """The sizes of a device that decide how work is laid out on it."""

    multiprocessors: int
    shared_per_block: int  # bytes that a block may ask for
    registers: int = 65536  # of 32 bits, of one multiprocessor
    threads_per_block: int = 1024


@cache
def source(name: str) -> str:
    """The text of ``name``, with the headers that it includes written in their places.

    CuPy keeps compiled code under a hash of the text: a header that the compiler reads itself would not count.
    """
    text = (HERE / name).read_text(encoding="utf-8")

    def spliced(match: re.Match[str]) -> str:
        line = text[: match.start()].count("\n") + 2
        return f'{source(match[1])}\n#line {line} "{name}"\n'

    return f'#line 1 "{name}"\n' + _INCLUDE.sub(spliced, text)


def blocks(items: int, threads: int) -> int:
    """How many blocks of that many threads have one thread for each item."""
    return -(-items // threads)


class Machine(ABC):
    """Memory, matrix products and launches of one device."""

    xp: Any  # the array namespace
    properties: Properties
    graphs = False  # whether loops over time are captured once, and then launched as one graph
    _captured: OrderedDict[Any, tuple[list[Any], Callable[[], None]]]

    @abstractmethod
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
        """Launch a kernel. The arguments are arrays and NumPy scalars of the types that the kernel declares."""

    @abstractmethod
    def matmul(self, a: Any, b: Any, out: Any) -> None:
        """out <- a @ b, of matrices; `out` is C-contiguous."""

    @abstractmethod
    def empty(self, shape: Sequence[int], dtype: Any) -> Any:
        """An array whose entries nobody may rely on."""

    @abstractmethod
    def addresses(self, arrays: Sequence[Any]) -> Any:
        """An int64 array on the device of where these arrays begin."""

    @abstractmethod
    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Note the launches and products of a function, without running them; what is returned runs them."""

    def sequence(
        self,
        key: tuple[Any, ...],
        loop: Callable[..., None],
        reads: Sequence[Any],
        updates: Sequence[Any],
        writes: Sequence[Any],
    ) -> None:
        """Run ``loop(*reads, *updates, *writes)``, which only launches kernels and multiplies matrices.

        reads: arrays that it reads.  updates: that it reads and writes.  writes: that it only writes.
        key: what else decides what it does. With `graphs` the loop is captured once for each key and shapes, on
        buffers of its own: a graph has fixed addresses. From then on the arrays are copied in, and out again.
        """
        arrays = [*reads, *updates, *writes]
        if not self.graphs:
            loop(*arrays)
            return
        whole = (*key, *[(each.shape, str(each.dtype)) for each in arrays])
        kept = self.__dict__.setdefault("_captured", OrderedDict())
        if whole not in kept:
            made = [self.zeros(each.shape, each.dtype) for each in arrays]
            loop(*made)  # compiles the kernels, which a capture cannot
            kept[whole] = made, self.capture(lambda: loop(*made))
            while len(kept) > GRAPHS:
                kept.popitem(last=False)
        kept.move_to_end(whole)
        buffers, replay = kept[whole]
        inside = len(reads) + len(updates)
        for buffer, array in zip(buffers[:inside], arrays):
            buffer[...] = array
        replay()
        for buffer, array in zip(buffers[len(reads) :], arrays[len(reads) :]):
            array[...] = buffer

    def zeros(self, shape: Sequence[int], dtype: Any) -> Any:
        """An array of zeros."""
        return self.xp.zeros(tuple(shape), dtype)

    def launch(
        self,
        file: str,
        kernel: str,
        grid: int | tuple[int, ...],
        block: int,
        *arguments: Any,
        real: Any,
        defines: Mapping[str, int] | None = None,
        shared: int = 0,
        cooperative: bool = False,
    ) -> None:
        """Launch `kernel` of a file, compiled with REAL as C's name of the dtype `real`.

        arguments: arrays, which must be C-contiguous; NumPy scalars; int, which becomes a C int and must fit;
        None, which becomes a null pointer.
        Raises TypeError for a dtype that no kernel has, or another kind of argument; ValueError for an array with
        strides of its own, or for an int beyond 32 bits.
        """
        grid = (grid,) if isinstance(grid, int) else grid
        if 0 in grid or block == 0:
            return
        name = np.dtype(real).name
        if name not in REALS:
            raise TypeError(f"CUDA kernels compute in float32 and float64; got {name}. Cast it: x.astype(np.float32)")
        settings = {"REAL": REALS[name], **{key: str(value) for key, value in (defines or {}).items()}}
        taken = [self._argument(kernel, place, each) for place, each in enumerate(arguments)]
        self.run(source(file), kernel, grid, (block,), taken, settings, shared, cooperative)

    def _argument(self, kernel: str, place: int, value: Any) -> Any:
        if value is None:
            return np.uintp(0)
        if isinstance(value, bool | int):
            if not -(2**31) <= value < 2**31:
                raise ValueError(f"{kernel} counts in 32 bits; {value} does not fit. Split the batch.")
            return np.int32(value)
        if isinstance(value, np.generic):
            return value
        if not hasattr(value, "flags"):
            raise TypeError(f"{kernel} takes arrays and NumPy scalars; argument {place} is a {type(value).__name__}")
        if not value.flags.c_contiguous:
            raise ValueError(
                f"{kernel} reads memory as it lies: argument {place}, of shape {tuple(value.shape)}, has strides "
                f"{tuple(value.strides)}. Pass a C-contiguous array."
            )
        return value


# ---- which machine


_emulators: list[Callable[[], Machine]] = []


@contextmanager
def emulated_by(machine: Machine) -> Iterator[None]:
    """Run kernels on NumPy arrays by this machine inside the ``with`` block, instead of the common emulator."""
    _emulators.append(lambda: machine)
    try:
        yield
    finally:
        _emulators.pop()


def machine_for(*arrays: Any) -> Machine:
    """The machine that the arrays lie on; None among them is passed over.

    Raises TypeError where NumPy and CuPy arrays meet, ValueError where two devices do.
    """
    given = [each for each in arrays if each is not None]
    if all(isinstance(each, (np.ndarray, np.generic)) for each in given):
        return _emulators[-1]() if _emulators else _emulator()
    kinds = [type(each).__module__.partition(".")[0] for each in given]
    if set(kinds) != {"cupy"}:
        found = ", ".join(sorted({f"{type(each).__module__}.{type(each).__qualname__}" for each in given}))
        raise TypeError(f"a kernel takes arrays of one kind, NumPy's or CuPy's; got {found}. Move one: cupy.asarray(x)")
    devices = {int(each.device.id) for each in given}
    if len(devices) > 1:
        raise ValueError(
            f"a kernel takes arrays of one device; got devices {sorted(devices)}. "
            f"Copy one: with cupy.cuda.Device({min(devices)}): x = cupy.asarray(x)"
        )
    return _gpu(devices.pop())


@cache
def _emulator() -> Machine:
    from .emulator import Emulator

    return Emulator()


@cache
def _gpu(device: int) -> Machine:
    from .gpu import Gpu

    return Gpu(device)
