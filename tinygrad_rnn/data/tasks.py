"""Synthetic tasks that ask a recurrent network for a long memory: adding, copying, delayed parity.

Inputs are ``(T, B, features)``, time first, as the recurrences want them. A new seed makes a new batch; a generator as
`seed` makes another batch with every call.
"""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import ArgumentError, DTypeError
from ..random import Seed, as_generator
from .arguments import count

Floats = NDArray[np.floating]


def adding_problem(steps: int, batch: int, *, seed: Seed = 0, dtype: DTypeLike = np.float32) -> tuple[Floats, Floats]:
    """Two marked numbers in a long sequence are to be added.

    Feature 0 is uniform between 0 and 1. Feature 1 is 1 in two places, one in the first and one in the second half of
    the sequence, and 0 elsewhere. The target is the sum of the two numbers marked by it.
    [Hochreiter & Schmidhuber 1997, experiment 4, in the form of Le, Jaitly & Hinton 2015, arXiv:1504.00941.]

    A network that always answers 1 has a mean squared error of 1/6, about 0.167.

    Parameters
    ----------
    steps : int
        T, at least 2.
    batch : int
        B, the number of sequences.
    seed : int, numpy.random.Generator or None
        The same number gives the same batch.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    inputs : numpy.ndarray, shape (T, B, 2)
    targets : numpy.ndarray, shape (B, 1)

    Raises
    ------
    ArgumentError
        If a count is too small.
    DTypeError
        If `dtype` is another one.

    Examples
    --------
    >>> inputs, targets = adding_problem(50, batch=4)
    >>> inputs.shape, targets.shape
    ((50, 4, 2), (4, 1))
    >>> bool(np.allclose((inputs[..., 0] * inputs[..., 1]).sum(axis=0), targets[:, 0]))
    True
    """
    steps, batch, floating = count("steps", steps, least=2), count("batch", batch), _float(dtype)
    draw = as_generator(seed)
    inputs = np.zeros((steps, batch, 2), floating)
    inputs[..., 0] = draw.uniform(0.0, 1.0, (steps, batch))
    lanes = np.arange(batch)
    first, second = draw.integers(0, steps // 2, batch), draw.integers(steps // 2, steps, batch)
    inputs[first, lanes, 1] = inputs[second, lanes, 1] = 1
    return inputs, (inputs[first, lanes, 0] + inputs[second, lanes, 0])[:, None]


def copy_memory(
    delay: int, batch: int, *, symbols: int = 8, length: int = 10, seed: Seed = 0, dtype: DTypeLike = np.float32
) -> tuple[Floats, NDArray[np.int64]]:
    """A few symbols are to be repeated after a long pause.

    ::

        input    s_1 ... s_length   blank * (delay - 1)   go   blank * length
        target   blank * (length + delay)                      s_1 ... s_length

    with symbols 0 to ``symbols - 1``; ``symbols`` is the blank and ``symbols + 1`` says go.
    [Hochreiter & Schmidhuber 1997; in this form Arjovsky, Shah & Bengio 2016, arXiv:1511.06464.]

    A network without memory reaches a cross-entropy of ``length * log(symbols) / T`` per step.

    Parameters
    ----------
    delay : int
        Steps from the last symbol to the signal to go.
    batch : int
        B, the number of sequences.
    symbols : int
        How many there are, without blank and go.
    length : int
        How many are to be remembered.
    seed : int, numpy.random.Generator or None
        The same number gives the same batch.
    dtype : dtype
        float32 or float64, of the inputs.

    Returns
    -------
    inputs : numpy.ndarray, shape (T, B, symbols + 2), with T = delay + 2 * length
        One-hot.
    targets : numpy.ndarray, int64, shape (T, B)
        Classes from 0 to `symbols`.

    Raises
    ------
    ArgumentError
        If a count is below 1.
    DTypeError
        If `dtype` is another one.

    Examples
    --------
    >>> inputs, targets = copy_memory(delay=3, batch=1, symbols=4, length=2, seed=0)
    >>> inputs[:, 0].argmax(axis=-1).tolist()
    [3, 2, 4, 4, 5, 4, 4]
    >>> targets[:, 0].tolist()
    [4, 4, 4, 4, 4, 3, 2]
    """
    delay, batch, length = count("delay", delay), count("batch", batch), count("length", length)
    symbols, floating = count("symbols", symbols), _float(dtype)
    drawn = as_generator(seed).integers(0, symbols, (length, batch))
    targets = np.full((delay + 2 * length, batch), symbols, np.int64)
    given = targets.copy()
    given[:length] = drawn
    given[length + delay - 1] = symbols + 1
    targets[length + delay :] = drawn
    inputs = np.zeros((*given.shape, symbols + 2), floating)
    np.put_along_axis(inputs, given[..., None], 1, axis=-1)
    return inputs, targets


def delayed_parity(
    steps: int, batch: int, *, bits: int = 2, delay: int = 1, seed: Seed = 0, dtype: DTypeLike = np.float32
) -> tuple[Floats, Floats]:
    """The parity of a few successive bits, some steps ago. With two bits it is the delayed XOR.

    ::

        target(t) = b(t - delay) xor b(t - delay - 1) xor ... xor b(t - delay - bits + 1)

    Bits from before the start count as 0. [Bertschinger & Natschläger 2004, Neural Computation 16.] A linear readout
    of past inputs can do nothing here: the parity is independent of every smaller set of bits.

    Parameters
    ----------
    steps : int
        T.
    batch : int
        B, the number of sequences.
    bits : int
        How many bits go into the parity.
    delay : int
        Age of the youngest of them; 0 is the bit just read.
    seed : int, numpy.random.Generator or None
        The same number gives the same batch.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    inputs : numpy.ndarray, shape (T, B, 1)
        -1 for a bit of 0, and 1 for a bit of 1.
    targets : numpy.ndarray, shape (T, B, 1)
        0 or 1, as a binary cross-entropy wants it.

    Raises
    ------
    ArgumentError
        If a count is too small, or ``delay + bits - 1`` leaves no step in which all bits lie in the sequence.
    DTypeError
        If `dtype` is another one.

    Examples
    --------
    >>> inputs, targets = delayed_parity(8, batch=1, bits=2, delay=1, seed=0)
    >>> (inputs[:, 0, 0] > 0).astype(int).tolist()
    [1, 1, 1, 0, 0, 0, 0, 0]
    >>> targets[:, 0, 0].astype(int).tolist()
    [0, 1, 0, 0, 1, 0, 0, 0]
    """
    steps, batch, bits = count("steps", steps), count("batch", batch), count("bits", bits)
    delay, floating = count("delay", delay, least=0), _float(dtype)
    if delay + bits > steps:
        raise ArgumentError(f"a sequence of {steps} steps is too short for {bits} bits with a delay of {delay}. "
                            f"Take at least delay + bits = {delay + bits} steps.")  # fmt: skip
    drawn = as_generator(seed).integers(0, 2, (steps, batch, 1))
    targets = np.zeros_like(drawn)
    for age in range(delay, delay + bits):
        targets[age:] ^= drawn[: steps - age]
    return (2 * drawn - 1).astype(floating), targets.astype(floating)


def _float(dtype: DTypeLike) -> type[np.float32] | type[np.float64]:
    """float32 or float64."""
    for known in (np.float32, np.float64):
        try:
            if np.dtype(dtype) == known:
                return known
        except TypeError:
            break
    raise DTypeError(f"the dtype of a task is {dtype!r}; expected float32 or float64.")
