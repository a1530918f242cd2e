"""NVAR: next-generation reservoir computing, ridge regression on delayed inputs and their products."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any, TypeVar

import numpy as np

from ..errors import ArgumentError, DataError, ShapeError
from .estimator import Estimator, as_given, r2_score
from .ridge import RidgeStatistics

Self = TypeVar("Self", bound="NVAR")


class NVAR(Estimator):
    """Nonlinear vector autoregression: the readout sees k delayed inputs and all their products up to a degree.

    delays: k, how many inputs, the newest included.  spacing: how many steps lie between them.
    degree: highest degree of the products; 1 is linear autoregression.
    increments: fit ``y - x`` instead of y, and add x to what comes out: for a step of a differential equation.
    ridge, solver: see `ESN`.

    A series is (T, I); many are a list, or an array (T, B, I). The first ``(delays - 1) * spacing`` rows of a series
    have no features: they are left out of `fit`, and `predict` gives the mean of y there. Nothing is carried from
    one series to the next.

    After `fit`: ``readout_``, ``monomials_`` (the exponents by column), ``n_features_in_``, ``n_outputs_``.

    Source: Gauthier, Bollt, Griffith & Barbosa 2021, "Next generation reservoir computing".

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> x = [0.4]
    >>> for _ in range(60):
    ...     x.append(3.7 * x[-1] * (1 - x[-1]))
    >>> x = np.array(x)[:, None]
    >>> model = esn.NVAR(delays=1, degree=2, ridge=1e-12).fit(x[:50], x[1:51])
    >>> bool(np.abs(model.generate(8, prime=x[:51]) - x[51:59]).max() < 1e-4)
    True
    """

    def __init__(
        self,
        delays: int = 2,
        *,
        spacing: int = 1,
        degree: int = 2,
        increments: bool = False,
        ridge: float = 1e-6,
        solver: str = "svd",
    ) -> None:
        self.delays = delays
        self.spacing = spacing
        self.degree = degree
        self.increments = increments
        self.ridge = ridge
        self.solver = solver

    @property
    def warmup(self) -> int:
        """How many first rows have no features: (delays - 1) * spacing."""
        return (self.delays - 1) * self.spacing

    def fit(self: Self, X: Any, y: Any) -> Self:
        """Fit a series or many, X (T, I) and y (T,) or (T, O) each. Returns self."""
        for name in ("delays", "spacing", "degree"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ArgumentError(f"{name} is an integer, at least 1; got {value!r}")
        series, form = self._series(X, fitting=True)
        targets, self._flat = self._targets(y, series, form)
        inputs, outputs = series[0].shape[1], targets[0].shape[1]
        if self.increments and inputs != outputs:
            raise ShapeError(f"increments=True adds x to the output, and there are {inputs} inputs, {outputs} outputs")
        for i, x in enumerate(series):
            if len(x) <= self.warmup:
                raise DataError(
                    f"series {i} has {len(x)} sample(s) (n_samples = {len(x)}), and {self.delays} delays with spacing "
                    f"{self.spacing} need more than {self.warmup}"
                )
        width = inputs * self.delays
        self.monomials_ = [
            columns for d in range(1, self.degree + 1) for columns in combinations_with_replacement(range(width), d)
        ]
        self.n_features_in_, self.n_outputs_ = inputs, outputs
        statistics = RidgeStatistics(len(self.monomials_), outputs, self.solver)
        for x, each in zip(series, targets):
            goal = each - x if self.increments else each
            statistics.update(self._features(self._delayed(x)), goal[self.warmup :])
        self.readout_ = statistics.solve(self.ridge)
        self._mean = np.concatenate(targets).mean(axis=0)
        return self

    def predict(self, X: Any) -> Any:
        """The outputs of a series or of many, in the form in which X came; the mean of y in the first rows."""
        self._check_fitted()
        series, form = self._series(X)
        results = []
        for x in series:
            out = np.tile(self._mean, (len(x), 1))
            if len(x) > self.warmup:
                out[self.warmup :] = self._read(self._delayed(x), x[self.warmup :])
            results.append(out[:, 0] if self._flat else out)
        return as_given(results, form)

    def score(self, X: Any, y: Any) -> float:
        """R² of `predict` over the rows that have features, or over all where none has."""
        self._check_fitted()
        series, form = self._series(X)
        targets, _ = self._targets(y, series, form)
        first = self.warmup if any(len(x) > self.warmup for x in series) else 0
        found = [p.reshape(len(p), -1)[first:] for p in self.predict(series)]
        return r2_score(np.concatenate([each[first:] for each in targets]), np.concatenate(found))

    def generate(self, steps: int, prime: Any) -> Any:
        """The values that follow a series (T, I), each output taken as the next input. Returns (steps, O).

        Raises DataError if the prime is shorter than the delays, ArgumentError unless there are as many outputs as
        inputs.
        """
        self._check_fitted()
        if self.n_outputs_ != self.n_features_in_:
            raise ArgumentError(
                "generate feeds outputs back as inputs; there are "
                f"{self.n_features_in_} inputs, {self.n_outputs_} outputs"
            )
        series, form = self._series(prime)
        if form != "one" or len(series[0]) <= self.warmup:
            raise DataError(f"the prime is one series (T, I) of more than {self.warmup} steps")
        past = np.concatenate((series[0][-self.warmup - 1 :], np.empty((steps, self.n_outputs_))))
        for t in range(self.warmup + 1, len(past)):
            window = past[t - self.warmup - 1 : t]
            past[t] = self._read(self._delayed(window), window[-1:])[0]
        made = past[self.warmup + 1 :]
        return made[:, 0] if self._flat else made

    def _delayed(self, x: Any) -> Any:
        """(T, I) → (T - warmup, I k), the newest input first."""
        steps = len(x) - self.warmup
        starts = [self.warmup - k * self.spacing for k in range(self.delays)]
        return np.concatenate([x[start : start + steps] for start in starts], axis=1)

    def _features(self, delayed: Any) -> Any:
        return np.stack([np.prod(delayed[:, list(columns)], axis=1) for columns in self.monomials_], axis=1)

    def _read(self, delayed: Any, x: Any) -> Any:
        out = self._features(delayed) @ self.readout_.weights + self.readout_.intercept
        return out + x if self.increments else out
