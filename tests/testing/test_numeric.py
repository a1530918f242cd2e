"""Numeric derivatives: the error bounds hold, kinks are found, round-off is measured, complex steps are exact."""

import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.testing import numeric

SMOOTH = {
    "exp": (np.exp, np.exp),
    "sin": (np.sin, np.cos),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2),
    "log": (np.log, lambda x: 1 / x),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "atan": (np.arctan, lambda x: 1 / (1 + x * x)),
    "far": (lambda x: np.log(x + 1e5), lambda x: 1 / (x + 1e5)),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("family", numeric.FAMILIES)
def test_the_error_bound_of_an_extrapolation_holds(name, family):
    f, slope = SMOOTH[name]
    x = 10 ** np.random.default_rng(0).uniform(-2, 1.5, 2000)
    u = 0.4 * x
    size = abs(f(x)) + abs(slope(x) * x)
    found, error, _ = numeric.richardson(lambda t: f(x + t * u), size, step=family[0], ratio=family[1])
    # the reference and x + t u round too
    own = 16 * numeric.EPS * size
    assert np.all(abs(found - slope(x) * u) <= error + own)
    assert np.median(error / size) < 1e-9


def test_refining_stops_at_the_target():
    steps = []

    def at(t):
        steps.append(t)
        return np.array([math.sin(0.5 + t)])

    _, error, probes = numeric.richardson(at, np.ones(1), target=1e-6)
    assert error[0] <= 1e-6 and len(steps) == 2 * len(probes) == 6


def test_an_entry_that_leaves_its_domain_has_no_slope_and_spoils_no_other():
    with np.errstate(invalid="ignore"):
        slope, error, _ = numeric.richardson(lambda t: np.sqrt(np.array([t, 1 + t])), np.ones(2))
    assert np.isnan(slope[0]) and error[0] == np.inf
    assert slope[1] == pytest.approx(0.5) and error[1] < 1e-9


def test_kinks_are_told_from_curvature():
    def at(t):
        return np.array([abs(t), max(t, 0.0), t * t, math.exp(5 * t), abs(t) + 100 * t * t, abs(t - 1e-4) - 1e-4])

    kink, ahead, behind = numeric.kinked(at, at(0.0), np.ones(6), np.array([0.0, 0.5, 0.0, 5.0, 0.0, 1.0]))
    assert kink.tolist() == [True, True, False, False, True, False]
    assert ahead[:2] == pytest.approx([1, 1]) and behind[:2] == pytest.approx([-1, 0])
    near, *_ = numeric.kinked(at, at(0.0), np.ones(6), np.array([0.0, 0.5, 0.0, 5.0, 0.0, 1.0]), anywhere=True)
    assert near[5] and not near[3]


def test_the_noise_of_a_function_is_measured():
    rng = np.random.default_rng(0)
    levels = np.array([1e-12, 1e-9, 0.0])
    found = numeric.noise_level(lambda t: np.sin(1 + t) + levels * rng.standard_normal(3), points=64)
    assert np.all(found[:2] > levels[:2] / 3) and np.all(found[:2] < levels[:2] * 3)
    assert found[2] < 4 * numeric.EPS


def test_a_taylor_remainder_falls_as_the_square_for_the_right_slope_only():
    slopes = np.array([1.0, 1.0 + 1e-4, -1.0, 0.0])
    order, wrong, visible = numeric.taylor_order(lambda t: np.full(4, math.exp(t)), np.ones(4), slopes, np.ones(4))
    assert wrong.tolist() == [False, True, True, True]
    assert order[0] == pytest.approx(2, abs=0.1) and order[2:] == pytest.approx(1, abs=0.1)
    assert visible[0] < 1e-6


def test_a_linear_function_has_no_taylor_remainder():
    order, wrong, visible = numeric.taylor_order(lambda t: np.array([3 * t]), np.zeros(1), np.array([3.0]), np.ones(1))
    assert np.isinf(order[0]) and not wrong[0] and visible[0] < 1e-9


def test_a_complex_step_is_exact_to_rounding():
    x = tg.tensor([0.3, -1.2], dtype="float64")
    with tg.Tape() as tape:
        y = tg.sum(tg.exp(x * x) / (1 + tg.sin(x)))
    u = np.array([0.5, 2.0])
    assert numeric.admits_complex(tape)
    (found,) = numeric.complex_step(tape, tape.leaves[id(x)][0], u, [y._slot])
    expected = tg.jvp(lambda x: tg.sum(tg.exp(x * x) / (1 + tg.sin(x))), [x], [tg.tensor(u)])[1].item()
    assert found == pytest.approx(expected, rel=1e-14)


def test_a_function_that_is_not_analytic_admits_no_complex_step():
    x = tg.tensor([0.3], dtype="float64")
    with tg.Tape() as tape:
        tg.abs(tg.exp(x))
    assert not numeric.admits_complex(tape)


def test_every_analytic_primitive_exists():
    assert set(tg.registry) >= numeric.ANALYTIC


def test_entry_by_entry_functions_are_recognised():
    x = tg.tensor([0.3], dtype="float64")
    with tg.Tape() as tape:
        y = tg.exp(x) * 2
    assert numeric.acts_by_entry(tape)
    with tg.Tape() as tape:
        tg.sum(y + x)
    assert not numeric.acts_by_entry(tape)
