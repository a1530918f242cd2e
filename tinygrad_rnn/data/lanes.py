"""Windows of a long text for truncated BPTT with the state carried over."""

import operator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DataError


class Window(NamedTuple):
    """What one training step sees: inputs, the characters that follow them, and whether the state starts anew."""

    x: NDArray[np.integer]
    y: NDArray[np.integer]
    fresh: bool


class Lanes:
    """A text cut into `batch` contiguous lanes, which are read side by side, `steps` characters at a time.

    Lane b is the b-th of `batch` equal pieces of the text. Window k + 1 goes on in every lane where window k stopped,
    so the state after one window is the right initial state of the next; only where the lanes start over (``fresh``)
    must it be set back. [Truncated BPTT: Williams & Peng 1990]

    There is no position to save: `window` is a function of the number of the step, so a run that was interrupted
    after k steps goes on with ``window(k)``.

    Parameters
    ----------
    ids : integer array_like, shape (N,)
        The text as indices. int32 is kept, every other integer dtype becomes int64.
    batch : int
        Number of lanes.
    steps : int
        Length of a window.

    Raises
    ------
    DataError
        If `ids` is no sequence of integers, or shorter than ``batch * (steps + 1)``: each lane needs one window and
        the character that follows it.
    ArgumentError
        If `batch` or `steps` is below 1.

    Examples
    --------
    >>> lanes = Lanes(range(14), batch=2, steps=3)
    >>> lanes.windows_per_epoch
    2
    >>> x, y, fresh = lanes.window(0)
    >>> x.T                                     # one row a lane
    array([[0, 1, 2],
           [7, 8, 9]])
    >>> y.T
    array([[ 1,  2,  3],
           [ 8,  9, 10]])
    >>> lanes.window(1).x.T, lanes.window(1).fresh, lanes.window(2).fresh
    (array([[ 3,  4,  5],
           [10, 11, 12]]), False, True)
    """

    def __init__(self, ids: ArrayLike, batch: int, steps: int):
        self.batch, self.steps = operator.index(batch), operator.index(steps)
        for name, value in (("batch", self.batch), ("steps", self.steps)):
            if value < 1:
                raise ArgumentError(f"{name} is {value}; it must be at least 1.")
        stream = np.asarray(ids)
        needed = self.batch * (self.steps + 1)
        if stream.ndim != 1:
            raise DataError(f"Lanes expected a text as one sequence of indices, got an array of shape {stream.shape}.")
        if stream.size < needed:
            raise DataError(f"a text of {stream.size:,} characters is too short for {self.batch} lanes with windows of "
                            f"{self.steps} steps: that needs batch * (steps + 1) = {needed:,}. Take a longer text, "
                            "fewer lanes or fewer steps.")  # fmt: skip
        if stream.dtype.kind not in "iu":
            raise DataError(f"Lanes expected integers, as Vocabulary.encode gives them, got {stream.dtype}.")
        dtype: type[np.integer] = np.int32 if stream.dtype == np.int32 else np.int64
        length = stream.size // self.batch
        rows = stream[: self.batch * length].reshape(self.batch, length)
        # Time first, as the recurrences want it: a window is then a contiguous slice, and needs no copy.
        self._columns: NDArray[np.integer] = np.array(rows.T, dtype=dtype, order="C")
        self._columns.flags.writeable = False
        self.windows_per_epoch: int = (length - 1) // self.steps

    def __repr__(self) -> str:
        return f"Lanes(batch={self.batch}, steps={self.steps}, windows_per_epoch={self.windows_per_epoch})"

    def window(self, k: int) -> Window:
        """The window of training step k, counted from 0 over all epochs.

        Returns
        -------
        Window
            x : (steps, batch), the inputs. y : (steps, batch), the character that follows each of them in the text.
            Both are read-only views. fresh : True in the first window of an epoch.

        Raises
        ------
        ArgumentError
            If `k` is negative.
        """
        k = operator.index(k)
        if k < 0:
            raise ArgumentError(f"the number of a window is {k}; steps are counted from 0.")
        start = k % self.windows_per_epoch * self.steps
        stop = start + self.steps
        return Window(self._columns[start:stop], self._columns[start + 1 : stop + 1], start == 0)
