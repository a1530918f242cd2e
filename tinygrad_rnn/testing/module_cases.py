"""Cases of the built-in cells and layers: each as a function of its inputs, its state and its parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..nn import Embedding, LayerNorm, Linear
from ..nn.module import Module
from ..rnn import GRU, LSTM, RNN, ElmanCell, GRUCell, LSTMCell, StackedCell
from ..rnn.state import leaves_of, like_state
from ..tensor import Tensor, asarray
from .domains import Case
from .draws import UNIT, Draws, Range, Seeded, drawn

__all__ = ["MODULES", "module_case", "module_cases"]

SMALL = Range(-0.5, 0.5)
TINY = Range(-(2.0**-4), 2.0**-4, 2.0**-7)
AWAY = Range(-33 / 16, 33 / 16, 33 / 16)  # ±33/32


def _with_parameters(module: Module, fn: Callable[..., Any], *arguments: Any) -> tuple[Any, tuple[Any, ...]]:
    """A function of the arguments and the parameters, which puts the parameters in for one call; and its inputs."""
    names = [name for name, _ in module.named_parameters()]

    def call(*inputs: Any) -> Any:
        with _replaced(module, dict(zip(names, inputs[len(arguments) :]))):
            return fn(*inputs[: len(arguments)])

    call.__qualname__ = call.__name__ = type(module).__name__
    return call, (*arguments, *(asarray(parameter.detach()) for parameter in module.parameters()))


@contextmanager
def _replaced(module: Module, values: dict[str, Any]) -> Iterator[None]:
    """Let a module use other Tensors as its parameters."""
    before = dict(module.named_parameters())
    places = {name: _owner(module, name) for name in values}
    try:
        for name, (owner, key) in places.items():
            object.__setattr__(owner, key, values[name])
        yield
    finally:
        for name, (owner, key) in places.items():
            object.__setattr__(owner, key, before[name])


def _owner(module: Any, name: str) -> tuple[Any, str]:
    """The module that holds a parameter of a dotted name, and its attribute there."""
    *path, key = name.split(".")
    for step in path:
        module = module[int(step)] if step.isdigit() else getattr(module, step)
    return module, key


def _assigned(draws: Draws, module: Module, relu: bool = False) -> Module:
    """Give every parameter values of the lattice; with relu, ones that keep it away from its kink."""
    for name, parameter in module.named_parameters():
        within = (AWAY if "bias_ih" in name else TINY) if relu else SMALL
        parameter.assign(draws.tensor(parameter.shape, within).numpy())
    return module


def _cell(draws: Draws, make: Callable[..., Any], relu: bool = False) -> tuple[Any, tuple[Any, ...]]:
    batch, inputs, hidden = (draws.integer(1, 2) for _ in range(3))
    cell = _assigned(draws, make(inputs, hidden, bias=relu or draws.flag(), dtype=draws.dtype), relu)
    form = cell.initial_state(batch)
    state = [draws.tensor(leaf.shape, UNIT) for leaf in leaves_of(form)]

    def step(x: Any, *leaves: Any) -> Any:
        return cell(x, like_state(form, leaves))

    return _with_parameters(cell, step, draws.tensor((batch, inputs), UNIT), *state)


def _stack(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
    def make(inputs: int, hidden: int, *, bias: bool, dtype: Any) -> StackedCell:
        lower, upper = (draws.pick((ElmanCell, GRUCell, LSTMCell)) for _ in range(2))
        return StackedCell([lower(inputs, 2, bias=bias, dtype=dtype), upper(2, hidden, bias=bias, dtype=dtype)])

    return _cell(draws, make)


def _layer(draws: Draws, make: Callable[..., Any], relu: bool = False) -> tuple[Any, tuple[Any, ...]]:
    steps, batch, inputs, hidden = draws.integer(1, 3), *(draws.integer(1, 2) for _ in range(3))
    options = {"num_layers": draws.pick((1, 2)), "bidirectional": draws.flag(), "bias": relu or draws.flag()}
    layer = make(inputs, hidden, **options, learned_initial_state=draws.flag(), dtype=draws.dtype)
    _assigned(draws, layer, relu)
    lengths = 1 + draws.indices(batch, steps) if draws.flag() else None

    def run(xs: Any) -> Any:
        ys, state = layer(xs, lengths=lengths)
        return (ys, *leaves_of(state))

    return _with_parameters(layer, run, draws.tensor((steps, batch, inputs), UNIT))


def _linear(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
    inputs, outputs = draws.integer(1, 3), draws.integer(1, 3)
    layer = _assigned(draws, Linear(inputs, outputs, bias=draws.flag(), dtype=draws.dtype))
    return _with_parameters(layer, layer, draws.tensor((*draws.shape(least=1), inputs)))


def _layer_norm(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
    shape = draws.shape(min_dims=1, max_dims=3, least=1)
    layer = _assigned(draws, LayerNorm(shape[-1], dtype=draws.dtype))
    return _with_parameters(layer, layer, draws.tensor(shape))


def _embedding(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
    """Without a padding symbol: that one's vector has no gradient on purpose."""
    symbols = draws.integer(1, 3)
    layer = _assigned(draws, Embedding(symbols, draws.integer(1, 3), dtype=draws.dtype))
    shape = draws.shape(least=1)
    ids = asarray(draws.indices(int(np.prod(shape)), symbols).reshape(shape))
    return _with_parameters(layer, lambda: layer(ids))


MODULES: dict[str, Callable[[Draws], tuple[Any, Sequence[Tensor]]]] = {
    "ElmanCell(tanh)": lambda draws: _cell(draws, ElmanCell),
    "ElmanCell(relu)": lambda draws: _cell(draws, functools.partial(ElmanCell, nonlinearity="relu"), relu=True),
    "GRUCell(after)": lambda draws: _cell(draws, GRUCell),
    "GRUCell(before)": lambda draws: _cell(draws, functools.partial(GRUCell, reset_after=False)),
    "LSTMCell": lambda draws: _cell(draws, LSTMCell),
    "StackedCell": _stack,
    "RNN(tanh)": lambda draws: _layer(draws, RNN),
    "RNN(relu)": lambda draws: _layer(draws, functools.partial(RNN, nonlinearity="relu"), relu=True),
    "GRU(after)": lambda draws: _layer(draws, GRU),
    "GRU(before)": lambda draws: _layer(draws, functools.partial(GRU, reset_after=False)),
    "LSTM": lambda draws: _layer(draws, LSTM),
    "Linear": _linear,
    "LayerNorm": _layer_norm,
    "Embedding": _embedding,
}
"""The built-in cells and layers by name, each a function from `Draws` to ``(fn, inputs)``."""


def module_case(name: str, rng: np.random.Generator | int, *, dtype: Any = "float64") -> Case:
    """Draw a case of a cell or layer; arguments as in `domains.case`.

    >>> module_case("Linear", 0).fn.__name__
    'Linear'
    """
    fn, inputs = _known(name)(Seeded(np.random.default_rng(rng), dtype))
    return Case(name, fn, tuple(inputs))


def module_cases(name: str, *, dtype: Any = "float64") -> Any:
    """The Hypothesis strategy of the cases of a cell or layer; arguments as in `domains.cases`."""
    from hypothesis import strategies as st

    build = _known(name)

    @st.composite
    def found(draw: Any) -> Case:
        fn, inputs = build(drawn(draw, dtype))
        return Case(name, fn, tuple(inputs))

    return found()


def _known(name: str) -> Callable[[Draws], tuple[Any, Sequence[Tensor]]]:
    if name not in MODULES:
        raise ArgumentError(f'there is no cell or layer "{name}" here; there are {", ".join(MODULES)}')
    return MODULES[name]
