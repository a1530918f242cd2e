"""Functions that rules need beyond the array API standard, for NumPy arrays.

They have the names and signatures of the functions in `tinygrad_rnn.ops`, so that one rule runs on both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["astype", "scatter_add", "put", "sigmoid", "softplus"]


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Any:
    """Cast an array, or a NumPy scalar."""
    return np.asarray(x).astype(dtype, copy=copy)


def scatter_add(x: Any, index: Any, values: Any) -> Any:
    """Return a copy of x with values added at an index; repeated indices add up."""
    out = np.array(x)
    np.add.at(out, index, values)
    return out


def put(x: Any, index: Any, values: Any) -> Any:
    """Return a copy of x with values set at an index."""
    out = np.array(x)
    out[index] = values
    return out


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    return np.logaddexp(x, 0)
