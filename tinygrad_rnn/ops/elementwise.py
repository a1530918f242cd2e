"""Operations that act entry by entry, as the array API standard (2024.12) names and defines them.

Each is one entry of a table: the forward (the backend's function of that name where none is given)
and dy/dx for each input. The vjp and the jvp both follow from dy/dx. Where the derivative is infinite
(``singular=True``) a zero cotangent stays zero.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

from ..primitive import MINUS_ONE, elementwise, primitive
from ..tape import ONE

__all__ = [
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert",
    "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "clip", "conj", "copysign",
    "cos", "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide", "greater", "greater_equal", "hypot",
    "imag", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp",
    "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative",
    "nextafter", "not_equal", "positive", "pow", "real", "reciprocal", "remainder", "round", "sign", "signbit",
    "sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh", "trunc", "where",
]  # fmt: skip


def _zero(xp: Any, y: Any, *inputs: Any) -> Any:
    """Derivative of a step function: zero wherever it exists."""
    return xp.zeros_like(y)


def _share(xp: Any, wins: Any, ties: Any, y: Any) -> Any:
    """1 where this input won, 1/2 where it tied: ties share equally."""
    return xp.astype(wins, y.dtype) + 0.5 * xp.astype(ties, y.dtype)


# ---- arithmetic

add = elementwise("add", derivative=(ONE, ONE), doc="Sum of two tensors, ``x1 + x2``.")
subtract = elementwise("subtract", derivative=(ONE, MINUS_ONE), doc="Difference of two tensors, ``x1 - x2``.")
multiply = elementwise(
    "multiply",
    derivative=(lambda xp, y, a, b: b, lambda xp, y, a, b: a),
    doc="Product of two tensors, entry by entry, ``x1 * x2``.",
)
divide = elementwise(
    "divide",
    derivative=(lambda xp, y, a, b: 1 / b, lambda xp, y, a, b: -y / b),
    singular=True,
    doc="Quotient of two tensors, ``x1 / x2``.",
)


def _floored(xp: Any, x1: Any, x2: Any) -> Any:
    """floor_divide, with the standard's values at infinity, where NumPy has Python's: inf // 1 is inf, -1 // inf -0."""
    y = xp.floor_divide(x1, x2)
    if y.dtype.kind != "f":
        return y
    infinite = (x1 == math.inf) | (x1 == -math.inf) | (x2 == math.inf) | (x2 == -math.inf)
    return xp.where(infinite, xp.divide(x1, x2), y)


floor_divide = elementwise(
    "floor_divide", _floored, derivative=(_zero, _zero), doc="Quotient rounded down, ``x1 // x2``."
)
remainder = elementwise(
    "remainder",
    derivative=(ONE, lambda xp, y, a, b: -xp.floor(a / b)),
    singular=True,
    doc="Remainder with the sign of the divisor, ``x1 % x2``.",
)
negative = elementwise("negative", derivative=MINUS_ONE, doc="``-x``.")
positive = elementwise("positive", derivative=ONE, doc="``+x``: the same values.")
real = elementwise("real", derivative=ONE, doc="The real part: x itself, as no dtype here is complex.")
imag = elementwise("imag", derivative=_zero, doc="The imaginary part: zeros, as no dtype here is complex.")
conj = elementwise("conj", derivative=ONE, doc="The complex conjugate: x itself, as no dtype here is complex.")
reciprocal = elementwise("reciprocal", derivative=lambda xp, y, x: -y / x, singular=True, doc="``1 / x``.")
square = elementwise("square", derivative=lambda xp, y, x: 2 * x, doc="``x * x``.")
sqrt = elementwise("sqrt", derivative=lambda xp, y, x: 0.5 / y, singular=True, doc="Square root.")
hypot = elementwise(
    "hypot",
    derivative=(
        lambda xp, y, a, b: a / xp.where(y == 0, xp.ones_like(y), y),
        lambda xp, y, a, b: b / xp.where(y == 0, xp.ones_like(y), y),
    ),
    doc="``sqrt(x1**2 + x2**2)`` without overflow. Its derivative at (0, 0) is 0.",
)


def _raised(xp: Any, x1: Any, x2: Any) -> Any:
    """pow, with the standard's values at -inf and -0: NumPy may take an exponent of 0.5 for a square root."""
    y = xp.pow(x1, x2)
    if x2.__class__ is float:
        return xp.where(x1 == -math.inf, -x1, y + 0.0) if x2 == 0.5 else y
    if y.dtype.kind != "f" or x2.__class__ is int:
        return y
    return xp.where(x2 == 0.5, xp.where(x1 == -math.inf, -x1, y + 0.0), y)


_power = elementwise(  # a Python number as the exponent
    "power",
    forward=lambda xp, x, exponent: _raised(xp, x, exponent),
    derivative=lambda xp, y, x, exponent: exponent * xp.pow(x, exponent - 1) if exponent != 0 else xp.zeros_like(y),
    singular=True,
)
_pow = elementwise(
    "pow",
    forward=_raised,
    derivative=(
        lambda xp, y, a, b: b * xp.pow(a, xp.where(b == 0, xp.ones_like(b), b - 1)),
        lambda xp, y, a, b: y * xp.log(xp.where(a > 0, a, xp.ones_like(a))),
    ),
    singular=True,
)


def pow(x1: Any, x2: Any, /) -> Any:
    """``x1 ** x2``. The derivative with respect to the exponent is taken as 0 where x1 <= 0.

    >>> import tinygrad_rnn as tg
    >>> tg.pow(tg.tensor([1.0, 2.0, 3.0]), 2)
    Tensor([1., 4., 9.], dtype=float32)
    """
    if x2.__class__ is int or x2.__class__ is float:
        return _power(x1, exponent=x2)
    return _pow(x1, x2)


# ---- exponentials and logarithms

exp = elementwise("exp", derivative=lambda xp, y, x: y, doc="Exponential function.")
expm1 = elementwise("expm1", derivative=lambda xp, y, x: y + 1, doc="``exp(x) - 1``, accurate near 0.")
log = elementwise("log", derivative=lambda xp, y, x: 1 / x, singular=True, doc="Natural logarithm.")
log1p = elementwise(
    "log1p", derivative=lambda xp, y, x: 1 / (1 + x), singular=True, doc="``log(1 + x)``, accurate near 0."
)
log2 = elementwise("log2", derivative=lambda xp, y, x: 1 / (x * math.log(2)), singular=True, doc="Logarithm to base 2.")
log10 = elementwise(
    "log10", derivative=lambda xp, y, x: 1 / (x * math.log(10)), singular=True, doc="Logarithm to base 10."
)
logaddexp = elementwise(
    "logaddexp",
    derivative=(lambda xp, y, a, b: xp.exp(a - y), lambda xp, y, a, b: xp.exp(b - y)),
    doc="``log(exp(x1) + exp(x2))`` without overflow.",
)

# ---- trigonometric and hyperbolic functions

sin = elementwise("sin", derivative=lambda xp, y, x: xp.cos(x), doc="Sine; x in radians.")
cos = elementwise("cos", derivative=lambda xp, y, x: -xp.sin(x), doc="Cosine; x in radians.")
tan = elementwise("tan", derivative=lambda xp, y, x: 1 + y * y, doc="Tangent; x in radians.")
asin = elementwise(
    "asin",
    derivative=lambda xp, y, x: 1 / xp.sqrt((1 - x) * (1 + x)),
    singular=True,
    doc="Inverse sine, in radians.",
)
acos = elementwise(
    "acos",
    derivative=lambda xp, y, x: -1 / xp.sqrt((1 - x) * (1 + x)),
    singular=True,
    doc="Inverse cosine, in radians.",
)
atan = elementwise("atan", derivative=lambda xp, y, x: 1 / (1 + x * x), doc="Inverse tangent, in radians.")
atan2 = elementwise(
    "atan2",
    derivative=(lambda xp, y, a, b: b / (a * a + b * b), lambda xp, y, a, b: -a / (a * a + b * b)),
    singular=True,
    doc="Angle of the point (x2, x1), in radians, in its own quadrant.",
)
sinh = elementwise("sinh", derivative=lambda xp, y, x: xp.cosh(x), doc="Hyperbolic sine.")
cosh = elementwise("cosh", derivative=lambda xp, y, x: xp.sinh(x), doc="Hyperbolic cosine.")
tanh = elementwise("tanh", derivative=lambda xp, y, x: 1 - y * y, doc="Hyperbolic tangent.")
asinh = elementwise(
    "asinh", derivative=lambda xp, y, x: 1 / xp.hypot(x, xp.ones_like(x)), doc="Inverse hyperbolic sine."
)
acosh = elementwise(
    "acosh",
    derivative=lambda xp, y, x: 1 / xp.sqrt((x - 1) * (x + 1)),
    singular=True,
    doc="Inverse hyperbolic cosine.",
)
atanh = elementwise(
    "atanh",
    derivative=lambda xp, y, x: 1 / ((1 - x) * (1 + x)),
    singular=True,
    doc="Inverse hyperbolic tangent.",
)

# ---- kinks. Their subgradients: |.|'(0) = 0; ties in maximum and minimum share equally; clip' = 1 on the bound

abs = elementwise("abs", derivative=lambda xp, y, x: xp.sign(x), doc="Absolute value. Its derivative at 0 is 0.")
sign = elementwise("sign", derivative=_zero, doc="Sign: -1, 0 or 1.")
floor = elementwise("floor", derivative=_zero, doc="Round down.")
ceil = elementwise("ceil", derivative=_zero, doc="Round up.")
trunc = elementwise("trunc", derivative=_zero, doc="Round toward zero.")
round = elementwise("round", derivative=_zero, doc="Round to the nearest integer, halves to even.")
copysign = elementwise(
    "copysign",
    derivative=(lambda xp, y, a, b: xp.sign(a) * xp.sign(y), _zero),
    doc="Magnitude of x1 with the sign of x2.",
)
maximum = elementwise(
    "maximum",
    derivative=(
        lambda xp, y, a, b: _share(xp, a > b, a == b, y),
        lambda xp, y, a, b: _share(xp, b > a, a == b, y),
    ),
    doc="The larger of two tensors, entry by entry. Where they tie, both get half of the derivative.",
)
minimum = elementwise(
    "minimum",
    derivative=(
        lambda xp, y, a, b: _share(xp, a < b, a == b, y),
        lambda xp, y, a, b: _share(xp, b < a, a == b, y),
    ),
    doc="The smaller of two tensors, entry by entry. Where they tie, both get half of the derivative.",
)

_clip = elementwise(
    "clip",
    forward=lambda xp, x, low, high: xp.minimum(xp.maximum(x, low), high),
    derivative=(
        lambda xp, y, x, low, high: xp.astype((low <= x) & (x <= high), y.dtype),
        lambda xp, y, x, low, high: xp.astype((x < low) & (low <= high), y.dtype),
        lambda xp, y, x, low, high: xp.astype((x > high) | (low > high), y.dtype),
    ),
)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """Limit x to ``min <= x <= max``; either bound may be None. The derivative is 1 inside and on a bound.

    >>> import tinygrad_rnn as tg
    >>> tg.clip(tg.tensor([-2.0, 0.5, 2.0]), -1.0, 1.0)
    Tensor([-1. ,  0.5,  1. ], dtype=float32)
    """
    min, max = _as_x(min, x), _as_x(max, x)
    if min is None and max is None:
        return positive(x)
    if max is None:
        return _clip_below(x, min)
    if min is None:
        return _clip_above(x, max)
    return _clip(x, min, max)


def _as_x(bound: Any, x: Any) -> Any:
    """A bound in the dtype of x where both are floats, or both integers: the result has the dtype of x."""
    have, want = getattr(bound, "dtype", None), getattr(x, "dtype", None)
    if have is None or want is None or have == want or have.kind != want.kind:
        return bound
    return bound.astype(want)


_clip_below = elementwise(
    "clip_below",
    forward=lambda xp, x, low: xp.maximum(x, low),
    derivative=(
        lambda xp, y, x, low: xp.astype(x >= low, y.dtype),
        lambda xp, y, x, low: xp.astype(x < low, y.dtype),
    ),
)
_clip_above = elementwise(
    "clip_above",
    forward=lambda xp, x, high: xp.minimum(x, high),
    derivative=(
        lambda xp, y, x, high: xp.astype(x <= high, y.dtype),
        lambda xp, y, x, high: xp.astype(x > high, y.dtype),
    ),
)

where = primitive(
    "where",
    forward=lambda xp, condition, a, b: xp.where(condition, a, b),
    vjp=(
        None,
        lambda xp, g, y, condition, a, b: xp.where(condition, g, xp.zeros_like(g)),
        lambda xp, g, y, condition, a, b: xp.where(condition, xp.zeros_like(g), g),
    ),
    jvp=(
        None,
        lambda xp, d, y, condition, a, b: xp.where(condition, d, xp.zeros_like(d)),
        lambda xp, d, y, condition, a, b: xp.where(condition, xp.zeros_like(d), d),
    ),
    doc="``x1`` where the condition holds, else ``x2``. The branch not taken gets a derivative of exactly 0.",
)


# ---- comparison, logic and bits: no derivatives


def _plain(name: str, doc: str) -> Any:
    return primitive(name, lambda xp, *inputs: getattr(xp, name)(*inputs), differentiable=False, doc=doc)


equal = _plain("equal", "``x1 == x2``, entry by entry.")
not_equal = _plain("not_equal", "``x1 != x2``, entry by entry.")
less = _plain("less", "``x1 < x2``, entry by entry.")
less_equal = _plain("less_equal", "``x1 <= x2``, entry by entry.")
greater = _plain("greater", "``x1 > x2``, entry by entry.")
greater_equal = _plain("greater_equal", "``x1 >= x2``, entry by entry.")
isfinite = _plain("isfinite", "Whether an entry is neither infinite nor NaN.")
isinf = _plain("isinf", "Whether an entry is infinite.")
isnan = _plain("isnan", "Whether an entry is NaN.")
signbit = _plain("signbit", "Whether the sign bit is set; true for -0.0.")
nextafter = _plain("nextafter", "The next floating number from x1 toward x2.")
logical_and = _plain("logical_and", "Both true.")
logical_or = _plain("logical_or", "At least one true.")
logical_xor = _plain("logical_xor", "Exactly one true.")
logical_not = _plain("logical_not", "Not true.")
bitwise_and = _plain("bitwise_and", "``x1 & x2`` on bools or integers.")
bitwise_or = _plain("bitwise_or", "``x1 | x2`` on bools or integers.")
bitwise_xor = _plain("bitwise_xor", "``x1 ^ x2`` on bools or integers.")
bitwise_invert = _plain("bitwise_invert", "``~x`` on bools or integers.")
bitwise_left_shift = _plain("bitwise_left_shift", "``x1 << x2`` on integers.")
bitwise_right_shift = _plain("bitwise_right_shift", "``x1 >> x2`` on integers.")


def _describe() -> None:
    """Let `inspect.signature` and `help` show the standard's parameters, not those of every primitive."""
    two = {
        "add", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
        "copysign", "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot", "less", "less_equal",
        "logaddexp", "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "nextafter",
        "not_equal", "remainder", "subtract",
    }  # fmt: skip
    for name in __all__:
        names = ("condition", "x1", "x2") if name == "where" else ("x1", "x2") if name in two else ("x",)
        if name not in ("clip", "pow"):  # functions, which show their own
            parameters = [inspect.Parameter(each, inspect.Parameter.POSITIONAL_ONLY) for each in names]
            globals()[name].__signature__ = inspect.Signature(parameters)


_describe()
