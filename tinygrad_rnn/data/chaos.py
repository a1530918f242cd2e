"""Chaotic flows (Lorenz, Rössler) and maps (Hénon, logistic), whose Lyapunov exponents are known.

Every series is a float64 array with time first and features last. `measures.valid_prediction_time` counts in the
Lyapunov times that follow from the constants below; `measures.largest_lyapunov_exponent` computes them.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError
from ..random import Seed, as_generator
from .arguments import Series, count, positive, real, vector

# Largest Lyapunov exponents for the default constants, per unit of time or per step [Sprott 2003, appendix A].
LORENZ_EXPONENT = 0.9056
ROSSLER_EXPONENT = 0.0714
HENON_EXPONENT = 0.41922

_State = tuple[float, float, float]


def lorenz(
    n: int,
    dt: float = 0.02,
    *,
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8 / 3,
    initial: ArrayLike = (1.0, 1.0, 1.0),
    seed: Seed = None,
    discard: int = 1000,
    step: float = 0.001,
) -> Series:
    """Samples of the Lorenz system.

    ::

        x' = sigma (y - x),    y' = x (rho - z) - y,    z' = x y - beta z         [Lorenz 1963, J. Atmos. Sci. 20]

    Solved by the classical Runge-Kutta method of order four with a fixed step that divides `dt`. Halving `step`
    divides the error by 16; the one of the default is below 1e-7 after one unit of time. As in every chaotic system
    it then grows by exp(0.906 t), so solutions of two integrators part after some 25 units.

    Parameters
    ----------
    n : int
        Number of samples.
    dt : float
        Time between two samples.
    sigma, rho, beta : float
        Constants of the system.
    initial : array_like, shape (3,)
        Where the solution starts.
    seed : int, numpy.random.Generator or None
        If given, a number from the standard normal distribution is added to each coordinate of `initial`.
    discard : int
        Number of samples left out at the start, while the solution falls onto its attractor.
    step : float
        The largest step of the integrator; the one used is ``dt / ceil(dt / step)``.

    Returns
    -------
    numpy.ndarray, float64, shape (n, 3)
        x, y, z at the times ``discard * dt, (discard + 1) * dt, ...``

    Raises
    ------
    ArgumentError
        If a count, a constant or a time is out of its range, or the solution grows without bound.
    DataError
        If `initial` is not made of three finite numbers.

    Examples
    --------
    >>> series = lorenz(1000)
    >>> series.shape, bool(0 < series[:, 2].min()), bool(series[:, 2].max() < 50)
    ((1000, 3), True, True)
    """
    sigma, rho, beta = real("sigma", sigma), real("rho", rho), real("beta", beta)

    def field(x: float, y: float, z: float) -> _State:
        return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

    return _flow("lorenz", field, n, dt, _start(initial, seed, 3), discard, step)


def rossler(
    n: int,
    dt: float = 0.1,
    *,
    a: float = 0.2,
    b: float = 0.2,
    c: float = 5.7,
    initial: ArrayLike = (1.0, 1.0, 1.0),
    seed: Seed = None,
    discard: int = 1000,
    step: float = 0.01,
) -> Series:
    """Samples of the Rössler system.

    ::

        x' = -y - z,    y' = x + a y,    z' = b + z (x - c)                       [Rössler 1976, Physics Letters A 57]

    Integrated as `lorenz` is, whose parameters, results and errors are the same.

    Parameters
    ----------
    n, dt, initial, seed, discard, step
        As in `lorenz`.
    a, b, c : float
        Constants of the system.

    Returns
    -------
    numpy.ndarray, float64, shape (n, 3)
        x, y, z

    Raises
    ------
    ArgumentError, DataError
        As in `lorenz`.

    Examples
    --------
    >>> rossler(1000).max(axis=0).round().tolist()
    [11.0, 8.0, 23.0]
    """
    a, b, c = real("a", a), real("b", b), real("c", c)

    def field(x: float, y: float, z: float) -> _State:
        return -y - z, x + a * y, b + z * (x - c)

    return _flow("rossler", field, n, dt, _start(initial, seed, 3), discard, step)


def henon(
    n: int,
    *,
    a: float = 1.4,
    b: float = 0.3,
    initial: ArrayLike = (0.0, 0.0),
    seed: Seed = None,
    discard: int = 100,
) -> Series:
    """The Hénon map.

    ::

        x(t+1) = 1 - a x(t)^2 + y(t),    y(t+1) = b x(t)                  [Hénon 1976, Commun. Math. Phys. 50]

    Parameters
    ----------
    n : int
        Number of steps.
    a, b : float
        Constants of the map.
    initial : array_like, shape (2,)
        Where the map starts.
    seed : int, numpy.random.Generator or None
        If given, a number from the normal distribution with standard deviation 0.05 is added to each coordinate.
    discard : int
        Number of steps left out at the start.

    Returns
    -------
    numpy.ndarray, float64, shape (n, 2)
        x, y

    Raises
    ------
    ArgumentError
        If a count is too small, a constant is not finite, or the orbit leaves for infinity.
    DataError
        If `initial` is not made of two finite numbers.

    Examples
    --------
    >>> henon(3, discard=0).tolist()
    [[0.0, 0.0], [1.0, 0.0], [-0.3999999999999999, 0.3]]
    """
    n, discard = count("n", n), count("discard", discard, least=0)
    a, b = real("a", a), real("b", b)
    x, y = _start(initial, seed, 2, scale=0.05)
    orbit = [(x, y)]
    for _ in range(n + discard - 1):
        x, y = 1 - a * x * x + y, b * x
        orbit.append((x, y))
    return _bounded("henon", np.array(orbit))[discard:]


def logistic_map(n: int, r: float = 4.0, *, initial: float = 0.3, seed: Seed = None, discard: int = 0) -> Series:
    """The logistic map.

    ::

        x(t+1) = r x(t) (1 - x(t))                                                        [May 1976, Nature 261]

    At r = 4 its Lyapunov exponent is ln 2.

    Parameters
    ----------
    n : int
        Number of steps.
    r : float
        The constant of the map, from 0 to 4. Chaotic for most values above 3.57.
    initial : float
        Where the map starts, from 0 to 1. At r = 4, 0, 0.25, 0.5, 0.75 and 1 end in a fixed point.
    seed : int, numpy.random.Generator or None
        If given, the start is drawn, uniform between 0 and 1, and `initial` is not used.
    discard : int
        Number of steps left out at the start.

    Returns
    -------
    numpy.ndarray, float64, shape (n, 1)

    Raises
    ------
    ArgumentError
        If a count is too small, or `r` or `initial` out of its range.

    Examples
    --------
    >>> logistic_map(4, r=2.0, initial=0.25).ravel().tolist()
    [0.25, 0.375, 0.46875, 0.498046875]
    """
    n, discard = count("n", n), count("discard", discard, least=0)
    r, x = real("r", r), real("initial", initial)
    if not 0 <= r <= 4:
        raise ArgumentError(f"r is {r:g}; the logistic map stays between 0 and 1 for r from 0 to 4 only.")
    if not 0 <= x <= 1:
        raise ArgumentError(f"initial is {x:g}; the logistic map starts between 0 and 1.")
    if seed is not None:
        x = float(as_generator(seed).uniform())
    orbit = [x]
    for _ in range(n + discard - 1):
        x = r * x * (1 - x)
        orbit.append(x)
    return np.array(orbit[discard:])[:, None]


def _start(initial: ArrayLike, seed: Seed, size: int, scale: float = 1.0) -> tuple[float, ...]:
    """The start of an orbit, moved at random if there is a seed."""
    start = vector("initial", initial, size)
    if seed is not None:
        start = start + as_generator(seed).normal(0.0, scale, size)
    return tuple(start.tolist())


def _flow(
    name: str,
    field: Callable[[float, float, float], _State],
    n: int,
    dt: float,
    start: tuple[float, ...],
    discard: int,
    step: float,
) -> Series:
    """Samples of the flow of a vector field with three coordinates.

    Written out on Python's floats: with arrays of three entries the same loop takes ten times as long.
    """
    n, discard = count("n", n), count("discard", discard, least=0)
    dt, step = positive("dt", dt), positive("step", step)
    substeps = math.ceil(dt / step - 1e-9)
    h = dt / substeps
    half, sixth = h / 2, h / 6
    x, y, z = start
    orbit = [(x, y, z)]
    try:
        for _ in range(n + discard - 1):
            for _ in range(substeps):
                ax, ay, az = field(x, y, z)
                bx, by, bz = field(x + half * ax, y + half * ay, z + half * az)
                cx, cy, cz = field(x + half * bx, y + half * by, z + half * bz)
                dx, dy, dz = field(x + h * cx, y + h * cy, z + h * cz)
                x += sixth * (ax + 2 * (bx + cx) + dx)
                y += sixth * (ay + 2 * (by + cy) + dy)
                z += sixth * (az + 2 * (bz + cz) + dz)
            orbit.append((x, y, z))
    except OverflowError:
        orbit.append((math.inf, math.inf, math.inf))
    return _bounded(name, np.array(orbit))[discard:]


def _bounded(name: str, orbit: Series) -> Series:
    """The orbit, unless it left for infinity."""
    bad = ~np.isfinite(orbit).all(axis=1)
    if bad.any():
        raise ArgumentError(f"the orbit of {name} leaves for infinity at sample {int(bad.argmax())}. Start nearer to "
                            "the attractor, take constants with a bounded attractor, or a smaller step.")  # fmt: skip
    return orbit
