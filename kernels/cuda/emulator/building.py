"""Compiles translated text with the C++ compiler of this machine; machine code is kept under a hash of the text."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from .translate import translate

__all__ = ["EmulatorError", "build", "cache_folder", "compiler"]

HERE = Path(__file__).resolve().parent
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-fno-strict-aliasing", "-w")


class EmulatorError(RuntimeError):
    """A launch that a GPU would refuse, or that would hang, or that writes outside its arrays."""


def compiler() -> str | None:
    """The C++ compiler: the environment's CXX, else g++, else clang++; None if there is none."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def cache_folder() -> Path:
    """Where machine code is kept: below the environment's XDG_CACHE_HOME, else ~/.cache, else a temporary folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = Path(base) if base else Path.home() / ".cache"
    folder = folder / "tinygrad_rnn" / "cuda_emulator"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    folder = Path(tempfile.gettempdir()) / f"tinygrad_rnn_cuda_emulator_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@cache
def build(text: str, defines: tuple[tuple[str, str], ...] = ()) -> ctypes.CDLL:
    """The library of a CUDA text, compiled with ``-Dname=value`` for each define.

    Raises EmulatorError with the compiler's words if it does not compile, or if there is no compiler.
    """
    flags = tuple(f"-D{name}={value}" for name, value in defines)
    made = _made(translate(text), ".so", flags, (str(_scheduler()),))
    return ctypes.CDLL(str(made))


@cache
def _scheduler() -> Path:
    return _made((HERE / "scheduler.cpp").read_text(encoding="utf-8"), ".o", (), ())


def _made(text: str, suffix: str, flags: tuple[str, ...], linked: tuple[str, ...]) -> Path:
    command = compiler()
    if command is None:
        raise EmulatorError("the CUDA emulator needs a C++ compiler, and found none. Install g++, or name one in CXX.")
    header = (HERE / "cuda_on_cpu.h").read_text(encoding="utf-8")
    parts = (text, header, repr((command, FLAGS, flags, sys.platform)), *(Path(each).name for each in linked))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    made = cache_folder() / f"{key}{suffix}"
    if made.exists():
        return made
    with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
        source, result = Path(scratch, "text.cpp"), Path(scratch, f"result{suffix}")
        source.write_text(text, encoding="utf-8")
        kind = ("-c",) if suffix == ".o" else ("-shared",)
        line = [command, *FLAGS, *flags, f"-I{HERE}", *kind, str(source), *linked, "-o", str(result)]
        done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode:
            raise EmulatorError(f"the C++ compiler refused a CUDA text:\n{done.stderr}")
        os.replace(result, made)  # two processes may come here at once: the last one wins, with the same code
    return made
