"""How the kernels are compiled: once for a machine, kept on disk under a hash of all their sources."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys


@cache
def cache_directory() -> str:
    """The folder that holds the machine code.

    Numba looks at the age of one source file alone; a kernel is made from several. So the folder is named after
    a hash of all of them.
    """
    chosen = os.environ.get("TINYGRAD_RNN_CACHE")
    if chosen:
        base = Path(chosen).expanduser()
    elif numba.config.CACHE_DIR:
        base = Path(numba.config.CACHE_DIR)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home())) / "tinygrad_rnn"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tinygrad_rnn"
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    folder = base / f"kernels-{digest.hexdigest()[:16]}"
    if not folder.exists():
        print(
            f"tinygrad_rnn: compiling each kernel at its first use, once for this machine (kept in {folder})",
            file=sys.stderr,
        )
    return str(folder)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile as a part of each caller.

    A function of its own is compiled once more into every caller, and into theirs: thin layers are better none.
    """
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)


def jit(function: Callable[..., Any]) -> Any:
    """Compile with Numba at the first call: no global lock, IEEE order of operations, machine code kept on disk.

    References are not counted, so such a function makes no arrays. Numba counts whenever an array gets a name,
    ``before = h if n else h0`` for one; each count is an atomic operation, for which the processor finishes its stores
    first. In a recurrence of a few units that took half of a step.
    """
    return _compiled(function, _nrt=False)


def allocating(function: Callable[..., Any]) -> Any:
    """As `jit`, for functions that make arrays."""
    return _compiled(function)


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    before = numba.config.CACHE_DIR
    directory = cache_directory()
    numba.config.CACHE_DIR = directory
    try:
        return quickened(numba.njit(nogil=True, error_model="numpy", cache=True, **options)(function))
    except RuntimeError:  # neither that folder, nor __pycache__, nor Numba's own can be written
        _say_uncached(directory)
        return numba.njit(nogil=True, error_model="numpy", **options)(function)
    finally:
        numba.config.CACHE_DIR = before


class QuickCache(FunctionCache):
    """Numba's cache on disk, for code that calls nothing but its runtime and the mathematics of C.

    Numba's own brings in all that compiling needs before it looks; that takes longer than everything else from the
    start of a process to a first gradient.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature; None where it is not kept, and must be compiled."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def quickened(compiled: Any) -> Any:
    """The same compiled function, its machine code looked up by `QuickCache`."""
    if type(getattr(compiled, "_cache", None)) is FunctionCache:  # there is none where NUMBA_DISABLE_JIT is set
        compiled._cache.__class__ = QuickCache
    return compiled


@cache
def _say_uncached(directory: str) -> None:
    warnings.warn(
        f"compiled kernels cannot be kept: {directory} cannot be written. Every process will compile anew, "
        "some seconds for a cell. Name a folder that can be written in TINYGRAD_RNN_CACHE.",
        stacklevel=5,
    )
