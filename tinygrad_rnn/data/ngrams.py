"""What a model of sequences has to beat if it is worth its memory: counting what follows the last few symbols."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DataError
from .arguments import count, real

__all__ = ["ngram_bits"]

BEFORE = -1  # stands in front of a sequence


def ngram_bits(
    train: Sequence[Sequence[int]],
    test: Sequence[Sequence[int]],
    size: int,
    *,
    order: int = 3,
    discount: float = 0.6,
) -> list[NDArray[np.float64]]:
    """Bits of every symbol of sequences, each given by the ``order - 1`` before it. The first follow a beginning.

    With n(u) the number of times that a context u was followed by anything, and s(u) by how many different symbols,
    every count gives a discount d away to what is known from one symbol less of the context, down to all symbols
    alike. [interpolated absolute discounting; Ney, Essen & Kneser 1994]::

        p(w | u) = max(n(u, w) - d, 0) / n(u)  +  d s(u) / n(u)  p(w | u without its first)

    Parameters
    ----------
    train, test : sequences of sequences of int
        Symbols from 0 to ``size - 1``, at least one training sequence.
    size : int
        How many symbols there are.
    order : int
        1 for single symbols, 2 for pairs, 3 for triples.
    discount : float
        d, between 0 and 1; with 1 a thing that was seen once counts as not seen.

    Returns
    -------
    list of arrays
        -log2 p of every symbol, one array for each test sequence.

    Raises
    ------
    DataError
        If there is no training sequence, or a symbol is outside the range.
    ArgumentError
        If `size` or `order` is below 1, or `discount` is not above 0 and at most 1.

    Examples
    --------
    >>> ngram_bits([[0, 1, 0, 1]], [[0, 1, 0]], size=2, order=2, discount=0.5)[0].round(3).tolist()
    [0.415, 0.193, 0.415]
    """
    size, order = count("size", size), count("order", order)
    if not 0 < real("discount", discount) <= 1:
        raise ArgumentError(f"discount is {discount}; it must be above 0 and at most 1.")
    if not train:
        raise DataError("ngram_bits needs at least one training sequence; got none.")
    for sequence in (*train, *test):
        if any(not 0 <= symbol < size for symbol in sequence):
            raise DataError(
                f"a sequence holds {min(sequence)} to {max(sequence)}; expected symbols from 0 to {size - 1}."
            )
    counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for sequence in train:
        for context, symbol in _contexts(sequence, order):
            for start in range(order):
                counts[context[start:]][symbol] += 1

    def chance(symbol: int, context: tuple[int, ...]) -> float:
        probability = 1 / size
        for start in range(order - 1, -1, -1):  # from no context at all to the whole of it
            seen = counts.get(context[start:])
            if seen:
                kept = max(seen[symbol] - discount, 0)
                probability = (kept + discount * len(seen) * probability) / seen.total()
        return probability

    return [
        np.array([-np.log2(chance(symbol, context)) for context, symbol in _contexts(sequence, order)])
        for sequence in test
    ]


def _contexts(sequence: Sequence[int], order: int) -> list[tuple[tuple[int, ...], int]]:
    """Every symbol with the ``order - 1`` before it."""
    full = [*[BEFORE] * (order - 1), *(int(symbol) for symbol in sequence)]
    return [(tuple(full[n : n + order - 1]), full[n + order - 1]) for n in range(len(sequence))]
