"""The functions of the array namespace as rules for one entry: what a JIT loop computes.

A rule is written with the operators and functions of `tracing`; its dtypes are NumPy's. Functions that NumPy
computes with SIMD instructions and the C library does not (exp, log, tanh and their kin) are in `vector_math`.
The others of that kind, such as sin, have no rule here: the backend uses NumPy's, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import vector_math
from .tracing import Symbol, Trace, UntraceableError, common

__all__ = ["RULES", "ScalarRule"]

Body = Callable[..., Any]


class ScalarRule:
    """One function: the dtypes that it has loops for, and its text.

    types: signatures such as "ff->f" in NumPy's type characters, in the order in which they are tried.
    no_bools: whether NumPy refuses bools, though the first of the types would take them.
    body: ``(steps, *entries) -> entry``; entries have the dtypes of the signature.
    """

    def __init__(self, name: str, types: list[str], body: Body) -> None:
        self.name, self.types, self.body = name, types, body
        self.no_bools = name in ("negative", "positive", "sign", "subtract")

    def apply(self, steps: Trace, operands: tuple[Any, ...]) -> Symbol:
        """Write the rule for operands of any dtype: the first signature that all of them cast to safely."""
        dtype = common(*operands)
        if self.no_bools and dtype.kind == "b":
            raise UntraceableError(f"{self.name} takes no bools")
        for signature in self.types:
            inputs, output = signature.split("->")
            wanted = np.dtype(inputs[0])
            if len(inputs) == len(operands) and np.can_cast(dtype, wanted):
                entries = [steps.cast(x, wanted) for x in operands]
                return steps.cast(self.body(steps, *entries), np.dtype(output))
        raise UntraceableError(f"{self.name} has no loop for {dtype} and {len(operands)} inputs")


SERVED = ("bool", "int32", "int64", "float32", "float64")
_SERVED_CHARACTERS = {each for each in "?ilqfd->" if each in "->" or np.dtype(each).name in SERVED}
RULES: dict[str, ScalarRule] = {}
FLOATS = ["f->f", "d->d"]
PAIRS = ["ff->f", "dd->d"]


def numpy_types(function: Any) -> list[str]:
    """A NumPy ufunc's signatures in its own order, of the five dtypes alone. So bools become int32, not int8."""
    return [each for each in function.types if set(each) <= _SERVED_CHARACTERS]


def _rule(name: str, types: Any = None) -> Callable[[Body], Body]:
    if types is None:
        types = numpy_types(getattr(np, name))

    def register(body: Body) -> Body:
        RULES[name] = ScalarRule(name, types, body)
        return body

    return register


# ---- arithmetic. Numba computes int32 with int32 as int64: the cast brings it back, and wraps around as NumPy does


def _operator(name: str, sign: str) -> None:
    @_rule(name)
    def body(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
        if a.dtype.kind == "b":
            return steps.emit(f"{a.name} {'|' if name == 'add' else '&'} {b.name}", bool)
        text = f"{a.name} {sign} {b.name}"
        return steps.emit(text if a.dtype.kind == "f" else f"{a.dtype.name}({text})", a.dtype)


for _name, _symbol in {"add": "+", "subtract": "-", "multiply": "*"}.items():
    _operator(_name, _symbol)


@_rule("divide", ["??->d", *numpy_types(np.divide)])
def _divide(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
    if a.dtype.kind != "f":
        a, b = steps.cast(a, "float64"), steps.cast(b, "float64")
    return steps.emit(f"{a.name} / {b.name}", a.dtype)


def _no_trap(a: Symbol, b: Symbol) -> tuple[Symbol, Symbol, Symbol]:
    """Whether b is 0, whether it is -1, and a divisor in whose place the processor does not trap."""
    steps = a.steps
    zero, minus = b == 0, b == -1  # the smallest integer over -1 overflows, and traps like a division by 0
    return zero, minus, steps.select(zero | minus, 1, b)


def _against(rest: Symbol, b: Symbol) -> Symbol:
    """Whether a remainder has the wrong sign, which is not the divisor's."""
    return (rest != 0) & ((b < 0) ^ (rest < 0))


@_rule("remainder")
def _remainder(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
    if a.dtype.kind == "f":  # with the sign of the divisor, a zero too [NumPy, npy_divmod]
        rest = steps.call("fmod", a, b)
        signed_zero = steps.call("copysign", steps.constant(0, a.dtype), b)
        return steps.select(rest == 0, signed_zero, steps.select(_against(rest, b), rest + b, rest))
    zero, minus, safe = _no_trap(a, b)
    return steps.select(zero | minus, 0, steps.emit(f"{a.dtype.name}({a.name} % {safe.name})", a.dtype))


@_rule("floor_divide")
def _floor_divide(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
    if a.dtype.kind == "f":
        rest = steps.call("fmod", a, b)
        toward_zero = (a - rest) / b
        quotient = steps.select(_against(rest, b), toward_zero - 1, toward_zero)
        below = steps.call("floor", quotient)
        nearest = steps.select(quotient - below > 0.5, below + 1, below)
        whole = steps.select(quotient == 0, steps.call("copysign", steps.constant(0, a.dtype), a / b), nearest)
        return steps.select(b == 0, a / b, whole)
    zero, minus, safe = _no_trap(a, b)
    whole = steps.emit(f"{a.dtype.name}({a.name} // {safe.name})", a.dtype)
    return steps.select(zero, 0, steps.select(minus, -a, whole))


@_rule("negative")
def _negative(steps: Trace, x: Symbol) -> Symbol:
    return steps.emit(f"-{x.name}" if x.dtype.kind == "f" else f"{x.dtype.name}(-{x.name})", x.dtype)


@_rule("positive")
def _positive(steps: Trace, x: Symbol) -> Symbol:
    return x


@_rule("abs")
def _abs(steps: Trace, x: Symbol) -> Symbol:
    if x.dtype.kind == "f":
        return steps.call("fabs", x)
    return x if x.dtype.kind == "b" else steps.select(x < 0, -x, x)


@_rule("reciprocal")
def _reciprocal(steps: Trace, x: Symbol) -> Symbol:
    if x.dtype.kind == "f":
        return 1 / x
    small = np.iinfo(x.dtype).min  # NumPy casts 1.0 / x to an integer: 1 / 0 becomes the smallest one
    one = steps.select(x == 1, 1, steps.select(x == -1, -1, x * 0))
    return steps.select(x == 0, int(small), one)


@_rule("square")
def _square(steps: Trace, x: Symbol) -> Symbol:
    return x * x


@_rule("sqrt", FLOATS)
def _sqrt(steps: Trace, x: Symbol) -> Symbol:
    return steps.call("sqrt", x)


@_rule("hypot", PAIRS)
def _hypot(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
    return steps.call("hypot", a, b)


# ---- kinks and rounding


@_rule("sign")
def _sign(steps: Trace, x: Symbol) -> Symbol:
    one, zero = steps.constant(1, x.dtype), steps.constant(0, x.dtype)
    rest = steps.select(x == 0, zero, x) if x.dtype.kind == "f" else zero  # nan stays nan, -0 becomes 0
    return steps.select(x > 0, one, steps.select(x < 0, -one, rest))


def _extreme(name: str, better: Callable[[Symbol, Symbol], Any]) -> None:
    @_rule(name)
    def body(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
        if a.dtype.kind == "b":
            return steps.emit(f"{a.name} {'|' if name == 'maximum' else '&'} {b.name}", bool)
        wins = better(a, b)
        return steps.select(wins | (a != a) if a.dtype.kind == "f" else wins, a, b)


_extreme("maximum", lambda a, b: a >= b)
_extreme("minimum", lambda a, b: a <= b)


def _rounding(name: str, intrinsic: str, types: Any = None) -> None:
    @_rule(name, types)
    def body(steps: Trace, x: Symbol) -> Symbol:
        return steps.call(intrinsic, x) if x.dtype.kind == "f" else x


for _name in ("floor", "ceil", "trunc"):
    _rounding(_name, _name)
_rounding("round", "rint", ["i->i", "l->l", *FLOATS])


@_rule("copysign", PAIRS)
def _copysign(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
    return steps.call("copysign", a, b)


# ---- comparison, logic and bits


def _comparison(name: str, sign: str) -> None:
    @_rule(name)
    def body(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
        if a.dtype.kind == "b":
            a, b = steps.cast(a, "int32"), steps.cast(b, "int32")
        return steps.emit(f"{a.name} {sign} {b.name}", bool)


for _name, _symbol in {
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="
}.items():  # fmt: skip
    _comparison(_name, _symbol)


@_rule("isnan")
def _isnan(steps: Trace, x: Symbol) -> Any:
    return x != x if x.dtype.kind == "f" else False


@_rule("isinf")
def _isinf(steps: Trace, x: Symbol) -> Any:
    return steps.call("fabs", x) == np.inf if x.dtype.kind == "f" else False


@_rule("isfinite")
def _isfinite(steps: Trace, x: Symbol) -> Any:
    return steps.call("fabs", x) < np.inf if x.dtype.kind == "f" else True


@_rule("signbit", ["f->?", "d->?"])
def _signbit(steps: Trace, x: Symbol) -> Any:
    return vector_math.bits(x) < 0


def _logic(name: str, sign: str) -> None:
    @_rule(name)
    def body(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
        a, b = steps.cast(a, bool), steps.cast(b, bool)
        return steps.emit(f"{a.name} {sign} {b.name}", bool)


for _name, _symbol in {"logical_and": "&", "logical_or": "|", "logical_xor": "^"}.items():
    _logic(_name, _symbol)


@_rule("logical_not")
def _logical_not(steps: Trace, x: Symbol) -> Symbol:
    return steps.emit(f"not {steps.cast(x, bool).name}", bool)


def _bitwise(name: str, sign: str) -> None:
    @_rule(name)
    def body(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
        text = f"{a.name} {sign} {b.name}"
        return steps.emit(text if a.dtype.kind == "b" else f"{a.dtype.name}({text})", a.dtype)


for _name, _symbol in {"bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}.items():
    _bitwise(_name, _symbol)


@_rule("bitwise_invert")
def _bitwise_invert(steps: Trace, x: Symbol) -> Symbol:
    if x.dtype.kind == "b":
        return steps.emit(f"not {x.name}", bool)
    return steps.emit(f"{x.dtype.name}(~{x.name})", x.dtype)


def _shift(name: str, sign: str) -> None:
    @_rule(name)
    def body(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
        width = 8 * a.dtype.itemsize  # the processor takes b modulo this; NumPy shifts everything out
        inside = (b >= 0) & (b < width)
        by = steps.select(inside, b, 0)
        shifted = steps.emit(f"{a.dtype.name}({a.name} {sign} {by.name})", a.dtype)
        gone = steps.select(a < 0, -1, a * 0) if sign == ">>" else steps.constant(0, a.dtype)
        return steps.select(inside, shifted, gone)


_shift("bitwise_left_shift", "<<")
_shift("bitwise_right_shift", ">>")


# ---- exponentials

for _name in ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus"):
    _rule(_name, FLOATS)(getattr(vector_math, _name))
_rule("logaddexp", PAIRS)(vector_math.logaddexp)


@_rule("erf", FLOATS)
def _erf(steps: Trace, x: Symbol) -> Symbol:
    return steps.cast(steps.call("erf", steps.cast(x, "float64")), x.dtype)
