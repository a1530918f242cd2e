"""Dtypes, constants, and what the array API standard (2024.12) lets a program ask about a namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..tensor import DTYPES, Tensor, as_dtype, default_dtype

__all__ = [
    "__array_api_version__", "__array_namespace_info__", "bool", "can_cast", "e", "finfo", "float32", "float64",
    "iinfo", "inf", "int32", "int64", "isdtype", "nan", "newaxis", "pi", "result_type",
]  # fmt: skip

__array_api_version__ = "2024.12"

float32, float64 = DTYPES["float32"], DTYPES["float64"]
int32, int64 = DTYPES["int32"], DTYPES["int64"]
bool = DTYPES["bool"]
e, pi, inf, nan, newaxis = np.e, np.pi, np.inf, np.nan, None

_KINDS = {
    "bool": ("bool",),
    "signed integer": ("int32", "int64"),
    "unsigned integer": (),
    "integral": ("int32", "int64"),
    "real floating": ("float32", "float64"),
    "complex floating": (),
    "numeric": ("int32", "int64", "float32", "float64"),
}


def _dtype_of(x: Any) -> Any:
    return x.dtype if hasattr(x, "dtype") else as_dtype(x)


@dataclass(frozen=True)
class FloatLimits:
    """What `finfo` answers, in Python numbers."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: Any


@dataclass(frozen=True)
class IntegerLimits:
    """What `iinfo` answers."""

    bits: int
    max: int
    min: int
    dtype: Any


def finfo(type: Any, /) -> FloatLimits:
    """Limits of a floating dtype: bits, eps, max, min, smallest_normal, dtype.

    >>> import tinygrad_rnn as tg
    >>> tg.finfo(tg.float32).bits
    32
    """
    dtype = _dtype_of(type)
    if dtype.kind != "f":
        raise DTypeError(f"finfo needs a floating dtype; got {dtype}")
    found = np.finfo(dtype)
    return FloatLimits(
        bits=int(found.bits),
        eps=float(found.eps),
        max=float(found.max),
        min=float(found.min),
        smallest_normal=float(found.smallest_normal),
        dtype=dtype,
    )


def iinfo(type: Any, /) -> IntegerLimits:
    """Limits of an integer dtype: bits, max, min.

    >>> import tinygrad_rnn as tg
    >>> tg.iinfo(tg.int32).max
    2147483647
    """
    dtype = _dtype_of(type)
    if dtype.kind != "i":
        raise DTypeError(f"iinfo needs an integer dtype; got {dtype}")
    found = np.iinfo(dtype)
    return IntegerLimits(bits=found.bits, max=int(found.max), min=int(found.min), dtype=dtype)


def isdtype(dtype: Any, kind: Any) -> Any:
    """Whether a dtype is of a kind: a dtype, a name such as "real floating", or a tuple of them.

    >>> import tinygrad_rnn as tg
    >>> tg.isdtype(tg.float32, ("integral", "real floating"))
    True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, each) for each in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ArgumentError(f"isdtype: kind must be one of {', '.join(_KINDS)}; got {kind!r}")
        return as_dtype(dtype).name in _KINDS[kind]
    return as_dtype(dtype) == as_dtype(kind)


def can_cast(from_: Any, to: Any, /) -> Any:
    """Whether every value of one dtype (or of a tensor's) can be held by another.

    >>> import tinygrad_rnn as tg
    >>> tg.can_cast(tg.float32, tg.float64)
    True
    """
    return np.can_cast(_dtype_of(from_), as_dtype(to))


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype of an operation on these tensors, dtypes and (weak) Python numbers.

    >>> import tinygrad_rnn as tg
    >>> tg.result_type(tg.float32, tg.float64)
    dtype('float64')
    """
    plain = [x.dtype if isinstance(x, (Tensor, np.ndarray)) else x for x in arrays_and_dtypes]
    if not plain:
        raise ArgumentError("result_type needs at least one tensor or dtype")
    return np.result_type(*plain)


class _Info:
    """What the standard's inspection functions answer."""

    def capabilities(self) -> dict[str, Any]:
        """Which optional behaviour there is."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Where tensors live unless a backend says otherwise."""
        return "cpu"

    def devices(self) -> list[str]:
        """Devices of the standard's kind; accelerators are backends here."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes that creation functions choose."""
        return {"real floating": default_dtype(), "integral": int64, "indexing": int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """The supported dtypes, all of them or of a kind."""
        return {name: dtype for name, dtype in DTYPES.items() if kind is None or isdtype(dtype, kind)}


def __array_namespace_info__() -> _Info:  # noqa: N807  (the standard's name)
    """The standard's inspection object."""
    return _Info()
