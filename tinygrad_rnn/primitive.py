"""Primitives: the forward, the vjp and the jvp of one operation, side by side in one registry.

Rules are written against an array namespace `xp`. The engine hands them the backend's namespace and
raw arrays (fast), or `tinygrad_rnn.ops` and Tensors of an outer tape (recorded, hence differentiable
again); the rule's text is the same. Rules need not think of broadcasting or of mixed dtypes:
`_fit` sums and casts every cotangent to its input's shape and dtype, here, once, for everybody.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import (
    ArgumentError,
    BackendMismatchError,
    DTypeError,
    GradientError,
    IndexingError,
    LinAlgError,
    ShapeError,
    TinygradRNNError,
)
from .tape import CONSTANT, Tape, make_record, outside, state, user_frame, user_line
from .tape import is_library_file as _is_library
from .tape import Record as Record  # re-exported: rules and tools meet records through here

registry: dict[str, Primitive] = {}  # every primitive by its name

Rule = Callable[..., Any]
_new = object.__new__
_getframe = sys._getframe


class Primitive:
    """One operation: how it is computed, and both of its derivatives.

    forward(xp, *inputs, **params) -> array, or a tuple of arrays when `outputs` is above 1.
    vjp: one function for each input, ``(xp, g, y, *inputs, **params) -> cotangent``, None where there is no
        derivative; or one function for all inputs that returns a tuple.
    jvp: one function for each input, ``(xp, d, y, *inputs, **params) -> tangent``, whose results the engine adds;
        or one function ``(xp, *tangents, y, *inputs, **params) -> tangent`` for all.
    A rule that names a parameter `needs` is told which inputs need a cotangent (a tuple of bools);
    one that names `residual` gets what the forward returned beside its result (``residual=True``).
    composed: the same computation in Tensor operations. It stands in where a fused rule cannot go:
        under an outer tape, for a jvp, and for a missing vjp.
    """

    def __init__(
        self,
        name: str,
        forward: Rule | None = None,
        *,
        vjp: Rule | Sequence[Rule | None] | None = None,
        jvp: Rule | Sequence[Rule | None] | None = None,
        linear: bool = False,
        differentiable: bool = True,
        residual: bool = False,
        outputs: int = 1,
        composed: Callable[..., Any] | None = None,
        doc: str = "",
    ) -> None:
        self.name = self.__name__ = name
        self.forward = forward
        self.vjp = vjp
        self.jvp = jvp
        self.linear = linear
        self.differentiable = differentiable
        self.residual = residual
        self.outputs = outputs
        self.composed = composed
        self.__doc__ = doc or (forward.__doc__ if forward is not None else None) or type(self).__doc__
        self._forwards: dict[Any, Callable[..., Any]] = {}  # by backend
        if differentiable and composed is None:
            self._check_rules()
        self._vjp_extras = _extras(vjp)
        self.builtin = _is_library(user_frame(1).f_code.co_filename) or "importlib" in user_frame(1).f_code.co_filename
        if name in registry and registry[name].builtin:
            raise ArgumentError(f'"{name}" is one of the library\'s own primitives; choose another name')
        registry[name] = self

    def _check_rules(self) -> None:
        have = [kind for kind, rule in (("vjp", self.vjp), ("jvp", self.jvp)) if rule is not None]
        if len(have) == 1:
            missing = "jvp" if have == ["vjp"] else "vjp"
            raise GradientError(
                f'primitive "{self.name}" has a {have[0]} and no {missing}: register both, side by side. '
                f"(A primitive without derivatives says differentiable=False.)"
            )
        if not have:
            raise GradientError(
                f'primitive "{self.name}" has neither vjp nor jvp. '
                f"Give both, or differentiable=False, or composed=<the same in Tensor operations>."
            )

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        return apply(self, inputs, params, state.tape)

    def __repr__(self) -> str:
        return f'<primitive "{self.name}">'

    def __reduce__(self) -> tuple[Any, ...]:
        return registry.__getitem__, (self.name,)

    def bind(self, backend: Any) -> Callable[..., Any]:
        """The forward for one backend: `forward` with its xp filled in, or xp's function of this name."""
        forward, xp = self.forward, backend.xp
        if forward is None:
            bound = getattr(xp, self.name)
        else:

            def bound(*values: Any, **params: Any) -> Any:
                return forward(xp, *values, **params)

        self._forwards[backend] = bound
        return bound

    def pullback(self, xp: Any, g: Any, record: Record, needed: Any) -> Sequence[Any]:
        """Cotangents of a record's inputs, None where none is needed. needed: flags by slot."""
        if self.composed is not None and (self.vjp is None or xp is _tensors.namespace):
            return _pull_composed(self.composed, g, record, needed)
        values, result = record.values, record.result
        if self.outputs != 1:
            g = tuple([xp.zeros_like(y) if part is None else part for part, y in zip(g, result)])
        vjp = self.vjp
        if callable(vjp):
            extras: dict[str, Any] = dict(record.params)
            if "needs" in self._vjp_extras:
                extras["needs"] = tuple([bool(needed[slot]) for slot in record.inputs])
            if "residual" in self._vjp_extras:
                extras["residual"] = record.residual
            parts = vjp(xp, g, result, *values, **extras)
            if not isinstance(parts, (tuple, list)):
                parts = (parts,)
            if len(parts) != len(values):
                raise GradientError(
                    f'the vjp of "{self.name}" returned {len(parts)} cotangents for {len(values)} inputs; '
                    f"return one each, None where there is no derivative"
                )
            return [
                _fit(xp, part, value) if part is not None and needed[slot] else None
                for part, value, slot in zip(parts, values, record.inputs)
            ]
        rules = vjp or ()
        return [
            _fit(xp, rule(xp, g, result, *values, **record.params), value)
            if rule is not None and needed[slot]
            else None
            for rule, value, slot in zip(rules, values, record.inputs)
        ]

    def pushforward(self, xp: Any, tangents: Sequence[Any], record: Record) -> Any:
        """Tangent of a record's output, given its inputs' tangents (None for zero)."""
        if self.composed is not None and self.jvp is None:
            return _push_composed(self.composed, tangents, record)
        values, params, result = record.values, record.params, record.result
        jvp = self.jvp
        if callable(jvp):
            full = [
                d if d is not None else (xp.zeros_like(value) if _is_floating(value) else None)
                for d, value in zip(tangents, values)
            ]
            total = jvp(xp, *full, result, *values, **params)
        else:
            total = None
            for rule, d in zip(jvp or (), tangents):
                if d is not None and rule is not None:
                    part = rule(xp, d, result, *values, **params)
                    if total is None:
                        total = part
                    elif self.outputs != 1:
                        total = tuple([a + b for a, b in zip(total, part)])
                    else:
                        total = total + part
        if self.outputs != 1:
            return None if total is None else tuple([_spread(xp, d, y) for d, y in zip(total, result)])
        return None if total is None else _spread(xp, total, result)


class Elementwise(Primitive):
    """A primitive that acts entry by entry, with one local derivative for each input.

    derivative: ``(xp, y, *inputs, **params) -> dy/dx``, or the number 1 or -1, or None; a tuple for several inputs.
    singular: the derivative may be infinite; a zero cotangent then stays zero, so that no NaN
        leaks through ``where(x > 0, log(x), 0)``.
    """

    def __init__(
        self,
        name: str,
        forward: Rule | None = None,
        *,
        derivative: Any,
        singular: bool = False,
        doc: str = "",
    ) -> None:
        self.derivatives = derivative if isinstance(derivative, tuple) else (derivative,)
        self.singular = singular
        super().__init__(name, forward, doc=doc)

    def _check_rules(self) -> None:
        for derivative in self.derivatives:
            if not (derivative is None or derivative in (ONE, MINUS_ONE) or callable(derivative)):
                raise GradientError(
                    f'derivative of "{self.name}": expected a function, 1, -1 or None; got {derivative!r}'
                )

    def pullback(self, xp: Any, g: Any, record: Record, needed: Any) -> Sequence[Any]:
        values, result, params = record[3], record[4], record[6]
        parts = []
        for derivative, value, slot in zip(self.derivatives, values, record[1]):
            if not needed[slot] or derivative is None:
                parts.append(None)
                continue
            if derivative is ONE:
                part = g
            elif derivative is MINUS_ONE:
                part = -g
            elif self.singular:
                part = xp.where(g == 0, xp.zeros_like(g), g * derivative(xp, result, *values, **params))
            else:
                part = g * derivative(xp, result, *values, **params)
            if part.shape != value.shape or part.dtype is not value.dtype:
                part = _fit(xp, part, value)
            parts.append(part)
        return parts

    def pushforward(self, xp: Any, tangents: Sequence[Any], record: Record) -> Any:
        values, result, params = record.values, record.result, record.params
        total: Any = None
        for derivative, d in zip(self.derivatives, tangents):
            if d is None or derivative is None:
                continue
            if derivative is ONE:
                part = d
            elif derivative is MINUS_ONE:
                part = -d
            else:
                slope = derivative(xp, result, *values, **params)
                part = xp.where(d == 0, xp.zeros_like(d), d * slope) if self.singular else d * slope
            total = part if total is None else total + part
        return None if total is None else _spread(xp, total, result)


ONE = 1
MINUS_ONE = -1


class _Tensors:
    """What the floors above install: the Tensor class (tensor.py) and the ops namespace (ops)."""

    kind: Any = None
    namespace: Any = None


_tensors = _Tensors()


def use_tensors(kind: Any = None, namespace: Any = None) -> None:
    """Install the Tensor class and the namespace in which rules run on Tensors."""
    if kind is not None:
        _tensors.kind = kind
    if namespace is not None:
        _tensors.namespace = namespace


def apply(primitive: Primitive, inputs: tuple[Any, ...], params: dict[str, Any], tape: Tape | None) -> Any:
    """Run a primitive on Tensors, arrays and Python scalars, and record it on the active tapes."""
    if tape is None:
        return _unrecorded(primitive, inputs, params)
    Tensor = _tensors.kind
    ref = tape.ref
    backend = None
    slots = []
    values = []
    for x in inputs:
        if isinstance(x, Tensor):
            if x._backend is not backend:
                if backend is not None:
                    raise _mismatch(primitive, inputs)
                backend = x._backend
            if x._tape is ref:
                slots.append(x._slot)
                values.append(x._value)
            else:
                slot, value = locate(tape, x)
                slots.append(slot)
                values.append(value)
        else:
            slots.append(CONSTANT)
            values.append(x)
    if backend is None:
        backend = Tensor.default_backend()
    if CONSTANT in slots:
        _check_constants(primitive, inputs, values, backend)
    saved = tuple(values)
    residual = None
    if tape.nested:
        result = apply(primitive, saved, params, tape.outer)
    else:
        try:
            result = (primitive._forwards.get(backend) or primitive.bind(backend))(*saved, **params)
        except _FOREIGN_ERRORS as error:
            raise _explained(primitive, saved, params, error) from error
        if primitive.residual:
            result, residual = result
        if primitive.outputs != 1:
            result = tuple([backend.asarray(part) for part in result])
        elif result.__class__ is not backend.array_type:
            result = backend.asarray(result)
    noted = tape.noted
    if noted is None:
        frame = _getframe(2)
        code = frame.f_code
        while _is_library(code.co_filename) and frame.f_back is not None:
            frame = frame.f_back
            code = frame.f_code
        lasti = frame.f_lasti
    else:
        code, lasti = noted
    slot = tape.slots
    if primitive.outputs == 1:
        output: Any = slot
        tape.slots = slot + 1
        answer = _new(Tensor)
        answer._value = result
        answer._backend = backend
        answer._tape = ref
        answer._slot = slot
    else:
        output = tuple(range(slot, slot + len(result)))
        tape.slots = slot + len(result)
        answer = tuple([placed(part, backend, ref, at) for part, at in zip(result, output)])
    fields = (primitive, tuple(slots), output, saved, result, residual, params, backend, *tape.place, code, lasti)
    tape.records.append(make_record(Record, fields))
    return answer


def _unrecorded(primitive: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Run a primitive with no tape active."""
    Tensor = _tensors.kind
    backend = None
    values = []
    plain = False
    for x in inputs:
        if isinstance(x, Tensor):
            if x._backend is not backend:
                if backend is not None:
                    raise _mismatch(primitive, inputs)
                backend = x._backend
            values.append(x._array)
        else:
            plain = True
            values.append(x)
    if backend is None:
        backend = Tensor.default_backend()
    if plain:
        _check_constants(primitive, inputs, values, backend)
    try:
        result = (primitive._forwards.get(backend) or primitive.bind(backend))(*values, **params)
    except _FOREIGN_ERRORS as error:
        raise _explained(primitive, values, params, error) from error
    if primitive.residual:
        result = result[0]
    if primitive.outputs == 1:
        return placed(backend.asarray(result), backend)
    return tuple([placed(backend.asarray(part), backend) for part in result])


_FOREIGN_ERRORS = (ValueError, TypeError, IndexError, MemoryError)


def placed(value: Any, backend: Any, ref: Any = None, slot: int = CONSTANT) -> Any:
    """Make a Tensor of a value: an array, or (on a nested tape) a Tensor of the outer tape."""
    tensor = _new(_tensors.kind)
    tensor._value = value
    tensor._backend = backend
    tensor._tape = ref
    tensor._slot = slot
    return tensor


def locate(tape: Tape, x: Any) -> tuple[int, Any]:
    """Slot and value on `tape` of a Tensor; a Tensor from outside becomes a leaf of the tape."""
    kind = _tensors.kind
    inner = x
    while inner._tape is not tape.ref and isinstance(inner._value, kind):
        inner = inner._value  # recorded on a tape inside this one, which is no longer active
    if inner._tape is tape.ref:
        return inner._slot, inner._value
    known = tape.leaves.get(id(x))
    if known is None:
        slot = tape.slots
        tape.slots = slot + 1
        tape.leaves[id(x)] = (slot, x)
    else:
        slot = known[0]
    return slot, x if tape.nested else inner._value


def watch(tape: Tape, x: Any) -> Any:
    """Return a new Tensor on `tape` with the value of `x`, as a source of its own."""
    slot = tape.slots
    tape.slots = slot + 1
    value = x
    if not tape.nested:
        while isinstance(value, _tensors.kind):
            value = value._value
    return placed(value, x._backend, tape.ref, slot)


def sweep_namespace(tape: Tape) -> Any:
    """The namespace for the rules of a tape: None where they run on raw arrays."""
    return _tensors.namespace if tape.nested else None


def _lifted(record: Record) -> list[Any]:
    """The inputs of a record as Tensors, for its composed form."""
    kind = _tensors.kind
    types = record.backend.array_types
    return [
        placed(value, record.backend) if not isinstance(value, kind) and isinstance(value, types) else value
        for value in record.values
    ]


class _Composed:
    """A record's composed form on a tape of its own; recorded further out only if its inputs were."""

    def __init__(self, composed: Callable[..., Any], record: Record, active: Sequence[bool]) -> None:
        inputs = _lifted(record)
        nested = any(isinstance(value, _tensors.kind) for value in record.values)
        before = state.tape
        if not nested:
            state.tape = None
        try:
            with Tape() as self.tape:
                self.boxes = [watch(self.tape, x) if on else x for x, on in zip(inputs, active)]
                result = composed(*self.boxes, **record.params)
        finally:
            state.tape = before
        self.results = result if isinstance(result, (tuple, list)) else (result,)

    def slots(self) -> list[int | None]:
        return [y._slot if y._tape is self.tape.ref else None for y in self.results]


def _pull_composed(composed: Callable[..., Any], g: Any, record: Record, needed: Any) -> Sequence[Any]:
    active = [bool(needed[slot]) for slot in record.inputs]
    run = _Composed(composed, record, active)
    cotangents = g if isinstance(g, tuple) else (g,)
    seeds: dict[int, Any] = {}
    for slot, part in zip(run.slots(), cotangents):
        if slot is not None and part is not None:
            seeds[slot] = seeds[slot] + part if slot in seeds else part
    wanted = [box._slot for box, on in zip(run.boxes, active) if on]
    with outside(run.tape):
        found = run.tape.sweep_backward(seeds, wanted, sweep_namespace(run.tape))
    return [found.get(box._slot) if on else None for box, on in zip(run.boxes, active)]


def _push_composed(composed: Callable[..., Any], tangents: Sequence[Any], record: Record) -> Any:
    active = [d is not None for d in tangents]
    run = _Composed(composed, record, active)
    seeds = {box._slot: d for box, d in zip(run.boxes, tangents) if d is not None}
    found = run.tape.sweep_forward(seeds, sweep_namespace(run.tape))
    parts = [None if slot is None else found.get(slot) for slot in run.slots()]
    return parts[0] if record.primitive.outputs == 1 else tuple(parts)


def _fit(xp: Any, g: Any, value: Any) -> Any:
    """Undo broadcasting and promotion: give a cotangent its input's shape and dtype."""
    shape = value.shape
    if g.shape != shape:
        extra = g.ndim - len(shape)
        if extra > 0:
            g = xp.sum(g, axis=tuple(range(extra)))
        stretched = tuple([i for i, (have, want) in enumerate(zip(g.shape, shape)) if want == 1 and have != 1])
        if stretched:
            g = xp.sum(g, axis=stretched, keepdims=True)
        if g.shape != shape:
            g = xp.broadcast_to(g, shape)
    return g if g.dtype == value.dtype else xp.astype(g, value.dtype)


def _spread(xp: Any, d: Any, result: Any) -> Any:
    """Give a tangent its output's shape and dtype."""
    if d is None:
        return None
    if d.shape != result.shape:
        d = xp.broadcast_to(d, result.shape)
    return d if d.dtype == result.dtype else xp.astype(d, result.dtype)


def _extras(rule: Any) -> frozenset[str]:
    """Which of the optional arguments `needs` and `residual` a rule asks for."""
    if not callable(rule):
        return frozenset()
    return frozenset(inspect.signature(rule).parameters) & {"needs", "residual"}


def _is_floating(value: Any) -> bool:
    return hasattr(value, "dtype") and str(value.dtype).startswith("float")


def _check_constants(primitive: Primitive, inputs: Sequence[Any], values: Sequence[Any], backend: Any) -> None:
    """Check the inputs that are not Tensors: Python scalars, None, and arrays of the same backend."""
    for x in values:
        if x.__class__ is float or x.__class__ is int:
            continue
        if isinstance(x, (list, set, dict, str, bytes, complex)):
            raise DTypeError(
                f"{primitive.name} got a {type(x).__name__}, not a Tensor, an array or a real number. "
                f"Wrap it: tg.tensor(...)        at {user_line()}"
            )
        if isinstance(x, (np.ndarray, np.generic)) and not isinstance(x, backend.array_types):
            raise _mismatch(primitive, inputs)


def _describe(x: Any) -> str:
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype} {tuple(x.shape)}"
    return type(x).__name__ if not isinstance(x, (int, float, tuple, str)) else repr(x)


def _mismatch(primitive: Primitive, inputs: Sequence[Any]) -> BackendMismatchError:
    kind = _tensors.kind
    shown, names = [], []
    for x in inputs:
        if isinstance(x, kind) or isinstance(x, np.ndarray):
            name = x.backend if isinstance(x, kind) else "numpy"
            shown.append(f'a "{name}" tensor {tuple(x.shape)}')
            names.append(name)
    fixes = " or ".join(dict.fromkeys(f'.to("{name}")' for name in names))
    return BackendMismatchError(
        f"{primitive.name} got {' and '.join(shown)}. Move one of them: {fixes}        recorded at {user_line()}"
    )


def _explained(primitive: Primitive, values: Sequence[Any], params: dict[str, Any], error: Exception) -> Exception:
    """Turn an array library's error into ours: which operation, which shapes, which line."""
    if isinstance(error, TinygradRNNError):
        return error
    kind: type[Exception] = DTypeError
    if isinstance(error, IndexError) and not isinstance(error, ValueError):
        kind = IndexingError
    elif type(error).__name__ == "LinAlgError":
        kind = LinAlgError
    elif isinstance(error, ValueError):
        kind = ShapeError
    elif isinstance(error, MemoryError):
        kind = TinygradRNNError
    given = ", ".join(_describe(x) for x in values)
    options = "".join(f", {key}={value!r}" for key, value in params.items() if not hasattr(value, "shape"))
    return kind(f"{primitive.name}({given}{options}): {error}        recorded at {user_line()}")


def primitive(
    name: str | Rule | None = None,
    forward: Rule | None = None,
    *,
    vjp: Rule | Sequence[Rule | None] | None = None,
    jvp: Rule | Sequence[Rule | None] | None = None,
    linear: bool = False,
    differentiable: bool = True,
    residual: bool = False,
    outputs: int = 1,
    composed: Callable[..., Any] | None = None,
    doc: str = "",
) -> Any:
    """Register an operation with its derivatives; as a function call, or as a decorator of the forward.

    The arguments are those of `Primitive`. Returns the primitive, which is called like a function.

    >>> import tinygrad_rnn as tg
    >>> @tg.primitive(
    ...     vjp=lambda xp, g, y, x: g * 3 * x**2,
    ...     jvp=lambda xp, d, y, x: d * 3 * x**2,
    ... )
    ... def cube(xp, x):
    ...     return x * x * x
    >>> tg.grad(lambda x: tg.sum(cube(x)))(tg.tensor([1.0, 2.0]))
    Tensor([ 3., 12.], dtype=float32)
    """
    options: dict[str, Any] = {
        "vjp": vjp,
        "jvp": jvp,
        "linear": linear,
        "differentiable": differentiable,
        "residual": residual,
        "outputs": outputs,
        "composed": composed,
        "doc": doc,
    }
    if callable(name):
        return Primitive(name.__name__, name, **options)
    if forward is not None or composed is not None:
        return Primitive(str(name), forward, **options)
    return lambda function: Primitive(name or function.__name__, function, **options)


def elementwise(
    name: str,
    forward: Rule | None = None,
    *,
    derivative: Any,
    singular: bool = False,
    doc: str = "",
) -> Elementwise:
    """Register an operation that acts entry by entry, from its local derivatives (see `Elementwise`).

    Without `forward`, the backend's function of that name is the forward.
    """
    return Elementwise(name, forward, derivative=derivative, singular=singular, doc=doc)
