"""Factors of matrices, on stacks of them (the last two axes), and what follows from singular values.

Sources of the rules: Giles 2008, "An extended collection of matrix derivative results"; Walter & Lehmann 2018 (QR);
Murray 2016 (Cholesky); Townsend 2016 (SVD); Golub & Pereyra 1973 (pseudoinverse).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor, asarray
from .product import matmul, matrix_transpose
from .reduction import _floats
from .shape import concat

__all__ = ["cholesky", "eigh", "eigvalsh", "matrix_rank", "pinv", "qr", "svd", "svdvals"]


def _matrices(name: str, x: Any) -> Any:
    x = _floats(name, x)
    if x.ndim < 2:
        raise ShapeError(f"{name} needs matrices; got shape {tuple(x.shape)}")
    return x


def _square(name: str, a: Any) -> Any:
    a = _floats(name, a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{name} needs square matrices; got shape {tuple(a.shape)}        at {user_line()}")
    return a


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


def _symmetric(x: Any) -> Any:
    """The symmetric part; halved first, so that large entries do not overflow."""
    half = 0.5 * x
    return half + matrix_transpose(half)


def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L with ``L @ L.T = x`` (or its transpose), x symmetric and positive definite.

    The derivative is that with respect to the symmetric part of x. Raises LinAlgError if x is not positive definite.

    >>> import tinygrad_rnn as tg
    >>> tg.cholesky(tg.tensor([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    x = _square("cholesky", x)
    lower = _cholesky(_symmetric(x))
    return matrix_transpose(lower) if upper else lower


def _completed(xp: Any, q: Any) -> Any:
    return xp.linalg.qr(q, mode="complete")[0][..., q.shape[-1] :]


_complement = primitive(
    "complement",
    _completed,
    # The rest of the basis is free up to a rotation. With the one that does not rotate it in itself, dP = -Q dQᵀ P.
    vjp=(lambda xp, g, y, q: -(y @ (xp.matrix_transpose(g) @ q)),),
    jvp=(lambda xp, d, y, q: -(q @ (xp.matrix_transpose(d) @ y)),),
    doc="Columns that make orthonormal columns a basis of the whole space.",
)


def _whole(q: Any) -> Any:
    """Orthonormal columns with those that were missing, as a square matrix."""
    return q if q.shape[-2] == q.shape[-1] else concat([q, _complement(q)], axis=-1)


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


class QR(NamedTuple):
    """Factors of `qr`."""

    Q: Tensor
    R: Tensor


def qr(x: Any, /, *, mode: str = "reduced") -> QR:
    """Q with orthonormal columns and R upper triangular with ``Q @ R = x``.

    x: (..., m, n).  mode: "reduced" gives Q (..., m, k) and R (..., k, n) with k = min(m, n); "complete" gives
        Q (..., m, m) and R (..., m, n).
    The derivative needs the first k columns to be independent. In the complete form it is that of functions which
    do not depend on the choice of the columns beyond the k-th, for there is no other.

    >>> import tinygrad_rnn as tg
    >>> q, r = tg.qr(tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> q.shape, r.shape
    ((3, 2), (2, 2))
    """
    x = _matrices("qr", x)
    if mode not in ("reduced", "complete"):
        raise ArgumentError(f'qr: mode must be "reduced" or "complete"; got {mode!r}')
    m, n = x.shape[-2:]
    if m < n:  # the square left part gives Q; the other columns of R follow
        q, r = _qr(x[..., :m])
        return QR(q, concat([r, matmul(matrix_transpose(q), x[..., m:])], axis=-1))
    q, r = _qr(x)
    if mode == "complete" and m > n:
        below = np.zeros((*x.shape[:-2], m - n, n), x.dtype)
        return QR(_whole(q), concat([r, asarray(below, backend=x.backend)], axis=-2))
    return QR(q, r)


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


class SVD(NamedTuple):
    """Factors of `svd`."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def svd(x: Any, /, *, full_matrices: bool = True) -> SVD:
    """U, S and Vh with ``U @ diag(S) @ Vh = x``, singular values in falling order.

    x: (..., m, n).  S: (..., k) with k = min(m, n).
    full_matrices: U (..., m, m) and Vh (..., n, n); otherwise U (..., m, k) and Vh (..., k, n).
    The derivative of U and Vh exists where the singular values differ and are not 0. In the full form it is that of
    functions which do not depend on the choice of the vectors beyond the k-th, for there is no other.

    >>> import tinygrad_rnn as tg
    >>> tg.svd(tg.tensor([[3.0, 0.0], [0.0, 4.0]]))[1].tolist()
    [4.0, 3.0]
    """
    x = _matrices("svd", x)
    u, s, vh = _svd(x)
    if full_matrices:
        return SVD(_whole(u), s, matrix_transpose(_whole(matrix_transpose(vh))))
    return SVD(u, s, vh)


def svdvals(x: Any, /) -> Tensor:
    """Singular values, in falling order.

    >>> import tinygrad_rnn as tg
    >>> tg.ops.linalg.svdvals(tg.tensor([[3.0, 0.0], [0.0, 4.0]])).tolist()
    [4.0, 3.0]
    """
    return svd(x, full_matrices=False).S


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


class Eigh(NamedTuple):
    """Results of `eigh`."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigh(x: Any, /) -> Eigh:
    """Eigenvalues in rising order, and eigenvectors as columns, of symmetric matrices (their symmetric part).

    >>> import tinygrad_rnn as tg
    >>> tg.ops.linalg.eigh(tg.tensor([[2.0, 0.0], [0.0, 1.0]]))[0].tolist()
    [1.0, 2.0]
    """
    x = _square("eigh", x)
    return Eigh(*_eigh(_symmetric(x)))


def eigvalsh(x: Any, /) -> Tensor:
    """Eigenvalues of symmetric matrices, in rising order."""
    return eigh(x).eigenvalues


def _pinv_push(xp: Any, d: Any, y: Any, a: Any, rtol: Any) -> Any:
    """Golub & Pereyra 1973, equation 4.12: the derivative along perturbations that keep the rank."""
    t = xp.matrix_transpose
    dt, yt = t(d), t(y)
    left, right = dt - (y @ a) @ dt, dt - dt @ (a @ y)
    return y @ (yt @ right) + left @ (yt @ y) - y @ d @ y


def _pinv_pull(xp: Any, g: Any, y: Any, a: Any, rtol: Any) -> Any:
    t = xp.matrix_transpose
    gt, yt = t(g), t(y)
    right = (gt @ y) @ yt
    left = yt @ (y @ gt)
    return right - (a @ y) @ right + left - left @ (y @ a) - yt @ g @ yt


_pinv = primitive("pinv", lambda xp, a, rtol: xp.linalg.pinv(a, rtol), vjp=(_pinv_pull,), jvp=(_pinv_push,))


def _tolerance(x: Any, rtol: Any) -> Any:
    """The ratio of singular values below which one counts as 0; the standard's default is max(m, n) * eps."""
    if rtol is None:
        return max(x.shape[-2:]) * float(np.finfo(x.dtype).eps)
    return rtol.numpy() if isinstance(rtol, Tensor) else rtol


def pinv(x: Any, /, *, rtol: Any = None) -> Tensor:
    """Moore-Penrose inverse. Its derivative is that along changes of x which keep the rank.

    rtol: singular values up to this ratio of the largest count as 0: a number, or one for each matrix of the stack;
        default: max(m, n) times the dtype's eps.

    >>> import tinygrad_rnn as tg
    >>> tg.ops.linalg.pinv(tg.tensor([[2.0, 0.0], [0.0, 0.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    x = _matrices("pinv", x)
    return _pinv(x, rtol=_tolerance(x, rtol))


def _rank(xp: Any, a: Any, rtol: Any) -> Any:
    values = xp.linalg.svd(a, compute_uv=False)
    if values.shape[-1] == 0:
        return xp.zeros(values.shape[:-1], dtype=np.int64)
    limit = xp.asarray(rtol, dtype=a.dtype) * values[..., 0]
    return xp.count_nonzero(values > limit[..., None], axis=-1)


_matrix_rank = primitive("matrix_rank", _rank, differentiable=False)


def matrix_rank(x: Any, /, *, rtol: Any = None) -> Tensor:
    """Number of singular values above ``rtol`` (see `pinv`) times the largest, as int64.

    >>> import tinygrad_rnn as tg
    >>> tg.ops.linalg.matrix_rank(tg.tensor([[2.0, 0.0], [0.0, 0.0]])).item()
    1
    """
    x = _matrices("matrix_rank", x)
    return _matrix_rank(x, rtol=_tolerance(x, rtol))
