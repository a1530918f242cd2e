"""How derivatives pass through the layers of a model: singular values of Jacobians, and gradient norms by layer.

The derivative of a deep network is the product of its layers' Jacobians. Where their singular values lie below 1 it
vanishes, where above it explodes; a residual block's are those of I + ∂F/∂x. [Pascanu, Mikolov & Bengio 2013; Saxe,
McClelland & Ganguli 2014; He et al. 2016, "Identity mappings in deep residual networks"]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, GradientError, ShapeError
from ..nn.module import Module
from ..random import Seed, as_generator
from ..tape import Tape, user_line
from ..tensor import Tensor, asarray

BLUE, ORANGE, GREY = "#1f6feb", "#d9480f", "0.6"


@dataclass(frozen=True)
class JacobianSpectrum:
    """What `jacobian_spectrum` found. ``print`` shows a table, ``save`` draws a picture."""

    names: list[str]  # of the layers, in the order in which they ran
    layers: list[Any]  # for each, singular values (B, r), largest first: from the output before to its own
    end_to_end: Any  # (B, r): from the input of the model to its output

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("layer", "largest", "median", "smallest")]
        for name, values in zip([*self.names, "end to end"], [*self.layers, self.end_to_end]):
            rows.append((name, *[f"{f(values):.3e}" for f in (np.max, np.median, np.min)]))
        return _aligned(rows)

    def save(self, path: str | Path) -> None:
        """Draw the picture to a file; needs matplotlib."""
        figure = _figure(9, 3.6)
        by_layer, whole = figure.subplots(1, 2, width_ratios=(2, 1))
        low, middle, high = (np.array([f(values) for values in self.layers]) for f in (np.min, np.median, np.max))
        at = np.arange(1, len(self.layers) + 1)
        floor = _floor(self.layers)
        by_layer.fill_between(
            at, np.maximum(low, floor), np.maximum(high, floor), color=BLUE, alpha=0.2, linewidth=0, label="all"
        )
        by_layer.plot(at, np.maximum(high, floor), color=BLUE, marker=".", label="largest")
        by_layer.plot(at, np.maximum(middle, floor), color=BLUE, linestyle="--", linewidth=1, label="median")
        by_layer.axhline(1, color=GREY, linewidth=1)
        by_layer.set(xlabel="layer", ylabel="singular values, layer to layer", yscale="log")
        by_layer.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        found = np.maximum(self.end_to_end, _floor([self.end_to_end]))
        number = np.arange(1, found.shape[1] + 1)
        whole.plot(number, np.median(found, axis=0), color=ORANGE, marker=".")
        whole.fill_between(number, found.min(0), found.max(0), color=ORANGE, alpha=0.2, linewidth=0)
        whole.axhline(1, color=GREY, linewidth=1)
        whole.set(xlabel="number, largest first", ylabel="end to end", yscale="log")
        whole.xaxis.get_major_locator().set_params(integer=True)
        _save(figure, path)


@dataclass(frozen=True)
class GradientFlow:
    """What `gradient_flow` found. ``print`` shows a table, ``save`` draws a picture."""

    names: list[str]  # of the layers, in the order in which they ran
    activations: list[float]  # root mean square of each layer's output
    outputs: list[float]  # norm of the gradient with respect to each layer's output
    weights: list[float]  # norm of the gradient with respect to the parameters in each layer; NaN where it has none
    parameters: dict[str, float]  # norm of the gradient of every parameter of the model

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("layer", "activation", "gradient of output", "gradient of weights")]
        for name, *numbers in zip(self.names, self.activations, self.outputs, self.weights):
            rows.append((name, *["" if math.isnan(number) else f"{number:.3e}" for number in numbers]))
        return _aligned(rows)

    def save(self, path: str | Path) -> None:
        """Draw the picture to a file; needs matplotlib."""
        figure = _figure(7, 3.6)
        axes = figure.subplots()
        at = np.arange(1, len(self.names) + 1)
        floor = _floor(list(np.array([self.outputs, self.weights]).T))
        for numbers, color, label in (
            (self.outputs, BLUE, "layer's output"),
            (self.weights, ORANGE, "layer's weights"),
        ):
            kept = ~np.isnan(numbers)
            axes.plot(at[kept], np.maximum(np.array(numbers)[kept], floor), color=color, marker=".", label=label)
        axes.set(xlabel="layer", ylabel="norm of the gradient", yscale="log")
        axes.legend(frameon=False)
        _save(figure, path)


def jacobian_spectrum(model: Module, x: Any, layers: Sequence[str] | None = None) -> JacobianSpectrum:
    """Compute singular values of the Jacobians between a model's layers, and of the whole model, for each example.

    A layer's Jacobian is that of its output with respect to the output of the layer that ran before it (for the
    first, with respect to x), along all paths between the two: functions between modules count with the module after.

    model: a Module that treats the examples of a batch one by one. It is looked at as a copy in evaluation mode, so
        that dropout is off and BatchNorm uses its running statistics; the model itself stays as it is.
    x: (B, ...), floating.  layers: dotted names of the modules to follow; None for those directly in the model.

    A Jacobian (m, n) costs min(m, n) sweeps, and a singular value decomposition for each example.
    Raises ArgumentError for what is no Module, or has no such layers; DTypeError for integers; ShapeError if an
    output's first axis is not the batch.

    >>> import tinygrad_rnn as tg
    >>> model = tg.nn.ResidualMLP(2, 2, width=4, blocks=3, rng=0)  # its blocks start as the identity
    >>> found = tg.inspect.jacobian_spectrum(model, tg.ones((5, 2)))
    >>> found.names
    ['first', 'block0', 'block1', 'block2', 'last']
    >>> found.layers[1].round(6).tolist()[0], found.end_to_end.shape
    ([1.0, 1.0, 1.0, 1.0], (5, 2))
    """
    x = _checked(model, x)
    twin = model.copy().eval()
    outputs = _follow(twin, layers)
    with Tape() as tape:
        source = tape.watch(x)
        result = _first_tensor(twin(source))
    spectra = []
    before = source
    for name, _, output in outputs:
        spectra.append(_singular_values(tape, name, output, before))
        before = output
    return JacobianSpectrum(
        [name for name, _, _ in outputs], spectra, _singular_values(tape, "the model", result, source)
    )


def gradient_flow(
    model: Module,
    x: Any,
    loss: Callable[[Any], Any] | None = None,
    layers: Sequence[str] | None = None,
    *,
    rng: Seed = 0,
) -> GradientFlow:
    """Compute gradient norms by layer: of what each layer gives, and of the parameters in it.

    model: a Module, looked at as a copy in the mode that it is in; the model itself, its random generators and its
        running statistics stay as they are.
    x: what the model is called with.
    loss: from the model's output to a scalar; None for the output's product with a random direction of length one, so
        that the gradient that enters has norm 1.
    layers: dotted names of the modules to follow; None for those directly in the model.
    rng: a generator or an integer seed for the random direction.

    Raises ArgumentError for what is no Module, or has no such layers; GradientError if the loss is no scalar.

    >>> import tinygrad_rnn as tg
    >>> model = tg.nn.ResidualMLP(2, 2, width=4, blocks=3, rng=0)
    >>> found = tg.inspect.gradient_flow(model, tg.ones((5, 2)))
    >>> len(set(found.outputs[:4]))  # the same before and after each block
    1
    """
    x = _checked(model, x, floating=False)
    twin = model.copy()
    outputs = _follow(twin, layers)
    with Tape() as tape:
        result = _first_tensor(twin(x))
        target = result if loss is None else loss(result)
    cotangent = None
    if loss is None:
        direction = as_generator(rng).standard_normal(result.shape)
        cotangent = (direction / np.linalg.norm(direction)).astype(result.dtype)
    elif not isinstance(target, Tensor) or target.size != 1:
        got = getattr(target, "shape", type(target).__name__)
        raise GradientError(
            f"gradient_flow needs a loss that returns a scalar Tensor; got {got}        at {user_line()}"
        )
    named = dict(twin.named_parameters())
    sources = [*[output for _, _, output in outputs], *named.values()]
    found = tape.gradient(target, sources, cotangent=cotangent, unused="zeros")
    norms = [float(np.linalg.norm(each.numpy().astype(np.float64))) for each in found]
    of_parameter = {id(parameter): norm for parameter, norm in zip(named.values(), norms[len(outputs) :])}
    return GradientFlow(
        names=[name for name, _, _ in outputs],
        activations=[math.sqrt(np.mean(np.square(out.numpy().astype(np.float64)))) for _, _, out in outputs],
        outputs=norms[: len(outputs)],
        weights=[_together([of_parameter[id(p)] for p in module.parameters()]) for _, module, _ in outputs],
        parameters={name: of_parameter[id(parameter)] for name, parameter in named.items()},
    )


def _checked(model: Any, x: Any, floating: bool = True) -> Tensor:
    if not isinstance(model, Module):
        raise ArgumentError(f"expected an nn.Module; got a {type(model).__name__}. Put functions in an nn.Sequential.")
    backend = next((parameter.backend for parameter in model.parameters()), None)
    x = x if isinstance(x, Tensor) else asarray(x, backend=backend)
    if floating and x.dtype.kind != "f":
        raise DTypeError(
            f"a Jacobian is taken with respect to floats; x holds {x.dtype}. Cast it: x.astype(tg.float32), or pass "
            f"what the embedding gives, and the layers above it.        at {user_line()}"
        )
    return x


def _follow(model: Module, layers: Sequence[str] | None) -> list[tuple[str, Module, Tensor]]:
    """Make the layers of a model (a copy) note what they return: (name, module, output), in the order of the calls."""
    within = {name: module for name, module in model.named_modules() if name}
    wanted = [name for name, _ in model.named_children()] if layers is None else list(layers)
    if unknown := [name for name in wanted if name not in within]:
        raise ArgumentError(f"the model has no layer {', '.join(map(repr, unknown))}; it has {', '.join(within)}")
    if not wanted:
        raise ArgumentError(f"{type(model).__name__} holds no modules that could be followed as its layers")
    noted: list[tuple[str, Module, Tensor]] = []

    def noting(name: str, module: Module) -> Callable[..., Any]:
        plain = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            result = plain(*args, **kwargs)
            times = sum(each[1] is module for each in noted)
            noted.append((f"{name} ({times + 1})" if times else name, module, _first_tensor(result)))
            return result

        return forward

    for name in wanted:
        within[name].forward = noting(name, within[name])  # type: ignore[method-assign]
    return noted


def _first_tensor(result: Any) -> Tensor:
    """The output: a Tensor, or the first of a tuple, as recurrent layers return."""
    while isinstance(result, (tuple, list)) and result:
        result = result[0]
    if not isinstance(result, Tensor):
        raise ArgumentError(
            f"expected layers that return a Tensor, or a tuple that begins with one; got {type(result)}"
        )
    return result


def _singular_values(tape: Tape, name: str, output: Tensor, source: Tensor) -> Any:
    """Singular values (B, r) of each example's Jacobian, by reverse or forward sweeps, whichever are fewer."""
    batch = source.shape[0] if source.ndim else 0
    if not batch or not output.ndim or output.shape[0] != batch:
        raise ShapeError(
            f"{name} made {output.shape} of {source.shape}; a Jacobian by example needs the batch as the first "
            f"axis of both, with at least one example        at {user_line()}"
        )
    m, n = output.size // batch, source.size // batch
    reverse = m <= n
    along = output if reverse else source
    columns = []
    for j in range(min(m, n)):
        one = np.zeros((batch, min(m, n)), dtype=along.dtype)
        one[:, j] = 1
        basis = asarray(one.reshape(along.shape), backend=along.backend)
        if reverse:
            part = tape.gradient(output, source, cotangent=basis, unused="zeros")
        else:
            part = tape.jvp(output, source, basis)
        columns.append(part.numpy().reshape(batch, -1).astype(np.float64))
    return np.linalg.svd(np.stack(columns, axis=1), compute_uv=False)


def _together(norms: Sequence[float]) -> float:
    """The norm of parts with these norms."""
    return math.hypot(*norms) if norms else math.nan


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def _floor(arrays: Sequence[Any]) -> float:
    """Where a logarithmic axis ends, as zeros and what is zero but for rounding have no place on it."""
    largest = [float(np.nanmax(each)) for each in arrays if not np.isnan(each).all()]
    above = [value for value in largest if value > 0]
    return min(above) / 1e4 if above else 1e-30


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('a picture needs matplotlib: pip install "tinygrad_rnn[cli]"') from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: str | Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
