"""Words and their numbers, and the bigram model with back-off that a language model has to beat."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_rnn.data import UNKNOWN_WORD, WordVocabulary, backoff_bits, bigram_bits, split_words, unigram_bits
from tinygrad_rnn.errors import ArgumentError, DataError


def test_words_numbers_and_signs_are_cut_apart():
    assert split_words("Ünder x1=2.5\n\n\n  (it's)") == [
        "Ünder", "x", "1", "=", "2", ".", "5", "\n", "(", "it", "'", "s", ")"
    ]  # fmt: skip


@given(text=st.text(max_size=80))
@settings(deadline=None)
def test_nothing_but_space_is_dropped(text):
    assert "".join("".join(split_words(text)).split()) == "".join(text.split())


def test_the_most_frequent_words_come_first_and_the_others_are_unknown():
    words = list("baacbad")
    assert WordVocabulary.from_words(words).words == (UNKNOWN_WORD, "a", "b", "c", "d")
    assert WordVocabulary.from_words(words, largest=3).words == (UNKNOWN_WORD, "a", "b")
    vocabulary = WordVocabulary.from_words(words, minimum_count=2)
    assert vocabulary.encode(words).tolist() == [2, 1, 1, 0, 2, 1, 0]
    assert vocabulary.decode(vocabulary.encode(["a", "x"])) == ["a", UNKNOWN_WORD]
    assert len(vocabulary) == 3 and "a" in vocabulary and "d" not in vocabulary and vocabulary.decode([]) == []


def test_what_is_no_vocabulary_is_refused():
    with pytest.raises(DataError):
        WordVocabulary(["a", "a"])
    with pytest.raises(DataError):
        WordVocabulary([UNKNOWN_WORD])
    with pytest.raises(ArgumentError):
        WordVocabulary.from_words(["a"], minimum_count=0)
    with pytest.raises(ArgumentError):
        WordVocabulary.from_words(["a"], largest=1)


@pytest.mark.parametrize("numbers", [[2], [-1], [[0]], [0.5]])
def test_numbers_of_no_word_are_refused(numbers):
    with pytest.raises(DataError):
        WordVocabulary(["a"]).decode(numbers)


@given(ids=st.lists(st.integers(0, 4), min_size=2, max_size=40))
@settings(deadline=None)
def test_back_off_is_a_probability_after_every_symbol(ids):
    """Over all next symbols the probabilities add up to 1, unless every symbol has followed."""
    size = 5
    for before in range(size):
        after = {b for a, b in pairwise(ids) if a == before}
        total = sum(2.0 ** -backoff_bits(ids, [before, following], size) for following in range(size))
        if len(after) < size:
            assert total == pytest.approx(1, abs=1e-9)
        else:
            assert 0 < total < 1


def test_back_off_beats_single_symbols_and_added_ones():
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(60, 0.05), 60)
    ids = [0]
    for _ in range(3000):
        ids.append(int(rng.choice(60, p=table[ids[-1]])))
    train, unseen = ids[:2000], ids[2000:]
    assert backoff_bits(train, unseen, 60) < bigram_bits(train, unseen, 60) < unigram_bits(train, unseen, 60)


@pytest.mark.parametrize("ids", [[1], [0, 5], [0.5, 1.0], [[0, 1]]])
def test_back_off_refuses_what_is_no_text(ids):
    with pytest.raises(DataError):
        backoff_bits(ids, [0, 1], 5)
