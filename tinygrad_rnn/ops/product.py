"""Products of matrices and other sums of products, and the views of a matrix that they need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..primitive import primitive
from ..tensor import Tensor, asarray
from .reduction import one_axis
from .reduction import sum as _sum
from .shape import expand_dims, moveaxis, permute_dims, reshape, swapaxes

__all__ = [
    "diagonal", "einsum", "matmul", "matrix_transpose", "outer", "tensordot", "trace", "transpose", "vecdot",
]  # fmt: skip


def _tensor(x: Any) -> Any:
    return x if isinstance(x, Tensor) else asarray(x)


def matrix_transpose(x: Any, /) -> Tensor:
    """Exchange the last two axes.

    >>> import tinygrad_rnn as tg
    >>> tg.matrix_transpose(tg.zeros((2, 3, 4))).shape
    (2, 4, 3)
    """
    x = _tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose needs at least two axes; got shape {tuple(x.shape)}")
    return swapaxes(x, -1, -2)


def transpose(x: Any, axes: Sequence[int] | None = None, /) -> Tensor:
    """The axes in another order, reversed by default, as `numpy.transpose`.

    >>> import tinygrad_rnn as tg
    >>> tg.transpose(tg.zeros((2, 3, 4))).shape
    (4, 3, 2)
    """
    x = _tensor(x)
    return permute_dims(x, tuple(reversed(range(x.ndim))) if axes is None else axes)


# ---- products


def _times_bt(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    """g @ bᵀ, for every case of 1-d operands."""
    if b.ndim == 1:
        return xp.expand_dims(g, axis=-1) * b
    if a.ndim == 1:
        g = xp.expand_dims(g, axis=-2)
        return xp.matmul(g, xp.matrix_transpose(b))[..., 0, :]
    return xp.matmul(g, xp.matrix_transpose(b))


def _at_times(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    """aᵀ @ g. A matrix under a stack of rows takes one product over all rows, not one a slice and a sum."""
    if a.ndim == 1:
        return a * g if b.ndim == 1 else xp.expand_dims(a, axis=-1) * xp.expand_dims(g, axis=-2)
    if b.ndim == 1:
        return xp.matmul(xp.matrix_transpose(a), xp.expand_dims(g, axis=-1))[..., 0]
    if b.ndim == 2 and a.ndim > 2:
        rows = math.prod(a.shape[:-1])
        flat = xp.reshape(a, (rows, a.shape[-1]))
        return xp.matmul(xp.matrix_transpose(flat), xp.reshape(g, (rows, g.shape[-1])))
    return xp.matmul(xp.matrix_transpose(a), g)


_matmul = primitive(
    "matmul",
    lambda xp, a, b: xp.matmul(a, b),
    vjp=(_times_bt, _at_times),
    jvp=(lambda xp, d, y, a, b: xp.matmul(d, b), lambda xp, d, y, a, b: xp.matmul(a, d)),
)


def matmul(x1: Any, x2: Any, /) -> Tensor:
    """Matrix product, ``x1 @ x2``: of the last two axes; the others broadcast; a 1-d operand is a row, or a column.

    Raises ShapeError where the inner lengths differ.

    >>> import tinygrad_rnn as tg
    >>> (tg.tensor([[1.0, 2.0]]) @ tg.tensor([[3.0], [4.0]])).tolist()
    [[11.0]]
    """
    if len(getattr(x1, "shape", ())) == 0 or len(getattr(x2, "shape", ())) == 0:
        raise ShapeError("matmul needs operands of at least one axis; multiply by a number with *")
    return _matmul(x1, x2)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """Dot product along an axis; the other axes broadcast.

    >>> import tinygrad_rnn as tg
    >>> tg.vecdot(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0])).item()
    11.0
    """
    x1, x2 = _tensor(x1), _tensor(x2)
    smaller = min(x1.ndim, x2.ndim)
    if axis >= 0 or -axis > smaller:
        if x1.ndim != x2.ndim or not 0 <= axis < smaller:
            raise ShapeError(f"vecdot: axis {axis} does not fit shapes {tuple(x1.shape)} and {tuple(x2.shape)}")
        axis -= smaller
    if x1.shape[axis] != x2.shape[axis]:
        raise ShapeError(f"vecdot: axis {axis} has length {x1.shape[axis]} and {x2.shape[axis]}")
    return _sum(x1 * x2, axis=axis, dtype=np.result_type(x1.dtype, x2.dtype))


def tensordot(x1: Any, x2: Any, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """Sum of products over axes: the last `axes` of x1 with the first of x2, or two lists of axes.

    >>> import tinygrad_rnn as tg
    >>> tg.tensordot(tg.ones((2, 3)), tg.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    x1, x2 = _tensor(x1), _tensor(x2)
    if hasattr(axes, "__index__"):
        count = int(axes)  # type: ignore[arg-type]
        if not 0 <= count <= min(x1.ndim, x2.ndim):
            raise ShapeError(f"tensordot: {count} axes of shapes {tuple(x1.shape)} and {tuple(x2.shape)}")
        left, right = list(range(x1.ndim - count, x1.ndim)), list(range(count))
    else:
        left = [one_axis("tensordot", x1, a) for a in axes[0]]
        right = [one_axis("tensordot", x2, a) for a in axes[1]]
    if [x1.shape[a] for a in left] != [x2.shape[a] for a in right]:
        raise ShapeError(
            f"tensordot: axes {left} of {tuple(x1.shape)} and {right} of {tuple(x2.shape)} differ in length"
        )
    rest1 = [a for a in range(x1.ndim) if a not in left]
    rest2 = [a for a in range(x2.ndim) if a not in right]
    inner = math.prod([x1.shape[a] for a in left])
    shape1, shape2 = [x1.shape[a] for a in rest1], [x2.shape[a] for a in rest2]
    a = reshape(permute_dims(x1, rest1 + left), (math.prod(shape1), inner))
    b = reshape(permute_dims(x2, right + rest2), (inner, math.prod(shape2)))
    return reshape(matmul(a, b), (*shape1, *shape2))


def outer(x1: Any, x2: Any, /) -> Tensor:
    """``x1[:, None] * x2[None, :]`` of two vectors.

    >>> import tinygrad_rnn as tg
    >>> tg.outer(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0])).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    x1, x2 = _tensor(x1), _tensor(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ShapeError(f"outer needs two vectors; got shapes {tuple(x1.shape)} and {tuple(x2.shape)}")
    return expand_dims(x1, axis=1) * x2


def einsum(subscripts: str, /, *operands: Any) -> Tensor:
    """Sum of products after Einstein's convention, for any number of operands.

    Each operand's letters are its axes; letters that the result lacks are summed. A letter that an
    operand repeats takes the diagonal. ``...`` stands for axes that broadcast.

    >>> import tinygrad_rnn as tg
    >>> tg.einsum("ij,jk->ik", tg.ones((2, 3)), tg.ones((3, 4))).shape
    (2, 4)
    """
    inputs, output, tensors = _parsed(subscripts, [_tensor(x) for x in operands])
    sizes: dict[str, int] = {}
    for letters, x in zip(inputs, tensors):
        for letter, n in zip(letters, x.shape):
            if sizes.get(letter, 1) not in (1, n) and n != 1:
                raise ShapeError(f'einsum("{subscripts}"): axis "{letter}" has lengths {sizes[letter]} and {n}')
            sizes[letter] = max(n, sizes.get(letter, 1)) if n else 0
    result, have = tensors[0], inputs[0]
    for i, (letters, x) in enumerate(zip(inputs[1:], tensors[1:]), start=1):
        later = set("".join(inputs[i + 1 :])) | set(output)
        result, have = _pair(result, have, x, letters, later)
    gone = tuple([i for i, letter in enumerate(have) if letter not in output])
    if gone:
        result = _sum(result, axis=gone, dtype=result.dtype)
        have = "".join([letter for letter in have if letter in output])
    return permute_dims(result, [have.index(letter) for letter in output]) if have != output else result


def _parsed(subscripts: str, tensors: list[Any]) -> tuple[list[str], str, list[Any]]:
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(tensors):
        raise ArgumentError(f'einsum("{subscripts}") names {len(inputs)} operands; got {len(tensors)}')
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in text]
    widths = [x.ndim - len(part.replace("...", "")) for part, x in zip(inputs, tensors)]
    most = max([w for w, part in zip(widths, inputs) if "..." in part], default=0)
    dots = "".join(spare[:most])
    expanded = [part.replace("...", dots[most - w :] if w > 0 else "") for part, w in zip(inputs, widths)]
    for part, x in zip(expanded, tensors):
        if len(part) != x.ndim or (part and not part.isalpha()):
            raise ArgumentError(f'einsum("{subscripts}"): "{part}" does not name the axes of shape {tuple(x.shape)}')
    if not arrow:
        joined = "".join(expanded)
        output = dots + "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots))
    output = output.replace("...", dots)
    unknown = [c for c in output if c not in "".join(expanded)]
    if unknown or len(set(output)) != len(output):
        raise ArgumentError(f'einsum("{subscripts}"): the result "{output}" repeats a letter or names an unknown one')
    diagonals = [_diagonals(part, x) for part, x in zip(expanded, tensors)]
    return [part for part, _ in diagonals], output, [x for _, x in diagonals]


def _diagonals(letters: str, x: Any) -> tuple[str, Any]:
    """Take the diagonal of axes with the same letter."""
    while len(set(letters)) < len(letters):
        letter = next(c for c in letters if letters.count(c) > 1)
        i, j = [at for at, c in enumerate(letters) if c == letter][:2]
        x = diagonal(moveaxis(x, (i, j), (-2, -1)))
        letters = letters[:i] + letters[i + 1 : j] + letters[j + 1 :] + letter
    return letters, x


def _pair(a: Any, la: str, b: Any, lb: str, later: set[str]) -> tuple[Any, str]:
    """Contract two operands over the letters that nobody needs later, by one matrix product."""
    a, la = _summed_alone(a, la, later | set(lb))
    b, lb = _summed_alone(b, lb, later | set(la))
    shared = [c for c in la if c in lb and c not in later and a.shape[la.index(c)] == b.shape[lb.index(c)]]
    batch = [c for c in la if c in lb and c not in shared]
    only_a = [c for c in la if c not in lb]
    only_b = [c for c in lb if c not in la]
    pa = permute_dims(a, [la.index(c) for c in batch + only_a + shared])
    pb = permute_dims(b, [lb.index(c) for c in batch + shared + only_b])
    sa, sb = [a.shape[la.index(c)] for c in batch], [b.shape[lb.index(c)] for c in batch]
    na, nb = [a.shape[la.index(c)] for c in only_a], [b.shape[lb.index(c)] for c in only_b]
    ns = math.prod([a.shape[la.index(c)] for c in shared])
    product = matmul(reshape(pa, (*sa, math.prod(na), ns)), reshape(pb, (*sb, ns, math.prod(nb))))
    shape = (*product.shape[: len(batch)], *na, *nb)
    letters = "".join(batch + only_a + only_b)
    product = reshape(product, shape)
    gone = tuple([i for i, c in enumerate(letters) if c not in later])
    if gone:
        product = _sum(product, axis=gone, dtype=product.dtype)
        letters = "".join([c for c in letters if c in later])
    return product, letters


def _summed_alone(x: Any, letters: str, wanted: set[str]) -> tuple[Any, str]:
    """Sum over the letters that neither the other operand nor anything later wants."""
    alone = tuple([i for i, c in enumerate(letters) if c not in wanted])
    if not alone:
        return x, letters
    return _sum(x, axis=alone, dtype=x.dtype), "".join([c for c in letters if c in wanted])


def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """The diagonal of the last two axes, as the last axis of the result.

    >>> import tinygrad_rnn as tg
    >>> tg.ops.linalg.diagonal(tg.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [1.0, 4.0]
    """
    x = _tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"diagonal needs matrices; got shape {tuple(x.shape)}")
    rows, columns = x.shape[-2:]
    first_row, first_column = min(max(-offset, 0), rows), min(max(offset, 0), columns)
    steps = np.arange(max(min(rows - first_row, columns - first_column), 0))
    return x[..., steps + first_row, steps + first_column]


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """Sum of the diagonal.

    >>> import tinygrad_rnn as tg
    >>> tg.trace(tg.eye(3)).item()
    3.0
    """
    return _sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)
