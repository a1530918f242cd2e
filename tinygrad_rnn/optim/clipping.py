"""Gradient clipping: limit what one step can do when gradients explode. [Pascanu, Mikolov & Bengio 2013]

`clip_by_norm` and `clip_by_value` take gradients and return new ones; `clip_grad_norm` and
`clip_grad_value` do the same to ``.grad`` of parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .. import backends
from ..apply import placed
from ..errors import ArgumentError, GradientError
from ..tape import user_line
from ..tensor import Tensor

__all__ = ["clip_by_norm", "clip_by_value", "clip_grad_norm", "clip_grad_value", "global_norm"]


def clip_by_norm(gradients: Any, max_norm: float, *, error_if_nonfinite: bool = True) -> tuple[Any, float]:
    """Scale all gradients by one number so that their global norm is at most `max_norm`.

    gradients: a dict or a list of Tensors (or arrays), where None stands for no gradient.
    max_norm: above 0; infinity only measures.
    error_if_nonfinite: whether a norm that is infinite or NaN raises GradientError, which names the gradients at
        fault. With False they are returned as they are, with that norm, so that the caller can skip the step.
    Returns new gradients in the structure given (the same objects if nothing had to be scaled), and the
    norm before clipping: the root of the sum of all squares, in float64.

    >>> import tinygrad_rnn as tg
    >>> clipped, norm = tg.optim.clip_by_norm({"w": tg.tensor([3.0, 4.0])}, 2.5)
    >>> norm, clipped["w"].tolist()
    (5.0, [1.5, 2.0])
    """
    if not isinstance(max_norm, (int, float)) or not max_norm > 0:
        raise ArgumentError(f"max_norm must be above 0; got {max_norm!r}")
    names, listed, rebuild = _taken_apart(gradients)
    norm = global_norm(listed)
    if not math.isfinite(norm):
        if error_if_nonfinite:
            raise GradientError(_blame(names, listed, norm))
        return gradients, norm
    if norm <= max_norm:
        return gradients, norm
    scale = max_norm / norm
    return rebuild([None if each is None else _mapped(each, lambda xp, g: g * scale) for each in listed]), norm


def clip_by_value(gradients: Any, limit: float) -> Any:
    """Limit every entry of every gradient to ``-limit <= entry <= limit``; NaN stays NaN.

    gradients: a dict or a list of Tensors (or arrays), where None stands for no gradient.  limit: above 0.
    Returns new gradients in the structure given.

    >>> import tinygrad_rnn as tg
    >>> tg.optim.clip_by_value([tg.tensor([-3.0, 0.5])], 1.0)
    [Tensor([-1. ,  0.5], dtype=float32)]
    """
    if not isinstance(limit, (int, float)) or not limit > 0:
        raise ArgumentError(f"limit must be above 0; got {limit!r}")
    _, listed, rebuild = _taken_apart(gradients)

    def limited(xp: Any, g: Any) -> Any:
        return xp.minimum(xp.maximum(g, -limit), limit)

    return rebuild([None if each is None else _mapped(each, limited) for each in listed])


def clip_grad_norm(parameters: Any, max_norm: float, *, error_if_nonfinite: bool = True) -> float:
    """`clip_by_norm` on ``.grad`` of parameters; returns the norm before clipping.

    parameters: a Module, or Parameters. Those without a gradient are left alone.

    >>> import tinygrad_rnn as tg
    >>> w = tg.nn.Parameter([0.0, 0.0])
    >>> w.grad = tg.tensor([3.0, 4.0])
    >>> tg.optim.clip_grad_norm([w], 2.5)
    5.0
    >>> w.grad.tolist()
    [1.5, 2.0]
    """
    names, listed = _parameters(parameters)
    gradients = {name: parameter.grad for name, parameter in zip(names, listed)}
    clipped, norm = clip_by_norm(gradients, max_norm, error_if_nonfinite=error_if_nonfinite)
    for name, parameter in zip(names, listed):
        parameter.grad = clipped[name]
    return norm


def clip_grad_value(parameters: Any, limit: float) -> None:
    """`clip_by_value` on ``.grad`` of parameters (a Module, or Parameters).

    >>> import tinygrad_rnn as tg
    >>> w = tg.nn.Parameter([0.0, 0.0])
    >>> w.grad = tg.tensor([3.0, -0.5])
    >>> tg.optim.clip_grad_value([w], 1.0)
    >>> w.grad.tolist()
    [1.0, -0.5]
    """
    _, listed = _parameters(parameters)
    for parameter, gradient in zip(listed, clip_by_value([each.grad for each in listed], limit)):
        parameter.grad = gradient


def global_norm(gradients: Iterable[Any]) -> float:
    """The root of the sum of the squares of all entries, added in float64 and without overflow.

    >>> import tinygrad_rnn as tg
    >>> tg.optim.global_norm([tg.tensor([3.0]), None, tg.tensor([[4.0]])])
    5.0
    """
    alike: dict[Any, list[Any]] = {}  # those that one kernel takes together
    for each in gradients:
        if each is not None:
            xp, g = _array_of(each)
            alike.setdefault((xp, g.dtype), []).append(g)
    norms = [float(xp.kernel("global_norm")(arrays)) for (xp, _), arrays in alike.items()]
    return norms[0] if len(norms) == 1 else math.hypot(*norms)


# ---- small parts


def _taken_apart(gradients: Any) -> tuple[list[Any], list[Any], Any]:
    if isinstance(gradients, dict):
        keys = list(gradients)
        return keys, list(gradients.values()), lambda values: dict(zip(keys, values))
    if isinstance(gradients, (list, tuple)):
        form = type(gradients)
        return list(range(len(gradients))), list(gradients), form
    raise ArgumentError(
        f"expected a dict or a list of gradients; got a {type(gradients).__name__}        at {user_line()}"
    )


def _parameters(parameters: Any) -> tuple[list[Any], list[Any]]:
    if hasattr(parameters, "named_parameters"):
        named = dict(parameters.named_parameters())
        return list(named), list(named.values())
    if isinstance(parameters, Tensor):
        return [0], [parameters]
    if isinstance(parameters, dict):
        raise ArgumentError("clip_grad_norm takes parameters; for a dict of gradients there is clip_by_norm")
    listed = list(parameters)
    for each in listed:
        if not isinstance(each, Tensor):
            raise ArgumentError(f"expected Parameters; got a {type(each).__name__}        at {user_line()}")
    return list(range(len(listed))), listed


def _array_of(gradient: Any) -> tuple[Any, Any]:
    if isinstance(gradient, Tensor):
        return gradient._backend.xp, gradient._array
    if hasattr(gradient, "shape") and hasattr(gradient, "dtype"):
        return backends.get("numpy").xp, gradient
    raise ArgumentError(f"a gradient is a Tensor or an array; got a {type(gradient).__name__}        at {user_line()}")


def _mapped(gradient: Any, change: Any) -> Any:
    xp, array = _array_of(gradient)
    made = change(xp, array)
    return placed(gradient._backend.asarray(made), gradient._backend) if isinstance(gradient, Tensor) else made


def _blame(names: list[Any], listed: list[Any], norm: float) -> str:
    bad = []
    for name, each in zip(names, listed):
        if each is not None:
            xp, g = _array_of(each)
            if not bool(xp.all(xp.isfinite(g))):
                bad.append(str(name))
    return (
        f"the norm of the gradients is {norm}; the entries of {', '.join(bad) or 'none'} are not finite. "
        f"Look for an exploding loss or a too large learning rate, or pass error_if_nonfinite=False and skip the step."
        f"        at {user_line()}"
    )
