"""From a rule that is written for arrays to the text of a function of scalars.

A rule of an elementwise primitive, ``lambda xp, x: x * xp.sigmoid(x)``, says what happens to one entry as well
as to an array. Here it runs once on symbols: every operation writes one line and returns the symbol of its result.
NumPy's rules of promotion are applied while tracing, so that the text has a dtype for each line, and Python
numbers stay weak: float32 times 0.5 is float32.

>>> from tinygrad_rnn.backends.scalar_rules import RULES
>>> from tinygrad_rnn.backends.tracing import trace
>>> print(trace("halved", lambda xp, x: xp.maximum(0.5 * x, 0), ["float32"], RULES).text)
def halved(x0):
    t1 = float32(0.5) * x0
    t2 = t1 >= float32(0.0)
    t3 = t1 != t1
    t4 = t2 | t3
    t5 = select(t4, t1, float32(0.0))
    return t5
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = ["Rules", "Symbol", "Trace", "Traced", "UntraceableError", "trace"]

DTYPES = {name: np.dtype(name) for name in ("bool", "int32", "int64", "float32", "float64")}


class UntraceableError(TypeError):
    """A rule does something that has no scalar text: it asks for a shape, or branches on a value."""


class _Rule(Protocol):
    """What a function of the array namespace comes to for one entry (`scalar_rules.ScalarRule`)."""

    def apply(self, steps: Trace, operands: tuple[Any, ...]) -> Any:
        """Write the lines of the function, and return the symbol of its result."""


Rules = Mapping[str, _Rule]  # by the function's name


class Traced(NamedTuple):
    """The text of a scalar function, and the dtype of what it returns."""

    text: str
    dtype: np.dtype[Any]


def trace(name: str, rule: Callable[..., Any], dtypes: Sequence[Any], rules: Rules, result: Any = None) -> Traced:
    """Return the scalar text of ``rule(xp, *entries)`` for entries of the given dtypes.

    name: of the function in the text.  rules: the functions of xp.  result: the dtype to return; default: what the
    rule comes to.
    Raises UntraceableError if the rule does what only arrays can do, or uses a function without a scalar rule.
    """
    steps = Trace(rules)
    inputs = [Symbol(steps, f"x{i}", np.dtype(dtype)) for i, dtype in enumerate(dtypes)]
    try:
        value = rule(steps.namespace, *inputs)
    except UntraceableError:
        raise
    except Exception as error:  # whatever a rule trips over when it is not given arrays
        raise UntraceableError(f"{name}: {type(error).__name__}: {error}") from error
    if not isinstance(value, Symbol):
        if value.__class__ not in (bool, int, float):
            raise UntraceableError(f"{name} returned a {type(value).__name__}")
        value = steps.constant(value, result or np.result_type(value))
    if result is not None:
        value = steps.cast(value, np.dtype(result))
    head = f"def {name}({', '.join(x.name for x in inputs)}):"
    return Traced("\n    ".join([head, *steps.lines, f"return {value.name}"]), value.dtype)


def _operator(name: str, swapped: bool = False) -> Callable[[Symbol, Any], Symbol]:
    """An operator as the function of the namespace that does the same."""

    def run(self: Symbol, other: Any) -> Symbol:
        function = getattr(self.steps.namespace, name)
        return function(other, self) if swapped else function(self, other)

    return run


def _sign(name: str) -> Callable[[Symbol], Symbol]:
    return lambda self: getattr(self.steps.namespace, name)(self)


class Symbol:
    """One entry of an array, as a name in the text, with its dtype."""

    __slots__ = ("dtype", "name", "steps")
    __array_ufunc__ = None  # a NumPy scalar on the left gives way
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, steps: Trace, name: str, dtype: np.dtype[Any]) -> None:
        if dtype.name not in DTYPES:
            raise UntraceableError(f"dtype {dtype} has no loops")
        self.steps, self.name, self.dtype = steps, name, dtype

    def __bool__(self) -> bool:
        raise UntraceableError("a rule that branches on values has no scalar text; use xp.where")

    def astype(self, dtype: Any, copy: bool = True) -> Symbol:
        """The entry in another dtype."""
        return self.steps.cast(self, np.dtype(dtype))

    def __repr__(self) -> str:
        return f"<{self.name}: {self.dtype}>"

    __add__, __radd__ = _operator("add"), _operator("add", swapped=True)
    __sub__, __rsub__ = _operator("subtract"), _operator("subtract", swapped=True)
    __mul__, __rmul__ = _operator("multiply"), _operator("multiply", swapped=True)
    __truediv__, __rtruediv__ = _operator("divide"), _operator("divide", swapped=True)
    __floordiv__, __rfloordiv__ = _operator("floor_divide"), _operator("floor_divide", swapped=True)
    __mod__, __rmod__ = _operator("remainder"), _operator("remainder", swapped=True)
    __pow__, __rpow__ = _operator("pow"), _operator("pow", swapped=True)
    __and__, __rand__ = _operator("bitwise_and"), _operator("bitwise_and", swapped=True)
    __or__, __ror__ = _operator("bitwise_or"), _operator("bitwise_or", swapped=True)
    __xor__, __rxor__ = _operator("bitwise_xor"), _operator("bitwise_xor", swapped=True)
    __lshift__, __rlshift__ = _operator("bitwise_left_shift"), _operator("bitwise_left_shift", swapped=True)
    __rshift__, __rrshift__ = _operator("bitwise_right_shift"), _operator("bitwise_right_shift", swapped=True)
    __lt__, __le__ = _operator("less"), _operator("less_equal")
    __gt__, __ge__ = _operator("greater"), _operator("greater_equal")
    __eq__, __ne__ = _operator("equal"), _operator("not_equal")  # type: ignore[assignment]
    __neg__, __pos__ = _sign("negative"), _sign("positive")
    __abs__, __invert__ = _sign("abs"), _sign("bitwise_invert")


class Trace:
    """The lines written so far."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.lines: list[str] = []
        self.known: dict[tuple[str, str], Symbol] = {}  # a line that was written before is used again
        self.namespace = SymbolicNamespace(self)

    def emit(self, expression: str, dtype: Any) -> Symbol:
        """Write ``t = expression`` and return the symbol of t."""
        dtype = np.dtype(dtype)
        found = self.known.get((expression, dtype.name))
        if found is None:
            found = Symbol(self, f"t{len(self.lines) + 1}", dtype)
            self.lines.append(f"{found.name} = {expression}")
            self.known[expression, dtype.name] = found
        return found

    def constant(self, value: Any, dtype: Any) -> Symbol:
        """A number in the text. The cast rounds it once, as NumPy does with a weak Python number."""
        dtype = np.dtype(dtype)
        if dtype.kind == "b":
            return Symbol(self, str(bool(value)), dtype)
        number = int(value) if dtype.kind == "i" else float(value)
        text = repr(number) if math.isfinite(number) else {math.inf: "inf", -math.inf: "-inf"}.get(number, "nan")
        return Symbol(self, f"{dtype.name}({text})", dtype)

    def cast(self, x: Any, dtype: Any) -> Symbol:
        """x in another dtype, with NumPy's meaning: what is not 0 is true."""
        dtype = np.dtype(dtype)
        if not isinstance(x, Symbol):
            return self.constant(x, dtype)
        if x.dtype == dtype:
            return x
        if dtype.kind == "b":
            return self.emit(f"{x.name} != {self.constant(0, x.dtype).name}", bool)
        if x.dtype.kind == "b":
            return self.select(x, self.constant(1, dtype), self.constant(0, dtype))
        return self.emit(f"{dtype.name}({x.name})", dtype)

    def select(self, condition: Symbol, a: Any, b: Any) -> Symbol:
        """``a if condition else b`` without a branch; a and b of one dtype, or one of them a Python number."""
        dtype = common(a, b)
        a, b = self.cast(a, dtype), self.cast(b, dtype)
        return self.emit(f"select({self.cast(condition, bool).name}, {a.name}, {b.name})", dtype)

    def call(self, function: str, *operands: Symbol, dtype: Any = None) -> Symbol:
        """``function(*operands)``, with the dtype of the first operand unless another is named."""
        return self.emit(f"{function}({', '.join(x.name for x in operands)})", dtype or operands[0].dtype)


def common(*operands: Any) -> np.dtype[Any]:
    """The dtype that NumPy gives a result of these operands, some of which may be Python numbers."""
    for x in operands:
        if not isinstance(x, Symbol) and x.__class__ not in (bool, int, float):
            raise UntraceableError(f"a {type(x).__name__} is not a number")
    return np.result_type(*[x.dtype if isinstance(x, Symbol) else x for x in operands])


class SymbolicNamespace:
    """The `xp` of a trace: the functions that have a scalar rule, and the few that only change dtypes."""

    def __init__(self, steps: Trace) -> None:
        self._steps = steps

    def __getattr__(self, name: str) -> Callable[..., Any]:
        rule = self._steps.rules.get(name)
        if rule is None:
            raise UntraceableError(f"{name} has no scalar rule")
        return lambda *operands: rule.apply(self._steps, operands)

    def astype(self, x: Any, dtype: Any, /, *, copy: bool = True) -> Symbol:
        return self._steps.cast(x, dtype)

    def asarray(self, x: Any, /, *, dtype: Any = None) -> Any:
        return x if dtype is None else self._steps.cast(x, dtype)

    def where(self, condition: Symbol, a: Any, b: Any) -> Symbol:
        return self._steps.select(condition, a, b)

    def zeros_like(self, x: Symbol, *, dtype: Any = None) -> Symbol:
        return self._steps.constant(0, dtype or x.dtype)

    def ones_like(self, x: Symbol, *, dtype: Any = None) -> Symbol:
        return self._steps.constant(1, dtype or x.dtype)

    def full_like(self, x: Symbol, value: Any, *, dtype: Any = None) -> Symbol:
        return self._steps.cast(value, dtype or x.dtype)
