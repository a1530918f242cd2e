"""Bits under counts of what follows the last symbols."""

import numpy as np
import pytest

from tinygrad_rnn.data import ngram_bits
from tinygrad_rnn.errors import ArgumentError, DataError


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_chances_of_all_symbols_sum_to_one(order):
    rng = np.random.default_rng(0)
    train = [rng.integers(0, 4, rng.integers(1, 9)).tolist() for _ in range(20)]
    for before in ([], [0], [1, 2], [3, 3, 3]):
        bits = ngram_bits(train, [[*before, symbol] for symbol in range(5)], 5, order=order)
        assert sum(2.0 ** -one[-1] for one in bits) == pytest.approx(1)


def test_single_symbols_are_counted_with_a_discount():
    # n = 3 and 1 of 4, d = 1/2: (3 - 1/2) / 4 + (1/2 * 2 / 4) / 3, and so on; the third symbol was never seen
    found = ngram_bits([[0, 0, 0, 1]], [[0, 1, 2]], 3, order=1, discount=0.5)[0]
    np.testing.assert_allclose(2.0**-found, [2.5 / 4 + 1 / 12, 0.5 / 4 + 1 / 12, 1 / 12])


def test_a_longer_memory_foresees_what_needs_it():
    """Each symbol repeats the one before the last."""
    train = [[0, 1] * 10, [1, 1] * 10, [0, 0] * 10, [1, 0] * 10]
    means = [np.mean(np.concatenate(ngram_bits(train, train, 2, order=order))[2:]) for order in (1, 2, 3)]
    assert means[0] > 0.99 and means[2] < 0.25 < means[1]


def test_wrong_arguments_say_so():
    with pytest.raises(DataError, match="at least one training"):
        ngram_bits([], [[0]], 1)
    with pytest.raises(DataError, match="from 0 to 1"):
        ngram_bits([[0]], [[2]], 2)
    with pytest.raises(ArgumentError, match="discount"):
        ngram_bits([[0]], [[0]], 2, discount=0)
    with pytest.raises(ArgumentError, match="order"):
        ngram_bits([[0]], [[0]], 2, order=0)
