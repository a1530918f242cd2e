"""Checks of arguments that the generators of series and tasks share."""

import math
import operator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DataError

Series = NDArray[np.float64]  # time first, features last


def count(name: str, value: int, least: int = 1) -> int:
    """A whole number that is at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} is {value!r}; expected a whole number. Write int(...) around it.") from None
    if number < least:
        raise ArgumentError(f"{name} is {number}; it must be at least {least}.")
    return number


def real(name: str, value: float) -> float:
    """A finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} is {value!r}; expected a number.") from None
    if not math.isfinite(number):
        raise ArgumentError(f"{name} is {number}; expected a finite number.")
    return number


def positive(name: str, value: float) -> float:
    """A finite number above zero."""
    number = real(name, value)
    if number <= 0:
        raise ArgumentError(f"{name} is {number:g}; it must be above 0.")
    return number


def vector(name: str, values: ArrayLike, size: int | None = None) -> NDArray[np.float64]:
    """A sequence of finite numbers as float64, of `size` entries if that is given."""
    wanted = f"{size} numbers" if size is not None else "a sequence of numbers"
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} is {values!r}; expected {wanted}.") from None
    if array.ndim != 1 or array.size == 0 or size not in (None, array.size):
        raise DataError(f"{name} has the shape {array.shape}; expected {wanted}.")
    if not np.isfinite(array).all():
        raise DataError(f"{name} has values that are not finite. Remove them.")
    return array
