"""Elman's sentences: two or three words, of which the grammar says which kinds go together, without a full stop.

[Elman 1990, "Finding structure in time", Cognitive Science 14, 179, the section on lexical classes.] The templates are
those of the paper's table 4. Its table 3 gives two words of each category; the others are the leaves of its figure 7,
29 words in all, and as in that figure what is fragile or food is inanimate, too.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from ..random import Seed, as_generator
from .arguments import count

__all__ = ["ELMAN_CATEGORIES", "ELMAN_NOUNS", "ELMAN_TEMPLATES", "ELMAN_WORDS", "elman_likelihoods", "elman_sentences"]

ELMAN_CATEGORIES = {
    "NOUN-HUM": ("man", "woman", "boy", "girl"),
    "NOUN-ANIM": ("cat", "mouse", "dog"),
    "NOUN-INANIM": ("book", "rock", "car", "glass", "plate", "cookie", "bread", "sandwich"),
    "NOUN-AGRESS": ("dragon", "monster", "lion"),
    "NOUN-FRAG": ("glass", "plate"),
    "NOUN-FOOD": ("cookie", "bread", "sandwich"),
    "VERB-INTRAN": ("think", "sleep", "exist"),
    "VERB-TRAN": ("see", "chase", "like"),
    "VERB-AGPAT": ("move", "break"),
    "VERB-PERCEPT": ("smell", "see"),
    "VERB-DESTROY": ("break", "smash"),
    "VERB-EAT": ("eat",),
}
ELMAN_TEMPLATES = (
    ("NOUN-HUM", "VERB-EAT", "NOUN-FOOD"),
    ("NOUN-HUM", "VERB-PERCEPT", "NOUN-INANIM"),
    ("NOUN-HUM", "VERB-DESTROY", "NOUN-FRAG"),
    ("NOUN-HUM", "VERB-INTRAN"),
    ("NOUN-HUM", "VERB-TRAN", "NOUN-HUM"),
    ("NOUN-HUM", "VERB-AGPAT", "NOUN-INANIM"),
    ("NOUN-HUM", "VERB-AGPAT"),
    ("NOUN-ANIM", "VERB-EAT", "NOUN-FOOD"),
    ("NOUN-ANIM", "VERB-TRAN", "NOUN-ANIM"),
    ("NOUN-ANIM", "VERB-AGPAT", "NOUN-INANIM"),
    ("NOUN-ANIM", "VERB-AGPAT"),
    ("NOUN-INANIM", "VERB-AGPAT"),
    ("NOUN-AGRESS", "VERB-DESTROY", "NOUN-FRAG"),
    ("NOUN-AGRESS", "VERB-EAT", "NOUN-HUM"),
    ("NOUN-AGRESS", "VERB-EAT", "NOUN-ANIM"),
    ("NOUN-AGRESS", "VERB-EAT", "NOUN-FOOD"),
)
ELMAN_WORDS = tuple(dict.fromkeys(word for words in ELMAN_CATEGORIES.values() for word in words))
ELMAN_NOUNS = frozenset(word for name, words in ELMAN_CATEGORIES.items() if name.startswith("NOUN") for word in words)


def elman_sentences(sentences: int = 10_000, *, seed: Seed = 0) -> NDArray[np.int64]:
    """Random sentences, one after the other: about 2.75 words each.

    Every template is equally likely, and every word of a category.

    Parameters
    ----------
    sentences : int
        How many; at least 1.
    seed : int, numpy.random.Generator or None
        The same number gives the same sentences.

    Returns
    -------
    numpy.ndarray, shape (N,)
        Indices into `ELMAN_WORDS`, int64.

    Raises
    ------
    ArgumentError
        If `sentences` is below 1.

    Examples
    --------
    >>> stream = elman_sentences(3, seed=1)
    >>> " ".join(ELMAN_WORDS[index] for index in stream)
    'cat eat cookie mouse like mouse monster break plate'
    """
    draw = as_generator(seed)
    number = {word: index for index, word in enumerate(ELMAN_WORDS)}
    members = {name: [number[word] for word in words] for name, words in ELMAN_CATEGORIES.items()}
    chosen = draw.integers(0, len(ELMAN_TEMPLATES), count("sentences", sentences))
    categories = [category for template in chosen for category in ELMAN_TEMPLATES[template]]
    places = draw.random(len(categories))
    picked = [members[name][int(place * len(members[name]))] for name, place in zip(categories, places)]
    return np.array(picked, np.int64)


def elman_likelihoods(stream: ArrayLike) -> NDArray[np.float64]:
    """What an ideal observer of the grammar expects next, after every word of a stream.

    Nothing marks the end of a sentence: after "man move", "book" may be what is moved, or the subject of the next
    sentence. So the observer keeps a probability of every place in every template, the forward variable of a hidden
    Markov model [Rabiner 1989]::

        α_t(s) ∝ p(w_t | s) Σ_r α_{t-1}(r) p(s | r)          p(w_{t+1}) = Σ_s p(w_{t+1} | s) Σ_r α_t(r) p(s | r)

    No predictor that knows only the words so far has a smaller expected cross-entropy, or squared error.

    Parameters
    ----------
    stream : integer array_like, shape (N,)
        Indices into `ELMAN_WORDS`; the first word begins a sentence.

    Returns
    -------
    numpy.ndarray, shape (N, 29)
        Row t: the probabilities of the word after word t. float64.

    Raises
    ------
    DataError
        If the stream is none, or the grammar cannot make it.

    Examples
    --------
    >>> man, think, eat = (ELMAN_WORDS.index(word) for word in ("man", "think", "eat"))
    >>> after = elman_likelihoods([man, think])
    >>> after[:, eat].round(3).tolist()     # 1 of 7 templates with such a subject; no verb after an intransitive one
    [0.143, 0.0]
    """
    words = np.asarray(stream)
    if words.ndim != 1 or words.dtype.kind not in "iu" or words.size == 0:
        raise DataError(f"expected a sequence of indices of words; got {words.dtype} of shape {words.shape}. "
                        "Take one from elman_sentences.")  # fmt: skip
    if words.min() < 0 or words.max() >= len(ELMAN_WORDS):
        raise DataError(f"the indices run from {words.min()} to {words.max()}; expected 0 to {len(ELMAN_WORDS) - 1}.")
    start, transitions, emissions = _markov_model()
    likelihoods = np.empty((words.size, len(ELMAN_WORDS)))
    expected = start
    for t, word in enumerate(words):
        at = expected * emissions[:, word]
        total = at.sum()
        if total == 0:
            raise DataError(f'the grammar has no sentence in which word {t}, "{ELMAN_WORDS[word]}", could stand there.')
        expected = (at / total) @ transitions
        likelihoods[t] = expected @ emissions
    return likelihoods


def _markov_model() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """States are the places in the templates: their probabilities at the start, to each other, and of words."""
    states = [(i, place) for i, template in enumerate(ELMAN_TEMPLATES) for place in range(len(template))]
    start = np.array([place == 0 for _, place in states]) / len(ELMAN_TEMPLATES)
    transitions = np.zeros((len(states), len(states)))
    emissions = np.zeros((len(states), len(ELMAN_WORDS)))
    for row, (i, place) in enumerate(states):
        template = ELMAN_TEMPLATES[i]
        if place + 1 < len(template):
            transitions[row, row + 1] = 1
        else:
            transitions[row] = start
        members = ELMAN_CATEGORIES[template[place]]
        for word in members:
            emissions[row, ELMAN_WORDS.index(word)] = 1 / len(members)
    return start, transitions, emissions
