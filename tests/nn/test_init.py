"""Initialisers: the distributions of their papers, the same values from the same seed."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn, rnn
from tinygrad_rnn.errors import ArgumentError, ShapeError, SnapshotError
from tinygrad_rnn.nn import init
from tinygrad_rnn.random import as_generator, generator_state, set_generator_state

RANDOM = [init.xavier_uniform, init.xavier_normal, init.he_uniform, init.he_normal, init.orthogonal, init.uniform,
          init.normal]  # fmt: skip
STANDARD_DEVIATIONS = {
    init.xavier_uniform: math.sqrt(2 / 700),
    init.xavier_normal: math.sqrt(2 / 700),
    init.he_uniform: math.sqrt(2 / 300),
    init.he_normal: math.sqrt(2 / 300),
    init.uniform: math.sqrt(1 / 12),
    init.normal: 1.0,
}


@pytest.mark.parametrize("initialiser", RANDOM)
def test_the_same_seed_gives_the_same_values_in_both_precisions(initialiser):
    double = initialiser((4, 6), 3, dtype="float64")
    single = initialiser((4, 6), np.random.default_rng(3))
    assert double.dtype == np.float64 and single.dtype == np.float32
    assert_array_equal(single, double.astype("float32"))
    assert not np.array_equal(single, initialiser((4, 6), 4))


@pytest.mark.parametrize("initialiser", STANDARD_DEVIATIONS)
def test_the_standard_deviation_is_that_of_the_paper(initialiser):
    drawn = initialiser((400, 300), 0, dtype="float64")
    # the standard error of a standard deviation over n draws is at most sd/sqrt(2n): five of them
    expected = STANDARD_DEVIATIONS[initialiser]
    assert abs(drawn.std() - expected) < 5 * expected / math.sqrt(2 * drawn.size)


def test_uniform_draws_stay_inside_their_bounds():
    assert np.abs(init.xavier_uniform((40, 56), 0)).max() <= 0.25
    assert np.abs(init.he_uniform((40, 24), 0)).max() <= 0.5


def test_a_kernel_counts_as_part_of_the_fan():
    expected = init.normal((8, 4, 3), 0, std=math.sqrt(2 / (4 * 3)), dtype="float64")
    assert_allclose(init.he_normal((8, 4, 3), 0, dtype="float64"), expected, rtol=1e-15)


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3)])
def test_orthogonal_has_orthonormal_rows_or_columns_times_the_gain(shape):
    w = init.orthogonal(shape, 0, gain=2.0, dtype="float64").reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    assert_allclose(product, 4 * np.eye(len(product)), atol=1e-13)


def test_identity_constant_and_zeros():
    assert_array_equal(init.identity((2, 3), scale=2.0), [[2, 0, 0], [0, 2, 0]])
    assert_array_equal(init.constant((2,), value=3), [3, 3])
    assert_array_equal(init.zeros((2, 1)), [[0], [0]])


def test_forget_gate_bias_sets_the_second_quarter_only():
    bias = np.arange(8.0)
    assert init.forget_gate_bias(bias, 5.0).tolist() == [0, 1, 5, 5, 4, 5, 6, 7]
    assert bias[2] == 2
    with pytest.raises(ShapeError, match="4 \\* hidden_size"):
        init.forget_gate_bias(np.zeros(6))


class FakeLSTM(nn.Module):
    def __init__(self, gates):
        self.weight_hh_l0 = nn.Parameter(np.zeros((2 * gates, 2)))
        self.bias_ih_l0 = nn.Parameter(np.full(2 * gates, 0.5))
        self.bias_hh_l0 = nn.Parameter(np.full(2 * gates, 0.5))


def test_forget_gate_bias_finds_the_lstms_inside_a_module():
    lstm, gru = FakeLSTM(4), FakeLSTM(3)
    init.forget_gate_bias_(nn.Sequential(lstm, gru), 2.0)
    assert lstm.bias_ih_l0.tolist() == [0.5, 0.5, 2.0, 2.0, 0.5, 0.5, 0.5, 0.5]
    assert lstm.bias_hh_l0.tolist() == [0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5]
    assert gru.bias_ih_l0.tolist() == [0.5] * 6
    with pytest.raises(ArgumentError, match="holds no LSTM"):
        init.forget_gate_bias_(gru)


def test_wrong_arguments_say_what_was_expected():
    for initialiser in (init.xavier_uniform, init.he_normal, init.orthogonal):
        with pytest.raises(ShapeError, match="at least two axes"):
            initialiser((3,), 0)
    with pytest.raises(ShapeError, match="identity needs"):
        init.identity((2, 2, 2))
    with pytest.raises(ArgumentError, match="low <= high"):
        init.uniform((2,), 0, low=1, high=0)
    with pytest.raises(ArgumentError, match="std >= 0"):
        init.normal((2,), 0, std=-1)
    for seed in ("zero", -1, 1.5, True):
        with pytest.raises(ArgumentError, match="a seed is"):
            as_generator(seed)


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_the_state_of_every_bit_generator_travels_through_an_array(kind):
    rng = np.random.Generator(kind(5))
    rng.random(3, dtype=np.float32)
    saved = generator_state(rng)
    expected = rng.random(7, dtype=np.float32)
    other = np.random.Generator(kind(0))
    set_generator_state(other, saved)
    assert_array_equal(other.random(7, dtype=np.float32), expected)


def test_a_damaged_or_foreign_generator_state_raises():
    rng = np.random.default_rng(0)
    with pytest.raises(SnapshotError, match="expected the state"):
        set_generator_state(rng, np.zeros(4, np.uint8))
    with pytest.raises(SnapshotError, match="MT19937"):
        set_generator_state(rng, generator_state(np.random.Generator(np.random.MT19937(0))))
    damaged = generator_state(rng).tobytes().replace(b'"state": {', b'"stale": {', 1)
    with pytest.raises(SnapshotError, match="damaged"):
        set_generator_state(rng, np.frombuffer(damaged, np.uint8))


def test_irnn_keeps_its_state_without_input():
    model = nn.Sequential(nn.Linear(2, 2, rng=0), rnn.RNN(2, 4, num_layers=2, nonlinearity="relu", rng=0))
    init.irnn_(model, 0)
    layer = model[1]
    for suffix in ("l0", "l1"):
        assert_array_equal(getattr(layer, f"weight_hh_{suffix}").numpy(), np.eye(4))
        assert 0 < np.abs(getattr(layer, f"weight_ih_{suffix}").numpy()).max() < 0.01
        assert not getattr(layer, f"bias_hh_{suffix}").numpy().any()
    start = tg.tensor(np.abs(np.random.default_rng(0).normal(size=(2, 1, 4))).astype(np.float32))
    _, last = layer(tg.zeros((50, 1, 2)), start)
    assert_array_equal(last.numpy()[0], start.numpy()[0])
    with pytest.raises(ArgumentError, match="no Elman network"):
        init.irnn_(rnn.LSTM(2, 3))
