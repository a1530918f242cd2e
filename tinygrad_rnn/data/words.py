"""Words instead of characters: cutting a text into them, and their numbers."""

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DataError

__all__ = ["UNKNOWN_WORD", "WordVocabulary", "split_words"]

UNKNOWN_WORD = "<unk>"  # stands for every word that is not in the vocabulary
PIECES = re.compile(r"\n+|[^\W\d_]+|\d+|[^\w\s]|_+")


def split_words(text: str) -> list[str]:
    """Cut a text into words, numbers, signs and line ends; spaces and empty lines are dropped.

    >>> split_words("Return x_0, or 1.5.\\n\\nEnd")
    ['Return', 'x', '_', '0', ',', 'or', '1', '.', '5', '.', '\\n', 'End']
    """
    return ["\n" if piece[0] == "\n" else piece for piece in PIECES.findall(text)]


class WordVocabulary:
    """A numbered set of words, one of which, number 0, stands for all the others.

    Parameters
    ----------
    words : iterable of str
        Different words; `UNKNOWN_WORD` is put before them. Usually a vocabulary comes from `from_words`.

    Raises
    ------
    DataError
        If a word comes twice, is empty, or is `UNKNOWN_WORD`.

    Examples
    --------
    >>> vocabulary = WordVocabulary.from_words("the cat and the dog and the mouse".split(), minimum_count=2)
    >>> vocabulary.words
    ('<unk>', 'the', 'and')
    >>> vocabulary.encode(["the", "cat"])
    array([1, 0])
    >>> vocabulary.decode([1, 0])
    ['the', '<unk>']
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = (UNKNOWN_WORD, *words)
        twice = [word for word, count in Counter(self.words).items() if count > 1 or not word]
        if twice:
            raise DataError(f"a vocabulary has each word once, none is empty, and {UNKNOWN_WORD} is there already; "
                            f"got {', '.join(map(repr, twice[:5]))}")  # fmt: skip
        self._numbers = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def from_words(
        cls, words: Iterable[str], *, minimum_count: int = 1, largest: int | None = None
    ) -> "WordVocabulary":
        """The words of a training text, the most frequent first.

        Parameters
        ----------
        words : iterable of str
            The text, as `split_words` gives it.
        minimum_count : int
            Words that occur less often are unknown. With 2 or more the model meets the unknown word in training.
        largest : int, optional
            At most so many words, `UNKNOWN_WORD` among them.

        Raises
        ------
        ArgumentError
            If `minimum_count` is below 1, or `largest` below 2.
        """
        if minimum_count < 1 or (largest is not None and largest < 2):
            raise ArgumentError(f"minimum_count is at least 1 and largest 2; got {minimum_count} and {largest}")
        counts = Counter(words)
        del counts[UNKNOWN_WORD]
        kept = sorted((-times, place, word) for place, (word, times) in enumerate(counts.items())
                      if times >= minimum_count)  # fmt: skip
        return cls(word for _, _, word in kept[: None if largest is None else largest - 1])

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    def __repr__(self) -> str:
        return f"WordVocabulary({len(self)} words)"

    def encode(self, words: Iterable[str]) -> NDArray[np.int64]:
        """The numbers of words, int64; 0 for each that is not in the vocabulary."""
        return np.array([self._numbers.get(word, 0) for word in words], np.int64)

    def decode(self, numbers: ArrayLike) -> list[str]:
        """The words of a sequence of numbers. Raises DataError if they are not 0 to ``len(self) - 1``."""
        array = np.asarray(numbers)
        if array.size == 0:
            return []
        if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= len(self):
            raise DataError(f"expected a sequence of integers from 0 to {len(self) - 1}; got {array.dtype} of shape "
                            f"{array.shape}. Were the words encoded with another vocabulary?")  # fmt: skip
        return [self.words[number] for number in array]
