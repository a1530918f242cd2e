"""The table of domains, one row for each primitive, grouped as the operations are in `ops`.

A row says how to draw inputs at which the primitive is smooth: a range for each input of an elementwise one,
a function from `Draws` to ``(fn, inputs)`` for the others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..primitive import registry
from ..tensor import asarray
from ..transforms import checkpoint
from .draws import COARSE, POSITIVE, REAL, UNIT, Draws, Range

Built = tuple[Callable[..., Any], Sequence[Any]]
Build = Callable[[Draws], Built]


@dataclass(frozen=True)
class Domain:
    """Where a primitive can be checked.

    build: from `Draws` to the function and its inputs.  kinks, order: the arguments of `check_gradients`.
    empty: whether tensors with an axis of length 0 belong to it.
    """

    build: Build
    kinks: str = "inconclusive"
    order: int = 2
    empty: bool = False


def entrywise(name: str, *within: Range) -> Build:
    """Inputs that broadcast, each with its own range."""

    def build(draws: Draws) -> Built:
        whole = draws.shape()
        shapes = [whole] if len(within) == 1 else [draws.narrowed(whole) for _ in within]
        return registry[name], [draws.tensor(shape, each) for shape, each in zip(shapes, within)]

    return build


def _bound(name: str, **params: Any) -> Callable[..., Any]:
    """The primitive with its parameters."""
    return functools.partial(registry[name], **params)


# ---- elementwise, with kinks or parameters


def _compared(name: str) -> Build:
    """Two inputs that are never closer than 1/4: one on the odd multiples of 1/4, one on the even ones."""

    def build(draws: Draws) -> Built:
        whole = draws.shape()
        a, b = (draws.tensor(draws.narrowed(whole), Range(-4, 4, 0.5)) for _ in range(2))
        return registry[name], [a, b + 0.25]

    return build


def _divided(name: str) -> Build:
    """A dividend whose quotient is at least 1/8 away from every whole number."""

    def build(draws: Draws) -> Built:
        whole = draws.shape()
        divisor = draws.tensor(draws.narrowed(whole), COARSE)
        quotient = draws.tensor(draws.narrowed(whole), COARSE)
        return registry[name], [divisor * quotient, divisor]

    return build


def _limited(name: str, low: bool, high: bool) -> Build:
    """Bounds on multiples of 1/2, with everything that they limit between two of these."""

    def build(draws: Draws) -> Built:
        whole = draws.shape()
        inputs = [draws.tensor(whole, Range(-4, 4, 0.5))]
        if low:
            inputs.append(draws.tensor(draws.narrowed(whole), Range(-3, 0, 0.5)) + 0.25)
        if high:
            inputs.append(draws.tensor(draws.narrowed(whole), Range(0, 3, 0.5)) + 0.25)
        return registry[name], inputs

    return build


def _power(draws: Draws) -> Built:
    exponent = draws.pick((2, 3, 1, 0, -1, 0.5, 2.5, -1.5))
    within = COARSE if isinstance(exponent, int) else Range(0, 4, 0.25)
    return _bound("power", exponent=exponent), [draws.tensor(draws.shape(), within)]


def _where(draws: Draws) -> Built:
    whole = draws.shape()
    condition = asarray(draws.mask(draws.narrowed(whole)))
    inputs = [draws.tensor(draws.narrowed(whole)) for _ in range(2)]
    return functools.partial(registry["where"], condition), inputs


# ---- reductions


def _reduced(name: str, within: Range = REAL, unique: bool = False, least: int | None = None) -> Build:
    """Some axes or all of them, dropped or kept."""

    def build(draws: Draws) -> Built:
        shape = draws.shape(max_dims=3, least=least)
        params = {"axis": draws.axes(len(shape)), "keepdims": draws.flag()}
        return _bound(name, **params), [draws.tensor(shape, within, unique=unique)]

    return build


def _var(draws: Draws) -> Built:
    shape = draws.shape(max_dims=3, least=1)
    axis = draws.axes(len(shape))
    several = math.prod([shape[a] for a in axis]) > 1
    params = {"axis": axis, "keepdims": draws.flag(), "correction": draws.pick((0.0, 1.0)) if several else 0.0}
    return _bound("var", **params), [draws.tensor(shape)]


def _along(name: str, within: Range = REAL, least: int | None = None) -> Build:
    """One axis."""

    def build(draws: Draws) -> Built:
        shape = draws.shape(min_dims=1, max_dims=3, least=least)
        return _bound(name, axis=draws.integer(0, len(shape) - 1)), [draws.tensor(shape, within)]

    return build


def _normalise(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, max_dims=3, least=1)
    return _bound("normalise", axis=draws.axes(len(shape)), eps=draws.pick((0.125, 1e-5))), [draws.tensor(shape)]


# ---- moving entries


def _reshape(draws: Draws) -> Built:
    shape = draws.shape(max_dims=3)
    size = math.prod(shape)
    targets = [(size,), (1, size), (size, 1, 1), shape[::-1], (*shape[:1], math.prod(shape[1:])), ()]
    return _bound("reshape", shape=draws.pick(targets if size == 1 else targets[:-1])), [draws.tensor(shape)]


def _permute(draws: Draws) -> Built:
    shape = draws.shape(max_dims=3)
    return _bound("permute_dims", axes=draws.order(len(shape))), [draws.tensor(shape)]


def _broadcast(draws: Draws) -> Built:
    whole = draws.shape(max_dims=3)
    return _bound("broadcast_to", shape=whole), [draws.tensor(draws.narrowed(whole))]


def _concat(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, max_dims=3)
    axis = draws.integer(0, len(shape) - 1)
    lengths = [draws.integer(draws.least, 3) for _ in range(draws.integer(1, 3))]
    parts = [draws.tensor((*shape[:axis], n, *shape[axis + 1 :])) for n in lengths]
    return _bound("concat", axis=axis), parts


def _stack(draws: Draws) -> Built:
    shape = draws.shape()
    parts = [draws.tensor(shape) for _ in range(draws.integer(1, 3))]
    return _bound("stack", axis=draws.integer(0, len(shape))), parts


def _flip(draws: Draws) -> Built:
    shape = draws.shape(max_dims=3)
    return _bound("flip", axis=draws.axes(len(shape))), [draws.tensor(shape)]


def _roll(draws: Draws) -> Built:
    shape = draws.shape(max_dims=3)
    axis = draws.axes(len(shape))
    return _bound("roll", shift=tuple(draws.integer(-4, 4) for _ in axis), axis=axis), [draws.tensor(shape)]


def _pad(draws: Draws) -> Built:
    shape = draws.shape()
    widths = tuple((draws.integer(0, 2), draws.integer(0, 2)) for _ in shape)
    return _bound("pad", widths=widths, value=draws.pick((0, 0.5))), [draws.tensor(shape)]


def _triangle(name: str) -> Build:
    def build(draws: Draws) -> Built:
        shape = (*draws.shape(max_dims=1), draws.integer(draws.least, 3), draws.integer(draws.least, 3))
        return _bound(name, k=draws.integer(-2, 2)), [draws.tensor(shape)]

    return build


# ---- indexing


def _index(draws: Draws, shape: tuple[int, ...], *, repeats: bool) -> tuple[Any, ...]:
    """An index of a tensor with at least one axis: slices and numbers, whole numbers in an array, or a mask."""
    kind = draws.pick(("basic", "integers", "mask", "both"))
    n = shape[0]
    if kind == "mask":
        return (draws.mask((n,)),)
    if kind == "basic" or not n:
        parts: list[Any] = []
        for side in shape:
            options = [slice(None), slice(None, None, -1), slice(1, None), slice(None, None, 2), 0, -1]
            parts.append(draws.pick(options if side else options[:4]))
        return (*parts, None) if draws.flag() else (..., *parts)
    chosen = draws.indices(draws.integer(1, 4), n) if repeats else np.array(draws.order(n)[: draws.integer(1, n)])
    if kind == "both" and len(shape) > 1:
        return slice(None), *([draws.indices(2, shape[1])] if repeats else [np.array([shape[1] - 1])]), ...
    return (chosen if draws.flag() else chosen - n,)


def _getitem(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, max_dims=3)
    return _bound("getitem", index=_index(draws, shape, repeats=True)), [draws.tensor(shape)]


def _written(name: str, repeats: bool) -> Build:
    def build(draws: Draws) -> Built:
        shape = draws.shape(min_dims=1, max_dims=3)
        index = _index(draws, shape, repeats=repeats)
        return _bound(name, index=index), [draws.tensor(shape), draws.tensor(np.empty(shape)[index].shape)]

    return build


# ---- matrices


def _matmul(draws: Draws) -> Built:
    n, k, m, batch = (draws.integer(draws.least, 3) for _ in range(4))
    forms = [
        ((n, k), (k, m)), ((k,), (k,)), ((n, k), (k,)), ((k,), (k, m)), ((batch, n, k), (k, m)),
        ((n, k), (batch, k, m)), ((batch, n, k), (batch, k, m)), ((1, n, k), (batch, k, m)), ((k,), (batch, k, m)),
        ((batch, n, k), (k,)), ((batch, 1, n, k), (2, k, m)),
    ]  # fmt: skip
    return registry["matmul"], [draws.tensor(shape) for shape in draws.pick(forms)]


def _matrix(draws: Draws, rows: int, columns: int) -> Any:
    """Singular values near 5, 3 and 1: a diagonal and entries below 1/4. So they stay apart, and away from 0."""
    shape = (*draws.shape(max_dims=1, max_side=2, least=1), rows, columns)
    diagonal = np.zeros((rows, columns))
    np.fill_diagonal(diagonal, (5.0, 3.0, 1.0)[-min(rows, columns) :])
    return diagonal + draws.array(shape, Range(-0.25, 0.25, 2.0**-5))


def _square(draws: Draws) -> Any:
    n = draws.integer(1, 3)
    a = _matrix(draws, n, n)
    return a[..., draws.order(n), :] if draws.flag() else -a


def _symmetric(draws: Draws) -> Any:
    n = draws.integer(1, 3)
    a = _matrix(draws, n, n)
    return 0.5 * (a + np.swapaxes(a, -1, -2))


def _of(matrix: Callable[[Draws], Any], fn: Callable[[], Any]) -> Build:
    return lambda draws: (fn(), [draws.wrap(matrix(draws))])


def _rectangular(draws: Draws) -> Any:
    return _matrix(draws, draws.integer(1, 3), draws.integer(1, 3))


def _tall(draws: Draws) -> Any:
    columns = draws.integer(1, 3)
    return _matrix(draws, columns + draws.integer(0, 1), columns)


def _signed_like(anchor: Any, factor: Any) -> Any:
    """1 or -1 for each column, so that a factor whose columns have free signs stays beside the anchor."""
    return ops.sign(ops.sum(factor * asarray(anchor), axis=-2, keepdims=True))


def _svd(draws: Draws) -> Built:
    a = draws.wrap(_rectangular(draws))
    anchor = registry["svd"](a)[0].numpy()

    def svd(a: Any) -> Any:
        u, s, vh = registry["svd"](a)
        signs = _signed_like(anchor, u)
        return u * signs, s, vh * ops.matrix_transpose(signs)

    return svd, [a]


def _eigh(draws: Draws) -> Built:
    a = draws.wrap(_symmetric(draws))
    anchor = registry["eigh"](a)[1].numpy()

    def eigh(a: Any) -> Any:
        values, vectors = ops.linalg.eigh(a)
        return values, vectors * _signed_like(anchor, vectors)

    return eigh, [a]


def _complement(draws: Draws) -> Built:
    """The projection onto what is missing: the basis itself is free up to a rotation."""
    a = draws.wrap(_matrix(draws, 3, draws.integer(1, 2)))

    def complement(a: Any) -> Any:
        missing = registry["complement"](registry["qr"](a)[0])
        return missing @ ops.matrix_transpose(missing)

    return complement, [a]


def _solve(draws: Draws) -> Built:
    a = _square(draws)
    b = (*(a.shape[:-2] if draws.flag() else ()), a.shape[-1], draws.integer(1, 2))
    return registry["solve"], [draws.wrap(a), draws.tensor(b)]


# ---- windows and filters


def _window(draws: Draws, axes: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Parameters of a convolution over so many axes, and the lengths of its result."""
    kernel = tuple(draws.integer(1, 2) for _ in range(axes))
    stride = tuple(draws.integer(1, 2) for _ in range(axes))
    dilation = tuple(draws.integer(1, 2) for _ in range(axes))
    padding = tuple((draws.integer(0, 1), draws.integer(0, 1)) for _ in range(axes))
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    size = tuple(max(1, e - sum(p)) + draws.integer(0, 1) for e, p in zip(extents, padding))
    out = tuple((n + sum(p) - e) // s + 1 for n, p, e, s in zip(size, padding, extents, stride))
    return {"size": size, "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}, out


def _convolved(name: str) -> Build:
    def build(draws: Draws) -> Built:
        params, out = _window(draws, draws.integer(1, 2))
        batch, groups = draws.integer(1, 2), draws.integer(1, 2)
        channels, filters = draws.integer(1, 2), draws.integer(1, 2)
        of_x = (batch, groups * channels, *params["size"])
        of_g = (batch, groups * filters, *out)
        of_weight = (groups * filters, channels, *params["kernel"])
        shapes = {
            "convolution": (of_x, of_weight),
            "convolution_transpose": (of_g, of_weight),
            "convolution_weight": (of_x, of_g),
        }
        return _bound(name, groups=groups, **params), [draws.tensor(shape) for shape in shapes[name]]

    return build


def _windows(name: str) -> Build:
    def build(draws: Draws) -> Built:
        axes = draws.integer(1, 2)
        kernel = tuple(draws.integer(1, 2) for _ in range(axes))
        stride = tuple(draws.integer(1, 2) for _ in range(axes))
        size = tuple(k + draws.integer(0, 2) for k in kernel)
        out = tuple((n - k) // s + 1 for n, k, s in zip(size, kernel, stride))
        first = (draws.integer(1, 2), draws.integer(1, 2))
        shape = (*first, *size) if name == "windows" else (*kernel, *first, *out)
        return _bound(name, size=size, kernel=kernel, stride=stride), [draws.tensor(shape)]

    return build


# ---- losses


def _cross_entropy(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, least=1)
    goal = draws.tensor(shape, POSITIVE)
    return lambda x: registry["cross_entropy"](x, goal), [draws.tensor(shape)]


def _class_cross_entropy(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, least=1)
    targets = asarray(draws.indices(math.prod(shape[:-1]), shape[-1]).reshape(shape[:-1]))
    return lambda x: registry["class_cross_entropy"](x, targets), [draws.tensor(shape)]


# ---- whole sequences


def _sequence(name: str, gates: int, parts: int, **choices: tuple[Any, ...]) -> Build:
    """Weights below 1/4, so that states neither vanish nor saturate.

    With relu, biases of ±33/32 and still smaller weights keep every pre-activation away from the kink.
    """

    def build(draws: Draws) -> Built:
        steps, batch, inputs, hidden = (draws.integer(1, high) for high in (3, 2, 2, 2))
        params: dict[str, Any] = {key: draws.pick(values) for key, values in choices.items()}
        params["lengths"] = 1 + draws.indices(batch, steps) if draws.flag() else None
        params["reverse"] = draws.flag()
        relu = params.get("nonlinearity") == "relu"
        small = Range(-(2.0**-4), 2.0**-4, 2.0**-7) if relu else Range(-0.5, 0.5)
        state = [draws.tensor((batch, hidden), UNIT) for _ in range(parts)]
        weights = [draws.tensor((gates * hidden, n), small) for n in (inputs, hidden)]
        if relu or draws.flag():
            large = Range(-33 / 16, 33 / 16, 33 / 16) if relu else small
            weights += [draws.tensor((gates * hidden,), each) for each in (large, small)]
        return _bound(name, **params), [draws.tensor((steps, batch, inputs), UNIT), *state, *weights]

    return build


# ---- checkpoints


def _checkpoint(draws: Draws) -> Built:
    whole = draws.shape()
    return checkpoint(lambda a, b: ops.sin(a) * ops.tanh(b)), [draws.tensor(draws.narrowed(whole)) for _ in range(2)]


def _checkpoint_many(draws: Draws) -> Built:
    whole = draws.shape()
    fn = checkpoint(lambda a, b: (ops.sin(a) * b, ops.tanh(b)))
    return fn, [draws.tensor(draws.narrowed(whole)) for _ in range(2)]


def _rows(builder: Callable[[str], Build], names: str, empty: bool = True) -> dict[str, Domain]:
    return {name: Domain(builder(name), empty=empty) for name in names.split()}


TABLE: dict[str, Domain] = {
    # elementwise, one input: where they are smooth. No value of the lattice is a whole number
    **_rows(
        lambda name: entrywise(name, REAL),
        "negative positive real imag conj square exp expm1 sin cos sinh cosh tanh atan asinh "
        "abs sign floor ceil trunc round sigmoid softplus relu silu erf gelu",
    ),
    **_rows(lambda name: entrywise(name, POSITIVE), "sqrt log log2 log10"),
    **_rows(lambda name: entrywise(name, UNIT), "asin acos atanh"),
    "reciprocal": Domain(entrywise("reciprocal", COARSE), empty=True),
    "log1p": Domain(entrywise("log1p", Range(-1, 4)), empty=True),
    "acosh": Domain(entrywise("acosh", Range(1, 4)), empty=True),
    "tan": Domain(entrywise("tan", Range(-1.5, 1.5)), empty=True),
    "power": Domain(_power, empty=True),
    # elementwise, several inputs
    **_rows(lambda name: entrywise(name, REAL, REAL), "add subtract multiply hypot logaddexp atan2 copysign"),
    "divide": Domain(entrywise("divide", REAL, COARSE), empty=True),
    "pow": Domain(entrywise("pow", Range(0, 2, 0.25), Range(-2, 2)), empty=True),
    **_rows(_compared, "maximum minimum"),
    **_rows(_divided, "floor_divide remainder"),
    "clip": Domain(_limited("clip", True, True), empty=True),
    "clip_below": Domain(_limited("clip_below", True, False), empty=True),
    "clip_above": Domain(_limited("clip_above", False, True), empty=True),
    "where": Domain(_where, empty=True),
    # reductions
    "sum": Domain(_reduced("sum"), empty=True),
    "mean": Domain(_reduced("mean", least=1)),
    "prod": Domain(_reduced("prod", Range(-2, 2)), empty=True),
    "var": Domain(_var),
    "max": Domain(_reduced("max", unique=True, least=1)),
    "min": Domain(_reduced("min", unique=True, least=1)),
    "logsumexp": Domain(_reduced("logsumexp", least=1)),
    "cumulative_sum": Domain(_along("cumulative_sum"), empty=True),
    "cumulative_prod": Domain(_along("cumulative_prod", Range(-2, 2)), empty=True),
    "softmax": Domain(_along("softmax", least=1)),
    "log_softmax": Domain(_along("log_softmax", least=1)),
    "normalise": Domain(_normalise),
    # moving entries
    "reshape": Domain(_reshape, empty=True),
    "permute_dims": Domain(_permute, empty=True),
    "broadcast_to": Domain(_broadcast, empty=True),
    "concat": Domain(_concat, empty=True),
    "stack": Domain(_stack, empty=True),
    "unstack": Domain(_along("unstack", least=1)),
    "flip": Domain(_flip, empty=True),
    "roll": Domain(_roll, empty=True),
    "pad": Domain(_pad, empty=True),
    "astype": Domain(lambda draws: (_bound("astype", dtype=draws.dtype), [draws.tensor(draws.shape())]), empty=True),
    **_rows(_triangle, "tril triu"),
    # indexing
    "getitem": Domain(_getitem, empty=True),
    "scatter_add": Domain(_written("scatter_add", repeats=True), empty=True),
    "put": Domain(_written("put", repeats=False), empty=True),
    # matrices
    "matmul": Domain(_matmul, empty=True),
    "inv": Domain(_of(_square, lambda: registry["inv"])),
    "det": Domain(_of(_square, lambda: registry["det"])),
    "slogdet": Domain(_of(_square, lambda: registry["slogdet"])),
    "solve": Domain(_solve),
    "cholesky": Domain(_of(_symmetric, lambda: ops.cholesky)),
    "qr": Domain(_of(_tall, lambda: registry["qr"])),
    "complement": Domain(_complement),
    "svd": Domain(_svd),
    "eigh": Domain(_eigh),
    "pinv": Domain(_of(_rectangular, lambda: _bound("pinv", rtol=1e-10))),
    # windows and filters
    **_rows(_convolved, "convolution convolution_transpose convolution_weight", empty=False),
    **_rows(_windows, "windows windows_transpose", empty=False),
    # losses
    "cross_entropy": Domain(_cross_entropy),
    "class_cross_entropy": Domain(_class_cross_entropy),
    # whole sequences
    "elman_sequence": Domain(_sequence("elman_sequence", 1, 1, nonlinearity=("tanh", "relu"))),
    "gru_sequence": Domain(_sequence("gru_sequence", 3, 1, reset_after=(True, False))),
    "lstm_sequence": Domain(_sequence("lstm_sequence", 4, 2)),
    # checkpoints
    "checkpoint": Domain(_checkpoint, empty=True),
    "checkpoint_many": Domain(_checkpoint_many, empty=True),
}
