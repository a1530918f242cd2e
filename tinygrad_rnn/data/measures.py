"""How good a forecast is, and how a recurrent network remembers and forgets.

Arrays have time first. The measured values come first and the forecast second, as in scikit-learn's metrics. A forecast
with NaN or infinity in it has diverged; its error is infinite, so that a table over many runs needs no exceptions.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, DataError, ShapeError
from ..random import Seed, as_generator
from .arguments import Series, count, positive, real, vector

_HORIZON = 84


def nmse(target: ArrayLike, prediction: ArrayLike, variance: float | None = None) -> float:
    """Mean squared error over the variance of the target: 0 is perfect, 1 is the mean as a constant forecast.

    ::

        nmse = mean |target - prediction|^2 / mean |target - mean(target)|^2

    where the means run over time (and series), and the squares are summed over the features.

    Parameters
    ----------
    target, prediction : array_like, shape (T,) or (T, ..., features)
        Equal shapes.
    variance : float, optional
        Divide by this instead of the variance of the target: the variance of the whole series (summed over the
        features), where `target` is a short piece of it.

    Raises
    ------
    ShapeError
        If the shapes differ or there are no values.
    DataError
        If the target is not finite, or constant while `variance` is not given.
    ArgumentError
        If `variance` is not above 0.

    Examples
    --------
    >>> nmse([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 2.0])
    0.2
    """
    y, p = _pair(target, prediction)
    below = _variance(y) if variance is None else positive("variance", variance)
    return _mean_square(y - p) / below


def nrmse(target: ArrayLike, prediction: ArrayLike, variance: float | None = None) -> float:
    """The square root of `nmse`: the error in standard deviations of the target.

    Parameters and errors are those of `nmse`.

    Examples
    --------
    >>> round(nrmse([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 2.0]), 4)
    0.4472
    """
    return math.sqrt(nmse(target, prediction, variance))


def nrmse84(target: ArrayLike, prediction: ArrayLike, variance: float | None = None) -> float:
    """The error of free-running forecasts after 84 steps, over many starts: the customary measure on Mackey-Glass.

    ::

        nrmse84 = sqrt( mean_j (target_j(84) - prediction_j(84))^2 / variance )

    [Jaeger 2001, The echo state approach, GMD report 148, section 6.4, with 100 starts.] Jaeger takes it on the scale
    of the original series; a network that was fed with ``tanh(x - 1)`` answers on another one, to be undone first.

    Parameters
    ----------
    target, prediction : array_like, shape (T, starts) or (T, starts, features), T at least 84
        Row 0 is the first step in which the network runs freely. Only row 83 counts for the error.
    variance : float, optional
        Variance of the series. If left out, that of all values of `target`.

    Raises
    ------
    ShapeError
        If the shapes differ, have another number of dimensions, or fewer than 84 rows.
    DataError, ArgumentError
        As in `nmse`.

    Examples
    --------
    >>> target = np.sin(np.arange(100.0)[:, None] + np.arange(5.0))
    >>> nrmse84(target, target), round(nrmse84(target, target + 0.1, variance=1.0), 9)
    (0.0, 0.1)
    """
    y, p = _pair(target, prediction)
    if y.ndim not in (2, 3) or y.shape[0] < _HORIZON:
        raise ShapeError(f"nrmse84 got arrays of shape {y.shape}; expected (T, starts) or (T, starts, features) with "
                         f"T at least {_HORIZON}. Write series[:, None] for a single start.")  # fmt: skip
    if y.ndim == 2:
        y, p = y[..., None], p[..., None]
    return nrmse(y[_HORIZON - 1], p[_HORIZON - 1], _variance(y) if variance is None else variance)


def valid_prediction_time(
    target: ArrayLike,
    prediction: ArrayLike,
    dt: float,
    exponent: float,
    threshold: float = 0.4,
    scale: ArrayLike | None = None,
) -> float:
    """How long a forecast of a chaotic series stays close, in Lyapunov times.

    ::

        e(t) = sqrt( mean_i ((target_i(t) - prediction_i(t)) / scale_i)^2 )
        time = exponent * dt * (number of steps before e first exceeds the threshold)

    [Vlachas et al. 2020, Neural Networks 126]; a Lyapunov time is ``1 / exponent``, in which errors grow by e.

    Parameters
    ----------
    target, prediction : array_like, shape (T,) or (T, features)
        Row 0 is the first step of the forecast. Values of the prediction that are not finite exceed the threshold.
    dt : float
        Time from row to row; 1 for a map.
    exponent : float
        The largest Lyapunov exponent, per unit of the same time; see `chaos` for those of the systems there.
    threshold : float
        The error that is still accepted, in standard deviations.
    scale : array_like, shape (features,), optional
        Standard deviations of the features; if left out, those of `target`. Better those of a long series: a short
        target has seen only a part of the attractor.

    Returns
    -------
    float
        At most ``T * dt * exponent``; the forecast may then be good for longer than the target reaches.

    Raises
    ------
    ShapeError
        If the shapes differ, or have another number of dimensions.
    DataError
        If the target is not finite, a feature is constant while `scale` is not given, or `scale` does not fit.
    ArgumentError
        If `dt`, `exponent` or `threshold` is not above 0.

    Examples
    --------
    >>> target = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    >>> valid_prediction_time(target, target + [0, 0, 0.1, 0.3, 0.1, 0], dt=0.5, exponent=2.0)
    3.0
    """
    y, p = _pair(target, prediction)
    if y.ndim > 2:
        raise ShapeError(f"valid_prediction_time got arrays of shape {y.shape}; expected (T,) or (T, features). "
                         "Measure one forecast at a time.")  # fmt: skip
    dt, exponent, threshold = positive("dt", dt), positive("exponent", exponent), positive("threshold", threshold)
    y, p = y.reshape(len(y), -1), p.reshape(len(p), -1)
    if scale is None:
        deviations = np.where(np.ptp(y, axis=0) == 0, 0.0, y.std(axis=0))  # that of equal numbers may round
    else:
        deviations = vector("scale", np.atleast_1d(np.asarray(scale)), y.shape[1])
    if not (deviations > 0).all():
        raise DataError(f"feature {int(np.argmin(deviations))} has the standard deviation {deviations.min():g}; errors "
                        "cannot be measured in it. Pass scale= with those of a longer series.")  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.sqrt(np.mean(((y - p) / deviations) ** 2, axis=1))
    wrong = ~(errors <= threshold)  # not `>`: an error of NaN is wrong as well
    steps = int(wrong.argmax()) if wrong.any() else len(wrong)
    return steps * dt * exponent


def memory_curve(target: ArrayLike, prediction: ArrayLike) -> Series:
    """How much of each delayed input a readout recovers: the squared correlation, per delay.

    ::

        MC_k = cov(u(t-k), y_k(t))^2 / (var(u(t-k)) var(y_k(t)))

    [Jaeger 2001, Short term memory in echo state networks, GMD report 152.]

    Parameters
    ----------
    target, prediction : array_like, shape (T, delays)
        The delayed inputs of `memory_capacity_task`, and what the readouts make of the network's states. To be
        measured on data that the readouts were not fitted on: a fit of N weights to T rows finds N / T by chance.

    Returns
    -------
    numpy.ndarray, float64, shape (delays,)
        From 0 to 1. A constant prediction recovers nothing: 0; so does one that has diverged.

    Raises
    ------
    ShapeError
        If the shapes differ, or are not two-dimensional.
    DataError
        If the target is not finite, or one of its columns is constant.

    Examples
    --------
    >>> target = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, -1.0], [1.0, -1.0]])
    >>> memory_curve(target, [[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]).tolist()
    [1.0, 0.0]
    """
    y, p = _pair(target, prediction)
    if y.ndim != 2:
        raise ShapeError(f"memory_curve got arrays of shape {y.shape}; expected (T, delays), a column for each delay.")
    constant = np.ptp(y, axis=0) == 0
    if constant.any():
        raise DataError(f"column {int(constant.argmax())} of the target is constant, and has no correlation. "
                        "Measure on more steps.")  # fmt: skip
    p = np.where(np.isfinite(p).all(axis=0), p, 0.0)
    p = np.where(np.ptp(p, axis=0) == 0, 0.0, p)  # exactly 0: the mean of equal numbers may round
    p = p / np.maximum(np.abs(p).max(axis=0), np.finfo(np.float64).tiny)  # else squares may overflow
    y, p = y - y.mean(axis=0), p - p.mean(axis=0)
    below = (y**2).sum(axis=0) * (p**2).sum(axis=0)
    return np.asarray((y * p).sum(axis=0) ** 2 / np.where(below == 0, 1.0, below))


def memory_capacity(target: ArrayLike, prediction: ArrayLike) -> float:
    """The sum of `memory_curve`: how many past inputs a network holds. At most the number of its units.

    Parameters and errors are those of `memory_curve`.

    Examples
    --------
    >>> from tinygrad_rnn.data import memory_capacity_task
    >>> u, target = memory_capacity_task(1000, delays=20)
    >>> round(memory_capacity(target, target), 9)
    20.0
    """
    return float(memory_curve(target, prediction).sum())


def echo_state_property_index(
    run: Callable[[Series], ArrayLike],
    units: int,
    *,
    starts: int = 10,
    washout: int = 100,
    low: float = -1.0,
    high: float = 1.0,
    seed: Seed = 0,
) -> float:
    """How far a network's states still depend on where it started: 0 if it forgets its initial state.

    The network runs over one and the same input from the zero state and from random states::

        index = mean over starts j and steps t >= washout of |x_j(t) - x_0(t)|

    [Gallicchio 2018, Chasing the echo state property, arXiv:1811.10892.]

    Parameters
    ----------
    run : callable
        ``run(state)`` takes an initial state of shape (units,), float64, and returns the states of all the steps,
        (T, units), on an input that is always the same.
    units : int
        Size of the state.
    starts : int
        Number of random initial states.
    washout : int
        Steps that do not count.
    low, high : float
        The initial states are uniform between these.
    seed : int, numpy.random.Generator or None
        Of the initial states.

    Raises
    ------
    ArgumentError
        If a count is too small, `low` is not below `high`, or the run is not longer than the washout.
    ShapeError
        If `run` returns no array of shape (T, units).
    DataError
        If `run` returns states that are not finite.

    Examples
    --------
    >>> def leaky(state):                            # x(t+1) = x(t) / 2: forgets, and
    ...     return state * 0.5 ** np.arange(1, 151)[:, None]
    >>> def frozen(state):                           # x(t+1) = x(t): never does
    ...     return state * np.ones((150, 1))
    >>> echo_state_property_index(leaky, 4) < 1e-20, echo_state_property_index(frozen, 4) > 0.5
    (True, True)
    """
    units, starts, washout = count("units", units), count("starts", starts), count("washout", washout, least=0)
    if not real("low", low) < real("high", high):
        raise ArgumentError(f"low is {low!r} and high {high!r}; initial states need low < high.")
    draw = as_generator(seed)
    reference = _states(run, np.zeros(units), washout)
    distances = [
        np.linalg.norm(_states(run, draw.uniform(low, high, units), washout) - reference, axis=1).mean()
        for _ in range(starts)
    ]
    return float(np.mean(distances))


def _states(run: Callable[[Series], ArrayLike], start: Series, washout: int) -> Series:
    """The states of one run after the washout."""
    states = np.asarray(run(start), dtype=np.float64)
    if states.ndim != 2 or states.shape[1] != start.size:
        raise ShapeError(f"run returned an array of shape {states.shape}; expected (T, {start.size}), a row a step.")
    if len(states) <= washout:
        raise ArgumentError(f"the run has {len(states)} steps and the washout {washout}, so nothing is left. "
                            "Take a longer input or a shorter washout.")  # fmt: skip
    if not np.isfinite(states).all():
        raise DataError("run returned states that are not finite. The network diverges; lower its spectral radius.")
    return states[washout:]


def _pair(target: ArrayLike, prediction: ArrayLike) -> tuple[Series, Series]:
    """Both as float64 arrays of the same shape, the target finite."""
    y, p = np.asarray(target, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if y.shape != p.shape:
        raise ShapeError(f"the target has the shape {y.shape} and the prediction {p.shape}; they must be equal. "
                         "Write prediction.reshape(target.shape) if only their dimensions differ.")  # fmt: skip
    if y.ndim == 0 or y.size == 0:
        raise ShapeError(f"target and prediction have the shape {y.shape}; expected at least one step.")
    if not np.isfinite(y).all():
        raise DataError("the target has values that are not finite. Remove those steps from target and prediction.")
    return y, p


def _variance(y: Series) -> float:
    """Mean squared distance of the rows from their mean; an error if there is none."""
    rows = y.reshape(-1, 1) if y.ndim == 1 else y.reshape(-1, y.shape[-1])
    if (np.ptp(rows, axis=0) == 0).all():
        raise DataError("the target is constant, so its variance is 0 and cannot measure an error. "
                        "Take more steps, or pass variance= with that of the whole series.")  # fmt: skip
    return float(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean())


def _mean_square(difference: Series) -> float:
    """The mean over rows of the squares summed over features."""
    rows = difference.reshape(-1, 1) if difference.ndim == 1 else difference.reshape(-1, difference.shape[-1])
    if not np.isfinite(rows).all():
        return math.inf
    with np.errstate(over="ignore"):
        return float((rows**2).sum(axis=1).mean())
