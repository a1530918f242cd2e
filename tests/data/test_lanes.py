"""Lanes: what truncated BPTT with a carried state relies on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import Lanes
from tinygrad_rnn.errors import ArgumentError, DataError


@st.composite
def lanes_of_a_ramp(draw):
    """Lanes over 0, 1, 2, ...: the successor of i is i + 1, so every claim can be read off the numbers."""
    batch, steps = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    length = draw(st.integers(batch * (steps + 1), batch * (steps + 1) + 80))
    return Lanes(np.arange(length), batch, steps), length


@given(case=lanes_of_a_ramp(), k=st.integers(0, 100))
def test_every_target_is_the_successor_of_its_input(case, k):
    lanes, _ = case
    x, y, _ = lanes.window(k)
    assert x.shape == y.shape == (lanes.steps, lanes.batch)
    np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(np.diff(x, axis=0), 1)


@given(case=lanes_of_a_ramp(), k=st.integers(0, 100))
def test_a_window_goes_on_where_the_last_one_stopped_unless_it_is_fresh(case, k):
    lanes, _ = case
    before, after = lanes.window(k), lanes.window(k + 1)
    if after.fresh:
        np.testing.assert_array_equal(after.x, lanes.window(0).x)
    else:
        np.testing.assert_array_equal(after.x[0], before.y[-1])


@given(case=lanes_of_a_ramp())
def test_an_epoch_reads_no_character_twice_and_leaves_less_than_a_window_a_lane(case):
    lanes, length = case
    read = np.concatenate([lanes.window(k).x.ravel() for k in range(lanes.windows_per_epoch)])
    assert np.unique(read).size == read.size
    assert length // lanes.batch - read.size // lanes.batch <= lanes.steps


@given(case=lanes_of_a_ramp(), epoch=st.integers(0, 1000), data=st.data())
def test_epochs_wrap_around_and_a_window_depends_on_its_number_alone(case, epoch, data):
    lanes, _ = case
    j = data.draw(st.integers(0, lanes.windows_per_epoch - 1))
    first, later = lanes.window(j), lanes.window(epoch * lanes.windows_per_epoch + j)
    np.testing.assert_array_equal(first.x, later.x)
    np.testing.assert_array_equal(first.y, later.y)
    assert first.fresh is later.fresh is (j == 0)


@given(batch=st.integers(1, 9), steps=st.integers(1, 9))
def test_the_shortest_text_gives_one_window_and_one_character_less_is_refused(batch, steps):
    needed = batch * (steps + 1)
    assert Lanes(np.arange(needed), batch, steps).windows_per_epoch == 1
    with pytest.raises(DataError, match=rf"batch \* \(steps \+ 1\) = {needed}\."):
        Lanes(np.arange(needed - 1), batch, steps)


@pytest.mark.parametrize(("given_dtype", "kept"), [("int32", "int32"), ("int64", "int64"), ("uint8", "int64")])
def test_windows_have_a_dtype_of_the_library(given_dtype, kept):
    assert Lanes(np.arange(20, dtype=given_dtype), 2, 3).window(1).y.dtype == kept


def test_windows_cannot_be_written_and_do_not_follow_the_callers_array():
    stream = np.arange(20)
    lanes = Lanes(stream, 1, 5)
    stream[:] = 0
    assert lanes.window(0).x[:, 0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="read-only"):
        lanes.window(0).x[0, 0] = 1


def test_windows_are_contiguous_in_memory():
    assert Lanes(np.arange(50), 4, 3).window(1).x.flags.c_contiguous


@pytest.mark.parametrize(
    ("batch", "steps", "says"), [(0, 3, "batch is 0"), (2, 0, "steps is 0"), (-1, 3, "batch is -1")]
)
def test_batch_and_steps_are_positive(batch, steps, says):
    with pytest.raises(ArgumentError, match=says):
        Lanes(np.arange(20), batch, steps)


def test_a_negative_step_is_refused():
    with pytest.raises(ArgumentError, match="counted from 0"):
        Lanes(np.arange(20), 2, 3).window(-1)


@pytest.mark.parametrize(("ids", "says"), [(np.zeros((4, 5), int), "shape"), (np.zeros(20), "float64")])
def test_a_text_is_a_sequence_of_integers(ids, says):
    with pytest.raises(DataError, match=says):
        Lanes(ids, 2, 3)
