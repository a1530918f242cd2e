"""What a language model has to beat: bits per character of guessing, and of counting.

All take base-2 logarithms, so a result reads as bits per character, or per word if the symbols are words; multiply by
ln 2 for nats, the unit of a cross-entropy loss. Nothing has probability zero: counts are smoothed by adding one to each
(Laplace), or back off.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DataError


def uniform_bits(vocabulary_size: int) -> float:
    """Bits per character if all characters are equally likely: ``log2(V)``.

    Raises
    ------
    ArgumentError
        If `vocabulary_size` is below 1.

    Examples
    --------
    >>> uniform_bits(64)
    6.0
    """
    if vocabulary_size < 1:
        raise ArgumentError(f"the size of a vocabulary is {vocabulary_size}; it must be at least 1.")
    return math.log2(vocabulary_size)


def unigram_bits(train_ids: ArrayLike, validation_ids: ArrayLike, size: int) -> float:
    """Bits per character of the validation text under the frequencies of the training text.

    With V characters, N training characters, n(c) of which are c, and M validation characters v::

        p(c) = (n(c) + 1) / (N + V)          bits = -1/M  sum_t log2 p(v_t)

    Parameters
    ----------
    train_ids, validation_ids : integer array_like, shapes (N,) and (M,)
        Indices of characters, from 0 to ``size - 1``.
    size : int
        V, the size of the vocabulary.

    Raises
    ------
    DataError
        If a text is empty, is no sequence of integers, or has an index outside the vocabulary.
    ArgumentError
        If `size` is below 1.

    Examples
    --------
    >>> round(unigram_bits([0, 0, 1], [0, 1, 0, 1], size=2), 3)     # p = 3/5 and 2/5
    1.029
    """
    train, validation = _ids(train_ids, "training", size, 1), _ids(validation_ids, "validation", size, 1)
    counts = np.bincount(train, minlength=size)
    return float(-np.mean(np.log2((counts[validation] + 1) / (train.size + size))))


def bigram_bits(train_ids: ArrayLike, validation_ids: ArrayLike, size: int) -> float:
    """Bits per character of the validation text if each character is guessed from the one before it.

    With n(a, b) the number of places where b follows a in the training text, and n(a) their sum over b::

        p(b | a) = (n(a, b) + 1) / (n(a) + V)          bits = -1/(M-1)  sum_{t>=1} log2 p(v_t | v_{t-1})

    The first validation character follows nothing, and is not counted.

    Parameters
    ----------
    train_ids, validation_ids : integer array_like, shapes (N,) and (M,), both at least 2 long
        Indices of characters, from 0 to ``size - 1``.
    size : int
        V, the size of the vocabulary.

    Raises
    ------
    DataError
        If a text has fewer than two characters, is no sequence of integers, or has an index outside the vocabulary.
    ArgumentError
        If `size` is below 1.

    Examples
    --------
    >>> round(bigram_bits([0, 1, 0, 1, 0], [1, 0, 1], size=2), 3)     # p(0|1) = p(1|0) = 3/4
    0.415
    """
    train, validation = _ids(train_ids, "training", size, 2), _ids(validation_ids, "validation", size, 2)
    # Only the pairs that occur are stored: a table of V * V would be large for a text in Chinese.
    pairs, pair_counts = np.unique(train[:-1] * size + train[1:], return_counts=True)
    wanted = validation[:-1] * size + validation[1:]
    place = np.minimum(np.searchsorted(pairs, wanted), pairs.size - 1)
    together = np.where(pairs[place] == wanted, pair_counts[place], 0)
    before = np.bincount(train[:-1], minlength=size)[validation[:-1]]
    return float(-np.mean(np.log2((together + 1) / (before + size))))


def backoff_bits(train_ids: ArrayLike, validation_ids: ArrayLike, size: int) -> float:
    """Bits per symbol of the validation text under a bigram model that backs off to single symbols.

    Each pair that was seen gives a part of its count away to the pairs with the same beginning that were not seen;
    they share it in proportion to the frequency of their second symbol. [Katz 1987, with the absolute discounting of
    Ney, Essen & Kneser 1994]::

        p(b | a) = (n(a, b) - d) / n(a)                                          if n(a, b) > 0
                   d s(a) / n(a)  p(b) / (1 - sum over b' seen after a of p(b'))  else

        d = n1 / (n1 + 2 n2)          p(b) = (n(b) + 1) / (N + V)

    with s(a) the number of different symbols seen after a, n1 and n2 the numbers of pairs that occur once and twice.
    For words this is what a language model has to beat; ``2 ** bits`` is the perplexity.

    Parameters
    ----------
    train_ids, validation_ids : integer array_like, shapes (N,) and (M,), both at least 2 long
        Indices of symbols, from 0 to ``size - 1``.
    size : int
        V, the size of the vocabulary.

    Raises
    ------
    DataError
        If a text has fewer than two symbols, is no sequence of integers, or has an index outside the vocabulary.
    ArgumentError
        If `size` is below 1.

    Examples
    --------
    >>> round(backoff_bits([0, 1, 0, 1, 0, 2], [0, 1, 0], size=3), 3)     # d = 1/5, p(1|0) = 3/5, p(0|1) = 9/10
    0.444
    """
    train, validation = _ids(train_ids, "training", size, 2), _ids(validation_ids, "validation", size, 2)
    single = (np.bincount(train, minlength=size) + 1) / (train.size + size)
    pairs, counts = np.unique(train[:-1] * size + train[1:], return_counts=True)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once and twice else 0.5  # too short a text to tell
    before = np.bincount(train[:-1], minlength=size)
    kinds = np.bincount(pairs // size, minlength=size)  # s(a)
    unseen = 1 - np.bincount(pairs // size, weights=single[pairs % size], minlength=size)
    a, b = validation[:-1], validation[1:]
    place = np.minimum(np.searchsorted(pairs, a * size + b), pairs.size - 1)
    found = pairs[place] == a * size + b
    total = np.maximum(before[a], 1)
    given = (counts[place] - discount) / total
    # a symbol that all others have followed gives nothing away that could be asked for
    rest = discount * kinds[a] / total * single[b] / np.where(kinds[a] < size, unseen[a], 1)
    return float(-np.mean(np.log2(np.where(before[a] == 0, single[b], np.where(found, given, rest)))))


def _ids(ids: ArrayLike, part: str, size: int, least: int) -> NDArray[np.int64]:
    """Check one text and return it as int64."""
    if size < 1:
        raise ArgumentError(f"the size of a vocabulary is {size}; it must be at least 1.")
    array = np.asarray(ids)
    if array.ndim != 1 or array.size < least:
        raise DataError(f"the {part} text has shape {array.shape}; expected a sequence of at least {least} indices.")
    if array.dtype.kind not in "iu":
        raise DataError(f"the {part} text has dtype {array.dtype}; expected integers, as Vocabulary.encode gives them.")
    if array.min() < 0 or array.max() >= size:
        raise DataError(f"the {part} text has indices from {array.min()} to {array.max()}; a vocabulary of {size} has "
                        f"0 to {size - 1}. Pass size=len(vocabulary).")  # fmt: skip
    return array.astype(np.int64)
