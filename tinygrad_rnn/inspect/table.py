"""A tape as a table of text: one row a record, long stretches of time folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ..tape import CONSTANT, Record, Tape
from .contributions import cotangent_norms, outputs_of, results_of, seeds_of

HEADER = ("#", "step", "scope", "operation", "inputs", "output", "shape", "dtype", "bytes", "line")
NORM = "‖g‖"  # of the cotangent of the result, once there was a sweep
MOST = 4  # inputs, outputs and shapes that a cell names; of more, the ends


def table(tape: Tape, target: Any = None, *, fold: bool = True) -> str:
    """Return a tape as text.

    A row gives the record's number, its time step and scope, the operation, the slots it read (``·`` for a
    constant) and wrote, shape, dtype and bytes of its result, and the line of the user's code. After a backward sweep
    there is one column more: the norm of the cotangent that reached the result.

    target: the Tensor whose gradient's norms are shown; default: what was swept last, if anything was.
    fold: of more than three time steps that repeat the same operations, show the first, the middle and the last.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0])
    >>> with tg.Tape() as tape:
    ...     y = tg.exp(x) * 2.0
    >>> print(tg.inspect.table(tape).splitlines()[1].split()[:7])
    ['0', 'exp', '0', '1', '(2,)', 'float32', '8']
    """
    norms = None
    if target is not None or tape.swept is not None:
        norms = cotangent_norms(tape, seeds_of(tape, target))
    header = HEADER if norms is None else (*HEADER[:-1], NORM, HEADER[-1])
    rows: list[Any] = [header]
    total = 0
    for first, last, skipped in _stretches(tape, fold):
        if skipped:
            steps = {record.step for record in tape.records[first:last]}
            rows.append(f"    … {len(steps)} steps alike, {last - first} records …")
            continue
        rows += [_row(number, tape.records[number], norms) for number in range(first, last)]
    for record in tape:
        total += sum(array.nbytes for array in results_of(record) if hasattr(array, "nbytes"))
    widths = [max(len(row[i]) for row in rows if not isinstance(row, str)) for i in range(len(header))]
    lines = [row if isinstance(row, str) else _aligned(row, widths) for row in rows]
    lines.append(f"{len(tape)} records, {len(tape.leaves)} leaves, {total:,} bytes of results")
    return "\n".join(lines)


def _row(number: int, record: Record, norms: dict[int, float] | None) -> tuple[str, ...]:
    results = results_of(record)
    place = "" if record.file.startswith("<frozen") else f"{Path(record.file).name}:{record.line}"  # a command ran it
    reached = [norms[slot] for slot in outputs_of(record) if norms and slot in norms]
    return (
        str(number),
        "" if record.step is None else str(record.step),
        record.scope,
        record.primitive.name,
        _listed(["·" if slot == CONSTANT else str(slot) for slot in record.inputs]),
        _listed([str(slot) for slot in outputs_of(record)]),
        _shapes(results),
        str(results[0].dtype) if results else "",
        str(sum(getattr(array, "nbytes", 0) for array in results)),
        *(() if norms is None else (f"{sum(each**2 for each in reached) ** 0.5:.4g}" if reached else "",)),
        place,
    )


def _listed(parts: Sequence[str]) -> str:
    return " ".join(parts) if len(parts) <= MOST else f"{parts[0]} {parts[1]} … {parts[-1]}"


def _shapes(results: Sequence[Any]) -> str:
    shapes = [str(tuple(array.shape)).replace(" ", "") for array in results]
    return f"{len(shapes)}×{shapes[0]}" if len(shapes) > 1 and len(set(shapes)) == 1 else _listed(shapes)


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
