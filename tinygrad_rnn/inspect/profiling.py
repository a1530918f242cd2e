"""Where time and bytes go: a tape's records are run again with a clock, so that recording pays nothing for it."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tape import Record, Tape, paused
from .contributions import plain, pulls, seeds_of
from .footprint import record_bytes

GROUPS = ("operation", "scope", "step", "line")
WIDEST = 40  # characters of a name in a table


@dataclass(frozen=True)
class Timed:
    """One record: seconds forward and backward, and the bytes that it adds to the tape."""

    number: int
    operation: str
    scope: str
    step: int | None
    line: str
    forward: float
    backward: float
    bytes: int


@dataclass(frozen=True)
class Total:
    """A group of records: how many, seconds forward and backward, bytes."""

    records: int
    forward: float
    backward: float
    bytes: int

    @property
    def seconds(self) -> float:
        """Forward and backward together."""
        return self.forward + self.backward


@dataclass(frozen=True)
class Profile:
    """What `profile` found; ``print`` shows tables by operation, scope and step, `to_chrome` writes a trace."""

    records: list[Timed]

    def by(self, group: str) -> dict[Any, Total]:
        """Totals by "operation", "scope", "step" or "line" (of the user's code), the slowest first.

        Steps come in order, with None for what lies outside time. Raises ArgumentError for another word.
        """
        if group not in GROUPS:
            raise ArgumentError(f"a profile groups by {', '.join(map(repr, GROUPS))}; got {group!r}")
        members: dict[Any, list[Timed]] = {}
        for each in self.records:
            members.setdefault(getattr(each, group), []).append(each)
        totals = {key: _total(group) for key, group in members.items()}
        if group == "step":
            return dict(sorted(totals.items(), key=lambda item: (item[0] is not None, item[0] or 0)))
        return dict(sorted(totals.items(), key=lambda item: -item[1].seconds))

    @property
    def total(self) -> Total:
        """All records together."""
        return _total(self.records)

    def __str__(self) -> str:
        parts = [_table("operation", self.by("operation"), self.total)]
        if any(each.scope for each in self.records):
            parts.append(_table("scope", self.by("scope"), self.total))
        if any(each.step is not None for each in self.records):
            parts.append(_table("step", _folded(self.by("step")), self.total))
        return "\n\n".join(parts)

    def to_chrome(self, path: str | Path) -> Path:
        """Write the profile as Chrome trace JSON, for chrome://tracing or ui.perfetto.dev. Returns the path.

        The records stand in the order in which a sweep runs them: forward, then backward, one after the other; the time
        steps have a line of their own above them.
        """
        events: list[dict[str, Any]] = [
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": {"name": name}}
            for tid, name in ((1, "time steps"), (2, "operations"))
        ]
        now = 0.0
        for direction, records in (("forward", self.records), ("backward", self.records[::-1])):
            begun, step = now, None
            for each in records:
                if each.step != step:
                    events += _step_event(step, direction, begun, now)
                    begun, step = now, each.step
                seconds = getattr(each, direction)
                if direction == "forward" or seconds:
                    events.append(_event(each.operation, direction, 2, now, seconds, _facts(each)))
                now += seconds
            events += _step_event(step, direction, begun, now)
        path = Path(path)
        path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")
        return path


def profile(tape: Tape, target: Any = None, *, cotangent: Any = None, repeats: int = 5) -> Profile:
    """Measure what each record of a tape takes, by running all of them again: forward, and one sweep backward.

    target, cotangent: where the backward sweep begins, as in `Tape.gradient`; default: what was swept last, or else
        the last floating scalar.
    repeats: how often the whole is run; a record's time is the median.

    The tape is left as it is. Forward times are those of the array work alone, without recording; backward times
    include un-broadcasting and adding up, and a few microseconds of this profiler for each record, which show on small
    arrays. A checkpointed function costs nothing forward, as its results are known, and its second run backward.
    Backends that run ahead of Python are waited for after each record.

    Raises TapeError, GradientError and ShapeError as `Tape.gradient` does; ArgumentError for repeats below 1.

    >>> import tinygrad_rnn as tg
    >>> x = tg.ones((64, 64))
    >>> with tg.Tape() as tape:
    ...     y = tg.sum(tg.tanh(x @ x))
    >>> found = tape.profile(y)
    >>> sorted(found.by("operation")), found.total.bytes
    (['matmul', 'sum', 'tanh'], 32772)
    """
    if not isinstance(repeats, int) or repeats < 1:
        raise ArgumentError(f"repeats is a number of runs, at least 1; got {repeats!r}")
    seeds = seeds_of(tape, target, cotangent)
    runs = [(_forward(tape), _backward(tape, seeds)) for _ in range(repeats)]
    forward, backward = ([statistics.median(times) for times in zip(*each)] for each in zip(*runs))
    timed = []
    for number, (record, count) in enumerate(zip(tape.records, record_bytes(tape))):
        place = "" if record.file.startswith("<frozen") else f"{Path(record.file).name}:{record.line}"
        facts = (number, record.primitive.name, record.scope, record.step, place)
        timed.append(Timed(*facts, forward[number], backward[number], count))
    return Profile(timed)


def _forward(tape: Tape) -> list[float]:
    """Seconds of each record's forward, on the arrays that it saw."""
    taken = []
    with paused(), np.errstate(all="ignore"):
        for record in tape.records:
            run, values = record.primitive._forwards[record.backend], [plain(value) for value in record.values]
            wait = _waiting(record)
            begun = time.perf_counter()
            run(*values, **record.params)
            wait()
            taken.append(time.perf_counter() - begun)
    return taken


def _backward(tape: Tape, seeds: Mapping[int, Any]) -> list[float]:
    """Seconds of each record in a backward sweep; 0 where it does not come by."""
    taken = [0.0] * len(tape.records)
    sweep = pulls(tape, seeds)
    begun = time.perf_counter()
    for pull in sweep:
        _waiting(tape.records[pull.number])()
        taken[pull.number] = time.perf_counter() - begun
        begun = time.perf_counter()
    return taken


def _waiting(record: Record) -> Callable[[], Any]:
    """The function that waits until the backend of a record has done its work."""
    return getattr(record.backend, "synchronize", lambda: None)


def _total(records: Sequence[Timed]) -> Total:
    return Total(
        len(records),
        sum(each.forward for each in records),
        sum(each.backward for each in records),
        sum(each.bytes for each in records),
    )


# ---- as a table and as a trace


def _table(group: str, totals: Mapping[Any, Total], whole: Total) -> str:
    rows = [(group, "records", "forward", "backward", "share", "bytes")]
    for key, each in [*totals.items(), ("all", whole)]:
        name = "–" if key is None or key == "" else str(key)
        share = each.seconds / whole.seconds if whole.seconds else 0.0
        name = name if len(name) <= WIDEST else f"…{name[-WIDEST + 1 :]}"
        rows.append((name, str(each.records), _ms(each.forward), _ms(each.backward), f"{share:.0%}", f"{each.bytes:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]])
        for row in rows
    )


def _folded(totals: Mapping[Any, Total]) -> dict[Any, Total]:
    """Of more than six steps the first, the middle and the last, and the rest together."""
    steps = [step for step in totals if step is not None]
    if len(steps) <= 6:
        return dict(totals)
    kept = {steps[0], steps[len(steps) // 2], steps[-1], None}
    folded = {step: total for step, total in totals.items() if step in kept}
    rest = [total for step, total in totals.items() if step not in kept]
    sums = [sum(getattr(each, name) for each in rest) for name in ("records", "forward", "backward", "bytes")]
    folded[f"{len(rest)} others"] = Total(*sums)
    return folded


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"


def _step_event(step: int | None, direction: str, begun: float, now: float) -> list[dict[str, Any]]:
    return [] if step is None else [_event(f"step {step}", direction, 1, begun, now - begun, {})]


def _event(name: str, category: str, thread: int, begun: float, seconds: float, facts: Any) -> dict[str, Any]:
    """A complete event; times are in microseconds."""
    times = {"ts": round(begun * 1e6, 3), "dur": round(seconds * 1e6, 3)}
    return {"name": name, "cat": category, "ph": "X", "pid": 1, "tid": thread, **times, "args": facts}


def _facts(each: Timed) -> dict[str, Any]:
    return {"record": each.number, "scope": each.scope, "step": each.step, "line": each.line, "bytes": each.bytes}
