"""The standard's extension for linear algebra, on stacks of matrices (the last two axes): `tinygrad_rnn.ops.linalg`.

Products are in product.py and decompositions in decomposition.py; here are solving, determinants and norms.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor, asarray
from .decomposition import _matrices, _square, cholesky, qr, svd, svdvals
from .decomposition import eigh as eigh  # what is not used here belongs to the extension
from .decomposition import eigvalsh as eigvalsh
from .decomposition import matrix_rank as matrix_rank
from .decomposition import pinv as pinv
from .elementwise import abs as _abs
from .elementwise import sqrt, where
from .product import _tensor, einsum, matmul, matrix_transpose, outer, tensordot, trace, transpose, vecdot
from .product import diagonal as diagonal
from .reduction import Axis, _floats, axes_of
from .reduction import max as _max
from .reduction import min as _min
from .reduction import sum as _sum
from .shape import broadcast_to, expand_dims, reshape, roll

# what `tinygrad_rnn` itself shows; the module also holds the rest of the extension
__all__ = [
    "cholesky", "einsum", "inv", "matmul", "matrix_transpose", "norm", "outer", "qr", "solve", "svd", "tensordot",
    "trace", "transpose", "vecdot",
]  # fmt: skip


_inv = primitive(
    "inv",
    lambda xp, a: xp.linalg.inv(a),
    vjp=(lambda xp, g, y, a: -(xp.matrix_transpose(y) @ g @ xp.matrix_transpose(y)),),
    jvp=(lambda xp, d, y, a: -(y @ d @ y),),
)


def inv(x: Any, /) -> Tensor:
    """Inverse of square matrices. Raises LinAlgError for a singular one. (To solve a system, `solve` is better.)

    >>> import tinygrad_rnn as tg
    >>> tg.inv(tg.tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return _inv(_square("inv", x))


_solve = primitive(
    "solve",
    lambda xp, a, b: xp.linalg.solve(a, b),
    vjp=(
        lambda xp, g, y, a, b: -(xp.linalg.solve(xp.matrix_transpose(a), g) @ xp.matrix_transpose(y)),
        lambda xp, g, y, a, b: xp.linalg.solve(xp.matrix_transpose(a), g),
    ),
    jvp=(
        lambda xp, d, y, a, b: -xp.linalg.solve(a, d @ y),
        lambda xp, d, y, a, b: xp.linalg.solve(a, d),
    ),
)


def solve(x1: Any, x2: Any, /) -> Tensor:
    """The x with ``x1 @ x = x2``. x1: (..., n, n).  x2: (n,) or (..., n, k). Raises LinAlgError for a singular matrix.

    >>> import tinygrad_rnn as tg
    >>> tg.solve(tg.tensor([[2.0, 0.0], [0.0, 4.0]]), tg.tensor([2.0, 2.0])).tolist()
    [1.0, 0.5]
    """
    a, b = _square("solve", x1), _floats("solve", x2)
    if b.shape[-1 if b.ndim == 1 else -2] != a.shape[-1]:
        raise ShapeError(f"solve: {tuple(a.shape)} and {tuple(b.shape)} do not fit        at {user_line()}")
    if b.ndim == 1:
        return solve(a, expand_dims(b, axis=-1))[..., 0]
    return _solve(a, b)


def _cofactors(xp: Any, a: Any, y: Any) -> Any:
    """dy/da of y = det(a), transposed inverse times determinant."""
    return xp.expand_dims(xp.expand_dims(y, axis=-1), axis=-1) * xp.matrix_transpose(xp.linalg.inv(a))


_det = primitive(
    "det",
    lambda xp, a: xp.linalg.det(a),
    vjp=(lambda xp, g, y, a: xp.expand_dims(xp.expand_dims(g, axis=-1), axis=-1) * _cofactors(xp, a, y),),
    jvp=(lambda xp, d, y, a: xp.sum(d * _cofactors(xp, a, y), axis=(-2, -1)),),
)


def det(x: Any, /) -> Tensor:
    """Determinant of square matrices; its derivative needs an invertible one."""
    return _det(_square("det", x))


_slogdet = primitive(
    "slogdet",
    lambda xp, a: tuple(xp.linalg.slogdet(a)),
    outputs=2,
    vjp=lambda xp, g, y, a: (
        xp.expand_dims(xp.expand_dims(g[1], axis=-1), axis=-1) * xp.matrix_transpose(xp.linalg.inv(a)),
    ),
    jvp=(
        lambda xp, d, y, a: (
            xp.zeros_like(y[0]),
            xp.sum(d * xp.matrix_transpose(xp.linalg.inv(a)), axis=(-2, -1)),
        ),
    ),
)


class SlogDet(NamedTuple):
    """Results of `slogdet`."""

    sign: Tensor
    logabsdet: Tensor


def slogdet(x: Any, /) -> SlogDet:
    """Sign and logarithm of the absolute value of the determinant."""
    return SlogDet(*_slogdet(_square("slogdet", x)))


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """Cross product of vectors of three entries along an axis."""
    x1, x2 = _tensor(x1), _tensor(x2)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ShapeError(f"cross: axis {axis} of {tuple(x1.shape)} and {tuple(x2.shape)} must have length 3")
    return roll(x1, -1, axis=axis) * roll(x2, -2, axis=axis) - roll(x1, -2, axis=axis) * roll(x2, -1, axis=axis)


def matrix_power(x: Any, n: int, /) -> Tensor:
    """Product of n copies of a square matrix; of its inverse for a negative n."""
    x = _square("matrix_power", x)
    if n < 0:
        x, n = inv(x), -n
    result = broadcast_to(asarray(np.eye(x.shape[-1], dtype=x.dtype), backend=x.backend), x.shape)
    while n:
        if n % 2:
            result = matmul(result, x)
        n //= 2
        x = matmul(x, x) if n else x
    return result


# ---- norms


def vector_norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """Norm of x over axes as one long vector. Its derivative at 0 is 0.

    ord: 2 (Euclidean), 1, inf, -inf, 0 (number of entries that are not 0) or any positive number.

    >>> import tinygrad_rnn as tg
    >>> tg.ops.linalg.vector_norm(tg.tensor([3.0, 4.0])).item()
    5.0
    """
    x = _floats("vector_norm", x)
    axes = axes_of("vector_norm", x, axis)
    if ord in (math.inf, -math.inf):
        if math.prod([x.shape[a] for a in axes]) == 0:  # nothing to compare: 0, or infinity for the smallest
            return _sum(x, axis=axes, keepdims=keepdims) + (0.0 if ord > 0 else math.inf)
        return (_max if ord > 0 else _min)(_abs(x), axis=axes, keepdims=keepdims)
    if ord == 0:
        return (x != 0).astype(x.dtype).sum(axis=axes, keepdims=keepdims)
    if ord == 1:
        return _sum(_abs(x), axis=axes, keepdims=keepdims)
    top = _max(_abs(x), axis=axes, keepdims=True).detach() if x.size else None
    scale = 1.0 if top is None else where((top > 0) & (top < math.inf), top, 1.0)  # no overflow on the way
    total = _sum(_abs(x / scale) ** ord if ord != 2 else (x / scale) ** 2, axis=axes, keepdims=True)
    some = total > 0
    powered = where(some, total, 1.0)
    rest = 0.0 * total + (math.inf if ord < 0 else 0.0)
    root = where(some, sqrt(powered) if ord == 2 else powered ** (1 / ord), rest) * scale
    return root if keepdims else reshape(root, tuple([n for i, n in enumerate(x.shape) if i not in axes]))


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Norm of matrices: "fro", "nuc" (sum of the singular values), 1, -1, 2, -2, inf or -inf."""
    x = _matrices("matrix_norm", x)
    if 0 in x.shape[-2:] and ord in ("nuc", 1, 2, math.inf):
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)  # 0
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        values = svdvals(x)
        result = _sum(values, axis=-1) if ord == "nuc" else (_max if ord == 2 else _min)(values, axis=-1)
    elif ord in (1, -1, math.inf, -math.inf):
        sums = _sum(_abs(x), axis=-2 if ord in (1, -1) else -1)
        result = (_max if ord > 0 else _min)(sums, axis=-1)
    else:
        raise ArgumentError(f"matrix_norm: ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf; got {ord!r}")
    return reshape(result, (*result.shape, 1, 1)) if keepdims else result


def norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """The same as `linalg.vector_norm`: by default the Euclidean norm of all entries. norm'(0) = 0.

    >>> import tinygrad_rnn as tg
    >>> tg.grad(tg.norm)(tg.zeros(2)).tolist()
    [0.0, 0.0]
    """
    return vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)
