"""The mistakes that `mutants` plants in the operations, each a row, with what is wrong in words.

Two forms: a common kind in one primitive (`_kind`), and another rule in place of a primitive's own (`_rule`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ..primitive import registry
from .mutation import Mutant, mutate, swapped


def _own(name: str) -> Any:
    """A primitive, whose right rules the wrong ones may need."""
    return registry[name]


def _kind(entry: str, kind: str, what: str, **options: Any) -> Mutant:
    """One of the common kinds; `what` says what it means here."""
    return Mutant(f"{entry}: {what}", entry, "operation", (entry,), lambda: mutate(entry, kind, **options))


def _rule(entry: str, what: str, **attributes: Any) -> Mutant:
    """Another vjp or jvp; or other local derivatives, in both modes."""
    if "derivatives" in attributes and registry[entry].local is not None:
        attributes["local"] = attributes["derivatives"]
    return Mutant(f"{entry}: {what}", entry, "operation", (entry,), lambda: swapped(registry[entry], **attributes))


def operations() -> Iterator[Mutant]:
    """Yield those in the derivatives of operations."""
    yield _kind("tanh", "sign", "sign")
    yield _kind("tanh", "factor", "factor 2 in forward mode alone", mode="fwd")
    yield _kind("exp", "zero", "no gradient at all")
    yield _kind("sigmoid", "slightly", "wrong by a millionth")
    yield _kind("erf", "slightly", "wrong by a millionth in forward mode alone", mode="fwd")
    yield _kind("sqrt", "factor", "factor 2")
    yield _kind("log", "cotangent", "the cotangent is taken to be 1")
    yield _kind("add", "broadcast", "the sum over broadcast axes is forgotten")
    yield _kind("multiply", "broadcast", "the sum over broadcast axes is forgotten")
    yield _kind(
        "multiply", "zero", "the second term of the product rule is forgotten in forward mode", mode="fwd", input=1
    )
    yield _kind("subtract", "sign", "sign of the second input", input=1)
    yield _kind("divide", "sign", "sign of the second input", input=1)
    yield _kind("pow", "zero", "the exponent has no gradient", input=1)
    yield _kind("atan2", "sign", "sign of the second input", input=1)
    yield _kind("sum", "axis", "axes confused")
    yield _kind("logsumexp", "cotangent", "the cotangent is taken to be 1")
    yield _kind("stack", "axis", "axes confused")
    yield _kind("concat", "shift", "pieces off by one")
    yield _kind("convolution", "reversed", "the kernel runs backwards", input=1)
    yield _kind("convolution", "average", "averaged over the batch", input=0)
    yield _kind("matmul", "broadcast", "the sum over a stack of matrices is forgotten")
    yield _kind("matmul", "axis", "the second factor's gradient is not transposed", input=1)
    yield _kind("inv", "axis", "transposes forgotten")
    yield _kind("solve", "sign", "sign of the matrix", input=0)
    yield _kind("det", "factor", "factor 2")
    yield _kind("class_cross_entropy", "reversed", "classes in reverse order")
    yield _kind("scatter_add", "zero", "the values have no gradient", input=1)
    yield _rule("cos", "sine for cosine", derivatives=(lambda xp, y, x: xp.sin(x),))
    yield _rule("softplus", "its own value for its slope", derivatives=(lambda xp, y, x: y,))
    yield _rule(
        "maximum",
        "ties: both inputs take the whole",
        derivatives=(
            lambda xp, y, a, b: xp.astype(a >= b, y.dtype),
            lambda xp, y, a, b: xp.astype(b >= a, y.dtype),
        ),
    )
    yield _rule(
        "minimum",
        "the wrong branch",
        derivatives=(
            lambda xp, y, a, b: xp.astype(a > b, y.dtype),
            lambda xp, y, a, b: xp.astype(b > a, y.dtype),
        ),
    )
    yield _rule("max", "ties: every winner takes the whole", vjp=(_every_winner,))
    yield _rule(
        "clip",
        "zero on a bound",
        derivatives=(
            lambda xp, y, x, low, high: xp.astype((low < x) & (x < high), y.dtype),
            *_own("clip").derivatives[1:],
        ),
    )
    yield _rule("relu", "one at zero", derivatives=(lambda xp, y, x: xp.astype(x >= 0, y.dtype),))
    where = _own("where").vjp
    yield _rule("where", "the wrong branch", vjp=(None, where[2], where[1]))
    yield _rule(
        "where",
        "NaN leaks from the branch not taken",
        vjp=(None, lambda xp, g, y, c, a, b: g * c * (a / a), lambda xp, g, y, c, a, b: g * (1 - 1 * c) * (b / b)),
    )
    yield _rule("mean", "the division by the count is forgotten", vjp=(_as_sum,))
    yield _rule("var", "the correction is forgotten", vjp=(_uncorrected,))
    yield _rule("prod", "divides by the entry, which may be zero", vjp=(_quotient,))
    yield _rule(
        "cumulative_sum", "forward for backward", vjp=(lambda xp, g, y, x, axis: xp.cumulative_sum(g, axis=axis),)
    )
    yield _rule("cumulative_prod", "zeros divide", vjp=(_running_quotient,))
    yield _rule("softmax", "the diagonal alone", vjp=(lambda xp, g, y, x, axis: g * y * (1 - y),))
    yield _rule("log_softmax", "the normaliser is taken as a constant", vjp=(lambda xp, g, y, x, axis: g,))
    yield _rule("normalise", "mean and variance are taken as constants", vjp=(_fixed_statistics,))
    yield _rule("reshape", "column-major order", vjp=(_column_major,))
    yield _rule(
        "permute_dims",
        "the same order for its inverse",
        vjp=(lambda xp, g, y, x, axes: xp.reshape(xp.permute_dims(g, axes), x.shape),),
    )
    yield _rule("broadcast_to", "a mean for the sum", vjp=(_mean_to,))
    yield _rule("flip", "not turned back", vjp=(lambda xp, g, y, x, axis: g,))
    yield _rule(
        "roll", "the same direction", vjp=(lambda xp, g, y, x, shift, axis: xp.roll(g, tuple(shift), axis=axis),)
    )
    yield _rule(
        "pad",
        "from the first entry",
        vjp=(lambda xp, g, y, x, widths, value: g[tuple([slice(0, n) for n in x.shape])],),
    )
    yield _rule(
        "getitem",
        "repeated entries are not added up",
        vjp=(lambda xp, g, y, x, index: xp.put(xp.zeros_like(x), index, g),),
    )
    yield _rule(
        "put",
        "what was overwritten keeps its gradient",
        vjp=(lambda xp, g, y, x, values, index: g, _own("put").vjp[1]),
    )
    yield _rule("tril", "one diagonal too many", vjp=(lambda xp, g, y, x, k: xp.tril(g, k=k + 1),))
    yield _rule("unstack", "in reverse order", vjp=(lambda xp, g, y, x, axis: xp.stack(g[::-1], axis=axis),))


def _kept(xp: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return y if keepdims else xp.reshape(y, tuple([1 if i in axis else n for i, n in enumerate(x.shape)]))


def _every_winner(xp: Any, g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    wins = xp.astype(x == _kept(xp, y, x, axis, keepdims), x.dtype)
    return _kept(xp, g, x, axis, keepdims) * wins


def _as_sum(xp: Any, g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return xp.broadcast_to(_kept(xp, g, x, axis, keepdims), x.shape)


def _uncorrected(xp: Any, g: Any, y: Any, x: Any, axis: Any, correction: float, keepdims: bool) -> Any:
    return _kept(xp, g, x, axis, keepdims) * _deviation(xp, x, axis) * (2 / _count(x, axis))


def _deviation(xp: Any, x: Any, axis: Any) -> Any:
    return x - xp.mean(x, axis=axis, keepdims=True)


def _count(x: Any, axis: Any) -> int:
    return math.prod([x.shape[a] for a in axis])


def _quotient(xp: Any, g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return _kept(xp, g * y, x, axis, keepdims) / x


def _running_quotient(xp: Any, g: Any, y: Any, x: Any, axis: int) -> Any:
    return xp.flip(xp.cumulative_sum(xp.flip(g * y, axis=axis), axis=axis), axis=axis) / x


def _fixed_statistics(xp: Any, g: Any, y: Any, x: Any, axis: Any, eps: float) -> Any:
    spread = xp.mean(xp.square(_deviation(xp, x, axis)), axis=axis, keepdims=True)
    return g / xp.sqrt(spread + eps)


def _column_major(xp: Any, g: Any, y: Any, x: Any, shape: Any) -> Any:
    turned = xp.permute_dims(g, tuple(reversed(range(len(g.shape)))))
    return xp.permute_dims(xp.reshape(turned, tuple(reversed(x.shape))), tuple(reversed(range(len(x.shape)))))


def _mean_to(xp: Any, g: Any, y: Any, x: Any, shape: Any) -> Any:
    extra = len(shape) - len(x.shape)
    if extra:
        g = xp.mean(g, axis=tuple(range(extra)))
    stretched = tuple([i for i, n in enumerate(x.shape) if n == 1 and g.shape[i] != 1])
    return xp.mean(g, axis=stretched, keepdims=True) if stretched else g
