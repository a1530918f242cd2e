"""Ridge regression: streaming statistics that merge, solved without squaring the condition; and a form for tapes.

All of it minimises ``‖Y - H W - 1 bᵀ‖² + λ ‖W‖²``; the intercept b is not penalised, λ is not scaled by the rows.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..errors import ArgumentError, DataError, ShapeError
from ..tape import user_line
from ..tensor import Tensor, asarray

__all__ = ["IllConditionedWarning", "RidgeSolution", "RidgeStatistics", "fit_ridge", "ridge"]

SOLVERS = ("svd", "qr", "normal")


class IllConditionedWarning(UserWarning):
    """A linear system is so ill-conditioned that rounding decides part of its solution."""


class RidgeSolution(NamedTuple):
    """What a ridge regression gives: predictions are ``H @ weights + intercept``.

    weights: (N, O).  intercept: (O,).  condition: the condition number of the system that was solved, for solver
    "normal" that of the normal equations, which is the square of the other.
    """

    weights: Any
    intercept: Any
    condition: float


# ---- on a tape


def ridge(H: Any, Y: Any, regularization: Any) -> tuple[Tensor, Tensor]:
    """Ridge regression in Tensor operations: its result is a differentiable function of features, targets and λ.

    H: (T, N) features.  Y: (T, O) or (T,) targets.  regularization: λ, at least 0, a number or a 0-d Tensor.
    Returns weights (N, O) or (N,), and the intercept (O,) or ().

    Through the QR factors of H (centred) above √λ I, so that the condition number is not squared. With λ = 0 the
    columns of H must be independent. Derivatives of any order, in both modes.

    Raises ShapeError for lengths that differ, ArgumentError for a negative λ, or λ = 0 with fewer rows than columns.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn import esn
    >>> H, Y = tg.tensor([[0.0], [1.0], [2.0]]), tg.tensor([1.0, 3.0, 5.0])
    >>> weights, intercept = esn.ridge(H, Y, 0.0)
    >>> round(weights.item(), 4), round(intercept.item(), 4)
    (2.0, 1.0)
    """
    H, Y = (x if isinstance(x, Tensor) else asarray(x) for x in (H, Y))
    if H.ndim != 2 or Y.ndim not in (1, 2) or Y.shape[0] != H.shape[0] or 0 in H.shape:
        raise ShapeError(
            f"ridge expects H (T, N) and Y (T, O) or (T,); got {H.shape} and {Y.shape}        at {user_line()}"
        )
    value = float(regularization.item() if isinstance(regularization, Tensor) else regularization)
    if not 0 <= value < math.inf:
        raise ArgumentError(f"the regularization is a finite number, at least 0; got {value}        at {user_line()}")
    steps, features = H.shape
    if value == 0 and steps <= features:
        raise ArgumentError(
            f"ridge with regularization 0 needs more rows than columns; H has shape {H.shape}. Use a regularization "
            f"above 0.        at {user_line()}"
        )
    targets = ops.expand_dims(Y, axis=1) if Y.ndim == 1 else Y
    feature_mean, target_mean = ops.mean(H, axis=0, keepdims=True), ops.mean(targets, axis=0, keepdims=True)
    rows = H - feature_mean
    if value > 0:
        below = asarray(np.eye(features, dtype=H.dtype), backend=H.backend)
        rows = ops.concat([rows, below * regularization**0.5])
    q, r = ops.qr(rows)
    weights = ops.solve(r, ops.matmul(ops.matrix_transpose(q[:steps]), targets - target_mean))
    intercept = (target_mean - ops.matmul(feature_mean, weights))[0]
    return (weights[:, 0], intercept[0]) if Y.ndim == 1 else (weights, intercept)


# ---- streaming


class RidgeStatistics:
    """What ridge regression needs to know of any number of rows; two of them merge with ``a + b``.

    features, outputs: N and O.
    solver: "svd" (the default) and "qr" keep the triangular factor of [1, H, Y], which loses nothing to squaring:
        with small λ their error is the root of that of the normal equations. "svd" is exact about rank, and gives any
        number of λ for one decomposition; "qr" is several times faster for many features. "normal" keeps the
        centred products HᵀH and HᵀY: the fastest for many rows.

    Sources: Golub & Van Loan, ch. 5 and 6 (least squares by QR, ridge); Demmel et al. 2012 (the factors of parts
    merge); Chan, Golub & LeVeque 1983 (centred products merge).

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> H = np.random.default_rng(0).normal(size=(100, 3))
    >>> Y = H @ [[1.0], [2.0], [3.0]] + 5
    >>> a, b = esn.RidgeStatistics(3, 1).update(H[:40], Y[:40]), esn.RidgeStatistics(3, 1).update(H[40:], Y[40:])
    >>> weights, intercept, _ = (a + b).solve(0.0)
    >>> weights.ravel().round(6).tolist(), intercept.round(6).tolist()
    ([1.0, 2.0, 3.0], [5.0])
    """

    def __init__(self, features: int, outputs: int, solver: str = "svd") -> None:
        if solver not in SOLVERS:
            raise ArgumentError(f'the solver is "svd", "qr" or "normal"; got {solver!r}')
        self.features, self.outputs, self.solver = features, outputs, solver
        self.count = 0
        width = features + outputs
        if solver == "normal":
            self.mean = np.zeros(width)
            self.products = np.zeros((features, width))
        else:
            self._factor: Any = np.zeros((0, 1 + width))
            self._pending: list[Any] = []
            self._decomposed: Any = None  # the SVD of the factor's centred features, until more rows come

    def update(self, H: Any, Y: Any) -> RidgeStatistics:
        """Take in rows: H (T, N), Y (T, O). Computes in float64. Returns self.

        Raises ShapeError for other widths, DataError for entries that are not finite.
        """
        H, Y = np.asarray(H, dtype=np.float64), np.asarray(Y, dtype=np.float64)
        if H.ndim != 2 or Y.ndim != 2 or (H.shape[1], Y.shape[1], len(H)) != (self.features, self.outputs, len(Y)):
            raise ShapeError(
                f"expected H (T, {self.features}) and Y (T, {self.outputs}); got {H.shape} and {Y.shape}"
                f"        at {user_line()}"
            )
        for name, x in (("H", H), ("Y", Y)):
            if not np.isfinite(x).all():
                raise DataError(f"{name} holds NaN or infinity        at {user_line()}")
        if len(H) == 0:
            return self
        if self.solver == "normal":
            mean = np.concatenate((H.mean(axis=0), Y.mean(axis=0)))
            rows = H - mean[: self.features]
            products = np.hstack((rows.T @ rows, rows.T @ (Y - mean[self.features :])))
            self._add_products(len(H), mean, products)
        else:
            self._add_rows(np.hstack((np.ones((len(H), 1)), H, Y)), len(H))
        return self

    def __add__(self, other: Any) -> RidgeStatistics:
        """The statistics of the rows of both; neither changes."""
        if not isinstance(other, RidgeStatistics):
            return NotImplemented
        if (self.features, self.outputs, self.solver) != (other.features, other.outputs, other.solver):
            raise ShapeError(f"only statistics of one kind merge; got {self!r} and {other!r}        at {user_line()}")
        total = RidgeStatistics(self.features, self.outputs, self.solver)
        for part in (self, other):
            if part.count and self.solver == "normal":
                total._add_products(part.count, part.mean, part.products)
            elif part.count:
                total._add_rows(part.factor, part.count)
        return total

    def __radd__(self, other: Any) -> RidgeStatistics:
        """So that ``sum(parts)`` works."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __repr__(self) -> str:
        return (
            f"<RidgeStatistics of {self.count} rows, {self.features} features, {self.outputs} outputs, "
            f"solver={self.solver!r}>"
        )

    @property
    def factor(self) -> Any:
        """The triangular factor R of [1, H, Y], (at most 1 + N + O, 1 + N + O); solvers "svd" and "qr" keep it."""
        self._reduce()
        return self._factor

    def _reduce(self) -> None:
        if self._pending:
            self._factor, self._pending = np.linalg.qr(np.vstack((self._factor, *self._pending)), mode="r"), []

    def _add_rows(self, rows: Any, count: int) -> None:
        # a factorisation costs the same for few rows as for as many as there are columns: so it waits for these
        self._pending.append(rows)
        self._decomposed = None
        self.count += count
        if sum([len(each) for each in self._pending]) > 2 * rows.shape[1]:
            self._reduce()

    def _add_products(self, count: int, mean: Any, products: Any) -> None:
        total = self.count + count
        shift = mean - self.mean
        weight = self.count * count / total
        self.products = self.products + products + weight * np.outer(shift[: self.features], shift)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    def solve(self, regularization: float) -> RidgeSolution:
        """Solve for the weights and the intercept.

        regularization: λ, at least 0. With 0, solver "svd" gives the solution of least norm.
        Warns (IllConditionedWarning, with the condition number) when rounding decides part of the solution. A feature
        that is constant gets weight 0 from λ > 0 and from "svd".
        Raises DataError before the first row, or, for "qr" and "normal", when the system is singular.
        """
        if not (isinstance(regularization, (int, float, np.floating, np.integer)) and 0 <= regularization < math.inf):
            raise ArgumentError(f"the ridge is a finite number, at least 0; got {regularization!r}")
        if self.count == 0:
            raise DataError("ridge regression needs at least one row; these statistics have none")
        n, lam = self.features, float(regularization)
        if self.solver == "normal":
            mean = self.mean
            weights, condition = _solve_normal(self.products[:, :n], self.products[:, n:], lam)
        else:
            # the first column is that of the intercept: what stands right of and below it belongs to centred rows
            factor = self.factor
            mean = factor[0, 1:] / factor[0, 0]
            r, rhs = factor[1 : n + 1, 1 : n + 1], factor[1 : n + 1, n + 1 :]
            if self.solver == "qr":
                weights, condition = _solve_qr(r, rhs, lam, self.count)
            else:
                if self._decomposed is None:
                    self._decomposed = np.linalg.svd(r, full_matrices=False)
                u, s, vt = self._decomposed
                weights, condition = _solve_svd(u, s, vt, rhs, lam, self.count)
        limit = 1 / (np.finfo(np.float64).eps * 1e2)
        if condition > limit:
            fix = "a larger ridge" if self.solver != "normal" else 'a larger ridge, or solver="svd"'
            warnings.warn(
                f"ridge regression of {self.count} rows and {n} features with ridge={lam:g}: the condition number is "
                f"{condition:.1e}, and rounding decides part of the weights. Try {fix}.",
                IllConditionedWarning,
                stacklevel=2,
            )
        return RidgeSolution(weights, mean[n:] - mean[:n] @ weights, condition)


def fit_ridge(H: Any, Y: Any, regularization: float, solver: str = "svd") -> RidgeSolution:
    """Ridge regression of arrays H (T, N), Y (T, O), by any solver of `RidgeStatistics`."""
    H, Y = np.asarray(H), np.asarray(Y)
    if H.ndim != 2 or Y.ndim != 2:
        raise ShapeError(f"expected H (T, N) and Y (T, O); got {H.shape} and {Y.shape}        at {user_line()}")
    return RidgeStatistics(H.shape[1], Y.shape[1], solver).update(H, Y).solve(regularization)


def _solve_svd(u: Any, s: Any, vt: Any, rhs: Any, lam: float, count: int) -> tuple[Any, float]:
    cut = max(count, vt.shape[1]) * np.finfo(np.float64).eps * (s[0] if s.size else 0.0)
    if lam == 0:
        kept = s > cut
        gain = np.where(kept, 1 / np.where(kept, s, 1), 0)
    else:
        gain = s / (s * s + lam)
    weights = vt.T @ (gain[:, None] * (u.T @ rhs))
    return weights, _condition(s, vt.shape[1], lam)


def _solve_qr(r: Any, rhs: Any, lam: float, count: int) -> tuple[Any, float]:
    n = r.shape[1]
    stacked = np.vstack((np.hstack((r, rhs)), math.sqrt(lam) * np.eye(n, n + rhs.shape[1]))) if lam else None
    if stacked is not None:
        full: Any = np.linalg.qr(stacked, mode="r")
        r, rhs = full[:n, :n], full[:n, n:]
    s = np.abs(np.diag(r))
    if len(r) < n or not s.min() > count * np.finfo(np.float64).eps * s.max():
        raise DataError(
            f'ridge regression with solver="qr": the {n} features are linearly dependent in the {count} rows. '
            f'Use solver="svd", or a larger ridge.        at {user_line()}'
        )
    from scipy.linalg import solve_triangular

    return solve_triangular(r, rhs), _triangular_condition(r)


def _solve_normal(products: Any, rhs: Any, lam: float) -> tuple[Any, float]:
    n = len(products)
    system = products + lam * np.eye(n)
    from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve

    try:
        factor = cho_factor(system)
        return cho_solve(factor, rhs), _triangular_condition(np.triu(factor[0])) ** 2
    except LinAlgError:  # rounding has made it indefinite
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the caller warns, with the number
            weights = solve(system, rhs, assume_a="sym")
    except LinAlgError:
        raise DataError(
            f'ridge regression with solver="normal": the system of {n} features is singular. Use solver="svd", or a '
            f"larger ridge.        at {user_line()}"
        ) from None
    return weights, float(np.linalg.cond(system))


def _condition(s: Any, features: int, lam: float) -> float:
    """Condition number of the features above √λ I; columns that were never seen have singular value 0."""
    if s.size == 0:
        return 1.0
    least = s[-1] if s.size == features else 0.0
    lower = math.hypot(least, math.sqrt(lam))
    return math.hypot(s[0], math.sqrt(lam)) / lower if lower else (1.0 if s[0] == 0 else math.inf)


def _triangular_condition(r: Any) -> float:
    """Estimate of the condition number of a triangular matrix, in the 1-norm. [Higham 1987, in LAPACK]"""
    from scipy.linalg.lapack import dtrcon

    reciprocal, _ = dtrcon(r)
    return 1 / float(reciprocal) if reciprocal else math.inf
