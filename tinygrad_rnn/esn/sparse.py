"""The three forms of a recurrent matrix, and the product with each, recorded on the tape.

dense: values (N, N).  sparse: the values (nnz,) of compressed sparse rows, whose pattern is fixed; so a gradient with
respect to the values keeps the mask by construction.  ring: values (N,), unit i hears unit i - 1.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from .. import ops
from ..primitive import primitive
from ..tensor import Tensor


class Pattern:
    """Where the entries of a sparse matrix stand: compressed rows, and the same entries by column.

    indptr: (rows + 1,).  indices: (nnz,) the column of each entry, row by row.  columns: their number.
    Beside these: ``rows`` (nnz,), the row of each entry, and ``order`` (nnz,), the entries column by column.
    """

    def __init__(self, indptr: Any, indices: Any, columns: int) -> None:
        self.indptr, self.indices = np.asarray(indptr), np.asarray(indices)
        self.shape = (len(self.indptr) - 1, columns)
        self.rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        self.order = np.argsort(self.indices, kind="stable")

    @cached_property
    def transposed(self) -> Pattern:
        """The pattern of the transpose; its values are ``values[order]``."""
        counts = np.bincount(self.indices, minlength=self.shape[1])
        return Pattern(np.concatenate(([0], np.cumsum(counts))), self.rows[self.order], self.shape[0])

    def __repr__(self) -> str:
        return f"<pattern {self.shape[0]} x {self.shape[1]}, {len(self.indices)} entries>"


def times(x: Any, values: Any, pattern: Pattern | None) -> Tensor:
    """``x Wᵀ`` for a recurrent matrix in one of the three forms.

    x: (B, N).  values: (N, N), or (N,) for a ring, or (nnz,) with a pattern.  Returns (B, N).
    """
    if pattern is not None:
        return _sparse_product(x, values, pattern=pattern)
    if values.ndim == 1:
        return ops.roll(x, 1, axis=-1) * values
    return ops.matmul(x, ops.matrix_transpose(values))


def _forward(xp: Any, x: Any, values: Any, pattern: Pattern) -> Any:
    y = xp.zeros((x.shape[0], pattern.shape[0]), dtype=x.dtype)
    filled = np.flatnonzero(pattern.indptr[1:] > pattern.indptr[:-1])  # reduceat has no empty sums
    if filled.size:
        y[:, filled] = xp.add.reduceat(x[:, pattern.indices] * values, pattern.indptr[filled], axis=1)
    return y


def _of_values(xp: Any, x: Any, g: Any, pattern: Pattern) -> Any:
    """The cotangent of the values: for each entry, its row's cotangent times its column's input."""
    at = xp.take(g, pattern.rows, axis=1) * xp.take(x, pattern.indices, axis=1)
    return xp.sum(at, axis=0)


def _run(xp: Any, x: Any, values: Any, pattern: Pattern) -> Any:
    """The product inside a rule: recorded where the rule runs on Tensors, plain on arrays."""
    if isinstance(x, Tensor) or isinstance(values, Tensor):
        return _sparse_product(x, values, pattern=pattern)
    return _forward(xp, x, values, pattern)


_sparse_product = primitive(
    "sparse_product",
    _forward,
    vjp=(
        lambda xp, g, y, x, values, pattern: _run(xp, g, xp.take(values, pattern.order, axis=0), pattern.transposed),
        lambda xp, g, y, x, values, pattern: _of_values(xp, x, g, pattern),
    ),
    jvp=(
        lambda xp, d, y, x, values, pattern: _run(xp, d, values, pattern),
        lambda xp, d, y, x, values, pattern: _run(xp, x, d, pattern),
    ),
    doc="Rows times the transpose of a sparse matrix, given by its values.",
)
