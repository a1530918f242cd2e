"""The largest Lyapunov exponent: how fast neighbouring orbits of a map or a flow part."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, ShapeError
from ..random import Seed, as_generator
from .arguments import Series, count, positive, vector

_SEPARATION = 1e-7  # of two orbits of size 1: a compromise between the errors of rounding and of curvature

Function = Callable[[Series], ArrayLike]


def largest_lyapunov_exponent(
    function: Function,
    initial: ArrayLike,
    steps: int = 10_000,
    *,
    jacobian: Function | None = None,
    dt: float | None = None,
    discard: int = 1000,
    seed: Seed = 0,
) -> float:
    """The largest Lyapunov exponent of a map, or of a flow.

    ::

        x(t+1) = f(x(t))        v(t+1) = J(x(t)) v(t)                   a map
        x'     = f(x)           v'     = J(x) v                         a flow, if dt is given
        exponent = mean over steps of log |v(t+1)| / |v(t)|, divided by dt

    With a Jacobian, by tangent dynamics: v is carried along and brought back to length 1 after every step. Without
    one, from trajectories: v is the difference to a second orbit, which is pulled back after every step to a distance
    of 1e-7 times the largest coordinate so far. [Both: Benettin, Galgani & Strelcyn 1976, Physical Review A 14;
    Sprott 2003.] Flows are integrated by the classical Runge-Kutta method of order four, one step per `dt`.

    The mean converges slowly, its error falling as one over the root of `steps`.

    Parameters
    ----------
    function : callable
        f, from a state (d,) to the next state or, for a flow, to its velocity (d,).
    initial : array_like, shape (d,)
        Where the orbit starts.
    steps : int
        Steps over which the mean is taken.
    jacobian : callable, optional
        J, from a state (d,) to the matrix (d, d) of derivatives ``J[i, j] = df_i / dx_j``.
    dt : float, optional
        Step of the integrator, if `function` is the vector field of a flow.
    discard : int
        Steps before the mean starts: the orbit falls onto its attractor, and v turns to the direction that grows most.
    seed : int, numpy.random.Generator or None
        Of the first direction v.

    Returns
    -------
    float
        Per step for a map, per unit of time for a flow. Above 0: chaos; below 0: neighbours meet. Minus infinity if
        all neighbours meet in one step.

    Raises
    ------
    ArgumentError
        If a count is too small, `dt` is not above 0, or the orbit leaves for infinity.
    ShapeError
        If `function` or `jacobian` returns another shape.
    DataError
        If `initial` is no sequence of finite numbers.

    Examples
    --------
    >>> doubled = largest_lyapunov_exponent(lambda x: 2 * x % 1, [0.3], 20, jacobian=lambda x: [[2.0]], discard=0)
    >>> bool(np.isclose(doubled, np.log(2)))
    True
    """
    x = vector("initial", initial)
    steps, discard = count("steps", steps), count("discard", discard, least=0)
    if dt is not None:
        dt = positive("dt", dt)
    v = as_generator(seed).normal(size=x.size)
    v = v / np.linalg.norm(v)
    total, size = 0.0, 0.0
    for t in range(discard + steps):
        with np.errstate(over="ignore", invalid="ignore"):
            if jacobian is None:
                size = max(size, float(np.abs(x).max()))
                distance = _SEPARATION * (size or 1.0)
                moved = _advance(function, x + distance * v, dt)
                x = _advance(function, x, dt)
                v = (moved - x) / distance
            else:
                x, v = _advance_both(function, jacobian, x, v, dt)
            length = float(np.linalg.norm(v))
        if not np.isfinite(x).all() or not math.isfinite(length):
            raise ArgumentError(f"the orbit leaves for infinity at step {t}. Start nearer to the attractor"
                                + (", or take a smaller dt." if dt is not None else "."))  # fmt: skip
        if length == 0:
            return -math.inf
        v = v / length
        if t >= discard:
            total += math.log(length)
    return total / steps / (1.0 if dt is None else dt)


def _advance(f: Function, x: Series, dt: float | None) -> Series:
    """One step of a map, or of the Runge-Kutta method."""
    if dt is None:
        return _called("function", f, x, x.shape)

    def velocity(x: Series) -> Series:
        return _called("function", f, x, x.shape)

    return _runge_kutta(velocity, x, dt)


def _advance_both(f: Function, jacobian: Function, x: Series, v: Series, dt: float | None) -> tuple[Series, Series]:
    """One step of a state and of a tangent vector."""
    d = x.size
    if dt is None:
        return _called("function", f, x, (d,)), _called("jacobian", jacobian, x, (d, d)) @ v

    def velocity(both: Series) -> Series:
        x, v = both[:d], both[d:]
        return np.concatenate([_called("function", f, x, (d,)), _called("jacobian", jacobian, x, (d, d)) @ v])

    both = _runge_kutta(velocity, np.concatenate([x, v]), dt)
    return both[:d], both[d:]


def _runge_kutta(velocity: Callable[[Series], Series], x: Series, h: float) -> Series:
    k1 = velocity(x)
    k2 = velocity(x + h / 2 * k1)
    k3 = velocity(x + h / 2 * k2)
    k4 = velocity(x + h * k3)
    return np.asarray(x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))


def _called(name: str, function: Function, x: Series, shape: tuple[int, ...]) -> Series:
    """What a function of the caller's returns for x, if it has the right shape."""
    result = np.asarray(function(x), dtype=np.float64)
    if result.shape != shape:
        raise ShapeError(f"{name} returned an array of shape {result.shape} for a state of shape {x.shape}; "
                         f"expected {shape}.")  # fmt: skip
    return result
