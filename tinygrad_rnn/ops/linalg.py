"""Products of matrices, and linear algebra on stacks of matrices (the last two axes).

Sources of the decomposition rules: Giles 2008, "An extended collection of matrix derivative results";
Walter & Lehmann 2018 (QR); Murray 2016 (Cholesky); Townsend 2016 (SVD).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, LinAlgError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor, asarray
from .elementwise import abs as _abs
from .elementwise import sqrt, where
from .reduction import Axis, _floats, axes_of, one_axis
from .reduction import max as _max
from .reduction import min as _min
from .reduction import sum as _sum
from .shape import broadcast_to, expand_dims, moveaxis, permute_dims, reshape, swapaxes

__all__ = [
    "cholesky", "einsum", "inv", "matmul", "matrix_transpose", "norm", "outer", "qr", "solve", "svd", "tensordot",
    "trace", "transpose", "vecdot",
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
    return _matmul(x1, x2)  # type: ignore[no-any-return]


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
        left = [one_axis("tensordot", x1, a) for a in axes[0]]  # type: ignore[index]
        right = [one_axis("tensordot", x2, a) for a in axes[1]]  # type: ignore[index]
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
        if len(part) != x.ndim or not part.isalpha() and part:
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


# ---- solving


def _square(name: str, a: Any) -> Any:
    a = _floats(name, a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{name} needs square matrices; got shape {tuple(a.shape)}        at {user_line()}")
    return a


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
    return _inv(_square("inv", x))  # type: ignore[no-any-return]


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


def solve(a: Any, b: Any, /) -> Tensor:
    """The x with ``a @ x = b``. a: (..., n, n).  b: (n,) or (..., n, k). Raises LinAlgError for a singular matrix.

    >>> import tinygrad_rnn as tg
    >>> tg.solve(tg.tensor([[2.0, 0.0], [0.0, 4.0]]), tg.tensor([2.0, 2.0])).tolist()
    [1.0, 0.5]
    """
    a, b = _square("solve", a), _floats("solve", b)
    if b.shape[-1 if b.ndim == 1 else -2] != a.shape[-1]:
        raise ShapeError(f"solve: {tuple(a.shape)} and {tuple(b.shape)} do not fit        at {user_line()}")
    if b.ndim == 1:
        return solve(a, expand_dims(b, axis=-1))[..., 0]
    return _solve(a, b)  # type: ignore[no-any-return]


# ---- decompositions


def _half_lower(xp: Any, m: Any) -> Any:
    """Lower triangle with half of the diagonal."""
    return 0.5 * (xp.tril(m) + xp.tril(m, k=-1))


def _cholesky_vjp(xp: Any, g: Any, y: Any, a: Any) -> Any:
    t = xp.matrix_transpose
    inner = _half_lower(xp, t(y) @ g)
    m = xp.linalg.solve(t(y), t(xp.linalg.solve(t(y), t(inner))))
    return 0.5 * (m + t(m))


def _cholesky_jvp(xp: Any, d: Any, y: Any, a: Any) -> Any:
    t = xp.matrix_transpose
    d = 0.5 * (d + t(d))
    return y @ _half_lower(xp, xp.linalg.solve(y, t(xp.linalg.solve(y, t(d)))))


_cholesky = primitive("cholesky", lambda xp, a: xp.linalg.cholesky(a), vjp=(_cholesky_vjp,), jvp=(_cholesky_jvp,))


def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L with ``L @ L.T = x`` (or its transpose), x symmetric and positive definite.

    The derivative is that with respect to the symmetric part of x. Raises LinAlgError if x is not positive definite.

    >>> import tinygrad_rnn as tg
    >>> tg.cholesky(tg.tensor([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    x = _square("cholesky", x)
    lower = _cholesky(0.5 * (x + matrix_transpose(x)))
    return matrix_transpose(lower) if upper else lower  # type: ignore[no-any-return]


def _qr_vjp(xp: Any, g: Any, y: Any, a: Any) -> tuple[Any]:
    t = xp.matrix_transpose
    (q, r), (gq, gr) = y, g
    m = r @ t(gr) - t(gq) @ q
    copied = xp.tril(m, k=-1)
    symmetric = copied + t(copied) + (xp.tril(m) - copied)
    return (t(xp.linalg.solve(r, t(gq + q @ symmetric))),)


def _qr_jvp(xp: Any, d: Any, y: Any, a: Any) -> tuple[Any, Any]:
    t = xp.matrix_transpose
    q, r = y
    dr_inverse = t(xp.linalg.solve(t(r), t(d)))
    projected = t(q) @ dr_inverse
    lower = xp.tril(projected, k=-1)
    omega = lower - t(lower)
    dr = (projected - omega) @ r
    return q @ omega + dr_inverse - q @ projected, dr


_qr = primitive(
    "qr",
    lambda xp, a: tuple(xp.linalg.qr(a)),
    outputs=2,
    vjp=_qr_vjp,
    jvp=(_qr_jvp,),
)


def qr(x: Any, /, *, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Q with orthonormal columns and R upper triangular with ``Q @ R = x``, for matrices at least as tall as wide.

    Raises ShapeError for wide matrices.

    >>> import tinygrad_rnn as tg
    >>> q, r = tg.qr(tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> q.shape, r.shape
    ((3, 2), (2, 2))
    """
    x = _floats("qr", x)
    if mode != "reduced":
        raise ArgumentError(f'qr: mode must be "reduced"; got {mode!r}')
    if x.ndim < 2 or x.shape[-2] < x.shape[-1]:
        raise ShapeError(f"qr needs matrices at least as tall as wide; got shape {tuple(x.shape)}")
    return _qr(x)  # type: ignore[no-any-return]


def _svd_factors(xp: Any, s: Any) -> Any:
    """1 / (s_j² - s_i²) off the diagonal, 0 on it (and where singular values coincide)."""
    squares = s * s
    gap = xp.expand_dims(squares, axis=-2) - xp.expand_dims(squares, axis=-1)
    safe = xp.where(gap == 0, xp.ones_like(gap), gap)
    return xp.where(gap == 0, xp.zeros_like(gap), 1 / safe)


def _svd_vjp(xp: Any, g: Any, y: Any, a: Any) -> tuple[Any]:
    t = xp.matrix_transpose
    (u, s, vh), (gu, gs, gvh) = y, g
    v, gv = t(vh), t(gvh)
    f = _svd_factors(xp, s)
    row, column = xp.expand_dims(s, axis=-2), xp.expand_dims(s, axis=-1)
    ut_gu, vt_gv = t(u) @ gu, t(v) @ gv
    middle = (f * (ut_gu - t(ut_gu))) * row + column * (f * (vt_gv - t(vt_gv)))
    eye = xp.eye(s.shape[-1], dtype=s.dtype)
    total = u @ (middle + eye * xp.expand_dims(gs, axis=-2)) @ vh
    safe = xp.where(row == 0, xp.ones_like(row), row)
    total = total + ((gu - u @ ut_gu) / safe) @ vh
    total = total + u @ t((gv - v @ vt_gv) / safe)
    return (total,)


def _svd_jvp(xp: Any, d: Any, y: Any, a: Any) -> tuple[Any, Any, Any]:
    t = xp.matrix_transpose
    u, s, vh = y
    v = t(vh)
    p = t(u) @ d @ v
    f = _svd_factors(xp, s)
    row, column = xp.expand_dims(s, axis=-2), xp.expand_dims(s, axis=-1)
    safe = xp.where(row == 0, xp.ones_like(row), row)
    du = u @ (f * (p * row + column * t(p))) + (d @ v - u @ p) / safe
    dv = v @ (f * (column * p + t(p) * row)) + (t(d) @ u - v @ t(p)) / safe
    eye = xp.eye(s.shape[-1], dtype=s.dtype)
    return du, xp.sum(p * eye, axis=-1), t(dv)


_svd = primitive(
    "svd",
    lambda xp, a: tuple(xp.linalg.svd(a, full_matrices=False)),
    outputs=3,
    vjp=_svd_vjp,
    jvp=(_svd_jvp,),
)


def svd(x: Any, /, *, full_matrices: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vh with ``U @ diag(S) @ Vh = x``, singular values in falling order.

    The derivative of U and Vh exists where the singular values differ and are not 0.

    >>> import tinygrad_rnn as tg
    >>> tg.svd(tg.tensor([[3.0, 0.0], [0.0, 4.0]]))[1].tolist()
    [4.0, 3.0]
    """
    x = _floats("svd", x)
    if x.ndim < 2:
        raise ShapeError(f"svd needs matrices; got shape {tuple(x.shape)}")
    if full_matrices:
        raise ArgumentError("svd: the full form has no derivative; use full_matrices=False")
    return _svd(x)  # type: ignore[no-any-return]


def svdvals(x: Any, /) -> Tensor:
    """Singular values, in falling order.

    >>> import tinygrad_rnn as tg
    >>> tg.ops.linalg.svdvals(tg.tensor([[3.0, 0.0], [0.0, 4.0]])).tolist()
    [4.0, 3.0]
    """
    return svd(x)[1]


def _eigh_gaps(xp: Any, w: Any) -> Any:
    gap = xp.expand_dims(w, axis=-2) - xp.expand_dims(w, axis=-1)
    safe = xp.where(gap == 0, xp.ones_like(gap), gap)
    return xp.where(gap == 0, xp.zeros_like(gap), 1 / safe)


def _eigh_vjp(xp: Any, g: Any, y: Any, a: Any) -> tuple[Any]:
    t = xp.matrix_transpose
    (w, v), (gw, gv) = y, g
    eye = xp.eye(w.shape[-1], dtype=w.dtype)
    m = v @ (eye * xp.expand_dims(gw, axis=-2) + _eigh_gaps(xp, w) * (t(v) @ gv)) @ t(v)
    return (0.5 * (m + t(m)),)


def _eigh_jvp(xp: Any, d: Any, y: Any, a: Any) -> tuple[Any, Any]:
    t = xp.matrix_transpose
    w, v = y
    p = t(v) @ (0.5 * (d + t(d))) @ v
    eye = xp.eye(w.shape[-1], dtype=w.dtype)
    return xp.sum(p * eye, axis=-1), v @ (_eigh_gaps(xp, w) * p)


_eigh = primitive("eigh", lambda xp, a: tuple(xp.linalg.eigh(a)), outputs=2, vjp=_eigh_vjp, jvp=(_eigh_jvp,))


def eigh(x: Any, /) -> tuple[Tensor, Tensor]:
    """Eigenvalues in rising order, and eigenvectors as columns, of symmetric matrices (their symmetric part).

    >>> import tinygrad_rnn as tg
    >>> tg.ops.linalg.eigh(tg.tensor([[2.0, 0.0], [0.0, 1.0]]))[0].tolist()
    [1.0, 2.0]
    """
    x = _square("eigh", x)
    return _eigh(0.5 * (x + matrix_transpose(x)))  # type: ignore[no-any-return]


def eigvalsh(x: Any, /) -> Tensor:
    """Eigenvalues of symmetric matrices, in rising order."""
    return eigh(x)[0]


# ---- numbers of a matrix


def _cofactors(xp: Any, a: Any, y: Any) -> Any:
    """dy/da of y = det(a), transposed inverse times determinant."""
    return xp.expand_dims(xp.expand_dims(y, axis=-1), axis=-1) * xp.matrix_transpose(xp.linalg.inv(a))


_det = primitive(
    "det",
    lambda xp, a: xp.linalg.det(a),
    vjp=(
        lambda xp, g, y, a: xp.expand_dims(xp.expand_dims(g, axis=-1), axis=-1) * _cofactors(xp, a, y),
    ),
    jvp=(lambda xp, d, y, a: xp.sum(d * _cofactors(xp, a, y), axis=(-2, -1)),),
)


def det(x: Any, /) -> Tensor:
    """Determinant of square matrices; its derivative needs an invertible one."""
    return _det(_square("det", x))  # type: ignore[no-any-return]


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


def slogdet(x: Any, /) -> tuple[Tensor, Tensor]:
    """Sign and logarithm of the absolute value of the determinant."""
    return _slogdet(_square("slogdet", x))  # type: ignore[no-any-return]


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
    first_row, first_column = max(-offset, 0), max(offset, 0)
    steps = np.arange(max(min(rows - first_row, columns - first_column), 0))
    return x[..., steps + first_row, steps + first_column]  # type: ignore[no-any-return]


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """Sum of the diagonal.

    >>> import tinygrad_rnn as tg
    >>> tg.trace(tg.eye(3)).item()
    3.0
    """
    return _sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """Cross product of vectors of three entries along an axis."""
    x1, x2 = _tensor(x1), _tensor(x2)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ShapeError(f"cross: axis {axis} of {tuple(x1.shape)} and {tuple(x2.shape)} must have length 3")
    from .shape import roll

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


def pinv(x: Any, /, *, rtol: float | None = None) -> Tensor:
    """Moore-Penrose inverse of matrices of full rank, by the normal equations of the smaller side.

    rtol: ratio of singular values below which a matrix counts as rank deficient (LinAlgError).
    """
    x = _floats("pinv", x)
    values = np.linalg.svd(x.numpy(), compute_uv=False)
    limit = np.finfo(x.dtype).eps * max(x.shape[-2:]) if rtol is None else rtol
    if values.size and (values[..., -1] <= limit * values[..., 0]).any():
        raise LinAlgError("pinv: a matrix is rank deficient, where the derivative does not exist")
    xt = matrix_transpose(x)
    if x.shape[-2] >= x.shape[-1]:
        return solve(matmul(xt, x), xt)
    return matrix_transpose(solve(matmul(x, xt), x))


_matrix_rank = primitive(
    "matrix_rank", lambda xp, a, rtol: xp.linalg.matrix_rank(a, rtol=rtol), differentiable=False
)


def matrix_rank(x: Any, /, *, rtol: float | None = None) -> Tensor:
    """Number of singular values above ``rtol`` times the largest."""
    return _matrix_rank(_floats("matrix_rank", x), rtol=rtol)  # type: ignore[no-any-return]


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
        return (_max if ord > 0 else _min)(_abs(x), axis=axes, keepdims=keepdims)
    if ord == 0:
        return (x != 0).astype(x.dtype).sum(axis=axes, keepdims=keepdims)  # type: ignore[no-any-return]
    if ord == 1:
        return _sum(_abs(x), axis=axes, keepdims=keepdims)
    top = _max(_abs(x), axis=axes, keepdims=True).detach() if x.size else None
    scale = 1.0 if top is None else where((top > 0) & (top < math.inf), top, 1.0)  # no overflow on the way
    total = _sum(_abs(x / scale) ** ord if ord != 2 else (x / scale) ** 2, axis=axes, keepdims=True)
    some = total > 0
    root = where(some, sqrt(where(some, total, 1.0)) if ord == 2 else where(some, total, 1.0) ** (1 / ord), 0.0 * total)
    root = root * scale
    return root if keepdims else reshape(root, tuple([n for i, n in enumerate(x.shape) if i not in axes]))  # type: ignore[no-any-return]


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Norm of matrices: "fro", "nuc" (sum of the singular values), 1, -1, 2, -2, inf or -inf."""
    x = _floats("matrix_norm", x)
    if x.ndim < 2:
        raise ShapeError(f"matrix_norm needs matrices; got shape {tuple(x.shape)}")
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
