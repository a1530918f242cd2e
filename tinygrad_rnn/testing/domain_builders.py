"""How the cases of each primitive are drawn: one builder for each family, used by the rows of `domain_table`.

A builder is a function from `Draws` to ``(fn, inputs)``; most are made by a function of the primitive's name.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backends, ops
from ..esn.sparse import Pattern
from ..primitive import registry
from ..tensor import asarray
from ..transforms import checkpoint
from .draws import COARSE, POSITIVE, REAL, UNIT, Draws, Range

Built = tuple[Callable[..., Any], Sequence[Any]]
Build = Callable[[Draws], Built]


def entrywise(name: str, *within: Range) -> Build:
    """Inputs that broadcast, each with its own range."""

    def build(draws: Draws) -> Built:
        whole = draws.shape()
        shapes = [whole] if len(within) == 1 else [draws.narrowed(whole) for _ in within]
        return registry[name], [draws.tensor(shape, each) for shape, each in zip(shapes, within)]

    return build


def bound(name: str, **params: Any) -> Callable[..., Any]:
    """The primitive with its parameters."""
    return functools.partial(registry[name], **params)


# ---- elementwise, with kinks or parameters


def compared(name: str) -> Build:
    """Two inputs that are never closer than 1/4: one on the odd multiples of 1/4, one on the even ones."""

    def build(draws: Draws) -> Built:
        whole = draws.shape()
        a, b = (draws.tensor(draws.narrowed(whole), Range(-4, 4, 0.5)) for _ in range(2))
        return registry[name], [a, b + 0.25]

    return build


def divided(name: str) -> Build:
    """A dividend whose quotient is at least 1/8 away from every whole number."""

    def build(draws: Draws) -> Built:
        whole = draws.shape()
        divisor = draws.tensor(draws.narrowed(whole), COARSE)
        quotient = draws.tensor(draws.narrowed(whole), COARSE)
        return registry[name], [divisor * quotient, divisor]

    return build


def limited(name: str, low: bool, high: bool) -> Build:
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


def power(draws: Draws) -> Built:
    exponent = draws.pick((2, 3, 1, 0, -1, 0.5, 2.5, -1.5))
    within = COARSE if isinstance(exponent, int) else Range(0, 4, 0.25)
    return bound("power", exponent=exponent), [draws.tensor(draws.shape(), within)]


def chosen(draws: Draws) -> Built:
    whole = draws.shape()
    condition = asarray(draws.mask(draws.narrowed(whole)))
    inputs = [draws.tensor(draws.narrowed(whole)) for _ in range(2)]
    return functools.partial(registry["where"], condition), inputs


# ---- reductions


def reduced(name: str, within: Range = REAL, unique: bool = False, least: int | None = None) -> Build:
    """Some axes or all of them, dropped or kept."""

    def build(draws: Draws) -> Built:
        shape = draws.shape(max_dims=3, least=least)
        params = {"axis": draws.axes(len(shape)), "keepdims": draws.flag()}
        return bound(name, **params), [_zeroed(draws, draws.tensor(shape, within, unique=unique), name)]

    return build


def _zeroed(draws: Draws, x: Any, name: str) -> Any:
    """For products, sometimes with a few entries set to zero: a rule that divides by an entry fails there."""
    if name not in ("prod", "cumulative_prod") or not draws.flag():
        return x
    return draws.wrap(np.where(draws.mask(x.shape), 0.0, x.numpy()))


def variance(draws: Draws) -> Built:
    shape = draws.shape(max_dims=3, least=1)
    axis = draws.axes(len(shape))
    several = math.prod([shape[a] for a in axis]) > 1
    params = {"axis": axis, "keepdims": draws.flag(), "correction": draws.pick((0.0, 1.0)) if several else 0.0}
    return bound("var", **params), [draws.tensor(shape)]


def along(name: str, within: Range = REAL, least: int | None = None) -> Build:
    """One axis."""

    def build(draws: Draws) -> Built:
        shape = draws.shape(min_dims=1, max_dims=3, least=least)
        x = _zeroed(draws, draws.tensor(shape, within), name)
        return bound(name, axis=draws.integer(0, len(shape) - 1)), [x]

    return build


def normalise(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, max_dims=3, least=1)
    return bound("normalise", axis=draws.axes(len(shape)), eps=draws.pick((0.125, 1e-5))), [draws.tensor(shape)]


# ---- moving entries


def reshape(draws: Draws) -> Built:
    shape = draws.shape(max_dims=3)
    size = math.prod(shape)
    targets = [(size,), (1, size), (size, 1, 1), shape[::-1], (*shape[:1], math.prod(shape[1:])), ()]
    return bound("reshape", shape=draws.pick(targets if size == 1 else targets[:-1])), [draws.tensor(shape)]


def permute(draws: Draws) -> Built:
    shape = draws.shape(max_dims=3)
    return bound("permute_dims", axes=draws.order(len(shape))), [draws.tensor(shape)]


def broadcast(draws: Draws) -> Built:
    whole = draws.shape(max_dims=3)
    return bound("broadcast_to", shape=whole), [draws.tensor(draws.narrowed(whole))]


def concat(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, max_dims=3)
    axis = draws.integer(0, len(shape) - 1)
    lengths = [draws.integer(draws.least, 3) for _ in range(draws.integer(1, 3))]
    parts = [draws.tensor((*shape[:axis], n, *shape[axis + 1 :])) for n in lengths]
    return bound("concat", axis=axis), parts


def stack(draws: Draws) -> Built:
    shape = draws.shape()
    parts = [draws.tensor(shape) for _ in range(draws.integer(1, 3))]
    return bound("stack", axis=draws.integer(0, len(shape))), parts


def flip(draws: Draws) -> Built:
    shape = draws.shape(max_dims=3)
    return bound("flip", axis=draws.axes(len(shape))), [draws.tensor(shape)]


def roll(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, max_dims=3)
    axis = draws.axes(len(shape)) or (0,)
    return bound("roll", shift=tuple(draws.integer(-4, 4) for _ in axis), axis=axis), [draws.tensor(shape)]


def pad(draws: Draws) -> Built:
    shape = draws.shape()
    widths = tuple((draws.integer(0, 2), draws.integer(0, 2)) for _ in shape)
    return bound("pad", widths=widths, value=draws.pick((0, 0.5))), [draws.tensor(shape)]


@functools.cache
def on_host(name: str) -> bool:
    """Whether a backend can run here and keeps its arrays in NumPy's memory, where they can be looked at."""
    return backends.available()[name].can_run and isinstance(backends.get(name).asarray(np.zeros(1)), np.ndarray)


def moved(draws: Draws) -> Built:
    """Through every backend of this host, and back."""
    x = draws.tensor(draws.shape())
    names = [name for name in backends.available() if on_host(name) and name != x.backend]

    def to_backend(x: Any) -> Any:
        home = x.backend
        for name in [*names, home]:
            x = x.to(name)
        return x

    return to_backend, [x]


def triangle(name: str) -> Build:
    def build(draws: Draws) -> Built:
        shape = (*draws.shape(max_dims=1), draws.integer(draws.least, 3), draws.integer(draws.least, 3))
        return bound(name, k=draws.integer(-2, 2)), [draws.tensor(shape)]

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
    if kind == "both" and len(shape) > 1 and shape[1]:
        return slice(None), *([draws.indices(2, shape[1])] if repeats else [np.array([shape[1] - 1])]), ...
    return (chosen if draws.flag() else chosen - n,)


def getitem(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, max_dims=3)
    return bound("getitem", index=_index(draws, shape, repeats=True)), [draws.tensor(shape)]


def written(name: str, repeats: bool) -> Build:
    def build(draws: Draws) -> Built:
        shape = draws.shape(min_dims=1, max_dims=3)
        index = _index(draws, shape, repeats=repeats)
        return bound(name, index=index), [draws.tensor(shape), draws.tensor(np.empty(shape)[index].shape)]

    return build


# ---- matrices


def matmul(draws: Draws) -> Built:
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


def square(draws: Draws) -> Any:
    n = draws.integer(1, 3)
    a = _matrix(draws, n, n)
    return a[..., draws.order(n), :] if draws.flag() else -a


def symmetric(draws: Draws) -> Any:
    n = draws.integer(1, 3)
    a = _matrix(draws, n, n)
    return 0.5 * (a + np.swapaxes(a, -1, -2))


def of(matrix: Callable[[Draws], Any], fn: Callable[[], Any]) -> Build:
    return lambda draws: (fn(), [draws.wrap(matrix(draws))])


def rectangular(draws: Draws) -> Any:
    return _matrix(draws, draws.integer(1, 3), draws.integer(1, 3))


def tall(draws: Draws) -> Any:
    columns = draws.integer(1, 3)
    return _matrix(draws, columns + draws.integer(0, 1), columns)


def _signed_like(anchor: Any, factor: Any) -> Any:
    """1 or -1 for each column, so that a factor whose columns have free signs stays beside the anchor."""
    return ops.sign(ops.sum(factor * asarray(anchor), axis=-2, keepdims=True))


def svd_case(draws: Draws) -> Built:
    a = draws.wrap(rectangular(draws))
    anchor = registry["svd"](a)[0].numpy()

    def svd(a: Any) -> Any:
        u, s, vh = registry["svd"](a)
        signs = _signed_like(anchor, u)
        return u * signs, s, vh * ops.matrix_transpose(signs)

    return svd, [a]


def eigh_case(draws: Draws) -> Built:
    a = draws.wrap(symmetric(draws))
    anchor = registry["eigh"](a)[1].numpy()

    def eigh(a: Any) -> Any:
        values, vectors = ops.linalg.eigh(a)
        return values, vectors * _signed_like(anchor, vectors)

    return eigh, [a]


def complement_case(draws: Draws) -> Built:
    """The projection onto what is missing: the basis itself is free up to a rotation."""
    a = draws.wrap(_matrix(draws, 3, draws.integer(1, 2)))

    def complement(a: Any) -> Any:
        missing = registry["complement"](registry["qr"](a)[0])
        return missing @ ops.matrix_transpose(missing)

    return complement, [a]


def solve(draws: Draws) -> Built:
    a = square(draws)
    b = (*(a.shape[:-2] if draws.flag() else ()), a.shape[-1], draws.integer(1, 2))
    return registry["solve"], [draws.wrap(a), draws.tensor(b)]


def sparse(draws: Draws) -> Built:
    """Rows times the transpose of a matrix of compressed rows, some of which are empty."""
    rows, columns, batch = draws.integer(1, 3), draws.integer(1, 3), draws.integer(1, 2)
    mask = draws.mask((rows, columns))
    mask[draws.integer(0, rows - 1), draws.integer(0, columns - 1)] = True
    indptr = np.concatenate(([0], np.cumsum(mask.sum(axis=1))))
    pattern = Pattern(indptr, np.nonzero(mask)[1], columns)
    values = draws.tensor((int(mask.sum()),))
    return bound("sparse_product", pattern=pattern), [draws.tensor((batch, columns)), values]


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


def convolved(name: str) -> Build:
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
        return bound(name, groups=groups, **params), [draws.tensor(shape) for shape in shapes[name]]

    return build


def windows(name: str) -> Build:
    def build(draws: Draws) -> Built:
        axes = draws.integer(1, 2)
        kernel = tuple(draws.integer(1, 2) for _ in range(axes))
        stride = tuple(draws.integer(1, 2) for _ in range(axes))
        size = tuple(k + draws.integer(0, 2) for k in kernel)
        out = tuple((n - k) // s + 1 for n, k, s in zip(size, kernel, stride))
        first = (draws.integer(1, 2), draws.integer(1, 2))
        shape = (*first, *size) if name == "windows" else (*kernel, *first, *out)
        return bound(name, size=size, kernel=kernel, stride=stride), [draws.tensor(shape)]

    return build


# ---- losses


def cross_entropy(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, least=1)
    goal = draws.tensor(shape, POSITIVE)
    return lambda x: registry["cross_entropy"](x, goal), [draws.tensor(shape)]


def class_cross_entropy(draws: Draws) -> Built:
    shape = draws.shape(min_dims=1, least=1)
    targets = asarray(draws.indices(math.prod(shape[:-1]), shape[-1]).reshape(shape[:-1]))
    return lambda x: registry["class_cross_entropy"](x, targets), [draws.tensor(shape)]


# ---- whole sequences


def sequence(name: str, gates: int, parts: int, **choices: tuple[Any, ...]) -> Build:
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
        return bound(name, **params), [draws.tensor((steps, batch, inputs), UNIT), *state, *weights]

    return build


# ---- checkpoints


def checkpointed(draws: Draws) -> Built:
    whole = draws.shape()
    return checkpoint(lambda a, b: ops.sin(a) * ops.tanh(b)), [draws.tensor(draws.narrowed(whole)) for _ in range(2)]


def checkpointed_many(draws: Draws) -> Built:
    whole = draws.shape()
    fn = checkpoint(lambda a, b: (ops.sin(a) * b, ops.tanh(b)))
    return fn, [draws.tensor(draws.narrowed(whole)) for _ in range(2)]
