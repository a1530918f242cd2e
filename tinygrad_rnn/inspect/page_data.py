"""The data of the explorer's page: everything that it shows, as numbers and text that JSON can carry.

Numbers are rounded to five significant digits; NaN and infinities are strings. Arrays are described once, in a pool:
kind (dtype and shape), norm, the first entries, and for what is longer its least, largest and mean entry. Records,
slots and contributions refer to the pool by number. `schema` changes whenever this does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..tape import CONSTANT, Tape
from .contributions import norm, outputs_of, plain, pulls, results_of, seeds_of, source_values
from .page_layout import Layout, layout
from .page_names import names_by_slot
from .page_time import decay, heat_map, losses_by_step, norms_over_time, states
from .rules import params_text, place_of, rule_text, source_line

SCHEMA = 1
DIGITS = 5
LENGTHS = ((200, 24), (500, 12), (1500, 5))  # (records, entries shown of each array) up to that many records
LEAST = 3


def page_data(
    tape: Tape,
    target: Any = None,
    *,
    cotangent: Any = None,
    losses: Any = None,
    names: Mapping[str, Any] | None = None,
    title: str = "",
    entries: int | None = None,
) -> dict[str, Any]:
    """Return what the explorer shows of a tape, ready for JSON.

    target, cotangent: what the backward sweep starts from, see `contributions`.
    losses: of single steps, for the heat map: a Tensor (T,), or T scalar Tensors. Default: the scalar that each time
        step records at the same place, if there is one.
    names: variables whose names the page shows, such as ``locals()``.
    entries: how many entries of an array are shown; default: fewer for longer tapes, 24 to 3.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0])
    >>> with tg.Tape() as tape:
    ...     y = tg.sum(x * x)
    >>> data = page_data(tape, y, names={"x": x})
    >>> [data["operations"][record[0]]["name"] for record in data["records"]], data["names"]
    (['multiply', 'sum'], {'0': 'x'})
    """
    return _Page(tape, entries).data(target, cotangent, losses, names or {}, title)


class _Page:
    """Collects the page's data of one tape."""

    def __init__(self, tape: Tape, entries: int | None) -> None:
        self.tape = tape
        self.entries = _entries(len(tape)) if entries is None else entries
        self.pool: list[Any] = []
        self.kinds: dict[str, int] = {}
        self.known: dict[str, int] = {}  # number in the pool by text
        self.by_id: dict[int, tuple[int, Any]] = {}  # and by array, for those that the tape keeps alive

    def data(self, target: Any, cotangent: Any, losses: Any, names: Mapping[str, Any], title: str) -> dict[str, Any]:
        tape = self.tape
        placed = layout(tape)
        operations: dict[str, int] = {}
        sites: dict[tuple[str, str], int] = {}
        scopes: dict[str, int] = {}
        values = [-1] * tape.slots
        for slot, value in source_values(tape).items():
            values[slot] = self.describe(value, keep=True)
        records = []
        for number, record in enumerate(tape.records):
            inputs = [
                slot if slot != CONSTANT else -1 - self.describe(value)
                for slot, value in zip(record.inputs, record.values)
            ]
            for slot, value in zip(outputs_of(record), results_of(record)):
                values[slot] = self.describe(value, keep=True)
            records.append(
                [
                    operations.setdefault(record.primitive.name, len(operations)),
                    placed.column[number],
                    placed.lane[number],
                    placed.rank[number],
                    sites.setdefault((place_of(record), source_line(record)), len(sites)),
                    scopes.setdefault(record.scope, len(scopes)),
                    inputs,
                    list(outputs_of(record)),
                    params_text(record),
                ]
            )
        seeds = seeds_of(tape, target, cotangent)
        cotangents, contributions, reached, norms = self.sweep(seeds)
        primitives = {record.primitive.name: record.primitive for record in tape.records}
        return {
            "schema": SCHEMA,
            "title": title,
            "operations": [{"name": name, "rule": rule_text(primitives[name])} for name in operations],
            "sites": [list(site) for site in sites],
            "scopes": list(scopes),
            "columns": [
                [column.kind, column.step, column.scope, column.lanes, column.ranks, len(column.nodes)]
                for column in placed.columns
            ],
            "leaves": [[slot, *self._place(placed, slot)] for slot in placed.leaves],
            "records": records,
            "values": values,
            "cotangents": cotangents,
            "seeds": [[slot, self.describe(seed)] for slot, seed in seeds.items()],
            "reached": reached,
            "contributions": contributions,
            "names": {str(slot): name for slot, name in sorted(names_by_slot(tape, names).items())},
            "kinds": [json.loads(kind) for kind in self.kinds],
            "pool": self.pool,
            "time": self.time(norms, losses),
        }

    def _place(self, placed: Layout, slot: int) -> list[int]:
        node = placed.producer[slot]
        return [placed.lane[node], placed.rank[node]]

    def sweep(self, seeds: Mapping[int, Any]) -> tuple[list[int], list[list[int]], list[int], dict[int, float]]:
        """Cotangents by slot, contributions [record, position, raw, part, running sum], the records reached."""
        tape = self.tape
        cotangents = [-1] * tape.slots
        norms: dict[int, float] = {}
        found: list[list[int]] = []
        reached: list[int] = []

        def settle(slot: int, value: Any) -> None:
            cotangents[slot] = self.describe(value)
            norms[slot] = norm(tape.records[0].backend, value)

        for slot, seed in seeds.items():
            settle(slot, seed)
        for pull in pulls(tape, seeds):
            reached.append(pull.number)
            for slot, value in zip(outputs_of(tape.records[pull.number]), pull.cotangents):
                if value is not None:
                    settle(slot, value)
            for each in pull.contributions:
                part = self.describe(each.part)
                raw = part if each.raw is each.part else self.describe(each.raw)
                total = part if each.total is each.part else self.describe(each.total)
                found.append([pull.number, each.position, raw, part, total])
                cotangents[each.slot] = total
                norms[each.slot] = norm(tape.records[0].backend, each.total)
        return cotangents, found, reached, norms

    def time(self, norms: Mapping[int, float], losses: Any) -> dict[str, Any]:
        """States through time with ‖∂L/∂h_t‖, and the heat map where losses by step exist."""
        found = states(self.tape)
        by_state = norms_over_time(found, norms)
        shown: dict[str, Any] = {
            "states": [
                {
                    "operation": state.operation,
                    "steps": state.steps,
                    "slots": state.slots,
                    "norms": [number(each) for each in each_norms],
                    "decay": None if (factor := decay(each_norms)) is None else number(factor),
                }
                for state, each_norms in zip(found, by_state)
            ]
        }
        steps = losses_by_step(self.tape, losses) if found else []
        if len(steps) > 1:
            heat = heat_map(self.tape, found[0], steps)
            heat["norms"] = [[number(each, 3) for each in row] for row in heat["norms"]]
            shown["heat"] = heat
        return shown

    def describe(self, value: Any, keep: bool = False) -> int:
        """Number in the pool of an array's (or a constant's) description.

        keep: the tape keeps the array, so it can be known by its identity.
        """
        if keep and id(value) in self.by_id:
            return self.by_id[id(value)][0]
        described = self._described(value)
        text = json.dumps(described)
        place = self.known.get(text)
        if place is None:
            place = self.known[text] = len(self.pool)
            self.pool.append(described)
        if keep:
            self.by_id[id(value)] = place, value
        return place

    def _described(self, value: Any) -> Any:
        array = plain(value)
        if not hasattr(array, "dtype"):
            return _text(array)
        host = np.asarray(self.tape.records[0].backend.to_numpy(array))
        kind = json.dumps([str(host.dtype), list(host.shape)])
        place = self.kinds.setdefault(kind, len(self.kinds))
        with np.errstate(all="ignore"):
            flat = host.reshape(-1)
            shown = [number(each) for each in flat[: self.entries].tolist()]
            if not flat.size:
                return [place, 0, shown]
            wide = flat.astype(np.float64)
            described = [place, number(math.sqrt(float(wide @ wide))), shown]
            if flat.size > self.entries:
                described += [number(float(each)) for each in (wide.min(), wide.max(), wide.mean())]
                bad = flat.size - int(np.isfinite(wide).sum())
                if bad:
                    described.append(bad)
        return described


def _entries(records: int) -> int:
    return next((length for most, length in LENGTHS if records <= most), LEAST)


def _text(value: Any) -> str:
    text = repr(value) if isinstance(value, (int, float, bool, str, type(None))) else f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:59] + "…"


def number(value: Any, digits: int = DIGITS) -> Any:
    """A number as the page shows it: rounded, and "NaN", "Infinity" or "-Infinity" where JSON has none."""
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded
