"""Reservoir: a recurrent network whose weights are drawn, not trained; a cell, and a fast way through a sequence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, DataError, ShapeError
from ..nn.linear import check_features, check_size
from ..nn.module import Module, Seed
from ..random import as_generator
from ..rnn.scan import scan
from ..rnn.state import check_lengths, check_sequence
from ..tape import state as tape_state
from ..tape import user_line
from ..tensor import Parameter, Tensor, as_dtype, asarray, default_dtype, tensor
from . import matrices
from .sparse import Pattern, times

NONLINEARITIES: dict[str, Callable[[Any], Any]] = {
    "tanh": ops.tanh,
    "identity": lambda a: a,
    "relu": ops.relu,
    "sigmoid": ops.sigmoid,
}
PLAIN: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "identity": lambda a: a,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": lambda a: 0.5 * np.tanh(0.5 * a) + 0.5,
}
SCALES = {"spectral_radius": "w", "input_scaling": "w_in", "feedback_scaling": "w_feedback", "bias_scaling": "bias"}
PIECE = 1 << 20  # bytes of input products that are computed at a time
TRAINABLE = ("leak", *SCALES, *SCALES.values())


class Reservoir(Module):
    """``h' = (1 - leak) h + leak f(W h + W_in x + b)``, leak outside f. [Jaeger 2001; Jaeger et al. 2007]

    input_size: I.  units: N; taken from `w` where that is given.
    leak: a number in (0, 1], or one for each unit (N,).
    spectral_radius: of W, which is scaled to it.  connectivity, topology: how W is drawn, see `esn.matrices.draw`.
    input_scaling, bias_scaling: entries of W_in and b are uniform in ± these; a `bias_scaling` of 0 makes no bias.
    nonlinearity: f, "tanh", "identity" (a linear reservoir), "relu" or "sigmoid".
    noise: standard deviation of normal noise inside f, drawn while ``training`` is set (see `Module.eval`).
    feedback_size, feedback_scaling: O, how many outputs are fed back, and the range of W_feedback; x then has I + O
        columns, the fed-back outputs last.
    w, w_in, w_feedback, bias: matrices (N, N), (N, I), (N, O), (N,), used as they are: arrays, Tensors, SciPy sparse
        arrays (w keeps its pattern, and zeros stay zeros in training), for w also a `matrices.Ring`.
    trainable: names of what becomes a Parameter: "leak", "spectral_radius", "input_scaling", "feedback_scaling",
        "bias_scaling" (one number each, with which the matrix is scaled), or "w", "w_in", "w_feedback", "bias".
    rng: a generator or a seed for the matrices and for the noise.
    dtype: float32 (the default) or float64.  backend: where the matrices live.

    Call: x (B, I), h (B, N) → h' (B, N). Everything that is not trainable is a buffer.

    Raises ArgumentError, ShapeError and DataError, which name the argument: sizes, ranges and shapes that do not fit,
    entries that are not finite, a spectral radius that cannot be reached.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn import esn
    >>> reservoir = esn.Reservoir(1, 20, leak=0.5, rng=0, trainable="leak")
    >>> states, state = reservoir.run(tg.ones((30, 4, 1)))
    >>> states.shape, state.shape, [name for name, _ in reservoir.named_parameters()]
    ((30, 4, 20), (4, 20), ['leak'])
    """

    leak: Tensor
    w: Tensor
    w_in: Tensor
    w_feedback: Tensor | None
    bias: Tensor | None
    w_indptr: Tensor  # of a sparse w
    w_indices: Tensor

    def __init__(
        self,
        input_size: int,
        units: int | None = None,
        *,
        leak: Any = 1.0,
        spectral_radius: float = 0.9,
        input_scaling: float = 1.0,
        bias_scaling: float = 0.0,
        connectivity: float = 0.1,
        topology: Any = "random",
        nonlinearity: str = "tanh",
        noise: float = 0.0,
        feedback_size: int = 0,
        feedback_scaling: float = 1.0,
        w: Any = None,
        w_in: Any = None,
        w_feedback: Any = None,
        bias: Any = None,
        trainable: str | Iterable[str] = (),
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_size("input_size", input_size)
        if nonlinearity not in NONLINEARITIES:
            raise ArgumentError(f"nonlinearity is one of {', '.join(map(repr, NONLINEARITIES))}; got {nonlinearity!r}")
        if feedback_size:
            check_size("feedback_size", feedback_size)
        elif w_feedback is not None:
            raise ArgumentError("w_feedback needs feedback_size, the number of its columns")
        for name, value in (("noise", noise), ("bias_scaling", bias_scaling), ("input_scaling", input_scaling)):
            _check_range(name, value)
        trainable = (trainable,) if isinstance(trainable, str) else tuple(trainable)
        for name in trainable:
            if name not in TRAINABLE:
                raise ArgumentError(f"trainable names are {', '.join(TRAINABLE)}; got {name!r}")
        self.input_size, self.feedback_size = input_size, int(feedback_size)
        self.nonlinearity, self.noise, self.topology = nonlinearity, float(noise), topology
        self.rng = as_generator(rng)
        self._pattern_of: tuple[Any, ...] = ()
        dtype = default_dtype() if dtype is None else as_dtype(dtype)
        scales = {
            "spectral_radius": spectral_radius,
            "input_scaling": input_scaling,
            "feedback_scaling": feedback_scaling,
            "bias_scaling": bias_scaling,
        }
        w = _as_matrix(w)
        if w is None:
            check_size("units", 100 if units is None else units)
            units = 100 if units is None else units
            w = matrices.draw(topology, units, spectral_radius, connectivity=connectivity, rng=self.rng)
        else:
            if units is not None and units != w.shape[0]:
                raise ShapeError(f"units is {units}, and w has shape {tuple(w.shape)}; leave units out")
            if "spectral_radius" in trainable:
                scales["spectral_radius"] = matrices.spectral_radius(w)
        self.units = int(w.shape[0])
        drawn = {
            "w_in": (w_in, (self.units, input_size), input_scaling),
            "w_feedback": (w_feedback, (self.units, self.feedback_size), feedback_scaling),
            "bias": (bias, (self.units,), bias_scaling),
        }
        if isinstance(w, matrices.Ring) and "w" in trainable and np.any(np.asarray(w.weights) == 0):
            w = w.tocsr()  # the missing connection of a delay line stays missing
        made: dict[str, Any] = {"w": self._values(w), "leak": _checked_leak(leak, self.units)}
        for name, (given, shape, scale) in drawn.items():
            if given is not None:
                made[name] = _given(name, given, shape)
            elif math.prod(shape) and (scale or name != "bias"):
                made[name] = self.rng.uniform(-scale, scale, shape)
        self.w_feedback = self.bias = None
        for name, value in made.items():
            if name in trainable:
                setattr(self, name, Parameter(value, dtype=dtype, backend=backend))
            else:
                self.register_buffer(name, tensor(value, dtype=dtype, backend=backend))
        self._scaled_from: dict[str, float] = {}
        for name in trainable:
            self._make_trainable(name, scales, dtype, backend)

    def _values(self, w: Any) -> Any:
        """The values of a recurrent matrix; its pattern becomes two buffers."""
        if isinstance(w, matrices.Ring):
            return np.asarray(w.weights)
        if isinstance(w, np.ndarray):
            return w
        self.register_buffer("w_indptr", np.asarray(w.indptr, dtype=np.int64))
        self.register_buffer("w_indices", np.asarray(w.indices, dtype=np.int64))
        return w.data

    def _make_trainable(self, name: str, scales: dict[str, float], dtype: Any, backend: Any) -> None:
        matrix = SCALES.get(name, name)
        if getattr(self, matrix) is None:
            raise ArgumentError(f'trainable "{name}": this reservoir has no {matrix}        at {user_line()}')
        if name in SCALES:
            if not scales[name] > 0:
                raise ArgumentError(f'trainable "{name}" scales {matrix}: it must start above 0; got {scales[name]}')
            self._scaled_from[matrix] = float(scales[name])
            setattr(self, name, Parameter(scales[name], dtype=dtype, backend=backend))

    # ---- one step

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, (batch, units)."""
        return ops.zeros((batch, self.units), dtype=self.w.dtype, backend=self.w.backend)

    def forward(self, x: Any, h: Any) -> Tensor:
        """x (B, I + O), h (B, N) → h' (B, N)."""
        self._check(x)
        if tuple(h.shape) != (*x.shape[:-1], self.units):
            raise ShapeError(
                f"Reservoir expected a state of shape {(*x.shape[:-1], self.units)}; got {tuple(h.shape)}"
                f"        at {user_line()}"
            )
        a = self._scaled("w", times(h, self.w, self.pattern)) + self._driven(x)
        if self.noise and self.training:
            a = a + asarray(self._noise(a.shape), backend=self.w.backend)
        after = NONLINEARITIES[self.nonlinearity](a)
        if not isinstance(self.leak, Parameter) and bool(np.all(self.leak.numpy() == 1)):
            return after
        return h + self.leak * (after - h)

    @property
    def pattern(self) -> Pattern | None:
        """Where the entries of a sparse W stand; None for a dense one and for a ring."""
        if "w_indptr" not in self._buffer_names:
            return None
        found = self.w_indptr, self.w_indices
        if not (self._pattern_of and self._pattern_of[0] is found[0] and self._pattern_of[1] is found[1]):
            self._pattern_of = (*found, Pattern(found[0].numpy(), found[1].numpy(), self.units))
        return self._pattern_of[2]

    def matrix(self) -> Any:
        """W as it acts now, scaled: a NumPy array (N, N), or a SciPy CSR array."""
        values = self._scaled("w", self.w.detach()).numpy()
        pattern = self.pattern
        if pattern is not None:
            from scipy.sparse import csr_array

            return csr_array((values, pattern.indices, pattern.indptr), shape=pattern.shape)
        return matrices.Ring(values).toarray() if values.ndim == 1 else np.array(values)

    def _driven(self, x: Any) -> Tensor:
        """``W_in u + W_feedback y + b`` for x (..., I + O)."""
        u = x if self.w_feedback is None else x[..., : self.input_size]
        a = self._scaled("w_in", ops.matmul(u, ops.matrix_transpose(self.w_in)))
        if self.w_feedback is not None:
            fed_back = ops.matmul(x[..., self.input_size :], ops.matrix_transpose(self.w_feedback))
            a = a + self._scaled("w_feedback", fed_back)
        return a if self.bias is None else a + self._scaled("bias", self.bias)

    def _input_products(self, xs: Any) -> Any:
        """`_driven` for a sequence (T, B, I + O), off the tape: an array (T, B, N) that is overwritten later.

        It is by far the largest array of a run. So it is written once, in pieces that fit a processor's cache, with
        the bias as one more column of the weights.
        """
        backend = self.w._backend
        xp, dtype = backend.xp, self.w.dtype
        weights = [self._scaled("w_in", self.w_in)._array]
        if self.w_feedback is not None:
            weights.append(self._scaled("w_feedback", self.w_feedback)._array)
        rows = xs._array.reshape(-1, xs.shape[-1])
        if self.bias is not None:
            weights.append(self._scaled("bias", self.bias)._array[:, None])
            rows = xp.concat([rows, xp.ones((len(rows), 1), dtype=dtype)], axis=1)
        by_columns = xp.asarray(xp.concat(weights, axis=1).T, order="C")
        made = xp.empty((len(rows), self.units), dtype=dtype)
        piece = max(1, PIECE // (self.units * dtype.itemsize))
        for start in range(0, len(rows), piece):
            made[start : start + piece] = xp.matmul(rows[start : start + piece], by_columns)
        return made.reshape(*xs.shape[:2], self.units)

    def _scaled(self, matrix: str, value: Any) -> Any:
        """What a matrix gave, times its trainable scale over what that was when the matrix was made."""
        start = self._scaled_from.get(matrix)
        if start is None:
            return value
        name = next(scale for scale, scaled in SCALES.items() if scaled == matrix)
        return value * (getattr(self, name) / start)

    def _noise(self, shape: tuple[int, ...]) -> Any:
        return self.rng.standard_normal(shape, dtype=self.w.dtype) * self.w.dtype.type(self.noise)

    # ---- a whole sequence

    def run(self, xs: Any, state: Any = None, *, lengths: Any = None, reverse: bool = False) -> tuple[Tensor, Tensor]:
        """Run over a sequence: through a kernel, or, where a tape is recording, step by step through `rnn.scan`.

        xs: (T, B, I + O), or (T, I + O) for one series; Tensors or arrays, cast to the reservoir's dtype.
        state: (B, N), or (N,) for one series; default: zeros. Nothing is carried over from an earlier run.
        lengths: (B,) integers in 1..T; past its length a lane's states are zero, and its last state is that at its end.
        reverse: run from the last step (of each length) to the first.
        Returns the states after each step, (T, B, N) or (T, N), and the last state, (B, N) or (N,).

        Raises ShapeError for another number of columns, DataError for an empty series or one that is not finite.

        >>> import numpy as np
        >>> from tinygrad_rnn import esn
        >>> reservoir = esn.Reservoir(1, 20, rng=0, dtype="float64")
        >>> u = np.sin(np.arange(50.0))[:, None]
        >>> whole, _ = reservoir.run(u)
        >>> first, state = reservoir.run(u[:30])
        >>> rest, _ = reservoir.run(u[30:], state)
        >>> bool(np.allclose(whole.numpy(), np.concatenate([first.numpy(), rest.numpy()]), rtol=0, atol=1e-14))
        True
        """
        xs = self._sequence(xs)
        if xs.ndim == 2:
            start = None if state is None else ops.expand_dims(self._cast(state), axis=0)
            states, last = self.run(ops.expand_dims(xs, axis=1), start, lengths=lengths, reverse=reverse)
            return states[:, 0], last[0]
        xs = check_sequence(xs)
        steps, batch = xs.shape[:2]
        state = self.initial_state(batch) if state is None else self._cast(state)
        if tuple(state.shape) != (batch, self.units):
            raise ShapeError(
                f"Reservoir.run expected a state of shape {(batch, self.units)}; got {tuple(state.shape)}"
                f"        at {user_line()}"
            )
        if tape_state.tape is not None:
            return scan(self, xs, state, lengths=lengths, reverse=reverse)
        ends = check_lengths(lengths, steps, batch)
        backend = self.w._backend
        xw = self._input_products(xs)
        if self.noise and self.training:
            drawn = self._noise((steps, batch, self.units))
            xw += backend.asarray(drawn[::-1] if reverse else drawn)
        leak = backend.asarray(np.broadcast_to(self.leak.numpy(), (self.units,)), copy=True)
        kernel = backend.kernel("reservoir_run")
        h = kernel(xw, self._kernel_matrix(), state._array, leak, ends, reverse, self.nonlinearity)
        last = asarray(backend.asarray(h[0 if reverse else -1], copy=True), backend=backend.name)
        if ends is not None:
            for b, end in enumerate(ends):
                h[end:, b] = 0
        return asarray(h, backend=backend.name), last

    def stepper(self) -> Callable[[Any, Any], Any]:
        """A function (x (I + O,), h (N,)) → h' (N,) on NumPy arrays, without noise: for loops that close over outputs.

        It is made for the parameters of now.
        """
        w_in = self._scaled("w_in", self.w_in.detach()).numpy()
        if self.w_feedback is not None:
            w_in = np.hstack((w_in, self._scaled("w_feedback", self.w_feedback.detach()).numpy()))
        bias = 0 if self.bias is None else self._scaled("bias", self.bias.detach()).numpy()
        w = self.matrix() if self.w.ndim == 2 or self.pattern is not None else None
        weights, leak, f = self._scaled("w", self.w.detach()).numpy(), self.leak.numpy(), PLAIN[self.nonlinearity]
        leaky = bool(np.any(leak != 1))

        def step(x: Any, h: Any) -> Any:
            recurrent = w @ h if w is not None else weights * np.roll(h, 1)
            after = f(recurrent + w_in @ x + bias)
            return h + leak * (after - h) if leaky else after

        return step

    def _kernel_matrix(self) -> Any:
        values = self._scaled("w", self.w)._array
        return values if self.pattern is None else (self.w_indptr._array, self.w_indices._array, values)

    def _cast(self, x: Any) -> Tensor:
        """x as a Tensor of the reservoir's dtype and backend, with its history."""
        if isinstance(x, Tensor):
            x = x if x.backend == self.w.backend else x.to(self.w.backend)
        else:
            x = asarray(np.asarray(x, dtype=self.w.dtype), backend=self.w.backend)
        return x if x.dtype == self.w.dtype else ops.astype(x, self.w.dtype)

    def _sequence(self, xs: Any) -> Tensor:
        xs = self._cast(xs)
        if xs.ndim not in (2, 3):
            raise ShapeError(f"a reservoir runs over xs of shape (T, B, I) or (T, I); got {tuple(xs.shape)}")
        if xs.shape[0] == 0:
            raise DataError(f"a series needs at least one time step; xs has shape {tuple(xs.shape)}")
        self._check(xs)
        good = np.isfinite(xs._backend.to_numpy(xs._array)).reshape(xs.shape[0], -1).all(axis=1)
        if not good.all():
            raise DataError(
                f"the series holds NaN or infinity, first at time step {int(np.argmin(good))}; one such entry spoils "
                f"every later state. Interpolate it, or cut the series there.        at {user_line()}"
            )
        return xs

    def _check(self, x: Any) -> None:
        check_features("Reservoir", x, self.input_size + self.feedback_size, self.w)

    def extra_repr(self) -> str:
        form = "sparse" if self.pattern is not None else "ring" if self.w.ndim == 1 else "dense"
        fed_back = f", feedback_size={self.feedback_size}" if self.feedback_size else ""
        return f"{self.input_size}, {self.units}, {form}{fed_back}"


def _as_matrix(w: Any) -> Any:
    """A recurrent matrix as a NumPy array, a Ring, or a SciPy CSR array with sorted columns; None stays None."""
    if w is None or isinstance(w, matrices.Ring):
        return w
    w = matrices._checked(w.numpy() if isinstance(w, Tensor) else w)
    if isinstance(w, np.ndarray):
        return w
    w = w.tocsr().copy()
    w.sum_duplicates()
    return w


def _given(name: str, value: Any, shape: tuple[int, ...]) -> Any:
    if hasattr(value, "toarray"):
        value = value.toarray()
    value = np.asarray(value.numpy() if isinstance(value, Tensor) else value, dtype=np.float64)
    if name == "bias" and value.shape in ((shape[0], 1), (1, shape[0])):
        value = value.reshape(-1)
    if value.shape != shape:
        raise ShapeError(f"{name} expects shape {shape}; got {value.shape}        at {user_line()}")
    if not np.isfinite(value).all():
        raise DataError(f"{name} holds NaN or infinity        at {user_line()}")
    return value


def _checked_leak(leak: Any, units: int) -> Any:
    value = np.asarray(leak.numpy() if isinstance(leak, Tensor) else leak, dtype=np.float64)
    if value.shape not in ((), (units,)):
        raise ShapeError(f"leak is one number, or one for each of the {units} units; got shape {value.shape}")
    if not ((value > 0) & (value <= 1)).all():  # NaN too
        raise ArgumentError(f"leak lies in (0, 1]; got {leak!r}        at {user_line()}")
    return value


def _check_range(name: str, value: Any) -> None:
    if not isinstance(value, (int, float, np.floating, np.integer)) or not 0 <= value < math.inf:
        raise ArgumentError(f"{name} is a finite number, at least 0; got {value!r}        at {user_line()}")
