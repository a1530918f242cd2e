"""Penalties on weights, to be added to a loss; and the one that dropout stands for in a linear model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..tape import user_line
from ..tensor import Parameter, Tensor
from .module import Module


def l1_penalty(of: Module | Iterable[Parameter], strength: float) -> Tensor:
    """``strength · Σ |w|``: pulls every weight by the same amount, and many of them to zero. [Tibshirani 1996]

    of: a Module, whose weights of two axes or more count (biases and the scales of norms go free); or the
        Parameters themselves.
    strength: at least 0.

    Returns a scalar to add to the loss; the derivative of |w| at 0 is 0.
    Raises ArgumentError for a negative strength, and where nothing is left to penalise.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.l1_penalty([tg.nn.Parameter([[1.0, -2.0]])], 0.5).item()
    1.5
    """
    return _summed("l1_penalty", of, strength, ops.abs)


def l2_penalty(of: Module | Iterable[Parameter], strength: float) -> Tensor:
    """``strength / 2 · Σ w²``: its gradient is ``strength · w``, weight decay as a term of a loss. [Krogh & Hertz 1991]

    With SGD this equals the optimisers' ``weight_decay=strength``; with Adam it does not, see AdamW [Loshchilov &
    Hutter 2019].  The arguments and errors are those of `l1_penalty`.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.l2_penalty([tg.nn.Parameter([[1.0, -2.0]])], 0.5).item()
    1.25
    """
    return _summed("l2_penalty", of, strength, lambda w: 0.5 * ops.square(w))


def _summed(name: str, of: Any, strength: float, cost: Any) -> Tensor:
    if not strength >= 0:
        raise ArgumentError(f"{name} strength must be at least 0; got {strength!r}        at {user_line()}")
    weights = [each for each in of.parameters() if each.ndim > 1] if isinstance(of, Module) else list(of)
    if not weights:
        raise ArgumentError(
            f"{name} found no weight of two axes or more in {type(of).__name__}; pass a list of Parameters"
            f"        at {user_line()}"
        )
    total = ops.sum(cost(weights[0]))
    for weight in weights[1:]:
        total = total + ops.sum(cost(weight))
    return total * strength


def adaptive_weight_decay(weight: Any, x: Any, p: float) -> Tensor:
    """What dropout of a linear model's inputs adds to its squared error, on average over the masks.

    With y = Σ_j w_j m_j x_j / (1 - p), m_j = 0 with probability p, and the loss J = (y - t)² / 2,

        mean of J over masks = J without dropout + p / (2 (1 - p)) · Σ_j w_j² x_j²

    so every weight decays in proportion to the mean square of its input. [Wager, Wang & Liang 2013; Srivastava
    et al. 2014, sec. 9.1]

    weight: (I,) or (O, I), as of a Linear.  x: (N, I), the inputs.  p: probability of dropping, from 0 to below 1.
    Returns the additional loss, a scalar: summed over outputs, averaged over the N examples.
    Raises ShapeError if the shapes don't fit, ArgumentError for p outside [0, 1).

    >>> import tinygrad_rnn as tg
    >>> tg.nn.adaptive_weight_decay(tg.tensor([2.0, 1.0]), tg.tensor([[1.0, 4.0], [1.0, 0.0]]), 0.5).item()
    6.0
    """
    if not 0 <= p < 1:
        raise ArgumentError(f"adaptive_weight_decay p lies from 0 to below 1; got {p!r}        at {user_line()}")
    if x.ndim != 2 or weight.ndim not in (1, 2) or weight.shape[-1] != x.shape[1]:
        raise ShapeError(
            f"adaptive_weight_decay expected a weight (I,) or (O, I) and x (N, I); got {tuple(weight.shape)} and "
            f"{tuple(x.shape)}        at {user_line()}"
        )
    squares = ops.mean(ops.square(x), axis=0)
    return ops.sum(ops.square(weight) * squares) * (p / (2 * (1 - p)))
