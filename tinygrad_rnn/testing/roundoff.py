"""float32 gradients, judged by how much round-off alone can move them. [Parker 1997, Monte Carlo arithmetic]

A float32 result is never differenced. The tape is recorded in float64 and replayed a few times with every
primitive's result, and every message of the backward sweep, multiplied by ``1 + eps32 U(-1, 1)``. How far the
gradient spreads is how far a correct float32 gradient may be off:

    max |g32 - g64|  <=  32 (spread + eps32 max |g64| + tiny)

Measured on 4000 random programs: the worst error was 3.5 times the spread, while errors relative to the
gradient reached 1e9, so that no fixed tolerance would do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Elementwise, Primitive
from ..tape import Record, Tape, fit
from ..tensor import Tensor
from ..transforms import _Checkpoint, _run_again
from .report import GradReport

EPS32 = 2.0**-23
TINY32 = 2.0**-126
LARGE = 1e18  # its square is the end of float32's range, and rules square their inputs
REPLAYS = 4
FACTOR = 32.0


def check_float32(subject: Any, given: list[Any], seed: int = 0) -> GradReport:
    """Compare the gradient in float32 with the one in float64.

    subject: the function on its float64 tape.  given: the inputs in the dtypes in which they came.

    Returns a report whose resolution is the largest error that was allowed, relative to the largest
    entry of that gradient.
    """
    from .subjects import Float32Subject

    rng = np.random.default_rng([seed, 32])
    low = Float32Subject(subject, given)
    v = np.asarray(np.copysign(rng.uniform(0.5, 1.0, subject.first.shape), rng.standard_normal(subject.first.shape)))
    v = v.astype(np.float32).astype(np.float64)
    exact = subject.pull(v)
    spread = gradient_spread(subject.tape, subject.slots(), subject.split(v), [s._slot for s in subject.sources], rng)
    report = GradReport(mode="float32", structure="replayed tape", evaluations=subject.evaluations)
    for k, g32, g64, moved in zip(subject.wrt, low.pull(v), exact, spread):
        if g32.dtype != given[k].dtype:
            report.verdict, report.input = "fail", k
            report.reason = f"the gradient of input {k} is {g32.dtype}, and the input {given[k].dtype}"
            return report
        if not g64.size or given[k].dtype != np.float32:
            continue
        moved = float(np.max(moved))
        high = not np.isfinite(g32).all() and peak(subject.tape) > LARGE
        if high or not (np.isfinite(g64).all() and np.isfinite(moved)) or np.abs(g64).max() > 1e36:
            report.verdict, report.reason = "inconclusive", "the gradient leaves the range of float32"
            continue
        top = float(np.abs(g64).max())
        allowed = FACTOR * (moved + EPS32 * top + TINY32)
        error = np.abs(g32.astype(np.float64) - g64)
        if not (error <= allowed).all():
            # A primitive that passes through numbers near 1 on its way to a tiny result rounds those, which
            # a perturbed result does not show: two roundings of a derivative of 1 + |x| prove nothing.
            allowed += 2 * EPS32 * (1.0 + float(np.abs(given[k]).max()))
        if top > 0:
            report.resolution = max(report.resolution, allowed / top)
        if not (error <= allowed).all():
            flat = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
            report.verdict, report.input, report.tolerance = "fail", k, allowed
            report.reason = "in float32 the gradient is further from the one in float64 than round-off explains"
            report.index = tuple(int(i) for i in np.unravel_index(flat, g64.shape))
            report.expected, report.got = float(g64.reshape(-1)[flat]), float(g32.reshape(-1)[flat])
            return report
    return report


def gradient_spread(
    tape: Tape,
    outputs: list[int | None],
    cotangents: list[Any],
    sources: list[int],
    rng: np.random.Generator,
    eps: float = EPS32,
) -> list[Any]:
    """How far round-off spreads the gradient of a tape: the largest deviation in 4 replays, entry by entry.

    tape: recorded in float64 on plain arrays.  outputs: slots of the results, with their cotangents.
    sources: slots.  rng: of the perturbations.  eps: their size; 2**-23 for float32, 2**-52 for float64.

    Returns for each source an array of its shape (0.0 for one that was not reached).

    >>> import numpy as np, tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0], dtype="float64")
    >>> with tg.Tape() as tape:
    ...     y = tg.exp(x)
    >>> spread = gradient_spread(tape, [y._slot], [np.ones(2)], [tape.leaves[id(x)][0]], np.random.default_rng(0))
    >>> bool(np.all(spread[0] > 1e-9) and np.all(spread[0] < 1e-5))
    True
    """
    seeds: dict[int, Any] = {}
    for slot, cotangent in zip(outputs, cotangents):
        if slot is not None:
            seeds[slot] = seeds[slot] + cotangent if slot in seeds else cotangent
    exact = tape.sweep_backward(seeds, sources)
    spread: list[Any] = [0.0] * len(sources)
    needed = tape._reachable_from(sources)
    kept = [_only_moves(record) for record in tape]
    rounded = _Rounding(rng, eps)
    for _ in range(REPLAYS):
        found = _backward(_forward(tape, rounded, kept), needed, dict(seeds), sources, rounded)
        for i, slot in enumerate(sources):
            if slot in exact and slot in found:
                spread[i] = np.maximum(spread[i], abs(found[slot] - exact[slot]))
    return spread


def peak(tape: Tape) -> float:
    """Largest number in any result on a tape, infinity included."""
    largest = 0.0
    for record in tape:
        for part in record.result if isinstance(record.result, tuple) else (record.result,):
            if np.size(part) and np.asarray(part).dtype.kind == "f":
                largest = max(largest, float(np.fmax.reduce(np.abs(part), axis=None)))
    return largest


def value_spread(tape: Tape, outputs: list[int | None], rng: np.random.Generator, eps: float) -> list[Any]:
    """How far round-off spreads the results of a tape: the largest deviation in 4 replays, for each output slot."""
    kept = [_only_moves(record) for record in tape]
    rounded = _Rounding(rng, eps)
    spread: list[Any] = [0.0] * len(outputs)
    exact = _results(list(tape))
    for _ in range(REPLAYS):
        found = _results(_forward(tape, rounded, kept))
        for i, slot in enumerate(outputs):
            if slot in found:
                spread[i] = np.fmax(spread[i], abs(found[slot] - exact[slot]))
    return spread


def _results(records: list[Record]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for record in records:
        if isinstance(record.output, tuple):
            found.update(zip(record.output, record.result))
        else:
            found[record.output] = record.result
    return found


class _Rounding:
    """Give every entry of a value a random relative error; integers and bools stay as they are."""

    def __init__(self, rng: np.random.Generator, eps: float) -> None:
        self._rng, self._eps = rng, eps

    def __call__(self, value: Any) -> Any:
        if getattr(value, "dtype", None) != np.float64:
            return value
        return np.asarray(value * (1 + self._eps * self._rng.uniform(-1.0, 1.0, value.shape)))


def _forward(tape: Tape, rounded: _Rounding, exact: list[bool]) -> list[Record]:
    """The records of a tape, run again with round-off."""
    moved: dict[int, Any] = {}
    records = []
    for record, keeps in zip(tape, exact):
        values = tuple(moved.get(slot, value) for slot, value in zip(record.inputs, record.values))
        if not keeps and not isinstance(record.primitive, Elementwise):
            # One primitive may stand for many operations (a softmax, a whole recurrence), each of which rounds.
            # Round-off in its inputs stands for theirs.
            values = tuple(rounded(value) for value in values)
        result, residual = _run(record, values)
        if isinstance(result, tuple):
            result = result if keeps else tuple(rounded(part) for part in result)
            moved.update(zip(record.output, result))
        else:
            result = result if keeps else rounded(result)
            moved[record.output] = result
        records.append(record._replace(values=values, result=result, residual=residual))
    return records


def _only_moves(record: Record) -> bool:
    """Whether every entry of the result is an entry of an input, or zero, or no float: nothing is rounded then.

    Rules of a maximum look for its result among its inputs, and must find it there in a replay too.
    """
    results = record.result if isinstance(record.result, tuple) else (record.result,)
    results = tuple(part for part in results if getattr(part, "dtype", None) == np.float64)
    sources = [
        np.zeros(1),
        *(np.ravel(value) for value in record.values if isinstance(value, (np.ndarray, float, int))),
    ]
    pool = np.concatenate(sources)
    return all(np.isin(part, pool).all() for part in results)


def _run(record: Record, values: tuple[Any, ...]) -> tuple[Any, Any]:
    """Result and residual of a record's primitive at other values."""
    primitive: Primitive = record.primitive
    if isinstance(primitive, _Checkpoint):  # its forward hands out what was computed before
        outs = [y._array if isinstance(y, Tensor) else y for y in _run_again(record._replace(values=values))[2]]
        return (outs[0] if primitive.outputs == 1 else tuple(outs)), None
    if primitive.name == "to_backend":  # the one operation that no single backend's namespace has
        return record.params["target"].asarray(record.backend.to_numpy(values[0])), None
    bound = primitive._forwards[record.backend]
    result = bound(*values, **record.params)
    residual = None
    if primitive.residual:
        result, residual = result
    if primitive.outputs != 1:
        return tuple(record.backend.asarray(part) for part in result), residual
    return record.backend.asarray(result), residual


def _backward(
    records: list[Record], needed: Any, totals: dict[int, Any], sources: list[int], rounded: _Rounding
) -> dict[int, Any]:
    """The reverse sweep with round-off in every message and every sum."""
    for record in reversed(records):
        if isinstance(record.output, tuple):
            cotangent: Any = tuple(totals.get(slot) if needed[slot] else None for slot in record.output)
            if all(part is None for part in cotangent):
                continue
        else:
            cotangent = totals.get(record.output)
            if cotangent is None or not needed[record.output]:
                continue
        xp = record.backend.xp
        parts = record.primitive.pullback(xp, cotangent, record, needed)
        for slot, value, part in zip(record.inputs, record.values, parts):
            if part is None:
                continue
            part = rounded(fit(xp, part, value))
            totals[slot] = part if slot not in totals else rounded(totals[slot] + part)
    return {slot: totals[slot] for slot in sources if slot in totals}
