"""exp, log, tanh and their kin in arithmetic that a compiler turns into SIMD instructions.

No branches, no tables, no calls: an argument is reduced to a small interval, a Taylor polynomial is evaluated
there, and the power of two is put back by writing the exponent's bits. Fused multiply-adds are neither assumed nor
in the way. Errors, in units in the last place (largest measured; the tests assert the bounds):

=========  =====  ==========================================================
exp        2      expm1  3      log    2      log1p   3
tanh       4      sigmoid 4     softplus 4    logaddexp: 4 of its largest term
=========  =====  ==========================================================

The reductions are those of W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980), and of
P. T. P. Tang; the functions of special values are IEEE 754-2019, section 9.2. Floating-point flags are not kept.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .tracing import Symbol, Trace

LN2 = math.log(2)


class _Format(NamedTuple):
    """What the algorithms need to know of a floating format."""

    fraction: int  # bits of the fraction
    bias: int
    whole: str  # the integer of the same width
    high: float  # ln 2 with so many zeros at its end that a product with an exponent is exact
    low: float  # the rest of ln 2
    exp_terms: int  # Taylor terms whose remainder on |r| <= ln(2)/2 is below 1/8 of a unit in the last place
    log_terms: int  # the same for log(1 + f), f = 2s/(1 - s), |s| <= 0.1716
    smallest: float  # normal number


_FORMATS = {
    "float32": _Format(23, 127, "int32", 0.693145751953125, 1.4286068203094172e-06, 8, 5, 2.0**-126),
    "float64": _Format(52, 1023, "int64", 0.6931471803691238, 1.9082149292705877e-10, 13, 10, 2.0**-1022),
}


def _format(x: Symbol) -> _Format:
    return _FORMATS[x.dtype.name]


def bits(x: Symbol) -> Symbol:
    """The bits of a floating number as an integer."""
    return x.steps.call("bits", x, dtype=_format(x).whole)


def _from_bits(n: Symbol, dtype: Any) -> Symbol:
    return n.steps.call("from_bits", n, dtype=dtype)


def _power_of_two(n: Symbol, dtype: Any) -> Symbol:
    """2**n for an n with a normal result."""
    f = _FORMATS[dtype.name]
    return _from_bits(_shifted(n + f.bias, "<<", f.fraction), dtype)


def _shifted(n: Symbol, sign: str, places: int) -> Symbol:
    """n shifted by a number of places that is known, so that nothing needs to be checked."""
    return n.steps.emit(f"{n.dtype.name}({n.name} {sign} {places})", n.dtype)


def _limited(x: Symbol, low: float, high: float) -> Symbol:
    """x between two bounds; nan stays nan."""
    x = x.steps.select(x < low, low, x)
    return x.steps.select(x > high, high, x)


def _reduced(x: Symbol) -> tuple[Symbol, Symbol]:
    """n and expm1(r), where x = n ln 2 + r and |r| <= ln(2)/2.

    Adding 1.5 * 2**fraction rounds to an integer, which then stands in the lowest bits.
    """
    f = _format(x)
    shift = 1.5 * 2.0**f.fraction
    shifted = x * (1 / LN2) + shift
    n = bits(shifted) - int(np.array(shift, x.dtype).view(f.whole))
    k = shifted - shift
    r = (x - k * f.high) - k * f.low
    p: Any = 1 / math.factorial(f.exp_terms)
    for i in range(f.exp_terms - 1, 1, -1):
        p = p * r + 1 / math.factorial(i)
    return n, (p * r) * r + r


def exp(steps: Trace, x: Symbol) -> Symbol:
    """2**n (1 + expm1(r)); the power is put in by halves, so that it may overflow or become denormal gradually."""
    x = _limited(x, *((-104.0, 89.0) if x.dtype == "float32" else (-746.0, 710.0)))
    n, p = _reduced(x)
    half = _shifted(n, ">>", 1)
    return (p + 1) * _power_of_two(half, x.dtype) * _power_of_two(n - half, x.dtype)


def expm1(steps: Trace, x: Symbol) -> Symbol:
    """2**n expm1(r) + (2**n - 1), with 2**(n-1) in place of 2**n, which may overflow before the result does."""
    f = _format(x)
    n, p = _reduced(_limited(x, *((-25.0, 89.0) if x.dtype == "float32" else (-50.0, 710.0))))
    scale = _power_of_two(n - 1, x.dtype)
    value = (scale * p + (scale - 0.5)) * 2
    return steps.select(steps.call("fabs", x) < 2.0 ** -(f.fraction + 2), x, value)  # keeps -0 and denormals


def tanh(steps: Trace, x: Symbol) -> Symbol:
    """expm1(2|x|) / (expm1(2|x|) + 2), with the sign of x."""
    size = steps.call("fabs", x)
    saturated = 10.0 if x.dtype == "float32" else 22.0  # 1 - tanh is below half a unit in the last place of 1
    e = expm1(steps, 2 * steps.select(size > saturated, saturated, size))
    return steps.call("copysign", e / (e + 2), x)


def sigmoid(steps: Trace, x: Symbol) -> Symbol:
    """1 / (1 + exp(-|x|)), and for negative x exp(-|x|) / (1 + exp(-|x|)): accurate in both tails."""
    e = exp(steps, -steps.call("fabs", x))
    return steps.select(x < 0, e, 1) / (1 + e)


def log(steps: Trace, x: Symbol) -> Symbol:
    """n ln 2 + log(1 + f), where x = 2**n (1 + f) and 1 + f lies between sqrt(1/2) and sqrt(2).

    log(1 + f) = 2 (s + s**3/3 + s**5/5 + ...), s = f / (2 + f), summed so that f, its largest part, comes in last.
    """
    f = _format(x)
    lift = f.fraction + 2
    tiny = x < f.smallest
    scaled = steps.select(tiny, x * 2.0**lift, x)
    root = int(np.array(math.sqrt(0.5), x.dtype).view(f.whole))
    offset = bits(scaled) - root
    lifted = steps.select(tiny, steps.constant(lift, f.whole), steps.constant(0, f.whole))
    n = _shifted(offset, ">>", f.fraction) - lifted
    rest = _from_bits((offset & (2**f.fraction - 1)) + root, x.dtype) - 1
    s = rest / (2 + rest)
    z = s * s
    p: Any = 2 / (2 * f.log_terms + 1)
    for i in range(f.log_terms - 1, 0, -1):
        p = p * z + 2 / (2 * i + 1)
    k = steps.cast(n, x.dtype)
    half_square = 0.5 * rest * rest
    value = ((s * (half_square + p * z) + k * f.low) - half_square) + rest + k * f.high
    value = steps.select((x == np.inf) | (x != x), x, value)
    return steps.select(x == 0, -np.inf, steps.select(x < 0, np.nan, value))


def log1p(steps: Trace, x: Symbol) -> Symbol:
    """log(u) + c/u, where u is 1 + x as rounded and c what the rounding lost. [Hewlett-Packard 15C handbook]"""
    u = 1 + x
    value = log(steps, u) + (x - (u - 1)) / u
    return steps.select((u == 1) | (x == np.inf), x, steps.select(u == 0, -np.inf, value))


def softplus(steps: Trace, x: Symbol) -> Symbol:
    """max(x, 0) + log1p(exp(-|x|))."""
    return steps.namespace.maximum(x, 0) + log1p(steps, exp(steps, -steps.call("fabs", x)))


def logaddexp(steps: Trace, a: Symbol, b: Symbol) -> Symbol:
    """max(a, b) + log1p(exp(-|a - b|)); equal infinities have no difference and need none."""
    value = steps.namespace.maximum(a, b) + log1p(steps, exp(steps, -steps.call("fabs", a - b)))
    return steps.select(a == b, a + LN2, value)
