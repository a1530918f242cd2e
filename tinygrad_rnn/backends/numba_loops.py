"""JIT loops over arrays, made from the scalar rules: text, compilation, and the table of what runs how.

A loop has the signature of NumPy's inner loops, ``(args, dims, steps, data)``: addresses, lengths, strides in bytes.
For strides of one entry, and for an operand that is one number, there are loops of their own, which LLVM vectorises.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from . import loop_cache
from .scalar_rules import RULES
from .tracing import UntraceableError, trace
from .ufuncs import make_ufunc

__all__ = ["LoopInfo", "compiled_loop", "elementwise_function", "fused_ufunc", "loops"]


class LoopInfo(NamedTuple):
    """How one function of the namespace runs for one signature of dtypes."""

    name: str
    signature: str  # such as "ff->f", in NumPy's type characters
    by: str  # "jit", or "numpy" where there is no loop
    state: str  # "compiled", "not used yet", or why NumPy does it


HEADER = '''"""Written by tinygrad_rnn, and read by Numba. May be deleted: it is written again when it is needed."""

from math import erf, hypot, inf, nan

from numba import float32, float64, int32, int64, njit
from numba.types import boolean

from tinygrad_rnn.backends.loop_intrinsics import (
    bits, ceil, copysign, fabs, floor, fmod, from_bits, get, intp_of, pointer, put, quiet, rint, select, sqrt, stack,
    trunc,
)
'''

# a rule that is called is not vectorised; a * b + c is one instruction where the processor has it
_INLINED = '@njit(error_model="numpy", forceinline=True, fastmath={"contract"})'
_INT32, _BOOL = np.dtype("int32"), np.dtype(bool)
_NUMBA_NAMES = {"bool": "boolean"}
_known: dict[tuple[str, str], LoopInfo] = {}
_compiled: list[Any] = []  # compiled functions live as long as the ufuncs that point to them
_compiling = threading.RLock()


def loops() -> list[LoopInfo]:
    """Say for every function and signature that was asked for whether a JIT loop serves it, or NumPy and why."""
    return sorted(_known.values())


def note(name: str, signature: str, by: str, state: str) -> None:
    """Write a row of the table `loops`."""
    _known[name, signature] = LoopInfo(name, signature, by, state)


def kind(character: str) -> str:
    """Numba's name of a dtype."""
    name = np.dtype(character).name
    return _NUMBA_NAMES.get(name, name)


def compiled_loop(name: str, signature: str, text: Callable[[], str]) -> int | None:
    """Compile a loop; its address, or None where there can be none, which `loops` then explains.

    text: returns the file with the function ``loop``.
    """
    try:
        with _compiling:
            stem = f"{name}-{signature.replace('->', '-').replace('?', 'b')}"
            loop = loop_cache.compiled_function(stem, text(), _cfunc)
    except UntraceableError as error:
        note(name, signature, "numpy", str(error))
        return None
    except Exception as error:  # a loop cannot raise into NumPy: the work is done by NumPy, and the table says why
        note(name, signature, "numpy", f"{type(error).__name__}: {error}")
        return None
    _compiled.append(loop)
    note(name, signature, "jit", "compiled")
    return int(loop.address)


def _cfunc(function: Any, cache: bool) -> Any:
    """What ``numba.cfunc`` returns, with the machine code looked up as that of the kernels is."""
    from numba import types
    from numba.core.ccallback import CFunc

    from ..kernels.numba.compiling import quickened

    words = types.CPointer(types.intp)
    compiled = CFunc(function, ((words, words, words, types.voidptr), types.void), {}, {"error_model": "numpy"})
    if cache:
        compiled.enable_caching()
        quickened(compiled)
    compiled.compile()
    return compiled


# ---- entry by entry


@cache
def elementwise_function(name: str) -> Callable[..., Any]:
    """The ufunc of a function that has a scalar rule."""
    rule = RULES[name]

    def body(xp: Any, *entries: Any) -> Any:
        return rule.body(xp._steps, *entries)

    numpys = _NUMPY_NAMES.get(name) or getattr(np, name)
    ufunc = _ufunc(name, rule.types, body, numpys)
    return _without_bools(ufunc, numpys) if rule.no_bools else ufunc


def _without_bools(ufunc: np.ufunc, numpys: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with NumPy's TypeError for bools, which would be cast to int32."""

    def one(x: Any) -> Any:
        result = ufunc(x)
        return numpys(x) if result.dtype is _INT32 and getattr(x, "dtype", None) == _BOOL else result

    def two(a: Any, b: Any) -> Any:
        result = ufunc(a, b)
        if result.dtype is _INT32 and getattr(a, "dtype", None) == _BOOL == getattr(b, "dtype", None):
            return numpys(a, b)
        return result

    return one if ufunc.nin == 1 else two


def _numpy_sigmoid(x: Any) -> Any:
    return 0.5 * np.tanh(0.5 * x) + 0.5


def _numpy_softplus(x: Any) -> Any:
    return np.logaddexp(x, 0)


def _numpy_erf(x: Any) -> Any:
    from scipy.special import erf

    return erf(x)


_NUMPY_NAMES = {"sigmoid": _numpy_sigmoid, "softplus": _numpy_softplus, "erf": _numpy_erf}


def fused_ufunc(name: str, forward: Callable[..., Any], numpy_namespace: Any) -> np.ufunc | None:
    """One loop for all of a primitive's forward; None where it cannot be traced, or has parameters.

    forward: ``(xp, *inputs)``.  numpy_namespace: its xp where NumPy has to stand in.
    """
    parameters = inspect.signature(forward).parameters.values()
    if any(each.kind is not each.POSITIONAL_OR_KEYWORD or each.default is not each.empty for each in parameters):
        return None
    inputs = len(parameters) - 1
    signatures = []
    for character in ("?", np.dtype("int32").char, np.dtype("int64").char, "f", "d"):
        try:
            output = trace(name, forward, [character] * inputs, RULES).dtype.char
        except UntraceableError as error:
            note(name, character * inputs, "numpy", f"step by step: {error}")
            continue
        signatures.append(f"{character * inputs}->{output}")
    if not any(each[0] in "fd" for each in signatures):
        return None
    return _ufunc(name, signatures, forward, lambda *arrays: forward(numpy_namespace, *arrays))


def _ufunc(name: str, signatures: Sequence[str], body: Callable[..., Any], stand_in: Any) -> np.ufunc:
    for each in signatures:
        note(name, each, "jit", "not used yet")

    def compiled(signature: str) -> int | None:
        return compiled_loop(name, signature, lambda: elementwise_text(body, signature))

    return make_ufunc(name, signatures, compiled, stand_in, doc=f"`{name}`, entry by entry, as a JIT loop.")


def elementwise_text(body: Callable[..., Any], signature: str) -> str:
    """The file of a loop: the scalar rule, and the loops over it."""
    inputs, output = signature.split("->")
    rule = trace("rule", body, list(inputs), RULES, output).text
    lines = [HEADER, "", _INLINED, *rule.split("\n"), "", "", "def loop(args, dims, steps, data):"]
    count = len(inputs)
    sizes = [np.dtype(each).itemsize for each in (*inputs, output)]
    names = [kind(each) for each in (*inputs, output)]
    lines.append("    n = dims[0]")
    word = "if"
    for fixed in _variants(count):
        wanted = [0 if i in fixed else size for i, size in enumerate(sizes)]
        test = " and ".join(f"steps[{i}] == {step}" for i, step in enumerate(wanted))
        lines.append(f"    {word} {test}:")
        word = "elif"
        entries = []
        for i in range(count):
            lines.append(f"        p{i} = pointer(args[{i}], {names[i]})")
            if i in fixed:
                lines.append(f"        c{i} = get(p{i}, 0)")
            entries.append(f"c{i}" if i in fixed else f"get(p{i}, i)")
        lines.append(f"        q = pointer(args[{count}], {names[count]})")
        lines.append("        for i in range(n):")
        lines.append(f"            put(q, i, rule({', '.join(entries)}))")
    entries = [f"get(pointer(args[{i}] + i * steps[{i}], {names[i]}), 0)" for i in range(count)]
    lines.append("    else:")
    lines.append("        for i in range(n):")
    lines.append(f"            q = pointer(args[{count}] + i * steps[{count}], {names[count]})")
    lines.append(f"            put(q, 0, rule({', '.join(entries)}))")
    lines.append("    quiet()")
    return "\n".join(lines) + "\n"


@cache
def _variants(count: int) -> list[tuple[int, ...]]:
    """Which inputs are one number for the whole loop, in the loops that are vectorised."""
    if count == 1:
        return [()]
    if count == 2:
        return [(), (1,), (0,)]
    return [(), tuple(range(1, count))]
