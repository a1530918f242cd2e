"""Sparse matrices in groups of rows, for products with vectors in them; and the transposition of a dense matrix.

Groups are as tall as a vector and laid out entry by entry, so that one vector of values meets one gather of states
[sliced ELLPACK: Monakov, Lokhmotov & Avetisyan 2010]. Rows of like length share a group. With groups of one row it is
compressed rows again: for states of several lanes, (N, lanes), where a value is broadcast and meets a row of them.

Both products add the entries of a row in four chains, entry k to chain k mod 4, so a sum depends neither on the group
nor on the lanes beside it. Rows are filled up to a multiple of four with zeros that meet one more state, always 0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import intrinsic

from .compiling import jit
from .denormals import X86
from .simd import BITS, HOST, LONG, Vector, Vectors, element_pointer, lanes_of, summed_chains
from .workspace import aligned

CHAINS = 4  # independent sums of a row: the latency of a multiply-add over its throughput
BROAD = 4 if HOST is None or HOST.registers == 32 else 2  # vectors of lanes at once: CHAINS x BROAD registers
WORD = ir.IntType(32)


class Slices(NamedTuple):
    """A sparse matrix in groups of rows.

    values: (entries + padding,), for each group its first entries, then its second ones, ...
    columns: of each, the column; that of padding is N.
    starts: (groups + 1,), where each begins.  rows: (groups x height,), which row is where; -1 for none.
    cuts, group_cuts: (parts + 1,), the first row and the first group of each part, and the end.
    """

    values: Any
    columns: Any
    starts: Any
    rows: Any
    cuts: Any
    group_cuts: Any


def slices(indptr: Any, indices: Any, data: Any, height: int, cuts: Any) -> Slices:
    """Put rows into groups of `height`; those between two cuts with others of their length.

    indptr, indices, data: compressed sparse rows.  cuts: (parts + 1,), the first row of each part, and the end.
    """
    lengths = np.diff(indptr)
    rows, groups = [], [0]
    for first, last in pairwise(cuts):
        order = np.argsort(-lengths[first:last], kind="stable") + first if height > 1 else np.arange(first, last)
        rows.append(np.concatenate((order, np.full(-len(order) % height, -1))))
        groups.append(groups[-1] + len(rows[-1]) // height)
    placed = np.concatenate(rows)
    tall = np.where(placed < 0, 0, lengths[placed]).reshape(-1, height).max(axis=1)
    starts = np.concatenate(([0], np.cumsum(-(-tall // CHAINS) * CHAINS * height)))
    values = aligned(max(1, int(starts[-1])), data.dtype)
    columns = aligned(values.size, np.uint16 if len(indptr) <= 2**16 else np.int32)
    _fill(indptr, indices, data, placed, starts, height, values, columns)
    return Slices(values, columns, starts, placed, cuts, np.array(groups))


@jit
def _fill(indptr, indices, data, rows, starts, height, values, columns):
    blank = indptr.size - 1
    for group in range(starts.size - 1):
        base = starts[group]
        deep = (starts[group + 1] - base) // height
        for r in range(height):
            row = rows[group * height + r]
            used = 0
            if row >= 0:
                for k in range(indptr[row], indptr[row + 1]):
                    values[base + used * height + r] = data[k]
                    columns[base + used * height + r] = indices[k]
                    used += 1
            for k in range(used, deep):
                values[base + k * height + r] = 0
                columns[base + k * height + r] = blank


def _gather(vectors: Vectors, base: Any, index: Any) -> Vector:
    """base[index] for a vector of 32-bit indices."""
    builder, lanes = vectors.builder, vectors.lanes
    register = vectors.size * lanes * 8
    if X86 and HOST is not None and register in (256, 512) and HOST.bits >= register:
        kind = "pd" if vectors.double else "ps"
        raw = builder.bitcast(base, ir.IntType(8).as_pointer())
        blank = vectors.constant(0.0).value
        if register == 512:
            mask: Any = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1] * lanes)
            name = f"llvm.x86.avx512.mask.gather.d{kind}.512"
            scale: Any = WORD(vectors.size)
        else:
            bits = ir.VectorType(ir.IntType(8 * vectors.size), lanes)
            mask = builder.bitcast(ir.Constant(bits, [-1] * lanes), vectors.type)
            name = f"llvm.x86.avx2.gather.d.{kind}.256"
            scale = ir.IntType(8)(vectors.size)
        given = [blank, raw, index, mask, scale]
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vectors.type, [each.type for each in given]), name
        )
        return Vector(vectors, builder.call(function, given))
    found: Any = ir.Constant(vectors.type, ir.Undefined)
    for lane in range(lanes):
        place = builder.gep(base, [builder.zext(builder.extract_element(index, WORD(lane)), LONG)])
        found = builder.insert_element(found, builder.load(place), WORD(lane))
    return Vector(vectors, found)


@intrinsic
def times_group(
    typing: Any, values: Any, columns: Any, start: Any, stop: Any, state: Any, state0: Any, out: Any, out0: Any
) -> Any:
    """out[out0 + r] = the product of row r of a group with the state that begins at state0."""
    i = types.intp

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        values_array, columns_array, start, stop, state_array, state0, out_array, out0 = given
        vectors = Vectors(builder, context.get_data_type(values.dtype), lanes_of(values))
        lanes = vectors.lanes
        value = element_pointer(context, builder, values, values_array, start)
        column = element_pointer(context, builder, columns, columns_array, start)
        base = element_pointer(context, builder, state, state_array, state0)
        narrow = ir.VectorType(context.get_data_type(columns.dtype), lanes)
        index_type = ir.VectorType(WORD, lanes)
        chains = [cgutils.alloca_once_value(builder, vectors.constant(0.0).value) for _ in range(CHAINS)]
        rounds = builder.sdiv(builder.sub(stop, start), LONG(lanes * CHAINS))
        with cgutils.for_range(builder, rounds) as loop:
            first = builder.mul(loop.index, LONG(lanes * CHAINS))
            for q in range(CHAINS):
                at = builder.add(first, LONG(q * lanes))
                index = builder.load(builder.bitcast(builder.gep(column, [at]), narrow.as_pointer()))
                index.align = columns.dtype.bitwidth // 8
                if columns.dtype.bitwidth < 32:
                    index = builder.zext(index, index_type)
                heard = _gather(vectors, base, index)
                total = Vector(vectors, builder.load(chains[q]))
                builder.store(vectors.fma(vectors.load(builder.gep(value, [at])), heard, total).value, chains[q])
        vectors.store(summed_chains(builder, vectors, chains), element_pointer(context, builder, out, out_array, out0))
        return context.get_dummy_value()

    return signature(types.void, values, columns, i, i, state, i, out, i), generate


def _times_row(broad: int) -> Any:
    """A function: one row times `broad` vectors of lanes."""

    @intrinsic
    def times(
        typing: Any,
        values: Any,
        columns: Any,
        start: Any,
        stop: Any,
        state: Any,
        state0: Any,
        lanes: Any,
        out: Any,
        out0: Any,
    ) -> Any:
        i = types.intp

        def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
            values_array, columns_array, start, stop, state_array, state0, ld, out_array, out0 = given
            vectors = Vectors(builder, context.get_data_type(values.dtype), lanes_of(values))
            value = element_pointer(context, builder, values, values_array, start)
            column = element_pointer(context, builder, columns, columns_array, start)
            base = element_pointer(context, builder, state, state_array, state0)
            target = element_pointer(context, builder, out, out_array, out0)
            blank = vectors.constant(0.0).value
            chains = [[cgutils.alloca_once_value(builder, blank) for _ in range(CHAINS)] for _ in range(broad)]
            rounds = builder.sdiv(builder.sub(stop, start), LONG(CHAINS))
            with cgutils.for_range(builder, rounds) as loop:
                first = builder.mul(loop.index, LONG(CHAINS))
                for q in range(CHAINS):
                    at = builder.add(first, LONG(q))
                    number = vectors.broadcast(builder.load(builder.gep(value, [at])))
                    row = builder.mul(builder.zext(builder.load(builder.gep(column, [at])), LONG), ld)
                    for v in range(broad):
                        heard = vectors.load(builder.gep(base, [builder.add(row, LONG(v * vectors.lanes))]))
                        total = Vector(vectors, builder.load(chains[v][q]))
                        builder.store(vectors.fma(number, heard, total).value, chains[v][q])
            for v in range(broad):
                place = builder.gep(target, [LONG(v * vectors.lanes)])
                vectors.store(summed_chains(builder, vectors, chains[v]), place)
            return context.get_dummy_value()

        return signature(types.void, values, columns, i, i, state, i, i, out, i), generate

    return times


times_broad, times_narrow = _times_row(BROAD), _times_row(1)


@jit
def vector_width(array):
    return BITS // 8 // array.itemsize


@intrinsic
def _turn_block(
    typing: Any, source: Any, source0: Any, by_source: Any, target: Any, target0: Any, by_target: Any, add: Any
) -> Any:
    """target[j, i] = source[i, j], or += where add is 1, for a square as wide as a vector."""
    i = types.intp

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        source_array, source0, by_source, target_array, target0, by_target, add = given
        vectors = Vectors(builder, context.get_data_type(source.dtype), lanes_of(source))
        lanes = range(vectors.lanes)
        here = element_pointer(context, builder, source, source_array, source0)
        there = element_pointer(context, builder, target, target_array, target0)
        rows = [vectors.load(builder.gep(here, [builder.mul(by_source, LONG(r))])).value for r in lanes]
        stride = 1
        while stride < vectors.lanes:  # swap the corners of ever larger squares
            low = [j if not j & stride else vectors.lanes + j - stride for j in lanes]
            high = [j + stride if not j & stride else vectors.lanes + j for j in lanes]
            for r in lanes:
                if not r & stride:
                    a, b = rows[r], rows[r + stride]
                    for place, mask in ((r, low), (r + stride, high)):
                        rows[place] = builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(WORD, len(mask)), mask))
            stride *= 2
        places = [builder.gep(there, [builder.mul(by_target, LONG(r))]) for r in lanes]
        with builder.if_else(builder.icmp_signed("!=", add, LONG(0))) as (adding, plain):
            with adding:
                for row, place in zip(rows, places):
                    vectors.store(Vector(vectors, row) + vectors.load(place), place)
            with plain:
                for row, place in zip(rows, places):
                    vectors.store(Vector(vectors, row), place)
        return context.get_dummy_value()

    return signature(types.void, source, i, i, target, i, i, i), generate


@jit
def transpose(source, source0, by_source, rows, columns, target, target0, by_target, add):
    """target[j, i] = source[i, j], or += where add is 1, for i < rows and j < columns."""
    width = vector_width(source)
    whole = rows - rows % width
    for top in range(0, whole, width):
        for left in range(0, columns - columns % width, width):
            here, there = source0 + top * by_source + left, target0 + left * by_target + top
            _turn_block(source, here, by_source, target, there, by_target, add)
    for i in range(rows):
        for j in range(columns - columns % width if i < whole else 0, columns):
            place = target0 + j * by_target + i
            target[place] = source[source0 + i * by_source + j] + (target[place] if add else 0)
