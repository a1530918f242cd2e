"""What the generated loops need of LLVM: typed memory, bits, selection without branches, rounding.

Imports Numba. The generated files import from here; everything is inlined into their machine code.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

__all__ = [
    "bits", "ceil", "copysign", "fabs", "floor", "fmod", "from_bits", "get", "intp_of", "pointer", "put", "quiet",
    "rint", "select", "sqrt", "stack", "trunc",
]  # fmt: skip

_INTEGERS: dict[Any, Any] = {types.float32: types.int32, types.float64: types.int64}
_FLOATS: dict[Any, Any] = {whole: floating for floating, whole in _INTEGERS.items()}


@intrinsic
def pointer(typing: Any, address: Any, kind: Any) -> Any:
    """An address as a pointer to entries of a type, so that LLVM sees whole entries and vectorises."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_data_type(kind.dtype).as_pointer())

    return types.CPointer(kind.dtype)(types.intp, kind), build


@intrinsic
def intp_of(typing: Any, at: Any) -> Any:
    """A pointer as an address."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ptrtoint(values[0], context.get_value_type(types.intp))

    return types.intp(at), build


@intrinsic
def get(typing: Any, at: Any, index: Any) -> Any:
    """The entry at an index. Its alignment is that of NumPy's arrays: the entry's own."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        loaded = builder.load(builder.gep(values[0], [values[1]]))
        loaded.align = context.get_abi_alignment(loaded.type)
        return context.data_model_manager[at.dtype].from_data(builder, loaded)

    return at.dtype(at, types.intp), build


@intrinsic
def put(typing: Any, at: Any, index: Any, value: Any) -> Any:
    """Store an entry at an index."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        stored = context.data_model_manager[at.dtype].as_data(builder, values[2])
        done = builder.store(stored, builder.gep(values[0], [values[1]]))
        done.align = context.get_abi_alignment(stored.type)
        return context.get_dummy_value()

    return types.void(at, types.intp, at.dtype), build


@intrinsic
def stack(typing: Any, kind: Any, count: Any) -> Any:
    """A pointer to `count` entries (a literal) on the stack."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return cgutils.alloca_once(builder, context.get_data_type(kind.dtype), size=count.literal_value)

    if not isinstance(count, types.IntegerLiteral):
        return None
    return types.CPointer(kind.dtype)(kind, count), build


@intrinsic
def select(typing: Any, condition: Any, a: Any, b: Any) -> Any:
    """``a if condition else b``, both computed."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(*values)

    return (a(types.boolean, a, a), build) if a == b else None


@intrinsic
def bits(typing: Any, x: Any) -> Any:
    """The bits of a float as an integer of its width."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return _INTEGERS[x](x), build


@intrinsic
def from_bits(typing: Any, n: Any) -> Any:
    """The float that an integer holds the bits of."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return _FLOATS[n](n), build


def _llvm(name: str, operands: int) -> Any:
    """LLVM's intrinsic of that name, for one float type."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = values[0].type
        function = builder.module.declare_intrinsic(f"llvm.{name}", [kind], ir.FunctionType(kind, [kind] * operands))
        return builder.call(function, values)

    if operands == 1:

        @intrinsic
        def one(typing: Any, x: Any) -> Any:
            return x(x), build

        return one

    @intrinsic
    def two(typing: Any, a: Any, b: Any) -> Any:
        return a(a, a), build

    return two


floor, ceil, trunc, rint = (_llvm(name, 1) for name in ("floor", "ceil", "trunc", "rint"))
sqrt, fabs = _llvm("sqrt", 1), _llvm("fabs", 1)
copysign = _llvm("copysign", 2)


@intrinsic
def fmod(typing: Any, a: Any, b: Any) -> Any:
    """The remainder with the sign of the dividend, which is exact."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.frem(*values)

    return a(a, a), build


# FE_ALL_EXCEPT of <fenv.h>; x86 has a sixth flag, for denormal operands
_ALL_FLAGS = 0x3D if platform.machine().lower() in ("x86_64", "amd64", "i386", "i686") else 0x1F


def _clears_flags() -> bool:
    """Whether the process has C's feclearexcept; LLVM knows the process's symbols once it is set up."""
    cpu_target.target_context.codegen()
    return binding.address_of_symbol("feclearexcept") is not None


_has_fenv = _clears_flags()


@intrinsic
def quiet(typing: Any) -> Any:
    """Forget the floating-point flags: NumPy would warn of what a select computed and did not choose."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if _has_fenv:
            word = ir.IntType(32)
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(word, [word]), "feclearexcept")
            builder.call(function, [word(_ALL_FLAGS)])
        return context.get_dummy_value()

    return types.void(), build
