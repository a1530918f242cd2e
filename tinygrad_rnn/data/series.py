"""Time series on which recurrent networks are compared: one delay equation, and sequences driven by random inputs.

Every series is a float64 array with time first and features last, ``(n, features)``, also where there is only one
feature, so it is the input of an estimator as it stands. The chaotic maps and flows are in `chaos`.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, DataError
from ..random import Seed, as_generator
from .arguments import Series, count, positive, vector

MSO_FREQUENCIES = (0.2, 0.311, 0.42, 0.51, 0.63, 0.74, 0.85, 0.97)

# Orders of NARMA: (alpha, beta, gamma, delta) of its equation.
_NARMA = {10: (0.3, 0.05, 1.5, 0.1), 30: (0.2, 0.04, 1.5, 0.001)}
_NARMA_ATTEMPTS = 100
_NARMA_BOUND = 10.0  # a series that comes this far never comes back; the others stay below 1.5


def mackey_glass(
    n: int,
    tau: float = 17.0,
    *,
    beta: float = 0.2,
    gamma: float = 0.1,
    power: float = 10.0,
    dt: float = 1.0,
    history: float | ArrayLike = 1.2,
    seed: Seed = None,
    discard: int = 1000,
    step: float = 0.1,
) -> Series:
    """Samples of the Mackey-Glass delay equation, chaotic from a delay of about 17 on.

    ::

        x'(t) = beta x(t - tau) / (1 + x(t - tau)^power) - gamma x(t)             [Mackey & Glass 1977, Science 197]

    Solved by the method of steps: on an interval of length `tau` the delayed term is known, and what is left is a
    linear equation, solved by the classical Runge-Kutta method of order four. The step divides `tau`, so the kinks
    that the start of the equation sends through the solution at 0, tau, 2 tau, ... always fall on grid points, where
    they cost no accuracy. Delayed values between grid points, and samples that are none, come from the cubic through
    values and slopes (Hermite). Halving `step` divides the error by 16; at 0.1 it is below 1e-7 over 100 time units.

    Parameters
    ----------
    n : int
        Number of samples.
    tau : float
        The delay. 17 (mild chaos) and 30 (strong chaos) are the customary ones.
    beta, gamma, power : float
        Constants of the equation.
    dt : float
        Time between two samples.
    history : float or array_like, shape (k,)
        x on the interval from -tau to 0: a constant, or values at k equidistant times, the first at -tau and the last
        at 0, with straight lines between them. Not negative.
    seed : int, numpy.random.Generator or None
        If given, the history is drawn: uniform between 0.5 and 1.5 at times about 1 apart. `history` is not used then.
    discard : int
        Number of samples left out at the start, while the solution falls onto its attractor.
    step : float
        The largest step of the integrator; the one used is ``tau / ceil(tau / step)``.

    Returns
    -------
    numpy.ndarray, float64, shape (n, 1)
        x at the times ``discard * dt, (discard + 1) * dt, ...``. Jaeger feeds networks with ``np.tanh(x - 1)``.

    Raises
    ------
    ArgumentError
        If a count, a constant or a time is out of its range, or the step is too large for `gamma`.
    DataError
        If `history` has negative or non-finite values, or more than one dimension.

    Examples
    --------
    >>> x = mackey_glass(2000)
    >>> x.shape, bool(x.min() > 0.2), bool(x.max() < 1.4)
    ((2000, 1), True, True)
    """
    n, discard = count("n", n), count("discard", discard, least=0)
    tau, dt, step = positive("tau", tau), positive("dt", dt), positive("step", step)
    beta, gamma, power = positive("beta", beta), positive("gamma", gamma), positive("power", power)

    m = math.ceil(tau / step - 1e-9)  # 17 / 0.1 is 170 and no more
    h = tau / m
    if gamma * h > 1:
        raise ArgumentError(f"gamma * step is {gamma * h:.3g}, and the integrator is not accurate above 1. Take a step "
                            f"of at most {1 / gamma:.3g}.")  # fmt: skip
    grid = np.linspace(0.0, 1.0, 2 * m + 1)  # grid points and midpoints of one interval, in units of tau
    past = np.interp(grid, *_history(history, seed, tau))
    delayed, between = past[::2], past[1::2]

    # The Runge-Kutta method on x' = -gamma x + b(t): what a step makes of x, and of b at its start, middle and end.
    z = -gamma * h
    growth = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24

    times = np.arange(discard, discard + n, dtype=np.float64) * dt
    samples = np.empty(n)
    x, done, interval = float(delayed[-1]), 0, 0
    while done < n:
        with np.errstate(over="ignore"):  # a power that overflows makes b the 0 that it tends to
            b, b_between = (beta * v / (1 + v**power) for v in (delayed, between))
        k1 = b[:-1]
        k2 = b_between + z / 2 * k1
        k3 = b_between + z / 2 * k2
        k4 = b[1:] + z * k3
        values = _linear_recurrence(x, growth, h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        slopes = b - gamma * values

        stop = int(np.searchsorted(times, (interval + 1) * tau))
        samples[done:stop] = _hermite(values, slopes, h, times[done:stop] / h - interval * m)
        done, interval, x = stop, interval + 1, float(values[-1])
        delayed = values
        between = (values[:-1] + values[1:]) / 2 + h / 8 * (slopes[:-1] - slopes[1:])
    return samples[:, None]


def narma(n: int, order: int = 10, *, discard: int = 200, seed: Seed = 0) -> tuple[Series, Series]:
    """Input and output of a nonlinear autoregressive moving average of order 10 or 30, a task for a network's memory.

    ::

        y(t+1) = alpha y(t) + beta y(t) sum_{i=0}^{order-1} y(t-i) + gamma u(t-order+1) u(t) + delta

    with u(t) uniform between 0 and 0.5. Order 10: alpha, beta, gamma, delta = 0.3, 0.05, 1.5, 0.1
    [Atiya & Parlos 2000, IEEE Trans. Neural Networks 11(3)]. Order 30: 0.2, 0.04, 1.5, 0.001
    [Schrauwen et al. 2008, Neurocomputing 71].

    The equation of order 10 is not stable for every input (of 300 inputs of 3000 steps, 6 made it diverge). An input
    for which y exceeds 10 is drawn again, from the same generator.

    Parameters
    ----------
    n : int
        Number of steps.
    order : int
        10 or 30.
    discard : int
        Steps left out at the start, which comes from ``y = 0``.
    seed : int, numpy.random.Generator or None
        The same number gives the same series; None gives another one every time.

    Returns
    -------
    u, y : numpy.ndarray, float64, shape (n, 1)
        Row t holds u(t) and y(t) of the equation. y(t) does not depend on u(t): a model that answers in the step in
        which it reads is asked for ``y[1:]`` on the input ``u[:-1]``.

    Raises
    ------
    ArgumentError
        If `n` is below 1, `discard` below 0, `order` is another one, or no stable input is found (a very long series).

    Examples
    --------
    >>> u, y = narma(500)
    >>> t = 100
    >>> next_y = 0.3 * y[t] + 0.05 * y[t] * y[t - 9 : t + 1].sum() + 1.5 * u[t - 9] * u[t] + 0.1
    >>> bool(np.isclose(y[t + 1], next_y, rtol=1e-12).all())
    True
    """
    n, discard = count("n", n), count("discard", discard, least=0)
    if count("order", order) not in _NARMA:
        raise ArgumentError(f"narma got the order {order}; expected 10 or 30, whose equations are published.")
    draw = as_generator(seed)
    for _ in range(_NARMA_ATTEMPTS):
        u = draw.uniform(0.0, 0.5, n + discard)
        y = _narma(u, order)
        if y is not None:
            return u[discard:, None], y[discard:, None]
    raise ArgumentError(f"narma found no input of {n + discard:,} steps that keeps the series bounded, in "
                        f"{_NARMA_ATTEMPTS} attempts. Ask for several shorter series.")  # fmt: skip


def multiple_superimposed_oscillators(n: int, frequencies: ArrayLike = MSO_FREQUENCIES, *, start: int = 0) -> Series:
    """The sum of sines with incommensurable frequencies, a task for many memories at once.

    ::

        x(t) = sum_k sin(frequency_k t),    t = start, start + 1, ...

    Two to five sines in [Wierstra, Gomez & Schmidhuber 2005, GECCO]; up to eight, with the frequencies of
    `MSO_FREQUENCIES`, in [Koryakin, Lohmann & Butz 2012, Neural Networks 36]. ``MSO_FREQUENCIES[:k]`` makes the task
    that is called MSO k.

    Parameters
    ----------
    n : int
        Number of steps.
    frequencies : array_like, shape (k,)
        Angles by which the sines advance in a step, in radians.
    start : int
        The first time.

    Returns
    -------
    numpy.ndarray, float64, shape (n, 1)

    Raises
    ------
    ArgumentError
        If `n` is below 1 or `start` below 0.
    DataError
        If `frequencies` is no sequence of finite numbers.

    Examples
    --------
    >>> multiple_superimposed_oscillators(3, MSO_FREQUENCIES[:2]).ravel().round(4).tolist()
    [0.0, 0.5047, 0.9721]
    """
    t = count("start", start, least=0) + np.arange(count("n", n))
    return np.asarray(np.sin(np.outer(t, vector("frequencies", frequencies))).sum(axis=1, keepdims=True))


def memory_capacity_task(n: int, delays: int = 100, *, seed: Seed = 0) -> tuple[Series, Series]:
    """Independent inputs, and as targets the same inputs 1, 2, ..., `delays` steps earlier.

    [Jaeger 2001, Short term memory in echo state networks, GMD report 152.] `measures.memory_capacity` sums up how
    much of the targets a readout recovers.

    Parameters
    ----------
    n : int
        Number of steps.
    delays : int
        The longest delay. The capacity of N linear units is at most N, so take more than that.
    seed : int, numpy.random.Generator or None
        The same number gives the same series.

    Returns
    -------
    u : numpy.ndarray, float64, shape (n, 1)
        Uniform between -0.5 and 0.5.
    targets : numpy.ndarray, float64, shape (n, delays)
        ``targets[t, k - 1]`` is ``u[t - k]``; inputs from before the first row were drawn as well.

    Raises
    ------
    ArgumentError
        If `n` or `delays` is below 1.

    Examples
    --------
    >>> u, targets = memory_capacity_task(200, delays=3)
    >>> targets.shape, bool((targets[5] == u[[4, 3, 2], 0]).all())
    ((200, 3), True)
    """
    n, delays = count("n", n), count("delays", delays)
    drawn = as_generator(seed).uniform(-0.5, 0.5, n + delays)
    windows = np.lib.stride_tricks.sliding_window_view(drawn, delays)[:n]
    return drawn[delays:, None], np.ascontiguousarray(windows[:, ::-1])


def _history(history: float | ArrayLike, seed: Seed, tau: float) -> tuple[Series, Series]:
    """Places from 0 (time -tau) to 1 (time 0), and the values there."""
    if seed is not None:
        values = as_generator(seed).uniform(0.5, 1.5, math.ceil(tau) + 1)
    else:
        values = vector("history", np.atleast_1d(np.asarray(history)))
        if values.min() < 0:
            raise DataError(f"history has the negative value {values.min():g}; x is a density of cells, and its power "
                            "may not exist. Give values from 0 on.")  # fmt: skip
    if values.size == 1:
        values = np.repeat(values, 2)
    return np.linspace(0.0, 1.0, values.size), values


def _linear_recurrence(x: float, factor: float, increments: Series) -> Series:
    """x, and then factor * x + increment, repeatedly: one value more than there are increments."""
    values = [x]
    for increment in increments.tolist():  # floats of Python: three times as fast as those of NumPy
        x = factor * x + increment
        values.append(x)
    return np.array(values)


def _hermite(values: Series, slopes: Series, h: float, place: Series) -> Series:
    """The cubics through values and slopes on a grid of step h, at places given in steps."""
    k = np.clip(np.floor(place).astype(np.int64), 0, values.size - 2)
    s = place - k
    return np.asarray(
        (1 + 2 * s) * (1 - s) ** 2 * values[k]
        + s * (1 - s) ** 2 * h * slopes[k]
        + s**2 * (3 - 2 * s) * values[k + 1]
        - s**2 * (1 - s) * h * slopes[k + 1]
    )


def _narma(u: Series, order: int) -> Series | None:
    """The series of one input, or None if it leaves its bound."""
    alpha, beta, gamma, delta = _NARMA[order]
    products = np.zeros(u.size)
    products[order - 1 :] = u[order - 1 :] * u[: u.size - order + 1]
    driven = (gamma * products + delta).tolist()
    y = [0.0] * order  # y(t) = 0 before the start, too
    for increment in driven[:-1]:
        now = y[-1]
        following = alpha * now + beta * now * sum(y[-order:]) + increment
        if not following <= _NARMA_BOUND:
            return None
        y.append(following)
    return np.array(y[order - 1 :])
