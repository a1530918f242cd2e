"""Where NaN and infinity come from: the first operation, forward or backward, that makes one of finite numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, TapeError
from ..tape import CONSTANT, Record, Tape
from .contributions import is_floating, outputs_of, plain, pulls, results_of, seeds_of
from .rules import rule_text, source_line


class AnomalyError(DataError):
    """NaN or infinity appeared on a watched tape; ``error.anomaly`` has the facts, the message shows them."""

    def __init__(self, anomaly: Anomaly) -> None:
        super().__init__(str(anomaly))
        self.anomaly = anomaly


@dataclass(frozen=True)
class Anomaly:
    """The first NaN or infinity on a tape; ``print`` shows it.

    direction: "forward", "backward" (a cotangent) or "tangent" (a forward-mode sweep).
    number: of the record.  operation, step, scope, where: of the record, as on the tape.
    kind: "NaN" or "infinity".  entry: index of the first such entry.  count, size: such entries, of how many.
    outside: the operation did not make it: an input that comes from outside the tape (forward), or the cotangent that
        the sweep began with (backward), held it already.
    seen: what the operation worked on: (name, shape, dtype, range in words) of each array.
    """

    direction: str
    number: int
    operation: str
    step: int | None
    scope: str
    where: str
    source: str
    kind: str
    entry: tuple[int, ...]
    count: int
    size: int
    outside: bool
    seen: list[tuple[str, tuple[int, ...], str, str]]
    rule: str

    def __str__(self) -> str:
        what = {"forward": "the result", "backward": "the gradient sent back", "tangent": "the tangent"}[self.direction]
        place = "" if self.step is None else f" at step {self.step}"
        place += f" in {self.scope}" if self.scope else ""
        if self.outside:
            begun = "an input from outside the tape" if self.direction == "forward" else "what the sweep began with"
            head = f"{self.kind} in {begun}, first met by {self.operation} (record {self.number}){place}"
        else:
            head = f"{self.kind} in {what} of {self.operation} (record {self.number}){place}, of finite numbers"
        lines = [
            head,
            f"  {self.count} of {self.size} entries, the first at {self.entry}",
            f"  recorded at {self.where}",
        ]
        if self.source:
            lines.append(f"      {self.source}")
        lines += [f"  {name:<9} {shape} {dtype}  {text}" for name, shape, dtype, text in self.seen]
        if self.direction == "backward" and not self.outside:
            lines += ["  rule      " + "\n            ".join(self.rule.splitlines())]
        return "\n".join(lines)


def watch(tape: Tape, *, infinity: bool = True) -> Tape:
    """Make a tape raise at the first NaN or infinity, forward and backward; return the tape.

    What was recorded already is looked at now. What will be recorded is looked at as it is recorded, so that the error
    leads to the line that made it; each later sweep is looked at record by record before it returns. A tape that is not
    watched does none of this. Watching costs a look at every array, and a second backward sweep.

    infinity: False lets infinities pass, which programs with a mask of -inf make on purpose.

    Raises AnomalyError, a DataError, with the operation, its step, its line, and the shapes and ranges it worked on.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 0.0])
    >>> with tg.inspect.watch(tg.Tape()) as tape:
    ...     y = tg.sum(tg.sqrt(x))
    >>> tape.gradient(y, x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tinygrad_rnn.inspect.anomaly.AnomalyError: infinity in the gradient sent back of sqrt (record 0), of finite numbers
      1 of 2 entries, the first at (1,)
      recorded at ...
    """
    if type(tape) not in (Tape, _Watched, _WatchedForNaN):
        raise TapeError(f"watch takes a tg.Tape; got {type(tape).__name__}")
    _raise_if(_first_forward(tape.records, 0, infinity))
    tape.__class__ = _Watched if infinity else _WatchedForNaN
    records = tape.records  # and not the tape, which would then hold itself

    def checked(record: Record) -> None:
        records.append(record)
        _raise_if(_first_forward([record], len(records) - 1, infinity))

    tape.append = checked
    return tape


def find_anomaly(tape: Tape, target: Any = None, *, infinity: bool = True) -> Anomaly | None:
    """Return the first NaN or infinity of a recorded tape, or None: first in its values, then in its gradients.

    target: the Tensor whose gradients are looked at; default: what was swept last, or else the last floating scalar.
    infinity: whether infinities count.

    >>> import tinygrad_rnn as tg
    >>> with tg.Tape() as tape:
    ...     y = tg.sum(tg.sqrt(tg.tensor([1.0, 0.0])))
    >>> found = tg.inspect.find_anomaly(tape)
    >>> found.direction, found.operation, found.kind, found.entry
    ('backward', 'sqrt', 'infinity', (1,))
    """
    found = _first_forward(tape.records, 0, infinity)
    return found or _first_backward(tape, seeds_of(tape, target), None, infinity)


class _Watched(Tape):
    """A tape whose sweeps are looked at; `watch` gives this class to a tape, which keeps all else."""

    __slots__ = ()
    _infinity = True

    def sweep_backward(
        self, cotangents: Mapping[int, Any], wanted: Iterable[int], namespace: Any = None
    ) -> dict[int, Any]:
        wanted = list(wanted)
        _raise_if(_first_backward(self, cotangents, wanted, self._infinity))
        return super().sweep_backward(cotangents, wanted, namespace)

    def sweep_forward(self, tangents: Mapping[int, Any], namespace: Any = None) -> dict[int, Any]:
        known = super().sweep_forward(tangents, namespace)
        _raise_if(_first_tangent(self, known, self._infinity))
        return known


class _WatchedForNaN(_Watched):
    """A tape whose sweeps are looked at for NaN alone."""

    __slots__ = ()
    _infinity = False


def _raise_if(anomaly: Anomaly | None) -> None:
    if anomaly is not None:
        raise AnomalyError(anomaly)


# ---- the three directions


def _first_forward(records: Sequence[Record], number: int, infinity: bool) -> Anomaly | None:
    """The first record with a bad result, or with a bad input from outside; `number` is that of the first record."""
    for i, record in enumerate(records):
        bad_inputs = [value for value in record.values if _is_bad(record, value, infinity)]
        bad = next((result for result in results_of(record) if _is_bad(record, result, infinity)), None)
        if bad_inputs or bad is not None:
            first = bad_inputs[0] if bad_inputs else bad
            seen = [*_named_inputs(record), *_named_results(record)]
            return _anomaly("forward", number + i, record, first, bool(bad_inputs), seen, infinity)
    return None


def _first_backward(
    tape: Tape, seeds: Mapping[int, Any], wanted: Iterable[int] | None, infinity: bool
) -> Anomaly | None:
    """The first record of the sweep that sends a bad cotangent on the way to a wanted slot."""
    for pull in pulls(tape, seeds, wanted):
        record = tape.records[pull.number]
        arrived = next((g for g in pull.cotangents if g is not None and _is_bad(record, g, infinity)), None)
        sent = next((each.part for each in pull.contributions if _is_bad(record, each.part, infinity)), None)
        if arrived is not None or sent is not None:
            came = [("cotangent", g) for g in pull.cotangents if g is not None]
            parts = [(f"to slot {each.slot}", each.part) for each in pull.contributions]
            seen = [*came, *_named_inputs(record), *_named_results(record), *parts]
            bad, outside = (sent, False) if arrived is None else (arrived, True)
            return _anomaly("backward", pull.number, record, bad, outside, seen, infinity)
    return None


def _first_tangent(tape: Tape, known: Mapping[int, Any], infinity: bool) -> Anomaly | None:
    """The first record whose tangent is bad."""
    for number, record in enumerate(tape.records):
        for slot in outputs_of(record):
            if slot in known and _is_bad(record, known[slot], infinity):
                seen = [("tangent", known[each]) for each in record.inputs if each in known]
                seen += _named_inputs(record)
                return _anomaly("tangent", number, record, known[slot], False, seen, infinity)
    return None


# ---- what is told


def _anomaly(
    direction: str,
    number: int,
    record: Record,
    bad: Any,
    outside: bool,
    seen: Sequence[tuple[str, Any]],
    infinity: bool,
) -> Anomaly:
    host = _host(record, bad)
    wrong = ~np.isfinite(host) if infinity else np.isnan(host)
    entry = tuple(int(i[0]) for i in np.nonzero(wrong)) if host.ndim else ()
    return Anomaly(
        direction,
        number,
        record.primitive.name,
        record.step,
        record.scope,
        record.where,
        source_line(record),
        "NaN" if np.isnan(host[entry]) else "infinity",
        entry,
        int(wrong.sum()),
        int(host.size),
        outside,
        list(_ranges(record, seen)),
        rule_text(record.primitive),
    )


def _named_inputs(record: Record) -> list[tuple[str, Any]]:
    return [("constant" if s == CONSTANT else f"input {s}", value) for s, value in zip(record.inputs, record.values)]


def _named_results(record: Record) -> list[tuple[str, Any]]:
    return [(f"result {slot}", value) for slot, value in zip(outputs_of(record), results_of(record))]


def _ranges(record: Record, seen: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, tuple[int, ...], str, str]]:
    """Shape, dtype and range of each array; a number is its own range."""
    for name, value in seen:
        array = plain(value)
        if not hasattr(array, "dtype"):
            yield name, (), type(array).__name__, repr(array)
            continue
        host = _host(record, array)
        if host.dtype.kind != "f":
            text = f"from {host.min()} to {host.max()}" if host.size else "empty"
        else:
            finite = host[np.isfinite(host)]
            text = f"from {finite.min():.4g} to {finite.max():.4g}" if finite.size else "no finite entry"
            if not host.size:
                text = "empty"
            for kind, count in (("NaN", np.isnan(host).sum()), ("infinite", np.isinf(host).sum())):
                text += f", {count} {kind}" if count else ""
        yield name, tuple(host.shape), str(host.dtype), text


def _is_bad(record: Record, value: Any, infinity: bool) -> bool:
    array = plain(value)
    if isinstance(array, float):
        return array != array or (infinity and array in (np.inf, -np.inf))
    if not is_floating(array):
        return False
    host = _host(record, array)
    return not np.isfinite(host).all() if infinity else bool(np.isnan(host).any())


def _host(record: Record, value: Any) -> Any:
    array = plain(value)
    return np.asarray(record.backend.to_numpy(array) if hasattr(array, "dtype") else array)
