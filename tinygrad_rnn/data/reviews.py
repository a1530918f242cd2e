"""Short reviews with a label, in which negation and order decide, and the same words can praise or blame.

A grammar instead of a collection, as nothing is to be downloaded and every label is known to be right::

    review   = [filler] opinion [filler]
    opinion  = clause "and" clause        both of one mind
             | clause "but" clause        of different minds: what comes after "but" decides
    clause   = praise of an aspect, or blame; each said directly, or as the opposite denied

With half of the clauses denied, neither the adjectives nor the number of denials alone tell the label.
"""

from typing import NamedTuple

import numpy as np

from ..random import Seed, as_generator
from .arguments import count

__all__ = ["Review", "review_twins", "reviews"]

ASPECTS = ("plot", "acting", "music", "ending", "script", "camera work", "dialogue", "pace")
GOOD = ("good", "great", "brilliant", "moving", "funny", "clever", "charming", "superb")
BAD = ("bad", "awful", "boring", "dull", "clumsy", "silly", "terrible", "weak")
DIRECT = ("the {aspect} was {word}", "the {aspect} was really {word}", "i found the {aspect} {word}",
          "i did find the {aspect} {word}")  # fmt: skip
DENIED = ("the {aspect} was not {word}", "the {aspect} was never {word}", "nobody found the {aspect} {word}",
          "i did not find the {aspect} {word}")  # fmt: skip
FILLERS = ("we saw it on a rainy evening", "my sister had the tickets", "it runs for two hours",
           "the house was full", "i had read the book before", "it is the second film of the director")  # fmt: skip


class Review(NamedTuple):
    """A text of lower-case words and full stops, and whether it is positive."""

    text: str
    positive: bool


def reviews(number: int, *, seed: Seed = 0) -> list[Review]:
    """Random reviews, half of them positive.

    Parameters
    ----------
    number : int
        How many.
    seed : int, numpy.random.Generator or None
        The same number gives the same reviews.

    Raises
    ------
    ArgumentError
        If `number` is below 1.

    Examples
    --------
    >>> for text, positive in reviews(3, seed=0):
    ...     print("+" if positive else "-", text)
    + i had read the book before . i did not find the camera work silly and i did not find the ending clumsy .
    + the music was never clever but the dialogue was never terrible .
    + the script was never clumsy and the dialogue was never clumsy .
    """
    draw = as_generator(seed)
    return [_review(draw) for _ in range(count("number", number))]


def review_twins(number: int, *, seed: Seed = 0) -> list[tuple[Review, Review]]:
    """Pairs of reviews with the same words and opposite labels: only the places of the words differ.

    Whatever looks at the bag of words alone gives both the same answer, and is right for exactly one of them.

    Parameters
    ----------
    number : int
        How many pairs; the first of each is positive.
    seed : int, numpy.random.Generator or None
        The same number gives the same pairs.

    Raises
    ------
    ArgumentError
        If `number` is below 1.

    Examples
    --------
    >>> [((praise, _), (blame, _))] = review_twins(1, seed=0)
    >>> praise
    'the house was full . i found the music great and nobody found the script terrible . it runs for two hours .'
    >>> blame
    'the house was full . nobody found the music great and i found the script terrible . it runs for two hours .'
    """
    draw = as_generator(seed)
    return [_twins(draw) for _ in range(count("number", number))]


def _pick(draw: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(draw.integers(len(words)))]


def _clause(aspect: str, word: str, denied: bool, form: int) -> str:
    return (DENIED if denied else DIRECT)[form].format(aspect=aspect, word=word)


def _two_aspects(draw: np.random.Generator) -> tuple[str, str]:
    first, second = draw.permutation(len(ASPECTS))[:2]
    return ASPECTS[first], ASPECTS[second]


def _review(draw: np.random.Generator) -> Review:
    positive, agree = bool(draw.integers(2)), bool(draw.integers(2))
    clauses = []
    for aspect, praised in zip(_two_aspects(draw), (positive == agree, positive)):
        denied = bool(draw.integers(2))
        word = _pick(draw, GOOD if praised != denied else BAD)
        clauses.append(_clause(aspect, word, denied, int(draw.integers(len(DIRECT)))))
    return Review(_text(clauses, "and" if agree else "but", *_fillers(draw)), positive)


def _twins(draw: np.random.Generator) -> tuple[Review, Review]:
    """One of two clauses denied: with a good and a bad word, the place of the denial decides what both say."""
    aspects, good, bad, form = _two_aspects(draw), _pick(draw, GOOD), _pick(draw, BAD), int(draw.integers(len(DIRECT)))
    words = (good, bad) if draw.integers(2) else (bad, good)
    around = _fillers(draw)
    twins = []
    for denied_word in (bad, good):  # "not bad and good", "bad and not good"
        clauses = [_clause(aspect, word, word == denied_word, form) for aspect, word in zip(aspects, words)]
        twins.append(Review(_text(clauses, "and", *around), denied_word == bad))
    return twins[0], twins[1]


def _fillers(draw: np.random.Generator) -> tuple[str, str]:
    before, after = draw.permutation(2 * len(FILLERS))[:2]  # the upper half of the numbers are none
    return "".join(FILLERS[before : before + 1]), "".join(FILLERS[after : after + 1])


def _text(clauses: list[str], joint: str, before: str, after: str) -> str:
    return " . ".join(part for part in (before, f" {joint} ".join(clauses), after) if part) + " ."
