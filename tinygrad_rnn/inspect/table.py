"""A tape as a table of text: one row a record, long stretches of time folded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from ..tape import CONSTANT, Record, Tape

HEADER = ("#", "step", "scope", "operation", "inputs", "output", "shape", "dtype", "bytes", "line")


def table(tape: Tape, *, fold: bool = True) -> str:
    """Return a tape as text.

    A row gives the record's number, its time step and scope, the operation, the slots it read (``·`` for a
    constant) and wrote, shape, dtype and bytes of its result, and the line of the user's code.

    fold: of more than three time steps that repeat the same operations, show the first, the middle and the last.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0])
    >>> with tg.Tape() as tape:
    ...     y = tg.exp(x) * 2.0
    >>> print(tg.inspect.table(tape).splitlines()[1].split()[:7])
    ['0', 'exp', '0', '1', '(2,)', 'float32', '8']
    """
    rows: list[Any] = [HEADER]
    total = 0
    for first, last, skipped in _stretches(tape, fold):
        if skipped:
            steps = {record.step for record in tape.records[first:last]}
            rows.append(f"    … {len(steps)} steps alike, {last - first} records …")
            continue
        rows += [_row(number, tape.records[number]) for number in range(first, last)]
    for record in tape:
        total += sum(array.nbytes for array in _results(record) if hasattr(array, "nbytes"))
    widths = [max(len(row[i]) for row in rows if not isinstance(row, str)) for i in range(len(HEADER))]
    lines = [row if isinstance(row, str) else _aligned(row, widths) for row in rows]
    lines.append(f"{len(tape)} records, {len(tape.leaves)} leaves, {total:,} bytes of results")
    return "\n".join(lines)


def _row(number: int, record: Record) -> tuple[str, ...]:
    results = _results(record)
    outputs = record.output if isinstance(record.output, tuple) else (record.output,)
    return (
        str(number),
        "" if record.step is None else str(record.step),
        record.scope,
        record.primitive.name,
        " ".join("·" if slot == CONSTANT else str(slot) for slot in record.inputs),
        " ".join(str(slot) for slot in outputs),
        " ".join(str(tuple(array.shape)).replace(" ", "") for array in results),
        str(results[0].dtype) if results else "",
        str(sum(getattr(array, "nbytes", 0) for array in results)),
        f"{Path(record.file).name}:{record.line}",
    )


def _results(record: Record) -> tuple[Any, ...]:
    return record.result if isinstance(record.result, tuple) else (record.result,)


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def _stretches(tape: Tape, fold: bool) -> Iterator[tuple[int, int, bool]]:
    """Cut the tape into (first, last, skipped): runs of like steps lose all but three."""
    steps = []
    at = 0
    for step, group in groupby(tape.records, key=lambda record: record.step):
        count = len(list(group))
        pattern = tuple((r.primitive.name, r.scope) for r in tape.records[at : at + count])
        steps.append((step, pattern, at, at + count))
        at += count
    for (outside_time, _), alike in groupby(steps, key=lambda each: (each[0] is None, each[1])):
        run = list(alike)
        if not fold or outside_time or len(run) <= 3:
            for _, _, first, last in run:
                yield first, last, False
            continue
        middle = len(run) // 2
        yield run[0][2], run[0][3], False
        if middle > 1:
            yield run[1][2], run[middle][2], True
        yield run[middle][2], run[middle][3], False
        if middle + 1 < len(run) - 1:
            yield run[middle + 1][2], run[-1][2], True
        yield run[-1][2], run[-1][3], False
