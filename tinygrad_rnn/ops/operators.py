"""Operators and methods of Tensor: each is an operation of `ops` under another spelling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..apply import apply, binary
from ..errors import DTypeError
from ..primitive import Primitive
from ..tape import state
from ..tensor import Tensor

_NO_PARAMS: dict[str, Any] = {}
_PLAIN = (int, float, bool, np.ndarray, np.generic)


def _binary(primitive: Primitive) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make ``a + b`` and its reflected form, straight to the engine: this is the hottest path there is."""

    def plain(self: Tensor, other: Any) -> Any:
        if isinstance(other, (Tensor, *_PLAIN)):
            return apply(primitive, (self, other), _NO_PARAMS, state.tape)
        return _refuse(primitive, other)

    def reflected(self: Tensor, other: Any) -> Any:
        if isinstance(other, _PLAIN):
            return apply(primitive, (other, self), _NO_PARAMS, state.tape)
        return _refuse(primitive, other)

    return binary(primitive, plain), reflected


def _refuse(primitive: Primitive, other: Any) -> Any:
    if isinstance(other, (list, tuple)):
        raise DTypeError(f"{primitive.name}: a {type(other).__name__} is not a Tensor; write tg.tensor(...)")
    return NotImplemented


def install() -> None:
    """Give Tensor its operators and methods. Called once, when `ops` is loaded."""
    from . import activation, conversion, elementwise, indexing, linalg, reduction, shape

    for name, primitive in {
        "add": elementwise.add,
        "sub": elementwise.subtract,
        "mul": elementwise.multiply,
        "truediv": elementwise.divide,
        "floordiv": elementwise.floor_divide,
        "mod": elementwise.remainder,
        "and": elementwise.bitwise_and,
        "or": elementwise.bitwise_or,
        "xor": elementwise.bitwise_xor,
        "lshift": elementwise.bitwise_left_shift,
        "rshift": elementwise.bitwise_right_shift,
    }.items():
        operator, reflected = _binary(primitive)
        setattr(Tensor, f"__{name}__", operator)
        setattr(Tensor, f"__r{name}__", reflected)
    for name, primitive in {
        "lt": elementwise.less,
        "le": elementwise.less_equal,
        "gt": elementwise.greater,
        "ge": elementwise.greater_equal,
        "eq": elementwise.equal,
        "ne": elementwise.not_equal,
    }.items():
        setattr(Tensor, f"__{name}__", _binary(primitive)[0])
    methods: dict[str, Any] = {
        "__matmul__": _guarded(linalg.matmul, (Tensor, np.ndarray)),
        "__rmatmul__": _guarded(lambda x1, x2: linalg.matmul(x2, x1), (np.ndarray,)),
        "__pow__": _guarded(elementwise.pow, (Tensor, *_PLAIN)),
        "__rpow__": _guarded(lambda x1, x2: elementwise.pow(x2, x1), _PLAIN),
        "__neg__": lambda self: elementwise.negative(self),
        "__pos__": lambda self: elementwise.positive(self),
        "__abs__": lambda self: elementwise.abs(self),
        "__invert__": lambda self: elementwise.bitwise_invert(self),
        "__getitem__": lambda self, index: indexing.getitem(self, index),
        "__iter__": _iterate,
        "T": property(lambda self: linalg.transpose(self)),
        "mT": property(lambda self: linalg.matrix_transpose(self)),
        "reshape": lambda self, *size: shape.reshape(self, _sizes(size)),
        "transpose": lambda self, *axes: linalg.transpose(self, _sizes(axes) if axes else None),
        "permute_dims": lambda self, *axes: shape.permute_dims(self, _sizes(axes)),
        "flatten": lambda self: shape.reshape(self, (-1,)),
        "squeeze": lambda self, axis=None: shape.squeeze(self, axis),
        "expand_dims": lambda self, axis: shape.expand_dims(self, axis=axis),
        "astype": lambda self, dtype, *, copy=True: conversion.astype(self, dtype, copy=copy),
        "to": lambda self, backend: conversion.to_backend(self, backend),
    }
    for name in ("exp", "log", "sqrt", "tanh", "sin", "cos", "abs", "square", "clip"):
        methods[name] = _method(getattr(elementwise, name))
    for name in ("sum", "mean", "max", "min", "prod", "var", "std", "any", "all", "argmax", "argmin"):
        methods[name] = _reduction(getattr(reduction, name))
    for name in ("sigmoid", "relu", "softmax"):
        methods[name] = _method(getattr(activation, name))
    for name, method in methods.items():
        setattr(Tensor, name, method)


def _sizes(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """``x.reshape(2, 3)`` and ``x.reshape((2, 3))`` mean the same."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def _guarded(function: Callable[..., Any], kinds: tuple[type, ...]) -> Callable[..., Any]:
    """An operator that leaves operands of unknown kinds to their own class."""

    def operator(self: Tensor, other: Any) -> Any:
        return function(self, other) if isinstance(other, kinds) else NotImplemented

    return operator


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__doc__ = f"The same as ``tg.{function.__name__}(x, ...)``.\n\n{function.__doc__}"
    return method


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, axis: Any = None, **kwargs: Any) -> Any:
        return function(self, axis=axis, **kwargs)

    method.__doc__ = f"The same as ``tg.{function.__name__}(x, axis=axis, ...)``.\n\n{function.__doc__}"
    return method


def _iterate(self: Tensor) -> Iterator[Any]:
    if not self.shape:
        raise DTypeError("a 0-d tensor cannot be iterated over")
    return (self[i] for i in range(self.shape[0]))
