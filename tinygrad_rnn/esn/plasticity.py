"""Intrinsic plasticity: each unit adapts its own gain and bias until its outputs have a wanted distribution."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, DataError
from ..tape import paused
from . import matrices
from .reservoir import Reservoir


class Adapted(NamedTuple):
    """What `intrinsic_plasticity` gives: the new reservoir, and the gain (N,) and bias (N,) that it found."""

    reservoir: Reservoir
    gain: Any
    bias: Any


def intrinsic_plasticity(
    reservoir: Reservoir,
    xs: Any,
    *,
    mean: float | None = None,
    deviation: float = 0.2,
    rate: float = 1e-3,
    epochs: int = 1,
    washout: int = 0,
) -> Adapted:
    """Adapt gain a and bias b of each unit, ``y = f(a net + b)``, by gradient descent on a Kullback-Leibler divergence.

    reservoir: with nonlinearity "tanh" or "sigmoid"; it is not changed.
    xs: (T, I), or (T, B, I) whose lanes are presented one after the other.
    mean: of the wanted distribution, 0 by default for tanh, 0.2 for sigmoid.
    deviation: its standard deviation, for tanh (normal distribution; for sigmoid it is exponential).
    rate: step size.  epochs: how often all of xs is presented.  washout: first steps of a lane that do not teach.

    Returns a new reservoir with gain and bias in its matrices (so nothing else has to know of them), and both.
    Its spectral radius is another one then.

    Sources: Schrauwen et al. 2008, equations 5 and 6 (tanh); Triesch 2005 (sigmoid).

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> u = np.random.default_rng(0).uniform(-1, 1, (2000, 1))
    >>> before = esn.Reservoir(1, 30, rng=0, dtype="float64")
    >>> after = esn.intrinsic_plasticity(before, u, deviation=0.2, rate=1e-3, epochs=3).reservoir
    >>> spread = [r.run(u)[0].numpy().std(axis=0).mean() for r in (before, after)]
    >>> bool(abs(spread[1] - 0.2) < abs(spread[0] - 0.2))
    True
    """
    kind = reservoir.nonlinearity
    if kind not in ("tanh", "sigmoid"):
        raise ArgumentError(f'intrinsic plasticity is defined for "tanh" and "sigmoid" reservoirs; got {kind!r}')
    if reservoir.feedback_size:
        raise ArgumentError("intrinsic plasticity runs before there is a readout: a reservoir without feedback")
    if rate <= 0 or deviation <= 0 or epochs < 1:
        raise ArgumentError(f"rate and deviation are above 0, epochs at least 1; got {rate}, {deviation}, {epochs}")
    xs = np.asarray(xs, dtype=np.float64)
    series = [xs] if xs.ndim == 2 else [xs[:, b] for b in range(xs.shape[1])]
    for x in series:
        if x.ndim != 2 or x.shape[1] != reservoir.input_size or len(x) <= washout or not np.isfinite(x).all():
            raise DataError(
                f"intrinsic plasticity needs finite series (T, {reservoir.input_size}) longer than washout={washout}; "
                f"got shape {x.shape}"
            )
    mu = (0.0 if kind == "tanh" else 0.2) if mean is None else float(mean)
    with paused():
        w = reservoir.matrix()
        w_in = np.array(reservoir._scaled("w_in", reservoir.w_in).numpy(), dtype=np.float64)
        fixed = 0.0 if reservoir.bias is None else reservoir._scaled("bias", reservoir.bias).numpy()
        leak = reservoir.leak.numpy()
    gain, bias = np.ones(reservoir.units), np.zeros(reservoir.units)
    variance = deviation**2
    for _ in range(epochs):
        for x in series:
            driven = x @ w_in.T + fixed
            h = np.zeros(reservoir.units)
            for t, u in enumerate(driven):
                net = w @ h + u
                if kind == "tanh":
                    y = np.tanh(gain * net + bias)
                    d_bias = rate * (mu / variance - (y / variance) * (2 * variance + 1 - y * y + mu * y))
                else:
                    y = 0.5 * np.tanh(0.5 * (gain * net + bias)) + 0.5
                    d_bias = rate * (1 - (2 + 1 / mu) * y + y * y / mu)
                h = h + leak * (y - h)
                if t >= washout:
                    gain = gain + rate / gain + d_bias * net
                    bias = bias + d_bias
    return Adapted(_folded(reservoir, w, w_in, fixed, gain, bias), gain, bias)


def _folded(reservoir: Reservoir, w: Any, w_in: Any, fixed: Any, gain: Any, bias: Any) -> Reservoir:
    """The same reservoir with diag(gain) in front of its matrices, and gain * b + bias as its bias."""
    if isinstance(w, np.ndarray) and reservoir.w.ndim == 1:
        scaled: Any = matrices.Ring(reservoir._scaled("w", reservoir.w.detach()).numpy() * gain)
    elif isinstance(w, np.ndarray):
        scaled = w * gain[:, None]
    else:
        scaled = w.copy()
        scaled.data = scaled.data * np.repeat(gain, np.diff(scaled.indptr))
    return Reservoir(
        reservoir.input_size,
        leak=reservoir.leak.numpy(),
        nonlinearity=reservoir.nonlinearity,
        noise=reservoir.noise,
        w=scaled,
        w_in=w_in * gain[:, None],
        bias=gain * fixed + bias,
        rng=reservoir.rng,
        dtype=reservoir.w.dtype,
        backend=reservoir.w.backend,
    )
