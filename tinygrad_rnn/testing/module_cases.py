"""Cases of the built-in cells and layers: each as a function of its inputs, its state and its parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import nn, ops
from ..errors import ArgumentError
from ..esn import Reservoir
from ..nn import Embedding, LayerNorm, Linear
from ..nn.module import Module
from ..rnn import (
    GRU,
    LSTM,
    RNN,
    Attention,
    DiagonalBiLSTM,
    DiagonalLSTM,
    ElmanCell,
    FocusedCell,
    FourDirections,
    GRUCell,
    IndRNNCell,
    LSTMCell,
    MaskedConv2d,
    ResidualCell,
    RowLSTM,
    StackedCell,
    Tree,
    TreeLSTM,
    TreeRNN,
    UnitaryCell,
    VariationalDropoutCell,
    ZoneoutCell,
    forest,
)
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


def _cell(
    draws: Draws, make: Callable[..., Any], relu: bool = False, *, square: bool = False, bias: bool = True
) -> tuple[Any, tuple[Any, ...]]:
    """One step.  square: input and output are of one size.  bias: whether the cell can be made with and without."""
    batch, inputs, hidden = (draws.integer(1, 2) for _ in range(3))
    options = {"bias": relu or draws.flag()} if bias else {}
    cell = make(hidden if square else inputs, hidden, **options, dtype=draws.dtype)
    inputs = hidden if square else inputs
    _assigned(draws, cell, relu)
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


def _around(wrap: Callable[[Any], Any]) -> Callable[[Draws], tuple[Any, tuple[Any, ...]]]:
    """One cell inside another."""

    def build(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
        inner = draws.pick((ElmanCell, GRUCell, LSTMCell))
        return _cell(draws, lambda *sizes, **options: wrap(inner(*sizes, **options)), square=True)

    return build


def _reservoir(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
    """All of its matrices trainable, the recurrent one dense or sparse."""

    def make(inputs: int, units: int, *, dtype: Any) -> Reservoir:
        w = np.full((units, units), 0.5)
        if draws.flag():
            from scipy.sparse import csr_array

            w = csr_array(np.tril(w))
        return Reservoir(
            inputs, w=w, leak=0.5, bias=np.zeros(units), rng=0, trainable=("leak", "w", "w_in", "bias"), dtype=dtype
        )

    return _cell(draws, make, bias=False)


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


def _attention(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
    steps, batch, asked, known = draws.integer(1, 3), *(draws.integer(1, 2) for _ in range(3))
    layer = _assigned(draws, Attention(asked, known, draws.pick(("additive", "dot")), dtype=draws.dtype))
    lengths = 1 + draws.indices(batch, steps) if draws.flag() else None
    shapes = ((batch, asked), (steps, batch, known))
    return _with_parameters(layer, lambda q, k: layer(q, k, lengths), *(draws.tensor(shape, UNIT) for shape in shapes))


def _tree(make: Callable[..., Any]) -> Callable[[Draws], tuple[Any, tuple[Any, ...]]]:
    def build(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
        inputs, hidden = draws.integer(1, 2), draws.integer(1, 2)
        layer = _assigned(draws, make(inputs, hidden, dtype=draws.dtype))
        leaf, chain = Tree(0), Tree(0, (Tree(0),))
        trees = forest([draws.pick((leaf, chain, Tree(0, (leaf, leaf)), Tree(0, (chain, leaf))))])
        return _with_parameters(layer, lambda xs: layer(xs, trees), draws.tensor((len(trees.labels), inputs), UNIT))

    return build


def _convolution(make: Callable[..., Any], axes: int) -> Callable[[Draws], tuple[Any, tuple[Any, ...]]]:
    def build(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
        batch, channels, filters, kernel = (draws.integer(1, 2) for _ in range(4))
        options = {"padding": draws.pick((0, "same")), "bias": draws.flag()}
        layer = _assigned(draws, make(channels, filters, kernel, **options, dtype=draws.dtype))
        lengths = [kernel + draws.integer(0, 1) for _ in range(axes)]
        return _with_parameters(layer, layer, draws.tensor((batch, channels, *lengths)))

    return build


def _pixels(make: Callable[..., Any]) -> Callable[[Draws], tuple[Any, tuple[Any, ...]]]:
    """A layer over images with a mask."""

    def build(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
        batch, channels, hidden, rows, columns = (draws.integer(1, 2) for _ in range(5))
        layer = _assigned(draws, make(channels, hidden, 3, draws.pick(("A", "B")), dtype=draws.dtype))
        return _with_parameters(layer, layer, draws.tensor((batch, channels, rows, columns), UNIT))

    return build


def _directions(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
    batch, channels, hidden, patch, rows, columns = (draws.integer(1, 2) for _ in range(6))
    kind = draws.pick(("RNN", "GRU", "LSTM"))
    layer = _assigned(draws, FourDirections(channels, hidden, kind, patch, dtype=draws.dtype))
    return _with_parameters(layer, layer, draws.tensor((batch, channels, rows * patch, columns * patch), UNIT))


def _pooling(make: Callable[..., Any], unique: bool) -> Callable[[Draws], tuple[Any, tuple[Any, ...]]]:
    """Windows of 1 or 2; a maximum gets entries that all differ."""

    def build(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
        layer = make(draws.integer(1, 2))
        shape = (draws.integer(1, 2), draws.integer(1, 2), 2, draws.integer(2, 3))
        return _with_parameters(layer, layer, draws.tensor(shape, unique=unique))

    return build


def _batch_norm(training: bool) -> Callable[[Draws], tuple[Any, tuple[Any, ...]]]:
    """While training, over values that are at least 1/16 apart, so that no channel's variance is near 0."""

    def build(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
        channels = draws.integer(1, 2)
        layer = _assigned(draws, nn.BatchNorm(channels, dtype=draws.dtype))
        layer.train() if training else layer.eval()
        shape = (draws.integer(2, 3), channels, *draws.shape(max_dims=1, least=1))
        return _with_parameters(layer, layer, draws.tensor(shape, unique=True))

    return build


def _block(make: Callable[..., Any], axes: int) -> Callable[[Draws], tuple[Any, tuple[Any, ...]]]:
    """A block over features (axes 0) or over channels of images (axes 2)."""

    def build(draws: Draws) -> tuple[Any, tuple[Any, ...]]:
        batch, width = draws.integer(1, 2), draws.integer(1, 2)
        block = _assigned(draws, make(draws, width))
        return _with_parameters(block, block, draws.tensor((batch, width, *[2] * axes), UNIT))

    return build


def _mlp_block(draws: Draws, width: int) -> Module:
    return nn.ResidualMLPBlock(
        width, 2, draws.integer(width, 3), activation=ops.tanh, normalize=draws.flag(), zero_init=False,
        shortcut=draws.pick(("projection", "padded")), rng=0, dtype=draws.dtype,
    )  # fmt: skip


def _conv_block(draws: Draws, width: int) -> Module:
    return nn.ResidualConvBlock(
        width, draws.integer(width, 2), stride=draws.integer(1, 2), preactivation=draws.flag(),
        shortcut=draws.pick(("projection", "padded")), activation=ops.tanh, normalize=False, zero_init=False, rng=0,
        dtype=draws.dtype,
    )  # fmt: skip


MODULES: dict[str, Callable[[Draws], tuple[Any, Sequence[Tensor]]]] = {
    "ElmanCell(tanh)": lambda draws: _cell(draws, ElmanCell),
    "ElmanCell(relu)": lambda draws: _cell(draws, functools.partial(ElmanCell, nonlinearity="relu"), relu=True),
    "GRUCell(after)": lambda draws: _cell(draws, GRUCell),
    "GRUCell(before)": lambda draws: _cell(draws, functools.partial(GRUCell, reset_after=False)),
    "LSTMCell": lambda draws: _cell(draws, LSTMCell),
    "StackedCell": _stack,
    "IndRNNCell": lambda draws: _cell(draws, functools.partial(IndRNNCell, nonlinearity="tanh"), bias=False),
    "FocusedCell": lambda draws: _cell(draws, FocusedCell, bias=False),
    "UnitaryCell(real)": lambda draws: _cell(draws, UnitaryCell, bias=False),
    "UnitaryCell(complex)": lambda draws: _cell(draws, functools.partial(UnitaryCell, kind="complex"), bias=False),
    "ResidualCell": _around(ResidualCell),
    "ZoneoutCell": _around(lambda cell: ZoneoutCell(cell, 0.25, rng=0).eval()),
    "VariationalDropoutCell": _around(lambda cell: VariationalDropoutCell(cell, 0.25, rng=0)),
    "Reservoir": _reservoir,
    "RNN(tanh)": lambda draws: _layer(draws, RNN),
    "RNN(relu)": lambda draws: _layer(draws, functools.partial(RNN, nonlinearity="relu"), relu=True),
    "GRU(after)": lambda draws: _layer(draws, GRU),
    "GRU(before)": lambda draws: _layer(draws, functools.partial(GRU, reset_after=False)),
    "LSTM": lambda draws: _layer(draws, LSTM),
    "Linear": _linear,
    "LayerNorm": _layer_norm,
    "Embedding": _embedding,
    "Attention": _attention,
    "TreeRNN": _tree(TreeRNN),
    "TreeLSTM": _tree(TreeLSTM),
    "MaskedConv2d": _pixels(MaskedConv2d),
    "RowLSTM": _pixels(RowLSTM),
    "DiagonalLSTM": _pixels(DiagonalLSTM),
    "DiagonalBiLSTM": _pixels(DiagonalBiLSTM),
    "FourDirections": _directions,
    "Conv1d": _convolution(nn.Conv1d, 1),
    "Conv2d": _convolution(nn.Conv2d, 2),
    "MaxPool2d": _pooling(nn.MaxPool2d, unique=True),
    "AvgPool2d": _pooling(nn.AvgPool2d, unique=False),
    "BatchNorm(training)": _batch_norm(True),
    "BatchNorm(evaluation)": _batch_norm(False),
    "Residual": _block(lambda draws, width: nn.Residual(Linear(width, width, rng=0, dtype=draws.dtype)), 0),
    "PaddedShortcut": _block(lambda draws, width: nn.PaddedShortcut(width, draws.integer(width, 3), 2), 2),
    "ResidualMLPBlock": _block(_mlp_block, 0),
    "ResidualConvBlock": _block(_conv_block, 2),
    "HighwayBlock": _block(
        lambda draws, width: nn.HighwayBlock(width, activation=ops.tanh, rng=0, dtype=draws.dtype), 0
    ),
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
