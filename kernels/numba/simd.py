"""Vectors in Numba: as wide as the host has them, with the few operations that gates and matrix products need.

Numba compiles loops and leaves vectors to LLVM's judgement; here they are written down. An `@intrinsic` of Numba may
emit LLVM code of its own, and llvmlite has vectors as a type:

    scaled = vector_loop("scaled", 2, lambda v, x, y: y.store(x.load() * 2.0))

makes a function to be called from compiled code as ``scaled(x, x_start, y, y_start, n)``. It runs over n elements of
two one-dimensional arrays, a vector at a time, and then, for the tail, one number at a time: the same operations in
the same order, so that a number does not depend on where it lies. The element type is that of the arrays.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.core.typing import signature
from numba.extending import intrinsic

LONG = ir.IntType(64)


class Host(NamedTuple):
    """Vector registers: how wide, and how many."""

    bits: int
    registers: int


def find_host() -> Host | None:
    """The widest vectors with a fused multiply-add that the host has; None where it has none.

    What NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX ask for counts, as it does for Numba.
    """
    text = config.CPU_FEATURES if config.CPU_FEATURES is not None else get_host_cpu_features()
    features = {each[1:] for each in text.split(",") if each.startswith("+")}
    if "avx512f" in features and "avx512dq" in features:
        return Host(512, 32)
    if "avx2" in features and "fma" in features:
        return Host(256, 16)
    if platform.machine().lower() in ("arm64", "aarch64"):  # NEON and its multiply-add belong to the architecture
        return Host(128, 32)
    return None


HOST = find_host()
BITS = HOST.bits if HOST else 128


class Vectors:
    """Emits operations on vectors of one element type and one length into a function."""

    def __init__(self, builder: Any, element: Any, lanes: int) -> None:
        self.builder = builder
        self.element = element
        self.lanes = lanes
        self.type = ir.VectorType(element, lanes)
        self.double = isinstance(element, ir.DoubleType)
        self.size = 8 if self.double else 4
        self.suffix = f"v{lanes}f{8 * self.size}"

    def constant(self, number: float) -> Vector:
        """The same number in every lane."""
        return Vector(self, ir.Constant(self.type, [number if self.double else float(np.float32(number))] * self.lanes))

    def broadcast(self, scalar: Any) -> Vector:
        """A scalar of the program in every lane."""
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return Vector(self, self.builder.shuffle_vector(first, undefined, mask))

    def load(self, pointer: Any) -> Vector:
        """The lanes from the memory at an element pointer, of any alignment."""
        loaded = self.builder.load(self.builder.bitcast(pointer, self.type.as_pointer()))
        loaded.align = self.size
        return Vector(self, loaded)

    def store(self, vector: Vector, pointer: Any) -> None:
        """The lanes to the memory at an element pointer, of any alignment."""
        stored = self.builder.store(vector.value, self.builder.bitcast(pointer, self.type.as_pointer()))
        stored.align = self.size

    def fma(self, a: Any, b: Any, c: Any) -> Vector:
        """a b + c with one rounding."""
        values = [self.lift(each).value for each in (a, b, c)]
        kind = ir.FunctionType(self.type, [self.type] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fma.{self.suffix}")
        return Vector(self, self.builder.call(function, values))

    def sqrt(self, x: Vector) -> Vector:
        """The square root, correctly rounded."""
        kind = ir.FunctionType(self.type, [self.type])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.sqrt.{self.suffix}")
        return Vector(self, self.builder.call(function, [x.value]))

    def in_double(self, x: Vector) -> Vector:
        """The same numbers as float64."""
        wide = Vectors(self.builder, ir.DoubleType(), self.lanes)
        return x if self.double else Vector(wide, self.builder.fpext(x.value, wide.type))

    def lift(self, x: Any) -> Vector:
        """A Python number becomes a vector."""
        return x if isinstance(x, Vector) else self.constant(x)

    def select(self, relation: str, a: Any, b: Any, then: Any, otherwise: Any) -> Vector:
        """then where a relation b, else otherwise; a NaN makes the relation false."""
        condition = self.builder.fcmp_ordered(relation, self.lift(a).value, self.lift(b).value)
        return Vector(self, self.builder.select(condition, self.lift(then).value, self.lift(otherwise).value))

    def clamp(self, x: Vector, low: float, high: float) -> Vector:
        """x between low and high; NaN stays."""
        x = self.select("<", x, low, low, x)
        return self.select(">", x, high, high, x)

    # ---- functions: Cody and Waite's reduction x = n ln 2 + r, |r| <= ln 2 / 2, and the Taylor polynomial in r

    def _reduced(self, x: Vector) -> tuple[Vector, Vector]:
        """exp(r) - 1, and 2^n."""
        mantissa, bias = (52, 1023) if self.double else (23, 127)
        # Added to a number of this size, n lands in the lowest bits: rounded, and with the exponent's bias on it.
        shift = 1.5 * 2.0**mantissa + bias
        shifted = self.fma(x, 1 / math.log(2), shift)
        n = shifted - shift
        bits = ir.VectorType(ir.IntType(8 * self.size), self.lanes)
        exponent = self.builder.shl(
            self.builder.bitcast(shifted.value, bits), ir.Constant(bits, [mantissa] * self.lanes)
        )
        # ln 2 in two parts; the first has so few bits that its product with n is exact
        high = 0.693145751953125
        r = self.fma(n, -(math.log(2) - high), self.fma(n, -high, x))
        # the first term left out is below half a unit in the last place of the result
        terms = 13 if self.double else 7
        polynomial = self.constant(1 / math.factorial(terms))
        for k in range(terms - 1, 1, -1):
            polynomial = self.fma(polynomial, r, 1 / math.factorial(k))
        return self.fma(polynomial, r * r, r), Vector(self, self.builder.bitcast(exponent, self.type))

    def exp(self, x: Vector) -> Vector:
        """e^x; inputs beyond the range of the exponent give its ends."""
        limit = 708.0 if self.double else 87.0
        e, power = self._reduced(self.clamp(x, -limit, limit))
        return self.fma(e, power, power)

    def sigmoid(self, x: Vector) -> Vector:
        """1 / (1 + e^-x)."""
        return 1.0 / (self.exp(0.0 - x) + 1.0)

    def tanh(self, x: Vector) -> Vector:
        """t / (t + 2) with t = e^2x - 1 = 2^n (e^r - 1) + (2^n - 1), accurate near zero too."""
        e, power = self._reduced(self.clamp(x + x, -44.0, 44.0))
        t = self.fma(e, power, power - 1.0)
        return t / (t + 2.0)


class Vector:
    """A vector of the program that is being emitted, with the operators of numbers."""

    def __init__(self, vectors: Vectors, value: Any) -> None:
        self.vectors = vectors
        self.value = value

    def _with(self, operation: str, a: Any, b: Any) -> Vector:
        emit = getattr(self.vectors.builder, operation)
        return Vector(self.vectors, emit(self.vectors.lift(a).value, self.vectors.lift(b).value))

    def __add__(self, other: Any) -> Vector:
        return self._with("fadd", self, other)

    def __sub__(self, other: Any) -> Vector:
        return self._with("fsub", self, other)

    def __rsub__(self, other: Any) -> Vector:
        return self._with("fsub", other, self)

    def __mul__(self, other: Any) -> Vector:
        return self._with("fmul", self, other)

    def __truediv__(self, other: Any) -> Vector:
        return self._with("fdiv", self, other)

    def __rtruediv__(self, other: Any) -> Vector:
        return self._with("fdiv", other, self)


class Stream:
    """One array under a `vector_loop`, at the place that the loop has reached."""

    def __init__(self, vectors: Vectors, pointer: Any) -> None:
        self._vectors = vectors
        self._pointer = pointer

    def at(self, times: int, stride: Any) -> Stream:
        """The same array, times x stride elements further on; stride is an integer of the program."""
        builder = self._vectors.builder
        return Stream(self._vectors, builder.gep(self._pointer, [builder.mul(LONG(times), stride)]))

    def load(self) -> Vector:
        """The next lanes."""
        return self._vectors.load(self._pointer)

    def store(self, vector: Any) -> None:
        """Overwrite them."""
        self._vectors.store(self._vectors.lift(vector), self._pointer)


def element_pointer(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    """Where element `start` of a one-dimensional array lies."""
    data = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
    return builder.gep(data, [start])


def lanes_of(kind: Any) -> int:
    """Elements in a vector register of the host."""
    return BITS // kind.dtype.bitwidth


def summed_chains(builder: Any, vectors: Vectors, chains: list[Any]) -> Vector:
    """The sum of 2^n vectors in memory, in pairs: (c0 + c1) + (c2 + c3)."""
    loaded = [Vector(vectors, builder.load(chain)) for chain in chains]
    while len(loaded) > 1:
        loaded = [a + b for a, b in zip(loaded[::2], loaded[1::2])]
    return loaded[0]


def vector_loop(name: str, streams: int, body: Callable[..., None], numbers: int = 0, factors: int = 0) -> Any:
    """A function for compiled code, ``f(array, start, ..., *integers, *factors, n)``, that runs `body` along arrays.

    body: takes `Vectors`, a `Stream` for each array, `numbers` integers of the program, and `factors` numbers of the
        arrays' type, each a `Vector` with the same number in every lane.
    """

    def typed(typing: Any, *kinds: Any) -> Any:
        def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
            _along(context, builder, kinds[: 2 * streams : 2], given, streams, numbers, body)
            return context.get_dummy_value()

        return signature(types.void, *_arguments(kinds, streams, numbers, factors)), generate

    return _intrinsic(name, streams, numbers, factors, typed)


def vector_fold(
    name: str, streams: int, body: Callable[..., Vector], relation: str = "", factors: int = 0, double: bool = False
) -> Any:
    """Like `vector_loop`, but returns the sum over all elements of what `body` returns, or one of its values.

    relation: "" adds; ">" keeps the largest of the values (that of no elements is -inf), "<" the smallest.
    double: whether body returns `Vectors.in_double`, so that the sum is a float64.
    Every lane is folded in order, then the lanes, then the tail: the order depends on n alone.
    """

    def typed(typing: Any, *kinds: Any) -> Any:
        kind = types.float64 if double else kinds[0].dtype

        def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
            element = context.get_data_type(kind)
            start = {"": 0.0, ">": -math.inf, "<": math.inf}[relation]
            places = {}  # where the totals are, by the number of lanes
            for lanes in (lanes_of(kinds[0]), 1):
                vectors = Vectors(builder, element, lanes)
                places[lanes] = cgutils.alloca_once_value(builder, vectors.constant(start).value)

            def fold(v: Vectors, *given: Any) -> None:
                new = body(v, *given)
                before = Vector(new.vectors, builder.load(places[v.lanes]))
                total = new.vectors.select(relation, new, before, new, before) if relation else before + new
                builder.store(total.value, places[v.lanes])

            _along(context, builder, kinds[: 2 * streams : 2], given, streams, 0, fold)
            one = Vectors(builder, element, 1)
            total = None
            for lanes, place in places.items():
                value = builder.load(place)
                for k in range(lanes):
                    each = one.broadcast(builder.extract_element(value, ir.IntType(32)(k)))
                    if total is None:
                        total = each
                    else:
                        total = one.select(relation, each, total, each, total) if relation else total + each
            return builder.extract_element(total.value, ir.IntType(32)(0))

        return signature(kind, *_arguments(kinds, streams, 0, factors)), generate

    return _intrinsic(name, streams, 0, factors, typed)


def _arguments(kinds: Any, streams: int, numbers: int, factors: int) -> list[Any]:
    """Their Numba types: arrays and where they start, integers, numbers of the arrays' type, and n."""
    arrays = kinds[: 2 * streams : 2]
    pairs = [each for array in arrays for each in (array, types.intp)]
    return [*pairs, *[types.intp] * numbers, *[arrays[0].dtype] * factors, types.intp]


def _along(
    context: Any, builder: Any, arrays: Any, given: Any, streams: int, numbers: int, body: Callable[..., None]
) -> None:
    """Emit `body` for whole vectors, and then for one element at a time."""
    pointers = [
        element_pointer(context, builder, array, given[2 * k], given[2 * k + 1]) for k, array in enumerate(arrays)
    ]
    element = context.get_data_type(arrays[0].dtype)
    width = lanes_of(arrays[0])
    n = given[-1]
    whole = builder.mul(builder.sdiv(n, LONG(width)), LONG(width))
    for lanes, start, stop in ((width, LONG(0), whole), (1, whole, n)):
        vectors = Vectors(builder, element, lanes)
        scale = [vectors.broadcast(each) for each in given[2 * streams + numbers : -1]]
        with cgutils.for_range_slice(builder, start, stop, LONG(lanes), intp=LONG, inc=True) as (index, _):
            places = [Stream(vectors, builder.gep(pointer, [index])) for pointer in pointers]
            body(vectors, *places, *given[2 * streams : 2 * streams + numbers], *scale)


def _intrinsic(name: str, streams: int, numbers: int, factors: int, typed: Callable[..., Any]) -> Any:
    """Numba reads the number of arguments off the function's signature."""
    arguments = [f"{letter}{k}" for k in range(streams) for letter in ("array", "start")]
    arguments += [f"number{k}" for k in range(numbers)] + [f"factor{k}" for k in range(factors)] + ["n"]
    namespace: dict[str, Any] = {"typed": typed}
    exec(f"def {name}(typing, {', '.join(arguments)}):\n    return typed(typing, {', '.join(arguments)})", namespace)
    return intrinsic(namespace[name])


@intrinsic
def prefetch(typing: Any, array: Any, at: Any) -> Any:
    """Ask for the cache line of an element, to be read soon; an element past the end does no harm."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        emit_prefetch(builder, element_pointer(context, builder, array, *given))
        return context.get_dummy_value()

    return signature(types.void, array, types.intp), generate


def emit_prefetch(builder: Any, pointer: Any, nearest: bool = False) -> None:
    """Ask for the cache line at a pointer: into the second cache, to be read; or into the nearest, to be changed."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
    builder.call(ask, [builder.bitcast(pointer, byte), number(int(nearest)), number(3 if nearest else 2), number(1)])


copy = vector_loop("copy", 2, lambda v, source, target: target.store(source.load()))
add_to = vector_loop("add_to", 2, lambda v, source, target: target.store(target.load() + source.load()))


@intrinsic
def transpose(typing: Any, source: Any, start: Any, ld: Any, out: Any, out_start: Any, ld_out: Any) -> Any:
    """out[k, j] = source[j, k] for a square block, as many rows and columns as a vector has lanes.

    source: element [j, k] at start + j ld + k.  out: element [k, j] at out_start + k ld_out + j.
    """
    i = types.intp

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        vectors = Vectors(builder, context.get_data_type(source.dtype), lanes_of(source))
        n = vectors.lanes
        first = element_pointer(context, builder, source, *given[:2])
        rows = [vectors.load(builder.gep(first, [builder.mul(given[2], LONG(j))])).value for j in range(n)]
        # A perfect shuffle of all numbers turns the bits of their places by one; log2(n) of them swap row and column
        halves = [[n * side + half * n // 2 + k for k in range(n // 2) for side in (0, 1)] for half in (0, 1)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), n), half) for half in halves]
        for _ in range(n.bit_length() - 1):
            rows = [builder.shuffle_vector(rows[j], rows[j + n // 2], mask) for j in range(n // 2) for mask in masks]
        target = element_pointer(context, builder, out, *given[3:5])
        for k in range(n):
            vectors.store(Vector(vectors, rows[k]), builder.gep(target, [builder.mul(given[5], LONG(k))]))
        return context.get_dummy_value()

    return signature(types.void, source, i, i, out, i, i), generate
