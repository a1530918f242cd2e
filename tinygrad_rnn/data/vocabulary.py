"""The characters that a language model knows, and their numbers."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DataError

UNKNOWN = "\ufffd"  # U+FFFD, the replacement character: stands for every character that is not in the vocabulary


class Vocabulary:
    """A numbered set of characters, one of which stands for all the others.

    Parameters
    ----------
    characters : iterable of str
        Different strings of one character each, among them `UNKNOWN`. Character number i gets the index i.
        Usually a vocabulary comes from `from_text` or, out of a checkpoint, from `from_list`.

    Raises
    ------
    DataError
        If `characters` is anything else.

    Examples
    --------
    >>> vocabulary = Vocabulary.from_text("banana")
    >>> len(vocabulary), vocabulary.to_list()
    (4, ['\\ufffd', 'a', 'b', 'n'])
    >>> vocabulary.encode("bad")
    array([2, 1, 0])
    >>> vocabulary.decode([2, 1, 3])
    'ban'
    """

    def __init__(self, characters: Iterable[str]):
        self._characters = list(characters)
        for place, character in enumerate(self._characters):
            if not isinstance(character, str) or len(character) != 1:
                raise DataError(f"entry {place} of a vocabulary is {character!r}; expected a string of one character. "
                                "The list may come from another program.")  # fmt: skip
        counts = Counter(self._characters)
        twice = [character for character, count in counts.items() if count > 1]
        if twice:
            raise DataError(f"a vocabulary names {', '.join(map(repr, twice[:5]))} more than once. "
                            "Remove the duplicates.")  # fmt: skip
        if UNKNOWN not in counts:
            raise DataError(f"a vocabulary lacks {UNKNOWN!a}, which stands for every unknown character. "
                            "Add it to the list.")  # fmt: skip
        self._unknown = self._characters.index(UNKNOWN)
        points = np.array([ord(character) for character in self._characters], dtype=np.int64)
        self._order = np.argsort(points)
        self._sorted_points = points[self._order]

    @classmethod
    def from_text(cls, text: str, minimum_count: int = 1) -> "Vocabulary":
        """The characters of a text in the order of their code points, after `UNKNOWN`, which has the index 0.

        Parameters
        ----------
        text : str
            The training text. Characters that only the validation text has are to stay unknown.
        minimum_count : int
            Characters that occur less often count as unknown. With 2 or more the model meets the unknown
            character in training, provided that the text has such rare characters.

        Raises
        ------
        ArgumentError
            If `minimum_count` is below 1.

        Examples
        --------
        >>> Vocabulary.from_text("banana", minimum_count=2).to_list()
        ['\\ufffd', 'a', 'n']
        """
        if minimum_count < 1:
            raise ArgumentError(f"minimum_count is {minimum_count}; it must be at least 1.")
        counts = Counter(text)
        return cls([UNKNOWN, *sorted(c for c, count in counts.items() if count >= minimum_count and c != UNKNOWN)])

    @classmethod
    def from_list(cls, characters: object) -> "Vocabulary":
        """The vocabulary that `to_list` wrote, after a way through JSON.

        Raises
        ------
        DataError
            If it is not a list of different one-character strings with `UNKNOWN` among them.

        Examples
        --------
        >>> vocabulary = Vocabulary.from_text("banana")
        >>> Vocabulary.from_list(vocabulary.to_list()) == vocabulary
        True
        """
        if not isinstance(characters, list):
            raise DataError(f"a vocabulary must be a list of characters, not {type(characters).__name__}.")
        return cls(characters)

    def to_list(self) -> list[str]:
        """The characters in the order of their indices, fit for JSON."""
        return list(self._characters)

    def __len__(self) -> int:
        return len(self._characters)

    def __contains__(self, character: object) -> bool:
        return character in self._characters

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._characters == other._characters

    def __hash__(self) -> int:
        return hash(tuple(self._characters))

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} characters)"

    def encode(self, text: str) -> NDArray[np.int64]:
        """The indices of the characters of a text: int64, shape (len(text),). Every text can be encoded."""
        # surrogatepass: a prompt from the command line may hold lone surrogates, which are unknown like others.
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
        place = np.minimum(np.searchsorted(self._sorted_points, points), len(self) - 1)
        return np.where(self._sorted_points[place] == points, self._order[place], self._unknown).astype(np.int64)

    def decode(self, indices: ArrayLike) -> str:
        """The text of a sequence of indices.

        Raises
        ------
        DataError
            If `indices` is not a one-dimensional sequence of integers from 0 to ``len(self) - 1``.
        """
        array = np.asarray(indices)
        if array.ndim != 1:
            raise DataError(f"decode expected a sequence of indices, got an array of shape {array.shape}. "
                            "Decode one lane at a time.")  # fmt: skip
        if array.size == 0:
            return ""
        if array.dtype.kind not in "iu":
            raise DataError(f"decode expected integers, got {array.dtype}. Write indices.astype(int).")
        if array.min() < 0 or array.max() >= len(self):
            raise DataError(f"decode got indices from {array.min()} to {array.max()}; this vocabulary has the indices "
                            f"0 to {len(self) - 1}. Was the text encoded with another one?")  # fmt: skip
        return "".join([self._characters[index] for index in array.tolist()])
