"""ESN: a reservoir and a ridge readout as one model, in the style of scikit-learn's estimators."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tape import paused, user_line
from .estimator import Estimator, as_given, r2_score, read_series, seed_of
from .reservoir import Reservoir
from .ridge import RidgeSolution, RidgeStatistics

Self = TypeVar("Self", bound="ESN")

MEMORY = 2**28  # bytes of states that run as one batch


class ConstantInputWarning(UserWarning):
    """A reservoir is driven by a signal that does not change."""


class ESNState(NamedTuple):
    """Where a model stands in a series: the reservoir's state (N,), and the output (O,) that was made last."""

    reservoir: Any
    output: Any


class ESN(Estimator):
    """Echo-state network: a fixed random reservoir, and a linear readout fitted by ridge regression. [Jaeger 2001]

    units, leak, spectral_radius, input_scaling, bias_scaling, connectivity, topology, nonlinearity, noise,
        feedback_scaling, w, w_in, w_feedback, bias: see `Reservoir`. Noise is added in `fit` only.
    feedback: feed the output of the last step back into the reservoir. `fit` feeds the target instead (teacher
        forcing), with 0 before the first step.
    ridge: λ, the penalty of squared readout weights; not scaled by the number of steps.
    solver: "svd", "qr" or "normal", see `RidgeStatistics`.
    input_to_readout: whether the readout sees the input beside the state; features are then [state, input].
    washout: how many first steps of every series `fit` leaves out; predictions start at the first step.
    dtype: of the reservoir, "float64" or "float32"; the readout is solved in float64.
    backend: which computes the reservoir.
    random_state: a seed, a numpy Generator, or None.

    A series is an array (T, I), one row a time step; many are a list of such arrays, of any lengths, or one array
    (T, B, I). Every series starts from the zero state, in `fit` and in `predict`: nothing is carried over unless
    `run` is given a state. So rows are not independent samples: the order of rows matters.

    After `fit`: ``reservoir_``, ``readout_`` (weights, intercept, condition), ``statistics_`` (they merge: see
    `solve`), ``state_`` (where the last series ended), ``n_features_in_``, ``n_outputs_``.

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> x = np.sin(0.2 * np.arange(401.0))[:, None]
    >>> model = esn.ESN(50, washout=50, random_state=0).fit(x[:300], x[1:301])
    >>> bool(np.abs(model.generate(100, prime=x[:301]) - x[301:]).max() < 1e-2)
    True
    """

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
        noise: float = 0.0,
        feedback: bool = False,
        feedback_scaling: float = 1.0,
        w: Any = None,
        w_in: Any = None,
        w_feedback: Any = None,
        bias: Any = None,
        ridge: float = 1e-8,
        solver: str = "svd",
        input_to_readout: bool = False,
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
        self.noise = noise
        self.feedback = feedback
        self.feedback_scaling = feedback_scaling
        self.w = w
        self.w_in = w_in
        self.w_feedback = w_feedback
        self.bias = bias
        self.ridge = ridge
        self.solver = solver
        self.input_to_readout = input_to_readout
        self.washout = washout
        self.dtype = dtype
        self.backend = backend
        self.random_state = random_state

    # ---- fitting

    def fit(self: Self, X: Any, y: Any) -> Self:
        """Draw the reservoir and fit the readout; what was learned before is forgotten. Returns self.

        X: a series (T, I), or many (see the class).  y: targets (T,) or (T, O) for each.

        Raises DataError for series that are empty or hold NaN, ShapeError where X and y do not fit, ArgumentError for
        a washout that leaves nothing. Warns when the input is constant, and when the solve is ill-conditioned.
        """
        series, form = self._series(X, fitting=True)
        targets, flat = self._targets(y, series, form)
        self._begin(series, targets, flat)
        self._take_in(series, targets, None)
        return self.solve()

    def partial_fit(self: Self, X: Any, y: Any, *, state: ESNState | None = None, solve: bool = True) -> Self:
        """Take in more series, or the next piece of one, and solve again. Returns self.

        state: where the series stands before X (``model.state_`` for the next piece of the last one; there is then no
            washout); None starts anew.
        solve: False leaves the readout as it is, to be solved once after the last piece.
        """
        started = hasattr(self, "statistics_")
        series, form = self._series(X, fitting=not started)
        targets, flat = self._targets(y, series, form)
        if not started:
            self._begin(series, targets, flat)
        if targets[0].shape[1] != self.n_outputs_:
            raise ShapeError(f"y has {targets[0].shape[1]} outputs, and the pieces before had {self.n_outputs_}")
        if state is not None and len(series) != 1:
            raise ArgumentError(f"a state belongs to one series; got {len(series)}")
        self._take_in(series, targets, state)
        return self.solve() if solve else self

    def solve(self: Self) -> Self:
        """Solve for the readout from ``statistics_``, with the ridge of now. Returns self.

        For statistics gathered in several processes (with the same random_state):
        ``model.statistics_ = a.statistics_ + b.statistics_; model.solve()``.
        """
        self._check_fitted()
        self.readout_: RidgeSolution = self.statistics_.solve(self.ridge)
        return self

    def _begin(self, series: list[Any], targets: list[Any], flat: bool) -> None:
        features = series[0].shape[1]
        if not isinstance(self.washout, (int, np.integer)) or self.washout < 0:
            raise ArgumentError(f"washout is a number of steps, at least 0; got {self.washout!r}")
        self.n_outputs_, self._flat = targets[0].shape[1], flat
        self.reservoir_ = self._make_reservoir(features)
        self.n_features_in_ = features
        width = self._state_size() + (features if self.input_to_readout else 0)
        self.statistics_ = RidgeStatistics(width, self.n_outputs_, self.solver)

    def _make_reservoir(self, features: int) -> Any:
        return Reservoir(
            features,
            self.units if self.w is None else None,
            feedback_size=self.n_outputs_ if self.feedback else 0,
            rng=seed_of(self.random_state),
            **self._reservoir_options(),
        )

    def _reservoir_options(self) -> dict[str, Any]:
        names = (
            "leak", "spectral_radius", "input_scaling", "bias_scaling", "connectivity", "topology", "nonlinearity",
            "noise", "feedback_scaling", "w", "w_in", "w_feedback", "bias", "dtype", "backend",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def _state_size(self) -> int:
        return int(self.reservoir_.units)

    def _take_in(self, series: list[Any], targets: list[Any], state: ESNState | None) -> None:
        washout = 0 if state is not None else int(self.washout)
        for i, x in enumerate(series):
            if len(x) <= washout:
                raise ArgumentError(
                    f"washout is {washout}, and series {i} has {len(x)} sample(s) (n_samples = {len(x)}): nothing is "
                    f"left to fit. Lower washout.        at {user_line()}"
                )
        if not self.feedback and all(len(x) > 1 and (x == x[0]).all() for x in series):
            warnings.warn(
                "the input is constant in every series, and the reservoir has no signal to work on; its states settle "
                "at a fixed point. Is it the right column?",
                ConstantInputWarning,
                stacklevel=4,
            )
        if self.feedback:
            before = np.zeros((1, self.n_outputs_)) if state is None else np.reshape(state.output, (1, -1))
            driven = [np.hstack((x, np.vstack((before, y[:-1])))) for x, y in zip(series, targets)]
        else:
            driven = series
        self.reservoir_.train()
        start = None if state is None else np.asarray(state.reservoir)[None]
        for i, states, last in self._states(driven, start):
            rows = self._features(states, series[i])[washout:]
            self.statistics_.update(rows, targets[i][washout:])
            self.state_ = ESNState(last, targets[i][-1].copy())
        self.reservoir_.eval()

    def _states(self, series: list[Any], start: Any = None) -> Iterator[tuple[int, Any, Any]]:
        """Run the series as padded batches; yields each one's number, states (T, N) and last state (N,)."""
        longest = max(len(x) for x in series)
        room = max(1, MEMORY // (8 * longest * self._state_size()))
        for first in range(0, len(series), room):
            part = series[first : first + room]
            lengths = np.array([len(x) for x in part])
            xs = np.zeros((lengths.max(), len(part), part[0].shape[1]))
            for b, x in enumerate(part):
                xs[: len(x), b] = x
            even = (lengths == lengths.max()).all()
            with paused():
                states, last = self.reservoir_.run(xs, start, lengths=None if even else lengths)
            states, last = states.numpy(), last.numpy()
            for b, length in enumerate(lengths):
                yield first + b, states[:length, b], np.array(last[b])

    def _features(self, states: Any, x: Any) -> Any:
        return np.concatenate((states, x), axis=-1) if self.input_to_readout else states

    def _read(self, features: Any) -> Any:
        return features @ self.readout_.weights + self.readout_.intercept

    # ---- using

    def predict(self, X: Any) -> Any:
        """The outputs for one series or many, each from the zero state; changes nothing.

        Returns (T,) or (T, O) as y had it in `fit`, a list of such for a list, (T, B, ...) for an array (T, B, I).
        """
        return self.run(X)[0]

    def run(self, X: Any, state: Any = None) -> tuple[Any, Any]:
        """The outputs as from `predict`, and where the model stands then; hand that in to go on from there.

        state: an `ESNState` (a list of them for many series); None starts from zero.

        >>> import numpy as np
        >>> from tinygrad_rnn import esn
        >>> x = np.sin(0.2 * np.arange(101.0))
        >>> model = esn.ESN(30, random_state=0).fit(x[:100, None], x[1:])
        >>> first, state = model.run(x[:40, None])
        >>> rest, state = model.run(x[40:, None], state)
        >>> bool(np.allclose(np.concatenate([first, rest]), model.predict(x[:, None]), rtol=0, atol=1e-9))
        True
        """
        self._check_fitted()
        series, form = self._series(X)
        starts = [state] if form == "one" else state
        if state is not None and len(starts) != len(series):
            raise ShapeError(f"X holds {len(series)} series, and state {len(starts)}")
        outputs: list[Any] = [None] * len(series)
        ends: list[Any] = [None] * len(series)
        if self.feedback:
            for i, x in enumerate(series):
                outputs[i], ends[i] = self._closed_loop(x, None if state is None else starts[i])
        else:
            first = None if state is None else np.stack([np.asarray(each.reservoir) for each in starts])
            for i, part in enumerate(self._split(series, first)):
                states, last = part
                outputs[i] = self._read(self._features(states, series[i]))
                ends[i] = ESNState(last, outputs[i][-1].copy())
        shown = [self._shown(each) for each in outputs]
        return as_given(shown, form), ends[0] if form == "one" else ends

    def _split(self, series: list[Any], start: Any) -> Iterator[tuple[Any, Any]]:
        if start is None:
            for _, states, last in self._states(series):
                yield states, last
        else:
            for x, each in zip(series, start):
                for _, states, last in self._states([x], each[None]):
                    yield states, last

    def _shown(self, output: Any) -> Any:
        output = output.astype(self.dtype, copy=False)
        return output[..., 0] if self._flat else output

    def score(self, X: Any, y: Any) -> float:
        """R², the coefficient of determination of `predict`, over all steps of all series; the mean over outputs."""
        self._check_fitted()
        series, form = self._series(X)
        targets, _ = self._targets(y, series, form)
        predicted = self.predict(series)
        return r2_score(np.concatenate(targets), np.concatenate([p.reshape(len(p), -1) for p in predicted]))

    def generate(
        self,
        steps: int,
        prime: Any = None,
        *,
        targets: Any = None,
        inputs: Any = None,
        state: ESNState | None = None,
    ) -> Any:
        """Run on its own outputs: the values that follow the last one known.

        steps: how many values.
        prime: a series (T, I) that the model first runs through, from the zero state or from `state`; without it (and
            without `state`) the model goes on after the last target of `fit`.
        Without feedback each output becomes the next input, so y must have been X shifted by one step.
        With feedback: targets (T,) or (T, O) are fed back over the prime (default: the model's own outputs), and
            inputs (steps, I) are the inputs of the generated steps.
        Returns (steps,) or (steps, O), as y had it in `fit`.

        Raises ArgumentError if outputs cannot be inputs, or inputs are missing.
        """
        self._check_fitted()
        if not isinstance(steps, (int, np.integer)) or steps < 1:
            raise ArgumentError(f"steps is an integer, at least 1; got {steps!r}")
        if self.feedback:
            return self._generate_with_feedback(int(steps), prime, targets, inputs, state)
        if inputs is not None or targets is not None:
            raise ArgumentError(
                "inputs and targets belong to a model with feedback=True; this one feeds on its outputs"
            )
        if self.n_outputs_ != self.n_features_in_:
            raise ArgumentError(
                f"generate feeds outputs back as inputs, and this model has {self.n_features_in_} inputs and "
                f"{self.n_outputs_} outputs. Fit it with y = X one step later, or use feedback=True."
            )
        first = 0
        if prime is not None:
            _, state = self.run(self._one(prime), state)
            first = 1  # the output at the end of the prime is already the value that follows it
        elif state is None:
            state = self.state_
        step, h, output = self._stepper(), np.asarray(state.reservoir), np.asarray(state.output)
        made = np.empty((int(steps), self.n_outputs_))
        made[:first] = output
        for t in range(first, int(steps)):
            h = step(output, h)
            output = self._read(self._features(h, output))
            made[t] = output
        return self._shown(made)

    def _generate_with_feedback(self, steps: int, prime: Any, targets: Any, inputs: Any, state: Any) -> Any:
        if inputs is None:
            raise ArgumentError(f"a model with feedback needs the inputs of the generated steps: inputs ({steps}, I)")
        u = self._one(inputs)
        if len(u) != steps:
            raise ShapeError(f"inputs has {len(u)} rows, and steps is {steps}")
        if prime is not None:
            x = self._one(prime)
            y = None if targets is None else self._targets(targets, [x], "one")[0][0]
            _, state = self._closed_loop(x, state, y)
        elif state is None:
            state = self.state_
        return self._shown(self._closed_loop(u, state)[0])

    def _closed_loop(self, x: Any, state: Any, teacher: Any = None) -> tuple[Any, ESNState]:
        """Run step by step with the output (or the teacher's) of the step before fed back."""
        step = self._stepper()
        h = np.zeros(self._state_size()) if state is None else np.asarray(state.reservoir)
        output = np.zeros(self.n_outputs_) if state is None else np.asarray(state.output)
        made = np.empty((len(x), self.n_outputs_))
        for t, u in enumerate(x):
            h = step(np.concatenate((u, output)), h)
            made[t] = output = self._read(self._features(h, u))
            if teacher is not None:
                output = teacher[t]
        return made, ESNState(h, output.copy())

    def _stepper(self) -> Any:
        return self.reservoir_.stepper()

    def _one(self, X: Any) -> Any:
        series, form = self._series(X)
        if form != "one":
            raise ShapeError("generate continues one series, (T, I)")
        return series[0]


__all__ = ["ESN", "ConstantInputWarning", "ESNState", "read_series"]
