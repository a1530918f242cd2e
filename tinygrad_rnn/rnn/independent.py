"""Cells whose units have no connections to each other: IndRNN, and Mozer's focused architecture."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..nn import init
from ..nn.linear import check_features, check_size
from ..nn.module import Module
from ..random import Seed
from ..tensor import Parameter, Tensor
from .cells import check_nonlinearity


class _IndependentCell(Module):
    """What the two share: input weights, one recurrent weight a unit, the initial state."""

    weight_ih: Parameter
    weight_hh: Parameter

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, (batch, hidden_size)."""
        weight = self.weight_hh
        return ops.zeros((batch, self.hidden_size), dtype=weight.dtype, backend=weight.backend)

    def __init__(self, input_size: int, hidden_size: int, rng: Any, dtype: Any, backend: Any) -> None:
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        bound = 1 / math.sqrt(input_size)
        drawn = init.uniform((hidden_size, input_size), rng, low=-bound, high=bound, dtype=dtype)
        self.weight_ih = Parameter(drawn, backend=backend)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class IndRNNCell(_IndependentCell):
    """``h' = f(W x + u ⊙ h + b)``: each unit sees the inputs and itself. [Li et al. 2018, arXiv:1803.04831, eq. 2]

    The derivative over n steps is a product of u f′, unit by unit, so it can be kept from vanishing or exploding by
    bounding u; `DiagonalRTRL` gives its exact gradient online at the cost of one number for each parameter.

    input_size, hidden_size: I and H.  nonlinearity: f, "relu" (the paper's) or "tanh".
    rng: a generator or a seed.  dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters: ``weight_ih`` (H, I), ``weight_hh`` (H,) uniform in 0 to 1, ``bias_ih`` (H,).
    Call: x (B, I), h (B, H) → h' (B, H).

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.IndRNNCell(2, 3, rng=0)
    >>> cell(tg.ones((5, 2)), cell.initial_state(5)).shape
    (5, 3)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "relu",
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_nonlinearity(nonlinearity)
        rng = init.as_generator(rng)
        super().__init__(input_size, hidden_size, rng, dtype, backend)
        self.nonlinearity = nonlinearity
        self.weight_hh = Parameter(init.uniform((hidden_size,), rng, low=0.0, high=1.0, dtype=dtype), backend=backend)
        self.bias_ih = Parameter(init.uniform((hidden_size,), rng, low=0.0, high=0.0, dtype=dtype), backend=backend)

    def forward(self, x: Any, h: Any) -> Tensor:
        """x (B, I), h (B, H) → h' (B, H)."""
        check_features("IndRNNCell", x, self.input_size, self.weight_ih)
        a = x @ ops.matrix_transpose(self.weight_ih) + self.weight_hh * h + self.bias_ih
        return ops.tanh(a) if self.nonlinearity == "tanh" else ops.relu(a)


class FocusedCell(_IndependentCell):
    """``c' = d ⊙ c + tanh(W x + b)``: context units that decay each at its own rate. [Mozer 1989, Complex Systems 3]

    Mozer's focused architecture: a context unit has a connection to itself and to nothing else in its layer, outside
    its nonlinearity, so errors pass back through time without spreading, and fade by d alone. With d near 1 a unit
    holds what it saw over a long lag.

    Arguments and call as in `IndRNNCell`.  Parameters: ``weight_ih`` (H, I), ``weight_hh`` (H,), the decays d, which
    begin uniform in 0.5 to 1, ``bias_ih`` (H,).

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.FocusedCell(2, 3, rng=0)
    >>> cell(tg.ones((5, 2)), cell.initial_state(5)).shape
    (5, 3)
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, rng: Seed = None, dtype: Any = None, backend: Any = None
    ) -> None:
        rng = init.as_generator(rng)
        super().__init__(input_size, hidden_size, rng, dtype, backend)
        self.weight_hh = Parameter(init.uniform((hidden_size,), rng, low=0.5, high=1.0, dtype=dtype), backend=backend)
        self.bias_ih = Parameter(init.uniform((hidden_size,), rng, low=0.0, high=0.0, dtype=dtype), backend=backend)

    def forward(self, x: Any, c: Any) -> Tensor:
        """x (B, I), c (B, H) → c' (B, H)."""
        check_features("FocusedCell", x, self.input_size, self.weight_ih)
        return self.weight_hh * c + ops.tanh(x @ ops.matrix_transpose(self.weight_ih) + self.bias_ih)
