"""The measures against their formulas, on cases with known answers, and with every bad input."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import (
    LORENZ_EXPONENT,
    echo_state_property_index,
    lorenz,
    memory_capacity,
    memory_capacity_task,
    memory_curve,
    nmse,
    nrmse,
    nrmse84,
    valid_prediction_time,
)
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

rng = np.random.default_rng(0)


@given(seed=st.integers(0, 1000), shape=st.sampled_from([(7,), (7, 1), (7, 3), (5, 4, 2)]))
def test_nmse_and_nrmse_are_their_formulas(seed, shape):
    draw = np.random.default_rng(seed)
    y, p = draw.normal(size=shape), draw.normal(size=shape)
    rows, forecasts = (a.reshape(-1, 1 if len(shape) == 1 else shape[-1]) for a in (y, p))
    expected = ((rows - forecasts) ** 2).sum() / ((rows - rows.mean(axis=0)) ** 2).sum()
    assert nmse(y, p) == pytest.approx(expected, rel=1e-12)
    assert nrmse(y, p) == pytest.approx(math.sqrt(expected), rel=1e-12)
    assert nmse(y, p, variance=2.0) == pytest.approx(((rows - forecasts) ** 2).sum(axis=1).mean() / 2, rel=1e-12)


def test_the_mean_as_forecast_has_the_error_1_and_the_target_0():
    y = rng.normal(size=(50, 2)) + [3, -3]
    assert nmse(y, np.broadcast_to(y.mean(axis=0), y.shape)) == pytest.approx(1.0)
    assert nmse(y, y) == nrmse(y, y) == 0.0


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_the_normalised_error_does_not_depend_on_units(scale, shift):
    y, p = np.sin(np.arange(20.0)), np.cos(np.arange(20.0))
    assert nrmse(scale * y + shift, scale * p + shift) == pytest.approx(nrmse(y, p), rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_diverged_forecast_has_an_infinite_error(bad):
    y = np.arange(5.0)
    assert nmse(y, [0, 1, bad, 3, 4]) == nrmse(y, [0, 1, bad, 3, 4]) == math.inf


@pytest.mark.parametrize("features", [False, True])
def test_nrmse84_looks_at_step_84_alone(features):
    y = rng.normal(size=(90, 6, 2) if features else (90, 6))
    p = rng.normal(size=y.shape)
    p[83] = y[83] + 0.3
    variance = y.reshape(-1, 2).var(axis=0).sum() if features else y.var()
    expected = math.sqrt(0.09 * (2 if features else 1) / variance)
    assert nrmse84(y, p) == pytest.approx(expected, rel=1e-12)
    assert nrmse84(y, p, variance=4.0) == pytest.approx(expected * math.sqrt(variance / 4), rel=1e-12)


def test_valid_time_counts_the_steps_before_the_first_error_above_the_threshold():
    y = rng.normal(size=(40, 3))
    p = y.copy()
    p[25:] += 10 * y.std(axis=0)
    assert valid_prediction_time(y, p, dt=0.5, exponent=0.2) == pytest.approx(25 * 0.5 * 0.2)
    assert valid_prediction_time(y, y, dt=0.5, exponent=0.2) == pytest.approx(40 * 0.5 * 0.2)
    assert valid_prediction_time(y, y + 99, dt=0.5, exponent=0.2) == 0.0
    p[30:] = y[30:]  # what comes after does not count
    assert valid_prediction_time(y, p, dt=0.5, exponent=0.2) == pytest.approx(25 * 0.5 * 0.2)


@pytest.mark.parametrize(("error", "steps"), [(0.39, 10), (0.41, 0)])
def test_the_threshold_is_in_standard_deviations_averaged_over_features(error, steps):
    y = np.stack([np.tile([0.0, 2.0], 5), np.tile([0.0, 20.0], 5)], axis=1)  # deviations 1 and 10
    assert valid_prediction_time(y, y + [error, 10 * error], dt=1.0, exponent=1.0) == steps
    assert valid_prediction_time(y, y + [error * math.sqrt(2), 0], dt=1.0, exponent=1.0) == steps
    assert valid_prediction_time(y, y + [2 * error, 2 * error], dt=1.0, exponent=1.0, scale=[2, 2]) == steps


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_forecast_is_valid_until_it_diverges(bad):
    y = np.sin(np.arange(20.0))
    p = np.where(np.arange(20) < 12, y, bad)
    assert valid_prediction_time(y, p, dt=1.0, exponent=1.0) == 12


def test_neighbours_on_the_lorenz_attractor_part_after_the_time_that_the_exponent_says():
    """An error of 1e-6 deviations grows to 0.4 in ln(4e5) = 12.9 Lyapunov times, give or take local fluctuations."""
    start = lorenz(1)[0]
    y = lorenz(1200, initial=start, discard=0)
    p = lorenz(1200, initial=start + [8e-6, 0, 0], discard=0)
    assert 8 < valid_prediction_time(y, p, dt=0.02, exponent=LORENZ_EXPONENT) < 18


def test_the_memory_of_a_delay_line_is_its_length():
    u, target = memory_capacity_task(3000, delays=30)
    recovered = np.where(np.arange(30) < 12, target, 0.0)  # a line of 12 taps knows 12 inputs and nothing else
    assert memory_capacity(target, recovered) == pytest.approx(12.0)
    np.testing.assert_allclose(memory_curve(target, recovered), np.arange(30) < 12, atol=1e-12)
    assert u.shape == (3000, 1)


@given(seed=st.integers(0, 1000))
def test_the_memory_curve_is_the_squared_correlation(seed):
    draw = np.random.default_rng(seed)
    y, p = draw.normal(size=(50, 3)), draw.normal(size=(50, 3))
    expected = [np.corrcoef(y[:, k], p[:, k])[0, 1] ** 2 for k in range(3)]
    np.testing.assert_allclose(memory_curve(y, p), expected, rtol=1e-10, atol=1e-14)
    assert memory_capacity(y, p) == pytest.approx(sum(expected), rel=1e-10)


@pytest.mark.parametrize("bad", [0.3, np.nan, np.inf])
def test_a_constant_or_diverged_readout_recovers_nothing(bad):
    y = rng.normal(size=(50, 2))
    p = y.copy()
    p[:, 1] = bad
    np.testing.assert_allclose(memory_curve(y, p), [1.0, 0.0])


def test_memory_does_not_depend_on_the_scale_of_a_readout():
    y = rng.normal(size=(50, 2))
    np.testing.assert_allclose(memory_curve(y, y * [1e-200, -1e200] + [0.0, 1e200]), [1.0, 1.0])


@pytest.mark.parametrize(("radius", "forgets"), [(0.5, True), (3.0, False)])
def test_the_echo_state_index_tells_forgetting_networks_from_others(radius, forgets):
    """A tanh network without input forgets if its matrix is orthogonal times 0.5; at 3 it goes on by itself."""
    w = radius * np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0]

    def run(x):
        states = []
        for _ in range(150):
            x = np.tanh(w @ x)
            states.append(x)
        return states

    index = echo_state_property_index(run, 20)
    assert index == echo_state_property_index(run, 20)
    assert index < 1e-25 if forgets else index > 0.1


def test_the_echo_state_index_is_its_formula():
    starts = []

    def run(x):
        starts.append(x)
        return np.stack([x, 3 * x, 2 * x])

    index = echo_state_property_index(run, 4, starts=5, washout=1, low=0.0, high=2.0, seed=7)
    assert len(starts) == 6 and not starts[0].any()
    assert min(s.min() for s in starts[1:]) >= 0 and 1 < max(s.max() for s in starts) <= 2
    assert index == pytest.approx(np.mean([2.5 * np.linalg.norm(s) for s in starts[1:]]), rel=1e-12)


Y = np.arange(10.0)


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (ShapeError, lambda: nmse(Y, Y[:, None]), r"\(10,\) and the prediction \(10, 1\)"),
        (ShapeError, lambda: nmse([], []), "at least one step"),
        (ShapeError, lambda: nmse(1.0, 1.0), "at least one step"),
        (DataError, lambda: nmse(Y * np.nan, Y), "not finite"),
        (DataError, lambda: nmse(np.ones(5), np.zeros(5)), "constant"),
        (DataError, lambda: nrmse(np.full(7, 0.1), np.zeros(7)), "constant"),
        (ArgumentError, lambda: nrmse(Y, Y, variance=0.0), "variance is 0"),
        (ShapeError, lambda: nrmse84(np.zeros(100), np.zeros(100)), r"series\[:, None\]"),
        (ShapeError, lambda: nrmse84(np.zeros((83, 2)), np.zeros((83, 2))), "T at least 84"),
        (DataError, lambda: nrmse84(np.zeros((84, 2)), np.zeros((84, 2))), "constant"),
        (ShapeError, lambda: valid_prediction_time(np.zeros((3, 2, 1)), np.zeros((3, 2, 1)), 1, 1), "one forecast"),
        (ArgumentError, lambda: valid_prediction_time(Y, Y, 0.0, 1.0), "dt is 0"),
        (ArgumentError, lambda: valid_prediction_time(Y, Y, 1.0, -1.0), "exponent is -1"),
        (ArgumentError, lambda: valid_prediction_time(Y, Y, 1.0, 1.0, threshold=0.0), "threshold is 0"),
        (DataError, lambda: valid_prediction_time(0 * Y + 0.1, Y, 1.0, 1.0), "feature 0 has the standard deviation 0"),
        (DataError, lambda: valid_prediction_time(Y, Y, 1.0, 1.0, scale=[1, 2]), "expected 1 numbers"),
        (DataError, lambda: valid_prediction_time(Y, Y, 1.0, 1.0, scale=-1.0), "standard deviation -1"),
        (ShapeError, lambda: memory_curve(Y, Y), "a column for each delay"),
        (DataError, lambda: memory_capacity(np.ones((5, 2)), np.ones((5, 2))), "column 0 of the target is constant"),
        (ArgumentError, lambda: echo_state_property_index(lambda x: [x], 0), "units is 0"),
        (ArgumentError, lambda: echo_state_property_index(lambda x: [x], 2, starts=0), "starts is 0"),
        (ArgumentError, lambda: echo_state_property_index(lambda x: [x], 2, washout=-1), "washout is -1"),
        (ArgumentError, lambda: echo_state_property_index(lambda x: [x], 2), "1 steps and the washout 100"),
        (ArgumentError, lambda: echo_state_property_index(lambda x: [x], 2, low=1.0, high=1.0), "low < high"),
        (ShapeError, lambda: echo_state_property_index(lambda x: x, 2), r"expected \(T, 2\)"),
        (DataError, lambda: echo_state_property_index(lambda x: [x / 0.0 * 0], 2, washout=0), "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
def test_bad_input_is_refused(error, call, message):
    with pytest.raises(error, match=message):
        call()
