"""The leaky reservoir of an echo-state network: h_t = (1 - a) h_{t-1} + a f(W h_{t-1} + W_in u_t + b). [Jaeger 2001]"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import reservoir_fast
from .common import add_product, ended, integers, overwritten, plain, sigmoid, time
from .compiling import allocating, jit
from .denormals import flush_denormals, restore_denormals
from .dispatch import fast
from .reservoir_fast import IDENTITY, RELU, SIGMOID, TANH

KINDS = {"tanh": TANH, "identity": IDENTITY, "relu": RELU, "sigmoid": SIGMOID}
CROWDED = 1 / 3  # share of entries from which on a sparse matrix is multiplied as a dense one


def reservoir_run(
    xw: Any, w: Any, h0: Any, leak: Any, lengths: Any = None, reverse: bool = False, nonlinearity: str = "tanh"
) -> Any:
    """Run a leaky reservoir over a whole sequence; arguments and result as in `reference`."""
    if nonlinearity not in KINDS:
        raise ValueError(f'nonlinearity is "tanh", "identity", "relu" or "sigmoid"; got {nonlinearity!r}')
    h = overwritten(xw)
    if h.size == 0:
        return h
    vectors = fast(*h.shape)
    if isinstance(w, tuple) and len(w[2]) > CROWDED * h.shape[2] ** 2:
        w = _dense(*w)
    given = (
        plain(h0, h.dtype),
        plain(leak, h.dtype),
        integers(lengths),
        bool(reverse),
        KINDS[nonlinearity],
        not np.all(leak == 1),
    )
    if isinstance(w, tuple):
        indptr, indices, data = w
        rows = plain(np.asarray(indptr, np.int64)), plain(np.asarray(indices, np.int64)), plain(data, h.dtype)
        (reservoir_fast.sparse if vectors else _sparse)(h, *rows, *given)
    elif w.ndim == 1:
        (reservoir_fast.ring if vectors else _ring)(h, plain(w, h.dtype), *given)
    else:
        (reservoir_fast.dense if vectors else _full)(h, plain(w, h.dtype), *given)
    return h


def _dense(indptr: Any, indices: Any, data: Any) -> Any:
    """Compressed sparse rows as an array (N, N)."""
    units = len(indptr) - 1
    w = np.zeros((units, units), dtype=data.dtype)
    np.add.at(w, (np.repeat(np.arange(units), np.diff(indptr)), indices), data)
    return w


@allocating
def _full(h, w, h0, leak, lengths, reverse, kind, leaky):
    """h holds the input products, and then the states. w: (N, N)."""
    state = flush_denormals()
    turned = w.T.copy()
    before = h0
    for n in range(h.shape[0]):
        t = time(n, h.shape[0], reverse)
        add_product(h[t], before, turned)
        _settle(h[t], before, leak, lengths, t, kind, leaky)
        before = h[t]
    restore_denormals(state)


@jit
def _sparse(h, indptr, indices, data, h0, leak, lengths, reverse, kind, leaky):
    """The same with compressed sparse rows."""
    state = flush_denormals()
    before = h0
    for n in range(h.shape[0]):
        t = time(n, h.shape[0], reverse)
        for b in range(h.shape[1]):
            for i in range(h.shape[2]):
                for k in range(indptr[i], indptr[i + 1]):
                    h[t, b, i] += data[k] * before[b, indices[k]]
        _settle(h[t], before, leak, lengths, t, kind, leaky)
        before = h[t]
    restore_denormals(state)


@jit
def _ring(h, w, h0, leak, lengths, reverse, kind, leaky):
    """The same with the weights of a ring: unit i hears unit i - 1."""
    state = flush_denormals()
    before = h0
    for n in range(h.shape[0]):
        t = time(n, h.shape[0], reverse)
        for b in range(h.shape[1]):
            for i in range(h.shape[2]):
                h[t, b, i] += w[i] * before[b, i - 1]
        _settle(h[t], before, leak, lengths, t, kind, leaky)
        before = h[t]
    restore_denormals(state)


@jit
def _settle(h, before, leak, lengths, t, kind, leaky):
    """h <- (1 - a) before + a f(h), and what has ended stays as it was."""
    for b in range(h.shape[0]):
        past = ended(lengths, b, t)
        for i in range(h.shape[1]):
            if past:
                h[b, i] = before[b, i]
                continue
            if kind == TANH:
                h[b, i] = math.tanh(h[b, i])
            elif kind == RELU:
                h[b, i] = 0 if h[b, i] < 0 else h[b, i]
            elif kind == SIGMOID:
                h[b, i] = sigmoid(h[b, i])
            if leaky:
                h[b, i] = before[b, i] + leak[i] * (h[b, i] - before[b, i])
