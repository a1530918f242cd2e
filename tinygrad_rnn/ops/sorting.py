"""Sorting, searching and sets, as the array API standard (2024.12) names and defines them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, asarray
from .indexing import take_along_axis
from .reduction import one_axis

__all__ = [
    "argsort", "diff", "isin", "nonzero", "searchsorted", "sort", "unique_all", "unique_counts", "unique_inverse",
    "unique_values",
]  # fmt: skip


def _tensor(x: Any) -> Any:
    return x if isinstance(x, Tensor) else asarray(x)


def _plain(array: Any, like: Any) -> Tensor:
    return asarray(np.asarray(array), backend=like.backend)


def _order(x: Any, axis: int, descending: bool, stable: bool) -> Any:
    values = x.numpy()
    if not descending:
        return np.argsort(values, axis=axis, stable=stable)
    # sorted from behind, so that equal entries keep their order
    backwards = np.argsort(np.flip(values, axis=axis), axis=axis, stable=stable)
    return values.shape[axis] - 1 - np.flip(backwards, axis=axis)


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort x along an axis.

    >>> import tinygrad_rnn as tg
    >>> tg.argsort(tg.tensor([3.0, 1.0, 2.0])).tolist()
    [1, 2, 0]
    """
    x = _tensor(x)
    return _plain(_order(x, one_axis("argsort", x, axis), descending, stable), x)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The entries in order along an axis; the gradient follows each entry to where it came from.

    >>> import tinygrad_rnn as tg
    >>> tg.sort(tg.tensor([3.0, 1.0, 2.0]), descending=True).tolist()
    [3.0, 2.0, 1.0]
    """
    x = _tensor(x)
    at = one_axis("sort", x, axis)
    return take_along_axis(x, asarray(_order(x, at, descending, stable)), axis=at)


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Tensor:
    """Where the values x2 belong in the sorted 1-d tensor x1: before ("left") or after ("right") equal ones.

    >>> import tinygrad_rnn as tg
    >>> tg.searchsorted(tg.tensor([1.0, 2.0]), tg.tensor([1.5])).tolist()
    [1]
    """
    if side not in ("left", "right"):
        raise ArgumentError(f'searchsorted: side must be "left" or "right"; got {side!r}')
    x1, x2 = _tensor(x1), _tensor(x2)
    if x1.ndim != 1:
        raise ShapeError(f"searchsorted needs a 1-d x1; got shape {tuple(x1.shape)}")
    order = None if sorter is None else _tensor(sorter).numpy()
    return _plain(np.searchsorted(x1.numpy(), x2.numpy(), side=side, sorter=order), x1)  # type: ignore[call-overload]


def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """The indices of the entries that are not zero, one tensor for each axis.

    >>> import tinygrad_rnn as tg
    >>> [i.tolist() for i in tg.nonzero(tg.tensor([0.0, 5.0, 6.0]))]
    [[1, 2]]
    """
    x = _tensor(x)
    if x.ndim == 0:
        raise ShapeError("nonzero needs at least one axis; got a 0-d tensor")
    return tuple([_plain(index, x) for index in np.nonzero(x.numpy())])


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences between neighbours along an axis, n times over.

    >>> import tinygrad_rnn as tg
    >>> tg.diff(tg.tensor([1.0, 4.0, 9.0])).tolist()
    [3.0, 5.0]
    """
    from .shape import concat

    if n < 0:
        raise ArgumentError(f"diff: n must be at least 0; got {n}")
    x = _tensor(x)
    at = one_axis("diff", x, axis)
    if n == 0:
        return x
    parts = [part for part in (prepend, x, append) if part is not None]
    if len(parts) > 1:
        x = concat([_tensor(part) for part in parts], axis=at)
    for _ in range(n):
        ahead = x[(slice(None),) * at + (slice(1, None),)]
        behind = x[(slice(None),) * at + (slice(None, -1),)]
        x = ahead - behind if x.dtype != np.bool_ else ahead ^ behind
    return x


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    """Whether each entry of x1 is one of the entries of x2 (``invert``: is none of them). NaN is in nothing.

    >>> import tinygrad_rnn as tg
    >>> tg.isin(tg.tensor([1, 2, 3]), tg.tensor([3, 1])).tolist()
    [True, False, True]
    """
    x1, x2 = _tensor(x1), _tensor(x2)
    return _plain(np.isin(x1.numpy(), x2.numpy(), invert=invert), x1)


class UniqueAll(NamedTuple):
    """Distinct values, where each first stands, which one stands at each place, and how often each occurs."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Distinct values and how often each occurs."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Distinct values, and which of them stands at each place."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Any, /) -> UniqueAll:
    """Distinct values of the flattened tensor with their first indices, inverse indices and counts.

    >>> import tinygrad_rnn as tg
    >>> tg.unique_all(tg.tensor([2, 1, 2])).counts.tolist()
    [1, 2]
    """
    x = _tensor(x)
    return UniqueAll(*[_plain(part, x) for part in np.unique_all(x.numpy())])


def unique_counts(x: Any, /) -> UniqueCounts:
    """Distinct values and their counts."""
    x = _tensor(x)
    return UniqueCounts(*[_plain(part, x) for part in np.unique_counts(x.numpy())])


def unique_inverse(x: Any, /) -> UniqueInverse:
    """Distinct values and, for each place, which of them stands there."""
    x = _tensor(x)
    return UniqueInverse(*[_plain(part, x) for part in np.unique_inverse(x.numpy())])


def unique_values(x: Any, /) -> Tensor:
    """Distinct values, in rising order.

    >>> import tinygrad_rnn as tg
    >>> tg.unique_values(tg.tensor([2, 1, 2])).tolist()
    [1, 2]
    """
    x = _tensor(x)
    return _plain(np.unique(x.numpy(), equal_nan=False), x)  # np.unique_values may leave them unsorted
