"""Matrix products on packed panels.

`multiply` computes a strip of C = A P, W columns wide, where P lies packed: [inner][W], one row after the other. Its
microkernels keep a block of C in registers, some rows by two vectors, and run along the inner index: for each, they
load two vectors of P, broadcast one number of A a row, and multiply and add. [Goto & van de Geijn 2008]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import intrinsic

from .compiling import jit
from .simd import BITS, HOST, LONG, Vector, Vectors, element_pointer, emit_prefetch, lanes_of, prefetch, summed_chains

VECTORS = 2  # of a panel: its width
WIDTH32, WIDTH64 = VECTORS * BITS // 32, VECTORS * BITS // 64
# 12 x 2 accumulators, 2 vectors of P and a broadcast fill 32 registers; 6 x 2 fill 16
TALL, MIDDLE, LOW = (12, 8, 4) if HOST is None or HOST.registers == 32 else (6, 4, 2)
UNROLLED = 4


def microkernel(rows: int, chains: int = 1) -> Any:
    """A function for compiled code: rows x W of C, from A with any strides and a packed panel.

    chains: independent sums along the inner index, added at the end. One row has too few accumulators to hide the
    latency of a multiply-add, so it takes four of them.
    """

    @intrinsic
    def block(
        typing: Any,
        a: Any,
        a0: Any,
        by_row: Any,
        by_k: Any,
        p: Any,
        p0: Any,
        c: Any,
        c0: Any,
        ldc: Any,
        inner: Any,
        add: Any,
    ) -> Any:
        i = types.intp

        def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
            a_array, a0, by_row, by_k, p_array, p0, c_array, c0, ldc, inner, add = given
            vectors = Vectors(builder, context.get_data_type(a.dtype), lanes_of(a))
            a_start = element_pointer(context, builder, a, a_array, a0)
            p_start = element_pointer(context, builder, p, p_array, p0)
            c_start = element_pointer(context, builder, c, c_array, c0)
            width = VECTORS * vectors.lanes
            sums = [
                [[cgutils.alloca_once(builder, vectors.type) for _ in range(VECTORS)] for _ in range(rows)]
                for _ in range(chains)
            ]

            def place(r: int, v: int) -> Any:
                return builder.gep(c_start, [builder.add(builder.mul(ldc, LONG(r)), LONG(v * vectors.lanes))])

            blank = vectors.constant(0.0).value
            for chain in sums:
                for row in chain:
                    for slot in row:
                        builder.store(blank, slot)
            adding = builder.icmp_signed("!=", add, LONG(0))
            with builder.if_then(adding):  # C comes while the sums are made; to begin with it would mean to wait for it
                for r in range(rows):
                    for v in range(VECTORS):
                        emit_prefetch(builder, place(r, v), nearest=True)
            a_rows = [builder.gep(a_start, [builder.mul(by_row, LONG(r))]) for r in range(rows)]

            def step(k: Any, chain: int) -> None:
                at = builder.mul(k, LONG(width))
                panel = [
                    vectors.load(builder.gep(p_start, [builder.add(at, LONG(v * vectors.lanes))]))
                    for v in range(VECTORS)
                ]
                offset = builder.mul(k, by_k)
                for r in range(rows):
                    number = vectors.broadcast(builder.load(builder.gep(a_rows[r], [offset])))
                    for v in range(VECTORS):
                        slot = sums[chain][r][v]
                        total = Vector(vectors, builder.load(slot))
                        builder.store(vectors.fma(number, panel[v], total).value, slot)

            whole = builder.sdiv(inner, LONG(UNROLLED))
            with cgutils.for_range(builder, whole) as loop:
                first = builder.mul(loop.index, LONG(UNROLLED))
                for q in range(UNROLLED):
                    step(builder.add(first, LONG(q)), q % chains)
            with cgutils.for_range(builder, inner, start=builder.mul(whole, LONG(UNROLLED))) as loop:
                step(loop.index, 0)
            for r in range(rows):
                for v in range(VECTORS):
                    total = builder.load(sums[0][r][v])
                    for chain in sums[1:]:
                        total = builder.fadd(total, builder.load(chain[r][v]))
                    builder.store(total, sums[0][r][v])
            with builder.if_then(adding):
                for r in range(rows):
                    for v in range(VECTORS):
                        slot = sums[0][r][v]
                        builder.store((vectors.load(place(r, v)) + Vector(vectors, builder.load(slot))).value, slot)
            for r in range(rows):
                for v in range(VECTORS):
                    vectors.store(Vector(vectors, builder.load(sums[0][r][v])), place(r, v))
            return context.get_dummy_value()

        return signature(types.void, a, i, i, i, p, i, c, i, i, i, i), generate

    return block


@intrinsic
def hand_over(
    typing: Any,
    p: Any,
    p0: Any,
    q: Any,
    q0: Any,
    out: Any,
    out0: Any,
    total: Any,
    total0: Any,
    rows: Any,
    add: Any,
) -> Any:
    """Copy a panel of so many rows to `out`, and write q times it, W numbers, to `total`; add them where add is 1."""
    i = types.intp

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        vectors = Vectors(builder, context.get_data_type(p.dtype), lanes_of(p))
        source, weights, target, result = (
            element_pointer(context, builder, kind, *given[2 * k : 2 * k + 2])
            for k, kind in enumerate((p, q, out, total))
        )
        rows, add = given[8:]
        blank = vectors.constant(0.0).value
        chains = [[cgutils.alloca_once_value(builder, blank) for _ in range(VECTORS)] for _ in range(UNROLLED)]

        def step(k: Any, chain: int) -> None:
            number = vectors.broadcast(builder.load(builder.gep(weights, [k])))
            for v, slot in enumerate(chains[chain]):
                at = builder.add(builder.mul(k, LONG(VECTORS * vectors.lanes)), LONG(v * vectors.lanes))
                row = vectors.load(builder.gep(source, [at]))
                vectors.store(row, builder.gep(target, [at]))
                builder.store(vectors.fma(number, row, Vector(vectors, builder.load(slot))).value, slot)

        whole = builder.sdiv(rows, LONG(UNROLLED))
        with cgutils.for_range(builder, whole) as loop:
            first = builder.mul(loop.index, LONG(UNROLLED))
            for chain in range(UNROLLED):
                step(builder.add(first, LONG(chain)), chain)
        with cgutils.for_range(builder, rows, start=builder.mul(whole, LONG(UNROLLED))) as loop:
            step(loop.index, 0)
        for v in range(VECTORS):
            product = summed_chains(builder, vectors, [chain[v] for chain in chains])
            place = builder.gep(result, [LONG(v * vectors.lanes)])
            with builder.if_else(builder.icmp_signed("!=", add, LONG(0))) as (adding, setting):
                with adding:
                    vectors.store(vectors.load(place) + product, place)
                with setting:
                    vectors.store(product, place)
        return context.get_dummy_value()

    return signature(types.void, p, i, q, i, out, i, total, i, i, i), generate


_tall, _middle, _low, _row = microkernel(TALL), microkernel(MIDDLE), microkernel(LOW), microkernel(1, chains=UNROLLED)


@jit
def multiply(a, a0, by_row, by_k, p, p0, c, c0, ldc, inner, rows, add):
    """C[r, :] = A[r, :] P, or C += A P where add is 1. Which block takes a row depends on the number of rows alone.

    a: A[r, k] at a0 + r by_row + k by_k.  p: the panel, from p0.  c: C[r, 0] at c0 + r ldc.  All one-dimensional.
    Callers write constants as np.intp(1): for a bare 1 Numba would compile the whole once more.
    """
    r = 0
    if rows >= 2 * TALL:
        while rows - r >= TALL:
            _tall(a, a0 + r * by_row, by_row, by_k, p, p0, c, c0 + r * ldc, ldc, inner, add)
            r += TALL
    while rows - r >= MIDDLE:
        _middle(a, a0 + r * by_row, by_row, by_k, p, p0, c, c0 + r * ldc, ldc, inner, add)
        r += MIDDLE
    while rows - r >= LOW:
        _low(a, a0 + r * by_row, by_row, by_k, p, p0, c, c0 + r * ldc, ldc, inner, add)
        r += LOW
    while r < rows:
        _row(a, a0 + r * by_row, by_row, by_k, p, p0, c, c0 + r * ldc, ldc, inner, add)
        r += 1


@jit
def multiply_next(a, a0, p, p0, c, c0, size):
    """C = A P of a square A, into another panel, while the one that lies behind P is brought near bit by bit."""
    lanes = (WIDTH32 if p.itemsize == 4 else WIDTH64) // VECTORS
    width = VECTORS * lanes
    ahead = p0 + size * width
    r = 0
    if size >= 2 * TALL:
        while size - r >= TALL:
            _bring(p, ahead + r * width, lanes, TALL)
            _tall(a, a0 + r * size, size, 1, p, p0, c, c0 + r * width, width, size, 0)
            r += TALL
    _bring(p, ahead + r * width, lanes, size - r)
    one, add = np.intp(1), np.intp(0)
    multiply(a, a0 + r * size, size, one, p, p0, c, c0 + r * width, width, size, size - r, add)


@jit
def _bring(p, start, lanes, rows):
    """Prefetch rows of a panel."""
    for k in range(rows * VECTORS):
        prefetch(p, start + k * lanes)
