"""Where the records of a tape go in a picture: time runs to the right, the computation of one step runs down.

A tape is in topological order already, so no graph library is needed. Records of one time step make a column; inside
it a record's row is the longest way to it from the column's top. One pass, linear in the number of records.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..tape import Record, Tape
from .contributions import outputs_of, source_values

CHUNK = 24  # records of a column outside time; longer stretches continue in the next column


@dataclass
class Column:
    """A column of the picture: one time step, a stretch of records outside time, or the leaves.

    nodes: numbers of its records; leaves are numbered from the tape's length on.
    """

    kind: str  # "leaves", "step" or "records"
    step: int | None = None
    scope: str = ""
    nodes: list[int] = field(default_factory=list)
    lanes: int = 1
    ranks: int = 1


@dataclass
class Layout:
    """The columns, and for each node its column, lane (to the right) and rank (downwards), in whole units."""

    columns: list[Column]
    column: list[int]
    lane: list[int]
    rank: list[int]
    leaves: list[int]  # slots that no record made, in the order of their nodes
    producer: dict[int, int]  # node by slot


def layout(tape: Tape) -> Layout:
    """Place every record and leaf of a tape.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0])
    >>> with tg.Tape() as tape:
    ...     y = tg.sum(tg.exp(x) * x)
    >>> placed = layout(tape)
    >>> placed.rank[:3], [column.kind for column in placed.columns]
    ([0, 1, 2], ['leaves', 'records'])
    """
    leaves = list(source_values(tape))
    count = len(tape.records)
    placed = Layout(
        [], [0] * (count + len(leaves)), [0] * (count + len(leaves)), [0] * (count + len(leaves)), leaves, {}
    )
    for place, slot in enumerate(leaves):
        placed.producer[slot] = count + place
    if leaves:
        placed.columns.append(
            Column("leaves", nodes=list(range(count, count + len(leaves))), ranks=min(CHUNK, len(leaves)))
        )
        for place in range(len(leaves)):
            lane, rank = divmod(place, CHUNK)
            placed.lane[count + place], placed.rank[count + place] = lane, rank
        placed.columns[0].lanes = 1 + (len(leaves) - 1) // CHUNK
    for column in _columns(tape.records):
        for node in column.nodes:
            placed.column[node] = len(placed.columns)
            for slot in outputs_of(tape.records[node]):
                placed.producer[slot] = node
        placed.columns.append(column)
        _place(tape.records, column, placed)
    return placed


def _columns(records: list[Record]) -> list[Column]:
    columns: list[Column] = []
    for number, record in enumerate(records):
        last = columns[-1] if columns else None
        if record.step is not None:
            fresh = last is None or last.kind != "step" or last.step != record.step
        else:
            fresh = last is None or last.kind != "records" or len(last.nodes) >= CHUNK
        if fresh or last is None:
            last = Column("records" if record.step is None else "step", record.step, record.scope)
            columns.append(last)
        last.nodes.append(number)
        if last.scope != record.scope:
            last.scope = _common(last.scope, record.scope)
    return columns


def _common(a: str, b: str) -> str:
    """The outer scopes that two scopes share."""
    shared = []
    for left, right in zip(a.split("/"), b.split("/")):
        if left != right:
            break
        shared.append(left)
    return "/".join(shared)


def _place(records: list[Record], column: Column, placed: Layout) -> None:
    """Rows by the longest way inside the column; lanes below what a record reads, or as near as there is room."""
    own = set(column.nodes)
    parents: dict[int, list[int]] = {}
    earliest: dict[int, int] = {}  # for nodes that start a way: the row of what reads them first
    for node in column.nodes:
        inside = [placed.producer[slot] for slot in records[node].inputs if placed.producer.get(slot) in own]
        parents[node] = list(dict.fromkeys(inside))
        placed.rank[node] = 1 + max((placed.rank[each] for each in inside), default=-1)
    for node in column.nodes:
        for each in parents[node]:
            if not parents[each]:
                earliest[each] = min(earliest.get(each, placed.rank[node]), placed.rank[node])
    for node, row in earliest.items():  # a weight's transpose stands beside the product that it is for
        placed.rank[node] = row - 1
    taken: dict[int, set[int]] = {}
    for node in sorted(column.nodes, key=lambda each: (placed.rank[each], each)):
        above = [placed.lane[each] for each in parents[node]]
        wish = sorted(above)[(len(above) - 1) // 2] if above else 0
        occupied = taken.setdefault(placed.rank[node], set())
        lane = next(at for at in _outwards(wish) if at not in occupied)
        occupied.add(lane)
        placed.lane[node] = lane
    column.lanes = 1 + max(placed.lane[node] for node in column.nodes)
    column.ranks = 1 + max(placed.rank[node] for node in column.nodes)


def _outwards(wish: int) -> Iterator[int]:
    """Lanes from the wished one outwards, without end."""
    yield wish
    for distance in itertools.count(1):
        yield wish + distance
        if wish >= distance:
            yield wish - distance
