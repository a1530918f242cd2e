"""Readouts that learn row by row: recursive least squares, LMS, and FORCE; and softmax for classes.

Ridge regression, all rows at once or streaming, is in ridge.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, ShapeError
from ..nn.linear import check_size
from ..tape import user_line
from .reservoir import Reservoir

__all__ = ["LMS", "RLS", "SoftmaxReadout", "force"]


class OnlineReadout(ABC):
    """What RLS and LMS share: ``y = h weights + intercept``, and learning row by row.

    weights: (N, O), zero at first.  intercept: (O,).
    """

    def __init__(self, features: int, outputs: int) -> None:
        check_size("features", features)
        check_size("outputs", outputs)
        self.features, self.outputs = features, outputs
        self._weights = np.zeros((features + 1, outputs))  # the last row belongs to a feature that is always 1

    @property
    def weights(self) -> Any:
        """(N, O)."""
        return self._weights[:-1]

    @property
    def intercept(self) -> Any:
        """(O,)."""
        return self._weights[-1]

    def predict(self, H: Any) -> Any:
        """H (T, N) or (N,) → (T, O) or (O,)."""
        return np.asarray(H) @ self._weights[:-1] + self._weights[-1]

    def update(self, H: Any, Y: Any) -> Any:
        """Learn from rows H (T, N), Y (T, O), or from one row (N,), (O,), in their order.

        Returns the errors Y - prediction from before each row was learned, of Y's shape.
        Raises ShapeError for other shapes, DataError for entries that are not finite.
        """
        H, Y = np.asarray(H, dtype=np.float64), np.asarray(Y, dtype=np.float64)
        if H.ndim not in (1, 2) or H.shape[-1:] != (self.features,) or Y.shape != (*H.shape[:-1], self.outputs):
            raise ShapeError(
                f"update expects H (T, {self.features}) and Y (T, {self.outputs}), or one row of each; "
                f"got {H.shape} and {Y.shape}        at {user_line()}"
            )
        if not (np.isfinite(H).all() and np.isfinite(Y).all()):
            raise DataError(
                f"update got NaN or infinity; one such row would spoil the readout for good        at {user_line()}"
            )
        if H.ndim == 1:
            return self._learn(np.append(H, 1.0), Y)
        rows = np.hstack((H, np.ones((len(H), 1))))
        return np.array([self._learn(h, y) for h, y in zip(rows, Y)]).reshape(Y.shape)

    @abstractmethod
    def _learn(self, h: Any, y: Any) -> Any:
        """Learn one row, h with a 1 at its end; return the error from before."""


class RLS(OnlineReadout):
    """Recursive least squares: after every row the exact ridge solution of the rows so far. [Haykin, ch. 10]

    features, outputs: N and O.
    regularization: λ > 0; P starts as the unit matrix over λ. The intercept is penalised too, unlike in `ridge`.
    forgetting: in (0, 1]; a row that is k steps old counts forgetting**k.

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> H = np.random.default_rng(0).normal(size=(200, 2))
    >>> readout = esn.RLS(2, 1, regularization=1e-6)
    >>> errors = readout.update(H, H @ [[1.0], [-2.0]] + 3)
    >>> readout.weights.ravel().round(4).tolist(), readout.intercept.round(4).tolist()
    ([1.0, -2.0], [3.0])
    """

    def __init__(self, features: int, outputs: int, regularization: float = 1.0, forgetting: float = 1.0) -> None:
        super().__init__(features, outputs)
        if not regularization > 0:
            raise ArgumentError(f"RLS needs a regularization above 0; got {regularization!r}")
        if not 0 < forgetting <= 1:
            raise ArgumentError(f"forgetting lies in (0, 1]; got {forgetting!r}")
        self.forgetting = float(forgetting)
        self.P = np.eye(features + 1) / regularization

    def _learn(self, h: Any, y: Any) -> Any:
        Ph = self.P @ h
        gain = Ph / (self.forgetting + h @ Ph)
        error = y - h @ self._weights
        self._weights += np.outer(gain, error)
        self.P -= np.outer(gain, Ph)
        if self.forgetting != 1:
            self.P /= self.forgetting
        return error


class LMS(OnlineReadout):
    """Least mean squares: one gradient step a row, ``W += rate h eᵀ``. [Widrow & Hoff 1960]

    features, outputs: N and O.
    rate: above 0. normalised: divide by ``1e-8 + hᵀh``, and any rate below 2 is stable.
    """

    def __init__(self, features: int, outputs: int, rate: float = 0.1, normalised: bool = True) -> None:
        super().__init__(features, outputs)
        if not rate > 0:
            raise ArgumentError(f"LMS needs a rate above 0; got {rate!r}")
        self.rate, self.normalised = float(rate), bool(normalised)

    def _learn(self, h: Any, y: Any) -> Any:
        error = y - h @ self._weights
        rate = self.rate / (1e-8 + h @ h) if self.normalised else self.rate
        self._weights += np.outer(rate * h, error)
        return error


def force(
    reservoir: Reservoir,
    readout: OnlineReadout,
    targets: Any = None,
    inputs: Any = None,
    *,
    steps: int | None = None,
    every: int = 1,
    state: Any = None,
) -> tuple[Any, tuple[Any, Any]]:
    """FORCE: train a readout while its own output is fed back, so that the feedback is right from the start.

    reservoir: with ``feedback_size`` O.  readout: `RLS` as in the paper, or `LMS`; it is changed.
    targets: (T, O), or None to run without learning for `steps` steps.
    inputs: (T, I); None is zeros.  every: learn at every so many steps.
    state: (h, z), where an earlier run ended; None is zeros.
    Returns the outputs z (T, O), each from before its step was learned, and the state after the last step.

    Source: Sussillo & Abbott 2009, "Generating coherent patterns of activity from chaotic neural networks".

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> reservoir = esn.Reservoir(1, 100, feedback_size=1, leak=0.3, rng=0, dtype="float64")
    >>> target = np.sin(0.1 * np.arange(1500.0))[:, None]
    >>> readout = esn.RLS(100, 1)
    >>> z, state = esn.force(reservoir, readout, target[:1200])
    >>> z, state = esn.force(reservoir, readout, steps=300, state=state)
    >>> bool(np.abs(z - target[1200:]).max() < 0.1)
    True
    """
    size = reservoir.feedback_size
    if not size or (readout.features, readout.outputs) != (reservoir.units, size):
        raise ShapeError(
            f"force needs a reservoir with feedback_size O and a readout from its units to O; got {size}, and a "
            f"readout of {readout.features} features and {readout.outputs} outputs for {reservoir.units} units"
        )
    if (targets is None) == (steps is None):
        raise ArgumentError("give targets (T, O) to learn, or steps to run without learning")
    if targets is not None:
        targets = np.asarray(targets, dtype=np.float64)
        if targets.ndim != 2 or targets.shape[1] != size:
            raise ShapeError(f"targets expects shape (T, {size}); got {targets.shape}        at {user_line()}")
        steps = len(targets)
    assert steps is not None
    if not isinstance(every, int) or every < 1:
        raise ArgumentError(f"every is a number of steps, at least 1; got {every!r}")
    u = np.zeros((steps, reservoir.input_size)) if inputs is None else np.asarray(inputs, dtype=np.float64)
    if u.shape != (steps, reservoir.input_size):
        raise ShapeError(f"inputs expects shape {(steps, reservoir.input_size)}; got {u.shape}        at {user_line()}")
    step = reservoir.stepper()
    h, z = (np.zeros(reservoir.units), np.zeros(size)) if state is None else map(np.asarray, state)
    outputs = np.empty((steps, size))
    for t in range(steps):
        h = step(np.concatenate((u[t], z)), h)
        z = readout.predict(h)
        outputs[t] = z
        if targets is not None and t % every == 0:
            readout.update(h, targets[t])
    return outputs, (h, z)


class SoftmaxReadout:
    """Multinomial logistic regression: ``p = softmax(h weights + intercept)``, by L-BFGS on the penalised likelihood.

    ridge: penalty of half the squared weights, against the mean of the rows' cross-entropies; the intercept is free.
    Features are divided by their standard deviation inside, so that the penalty treats them alike.
    After `fit`: ``classes_`` (K,), ``weights`` (N, K), ``intercept`` (K,).

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> readout = esn.SoftmaxReadout().fit(np.array([[0.0], [0.1], [0.9], [1.0]]), ["low", "low", "high", "high"])
    >>> readout.predict(np.array([[0.05], [0.95]])).tolist()
    ['low', 'high']
    """

    def __init__(self, ridge: float = 1e-4) -> None:
        if not ridge >= 0:
            raise ArgumentError(f"the ridge is a number, at least 0; got {ridge!r}")
        self.ridge = float(ridge)

    def fit(self, H: Any, labels: Any) -> SoftmaxReadout:
        """Fit features H (M, N) to labels (M,), of any kind that sorts. Returns self.

        Raises DataError for fewer than two classes or entries that are not finite.
        """
        from scipy.optimize import minimize

        H, labels = np.asarray(H, dtype=np.float64), np.asarray(labels)
        if H.ndim != 2 or labels.shape != H.shape[:1]:
            raise ShapeError(f"fit expects H (M, N) and M labels; got {H.shape} and {labels.shape}")
        if not np.isfinite(H).all():
            raise DataError("the features hold NaN or infinity")
        self.classes_, index = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"a classifier needs at least two classes; got one class, {self.classes_[0]!r}")
        mean, spread = H.mean(axis=0), H.std(axis=0)
        spread[spread <= 1e-12 * (1 + np.abs(mean))] = 1.0
        rows = (H - mean) / spread
        shape = (H.shape[1] + 1, len(self.classes_))
        one_hot = np.eye(shape[1])[index]

        def objective(flat: Any) -> tuple[float, Any]:
            w = flat.reshape(shape)
            logits = rows @ w[:-1] + w[-1]
            logits -= logits.max(axis=1, keepdims=True)
            p = np.exp(logits)
            total = p.sum(axis=1, keepdims=True)
            loss = float((np.log(total[:, 0]) - (logits * one_hot).sum(axis=1)).mean())
            miss = (p / total - one_hot) / len(rows)
            slope = np.vstack((rows.T @ miss + self.ridge * w[:-1], miss.sum(axis=0)))
            return loss + 0.5 * self.ridge * float((w[:-1] ** 2).sum()), slope.ravel()

        found = minimize(
            objective, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-8}
        ).x.reshape(shape)
        self.weights = found[:-1] / spread[:, None]
        self.intercept = found[-1] - mean @ self.weights
        return self

    def predict_proba(self, H: Any) -> Any:
        """Probabilities (M, K), in the order of ``classes_``."""
        logits = np.asarray(H) @ self.weights + self.intercept
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return p / p.sum(axis=-1, keepdims=True)

    def predict(self, H: Any) -> Any:
        """The likeliest class of each row, (M,)."""
        return self.classes_[self.predict_proba(H).argmax(axis=-1)]
