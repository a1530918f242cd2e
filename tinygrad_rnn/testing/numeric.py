"""Derivatives by differences, with a bound on their error; kinks; complex steps; Taylor remainders.

Everything here looks at a function of one number, ``at(t) -> array``, entry by entry: the function
under test along one direction. `size` bounds the terms that were summed in each entry, so that
``EPS * size`` is one rounding of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..primitive import Elementwise

EPS = 2.0**-52
ROUNDINGS = 16.0  # an evaluation is trusted to this many roundings of its size
TRUNCATION = 4.0  # the last change of an extrapolation, times this, bounds what is left
LEVELS = 9
FAMILIES = ((2.0**-4, 2.0), (2.0**-7 * 0.83, 1.7), (2.0**-10 * 0.61, 2.3))  # first step, ratio of steps
NEAR = 2.0**-8  # a kink closer than this may trouble every family
FINE = (2.0**-20 * 0.71, 1.9)  # asked before a refusal: an oscillation that larger steps skip over shows here

Curve = Callable[[float], Any]


def _amplification(ratio: float) -> list[float]:
    """Growth of round-off in column j of the table: the product of (r^2k + 1) / (r^2k - 1), k = 1..j."""
    growth = [1.0]
    for k in range(1, LEVELS):
        growth.append(growth[-1] * (ratio ** (2 * k) + 1) / (ratio ** (2 * k) - 1))
    return growth


_GROWTH = {ratio: _amplification(ratio) for _, ratio in FAMILIES}


def richardson(
    at: Curve, size: Any, *, step: float = FAMILIES[0][0], ratio: float = 2.0, target: float = 0.0
) -> tuple[Any, Any, list[tuple[float, Any, Any]]]:
    """Extrapolate central differences to step zero, and bound the error. [Richardson 1911; Ridders 1982]

    at: the function of one number; its value is a float64 array of any shape, NaN outside its domain.
    size: bound of the terms summed in each entry of that value.
    step, ratio: the first step, and what each next one is divided by.
    target: stop as soon as every entry's error is below this.

    Returns the derivative at 0, its error bound (both of the value's shape; NaN and inf where no
    step gave finite values), and the probes (h, at(h), at(-h)) in the order taken.

    The error of column j, row i is ``4 max(|T_ij - T_i,j-1|, |T_ij - T_i-1,j-1|) + G_j K eps size / h_i``.
    The second term keeps two entries that agree by luck from passing for exact.

    >>> import numpy as np
    >>> slope, error, _ = richardson(lambda t: np.exp(np.array([0.0, 1.0]) + t), np.array([1.0, 4.0]))
    >>> bool(np.all(np.abs(slope - [1.0, np.e]) <= error)) and bool(np.all(error < 1e-10))
    True
    """
    growth = _GROWTH.get(ratio) or _amplification(ratio)
    square = ratio * ratio
    rounding = ROUNDINGS * EPS * size
    slope: Any = np.nan
    error: Any = np.inf
    probes = []
    above: list[Any] = []
    h = step
    for level in range(LEVELS):
        ahead, behind = at(h), at(-h)
        probes.append((h, ahead, behind))
        entry = (ahead - behind) / (2 * h)
        row = [entry]
        noise = rounding / h
        power = square
        for j in range(level):
            left, upper = entry, above[j]
            entry = left + (left - upper) / (power - 1)
            bound = np.maximum(abs(entry - left), abs(entry - upper)) * TRUNCATION + growth[j + 1] * noise
            better = bound < error
            slope = np.where(better, entry, slope)
            error = np.where(better, bound, error)
            row.append(entry)
            power *= square
        above = row
        h /= ratio
        if level >= 2 and error.max() <= target:
            break
    return slope, error, probes


def bent(probes: Sequence[tuple[float, Any, Any]], value: Any, size: Any, big: Any) -> Any:
    """Mark the entries where the slopes on the two sides may differ, from the probes already taken.

    The gap of the two slopes falls as h where the function is smooth; at a kink it stays. A cheap
    suspicion, which `kinked` confirms. big: size of the derivative, entry by entry.
    """
    (far, *outer), (near, *inner) = probes[-3], probes[-1]
    noise = 4 * ROUNDINGS * EPS * size / near
    gap = abs(inner[0] + inner[1] - 2 * value) / near
    before = abs(outer[0] + outer[1] - 2 * value) / far
    return (gap > noise + 1e-5 * big) & (gap > 0.6 * before)


def kinked(at: Curve, value: Any, size: Any, big: Any, *, anywhere: bool = False) -> tuple[Any, Any, Any]:
    """Compare the slopes on the two sides, at steps from 1/8 down to where round-off hides them.

    value: at(0).  size: as for `richardson`.  big: size of the derivative, entry by entry.
    anywhere: also mark a kink near 0, which smaller steps no longer see but steps of 1/512 do. One further away
        leaves the third family of steps alone; and from far away an oscillation looks like a kink.

    Returns a mask of the entries with a kink, and the slopes ahead and behind at the last usable step.

    >>> import numpy as np
    >>> kinked(lambda t: np.array([abs(t), t * t]), np.zeros(2), np.ones(2), np.zeros(2))[0].tolist()
    [True, False]
    """
    found = np.zeros(np.shape(value), bool)
    ahead = behind = np.full(np.shape(value), np.nan)
    before = None
    for k in range(3, 32, 2):
        h = 2.0**-k
        noise = 4 * ROUNDINGS * EPS * size / h
        right, left = (at(h) - value) / h, (value - at(-h)) / h
        gap = abs(right - left)
        usable = noise <= 1e-3 * np.maximum(big, np.maximum(abs(right), abs(left)))
        if not usable.any():
            break
        if before is not None:
            kink = (gap > noise + 1e-5 * big) & (before > 1e-5 * big) & (gap > 0.6 * before)
            found = np.where(usable, kink | (found & (anywhere and 4 * h < NEAR)), found)
            ahead, behind = np.where(usable, right, ahead), np.where(usable, left, behind)
        before = gap
    return found, ahead, behind


def noise_level(at: Curve, *, points: int = 8) -> Any:
    """Measure the round-off in the values of a function, from tables of differences. [Moré & Wild 2011]

    Differences of order k of independent errors have variance ``(2k)!/(k!)^2`` times theirs, and a
    smooth function has none to speak of at these spacings. Returns the largest estimate over k = 2..6, per entry.
    """
    level: Any = 0.0
    for spacing in (2.0**-30, 2.0**-36):
        table = np.stack([at((i - points // 2) * spacing) for i in range(points)])
        for k in range(1, 7):
            table = np.diff(table, axis=0)
            if k >= 2:
                scale = math.factorial(k) ** 2 / math.factorial(2 * k)
                level = np.maximum(level, np.sqrt(scale * np.mean(table * table, axis=0)))
    return level


def taylor_order(at: Curve, value: Any, slope: Any, size: Any) -> tuple[Any, Any, Any]:
    """The order at which ``at(h) - at(0) - h slope`` falls with h: 2 for a right slope, 1 for a wrong one.

    Returns, entry by entry: the order at the smallest steps that stand above round-off (inf where the remainder
    is nothing but round-off at every step); a mask of the wrong slopes, where the last three orders are 1; and the
    smallest error of the slope that would have shown.

    >>> import numpy as np
    >>> slopes = np.array([1.0, 1.01])
    >>> order, wrong, _ = taylor_order(lambda t: np.exp(np.array([t, t])), np.ones(2), slopes, np.ones(2))
    >>> order.round(1).tolist(), wrong.tolist()
    ([2.0, 1.0], [False, True])
    """
    noise = 4 * ROUNDINGS * EPS * (size + abs(value))
    shape = np.shape(value)
    order, visible = np.full(shape, np.inf), np.full(shape, np.inf)
    in_a_row, steady = np.zeros(shape, int), np.zeros(shape)
    before: Any = None
    for k in range(4, 24):
        h = 2.0**-k
        # the mean of both sides: a remainder that happens to vanish on one side is seen on the other
        rest = 0.5 * (abs(at(h) - value - h * slope) + abs(at(-h) - value + h * slope))
        if before is not None:
            usable = (rest > 8 * noise) & (before > 8 * noise)
            with np.errstate(divide="ignore", invalid="ignore"):
                order = np.where(usable, np.log2(before / rest), order)
            steady = np.where(usable, rest / h, steady)
            in_a_row = np.where(usable, np.where(abs(order - 1) < 0.2, in_a_row + 1, 0), in_a_row)
        visible = np.fmin(visible, (rest + noise) / h)
        before = rest
    # a step function looks linear from far away; up close its remainder vanishes, and a wrong slope's does not
    return order, (in_a_row >= 3) & (visible > 0.5 * steady), visible


# Primitives whose forward is an analytic function of complex numbers, and of which NumPy knows the complex form.
_ANALYTIC = """
    add subtract multiply divide negative positive reciprocal square sqrt power exp expm1 log log1p log2 log10
    sin cos tan sinh cosh tanh asin acos atan asinh atanh matmul sum mean prod reshape permute_dims broadcast_to
    concat stack flip roll getitem cumulative_sum
"""
ANALYTIC = frozenset(_ANALYTIC.split())


def admits_complex(tape: Any) -> bool:
    """Whether every record of a tape is analytic, so that a complex step through it is exact."""
    return all(record.primitive.name in ANALYTIC and record.backend.name == "numpy" for record in tape)


def complex_step(tape: Any, slot: int, u: Any, outputs: Sequence[Any], *, step: float = 1e-30) -> list[Any]:
    """Derivatives along u by one complex evaluation of a tape: ``Im f(x + i h u) / h``. [Squire & Trapp 1998]

    tape: records of analytic primitives on NumPy arrays (see `admits_complex`).  slot: the source that moves.
    u: direction, of the source's shape.  outputs: slots (None for a constant).
    No subtraction, hence no round-off beyond that of the function itself. Returns one array for each output, or None.
    """
    moved: dict[int, Any] = {}
    for record in tape:
        values = []
        for place, value in zip(record.inputs, record.values):
            if place == slot and place not in moved:
                moved[place] = value + 1j * step * u
            values.append(moved.get(place, value))
        if not any(place in moved for place in record.inputs):
            continue
        primitive = record.primitive
        bound = primitive._forwards[record.backend]
        moved[record.output] = bound(*values, **record.params)
    if slot in outputs:
        moved[slot] = 1j * step * u
    return [None if place is None or place not in moved else np.imag(moved[place]) / step for place in outputs]


def acts_by_entry(tape: Any) -> bool:
    """Whether every record of a tape acts entry by entry, so that one direction shows the whole Jacobian."""
    return all(isinstance(record.primitive, Elementwise) for record in tape)
