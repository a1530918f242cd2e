"""Sequences of different lengths as one array."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError

__all__ = ["padded"]


def padded(sequences: Sequence[ArrayLike], *, value: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put sequences of integers beside each other, time first, and fill up the shorter ones at their end.

    Parameters
    ----------
    sequences : sequence of sequences of int
        At least one; none of them empty.
    value : int
        What to fill with. A recurrence that is told the lengths never sees it.

    Returns
    -------
    numbers : numpy.ndarray, int64, shape (T, B)
    lengths : numpy.ndarray, int64, shape (B,)

    Raises
    ------
    DataError
        If there is no sequence, or one is empty or not of integers.

    Examples
    --------
    >>> numbers, lengths = padded([[1, 2, 3], [4]])
    >>> numbers.tolist(), lengths.tolist()
    ([[1, 4], [2, 0], [3, 0]], [3, 1])
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays:
        raise DataError("expected at least one sequence; got none")
    for place, array in enumerate(arrays):
        if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
            raise DataError(f"sequence {place} is of {array.dtype} and shape {array.shape}; expected integers, "
                            "at least one. Leave empty sequences out.")  # fmt: skip
    lengths = np.array([array.size for array in arrays], np.int64)
    numbers = np.full((int(lengths.max()), len(arrays)), value, np.int64)
    for lane, array in enumerate(arrays):
        numbers[: array.size, lane] = array
    return numbers, lengths
