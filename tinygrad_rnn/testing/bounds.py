"""How far two correct backends may differ in one primitive: a bound that follows from what the primitive does.

No constant tolerance is right for every operation. Operations that move or compare entries, and ``+ - * /`` and square
root, are exact in IEEE 754: they may not differ at all. A sum of n terms may differ by ``2 gamma_n sum |x|``, with
``gamma_n = n u / (1 - n u)`` and u half an eps, whatever the order of summation (Higham 2002, eq. 4.4 and 3.5).

========== ============================================ =====================================
class      operations                                   bound of the difference
========== ============================================ =====================================
exact      that move, choose, compare; + - * / sqrt     0
library    exp, sin, tanh, … of a mathematical library  4 ulp
blend      sigmoid, gelu, … of several of those         4 eps of the largest term
sum        sum, mean, products of matrices, windows     2 gamma_n of the same with absolute values
product    prod, cumulative_prod                        2 gamma_n of the result
other      decompositions, whole recurrences            32 times what rounded inputs do, measured
========== ============================================ =====================================
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..primitive import Primitive
from ..tape import Record

ULPS = 4
FACTOR = 32.0
REPLAYS = 4

_CLASSES = {
    "exact": (
        "add subtract multiply divide negative positive real imag conj reciprocal square sqrt abs sign floor ceil "
        "trunc round copysign maximum minimum clip clip_below clip_above relu where max min astype to_backend reshape "
        "permute_dims broadcast_to concat stack unstack flip roll pad tril triu getitem put take floor_divide"
    ),
    "library": (
        "power pow exp expm1 log log1p log2 log10 sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh "
        "hypot erf"
    ),
    "blend": "sigmoid softplus silu gelu logaddexp remainder",
    "sum": (
        "sum mean cumulative_sum matmul scatter_add convolution convolution_transpose convolution_weight windows "
        "windows_transpose"
    ),
    "product": "prod cumulative_prod",
}
# of a sum near 1, in which round-off is of the size of 1 however small the result is
_LOGARITHMS = frozenset(["logsumexp", "log_softmax", "cross_entropy", "class_cross_entropy"])
CLASS = {name: kind for kind, names in _CLASSES.items() for name in names.split()}


def gamma(n: int, dtype: Any) -> float:
    """``n u / (1 - n u)``: the relative error of n roundings in a row, u being half an eps of the dtype.

    >>> round(gamma(3, "float64") * 2**53, 12)
    3.0
    """
    nu = n * float(np.finfo(dtype).eps) / 2
    return nu / (1 - nu)


def bounds_of(record: Record, ulps: int | None = None) -> list[Any]:
    """How far each result of a record may differ on another backend that saw the same inputs.

    record: of a tape on NumPy arrays.  ulps: for the mathematical functions, in place of 4.
    Returns an array or a number for each result; 0 for one that is not floating.
    """
    results = record.result if isinstance(record.result, tuple) else (record.result,)
    kind = CLASS.get(record.primitive.name, "other" if record.primitive.differentiable else "exact")
    if kind == "exact":
        return [0.0] * len(results)
    with np.errstate(all="ignore"):
        if kind == "other":
            return _measured(record, results)
        return [_bound(kind, record, y, ulps or ULPS) if y.dtype.kind == "f" else 0.0 for y in results]


def fused_bound(record: Record, products: set[int]) -> Any:
    """How far ``a * b + c`` may differ where a compiler fuses it: gamma_2 of the terms; 0 for any other record.

    products: the slots that hold products of two entries.
    """
    if record.primitive.name not in ("add", "subtract") or not products.intersection(record.inputs):
        return 0.0
    a, b = record.values
    return gamma(2, record.result.dtype) * (abs(a) + abs(b)) if record.result.dtype.kind == "f" else 0.0


def _bound(kind: str, record: Record, y: Any, ulps: int) -> Any:
    if kind == "library":
        return ulps * np.spacing(abs(y))
    if kind == "blend":
        terms = [abs(x) for x in record.values if getattr(x, "dtype", y.dtype).kind == "f"]
        return ulps * np.finfo(y.dtype).eps * np.broadcast_to(sum(terms, 0.5 + abs(y)), y.shape)
    if kind == "product":
        return 2 * gamma(terms_of(record), y.dtype) * abs(y)
    return 2 * gamma(terms_of(record), y.dtype) * _of_absolutes(record)


def _of_absolutes(record: Record) -> Any:
    """The same sum with the absolute value of every term."""
    values = [abs(x) if getattr(x, "dtype", None) is not None and x.dtype.kind == "f" else x for x in record.values]
    return record.primitive._forwards[record.backend](*values, **record.params)


def terms_of(record: Record) -> int:
    """How many terms are summed, or factors multiplied, into one entry of the result; an upper bound."""
    values, name = record.values, record.primitive.name
    if name == "matmul":
        return max(1, values[0].shape[-1])
    sizes = [int(np.size(x)) for x in values]
    if name in ("sum", "mean", "prod"):
        return max(1, sizes[0] // max(1, int(np.size(record.result)))) + 1
    if name in ("cumulative_sum", "cumulative_prod"):
        return max(1, values[0].shape[record.params["axis"]])
    return max(1, *sizes)


def _measured(record: Record, results: Any) -> list[Any]:
    """32 times the change that round-off in the inputs makes, n roundings of them for axes of n entries."""
    rng = np.random.default_rng(0)
    longest = max([1, *(n for x in record.values for n in getattr(x, "shape", ()))])
    spread: list[Any] = [0.0] * len(results)
    for _ in range(REPLAYS):
        moved = tuple(rounded(rng, x, longest) for x in record.values)
        for i, part in enumerate(run(record, moved)):
            if part.dtype.kind == "f":
                spread[i] = np.fmax(spread[i], abs(part - results[i]))
    least = 1.0 if record.primitive.name in _LOGARITHMS else 0.0
    return [
        FACTOR * (part + longest * np.finfo(y.dtype).eps * np.max(abs(y), initial=least))
        if y.dtype.kind == "f"
        else 0.0
        for part, y in zip(spread, results)
    ]


def rounded(rng: np.random.Generator, x: Any, times: float) -> Any:
    """A floating array with a random relative error in every entry: so many eps of either sign."""
    if getattr(x, "dtype", None) is None or x.dtype.kind != "f":
        return x
    return (x * (1 + times * float(np.finfo(x.dtype).eps) * rng.uniform(-1, 1, x.shape))).astype(x.dtype)


def run(record: Record, values: tuple[Any, ...], backend: Any = None) -> list[Any]:
    """Results of a record's primitive at other values, on its own or another backend."""
    from .roundoff import _run

    if backend is None:
        result = _run(record, values)[0]
    else:
        primitive: Primitive = record.primitive
        result = primitive._forwards[backend](*values, **record.params)
        if primitive.residual:
            result = result[0]
    return [np.asarray(part) for part in (result if isinstance(result, tuple) else (result,))]


def excess(one: Any, other: Any, allowed: Any) -> tuple[float, tuple[int, ...]] | None:
    """The largest difference beyond what is allowed, and its index; None where there is none.

    NaN agrees with NaN, and infinity with the same infinity. Shapes and dtypes must be equal.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return math.inf, ()
    with np.errstate(all="ignore"):
        same = (one == other) | ((one != one) & (other != other))
        off = np.where(same, 0.0, abs(one.astype(np.float64) - other.astype(np.float64)))
        over = np.where(same, 0.0, np.nan_to_num(off - allowed, nan=np.inf))
    if not (over > 0).any():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(over)), one.shape))
    return float(off[index]), index
