"""A tape as a picture for print: SVG, written without any graph library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ..tape import Tape
from .contributions import cotangent_norms, outputs_of, plain, results_of, seeds_of, source_values
from .page_layout import Column, layout
from .page_names import names_by_slot, variables_of_caller

WIDTH, HEIGHT, LANE, RANK, TOP, PAD, GAP = 118, 48, 132, 72, 44, 14, 28
SHORT = 60  # on a tape of so few records every edge is drawn
BLUE, BLUE_SOFT, ORANGE, ORANGE_SOFT = "#1f6feb", "#e4eefd", "#b8400b", "#fdeee5"
INK, MUTED, LINE, BAND = "#18202b", "#5a6675", "#c9d1db", "#f3f5f8"
FONT = "system-ui, 'Helvetica Neue', Arial, sans-serif"


@dataclass
class _Box:
    """A node of the picture."""

    x: float
    y: float
    name: str
    note: str
    norm: float | None
    leaf: bool


def to_svg(
    tape: Tape,
    path: str | Path,
    target: Any = None,
    *,
    cotangent: Any = None,
    names: Mapping[str, Any] | None = None,
    fold: bool = True,
) -> Path:
    """Write a picture of a tape as SVG: leaves on the left, a column for each time step. Returns its path.

    Each box shows the operation, its variable's name or its shape, and ‖g‖, the norm of the cotangent of its result.

    target, cotangent: what the gradients are of, see `contributions`.  names: variables whose names are shown; default:
    the caller's.  fold: of more than three time steps in a row show the first, the middle and the last.

    Raises TapeError, GradientError and ShapeError for a wrong target; OSError.

    >>> import tempfile, tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0])
    >>> with tg.Tape() as tape:
    ...     y = tg.sum(x * x)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     picture = tape.to_svg(f"{folder}/tape.svg", y).read_text(encoding="utf-8")
    >>> picture.startswith("<svg"), ">multiply<" in picture
    (True, True)
    """
    if names is None:
        names = variables_of_caller()
    path = Path(path)
    picture = _Picture(tape, seeds_of(tape, target, cotangent), names_by_slot(tape, names), fold)
    path.write_text(picture.text(), encoding="utf-8")
    return path


class _Picture:
    """Places what is shown of a tape, and draws it."""

    def __init__(self, tape: Tape, seeds: Mapping[int, Any], names: Mapping[int, str], fold: bool) -> None:
        self.tape = tape
        self.placed = layout(tape)
        self.names = names
        self.norms = cotangent_norms(tape, seeds)
        self.values = source_values(tape)
        self.readers = Counter(slot for record in tape for slot in set(record.inputs))
        self.crowded = len(tape) > SHORT
        self.boxes: dict[int, _Box] = {}
        self.body: list[str] = []
        self.left: dict[int, float] = {}  # of the columns that are shown
        self.right: dict[int, float] = {}
        shown = _visible(self.placed.columns, fold)
        ranks = max([1, *[self.placed.columns[i].ranks for i, _ in shown if i is not None]])
        self.height = TOP + ranks * RANK
        self.width = self._place(shown)

    def text(self) -> str:
        """The picture as SVG."""
        edges = "".join(filter(None, (self._edge(*ends) for ends in self._ends())))
        size = f'width="{self.width:.0f}" height="{self.height + 16}" viewBox="0 0 {self.width:.0f} {self.height + 16}"'
        label = f"A tape of {len(self.tape)} records"
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}" font-family="{FONT}">',
            '<rect width="100%" height="100%" fill="#fff"/>',
            *self.body,
            f'<path d="{edges}" fill="none" stroke="{MUTED}" stroke-opacity=".55" stroke-width="1.2"/>',
            *[_drawn(box) for box in self.boxes.values()],
            "</svg>\n",
        ]
        return "\n".join(lines)

    def _place(self, shown: list[tuple[int | None, int]]) -> float:
        x = float(PAD)
        for index, skipped in shown:
            if index is None:
                middle = TOP + (self.height - TOP) / 2
                words = _text(x + 26, middle, "⋯", 22, MUTED) + _text(
                    x + 26, middle + 20, f"{skipped} steps", 11, MUTED
                )
                self.body.append(words)
                x += 52 + GAP
                continue
            column = self.placed.columns[index]
            width = column.lanes * LANE - (LANE - WIDTH) + 2 * PAD
            self.left[index], self.right[index] = x, x + width
            self.body.append(f'<rect x="{x}" y="8" width="{width}" height="{self.height - 8}" rx="10" fill="{BAND}"/>')
            self.body.append(_text(x + PAD, 30, _title(column), 13, MUTED, anchor="start", weight=600))
            for node in column.nodes:
                at = x + PAD + self.placed.lane[node] * LANE, TOP + self.placed.rank[node] * RANK
                self.boxes[node] = self._box(node, *at)
            x += width + GAP
        return x - GAP + PAD

    def _box(self, node: int, x: float, y: float) -> _Box:
        count = len(self.tape)
        leaf = node >= count
        slots = (self.placed.leaves[node - count],) if leaf else outputs_of(self.tape[node])
        shape = _shape((self.values[slots[0]],) if leaf else results_of(self.tape[node]))
        name = self.names.get(slots[0], "")
        reached = max((self.norms[slot] for slot in slots if slot in self.norms), default=None)
        if leaf:
            return _Box(x, y, name or f"slot {slots[0]}", shape, reached, True)
        read = [self.names[slot] for slot in self.tape[node].inputs if slot in self.values and slot in self.names]
        if self.crowded and read:  # the edge from this leaf is left out
            name = ", ".join(each.rpartition(".")[2] for each in read)
        return _Box(x, y, self.tape[node].primitive.name, f"{name}  {shape}" if name else shape, reached, False)

    def _ends(self) -> Iterator[tuple[int, int]]:
        """Edges as (from, to); on a crowded tape without those that a leaf sends everywhere."""
        for node, record in enumerate(self.tape.records):
            for slot in dict.fromkeys(record.inputs):
                if slot in self.placed.producer:
                    start = self.placed.producer[slot]
                    if not (self.crowded and start >= len(self.tape) and self.readers[slot] > 2):
                        yield start, node

    def _edge(self, start: int, end: int) -> str:
        left, right = self.placed.column[start], self.placed.column[end]
        a, b = self.boxes.get(start), self.boxes.get(end)
        if a is not None and b is not None:
            if left == right:
                return _down(a, b)
            if right - left == 1:
                return _across(a, b, self.left[right] - GAP / 2 + ((a.x + a.y) // RANK % 3 - 1) * 6)
            return "" if self.crowded else _far(a, b)
        if right - left == 1 and a is not None:  # on to a step that is not shown
            return f"M{a.x + WIDTH} {a.y + HEIGHT / 2}H{self.right[left] + GAP / 2}"
        if right - left == 1 and b is not None:
            return f"M{self.left[right] - GAP / 2} {b.y + HEIGHT / 2}H{b.x}"
        return ""


def _visible(columns: list[Column], fold: bool) -> list[tuple[int | None, int]]:
    """Numbers of the columns to draw, with (None, how many) where time steps are left out."""
    shown: list[tuple[int | None, int]] = []
    at = 0
    while at < len(columns):
        end = at
        while end < len(columns) and columns[end].kind == "step":
            end += 1
        if end - at <= 3 or not fold:
            end = max(end, at + 1)
            shown += [(i, 0) for i in range(at, end)]
        else:
            previous = None
            for i in (at, (at + end - 1) // 2, end - 1):
                if previous is not None and i - previous > 1:
                    shown.append((None, i - previous - 1))
                shown.append((i, 0))
                previous = i
        at = end
    return shown


def _title(column: Column) -> str:
    if column.kind == "leaves":
        return "leaves"
    return f"t = {column.step}" if column.kind == "step" else column.scope


def _shape(results: tuple[Any, ...]) -> str:
    shape = str(tuple(getattr(plain(results[0]), "shape", ())))
    return f"{len(results)} × {shape}" if len(results) > 1 else shape


def _drawn(box: _Box) -> str:
    swept = box.norm is not None
    fill, stroke = (ORANGE_SOFT, ORANGE) if swept else (BLUE_SOFT, BLUE)
    middle = box.x + WIDTH / 2
    parts = [
        f'<rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{HEIGHT}" rx="{HEIGHT / 2 if box.leaf else 8}" '
        f'fill="{fill}" stroke="{stroke}"/>',
        _text(middle, box.y + 16, _clipped(box.name, 17), 12.5, INK, weight=600),
        _text(middle, box.y + 29, _clipped(box.note, 22), 10, MUTED),
    ]
    if box.norm is not None:
        parts.append(_text(middle, box.y + 42, f"‖g‖ = {box.norm:.3g}", 10.5, ORANGE))
    return "".join(parts)


def _down(start: _Box, end: _Box) -> str:
    """An edge inside a column; one that passes other rows goes out to the side and back."""
    x1, y1, x2, y2 = start.x + WIDTH / 2, start.y + HEIGHT, end.x + WIDTH / 2, end.y
    if y2 - y1 > RANK:
        side = x1 + LANE / 2 if abs(x2 - x1) < 2 else (x1 + x2) / 2
        return (
            f"M{x1} {y1}C{x1} {y1 + 22} {side} {y1 + 4} {side} {y1 + 22}L{side} {y2 - 22}"
            f"C{side} {y2 - 4} {x2} {y2 - 22} {x2} {y2}"
        )
    half = (y2 - y1) / 2
    return f"M{x1} {y1}C{x1} {y1 + half} {x2} {y2 - half} {x2} {y2}"


def _across(start: _Box, end: _Box, x: float) -> str:
    """An edge to the next column: along its row, up or down between the columns, and in."""
    x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT / 2, end.x, end.y + HEIGHT / 2
    if y1 == y2:
        return f"M{x1} {y1}H{x2}"
    r = 8 if y2 > y1 else -8
    return f"M{x1} {y1}H{x - 8}Q{x} {y1} {x} {y1 + r}V{y2 - r}Q{x} {y2} {x + 8} {y2}H{x2}"


def _far(start: _Box, end: _Box) -> str:
    """An edge past other columns."""
    x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT / 2, end.x, end.y + HEIGHT / 2
    return f"M{x1} {y1}C{x1 + 60} {y1} {x2 - 60} {y2} {x2} {y2}"


def _text(x: float, y: float, text: str, size: float, color: str, anchor: str = "middle", weight: int = 400) -> str:
    printable = "".join(c if c >= " " and c not in "\ufffe\uffff" else "\ufffd" for c in text)  # XML has no others
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(printable)}</text>"
    )


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
