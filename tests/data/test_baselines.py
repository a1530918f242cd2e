"""The baselines against their formulas written out, and against each other."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import bigram_bits, uniform_bits, unigram_bits
from tinygrad_rnn.errors import ArgumentError, DataError

SIZE = 4
ids = st.lists(st.integers(0, SIZE - 1), min_size=2, max_size=50)


@given(train=ids, validation=ids)
def test_unigram_is_its_formula(train, validation):
    counts = Counter(train)
    expected = -sum(math.log2((counts[c] + 1) / (len(train) + SIZE)) for c in validation) / len(validation)
    assert unigram_bits(train, validation, SIZE) == pytest.approx(expected, rel=1e-12)


@given(train=ids, validation=ids)
def test_bigram_is_its_formula(train, validation):
    together, before = Counter(pairwise(train)), Counter(train[:-1])
    bits = [-math.log2((together[a, b] + 1) / (before[a] + SIZE)) for a, b in pairwise(validation)]
    assert bigram_bits(train, validation, SIZE) == pytest.approx(sum(bits) / len(bits), rel=1e-12)


@given(train=ids)
def test_smoothed_probabilities_sum_to_one(train):
    unigram = [2 ** -unigram_bits(train, [c], SIZE) for c in range(SIZE)]
    assert sum(unigram) == pytest.approx(1, rel=1e-12)
    for a in range(SIZE):
        assert sum(2 ** -bigram_bits(train, [a, b], SIZE) for b in range(SIZE)) == pytest.approx(1, rel=1e-12)


def test_independent_uniform_characters_leave_nothing_to_count():
    draw = np.random.default_rng(0).integers(0, 16, 200_000)
    assert unigram_bits(draw[:100_000], draw[100_000:], 16) == pytest.approx(uniform_bits(16), abs=0.01)
    assert bigram_bits(draw[:100_000], draw[100_000:], 16) == pytest.approx(uniform_bits(16), abs=0.01)


def test_a_cycle_is_certain_to_the_bigram_only():
    cycle = np.tile(np.arange(8), 1_000)
    assert unigram_bits(cycle, cycle, 8) == pytest.approx(3.0)
    assert bigram_bits(cycle, cycle, 8) < 0.02


def test_a_large_vocabulary_needs_no_table_of_pairs():
    assert bigram_bits([0, 999_999, 0], [0, 999_999], 1_000_000) == pytest.approx(math.log2(1_000_001 / 2))


def test_narrow_integers_do_not_overflow():
    narrow = np.array([200, 201, 200, 201], dtype=np.uint8)
    assert bigram_bits(narrow, narrow, 250) == bigram_bits(narrow.tolist(), narrow.tolist(), 250)


def test_uniform_is_the_logarithm():
    assert uniform_bits(1) == 0.0 and uniform_bits(128) == 7.0


@pytest.mark.parametrize("bits", [unigram_bits, bigram_bits])
@pytest.mark.parametrize(
    ("train", "validation", "says"),
    [
        ([], [0, 1], "the training text has shape"),
        ([0, 1], [], "the validation text has shape"),
        ([[0, 1]], [0, 1], "sequence"),
        ([0, 1], [0.0, 1.0], "dtype float64"),
        ([0, 4], [0, 1], "size=len"),
        ([0, 1], [0, -1], "from -1"),
    ],
)
def test_unfit_texts_are_refused(bits, train, validation, says):
    with pytest.raises(DataError, match=says):
        bits(train, validation, SIZE)


def test_a_pair_needs_two_characters():
    with pytest.raises(DataError, match="at least 2"):
        bigram_bits([0, 1], [0], SIZE)


@pytest.mark.parametrize("call", [lambda: uniform_bits(0), lambda: unigram_bits([0], [0], 0)])
def test_a_vocabulary_has_a_size(call):
    with pytest.raises(ArgumentError, match="at least 1"):
        call()
