"""Classification of whole sequences: a reservoir turns each into one row of features, softmax names the class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..errors import ArgumentError, DataError, ShapeError
from ..tape import paused
from .estimator import Estimator, read_series, seed_of
from .readout import SoftmaxReadout
from .reservoir import Reservoir
from .ridge import RidgeStatistics

Self = TypeVar("Self", bound="ESNClassifier")


class ESNClassifier(Estimator):
    """Classify sequences by the states of a reservoir that they drive.

    features: what becomes of a sequence's states (T, N):
        "last", the state at the end (N);
        "mean", their mean over time (N);
        "states", all of them one after the other (T N), for sequences of one length;
        "model", the linear map that predicts each state from the one before, the reservoir model space, on the states'
            first principal components. [Bianchi, Scardapane, Løkse & Jenssen 2020]
    dimensions: number of principal components for "model".  model_ridge: λ of its regressions.
    ridge: penalty of the softmax readout, see `SoftmaxReadout`.
    washout: how many first states are left out.
    The other arguments as in `ESN`.

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> rng = np.random.default_rng(0)
    >>> t = np.arange(40.0)[:, None]
    >>> X = [np.sin((0.2 if k % 2 else 0.5) * t + rng.uniform(0, 6)) for k in range(30)]
    >>> y = ["slow" if k % 2 else "fast" for k in range(30)]
    >>> model = esn.ESNClassifier(30, features="model", random_state=0).fit(X[:20], y[:20])
    >>> model.score(X[20:], y[20:])
    1.0
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        units: int = 100,
        *,
        leak: Any = 1.0,
        spectral_radius: float = 0.9,
        input_scaling: float = 1.0,
        bias_scaling: float = 0.2,
        connectivity: float = 0.1,
        topology: Any = "random",
        nonlinearity: str = "tanh",
        w: Any = None,
        w_in: Any = None,
        bias: Any = None,
        features: str = "mean",
        dimensions: int = 20,
        model_ridge: float = 1.0,
        ridge: float = 1e-4,
        washout: int = 0,
        dtype: Any = "float64",
        backend: Any = None,
        random_state: Any = None,
    ) -> None:
        self.units = units
        self.leak = leak
        self.spectral_radius = spectral_radius
        self.input_scaling = input_scaling
        self.bias_scaling = bias_scaling
        self.connectivity = connectivity
        self.topology = topology
        self.nonlinearity = nonlinearity
        self.w = w
        self.w_in = w_in
        self.bias = bias
        self.features = features
        self.dimensions = dimensions
        self.model_ridge = model_ridge
        self.ridge = ridge
        self.washout = washout
        self.dtype = dtype
        self.backend = backend
        self.random_state = random_state

    def fit(self: Self, X: Any, y: Any) -> Self:
        """Fit sequences X, a list of arrays (T, I) or one array (T, B, I), to their labels y. Returns self."""
        if self.features not in FEATURES:
            raise ArgumentError(f"features is one of {', '.join(map(repr, FEATURES))}; got {self.features!r}")
        series = self._sequences(X, fitting=True)
        if len(y) != len(series):
            raise ShapeError(f"X holds {len(series)} sequences, and y {len(y)} labels")
        names = (
            "leak", "spectral_radius", "input_scaling", "bias_scaling", "connectivity", "topology", "nonlinearity",
            "w", "w_in", "bias", "dtype", "backend",
        )  # fmt: skip
        self.reservoir_ = Reservoir(
            series[0].shape[1],
            self.units if self.w is None else None,
            rng=seed_of(self.random_state),
            **{name: getattr(self, name) for name in names},
        )
        states = self._states(series)
        if self.features == "states" and len({len(each) for each in states}) > 1:
            raise DataError('features="states" needs sequences of one length; use "last", "mean" or "model"')
        if self.features == "model":
            pooled = np.concatenate(states)
            self._center = pooled.mean(axis=0)
            _, vectors = np.linalg.eigh(np.cov(pooled.T).reshape(self.reservoir_.units, -1))
            self._components = vectors[:, ::-1][:, : self.dimensions]
        self.readout_ = SoftmaxReadout(self.ridge).fit(self._rows(states), y)
        self.classes_ = self.readout_.classes_
        self.n_features_in_ = series[0].shape[1]
        self._length = len(states[0])
        return self

    def predict(self, X: Any) -> Any:
        """The class of each sequence."""
        self._check_fitted()
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: Any) -> Any:
        """Probabilities (B, K), in the order of ``classes_``."""
        self._check_fitted()
        return self.readout_.predict_proba(self.transform(X))

    def transform(self, X: Any) -> Any:
        """The features of each sequence, (B, F): what the readout sees."""
        self._check_fitted()
        states = self._states(self._sequences(X))
        if self.features == "states" and any(len(each) != self._length for each in states):
            raise DataError(f'features="states" was fitted to sequences of {self._length + self.washout} steps')
        return self._rows(states)

    def score(self, X: Any, y: Any) -> float:
        """Share of sequences that are classified rightly."""
        return float(np.mean(self.predict(X) == np.asarray(y)))

    def _sequences(self, X: Any, fitting: bool = False) -> list[Any]:
        series, form = read_series(X, "X") if fitting else self._series(X)
        if form == "one":
            raise ShapeError("X holds sequences: a list of arrays (T, I), or one array (T, B, I); got one sequence")
        for i, x in enumerate(series):
            if len(x) <= self.washout + (self.features == "model"):
                raise ArgumentError(f"washout is {self.washout}, and sequence {i} has {len(x)} steps: too few are left")
            if x.shape[1] != series[0].shape[1]:
                raise ShapeError(f"all sequences have one number of features; got {series[0].shape[1]}, {x.shape[1]}")
        return series

    def _states(self, series: list[Any]) -> list[Any]:
        lengths = np.array([len(x) for x in series])
        xs = np.zeros((lengths.max(), len(series), series[0].shape[1]))
        for b, x in enumerate(series):
            xs[: len(x), b] = x
        with paused():
            states = self.reservoir_.run(xs, lengths=lengths)[0].numpy()
        return [states[self.washout : length, b] for b, length in enumerate(lengths)]

    def _rows(self, states: list[Any]) -> Any:
        if self.features == "model":
            states = [(each - self._center) @ self._components for each in states]
            return np.stack([_model(each, self.model_ridge) for each in states])
        return np.stack([FEATURES[self.features](each) for each in states])


def _model(states: Any, ridge: float) -> Any:
    """The weights and the intercept of the regression of each state on the one before, in a row."""
    statistics = RidgeStatistics(states.shape[1], states.shape[1])
    found = statistics.update(states[:-1], states[1:]).solve(ridge)
    return np.concatenate((found.weights.ravel(), found.intercept))


FEATURES: dict[str, Callable[..., Any]] = {
    "last": lambda states: states[-1],
    "mean": lambda states: states.mean(axis=0),
    "states": lambda states: states.ravel(),
    "model": _model,
}
