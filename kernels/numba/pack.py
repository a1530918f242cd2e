"""Weights in the order in which the microkernels read them: panels [inner][W] in a row, zeros in the tail."""

from __future__ import annotations

from typing import Any

from .compiling import inlined, jit
from .gemm import VECTORS, WIDTH32, WIDTH64
from .simd import copy, transpose

TOGETHER = 4  # panels packed at once: a few cache lines of a row in sequence, which the processor fetches ahead


@inlined
def panel_width(array):
    """The columns of a panel, which depend on the element type."""
    return WIDTH32 if array.itemsize == 4 else WIDTH64


@inlined
def panels_of(columns, array):
    """How many panels hold so many columns."""
    return -(-columns // panel_width(array))


def padded(columns: int, dtype: Any) -> int:
    """The same in Python: the columns of whole panels, for arrays of a dtype."""
    width = WIDTH32 if dtype.itemsize == 4 else WIDTH64
    return -(-columns // width) * width


@jit
def pack_rows(source, source0, ld, inner, count, out, start):
    """Rows of a matrix (count, inner) become the columns of panels: for products with its transpose.

    source: one-dimensional, element [j, k] at source0 + j ld + k.  out: one-dimensional, from start.
    """
    width = panel_width(source)
    lanes = width // VECTORS
    for p in range(panels_of(count, source)):
        base, row = start + p * inner * width, source0 + p * width * ld
        used = min(width, count - p * width)
        blocks_j, blocks_k = used // lanes * lanes, inner // lanes * lanes
        for k in range(0, blocks_k, lanes):
            for j in range(0, blocks_j, lanes):
                transpose(source, row + j * ld + k, ld, out, base + k * width + j, width)
        for k in range(inner):
            for j in range(blocks_j if k < blocks_k else 0, used):
                out[base + k * width + j] = source[row + j * ld + k]
            for j in range(used, width):
                out[base + k * width + j] = 0


@jit
def pack_columns(source, source0, ld, inner, count, out, start):
    """Columns of a row-major matrix (inner, count) become panels of inner size `inner`: for products with it.

    source: one-dimensional, element [k, j] at source0 + k ld + j.  out: one-dimensional, from start.
    """
    width = panel_width(source)
    panels = panels_of(count, source)
    for first in range(0, panels, TOGETHER):
        for k in range(inner):
            for p in range(first, min(first + TOGETHER, panels)):
                row = start + (p * inner + k) * width
                used = min(width, count - p * width)
                copy(source, source0 + k * ld + p * width, out, row, used)
                for j in range(used, width):
                    out[row + j] = 0
