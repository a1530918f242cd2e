"""What is under test: a function of Tensors with this library's sweeps, or a function of arrays with given rules.

Both kinds offer the same few methods, on NumPy float64 arrays: `value`, `at`, `pull`, `push`. The
results of the function, several of them perhaps, are seen as one flat vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..apply import placed, watch
from ..errors import ArgumentError, DataError, DTypeError, GradientError, TinygradRNNError
from ..tape import Tape
from ..tensor import Tensor, asarray
from ..transforms import _pull_many, _slot_of
from .report import GradientCheckError

_OUTSIDE = (TinygradRNNError, ArithmeticError, ValueError)  # what a function may raise outside its domain


class Subject(ABC):
    """A function, its inputs as float64 arrays, and what both kinds of function share.

    points: the inputs, float64 where floating.  wrt: numbers of the inputs that are differentiated.
    shapes, sizes: of the results.  evaluations: probes taken.  failure: the first exception of a probe, or None.
    """

    def __init__(self, fn: Callable[..., Any], points: list[Any], wrt: list[int]) -> None:
        self.fn = fn
        self.points = points
        self.wrt = wrt
        self.shapes: list[tuple[int, ...]] = []
        self.sizes: list[int] = []
        self.evaluations = 0
        self.first: Any = None  # the flat result at the inputs
        self.failure: Exception | None = None
        self._untouched = [np.array(x) for x in points]

    @abstractmethod
    def call(self, args: list[Any]) -> Any:
        """Run the function; return its results as a flat float64 vector."""

    def boxed(self, k: int, x: Any) -> Any:
        """Input k in the form that the function takes."""
        return x

    def base(self) -> Any:
        """Evaluate at the inputs themselves."""
        return self.call([self.boxed(k, x) for k, x in enumerate(self.points)])

    def at(self, k: int, moved: Any) -> Any:
        """Evaluate with input k replaced; NaN where the function raises an error of its domain."""
        args = list(self._args)
        args[k] = self.boxed(k, moved)
        self.evaluations += 1
        try:
            return self.call(args)
        except GradientCheckError:
            raise
        except _OUTSIDE as error:
            self.failure = self.failure or error
            return np.full(sum(self.sizes), np.nan)

    def flat(self, arrays: Sequence[Any]) -> Any:
        """The results as one vector, whose shapes must be those of the first call."""
        if [a.shape for a in arrays] != self.shapes:
            if self.shapes or not arrays:
                raise GradientCheckError(
                    f"fn changes its result's shape between calls: first {self.shapes}, "
                    f"then {[a.shape for a in arrays]}. Make the shape depend on the inputs' shapes alone."
                )
            self.shapes = [a.shape for a in arrays]
            self.sizes = [a.size for a in arrays]
        if len(arrays) == 1:
            return arrays[0].reshape(-1)
        return np.concatenate([a.reshape(-1) for a in arrays])

    def split(self, vector: Any) -> list[Any]:
        """A flat vector as arrays of the results' shapes."""
        if len(self.shapes) == 1:
            return [vector.reshape(self.shapes[0])]
        ends = np.cumsum(self.sizes)[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(vector, ends), self.shapes)]

    def output_index(self, flat: int) -> tuple[int, ...]:
        """Index of an entry of the flat vector; with several results, the result's number comes first."""
        for number, (size, shape) in enumerate(zip(self.sizes, self.shapes)):
            if flat < size:
                index = tuple(int(i) for i in np.unravel_index(flat, shape))
                return index if len(self.sizes) == 1 else (number, *index)
            flat -= size
        return ()

    def check_untouched(self) -> None:
        """Raise GradientCheckError if anything wrote into the inputs."""
        for k, (x, then) in enumerate(zip(self.points, self._untouched)):
            if x is not then and not np.array_equal(x, then):
                raise GradientCheckError(
                    f"input {k} was written to while fn or its gradient ran. Copy it inside fn before changing it."
                )

    _args: list[Any]


class TensorSubject(Subject):
    """A function of Tensors, recorded once on a tape that both sweeps share."""

    def __init__(self, fn: Callable[..., Any], points: list[Any], wrt: list[int], backends: list[Any]) -> None:
        super().__init__(fn, points, wrt)
        self._backends = backends
        self._args = [self.boxed(k, x) for k, x in enumerate(points)]
        with Tape() as self.tape:
            self.boxes = [watch(self.tape, arg) if k in wrt else arg for k, arg in enumerate(self._args)]
            out = fn(*self.boxes)
        self.outs = self._results(out)
        self.sources = [self.boxes[k] for k in wrt]
        self.first = np.array(self.flat([y.numpy() for y in self.outs]))

    def boxed(self, k: int, x: Any) -> Any:
        backend = self._backends[k]
        if backend is None:
            return x
        if backend.name != "numpy":
            return asarray(x, backend=backend.name)
        return placed(x if x.__class__ is np.ndarray else np.asarray(x), backend)

    def call(self, args: list[Any]) -> Any:
        out = self.fn(*args)
        if out.__class__ is Tensor and out._backend.name == "numpy" and out.dtype == np.float64:
            array = out._array
            if len(self.shapes) == 1 and array.shape == self.shapes[0]:
                return array.reshape(-1)
        return self.flat([y.numpy() for y in self._results(out)])

    def _results(self, out: Any) -> list[Any]:
        outs = list(out) if isinstance(out, (tuple, list)) else [out]
        for y in outs:
            if not isinstance(y, Tensor):
                raise DTypeError(
                    f"fn must return a Tensor or a tuple of Tensors; it returned {_kind(out)}. Compute with "
                    "tinygrad_rnn's functions, or give vjp= to check a function of arrays."
                )
            _check_result_dtype(y.dtype)
        return outs

    def pull(self, v: Any) -> list[Any]:
        """Cotangents of the inputs in `wrt`, for a flat cotangent of the results."""
        seeds = [placed(part, y._backend) if y._backend.name == "numpy" else asarray(part, backend=y.backend)
                 for part, y in zip(self.split(v), self.outs)]  # fmt: skip
        return [g.numpy() for g in _pull_many(self.tape, self.outs, seeds, self.sources)]

    def push(self, k: int, u: Any) -> Any:
        """Tangent of the flat result, for a tangent u of input k."""
        found = self.tape.jvp(self.outs, [self.boxes[k]], [self.boxed(k, u)])
        return self.flat([d.numpy() for d in found])

    def slots(self) -> list[int | None]:
        """The results' slots on the tape."""
        return [_slot_of(self.tape, y) for y in self.outs]


class ArraySubject(Subject):
    """A function of NumPy arrays with a vjp, a jvp, or both."""

    tape = None

    def __init__(self, fn: Any, points: list[Any], wrt: list[int], vjp: Any, jvp: Any) -> None:
        super().__init__(fn, points, wrt)
        self.vjp, self.jvp = vjp, jvp
        self._args = points
        self._lone = True
        self.first = np.array(self.base())

    def call(self, args: list[Any]) -> Any:
        out = self.fn(*args)
        if isinstance(out, Tensor):
            raise DTypeError(
                "with vjp= or jvp=, fn takes and returns NumPy arrays; it returned a Tensor. "
                "For a function of Tensors leave vjp= and jvp= out."
            )
        self._lone = not isinstance(out, (tuple, list))
        return self.flat([self._array(y) for y in ((out,) if self._lone else out)])

    def _array(self, y: Any) -> Any:
        try:
            array = np.asarray(y)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DTypeError(f"fn must return NumPy arrays; it returned {_kind(y)}: {error}") from error
        _check_result_dtype(array.dtype)
        return array

    def pull(self, v: Any) -> list[Any]:
        parts = self.split(v)
        found = self.vjp(parts[0] if self._lone else tuple(parts), *self.points)
        found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if len(found) == len(self.points):
            found = tuple(found[k] for k in self.wrt)
        if len(found) != len(self.wrt):
            raise GradientCheckError(
                f"vjp must return one cotangent for each input ({len(self.points)}), or for each in wrt "
                f"({len(self.wrt)}); it returned {len(found)}"
            )
        arrays = []
        for k, g in zip(self.wrt, found):
            g = np.zeros_like(self.points[k]) if g is None else np.asarray(g)
            if g.shape != self.points[k].shape:
                raise GradientCheckError(
                    f"vjp returned a cotangent of shape {g.shape} for input {k} of shape {self.points[k].shape}"
                )
            arrays.append(g)
        return arrays

    def push(self, k: int, u: Any) -> Any:
        tangents = tuple(
            u if i == k else np.zeros_like(x) if x.dtype.kind == "f" else None for i, x in enumerate(self.points)
        )
        found = self.jvp(tangents, *self.points)
        found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        return self.flat([np.asarray(d, np.float64) for d in found])


def make_subject(fn: Any, inputs: Sequence[Any], wrt: Any, vjp: Any, jvp: Any) -> tuple[Any, list[Any]]:
    """Normalise the inputs and run the function once.

    Returns the subject, and the inputs as they were given (arrays, in their own dtypes).
    Raises ArgumentError, DTypeError or DataError where a check cannot start.
    """
    if not callable(fn):
        raise ArgumentError(f"fn must be a function; got {_kind(fn)}. Write check_gradients(fn, x, ...)")
    foreign = vjp is not None or jvp is not None
    given: list[Any] = []
    points: list[Any] = []
    backends: list[Any] = []
    default = Tensor.default_backend()
    for k, x in enumerate(inputs):
        tensor_like = isinstance(x, Tensor)
        array = np.asarray(x.numpy() if tensor_like else x)
        if array.dtype.kind not in "fiub":
            raise DTypeError(f"input {k} is {_kind(x)} of dtype {array.dtype}; give a Tensor or an array of numbers")
        if array.dtype.kind == "f":
            if not np.isfinite(array).all():
                raise DataError(f"input {k} holds NaN or infinity; derivatives are checked at finite points")
            array = array if array.dtype in (np.float64, np.float32) else array.astype(np.float64)
        given.append(array)
        points.append(array if array.dtype.kind != "f" or array.dtype == np.float64 else array.astype(np.float64))
        backends.append(x._backend if tensor_like else default)
    numbers = _wanted(wrt, given)
    subject: Any
    if foreign:
        subject = ArraySubject(fn, points, numbers, vjp, jvp)
    else:
        subject = TensorSubject(fn, points, numbers, backends)
    if np.isnan(subject.first).any():
        at = subject.output_index(int(np.flatnonzero(np.isnan(subject.first))[0]))
        raise DataError(f"fn returned NaN at output index {at}; check it at inputs inside its domain")
    return subject, given


def _wanted(wrt: Any, given: list[Any]) -> list[int]:
    floating = [k for k, x in enumerate(given) if x.dtype.kind == "f"]
    if wrt is None:
        if not floating:
            raise ArgumentError("check_gradients needs at least one floating input: check_gradients(fn, x, ...)")
        return floating
    numbers = [wrt] if isinstance(wrt, int) else list(wrt)
    for k in numbers:
        if not isinstance(k, int) or not 0 <= k < len(given):
            raise ArgumentError(f"wrt must hold numbers of inputs, 0 to {len(given) - 1}; got {k!r}")
        if k not in floating:
            raise GradientError(f"wrt has input {k}, which is {given[k].dtype}; only floating inputs have gradients")
    if not numbers:
        raise ArgumentError("wrt is empty; name at least one input")
    return numbers


def _check_result_dtype(dtype: Any) -> None:
    if dtype.kind != "f":
        raise DTypeError(
            f"fn returned {dtype}, which has no gradient; return a floating Tensor, or cast: y.astype(...)"
        )
    if dtype != np.float64:
        raise DTypeError(
            f"fn returned {dtype} for float64 inputs, and differences of {dtype} numbers are too coarse to judge a "
            "gradient. Don't cast inside fn; pass float32 inputs to have float32 results checked."
        )


def _kind(x: Any) -> str:
    return f"a {type(x).__name__}"


class Float32Subject:
    """The function of a subject on the inputs as they were given, float32 among them."""

    def __init__(self, subject: TensorSubject, given: list[Any]) -> None:
        args = [
            x if backend is None else asarray(x, backend=backend.name) for x, backend in zip(given, subject._backends)
        ]
        with Tape() as self.tape:
            boxes = [watch(self.tape, arg) if k in subject.wrt else arg for k, arg in enumerate(args)]
            out = subject.fn(*boxes)
        self.outs = list(out) if isinstance(out, (tuple, list)) else [out]
        self.sources = [boxes[k] for k in subject.wrt]
        self._split = subject.split

    def pull(self, v: Any) -> list[Any]:
        """Gradients in the inputs' own dtypes, for a flat cotangent."""
        seeds = [asarray(np.asarray(part, y.dtype), backend=y.backend) for part, y in zip(self._split(v), self.outs)]
        return [g.numpy() for g in _pull_many(self.tape, self.outs, seeds, self.sources)]
