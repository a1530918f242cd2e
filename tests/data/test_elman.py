"""Elman's sentences: of the grammar, and the ideal observer's expectations."""

import numpy as np
import pytest

from tinygrad_rnn.data import (
    ELMAN_CATEGORIES,
    ELMAN_NOUNS,
    ELMAN_TEMPLATES,
    ELMAN_WORDS,
    elman_likelihoods,
    elman_sentences,
)
from tinygrad_rnn.errors import ArgumentError, DataError

KINDS = {word: {name for name, words in ELMAN_CATEGORIES.items() if word in words} for word in ELMAN_WORDS}


def parts(words):
    """Whether a sequence of words can be cut into sentences."""
    if not words:
        return True
    return any(
        len(words) >= len(template)
        and all(kind in KINDS[word] for kind, word in zip(template, words))
        and parts(words[len(template) :])
        for template in ELMAN_TEMPLATES
    )


def test_the_lexicon_is_that_of_the_paper():
    assert len(ELMAN_WORDS) == 29 and len(ELMAN_NOUNS) == 18
    assert len(ELMAN_TEMPLATES) == 16 and sum(len(template) == 2 for template in ELMAN_TEMPLATES) == 4


@pytest.mark.parametrize("seed", range(20))
def test_every_stream_is_a_sequence_of_sentences(seed):
    assert parts([ELMAN_WORDS[index] for index in elman_sentences(6, seed=seed)])


def test_ten_thousand_sentences_have_as_many_words_as_in_the_paper():
    stream = elman_sentences()
    assert abs(len(stream) - 27_534) < 200  # 27,500 expected, standard deviation 43
    assert set(stream) == set(range(29))


def test_a_seed_gives_the_same_stream():
    assert np.array_equal(elman_sentences(50, seed=3), elman_sentences(50, seed=3))
    assert not np.array_equal(elman_sentences(50, seed=3)[:90], elman_sentences(50, seed=4)[:90])


def test_likelihoods_are_the_shares_of_all_streams_that_begin_alike():
    """Against counting: the word after "man move" in many sentences, and the one after that."""
    rng = np.random.default_rng(0)
    man, move = ELMAN_WORDS.index("man"), ELMAN_WORDS.index("move")
    counts = np.zeros(29)
    for _ in range(6000):
        stream = elman_sentences(3, seed=rng)
        if stream[0] == man and stream[1] == move:
            counts[stream[2]] += 1
    expected = elman_likelihoods([man, move])[1]
    assert counts.sum() > 50 and not np.any(counts[expected == 0])
    spread = np.sqrt(expected * (1 - expected) / counts.sum())
    assert np.all(np.abs(counts / counts.sum() - expected) <= 4.5 * spread)


def test_likelihoods_are_probabilities_and_what_comes_is_possible():
    stream = elman_sentences(200, seed=1)
    expected = elman_likelihoods(stream)
    assert np.allclose(expected.sum(axis=1), 1) and expected.min() >= 0
    assert np.all(expected[np.arange(len(stream) - 1), stream[1:]] > 0)


def test_likelihoods_have_a_smaller_cross_entropy_than_the_frequencies_of_pairs():
    stream = elman_sentences(3000, seed=2)
    expected = elman_likelihoods(stream)[np.arange(len(stream) - 1), stream[1:]]
    pairs = np.zeros((29, 29))
    np.add.at(pairs, (stream[:-1], stream[1:]), 1)
    pairs /= pairs.sum(axis=1, keepdims=True)
    assert np.log(expected).mean() > np.log(pairs[stream[:-1], stream[1:]]).mean()


@pytest.mark.parametrize("stream", [[], [[1, 2]], [1.0, 2.0], [29], [-1]])
def test_likelihoods_refuse_what_is_no_stream(stream):
    with pytest.raises(DataError):
        elman_likelihoods(stream)


def test_likelihoods_name_the_word_that_cannot_stand_there():
    with pytest.raises(DataError, match='word 1, "rock"'):
        elman_likelihoods([ELMAN_WORDS.index("man"), ELMAN_WORDS.index("rock")])


def test_a_number_below_one_is_refused():
    with pytest.raises(ArgumentError):
        elman_sentences(0)
