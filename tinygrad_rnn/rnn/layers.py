"""RNN, GRU and LSTM over whole sequences: stacked, bidirectional, padded; torch's arguments, layouts and names.

Every layer and direction is one record on the tape (`ops.sequence`); ``fused=False`` records it cell by cell.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .. import ops
from ..apply import placed
from ..errors import DTypeError, ShapeError
from ..nn import init
from ..nn.dropout import Dropout
from ..nn.linear import check_features, check_size
from ..nn.module import Module, Seed
from ..ops.sequence import (
    elman_sequence,
    elman_step,
    gru_sequence,
    gru_step,
    lstm_sequence,
    lstm_step,
)
from ..tape import scope, user_line
from ..tensor import Parameter, Tensor, asarray
from .cells import cell_parameters, check_nonlinearity
from .scan import scan
from .state import check_lengths, check_sequence


class Recurrent(Module):
    """What RNN, GRU and LSTM share: everything but the step.

    A subclass says how many ``gates`` a weight has and how many ``parts`` a state, and how one layer runs.
    """

    gates: int
    parts = 1
    weight_ih_l0: Parameter
    weight_hh_l0: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        learned_initial_state: bool = False,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            check_size(name, size)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bool(bias), bool(batch_first), bool(bidirectional)
        self._suffixes = tuple(
            tuple([f"l{layer}", f"l{layer}_reverse"][: self.directions]) for layer in range(num_layers)
        )
        rng = init.as_generator(rng)
        self.between_layers = Dropout(dropout, rng=rng)
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * self.directions
            for suffix in self._suffixes[layer]:
                made = cell_parameters(self.gates, inputs, hidden_size, self.bias, rng, dtype, backend)
                for name, parameter in made.items():
                    setattr(self, f"{name}_{suffix}", parameter)
        self.learned_initial_state = bool(learned_initial_state)
        if learned_initial_state:
            for name in ("h_0", "c_0")[: self.parts]:
                start = init.zeros((num_layers * self.directions, hidden_size), dtype=dtype)
                setattr(self, name, Parameter(start, backend=backend))

    @property
    def directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 2 if self.bidirectional else 1

    @property
    def dropout(self) -> float:
        """Probability of dropping an output between two layers, while training."""
        return self.between_layers.p

    def forward(self, xs: Any, state: Any = None, *, lengths: Any = None, fused: bool = True) -> tuple[Tensor, Any]:
        """Run over a sequence.

        xs: (T, B, I); with batch_first (B, T, I); without a batch (T, I).
        state: h, for the LSTM (h, c): each (num_layers · directions, B, H), without a batch (…, H).
            Default: zeros, or the learned initial state.
        lengths: (B,) integers in 1..T. Past its length a lane's outputs are zero, its state stays as it was at the
            end, and the reverse direction runs inside the length.
        fused: one record a layer and direction; False: every operation of every step is recorded.

        Returns ys (T, B, H · directions), in the layout of xs, and the state after the last step.
        Raises ShapeError, DTypeError, DataError (T = 0 or B = 0) and ArgumentError (lengths out of range).
        """
        name = type(self).__name__
        xs = xs if isinstance(xs, Tensor) else asarray(xs)
        shape = xs.shape
        if shape[-1:] != (self.input_size,) or xs.dtype != self.weight_hh_l0.dtype:
            check_features(name, xs, self.input_size, self.weight_ih_l0)
            self._check_dtype("xs", xs)
        batched = len(shape) == 3
        if not batched and len(shape) != 2:
            layout = "(B, T, I)" if self.batch_first else "(T, B, I)"
            raise ShapeError(f"{name} expected xs of shape {layout} or (T, I); got {xs.shape}        at {user_line()}")
        if not batched:
            xs = ops.expand_dims(xs, axis=1)
        elif self.batch_first:
            xs = ops.permute_dims(xs, (1, 0, 2))
        steps, batch = xs.shape[:2]
        if steps == 0 or batch == 0:
            check_sequence(xs)
        ends = check_lengths(lengths, steps, batch)
        starts = self._starts(state, batch, batched)
        finals: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer > 0:
                xs = self.between_layers(xs)
            outputs = []
            for suffix in self._suffixes[layer]:
                with scope(suffix):
                    start = starts[len(finals)]
                    ys, final = self._run(xs, start, suffix, ends, suffix.endswith("_reverse"), fused)
                outputs.append(ys)
                finals.append(final)
            xs = outputs[0] if len(outputs) == 1 else ops.concat(outputs, axis=2)
        parts = list(finals[0]) if len(finals) == 1 else [ops.concat(list(each)) for each in zip(*finals)]
        if not batched:
            xs, parts = ops.squeeze(xs, 1), [ops.squeeze(part, 1) for part in parts]
        elif self.batch_first:
            xs = ops.permute_dims(xs, (1, 0, 2))
        return xs, parts[0] if self.parts == 1 else tuple(parts)

    def _run(
        self, xs: Tensor, start: tuple[Tensor, ...], suffix: str, lengths: Any, reverse: bool, fused: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One layer in one direction from a state: outputs, and the parts of the state at the end, each (1, B, H)."""
        weights = [getattr(self, name) for name in _weight_names(suffix)]
        if fused:
            ys, *last = self._sequence(xs, *start, *weights, lengths=lengths, reverse=reverse)
            return ys, tuple(last)

        def cell(x: Tensor, state: Any) -> Any:
            return self._step(x, *(state if isinstance(state, tuple) else (state,)), *weights)

        ys, last = scan(cell, xs, start if self.parts > 1 else start[0], lengths=lengths, reverse=reverse)
        return ys, tuple([ops.stack([part]) for part in (last if self.parts > 1 else (last,))])

    _sequence: Callable[..., Any]  # the fused form
    _step: Callable[..., Any]  # one step of the composed form

    def _starts(self, state: Any, batch: int, batched: bool) -> list[tuple[Tensor, ...]]:
        """The state of every layer and direction before the first step, each part (B, H)."""
        rows = self.num_layers * self.directions
        weight = self.weight_hh_l0
        if state is None:
            if self.learned_initial_state:
                learned = [ops.unstack(getattr(self, name)) for name in ("h_0", "c_0")[: self.parts]]
                one = (batch, self.hidden_size)
                return list(zip(*[[ops.broadcast_to(row, one) for row in part] for part in learned]))
            backend = weight._backend
            zeros = placed(backend.xp.zeros((batch, self.hidden_size), dtype=weight.dtype), backend)
            return [(zeros,) * self.parts] * rows
        parts = state if isinstance(state, (tuple, list)) else (state,)
        wanted_shape = (rows, batch, self.hidden_size) if batched else (rows, self.hidden_size)
        if len(parts) != self.parts or any(tuple(part.shape) != wanted_shape for part in parts):
            wanted = f"a state of shape {wanted_shape}" if self.parts == 1 else f"(h, c), each of shape {wanted_shape}"
            raise ShapeError(
                f"{type(self).__name__} expected {wanted}; got {', '.join(str(part.shape) for part in parts)}"
                f"        at {user_line()}"
            )
        for part in parts:
            self._check_dtype("a state", part)
        if not batched:
            parts = [ops.expand_dims(part, axis=1) for part in parts]
        return list(zip(*[ops.unstack(part) for part in parts]))

    def _check_dtype(self, what: str, x: Any) -> None:
        """Raise unless x has the weights' dtype, which both forms would otherwise treat differently."""
        wanted = self.weight_hh_l0.dtype
        if x.dtype != wanted:
            raise DTypeError(
                f"{type(self).__name__} got {what} of {x.dtype} and weights of {wanted}. "
                f"Cast one of them: .astype(tg.{wanted})        at {user_line()}"
            )

    def extra_repr(self) -> str:
        words = [str(self.input_size), str(self.hidden_size)]
        if self.num_layers > 1:
            words.append(f"num_layers={self.num_layers}")
        if not self.bias:
            words.append("bias=False")
        flags = ("batch_first", "bidirectional", "learned_initial_state")
        words += [f"{name}=True" for name in flags if getattr(self, name)]
        return ", ".join(words)


@functools.cache
def _weight_names(suffix: str) -> tuple[str, ...]:
    return tuple(f"{name}_{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


_ARGUMENTS = """
    input_size, hidden_size: I and H.  num_layers: how many stand on top of each other.
    bias: whether there are biases.  batch_first: whether xs and ys are (B, T, ...) instead of (T, B, ...).
    dropout: probability of dropping an output between two layers, while training.
    bidirectional: whether a second set of weights runs from the end; its outputs are appended to the first's.
    learned_initial_state: whether the state before the first step is a parameter (``h_0``, for the LSTM ``c_0`` too,
        (num_layers · directions, H), zero at first), shared by all lanes.
    rng: a generator or a seed, for the initial weights (uniform in ±1/√H, as torch) and for dropout.
    dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters of layer k: ``weight_ih_l{k}``, ``weight_hh_l{k}``, ``bias_ih_l{k}``, ``bias_hh_l{k}``, and the same with
    ``_reverse``: torch's names, shapes and gate order, so a state_dict goes both ways.
    See `Recurrent.forward` for the call.
"""


class RNN(Recurrent):
    __doc__ = f"""Elman network, ``h' = f(W_ih x + b_ih + W_hh h + b_hh)``. [Elman 1990]

    nonlinearity: f, "tanh" or "relu".{_ARGUMENTS}
    >>> import tinygrad_rnn as tg
    >>> layer = tg.rnn.RNN(2, 3, rng=0)
    >>> ys, h = layer(tg.ones((5, 1, 2)))
    >>> ys.shape, h.shape
    ((5, 1, 3), (1, 1, 3))
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        **options: Any,
    ) -> None:
        check_nonlinearity(nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, **options)
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}")

    def _sequence(self, *args: Any, **kwargs: Any) -> Any:
        return elman_sequence(*args, nonlinearity=self.nonlinearity, **kwargs)

    def _step(self, *args: Any) -> Any:
        return elman_step(*args, nonlinearity=self.nonlinearity)


class GRU(Recurrent):
    __doc__ = f"""Gated recurrent unit, gate order r z n; equations in `ops.sequence.gru_step`. [Cho et al. 2014]

    reset_after: whether the reset gate acts after the product with W_hn (torch, cuDNN) or before it (Cho).{_ARGUMENTS}
    >>> import tinygrad_rnn as tg
    >>> layer = tg.rnn.GRU(2, 3, num_layers=2, bidirectional=True, rng=0)
    >>> ys, h = layer(tg.ones((5, 4, 2)), lengths=[5, 3, 2, 1])
    >>> ys.shape, h.shape
    ((5, 4, 6), (4, 4, 3))
    """

    gates = 3

    def __init__(self, *args: Any, reset_after: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.reset_after = bool(reset_after)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")

    def _sequence(self, *args: Any, **kwargs: Any) -> Any:
        return gru_sequence(*args, reset_after=self.reset_after, **kwargs)

    def _step(self, *args: Any) -> Any:
        return gru_step(*args, reset_after=self.reset_after)


class LSTM(Recurrent):
    __doc__ = f"""Long short-term memory, gate order i f g o. [Hochreiter & Schmidhuber 1997; Gers et al. 2000]
{_ARGUMENTS}
    The equations are those of `ops.sequence.lstm_step`.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.rnn.LSTM(2, 3, batch_first=True, rng=0)
    >>> with tg.Tape() as tape:
    ...     ys, (h, c) = layer(tg.ones((4, 5, 2)))
    >>> ys.shape, h.shape, [record.primitive.name for record in tape if record.primitive.name == "lstm_sequence"]
    ((4, 5, 3), (1, 4, 3), ['lstm_sequence'])
    """

    gates = 4
    parts = 2

    def _sequence(self, *args: Any, **kwargs: Any) -> Any:
        return lstm_sequence(*args, **kwargs)

    def _step(self, *args: Any) -> Any:
        return lstm_step(*args)
