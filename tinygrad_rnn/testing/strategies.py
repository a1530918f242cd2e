"""Hypothesis strategies: tensors, shapes, cotangents and cells whose values suit gradient checks.

Values lie on a lattice, the odd multiples of half a spacing: ``(2k + 1) * 2**-5`` for a spacing of ``2**-4``.
So no value is ever on a multiple of ``2**-4``, where ``abs``, ``relu``, ``floor`` and ``round`` have their kinks and
jumps; every value is exact in each float type; nothing is filtered away; and a failing example shrinks to 0.03125.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import ops
from ..errors import ArgumentError
from ..nn.module import Module
from ..rnn import ElmanCell, GRUCell, LSTMCell, StackedCell
from ..tensor import Tensor, as_dtype, asarray

__all__ = ["CELLS", "DOMAINS", "CellCase", "SquaredError", "broadcastable", "cells", "cotangents", "shapes", "tensors"]

Shape = tuple[int, ...]
Interval = tuple[float, float]

REACH = 4.0  # how far an unbounded domain goes: exp, sinh and their like stay of moderate size
ENTRIES_DRAWN = 256  # a larger tensor takes its values from one drawn seed
LAYOUTS = ("C", "F", "strided", "broadcast")

DOMAINS: dict[str, tuple[Interval, ...]] = {
    "real": ((-math.inf, math.inf),),
    "nonzero": ((-math.inf, 0), (0, math.inf)),
    "positive": ((0, math.inf),),
    "negative": ((-math.inf, 0),),
    "unit": ((-1, 1),),
    "probability": ((0, 1),),
    "above_one": ((1, math.inf),),
    "above_minus_one": ((-1, math.inf),),
    "direction": ((-1, -0.5), (0.5, 1)),
}


def shapes(
    min_dims: int = 0,
    max_dims: int = 3,
    min_side: int = 1,
    max_side: int = 4,
    *,
    allow_empty: bool = False,
    allow_scalar: bool = True,
) -> st.SearchStrategy[Shape]:
    """Shapes of tensors; they shrink to few axes and short ones.

    min_dims, max_dims: number of axes.  min_side, max_side: length of an axis.
    allow_empty: axes of length 0 too.  allow_scalar: the shape () too.

    Raises ArgumentError for bounds that no shape meets.
    """
    low = min_dims if allow_scalar else max(1, min_dims)
    side = 0 if allow_empty else min_side
    if not 0 <= low <= max_dims or not 0 <= side <= max_side:
        raise ArgumentError(
            f"no shape has {low} to {max_dims} axes of length {side} to {max_side}; lower bounds come first"
        )
    return st.lists(st.integers(side, max_side), min_size=low, max_size=max_dims).map(tuple)


def tensors(
    shape: Any = None,
    dtype: Any = "float64",
    domain: str | Interval = "real",
    away_from: Sequence[float] = (0,),
    spacing: float = 2**-4,
    unique: bool = False,
    layouts: Sequence[str] = LAYOUTS,
    allow_empty: bool = False,
    allow_scalar: bool = True,
    *,
    backend: Any = None,
) -> st.SearchStrategy[Tensor]:
    """Tensors with values on the lattice, away from kinks, in every memory layout.

    shape: a tuple, or a strategy of tuples; default: `shapes`.
    dtype: float32 or float64; int32 and int64 give whole numbers, bool gives truth values.
    domain: a name in `DOMAINS`, or an open interval ``(low, high)``. Unbounded ones reach to 4, or as far
        as `unique` needs.
    away_from: no value is closer than half a spacing to any of these.
    spacing: between neighbouring values; a power of two keeps them exact. With `unique`, a bounded domain with
        too few values for the shape is divided more finely.
    unique: all entries differ, as max, sort and median need it.
    layouts: "C", "F" (Fortran), "strided" (every other entry of an array that holds NaN between, or backwards) and
        "broadcast" (an axis of stride 0, so its entries are equal; not used with `unique`).
    allow_empty, allow_scalar: as in `shapes`, where the shape is not given.
    backend: where the tensor lives; default: that of `tinygrad_rnn.tensor`.

    Raises ArgumentError for an unknown domain or layout, and for a domain without a value of the lattice.

    >>> from hypothesis import find
    >>> find(tensors(shape=(2,)), lambda x: x.numpy()[1] > 1).tolist()
    [0.03125, 1.03125]
    """
    dtype = as_dtype(dtype)
    if unknown := [name for name in layouts if name not in LAYOUTS]:
        raise ArgumentError(f"layouts are {', '.join(LAYOUTS)}; got {', '.join(map(repr, unknown))}")
    kinds = [name for name in layouts if name != "broadcast" or not unique] or ["C"]
    _lattice(_intervals(domain), tuple(away_from), spacing, dtype.kind, 1)  # complain now rather than at the first draw
    return _tensors(
        shapes(allow_empty=allow_empty, allow_scalar=allow_scalar) if shape is None else shape,
        dtype,
        _intervals(domain),
        tuple(away_from),
        spacing,
        unique,
        tuple(kinds),
        backend,
    )


@st.composite
def _tensors(
    draw: Any,
    shape: Any,
    dtype: Any,
    intervals: tuple[Interval, ...],
    away_from: tuple[float, ...],
    spacing: float,
    unique: bool,
    layouts: tuple[str, ...],
    backend: Any,
) -> Tensor:
    size = draw(shape) if isinstance(shape, st.SearchStrategy) else tuple(shape)
    usable = [name for name in layouts if size or name == "C"] or ["C"]
    layout = draw(st.sampled_from(usable)) if len(usable) > 1 else usable[0]
    count = math.prod(size)
    points = _lattice(intervals, away_from, spacing, dtype.kind, count if unique else 1)
    values = points[draw(_places(count, len(points), unique))].reshape(size).astype(dtype)
    array = _laid_out(draw, values, layout, size)
    return asarray(array, backend=backend)


def _places(count: int, choices: int, unique: bool) -> st.SearchStrategy[Any]:
    """Strategy of `count` indices below `choices`."""
    if count > ENTRIES_DRAWN:
        return st.integers(0, 2**32 - 1).map(
            lambda seed: np.random.default_rng(seed).choice(choices, count, replace=not unique)
        )
    if not unique:
        indices = st.lists(st.integers(0, choices - 1), min_size=count, max_size=count)
    else:  # the place of each entry among the values that are left: distinct with nothing drawn in vain
        indices = st.tuples(*[st.integers(0, choices - 1 - i) for i in range(count)]).map(
            lambda places: _without_repeats(places, choices)
        )
    return indices.map(lambda places: np.array(places, dtype=np.intp))


def _without_repeats(places: Sequence[int], choices: int) -> list[int]:
    left = list(range(choices))
    return [left.pop(place) for place in places]


def _laid_out(draw: Any, values: Any, layout: str, size: Shape) -> Any:
    """The values as an array of shape `size` with the memory layout of that name."""
    if layout == "F":
        return np.asfortranarray(values)
    if layout == "broadcast":
        # drawn in full all the same: a layout that took fewer draws would count as simpler, and examples shrink to it
        first = values.take([0], axis=draw(st.integers(0, len(size) - 1))) if values.size else values
        return np.broadcast_to(first, size)
    if layout == "strided":
        step = draw(st.sampled_from((2, -1, -2)))
        hole = math.nan if values.dtype.kind == "f" else 0
        base = np.full([abs(step) * side for side in size], hole, dtype=values.dtype)
        view = base[(slice(None, None, step),) * len(size)]
        view[...] = values
        return view
    return values


def _intervals(domain: Any) -> tuple[Interval, ...]:
    if isinstance(domain, str):
        if domain not in DOMAINS:
            raise ArgumentError(f"domains are {', '.join(DOMAINS)} or an interval (low, high); got {domain!r}")
        return DOMAINS[domain]
    low, high = domain
    if not low < high:
        raise ArgumentError(f"the domain (low, high) needs low < high; got ({low}, {high})")
    return ((float(low), float(high)),)


@functools.lru_cache(maxsize=256)
def _lattice(
    intervals: tuple[Interval, ...], away_from: tuple[float, ...], spacing: float, kind: str, count: int
) -> Any:
    """At least `count` values inside the intervals, simplest (smallest, then positive) first."""
    if kind == "b":
        return np.array([False, True])
    reach = REACH
    for _ in range(40):
        found: list[float] = []
        for low, high in intervals:
            # an unbounded side reaches beyond the bounded one, wherever that is
            inner = low, high
            if math.isinf(low):
                inner = min(high, 0.0) - reach, inner[1]
            if math.isinf(high):
                inner = inner[0], max(low, 0.0) + reach
            if kind == "f":
                first = math.floor(inner[0] / spacing)
                last = math.ceil(inner[1] / spacing)
                near = [(2 * k + 1) * (spacing / 2) for k in range(first, last)]
                gap = spacing / 2
            else:
                near = [float(k) for k in range(math.ceil(inner[0]), math.floor(inner[1]) + 1)]
                gap = 0.5
            found += [x for x in near if low < x < high and all(abs(x - kink) >= gap for kink in away_from)]
        if len(found) >= count:
            return np.array(sorted(found, key=lambda x: (abs(x), x < 0)))
        if any(math.isinf(bound) for interval in intervals for bound in interval):
            reach *= 2
        elif kind == "f":
            spacing /= 2
        else:
            break
    raise ArgumentError(f"the domain {intervals} has fewer than {count} values; widen it")


@st.composite
def _broadcastable(draw: Any, n: int, allow_empty: bool, allow_scalar: bool, options: dict[str, Any]) -> Any:
    whole = draw(shapes(allow_empty=allow_empty, allow_scalar=allow_scalar))
    found = []
    for _ in range(n):
        dropped = draw(st.integers(0, len(whole) if allow_scalar else max(0, len(whole) - 1)))
        size = tuple(1 if draw(st.booleans()) else side for side in whole[dropped:])
        found.append(draw(tensors(shape=size, **options)))
    return tuple(found)


def broadcastable(n: int, **options: Any) -> st.SearchStrategy[tuple[Tensor, ...]]:
    """Tuples of `n` tensors whose shapes broadcast: axes are missing at the front, or have length 1.

    options: the arguments of `tensors` except `shape`.

    >>> from hypothesis import find
    >>> a, b = find(broadcastable(2), lambda pair: pair[0].ndim == 2 and pair[1].ndim == 1)
    >>> (a + b).ndim
    2
    """
    if "shape" in options:
        raise ArgumentError(
            "broadcastable draws the shapes itself; for given ones use st.tuples(tensors(shape=...), ...)"
        )
    tensors(**options)  # complain now about a wrong argument
    empty, scalar = options.pop("allow_empty", False), options.pop("allow_scalar", True)
    return _broadcastable(n, empty, scalar, options)


def cotangents(y: Any) -> st.SearchStrategy[Any]:
    """Cotangents (or directions) for `y`: entries ±17/32 to ±31/32, so none is weak and sums seldom cancel.

    y: a Tensor, or a tuple or list of them; the strategy gives the same with y's shapes, dtypes and backends.

    >>> import tinygrad_rnn as tg
    >>> from hypothesis import find
    >>> find(cotangents(tg.ones((2,))), lambda v: v.numpy()[0] < 0)
    Tensor([-0.53125,  0.53125], dtype=float32)
    """
    if isinstance(y, (tuple, list)):
        return st.tuples(*[cotangents(each) for each in y])
    return tensors(shape=y.shape, dtype=y.dtype, domain="direction", layouts=("C",), backend=y.backend)


# ---- cells


@dataclass(frozen=True)
class SquaredError:
    """A loss of one time step: ``½ Σ (y - targets[t])²``. Its targets differ from step to step.

    targets: (T, B, H).  Call: y (B, H), t → a scalar.
    """

    targets: Tensor

    def __call__(self, y: Tensor, t: int) -> Tensor:
        return 0.5 * ops.sum(ops.square(y - self.targets[t]))


@dataclass(frozen=True)
class CellCase:
    """A cell with something to do: a sequence, and a loss for each step of it.

    cell: any built-in cell.  xs: (T, B, I).  loss: ``loss(y, t)`` → scalar, for y (B, H) and t in 0..T-1.
    """

    cell: Module
    xs: Tensor
    loss: Callable[[Tensor, int], Tensor]

    @property
    def steps(self) -> int:
        """Length T of the sequence."""
        return self.xs.shape[0]

    @property
    def batch(self) -> int:
        """Number of lanes B."""
        return self.xs.shape[1]

    def run(self, steps: int | None = None) -> tuple[Module, Tensor, Callable[[Tensor, int], Tensor]]:
        """The arguments of a gradient rule for the first `steps` steps (all of them by default, and at most).

        Returns (cell, xs[:steps], loss), so that ``BPTT().gradient(*case.run(3))`` reads well.
        """
        return self.cell, self.xs[:steps], self.loss


Build = Callable[..., Any]

CELLS: dict[str, Build] = {
    "elman_tanh": functools.partial(ElmanCell, nonlinearity="tanh"),
    "elman_relu": functools.partial(ElmanCell, nonlinearity="relu"),
    "gru_after": functools.partial(GRUCell, reset_after=True),
    "gru_before": functools.partial(GRUCell, reset_after=False),
    "lstm": LSTMCell,
}


@st.composite
def _cells(draw: Any, kinds: Sequence[str], steps: Any, batch: Any, sizes: Any, dtype: Any, backend: Any) -> CellCase:
    kind = draw(st.sampled_from(kinds))
    inputs, hidden = draw(st.integers(*sizes)), draw(st.integers(*sizes))
    if kind == "stacked":
        below = [name for name in kinds if name != "stacked"] or list(CELLS)
        middle = draw(st.integers(*sizes))
        parts = [draw(st.sampled_from(below)) for _ in range(2)]
        lower = _cell(draw, parts[0], inputs, middle, dtype, backend)
        cell: Any = StackedCell([lower, _cell(draw, parts[1], middle, hidden, dtype, backend)])
    else:
        cell = _cell(draw, kind, inputs, hidden, dtype, backend)
    length, lanes = draw(st.integers(*steps)), draw(st.integers(*batch))

    def sequence(width: int) -> Tensor:
        of_unit = tensors((length, lanes, width), dtype, "unit", layouts=("C",), backend=backend)
        return draw(of_unit)

    return CellCase(cell, sequence(inputs), SquaredError(sequence(hidden)))


def _cell(draw: Any, kind: str, inputs: int, hidden: int, dtype: Any, backend: Any) -> Any:
    """One cell, its parameters drawn from the lattice and scaled by a power of two."""
    cell = CELLS[kind](inputs, hidden, bias=draw(st.booleans()) or kind == "elman_relu", dtype=dtype, backend=backend)
    # Biases of ±33/32 and weights this small keep every pre-activation of a relu away from its kink, h being below 2.
    relu = kind == "elman_relu"
    scale = 2.0 ** -(3 + math.ceil(math.log2(max(inputs, hidden)))) if relu else 0.5
    for name, parameter in cell.named_parameters():
        if relu and name == "bias_ih":
            signs = draw(tensors(parameter.shape, dtype, (-2, 2), layouts=("C",), spacing=33 / 16))
            parameter.assign(signs.numpy())
        else:
            parameter.assign(draw(tensors(parameter.shape, dtype, "unit", layouts=("C",))).numpy() * dtype.type(scale))
    return cell


def cells(
    kinds: Sequence[str] | None = None,
    steps: tuple[int, int] = (1, 8),
    batch: tuple[int, int] = (1, 2),
    sizes: tuple[int, int] = (1, 3),
    dtype: Any = "float64",
    *,
    backend: Any = None,
) -> st.SearchStrategy[CellCase]:
    """Every built-in cell, with parameters, a sequence and a loss.

    kinds: names in `CELLS` or "stacked"; default: all of them. A stack has two cells of the other kinds.
    steps, batch, sizes: lowest and highest T, B, and width (I, and H of every cell).
    dtype: float32 or float64, of parameters and inputs.  backend: where they live.

    Parameters are lattice values below ½, so that states neither vanish nor saturate within a few steps.
    An Elman cell with relu has biases that keep it away from its kink. Inputs (T, B, I) and the targets of the
    squared error (T, B, H) lie in ±1.

    Raises ArgumentError for an unknown kind.

    >>> from hypothesis import find
    >>> case = find(cells(["lstm"]), lambda case: case.steps >= 2)
    >>> cell, xs, loss = case.run(1)
    >>> type(cell).__name__, case.xs.shape[0], xs.shape[0]
    ('LSTMCell', 2, 1)
    """
    names = [*CELLS, "stacked"] if kinds is None else list(kinds)
    if unknown := [name for name in names if name != "stacked" and name not in CELLS]:
        raise ArgumentError(f"cells are {', '.join(CELLS)} and stacked; got {', '.join(map(repr, unknown))}")
    return _cells(names, steps, batch, sizes, as_dtype(dtype), backend)
