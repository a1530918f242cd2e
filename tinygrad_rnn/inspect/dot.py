"""A tape in the DOT language of Graphviz, for those who have its `dot`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..tape import Tape
from .contributions import cotangent_norms, outputs_of, plain, results_of, seeds_of, source_values
from .page_layout import layout
from .page_names import names_by_slot, variables_of_caller


def to_dot(tape: Tape, target: Any = None, *, cotangent: Any = None, names: Mapping[str, Any] | None = None) -> str:
    r"""Return a tape as DOT text, with a cluster for each time step.

    target, cotangent: what the gradients are of, see `contributions`.  names: variables whose names are shown; default:
    the caller's.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([3.0, 4.0])
    >>> with tg.Tape() as tape:
    ...     y = tg.exp(x)
    >>> print(tape.to_dot(names={"x": x, "y": y}))
    digraph tape {
      rankdir=LR;
      node [shape=box, style="rounded"];
      n1 [label="x\n(2,)", shape=ellipse];
      n0 [label="exp\ny (2,)"];
      n1 -> n0;
    }
    """
    if names is None:
        names = variables_of_caller()
    labels = names_by_slot(tape, names)
    placed = layout(tape)
    norms = cotangent_norms(tape, seeds_of(tape, target, cotangent))
    values = source_values(tape)
    count = len(tape.records)
    lines = ["digraph tape {", "  rankdir=LR;", '  node [shape=box, style="rounded"];']
    for number, column in enumerate(placed.columns):
        indent = "  "
        if column.kind == "step":
            lines += [f"  subgraph cluster_{number} {{", f'    label="t = {column.step}";']
            indent = "    "
        for node in column.nodes:
            leaf = node >= count
            if leaf:
                slots: tuple[int, ...] = (placed.leaves[node - count],)
                head, value = labels.get(slots[0], f"slot {slots[0]}"), values[slots[0]]
            else:
                slots = outputs_of(tape.records[node])
                head, value = tape.records[node].primitive.name, results_of(tape.records[node])[0]
            note = str(tuple(getattr(plain(value), "shape", ())))
            if not leaf and slots[0] in labels:
                note = f"{labels[slots[0]]} {note}"
            parts = [head, note] + [f"‖g‖ = {norms[slot]:.3g}" for slot in slots[:1] if slot in norms]
            shape = ", shape=ellipse" if leaf else ""
            lines.append(f'{indent}n{node} [label="{_quoted(parts)}"{shape}];')
        if column.kind == "step":
            lines.append("  }")
    for node, record in enumerate(tape.records):
        for slot in dict.fromkeys(record.inputs):
            if slot in placed.producer:
                lines.append(f"  n{placed.producer[slot]} -> n{node};")
    return "\n".join([*lines, "}"])


def _quoted(parts: list[str]) -> str:
    r"""Lines of a label: quotes and backslashes escaped, joined by DOT's own ``\n``."""
    plain_lines = [part.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for part in parts]
    return "\\n".join(plain_lines)
