"""Several reservoirs as one: stacked in layers, or run in both directions of time; and DeepESN, the model of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..nn.linear import check_size
from ..nn.module import Module
from ..random import as_generator
from ..tape import user_line
from ..tensor import Tensor
from .estimator import seed_of
from .model import ESN
from .reservoir import Reservoir


class DeepReservoir(Module):
    """Reservoirs in layers, each driven by the states of the one below; the state is all of theirs, side by side.

    layers: reservoirs, from the bottom up; the input size of each is the number of units of the one below.

    Call: x (B, I), h (B, N) → h' (B, N), N the number of all units. A cell, as a `Reservoir` is one.
    Source: Gallicchio, Micheli & Pedrelli 2017, "Deep reservoir computing".

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn import esn
    >>> deep = esn.DeepReservoir([esn.Reservoir(1, 20, rng=0), esn.Reservoir(20, 10, rng=1)])
    >>> states, state = deep.run(tg.ones((5, 2, 1)))
    >>> states.shape, state.shape
    ((5, 2, 30), (2, 30))
    """

    feedback_size = 0

    def __init__(self, layers: Sequence[Reservoir]) -> None:
        if not layers:
            raise ArgumentError("a DeepReservoir needs at least one layer")
        for below, above in pairwise(layers):
            if above.input_size != below.units or above.feedback_size:
                raise ShapeError(
                    f"each layer is driven by the {below.units} units of the one below; got a layer with input_size "
                    f"{above.input_size}        at {user_line()}"
                )
        self.layers = list(layers)
        self.input_size = layers[0].input_size
        self.units = sum(layer.units for layer in layers)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, (batch, units)."""
        return ops.concat([layer.initial_state(batch) for layer in self.layers], axis=-1)

    def forward(self, x: Any, h: Any) -> Tensor:
        """x (B, I), h (B, N) → h' (B, N)."""
        states = []
        for layer, before in zip(self.layers, self._parts(h)):
            x = layer(x, before)
            states.append(x)
        return ops.concat(states, axis=-1)

    def run(self, xs: Any, state: Any = None, *, lengths: Any = None, reverse: bool = False) -> tuple[Tensor, Tensor]:
        """Run layer after layer over a sequence; arguments and results as in `Reservoir.run`."""
        parts = [None] * len(self.layers) if state is None else self._parts(self.layers[0]._cast(state))
        results = []
        for layer, before in zip(self.layers, parts):
            results.append(layer.run(xs, before, lengths=lengths, reverse=reverse))
            xs = results[-1][0]
        states, last = zip(*results)
        return ops.concat(list(states), axis=-1), ops.concat(list(last), axis=-1)

    def stepper(self) -> Callable[[Any, Any], Any]:
        """A function (x (I,), h (N,)) → h' (N,) on NumPy arrays, as `Reservoir.stepper`."""
        steps = [layer.stepper() for layer in self.layers]
        cuts = np.cumsum([layer.units for layer in self.layers])[:-1]

        def step(x: Any, h: Any) -> Any:
            states = []
            for one, before in zip(steps, np.split(h, cuts)):
                x = one(x, before)
                states.append(x)
            return np.concatenate(states)

        return step

    def _parts(self, h: Any) -> Any:
        cuts = np.cumsum([0] + [layer.units for layer in self.layers])
        return [h[..., start:end] for start, end in pairwise(cuts)]


class BidirectionalReservoir(Module):
    """One reservoir forward in time and another backward, their states side by side. [Schuster & Paliwal 1997]

    forward_reservoir, backward_reservoir: two reservoirs, or deep ones, of one input size.
    Each state knows the whole series, so this is no cell: it cannot run step by step, or generate.
    """

    def __init__(self, forward_reservoir: Any, backward_reservoir: Any) -> None:
        self.forward_reservoir, self.backward_reservoir = forward_reservoir, backward_reservoir
        self.units = forward_reservoir.units + backward_reservoir.units

    def run(self, xs: Any, state: Any = None, *, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Run both over a sequence. As `Reservoir.run`, but always from the zero state.

        Returns states (T, B, N), and the last ones of both directions (B, N): backward, that at the first step.
        """
        if state is not None:
            raise ArgumentError("a bidirectional reservoir sees the whole series at once: it goes on from no state")
        there = self.forward_reservoir.run(xs, lengths=lengths)
        back = self.backward_reservoir.run(xs, lengths=lengths, reverse=True)
        states, last = zip(there, back)
        return ops.concat(list(states), axis=-1), ops.concat(list(last), axis=-1)


class DeepESN(ESN):
    """An echo-state network on several layers of reservoirs, or on reservoirs of both directions, or on both.

    units: of each layer.  layers: their number.
    leak, spectral_radius: for all layers, or a list with one for each.
    input_scaling: of the first layer.  inter_scaling: of the others, divided by √units, for as many states come in.
    bidirectional: a second stack runs backward in time; the model then sees the whole series, and cannot generate.
    The readout sees the states of all layers. The other arguments, and the methods, as in `ESN`.

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> x = np.sin(0.2 * np.arange(301.0))[:, None]
    >>> model = esn.DeepESN(20, layers=3, washout=30, random_state=0).fit(x[:-1], x[1:])
    >>> model.reservoir_.units, model.score(x[:-1], x[1:]) > 0.9
    (60, True)
    """

    feedback = False
    feedback_scaling = 1.0
    w = None

    def __init__(
        self,
        units: int = 100,
        layers: int = 2,
        *,
        leak: Any = 1.0,
        spectral_radius: Any = 0.9,
        input_scaling: float = 1.0,
        inter_scaling: float = 1.0,
        bias_scaling: float = 0.2,
        connectivity: float = 0.1,
        topology: Any = "random",
        nonlinearity: str = "tanh",
        noise: float = 0.0,
        bidirectional: bool = False,
        ridge: float = 1e-8,
        solver: str = "svd",
        input_to_readout: bool = False,
        washout: int = 0,
        dtype: Any = "float64",
        backend: Any = None,
        random_state: Any = None,
    ) -> None:
        self.units = units
        self.layers = layers
        self.leak = leak
        self.spectral_radius = spectral_radius
        self.input_scaling = input_scaling
        self.inter_scaling = inter_scaling
        self.bias_scaling = bias_scaling
        self.connectivity = connectivity
        self.topology = topology
        self.nonlinearity = nonlinearity
        self.noise = noise
        self.bidirectional = bidirectional
        self.ridge = ridge
        self.solver = solver
        self.input_to_readout = input_to_readout
        self.washout = washout
        self.dtype = dtype
        self.backend = backend
        self.random_state = random_state

    def _make_reservoir(self, features: int) -> Any:
        check_size("layers", self.layers)
        rng = as_generator(seed_of(self.random_state))
        names = ("bias_scaling", "connectivity", "topology", "nonlinearity", "noise", "dtype", "backend")
        options = {name: getattr(self, name) for name in names}

        def stack() -> DeepReservoir:
            made: list[Reservoir] = []
            for k in range(self.layers):
                made.append(
                    Reservoir(
                        made[-1].units if made else features,
                        self.units,
                        leak=self._of_layer("leak", k),
                        spectral_radius=self._of_layer("spectral_radius", k),
                        input_scaling=self.inter_scaling / made[-1].units ** 0.5 if made else self.input_scaling,
                        rng=rng,
                        **options,
                    )
                )
            return DeepReservoir(made)

        return BidirectionalReservoir(stack(), stack()) if self.bidirectional else stack()

    def _of_layer(self, name: str, layer: int) -> Any:
        value = getattr(self, name)
        if not isinstance(value, (list, tuple)):
            return value
        if len(value) != self.layers:
            raise ArgumentError(
                f"{name} is one value, or a list with one for each of {self.layers} layers; got {value}"
            )
        return value[layer]

    def _stepper(self) -> Any:
        if self.bidirectional:
            raise ArgumentError("a bidirectional model needs the whole series, and cannot generate")
        return super()._stepper()
