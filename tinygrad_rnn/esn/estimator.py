"""What the models share: scikit-learn's contract, kept without importing it, and the reading of series."""

from __future__ import annotations

import inspect
import sys
from typing import Any, TypeVar

import numpy as np

from ..errors import ArgumentError, DataError, DTypeError, ShapeError, TinygradRNNError
from ..tape import user_line

Self = TypeVar("Self", bound="Estimator")


class NotFittedError(TinygradRNNError, ValueError, AttributeError):
    """A model was used before `fit`."""


class Estimator:
    """Parameters by the names of the constructor, read and set as scikit-learn does it; and the checks of series.

    A series is an array (T, I). Many series are a list of such arrays, of any lengths, or one array (T, B, I).
    """

    _estimator_type = "regressor"

    # ---- scikit-learn's contract

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name. deep: taken for scikit-learn's sake; nothing is nested."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self: Self, **params: Any) -> Self:
        """Set constructor arguments by name; they count from the next `fit`. Returns self."""
        known = self._parameter_names()
        for name in params:
            if name not in known:
                raise ArgumentError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self).__init__).parameters.items()}
        shown = []
        for name, value in self.get_params().items():
            if isinstance(value, np.ndarray) or hasattr(value, "toarray"):
                shown.append(f"{name}=<{tuple(value.shape)}>")
            elif value is not defaults[name] and value != defaults[name]:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what this is; it alone calls this, so it is there to import."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        regressor = self._estimator_type == "regressor"
        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True, multi_output=regressor),
            transformer_tags=None,
            classifier_tags=None if regressor else ClassifierTags(),
            regressor_tags=RegressorTags() if regressor else None,
            input_tags=InputTags(),
        )

    def _check_fitted(self) -> None:
        if not hasattr(self, "n_features_in_"):
            kind: type[Exception] = NotFittedError
            if "sklearn.exceptions" in sys.modules:  # its tools look for its own class
                kind = type("NotFittedError", (NotFittedError, sys.modules["sklearn.exceptions"].NotFittedError), {})
            raise kind(f"this {type(self).__name__} is not fitted yet; call fit(X, y) first        at {user_line()}")

    # ---- series

    def _series(self, X: Any, *, fitting: bool = False) -> tuple[list[Any], Any]:
        """The series in X, each (T, I) and finite, and what they came as: "one", "list" or "stack"."""
        items, form = read_series(X, "X")
        for x in items:
            if fitting and x.shape[1] != items[0].shape[1]:
                raise ShapeError(f"all series have one number of features; got {items[0].shape[1]} and {x.shape[1]}")
            if not fitting and x.shape[1] != self.n_features_in_:  # type: ignore[attr-defined]
                raise ShapeError(
                    f"X has {x.shape[1]} features, but {type(self).__name__} is expecting "
                    f"{self.n_features_in_} features as input"  # type: ignore[attr-defined]
                )
        return items, form

    def _targets(self, y: Any, series: list[Any], form: str) -> tuple[list[Any], bool]:
        """The targets of the series, each (T, O), and whether they came without the last axis."""
        if y is None:
            raise ArgumentError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        if form == "one":
            y = [y]
        elif form == "stack":
            y = np.asarray(y)
            y = [y[:, b] for b in range(y.shape[1])] if y.ndim >= 2 else [y]
        if len(y) != len(series):
            raise ShapeError(f"X holds {len(series)} series, and y {len(y)}")
        targets = [_numbers(each, "y") for each in y]
        flat = targets[0].ndim == 1
        targets = [each[:, None] if each.ndim == 1 else each for each in targets]
        for i, (x, each) in enumerate(zip(series, targets)):
            if each.ndim != 2 or len(each) != len(x) or each.shape[1] != targets[0].shape[1]:
                raise ShapeError(
                    f"series {i}: y expects one row for each of the {len(x)} rows of X and "
                    f"{targets[0].shape[1]} columns; got shape {each.shape}"
                )
            _check_finite(each, "y")
        return targets, flat


def read_series(X: Any, name: str) -> tuple[list[Any], str]:
    """Read one series (T, I), a list of series, or an array (T, B, I), into a list of arrays (T, I).

    Returns it with what it came as: "one", "list" or "stack".
    """
    if hasattr(X, "toarray"):
        raise DTypeError(f"{name} is sparse, and a series must be dense: pass {name}.toarray()")
    many = isinstance(X, (list, tuple)) and len(X) > 0 and np.ndim(X[0]) >= 2
    if many:
        items, form = [_numbers(x, name) for x in X], "list"
    else:
        x = _numbers(X, name)
        items, form = ([x], "one") if x.ndim != 3 else ([x[:, b] for b in range(x.shape[1])], "stack")
    for x in items:
        if x.ndim != 2:
            raise ShapeError(
                f"Expected 2D array, got {x.ndim}D array instead: a series is (T, I), one row a time step. "
                "Reshape your data either using array.reshape(-1, 1) if it has a single feature or "
                "array.reshape(1, -1) if it contains a single sample."
            )
        if 0 in x.shape:
            what = "sample(s)" if x.shape[0] == 0 else "feature(s)"
            raise DataError(f"Found array with 0 {what} (shape={x.shape}) while a minimum of 1 is required.")
        _check_finite(x, name)
    return items, form


def as_given(results: list[Any], form: str) -> Any:
    """Results of series in the form in which the series came."""
    if form == "one":
        return results[0]
    return np.stack(results, axis=1) if form == "stack" else results


def seed_of(random_state: Any) -> Any:
    """What `tinygrad_rnn.random.as_generator` takes, also for the RandomState that scikit-learn hands around."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return random_state


def r2_score(y: Any, predicted: Any) -> float:
    """Coefficient of determination, the mean over outputs; a constant output counts 1 if it is met, else 0."""
    residual = ((y - predicted) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    constant = total == 0
    parts = np.where(constant, np.where(residual == 0, 1.0, 0.0), 1 - residual / np.where(constant, 1, total))
    return float(parts.mean())


def _numbers(x: Any, name: str) -> Any:
    if hasattr(x, "toarray"):
        raise DTypeError(f"{name} is sparse, and a series must be dense: pass {name}.toarray()")
    if hasattr(x, "numpy") and hasattr(x, "detach"):
        x = x.numpy()
    x = np.asarray(x)
    if x.dtype.kind == "c":
        raise ArgumentError(f"Complex data not supported: {name} has dtype {x.dtype}")
    if x.dtype.kind not in "biuf":
        try:
            x = x.astype(np.float64)
        except TypeError as error:
            raise DTypeError(f"{name} must hold numbers: {error}") from None
        except ValueError as error:
            raise ArgumentError(f"{name} must hold numbers: {error}") from None
    return x.astype(np.float64) if x.dtype != np.float32 else x


def _check_finite(x: Any, name: str) -> None:
    good = np.isfinite(x).all(axis=1)
    if not good.all():
        raise DataError(
            f"Input {name} contains NaN or infinity, first at time step {int(np.argmin(good))}. Interpolate it, or cut "
            "the series there and pass the pieces as a list."
        )
