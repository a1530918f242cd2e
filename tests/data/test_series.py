"""The delay equation against SciPy by the method of steps, the driven series against their equations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from tinygrad_rnn.data import (
    MSO_FREQUENCIES,
    mackey_glass,
    memory_capacity_task,
    multiple_superimposed_oscillators,
    narma,
    series,
)
from tinygrad_rnn.errors import ArgumentError, DataError


def reference(times, tau, history, beta=0.2, gamma=0.1, power=10.0):
    """Mackey-Glass by an adaptive method of order 8, restarted at every multiple of tau, where derivatives jump."""
    before, x, values = history, float(history(0.0)), []
    for interval in range(int(times[-1] // tau) + 1):
        start, stop = interval * tau, (interval + 1) * tau

        def slope(t, x, before=before):
            delayed = before(t - tau)
            return beta * delayed / (1 + delayed**power) - gamma * x

        solved = solve_ivp(slope, (start, stop), [x], "DOP853", dense_output=True, rtol=1e-12, atol=1e-13)
        values += [float(solved.sol(t)[0]) for t in times if start <= t < stop]
        before, x = (lambda t, sol=solved.sol: float(sol(t)[0])), float(solved.y[0, -1])
    return np.array(values)


@pytest.mark.parametrize(("tau", "dt", "n"), [(17.0, 1.0, 100), (17.3, 0.37, 150), (2.0, 5.0, 6)])
def test_mackey_glass_is_the_reference_solution(tau, dt, n):
    x = mackey_glass(n, tau, dt=dt, discard=0, history=1.2)
    expected = reference(np.arange(n) * dt, tau, lambda t: 1.2)
    # The integrator's own estimate: the step of half the size is 16 times as accurate.
    finer = mackey_glass(n, tau, dt=dt, discard=0, history=1.2, step=0.05)
    assert np.abs(x - finer).max() < 1e-8
    np.testing.assert_allclose(x[:, 0], expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(finer[:, 0], expected, rtol=0, atol=1e-9)


def test_mackey_glass_has_order_four():
    """All the steps divide dt, so every sample is a grid point, and nothing is interpolated but the delayed values."""
    exact = mackey_glass(60, discard=0, step=0.0125)
    errors = [np.abs(mackey_glass(60, discard=0, step=h) - exact).max() for h in (0.5, 0.25, 0.125)]
    assert 12 < errors[0] / errors[1] < 20 and 12 < errors[1] / errors[2] < 20


def test_mackey_glass_follows_other_constants_and_a_history_with_kinks():
    history = [0.5, 1.5, 1.0]  # at -8, -4 and 0
    x = mackey_glass(40, 8.0, beta=0.4, gamma=0.2, power=6.0, dt=0.5, discard=0, history=history)
    expected = reference(np.arange(40) * 0.5, 8.0, lambda t: np.interp(t, [-8, -4, 0], history), 0.4, 0.2, 6.0)
    np.testing.assert_allclose(x[:, 0], expected, rtol=0, atol=1e-7)


def test_discarded_samples_are_the_first_ones():
    np.testing.assert_array_equal(mackey_glass(30, discard=20), mackey_glass(50, discard=0)[20:])


def test_a_long_series_stays_on_the_attractor_and_does_not_settle():
    x = mackey_glass(5000)
    assert x.shape == (5000, 1) and x.dtype == np.float64
    assert 0.2 < x.min() < 0.5 and 1.2 < x.max() < 1.4
    assert x[-500:].std() == pytest.approx(x.std(), rel=0.1)


def test_a_short_delay_settles_at_the_equilibrium():
    """beta / (1 + x^p) = gamma at x = 1, which is stable for a small delay."""
    np.testing.assert_allclose(mackey_glass(10, 1.0, discard=500), 1.0, rtol=0, atol=1e-10)


@pytest.mark.parametrize("make", [mackey_glass, narma, memory_capacity_task])
def test_a_seed_fixes_a_series_and_another_one_changes_it(make):
    first, again, other = (np.concatenate(make(50, seed=seed), axis=-1) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_generator_goes_on():
    rng = np.random.default_rng(0)
    assert not np.array_equal(narma(50, seed=rng)[0], narma(50, seed=rng)[0])


@pytest.mark.parametrize(("order", "constants"), [(10, (0.3, 0.05, 1.5, 0.1)), (30, (0.2, 0.04, 1.5, 0.001))])
@pytest.mark.parametrize("discard", [0, 200])
def test_narma_is_its_equation(order, constants, discard):
    alpha, beta, gamma, delta = constants
    u, y = narma(300, order, discard=discard, seed=1)
    assert u.shape == y.shape == (300, 1) and u.dtype == y.dtype == np.float64
    assert u.min() >= 0 and u.max() < 0.5
    for t in range(order - 1, 299):
        past = sum(y[t - i, 0] for i in range(order))
        following = alpha * y[t, 0] + beta * y[t, 0] * past + gamma * u[t - order + 1, 0] * u[t, 0] + delta
        assert y[t + 1, 0] == pytest.approx(following, rel=1e-12)


def test_narma_starts_from_zero_with_no_inputs_before():
    u, y = narma(30, 10, discard=0)
    assert y[0, 0] == 0.0 and y[1, 0] == pytest.approx(0.1) and y[2, 0] == pytest.approx(0.1 * 0.3 + 0.05 * 0.01 + 0.1)
    assert u.shape == y.shape


def test_narma_draws_again_where_an_input_makes_it_diverge():
    """Among many seeds some inputs diverge; what is returned never does."""
    diverging = next(
        s for s in range(1000) if series._narma(np.random.default_rng(s).uniform(0, 0.5, 3000), 10) is None
    )
    _, y = narma(2800, seed=diverging)
    assert np.isfinite(y).all() and y.max() < 10


def test_narma_gives_up_on_a_series_that_always_diverges(monkeypatch):
    monkeypatch.setattr(series, "_narma", lambda u, order: None)
    with pytest.raises(ArgumentError, match="several shorter series"):
        narma(10)


@given(n=st.integers(1, 40), k=st.integers(1, 8), start=st.integers(0, 1000))
def test_oscillators_are_a_sum_of_sines(n, k, start):
    x = multiple_superimposed_oscillators(n, MSO_FREQUENCIES[:k], start=start)
    expected = [sum(np.sin(f * t) for f in MSO_FREQUENCIES[:k]) for t in range(start, start + n)]
    np.testing.assert_allclose(x[:, 0], expected, rtol=0, atol=1e-12)


@given(n=st.integers(1, 30), delays=st.integers(1, 40))
def test_memory_targets_are_delayed_inputs(n, delays):
    u, targets = memory_capacity_task(n, delays)
    assert u.shape == (n, 1) and targets.shape == (n, delays)
    assert np.abs(targets).max() <= 0.5
    for k in range(1, min(delays, n - 1) + 1):
        np.testing.assert_array_equal(targets[k:, k - 1], u[:-k, 0])
    if n > 1 and delays > 1:  # also before the first row: the target of a delay is the shorter one's, a step before
        np.testing.assert_array_equal(targets[1:, 1:], targets[:-1, :-1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mackey_glass(0), "n is 0"),
        (lambda: mackey_glass(1.5), "expected a whole number"),
        (lambda: mackey_glass(10, 0.0), "tau is 0"),
        (lambda: mackey_glass(10, dt=-1.0), "dt is -1"),
        (lambda: mackey_glass(10, step=0.0), "step is 0"),
        (lambda: mackey_glass(10, beta=np.nan), "beta is nan"),
        (lambda: mackey_glass(10, gamma="a"), "expected a number"),
        (lambda: mackey_glass(10, gamma=200.0), "a step of at most 0.005"),
        (lambda: mackey_glass(10, discard=-1), "discard is -1"),
        (lambda: mackey_glass(10, seed=-1), "a seed is"),
        (lambda: narma(0), "n is 0"),
        (lambda: narma(10, 20), "expected 10 or 30"),
        (lambda: narma(10, discard=-1), "discard is -1"),
        (lambda: multiple_superimposed_oscillators(0), "n is 0"),
        (lambda: multiple_superimposed_oscillators(3, start=-1), "start is -1"),
        (lambda: memory_capacity_task(0), "n is 0"),
        (lambda: memory_capacity_task(3, 0), "delays is 0"),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mackey_glass(10, history=-0.5), "negative value -0.5"),
        (lambda: mackey_glass(10, history=[1.0, np.inf]), "not finite"),
        (lambda: mackey_glass(10, history=[[1.0]]), r"shape \(1, 1\)"),
        (lambda: multiple_superimposed_oscillators(3, []), r"shape \(0,\)"),
        (lambda: multiple_superimposed_oscillators(3, 0.2), r"shape \(\)"),
        (lambda: multiple_superimposed_oscillators(3, [np.nan]), "not finite"),
        (lambda: multiple_superimposed_oscillators(3, ["a"]), "expected a sequence of numbers"),
    ],
)
def test_data_that_cannot_be_used_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
