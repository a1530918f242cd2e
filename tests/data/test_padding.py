"""Sequences beside each other come apart again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import padded
from tinygrad_rnn.errors import DataError


@given(st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=7), min_size=1, max_size=6), st.integers(-9, 9))
def test_the_sequences_come_back_and_the_rest_is_filling(sequences, value):
    numbers, lengths = padded(sequences, value=value)
    assert numbers.dtype == lengths.dtype == np.int64
    assert numbers.shape == (max(map(len, sequences)), len(sequences))
    for lane, sequence in enumerate(sequences):
        assert numbers[: lengths[lane], lane].tolist() == sequence
        assert (numbers[lengths[lane] :, lane] == value).all()


@pytest.mark.parametrize("sequences", [[], [[1], []], [[1.5]], [[[1]]], [["a"]]])
def test_anything_else_is_refused(sequences):
    with pytest.raises(DataError, match="expected"):
        padded(sequences)
