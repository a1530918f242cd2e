"""Where the values of a case come from: a generator with a fixed seed, or Hypothesis. Both offer the same few methods.

Values lie on the lattice of `strategies`, odd multiples of half a spacing: never 0, never an integer, never a multiple
of the spacing, and exact in each float type.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..tensor import Tensor, as_dtype, asarray

Shape = tuple[int, ...]
Option = TypeVar("Option")


class Range(NamedTuple):
    """The lattice values inside (low, high); the bounds are multiples of the spacing."""

    low: float
    high: float
    spacing: float = 2.0**-4


REAL = Range(-4, 4)
POSITIVE = Range(0, 4)
UNIT = Range(-1, 1)
COARSE = Range(-4, 4, 0.25)  # at least 1/8 away from 0, for what divides


class Draws(ABC):
    """A source of whole numbers, choices, shapes and tensors.

    dtype: of the tensors.  least: shortest axis of a shape, 0 where empty tensors are asked for, else 1.
    """

    def __init__(self, dtype: Any = "float64", least: int = 1) -> None:
        self.dtype = as_dtype(dtype)
        self.least = least

    @abstractmethod
    def integer(self, low: int, high: int) -> int:
        """A whole number, low <= n <= high."""

    @abstractmethod
    def tensor(self, shape: Sequence[int], within: Range | Sequence[float] = REAL, *, unique: bool = False) -> Tensor:
        """A tensor with values in a range, all different if `unique`, in any memory layout."""

    def pick(self, options: Sequence[Option]) -> Option:
        """One of the options; the first is the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def flag(self) -> bool:
        """False, the simpler, or True."""
        return self.pick((False, True))

    def shape(self, min_dims: int = 0, max_dims: int = 2, max_side: int = 3, *, least: int | None = None) -> Shape:
        """A shape; `least` overrides the shortest axis. Longer axes, and more of them, come up more often."""
        low = self.least if least is None else least
        dims = self.pick([*range(min_dims, max_dims + 1), *2 * list(range(max(1, min_dims), max_dims + 1))])
        return tuple(self.pick([*range(low, max_side + 1), *range(2, max_side + 1)]) for _ in range(dims))

    def narrowed(self, shape: Shape) -> Shape:
        """A shape that broadcasts to `shape`: axes are missing in front, or have length 1."""
        kind = self.pick(("the same", "ones", "ones", "short", "both"))
        kept = shape[self.integer(1, len(shape)) :] if shape and kind in ("short", "both") else shape
        return tuple(1 if kind in ("ones", "both") and self.pick((True, True, False)) else side for side in kept)

    def indices(self, count: int, size: int) -> Any:
        """Indices below `size`, which may repeat."""
        return np.array([self.integer(0, size - 1) for _ in range(count)], dtype=np.int64)

    def order(self, size: int) -> tuple[int, ...]:
        """The numbers below `size` in any order."""
        left = list(range(size))
        return tuple(left.pop(self.integer(0, len(left) - 1)) for _ in range(size))

    def axes(self, ndim: int) -> tuple[int, ...]:
        """Some of the axes, in order: all, one, several or none."""
        kind = self.pick(("all", "one", "some"))
        if kind == "one" and ndim:
            return (self.integer(0, ndim - 1),)
        return tuple(axis for axis in range(ndim) if kind == "all" or not self.flag())

    def mask(self, shape: Shape) -> Any:
        """An array of truth values."""
        return np.array([self.flag() for _ in range(math.prod(shape))], dtype=bool).reshape(shape)

    def array(self, shape: Sequence[int], within: Range | Sequence[float] = REAL) -> Any:
        """The values of a tensor as float64, for a case that computes its input from them."""
        return np.asarray(self.tensor(shape, within).numpy(), dtype=np.float64)

    def wrap(self, array: Any) -> Tensor:
        """A computed array as a tensor of this source's dtype."""
        return asarray(np.asarray(array, dtype=self.dtype))


class Seeded(Draws):
    """Draws from a NumPy generator."""

    def __init__(self, rng: np.random.Generator, dtype: Any = "float64", least: int = 1) -> None:
        super().__init__(dtype, least)
        self.rng = rng

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def tensor(self, shape: Sequence[int], within: Range | Sequence[float] = REAL, *, unique: bool = False) -> Tensor:
        low, high, spacing = Range(*within)
        shape, count = tuple(shape), math.prod(shape)
        while unique and (high - low) / spacing < count:
            spacing /= 2
        places = self.rng.choice(round((high - low) / spacing), count, replace=not unique)
        values = (low + spacing * (places + 0.5)).reshape(shape).astype(self.dtype)
        return asarray(self._laid_out(values, unique))

    def _laid_out(self, values: Any, unique: bool) -> Any:
        """The values in C order, Fortran order, as every other entry of an array with NaN between, or repeated."""
        layout = self.pick(("C", "F", "strided", "C" if unique else "broadcast"))
        if not values.size or not values.ndim or layout == "C":
            return values
        if layout == "F":
            return np.asfortranarray(values)
        if layout == "broadcast":
            return np.broadcast_to(values[:1], values.shape)
        holder = np.full([2 * side for side in values.shape], np.nan, dtype=values.dtype)
        view = holder[(slice(None, None, self.pick((2, -2))),) * values.ndim]
        view[...] = values
        return view


def drawn(draw: Any, dtype: Any = "float64", least: int = 1) -> Draws:
    """Make draws from the `draw` of a Hypothesis composite."""
    from hypothesis import strategies as st

    from .strategies import tensors

    class Drawn(Draws):
        def integer(self, low: int, high: int) -> int:
            return low if low == high else int(draw(st.integers(low, high)))

        def tensor(
            self, shape: Sequence[int], within: Range | Sequence[float] = REAL, *, unique: bool = False
        ) -> Tensor:
            low, high, spacing = Range(*within)
            found: Tensor = draw(tensors(tuple(shape), self.dtype, (low, high), spacing=spacing, unique=unique))
            return found

    return Drawn(dtype, least)
