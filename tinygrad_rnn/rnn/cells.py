"""The cells: one step of a recurrence, recorded operation by operation.

A cell has ``initial_state(batch)`` and ``cell(x, state) -> state``; a state is a Tensor, or a tuple of Tensors whose
first is the output. Anything of that shape works wherever these do. Parameters have torch's names, shapes, gate
order and initial values (uniform in ±1/√hidden_size).
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..nn import init
from ..nn.linear import check_features, check_size
from ..nn.module import Module, Seed
from ..ops.sequence import elman_step, gru_step, lstm_step
from ..tape import user_line
from ..tensor import Parameter, Tensor

NONLINEARITIES = ("tanh", "relu")


class Cell(Module):
    """What the built-in cells share: their parameters, their initial state, and the check of their input."""

    gates: int  # rows of a weight, in units of hidden_size
    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        for name, parameter in cell_parameters(self.gates, input_size, hidden_size, bias, rng, dtype, backend).items():
            setattr(self, name, parameter)

    def weights(self) -> tuple[Parameter | None, ...]:
        """w_ih, w_hh, b_ih, b_hh, as the step functions of `ops.sequence` take them."""
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def initial_state(self, batch: int) -> Any:
        """Zeros, (batch, hidden_size)."""
        weight = self.weight_hh
        return ops.zeros((batch, self.hidden_size), dtype=weight.dtype, backend=weight.backend)

    def check(self, x: Any, *state: Any) -> None:
        """Raise unless x is (B, input_size), floating, and each part of the state (B, hidden_size)."""
        check_features(type(self).__name__, x, self.input_size, self.weight_ih)
        for part in state:
            if part.shape[-1:] != (self.hidden_size,) or part.ndim != x.ndim:
                raise ShapeError(
                    f"{type(self).__name__} expected a state of shape {(*x.shape[:-1], self.hidden_size)}; "
                    f"got {part.shape}        at {user_line()}"
                )

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias_ih is not None else ", bias=False")


class ElmanCell(Cell):
    """``h' = f(W_ih x + b_ih + W_hh h + b_hh)``. [Elman 1990]

    input_size, hidden_size: I and H.  nonlinearity: f, "tanh" or "relu".  bias: whether there are b_ih and b_hh.
    rng: a generator or a seed.  dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters: ``weight_ih`` (H, I), ``weight_hh`` (H, H), ``bias_ih``, ``bias_hh`` (H,).
    Call: x (B, I), h (B, H) → h' (B, H).

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.ElmanCell(2, 3, rng=0)
    >>> cell(tg.ones((5, 2)), cell.initial_state(5)).shape
    (5, 3)
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        bias: bool = True,
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_nonlinearity(nonlinearity)
        super().__init__(input_size, hidden_size, bias, rng=rng, dtype=dtype, backend=backend)
        self.nonlinearity = nonlinearity

    def forward(self, x: Any, h: Any) -> Tensor:
        """x (B, I), h (B, H) → h' (B, H)."""
        self.check(x, h)
        return elman_step(x, h, *self.weights(), nonlinearity=self.nonlinearity)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}")


class GRUCell(Cell):
    """Gated recurrent unit, gate order r z n: see `ops.sequence.gru_step` for the equations. [Cho et al. 2014]

    reset_after: whether the reset gate acts after the product with W_hn (torch, cuDNN) or before it (Cho).
    The other arguments as in `ElmanCell`.

    Parameters: ``weight_ih`` (3H, I), ``weight_hh`` (3H, H), ``bias_ih``, ``bias_hh`` (3H,).
    Call: x (B, I), h (B, H) → h' (B, H).
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, rng=rng, dtype=dtype, backend=backend)
        self.reset_after = bool(reset_after)

    def forward(self, x: Any, h: Any) -> Tensor:
        """x (B, I), h (B, H) → h' (B, H)."""
        self.check(x, h)
        return gru_step(x, h, *self.weights(), reset_after=self.reset_after)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


class LSTMCell(Cell):
    """Long short-term memory, gate order i f g o: see `ops.sequence.lstm_step`. [Hochreiter & Schmidhuber 1997]

    The arguments as in `ElmanCell`. For a forget gate that starts open: `nn.init.forget_gate_bias_`.

    Parameters: ``weight_ih`` (4H, I), ``weight_hh`` (4H, H), ``bias_ih``, ``bias_hh`` (4H,).
    Call: x (B, I), state (h, c), each (B, H) → (h', c').
    """

    gates = 4

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Zeros for h and for c, (batch, hidden_size)."""
        return super().initial_state(batch), super().initial_state(batch)

    def forward(self, x: Any, state: Any) -> tuple[Tensor, Tensor]:
        """x (B, I), state (h, c) → (h', c')."""
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            raise ShapeError(f"LSTMCell expected the state (h, c); got {type(state).__name__}        at {user_line()}")
        self.check(x, *state)
        return lstm_step(x, *state, *self.weights())


def check_nonlinearity(name: Any) -> None:
    """Raise ArgumentError unless an Elman network can have this nonlinearity."""
    if name not in NONLINEARITIES:
        raise ArgumentError(f'nonlinearity is "tanh" or "relu"; got {name!r}')


def cell_parameters(
    gates: int, input_size: int, hidden_size: int, bias: bool, rng: Seed, dtype: Any, backend: Any
) -> dict[str, Parameter | None]:
    """The four parameters of a recurrence by name, uniform in ±1/√hidden_size; biases are None without `bias`."""
    rng = init.as_generator(rng)
    bound = 1 / math.sqrt(hidden_size)
    rows = gates * hidden_size
    shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size), "bias_ih": (rows,), "bias_hh": (rows,)}
    return {
        name: Parameter(init.uniform(shape, rng, low=-bound, high=bound, dtype=dtype), backend=backend)
        if bias or len(shape) == 2
        else None
        for name, shape in shapes.items()
    }
