"""Numbers below the normal range count as zero inside a kernel, and the caller's setting is put back.

Cotangents that decay over hundreds of steps end in denormal numbers, which a processor adds and multiplies up to a
hundred times slower. The switch is a register of each thread: MXCSR on x86-64, FPCR on 64-bit ARM.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

MACHINE = platform.machine().lower()
X86 = MACHINE in ("x86_64", "amd64")
ARM = MACHINE in ("aarch64", "arm64")
FLUSH = 0x8040 if X86 else 1 << 24  # flush results, and on x86 take denormal operands as zero
WORD = ir.IntType(32)
LONG = ir.IntType(64)


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@intrinsic
def flush_denormals(typing: Any) -> Any:
    """Flush from here on in this thread. Returns what `restore_denormals` needs."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if X86:
            place = cgutils.alloca_once(builder, WORD)
            raw = builder.bitcast(place, ir.IntType(8).as_pointer())
            _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), [raw])
            before = builder.load(place)
            builder.store(builder.or_(before, WORD(FLUSH)), place)
            _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [raw])
            return builder.zext(before, LONG)
        if ARM:
            before = _call(builder, "llvm.aarch64.get.fpcr", LONG, [])
            _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [builder.or_(before, LONG(FLUSH))])
            return before
        return LONG(0)

    return types.int64(), generate


@intrinsic
def restore_denormals(typing: Any, before: Any) -> Any:
    """Put back what held before `flush_denormals`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if X86:
            place = cgutils.alloca_once(builder, WORD)
            builder.store(builder.trunc(arguments[0], WORD), place)
            _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [builder.bitcast(place, ir.IntType(8).as_pointer())])
        elif ARM:
            _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [arguments[0]])
        return context.get_dummy_value()

    return types.void(types.int64), generate
