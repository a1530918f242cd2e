"""The leaky reservoir of an echo-state network: h_t = (1 - a) h_{t-1} + a f(W h_{t-1} + W_in u_t + b). [Jaeger 2001]"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import ended, times

# A dense product is cheaper than NumPy's gather, product and sum for few units, or for several lanes.
DENSE_UNITS = 256
DENSE_BATCH = 4
DENSE_MEMORY = 4096  # units; beyond, the dense matrix would take over 128 MB


def reservoir_run(
    xw: Any, w: Any, h0: Any, leak: Any, lengths: Any = None, reverse: bool = False, nonlinearity: str = "tanh"
) -> Any:
    """Run a leaky reservoir over a whole sequence.

    xw: (T, B, N) input products with bias and noise added; overwritten.
    w: the recurrent matrix, in one of three forms: an array (N, N), dense; an array (N,), a ring, in which unit i
        hears unit i - 1 with weight w[i], and unit 0 the last one (w[0] = 0 makes a delay line); a tuple
        (indptr (N + 1,), indices (nnz,), data (nnz,)), compressed sparse rows.
    h0: (B, N).  leak: (N,), the a of each unit; it stands outside the nonlinearity.
    nonlinearity: f, "tanh", "identity", "relu" or "sigmoid".
    All floating arrays are of one dtype.  Returns h (T, B, N).
    """
    h = xw
    before = h0
    times_w = _product(w, h0)
    leaky = not np.all(leak == 1)
    for t in times(len(xw), reverse):
        h[t] += times_w(before)
        _apply(nonlinearity, h[t])
        if leaky:
            h[t] -= before
            h[t] *= leak
            h[t] += before
        past = ended(lengths, t)
        if past is not None:
            h[t][past] = before[past]
        before = h[t]
    return h


def csr_times(x: Any, indptr: Any, indices: Any, data: Any) -> Any:
    """Multiply rows by the transpose of a sparse matrix: y[b, i] = sum over k in row i of data[k] x[b, indices[k]].

    x: (B, columns).  indptr: (rows + 1,).  indices, data: (nnz,).  Returns y (B, rows).
    """
    y = np.zeros((len(x), len(indptr) - 1), dtype=x.dtype)
    rows = np.flatnonzero(indptr[1:] > indptr[:-1])  # reduceat has no empty sums
    if rows.size == 0:
        return y
    starts = indptr[rows]
    terms = np.empty(len(data), dtype=x.dtype)
    for lane, sums in zip(x, y):
        np.take(lane, indices, out=terms, mode="clip")  # with out=, "raise" would go through a copy
        terms *= data
        sums[rows] = np.add.reduceat(terms, starts)
    return y


def _product(w: Any, h0: Any) -> Callable[[Any], Any]:
    """The function h -> h W^T for the form in which w is given."""
    if isinstance(w, tuple):
        indptr, indices, data = w
        batch, units = h0.shape
        if units > (DENSE_UNITS if batch < DENSE_BATCH else DENSE_MEMORY):
            return lambda h: csr_times(h, indptr, indices, data)
        w = np.zeros((units, units), dtype=data.dtype)
        np.add.at(w, (np.repeat(np.arange(units), np.diff(indptr)), indices), data)
    if w.ndim == 1:
        return lambda h: w * np.roll(h, 1, axis=1)
    return lambda h: h @ w.T


def _apply(nonlinearity: str, a: Any) -> None:
    """a <- f(a)."""
    if nonlinearity == "tanh":
        np.tanh(a, out=a)
    elif nonlinearity == "relu":
        np.maximum(a, 0, out=a)
    elif nonlinearity == "sigmoid":  # in the form that cannot overflow
        a *= 0.5
        np.tanh(a, out=a)
        a *= 0.5
        a += 0.5
    elif nonlinearity != "identity":
        raise ValueError(f'nonlinearity is "tanh", "identity", "relu" or "sigmoid"; got {nonlinearity!r}')
