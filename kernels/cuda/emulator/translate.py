"""CUDA C++ as C++: shared memory, barriers and the entry points are rewritten; the rest compiles as it is."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

__all__ = ["Barrier", "barriers", "kernel_names", "translate"]

_BOUNDS = r"(?:__launch_bounds__\s*\(((?:[^()]|\([^()]*\))*)\)\s*)?"
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+' + _BOUNDS + r"(\w+)\s*\(")
_DYNAMIC = re.compile(r"extern\s+__shared__\s+([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")
_FIXED = re.compile(r"__shared__\s+([\w ]+?)\s+(\w+)((?:\s*\[[^\]]+\])*)\s*;")
_FUNCTION = re.compile(
    r"(?:__device__|__global__)[\w\s]*?(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?"
    r"\b(?!__launch_bounds__)(\w+)\s*\("
)
_BARRIER = re.compile(r"__syncthreads\s*\(\s*\)")


class Barrier(NamedTuple):
    """One `__syncthreads()` of a text: its number in the order of the text, and the function that it stands in."""

    number: int
    function: str


def kernel_names(text: str) -> list[str]:
    """The kernels that a text defines."""
    return [match[2] for match in _KERNEL.finditer(text)]


def barriers(text: str) -> list[Barrier]:
    """Every barrier of a text."""
    starts = [(match.start(), match[1]) for match in _FUNCTION.finditer(text)]
    found = []
    for number, match in enumerate(_BARRIER.finditer(text)):
        around = [name for start, name in starts if start < match.start()]
        found.append(Barrier(number, around[-1] if around else ""))
    return found


def translate(text: str) -> str:
    """The C++ of a CUDA text, with one entry point ``launch_NAME`` and one ``describe_NAME`` for each kernel."""
    counter = itertools.count()
    entries = "".join(_entry(match[2], match[1], _conditions(text, match.start())) for match in _KERNEL.finditer(text))
    text = _DYNAMIC.sub(r"\1* \2 = (\1*)emulator::dynamic_shared();", text)
    text = _FIXED.sub(lambda match: _fixed(match, next(counter)), text)
    numbers = itertools.count()
    text = _BARRIER.sub(lambda match: f"emulator::barrier({next(numbers)}, __LINE__)", text)
    return f'#include "cuda_on_cpu.h"\n{text}\n#line 1 "entries"\n{entries}'


def _fixed(match: re.Match[str], number: int) -> str:
    kind, name, sizes = match.groups()
    made = f"*({name}_t*)emulator::fixed_shared({number}, sizeof({name}_t))"
    return f"using {name}_t = {kind}{sizes}; {name}_t& {name} = {made};"


def _conditions(text: str, place: int) -> list[str]:
    """The #if lines that a place stands behind."""
    open_ones: list[str] = []
    for line in text[:place].splitlines():
        if line.startswith("#if"):
            open_ones.append(line)
        elif line.startswith("#endif"):
            open_ones.pop()
    return open_ones


def _entry(name: str, bounds: str | None, conditions: list[str]) -> str:
    most = bounds.split(",")[0] if bounds else "1024"
    before, after = "".join(f"{line}\n" for line in conditions), "#endif\n" * len(conditions)
    return (
        before
        + (
            f'extern "C" int launch_{name}(void** arguments, emulator::Launch* launch, char* message, size_t room) '
            f"{{ return emulator::launch(::{name}, arguments, *launch, message, room); }}\n"
            f'extern "C" int describe_{name}(char* into) {{ emulator::describe(::{name}, into); return ({most}); }}\n'
        )
        + after
    )
