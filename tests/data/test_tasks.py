"""Every target follows from its inputs, by a second computation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import adding_problem, copy_memory, delayed_parity
from tinygrad_rnn.errors import ArgumentError, DTypeError

seeds = st.integers(0, 2**32)


@given(steps=st.integers(2, 30), batch=st.integers(1, 6), seed=seeds)
def test_two_numbers_are_marked_one_in_each_half_and_added(steps, batch, seed):
    inputs, targets = adding_problem(steps, batch, seed=seed, dtype=np.float64)
    assert inputs.shape == (steps, batch, 2) and targets.shape == (batch, 1)
    values, marks = inputs[..., 0], inputs[..., 1]
    assert set(np.unique(marks)) <= {0.0, 1.0} and values.min() >= 0 and values.max() < 1
    np.testing.assert_array_equal(marks[: steps // 2].sum(axis=0), 1)
    np.testing.assert_array_equal(marks[steps // 2 :].sum(axis=0), 1)
    np.testing.assert_allclose((values * marks).sum(axis=0), targets[:, 0], rtol=1e-15)


def test_every_place_of_a_half_can_be_marked_and_guessing_1_errs_by_a_sixth():
    inputs, targets = adding_problem(7, 20_000)
    share = inputs[..., 1].mean(axis=1)
    np.testing.assert_allclose(share, [1 / 3] * 3 + [1 / 4] * 4, atol=0.02)  # 5 deviations of a mean of 20,000
    assert np.mean((targets - 1) ** 2) == pytest.approx(1 / 6, abs=0.01)


@given(
    delay=st.integers(1, 12), batch=st.integers(1, 4), symbols=st.integers(1, 9), length=st.integers(1, 6), seed=seeds
)
def test_symbols_come_back_after_the_signal(delay, batch, symbols, length, seed):
    inputs, targets = copy_memory(delay, batch, symbols=symbols, length=length, seed=seed)
    steps = delay + 2 * length
    assert inputs.shape == (steps, batch, symbols + 2) and targets.shape == (steps, batch)
    assert targets.dtype == np.int64
    np.testing.assert_array_equal(inputs.sum(axis=-1), 1)
    given_symbols = inputs.argmax(axis=-1)
    np.testing.assert_array_equal(targets[-length:], given_symbols[:length])
    assert given_symbols[:length].max() < symbols
    assert (targets[:-length] == symbols).all()
    np.testing.assert_array_equal(given_symbols[-length - 1], symbols + 1)
    rest = np.delete(given_symbols[length:], delay - 1, axis=0)
    assert (rest == symbols).all()


@given(steps=st.integers(1, 25), batch=st.integers(1, 4), bits=st.integers(1, 5), delay=st.integers(0, 5), seed=seeds)
def test_parity_counts_the_delayed_bits(steps, batch, bits, delay, seed):
    steps += bits + delay
    inputs, targets = delayed_parity(steps, batch, bits=bits, delay=delay, seed=seed)
    assert inputs.shape == targets.shape == (steps, batch, 1)
    assert set(np.unique(inputs)) <= {-1.0, 1.0}
    for t in range(steps):
        ones = sum((inputs[t - age] > 0).astype(int) for age in range(delay, delay + bits) if t >= age)
        np.testing.assert_array_equal(targets[t], ones % 2 if t >= delay else 0)


@pytest.mark.parametrize("make", [adding_problem, copy_memory, delayed_parity])
class TestEveryTask:
    def test_a_seed_fixes_a_batch_and_another_one_changes_it(self, make):
        for part, same, other in zip(make(20, 8, seed=1), make(20, 8, seed=1), make(20, 8, seed=2), strict=True):
            np.testing.assert_array_equal(part, same)
            assert not np.array_equal(part, other)

    def test_a_generator_gives_another_batch_every_time(self, make):
        rng = np.random.default_rng(0)
        assert not np.array_equal(make(20, 8, seed=rng)[0], make(20, 8, seed=rng)[0])

    @pytest.mark.parametrize("dtype", [np.float32, "float64"])
    def test_the_dtype_is_the_one_asked_for(self, make, dtype):
        inputs, targets = make(20, 8, dtype=dtype)
        assert inputs.dtype == dtype
        assert targets.dtype == (np.int64 if make is copy_memory else dtype)
        assert make(20, 8)[0].dtype == np.float32

    @pytest.mark.parametrize("dtype", [np.int64, np.float16, "nonsense"])
    def test_other_dtypes_are_refused(self, make, dtype):
        with pytest.raises(DTypeError, match="expected float32 or float64"):
            make(20, 8, dtype=dtype)

    def test_counts_out_of_range_are_refused(self, make):
        with pytest.raises(ArgumentError, match="is 0; it must be at least"):
            make(0, 8)
        with pytest.raises(ArgumentError, match="batch is 0"):
            make(20, 0)
        with pytest.raises(ArgumentError, match="expected a whole number"):
            make(20, 8.0)
        with pytest.raises(ArgumentError, match="a seed is"):
            make(20, 8, seed="a")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adding_problem(1, 2), "steps is 1; it must be at least 2"),
        (lambda: copy_memory(5, 2, symbols=0), "symbols is 0"),
        (lambda: copy_memory(5, 2, length=0), "length is 0"),
        (lambda: delayed_parity(5, 2, bits=0), "bits is 0"),
        (lambda: delayed_parity(5, 2, delay=-1), "delay is -1"),
        (lambda: delayed_parity(5, 2, bits=3, delay=3), "at least delay \\+ bits = 6 steps"),
    ],
)
def test_each_tasks_own_arguments_are_checked(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
