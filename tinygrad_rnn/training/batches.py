"""Where the batches of a training run come from: every batch is a function of the seed and of the step's number."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, ShapeError
from ..tensor import Tensor, asarray


class ArrayBatches:
    """Arrays with one first axis in common, in shuffled batches.

    Epoch e takes the examples in an order that follows from (seed, e) alone, so there is no position to save: after k
    steps a run goes on with ``batch(k)``. The last batch of an epoch holds what is left.

    arrays: NumPy arrays, Tensors or lists, (x, y) as a rule; at least one example, as many in each.
    batch_size: examples of a batch; if there are fewer, a batch is all of them.
    seed: an integer of at least 0.
    dtype: what floats are cast to; the model's.  backend: where the batches are.  name: for the messages.

    Raises DataError for no arrays, for no examples, unequal numbers of them, what is no number, and what is not
    finite; ArgumentError for a batch size below 1.

    >>> import numpy as np
    >>> from tinygrad_rnn.training import ArrayBatches
    >>> batches = ArrayBatches((np.arange(5), np.arange(5) * 10), batch_size=2)
    >>> [[part.tolist() for part in batches.batch(step)] for step in range(batches.steps_per_epoch)]
    [[[2, 4], [20, 40]], [[3, 0], [30, 0]], [[1], [10]]]
    """

    def __init__(
        self,
        arrays: Sequence[Any],
        batch_size: int = 32,
        seed: int = 0,
        *,
        dtype: Any = np.float32,
        backend: Any = None,
        name: str = "data",
    ) -> None:
        self.batch_size, self.seed, self.backend = whole("batch_size", batch_size, 1), whole("seed", seed, 0), backend
        names = ["x", "y"] if len(arrays) == 2 else [str(i) for i in range(len(arrays))]
        self.arrays = [_checked(f"{name}'s {each}", array, dtype) for each, array in zip(names, arrays)]
        if not self.arrays:
            raise DataError(f"{name} expected arrays (x, y); got none")
        counts = [len(array) for array in self.arrays]
        if len(set(counts)) > 1:
            listed = ", ".join(f"{each} has {count}" for each, count in zip(names, counts))
            raise DataError(f"{name} expected as many examples in each array, along the first axis; {listed}")
        self.examples = counts[0]
        if not self.examples:
            raise DataError(f"{name} is empty: its arrays have no example; give at least one, or leave it out")
        self.steps_per_epoch = -(-self.examples // self.batch_size)
        self._order: tuple[int, Any] | None = None

    def batch(self, step: int) -> tuple[Any, ...]:
        """The batch of a step, counted from 0 over all epochs: new NumPy arrays."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.examples)
        chosen = self._order[1][place * self.batch_size : (place + 1) * self.batch_size]
        return tuple([array[chosen] for array in self.arrays])

    def in_order(self) -> Iterator[tuple[Any, ...]]:
        """All batches of the examples in the order in which they stand."""
        for start in range(0, self.examples, self.batch_size):
            yield tuple([array[start : start + self.batch_size] for array in self.arrays])

    def placed(self, batch: Sequence[Any]) -> tuple[Tensor, ...]:
        """The arrays of a batch as Tensors."""
        return tuple([asarray(np.ascontiguousarray(array), backend=self.backend) for array in batch])

    def fingerprint(self) -> str:
        """SHA-256 of shapes, dtypes and values."""
        digest = hashlib.sha256()
        for array in self.arrays:
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        return digest.hexdigest()


class FunctionBatches:
    """Batches from a function of the step's number, such as ``Lanes.window``, or an object with a method ``batch``.

    They are passed to the loss as they come. An object may have ``steps_per_epoch``.
    Raises ArgumentError for anything else.
    """

    def __init__(self, data: Any) -> None:
        given = getattr(data, "batch", None)
        self.batch: Callable[[int], Any] = given if callable(given) else data
        if not callable(self.batch):
            raise ArgumentError(
                "data is a tuple of arrays (x, y), an object with a method batch(step), or a function of the step; "
                f"got a {type(data).__name__}"
            )
        self.steps_per_epoch: int | None = getattr(data, "steps_per_epoch", None)


def augmented(batch: Any, augment: Callable[[Any, Any], Any], rng: np.random.Generator) -> Any:
    """The batch with its first array changed by an augmentation; the array given is not written to.

    batch: a tuple or list whose first entry is x, or x itself.  augment: ``augment(x, rng)`` returns a new x of as many
    examples; it is cast to the dtype of x.  Raises ShapeError if their number changed.
    """
    several = isinstance(batch, (tuple, list))
    x = batch[0] if several else batch
    x = x.numpy() if isinstance(x, Tensor) else np.asarray(x)
    made = augment(x.copy(), rng)
    made = made.numpy() if isinstance(made, Tensor) else np.asarray(made)
    if made.shape[:1] != x.shape[:1]:
        raise ShapeError(f"augment must return as many examples as it got: got x of {x.shape}, made {made.shape}")
    made = made.astype(x.dtype, copy=False)
    if not several:
        return made
    return type(batch)(*[made, *batch[1:]]) if hasattr(batch, "_fields") else type(batch)([made, *batch[1:]])


def whole(name: str, value: Any, least: int) -> int:
    """Return a whole number as an int. Raises ArgumentError for anything else, and below `least`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ArgumentError(f"{name} is a whole number of at least {least}; got {value!r}")
    return number


def _checked(name: str, data: Any, dtype: Any) -> Any:
    try:
        array = data.numpy() if isinstance(data, Tensor) else np.asarray(data)
    except ValueError as error:  # ragged lists
        raise DataError(f"{name} is no array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} expected numbers; got an array of {array.dtype}")
    if array.ndim == 0:
        raise DataError(f"{name} expected examples along a first axis; got one number")
    if array.dtype.kind == "f":
        good = np.isfinite(array)
        if not good.all():
            place = tuple(int(i) for i in np.argwhere(~good)[0])
            bad = array.size - int(good.sum())
            raise DataError(
                f"{name} holds {bad} value{'s' if bad != 1 else ''} that {'are' if bad != 1 else 'is'} not finite, "
                f"the first at index {place}: {array[place]}. Drop these examples, or fill the gaps."
            )
        return array.astype(dtype, copy=False)
    keep = array.dtype in (np.dtype(bool), np.dtype(np.int32), np.dtype(np.int64))
    return array if keep else array.astype(np.int64)
