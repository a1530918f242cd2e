"""Flows against SciPy's solution, maps against their equations, Lyapunov exponents against known ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from tinygrad_rnn.data import (
    HENON_EXPONENT,
    LORENZ_EXPONENT,
    ROSSLER_EXPONENT,
    henon,
    largest_lyapunov_exponent,
    logistic_map,
    lorenz,
    rossler,
)
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError


def lorenz_field(s):
    x, y, z = s
    return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


def lorenz_jacobian(s):
    x, y, z = s
    return np.array([[-10, 10, 0], [28 - z, -1, -x], [y, x, -8 / 3]])


def rossler_field(s):
    x, y, z = s
    return np.array([-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)])


def rossler_jacobian(s):
    x, _, z = s
    return np.array([[0, -1, -1], [1, 0.2, 0], [z, 0, x - 5.7]])


def henon_step(s):
    return np.array([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]])


def henon_jacobian(s):
    return np.array([[-2.8 * s[0], 1.0], [0.3, 0.0]])


@pytest.mark.parametrize(
    ("make", "field", "dt", "tolerance"), [(lorenz, lorenz_field, 0.02, 1e-7), (rossler, rossler_field, 0.1, 1e-7)]
)
def test_a_flow_is_the_reference_solution(make, field, dt, tolerance):
    start = (1.0, 2.0, 20.0) if make is lorenz else (1.0, 2.0, 0.5)
    series = make(51, dt, initial=start, discard=0)
    times = np.arange(51) * dt
    solved = solve_ivp(lambda t, s: field(s), (0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(series, solved.y.T, rtol=0, atol=tolerance)


@pytest.mark.parametrize("make", [lorenz, rossler])
def test_a_flow_has_order_four(make):
    exact = make(11, 0.1, discard=0, step=0.0005)
    errors = [np.abs(make(11, 0.1, discard=0, step=h) - exact).max() for h in (0.01, 0.005)]
    assert 12 < errors[0] / errors[1] < 20


@pytest.mark.parametrize(
    ("make", "constants", "point"),
    [
        (lorenz, {"sigma": 9.0, "rho": 14.0, "beta": 2.0}, (math.sqrt(26), math.sqrt(26), 13.0)),
        (rossler, {"a": 0.5, "b": 2.0, "c": 2.0}, (1.0, -2.0, 2.0)),
    ],
)
def test_an_equilibrium_stays_where_it_is(make, constants, point):
    """The equations written out: x = y = sqrt(beta (rho - 1)), z = rho - 1; and z = -y, x = a z, z (c - x) = b."""
    series = make(20, initial=point, discard=0, **constants)
    np.testing.assert_allclose(series, np.tile(point, (20, 1)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("make", [lorenz, rossler, henon, logistic_map])
def test_discarded_samples_are_the_first_ones(make):
    np.testing.assert_array_equal(make(30, discard=20), make(50, discard=0)[20:])


@pytest.mark.parametrize("make", [lorenz, rossler, henon, logistic_map])
def test_a_seed_fixes_a_series_and_another_one_changes_it(make):
    np.testing.assert_array_equal(make(10, seed=3), make(10, seed=3))
    assert not np.array_equal(make(10, seed=3), make(10, seed=4))
    assert make(10, seed=3).dtype == np.float64


@given(seed=st.integers(0, 2**32))
def test_henon_is_its_equation_from_every_seed(seed):
    s = henon(50, seed=seed)
    assert s.shape == (50, 2) and np.abs(s).max() < 1.5
    np.testing.assert_allclose(s[1:], [henon_step(row) for row in s[:-1]], rtol=0, atol=1e-15)


@given(r=st.floats(0, 4), x=st.floats(0, 1))
def test_logistic_map_is_its_equation_and_stays_between_0_and_1(r, x):
    s = logistic_map(50, r, initial=x)[:, 0]
    assert s[0] == x and s.min() >= 0 and s.max() <= 1
    np.testing.assert_array_equal(s[1:], r * s[:-1] * (1 - s[:-1]))


@pytest.mark.parametrize("tangent", [True, False])
class TestLyapunovExponents:
    """With tangent dynamics, and from two trajectories. Rounding decides which orbit is computed, so the tolerances are
    at least four standard deviations of the exponent over random starts: Lorenz 0.013, Rössler 0.004, Hénon 0.002."""

    def test_logistic_map(self, tangent):
        """Exactly ln 2 at r = 4. The map is a tent map in other coordinates, so the mean converges as 1 / steps."""
        found = largest_lyapunov_exponent(
            lambda x: 4 * x * (1 - x), [0.3], 20_000, jacobian=(lambda x: [[4 - 8 * x[0]]]) if tangent else None
        )
        assert found == pytest.approx(math.log(2), abs=0.001)

    def test_henon(self, tangent):
        found = largest_lyapunov_exponent(henon_step, [0.0, 0.0], 20_000, jacobian=henon_jacobian if tangent else None)
        assert found == pytest.approx(HENON_EXPONENT, abs=0.01)

    def test_lorenz(self, tangent):
        found = largest_lyapunov_exponent(
            lorenz_field, [1.0, 1.0, 1.0], 20_000, dt=0.01, jacobian=lorenz_jacobian if tangent else None
        )
        assert found == pytest.approx(LORENZ_EXPONENT, abs=0.06)

    def test_rossler(self, tangent):
        found = largest_lyapunov_exponent(
            rossler_field, [1.0, 1.0, 1.0], 10_000, dt=0.1, jacobian=rossler_jacobian if tangent else None
        )
        assert found == pytest.approx(ROSSLER_EXPONENT, abs=0.02)

    def test_a_linear_map_has_the_logarithm_of_its_largest_eigenvalue(self, tangent):
        a = np.diag([0.9, -0.5, 0.1])
        found = largest_lyapunov_exponent(lambda x: a @ x, np.zeros(3), 50, jacobian=(lambda x: a) if tangent else None)
        assert found == pytest.approx(math.log(0.9), abs=1e-12)

    def test_a_linear_flow_has_its_largest_eigenvalue(self, tangent):
        a = np.diag([-0.2, -1.0])
        jacobian = (lambda x: a) if tangent else None
        found = largest_lyapunov_exponent(lambda x: a @ x, np.zeros(2), 50, dt=0.01, jacobian=jacobian)
        assert found == pytest.approx(-0.2, abs=1e-6)

    @pytest.mark.parametrize("scale", [1e-12, 1e12])
    def test_the_exponent_does_not_depend_on_units(self, tangent, scale):
        jacobian = (lambda x: henon_jacobian(x / scale)) if tangent else None
        found = largest_lyapunov_exponent(lambda x: scale * henon_step(x / scale), [scale, 0], 5_000, jacobian=jacobian)
        assert found == pytest.approx(HENON_EXPONENT, abs=0.02)

    def test_a_constant_map_has_minus_infinity(self, tangent):
        jacobian = (lambda x: [[0.0]]) if tangent else None
        assert largest_lyapunov_exponent(lambda x: np.ones(1), [0.3], 5, jacobian=jacobian) == -math.inf

    def test_an_orbit_that_leaves_is_refused(self, tangent):
        with pytest.raises(ArgumentError, match="leaves for infinity"):
            largest_lyapunov_exponent(lambda x: x**2, [3.0], 50, jacobian=(lambda x: [2 * x]) if tangent else None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lorenz(0), "n is 0"),
        (lambda: lorenz(5, 0.0), "dt is 0"),
        (lambda: lorenz(5, step=-1), "step is -1"),
        (lambda: lorenz(5, sigma=np.inf), "sigma is inf"),
        (lambda: lorenz(5, discard=-1), "discard is -1"),
        (lambda: lorenz(5, beta=-300.0), "the orbit of lorenz leaves for infinity"),
        (lambda: rossler(5, a=None), "expected a number"),
        (lambda: rossler(5, initial=(1e5, 1e5, 1e5)), "the orbit of rossler leaves for infinity"),
        (lambda: henon(0), "n is 0"),
        (lambda: henon(5, initial=(10.0, 10.0)), "the orbit of henon leaves for infinity"),
        (lambda: henon(5, b=np.nan), "b is nan"),
        (lambda: logistic_map(0), "n is 0"),
        (lambda: logistic_map(5, 4.1), "r is 4.1"),
        (lambda: logistic_map(5, initial=1.1), "initial is 1.1"),
        (lambda: largest_lyapunov_exponent(henon_step, [0, 0], 0), "steps is 0"),
        (lambda: largest_lyapunov_exponent(henon_step, [0, 0], 5, dt=0.0), "dt is 0"),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.mark.parametrize("call", [lambda: lorenz(5, initial=(1, 2)), lambda: henon(5, initial=(1, 2, 3))])
def test_a_start_of_the_wrong_size_is_refused(call):
    with pytest.raises(DataError, match="initial has the shape"):
        call()


def test_functions_that_return_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"function returned an array of shape \(3,\)"):
        largest_lyapunov_exponent(lambda x: np.zeros(3), [0.0, 0.0], 5)
    with pytest.raises(ShapeError, match=r"jacobian returned an array of shape \(2,\)"):
        largest_lyapunov_exponent(henon_step, [0.0, 0.0], 5, jacobian=lambda x: x)
