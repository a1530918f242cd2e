"""Where generated text and its machine code are kept: a folder in the user's cache directory.

TINYGRAD_RNN_CACHE names another folder. Numba keeps machine code beside the text, by processor and version.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["cache_directory", "compiled_function", "digest"]


def cache_directory() -> Path:
    """The folder for generated text: TINYGRAD_RNN_CACHE, else ``tinygrad_rnn`` in the user's cache directory.

    >>> from tinygrad_rnn.backends.loop_cache import cache_directory
    >>> cache_directory().name != ""
    True
    """
    chosen = os.environ.get("TINYGRAD_RNN_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if os.name == "nt" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "tinygrad_rnn" / "Cache"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/tinygrad_rnn").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tinygrad_rnn"


def digest(text: str) -> str:
    """The hash under which a text is kept.

    >>> from tinygrad_rnn.backends.loop_cache import digest
    >>> len(digest("text")), digest("text") == digest("another text")
    (16, False)
    """
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _surroundings() -> str:
    """The hash of what decides, beside a text, what it compiles to: versions, and the intrinsics it is inlined with."""
    import llvmlite
    import numba
    import numpy

    names = ("loop_intrinsics.py", "lane_intrinsics.py")
    intrinsics = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names]
    versions = (platform.python_version(), numba.__version__, llvmlite.__version__, numpy.__version__)
    return digest("\n".join((*versions, *intrinsics)))


def compiled_function(name: str, text: str, compile: Callable[..., Any]) -> Any:
    """Compile the function `loop` of a text, from the machine code on disk where there is some.

    compile: ``(function, cache=True or False) -> compiled``.
    """
    path = _kept(name, text)
    function = _loop_of(text, str(path or f"<{name}>"))
    if path is not None:
        try:
            return compile(function, cache=True)
        except (RuntimeError, OSError) as error:  # Numba found no place for its machine code
            _say_in_memory(path.parent, error)
    return compile(function, cache=False)


def _loop_of(text: str, filename: str) -> Any:
    names: dict[str, Any] = {"__name__": __name__}  # Numba imports it when it loads machine code
    exec(compile(text, filename, "exec"), names)
    return names["loop"]


def _kept(name: str, text: str) -> Path | None:
    """The file that holds the text, written if it is not there; None where it cannot be."""
    folder = cache_directory() / f"loops-{_surroundings()}"
    path = folder / f"{name}-{digest(text)}.py"
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return path
        folder.mkdir(parents=True, exist_ok=True)
        _say_compiling(folder)
        descriptor, written = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(written, path)  # so that another process sees all of it or nothing
    except OSError as error:
        _say_in_memory(folder, error)
        return None
    return path


@cache
def _say_compiling(folder: Path) -> None:
    """Say once why the first use takes seconds."""
    if not any(folder.glob("*.py")):
        print(f"tinygrad_rnn: compiling array loops, once for this machine (kept in {folder})", file=sys.stderr)


_said: list[bool] = []


def _say_in_memory(folder: Path, error: Exception) -> None:
    """Say once that every process will compile anew."""
    if not _said:
        _said.append(True)
        warnings.warn(
            f"cannot keep compiled loops in {folder} ({error}); compiling them in memory, in every process. "
            f"Set TINYGRAD_RNN_CACHE to a folder that can be written to.",
            RuntimeWarning,
            stacklevel=2,
        )
