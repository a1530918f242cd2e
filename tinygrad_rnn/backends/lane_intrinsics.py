"""The steps of a reduction as LLVM instructions, which are the same for one entry and for 16 beside each other.

Imports Numba. For each reduction there are three functions that the generated files use: `PREPARE` makes an entry what
is combined, `COMBINE` combines two, and `FOLD` combines rows of 16 entries with 16 lanes, in vector registers.

max, min, argmax and argmin compare integers that are in the order of the floats: a float's bits, those below the sign
flipped in negative ones; a nan becomes the largest for max and the smallest for min, so that it wins. `restored` is the
way back.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["COMBINE", "FOLD", "PREPARE", "restored"]

_LANES = 16
_NAMES = ("sum", "prod", "max", "min", "argmax", "argmin", "any", "all", "count_nonzero")
_KEYS: dict[Any, Any] = {types.float32: types.int32, types.float64: types.int64}


def _is_float(value: Any) -> bool:
    kind = getattr(value.type, "element", value.type)
    return isinstance(kind, (ir.FloatType, ir.DoubleType))


def _number(kind: Any, number: int) -> Any:
    """A constant of an integer type, in every entry of a vector type."""
    return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)


def _combined(builder: Any, name: str, a: Any, b: Any) -> Any:
    """Two of what is combined, or two vectors of them, as one."""
    width = getattr(a.type, "element", a.type)
    if name in ("sum", "count_nonzero"):
        return builder.fadd(a, b) if _is_float(a) else builder.add(a, b)
    if name == "prod":
        return builder.fmul(a, b) if _is_float(a) else builder.mul(a, b)
    bits = isinstance(width, ir.IntType) and width.width <= 8  # bools
    if name == "any" or (name == "max" and bits):
        return builder.or_(a, b)
    if name == "all" or (name == "min" and bits):
        return builder.and_(a, b)
    return builder.select(builder.icmp_signed(">=" if name.endswith("max") else "<=", a, b), a, b)


def _prepared(builder: Any, name: str, x: Any, target: Any) -> Any:
    """An entry, or a vector of them, as what is combined, of the LLVM type `target`."""
    zero = ir.Constant(x.type, None)
    if name in ("any", "all", "count_nonzero"):
        true = builder.fcmp_unordered("!=", x, zero) if _is_float(x) else builder.icmp_signed("!=", x, zero)
        return true if true.type == target else builder.zext(true, target)
    if name in ("sum", "prod") or x.type == target:
        return x
    if not _is_float(x):
        return builder.zext(x, target)  # the index of the first true
    if name.startswith("arg"):
        x = builder.fadd(x, zero)  # -0 is +0: the first of equal ones is looked for
    largest = 2 ** (getattr(target, "element", target).width - 1) - 1
    key = _flipped(builder, builder.bitcast(x, target), largest)
    best = _number(target, largest if name.endswith("max") else -largest - 1)
    return builder.select(builder.fcmp_unordered("uno", x, x), best, key)


def _flipped(builder: Any, bits: Any, largest: int) -> Any:
    """Bits of floats as integers of the same order, and back: it is its own inverse."""
    places = _number(bits.type, largest.bit_length())
    return builder.xor(bits, builder.and_(builder.ashr(bits, places), _number(bits.type, largest)))


def _kind_of(name: str, x: Any) -> Any:
    """Numba's type of what is combined."""
    if name in ("any", "all"):
        return types.boolean
    if name == "count_nonzero":
        return types.int64
    if name.startswith("arg") and x == types.boolean:
        return types.int32
    return _KEYS.get(x, x) if name.endswith(("max", "min")) else x


@intrinsic
def restored(typing: Any, total: Any, kind: Any) -> Any:
    """The float that an integer of max or min stands for; anything else as it is."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if total == kind.dtype:
            return values[0]
        bits = _flipped(builder, values[0], 2 ** (total.bitwidth - 1) - 1)
        return builder.bitcast(bits, context.get_value_type(kind.dtype))

    return (kind.dtype(total, kind), build) if _KEYS.get(kind.dtype, kind.dtype) == total else None


def _combine(name: str) -> Any:
    @intrinsic
    def combine(typing: Any, a: Any, b: Any) -> Any:
        """Two of what is combined as one."""

        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return _combined(builder, name, *values)

        return a(a, a), build

    return combine


def _prepare(name: str) -> Any:
    @intrinsic
    def prepare(typing: Any, x: Any) -> Any:
        """An entry as what is combined."""
        kind = _kind_of(name, x)

        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return _prepared(builder, name, values[0], context.get_value_type(kind))

        return kind(x), build

    return prepare


def _fold(name: str) -> Any:
    @intrinsic
    def fold(typing: Any, x: Any, start: Any, stop: Any, lanes: Any) -> Any:
        """Combine the entries x[start:stop], a multiple of 16 of them, with 16 lanes in memory."""

        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kind = context.get_data_type(lanes.dtype)
            entries = ir.VectorType(context.get_data_type(x.dtype), _LANES)
            vector = ir.VectorType(kind, _LANES)
            source, first, last, target = values
            kept = builder.bitcast(target, vector.as_pointer())
            before = builder.load(kept, align=context.get_abi_alignment(kind))
            entry = builder.block
            head, body, end = (builder.append_basic_block(each) for each in ("head", "body", "end"))
            builder.branch(head)
            builder.position_at_end(head)
            i, total = builder.phi(first.type), builder.phi(vector)
            i.add_incoming(first, entry)
            total.add_incoming(before, entry)
            builder.cbranch(builder.icmp_signed("<", i, last), body, end)
            builder.position_at_end(body)
            at = builder.bitcast(builder.gep(source, [i]), entries.as_pointer())
            loaded = builder.load(at, align=context.get_abi_alignment(entries.element))
            made = _combined(builder, name, total, _prepared(builder, name, loaded, vector))
            i.add_incoming(builder.add(i, ir.Constant(i.type, _LANES)), builder.block)
            total.add_incoming(made, builder.block)
            builder.branch(head)
            builder.position_at_end(end)
            builder.store(total, kept, align=context.get_abi_alignment(kind))
            return context.get_dummy_value()

        return types.void(x, types.intp, types.intp, lanes), build

    return fold


COMBINE = {name: _combine(name) for name in _NAMES}
PREPARE = {name: _prepare(name) for name in _NAMES}
FOLD = {name: _fold(name) for name in _NAMES}
