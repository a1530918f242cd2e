"""Primitives: the forward, the vjp and the jvp of one operation, side by side in one registry.

Rules are written against an array namespace `xp`. The engine hands them the backend's namespace and
raw arrays (fast), or `tinygrad_rnn.ops` and Tensors of an outer tape (recorded, hence differentiable
again); the rule's text is the same. Rules need not think of broadcasting or of mixed dtypes:
the sweep sums and casts every cotangent to its input's shape and dtype, once, for everybody.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from .apply import _tensors, apply, unary
from .composed import pull_composed, push_composed
from .errors import ArgumentError, GradientError
from .tape import ONE, Record, is_library_file, state

registry: dict[str, Primitive] = {}  # every primitive by its name

Rule = Callable[..., Any]


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

    local: tuple[Rule, ...] | None = None  # of elementwise ones: dy/dx by input, which the sweep multiplies itself

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
        self._forwards = _Forwards(self)
        if differentiable and composed is None:
            self._check_rules()
        self._vjp_extras = _extras(vjp)
        self.builtin = _made_at_import()
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
        return _registered, (self.name,)

    def pullback(self, xp: Any, g: Any, record: Record, needed: Any) -> Sequence[Any]:
        """Cotangents of a record's inputs, None where none is needed; the sweep fits their shapes and dtypes.

        needed: flags by slot.
        """
        if self.composed is not None and (self.vjp is None or xp is _tensors.namespace):
            return pull_composed(self.composed, g, record, needed)
        values, result = record.values, record.result
        if self.outputs != 1:
            g = tuple([xp.zeros_like(y) if part is None else part for part, y in zip(g, result)])
        vjp = self.vjp
        if callable(vjp):
            extras: dict[str, Any] = dict(record.params)
            needs = [bool(needed[slot]) for slot in record.inputs]
            if "needs" in self._vjp_extras:
                extras["needs"] = tuple(needs)
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
            return [part if need else None for part, need in zip(parts, needs)]
        return [
            rule(xp, g, result, *values, **record.params) if rule is not None and needed[slot] else None
            for rule, slot in zip(vjp or (), record.inputs)
        ]

    def pushforward(self, xp: Any, tangents: Sequence[Any], record: Record) -> Any:
        """Tangent of a record's output, given its inputs' tangents (None for zero)."""
        if self.composed is not None and self.jvp is None:
            return push_composed(self.composed, tangents, record)
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


class _Forwards(dict[Any, Callable[..., Any]]):
    """A primitive's forward by backend: `forward` with its xp filled in, or xp's function of the primitive's name."""

    def __init__(self, primitive: Primitive) -> None:
        super().__init__()
        self._name, self._forward = primitive.name, primitive.forward

    def __missing__(self, backend: Any) -> Callable[..., Any]:
        forward, xp = self._forward, backend.xp
        bound = getattr(xp, self._name) if forward is None else functools.partial(forward, xp)
        self[backend] = bound
        return bound


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
        if len(self.derivatives) <= 2 and not singular and None not in self.derivatives:
            self.local = tuple([_minus_one if each is MINUS_ONE else each for each in self.derivatives])
        self._run_one = unary(self)

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        if len(inputs) == 1 and not params:
            return self._run_one(*inputs)
        return apply(self, inputs, params, state.tape)

    def _check_rules(self) -> None:
        for derivative in self.derivatives:
            if not (derivative is None or derivative in (ONE, MINUS_ONE) or callable(derivative)):
                raise GradientError(
                    f'derivative of "{self.name}": expected a function, 1, -1 or None; got {derivative!r}'
                )

    def pullback(self, xp: Any, g: Any, record: Record, needed: Any) -> Sequence[Any]:
        return [
            _chained(self.singular, xp, g, derivative, record.result, record.values, record.params)
            if needed[slot]
            else None
            for derivative, slot in zip(self.derivatives, record.inputs)
        ]

    def pushforward(self, xp: Any, tangents: Sequence[Any], record: Record) -> Any:
        total: Any = None
        for derivative, d in zip(self.derivatives, tangents):
            if d is not None:
                part = _chained(self.singular, xp, d, derivative, record.result, record.values, record.params)
                if part is not None:
                    total = part if total is None else total + part
        return None if total is None else _spread(xp, total, record.result)


MINUS_ONE = -1


def _minus_one(xp: Any, *values: Any) -> int:
    return -1


def _chained(
    singular: bool, xp: Any, d: Any, derivative: Any, y: Any, values: Sequence[Any], params: dict[str, Any]
) -> Any:
    """The chain rule for one input, which reads the same in both modes: d times the local derivative."""
    if derivative is None or derivative is ONE:
        return None if derivative is None else d
    if derivative is MINUS_ONE:
        return -d
    slope = derivative(xp, y, *values, **params)
    return _guarded_product(xp, d, slope) if singular else d * slope


def _guarded_product(xp: Any, d: Any, slope: Any) -> Any:
    """d * slope with zero for d = 0, where the slope may be infinite."""
    return xp.where(d == 0, xp.zeros_like(d), d * slope)


def _made_at_import() -> bool:
    """Whether a module of this library makes the primitive while it is loaded."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and is_library_file(frame.f_code.co_filename):
        if frame.f_code.co_name == "<module>":
            return True
        frame = frame.f_back
    return False


def _registered(name: str) -> Primitive:
    """How a primitive is found again when it is unpickled."""
    return registry[name]


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
