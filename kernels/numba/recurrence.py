"""What the fast paths of the recurrences share: how work is cut, the products of a step, the weight gradient.

Inside, every array is one-dimensional and contiguous, with offsets written out: one type, whatever the shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiling import inlined, jit
from .gemm import TALL, multiply
from .pack import pack_columns, panel_width, panels_of
from .simd import add_to, copy

ROWS = 20 * TALL  # of the weight gradient at a time: with CHUNK, what a core's second cache holds
CHUNK = 256  # steps x lanes that are packed at a time
NARROW = 512  # columns of a matrix up to which a block of them is read where it lies


def flat(*arrays: Any) -> tuple[Any, ...]:
    """The arrays, each as one row."""
    return tuple([array.ravel() for array in arrays])  # cheaper than reshape(-1)


@inlined
def cut_lanes(part, shares, by_units, batch):
    """The lanes of a part: first, and one past the last. Parts beyond the shares have none."""
    return (0, batch) if by_units else (min(batch, batch * part // shares), min(batch, batch * (part + 1) // shares))


@inlined
def cut_panels(part, shares, by_units, panels):
    """The panels, and with them the units, of a part."""
    return (panels * part // shares, panels * (part + 1) // shares) if by_units else (0, panels)


@inlined
def products(a, a0, lda, rows, packed, skipped, first, last, height, inner, out, out0, columns, backwards, add):
    """out[r, panels first .. last] = a[r] @ packed, or += where add is 1.

    height: rows of a panel, of which `inner` are used, after `skipped`.
    backwards: last panel first. Taken in turns, the panels that one step leaves in the cache serve the next.
    """
    width = panel_width(a)
    for s in range(first, last):
        p = first + last - 1 - s if backwards else s
        multiply(
            a, a0, lda, np.intp(1), packed, (p * height + skipped) * width, out, out0 + p * width,
            columns, inner, rows, np.intp(add),
        )  # fmt: skip


@inlined
def clear(part, parts, out):
    """A part's share of out = 0."""
    for k in range(out.size * part // parts, out.size * (part + 1) // parts):
        out[k] = 0


def weight_workspace(parts: int, padded: int) -> tuple[int, int]:
    """Sizes of what `weight_gradient` packs into, for each part."""
    return parts * CHUNK * padded, parts * CHUNK * ROWS


@inlined
def weight_gradient(part, parts, da, height, rows, h, h0, shape, reverse, out, out0, db, room):
    """A part's share of the sum over t of da[t].T @ (state before t), into out[rows, padded] from row out0 on.

    da: (T, B, height), of which the first `rows` columns count.  h: (T, B, H), the states after each step.
    h0: (B, H).  db: receives the sums of those columns.  All one-dimensional.
    """
    steps, batch, size = shape
    first, last = rows * part // parts, rows * (part + 1) // parts
    later, earlier = (0, batch) if reverse else (batch, 0)
    for rest in range(2):  # first the step that ran first, then the others; one call, compiled once
        row = earlier * rest
        da_row = later if rest else (steps - 1) * batch if reverse else 0
        count = (steps - 1) * batch if rest else batch
        states = h if rest else h0
        target = out0 + 0 * rest  # an integer of the program: a constant would be compiled anew for each value
        _add_rows(part, first, last, da, da_row, height, states, row, count, size, out, target, db, room, rest)


@jit
def _add_rows(part, first, last, da, da_row, height, h, h_row, count, size, out, out0, db, room, add):
    """out[out0 + j] += the sum over `count` rows of da[row, j] h[row], for first <= j < last; = if add is 0.

    db[j] the same without h; each chunk of da comes to the cache for both.
    """
    panels_room, block_room = room[:2]
    width, one = panel_width(h), np.intp(1)
    padded = panels_of(size, h) * width
    panels0, block0 = part * CHUNK * padded, part * CHUNK * ROWS
    if not add:
        for j in range(first, last):
            db[j] = 0
    for start in range(0, count, CHUNK):
        inner = min(CHUNK, count - start)
        if size == width:  # it is a panel as it lies
            panels_room, panels0 = h, (h_row + start) * size
        else:
            pack_columns(h, (h_row + start) * size, size, inner, size, panels_room, panels0)
        for k in range(inner):
            add_to(da, (da_row + start + k) * height + first, db, first, last - first)
        for top in range(first, last, ROWS):
            rows = min(ROWS, last - top)
            if height > NARROW:
                block, first_row, by_k = block_room, block0, rows
                for k in range(inner):
                    copy(da, (da_row + start + k) * height + top, block_room, block0 + k * rows, rows)
            else:
                block, first_row, by_k = da, (da_row + start) * height + top, height
            for p in range(padded // width):
                panel, target = panels0 + p * inner * width, (out0 + top) * padded + p * width
                adding = 1 if start > 0 else add
                multiply(block, first_row, one, by_k, panels_room, panel, out, target, padded, inner, rows, adding)


@inlined
def column_sum(da, count, size, first, last, out):
    """out[j] = the sum over `count` rows of da[row, j], for first <= j < last."""
    for j in range(first, last):
        out[j] = 0
    for k in range(count):
        add_to(da, k * size + first, out, first, last - first)


def trimmed(gradient: Any, size: int) -> Any:
    """The weight gradient without the columns that pad the last panel."""
    return gradient if gradient.shape[1] == size else np.ascontiguousarray(gradient[:, :size])
