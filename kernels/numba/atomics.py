"""What threads need to wait for one another inside compiled code. All on one-dimensional int64 arrays."""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import intrinsic

from .compiling import jit
from .denormals import ARM, X86
from .simd import element_pointer

CAN_YIELD = llvmlite.binding.address_of_symbol("sched_yield") is not None


@intrinsic
def load_acquire(typing: Any, array: Any, index: Any) -> Any:
    """array[index], and with it everything that its writer had written."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        return builder.load_atomic(element_pointer(context, builder, array, *given), "acquire", 8)

    return signature(types.int64, array, types.intp), generate


@intrinsic
def store_release(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index] = value, after everything that this thread has written."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        builder.store_atomic(given[2], element_pointer(context, builder, array, *given[:2]), "release", 8)
        return context.get_dummy_value()

    return signature(types.void, array, types.intp, types.int64), generate


@intrinsic
def compare_and_set(typing: Any, array: Any, index: Any, expected: Any, value: Any) -> Any:
    """array[index] = value if it holds `expected`; whether it did."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        place = element_pointer(context, builder, array, *given[:2])
        pair = builder.cmpxchg(place, given[2], given[3], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return signature(types.boolean, array, types.intp, types.int64, types.int64), generate


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the processor that this is a loop that waits."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        if X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        elif ARM:
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.hint")
            builder.call(hint, [ir.IntType(32)(1)])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def ticks(typing: Any) -> Any:
    """A counter that runs at a steady rate, for comparing spans of time; 0 on processors without one."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        if not (X86 or ARM):
            return ir.IntType(64)(0)
        kind = ir.FunctionType(ir.IntType(64), [])
        name = "llvm.readcyclecounter" if X86 else "llvm.readsteadycounter"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])

    return types.int64(), generate


@intrinsic
def give_way(typing: Any) -> Any:
    """Let another thread have this core, where the system can be asked to."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        if CAN_YIELD:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


LOOKS = 256  # of one `reached`; about 0.05 µs


@jit
def reached(array, index, value):
    """Whether array[index] is at least `value` by now: looks many times, and pauses once.

    A virtual machine that sees a processor pause again and again takes it for one that spins in vain, and gives it to
    another for milliseconds. What counts is pauses in close succession, less than some 128 cycles apart.
    """
    for _ in range(LOOKS):
        if load_acquire(array, index) >= value:
            return True
    pause()
    return False
