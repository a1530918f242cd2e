"""Functions that rules need beyond the array API standard, for NumPy arrays.

They have the names and signatures of the functions in `tinygrad_rnn.ops`, so that one rule runs on both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["astype", "erf", "put", "scatter_add", "sigmoid", "softplus"]


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Any:
    """Cast an array, or a NumPy scalar."""
    return np.asarray(x).astype(dtype, copy=copy)


def scatter_add(x: Any, index: Any, values: Any) -> Any:
    """Return a copy of x with values added at an index; repeated indices add up."""
    out = np.array(x)
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if all(part.dtype == bool for part in arrays):  # slices and masks name no entry twice
        out[index] += values
    elif len(parts) == 1 and out.ndim == 2 and out.flags.c_contiguous and values.size:
        _add_rows(out, parts[0], values)
    else:
        np.add.at(out, index, values)
    return out


def _add_rows(out: Any, rows: Any, values: Any) -> None:
    """Add rows of values to rows of a matrix: sorted, then summed in runs; np.add.at is 5 to 20 times slower."""
    flat = rows.reshape(-1) % out.shape[0]
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    values = np.broadcast_to(values, (*rows.shape, out.shape[1])).reshape(-1, out.shape[1])
    out[ordered[starts]] += np.add.reduceat(values[order], starts, axis=0)


def put(x: Any, index: Any, values: Any) -> Any:
    """Return a copy of x with values set at an index."""
    out = np.array(x)
    out[index] = values
    return out


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow, and exact to a few ulp in both tails."""
    small = np.exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1.0, small) / (1 + small)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    return np.logaddexp(x, 0)


def erf(x: Any) -> Any:
    """Error function, from SciPy, which is loaded when it is first used."""
    from scipy.special import erf as scipy_erf

    return scipy_erf(x)
