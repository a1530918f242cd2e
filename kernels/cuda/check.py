"""Compiles the CUDA texts for GPUs that need not be there: by NVRTC, as CuPy does, and by nvcc, which counts registers.

``python -m tinygrad_rnn.kernels.cuda.check`` prints a table.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from .machine import HERE, source

__all__ = ["ARCHITECTURES", "SETTINGS", "CompileError", "Use", "compile_nvcc", "compile_nvrtc", "nvcc", "nvrtc"]

ARCHITECTURES = (80, 90, 100)  # A100, H100 and H200, B200

# What each text is compiled with, beside REAL: the row kernels at sizes at which they are used.
SETTINGS: dict[str, dict[str, str]] = {
    "elman.cu": {"UNITS": "192", "KEPT": "188"},
    "lstm.cu": {"UNITS": "128", "KEPT": "64"},
    "gru.cu": {"UNITS": "128", "KEPT": "104"},
}


class CompileError(RuntimeError):
    """A compiler refused a text; its words."""


class Use(NamedTuple):
    """What one kernel takes of a multiprocessor."""

    registers: int
    spilled: int  # bytes that a thread stores because its registers do not do


# ---- NVRTC


@cache
def nvrtc() -> Any:
    """The NVRTC library: from the wheel nvidia-cuda-nvrtc, else from a CUDA toolkit; None if there is none."""
    for path in _nvrtc_paths():
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    return None


def _nvrtc_paths() -> list[str]:
    paths: list[Path] = []
    for package in ("nvidia.cuda_nvrtc", "nvidia.cu13"):
        try:
            spec = find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in spec.submodule_search_locations or () if spec else ():
            paths += sorted(Path(folder, "lib").glob("libnvrtc.so*"))
    compiler = nvcc()
    if compiler:
        paths += sorted(Path(compiler).resolve().parent.parent.glob("lib64/libnvrtc.so*"))
    found = ctypes.util.find_library("nvrtc")
    return [str(path) for path in paths] + ([found] if found else [])


def compile_nvrtc(file: str, architecture: int, defines: Mapping[str, str]) -> bytes:
    """The machine code of a text for one architecture, such as 90.

    Raises CompileError with the compiler's words.
    """
    library = nvrtc()
    if library is None:
        raise CompileError("NVRTC is not here. Install it: pip install nvidia-cuda-nvrtc-cu12")
    options = [f"-arch=sm_{architecture}", "-std=c++17", "-ftz=true", *_defined(defines)]  # CuPy sets -ftz, always
    program = ctypes.c_void_p()
    text = source(file).encode()
    if library.nvrtcCreateProgram(ctypes.byref(program), text, file.encode(), 0, None, None):
        raise CompileError(f"NVRTC made no program of {file}")
    try:
        given = (ctypes.c_char_p * len(options))(*[each.encode() for each in options])
        if library.nvrtcCompileProgram(program, len(options), given):
            raise CompileError(_read(library, program, "ProgramLog").rstrip(b"\0").decode(errors="replace"))
        return _read(library, program, "CUBIN")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _read(library: Any, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    room = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, room)
    return room.raw


# ---- nvcc


def nvcc() -> str | None:
    """The path of nvcc; None if there is none."""
    return shutil.which("nvcc")


def compile_nvcc(file: str, architecture: int, defines: Mapping[str, str]) -> dict[str, Use]:
    """What each kernel of a text takes on one architecture.

    Raises CompileError with the compiler's words.
    """
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, file)
        text.write_text(source(file), encoding="utf-8")
        line = ["nvcc", "-cubin", f"-arch=sm_{architecture}", "-std=c++17", "-ftz=true", "-Xptxas", "-v"]
        out = ["-o", str(Path(folder, "out.cubin"))]
        done = subprocess.run([*line, *_defined(defines), *out, str(text)], capture_output=True, text=True)
    if done.returncode:
        raise CompileError(done.stderr)
    return _uses(done.stderr)


def _uses(log: str) -> dict[str, Use]:
    found: dict[str, Use] = {}
    for part in log.split("Compiling entry function")[1:]:
        name, registers = re.search(r"'(\w+)'", part), re.search(r"Used (\d+) registers", part)
        if name and registers:
            spills = [int(size) for size in re.findall(r"(\d+) bytes spill", part)]
            found[name[1]] = Use(int(registers[1]), sum(spills))
    return found


def _defined(defines: Mapping[str, str]) -> list[str]:
    return [f"-D{name}={value}" for name, value in defines.items()]


def main() -> int:
    """Print what every kernel takes on every architecture, or why nothing can be said."""
    if nvcc() is None and nvrtc() is None:
        print("Neither nvcc nor NVRTC is here. Install one: pip install nvidia-cuda-nvrtc-cu12")
        return 1
    for file in sorted(path.name for path in HERE.glob("*.cu")):
        for architecture in ARCHITECTURES:
            defines = {"REAL": "float", **SETTINGS.get(file, {})}
            if nvcc() is None:
                print(f"{file} sm_{architecture}: {len(compile_nvrtc(file, architecture, defines))} bytes")
                continue
            for kernel, use in compile_nvcc(file, architecture, defines).items():
                print(f"{kernel:28} sm_{architecture:<4} {use.registers:4} registers {use.spilled:5} bytes spilled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
