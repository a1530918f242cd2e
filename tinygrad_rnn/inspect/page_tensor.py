"""How a Tensor prints in a notebook: what it is, and its entries as a table shaded by size."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from ..tensor import Tensor

SIDE = 8  # rows and columns of the table; of longer axes the first and last halves


def tensor_html(tensor: Tensor) -> str:
    """A Tensor as HTML: a line with dtype, shape and backend, and a table of its last two axes.

    Axes before the last two are at their first index. Shading grows with the magnitude: blue for positive entries,
    orange for negative ones. Colours mix with whatever lies behind, so light and dark pages both work.

    >>> import tinygrad_rnn as tg
    >>> "float32" in tensor_html(tg.tensor([[1.0, float("nan")]]))
    True
    """
    values = tensor.numpy()
    facts = [type(tensor).__name__, str(tuple(values.shape)), str(values.dtype), tensor.backend]
    if tensor.requires_grad:
        facts.append("requires_grad")
    if values.size > 1 and values.dtype.kind != "b":
        with np.errstate(all="ignore"):
            wide = values.astype(np.float64)
            facts.append(f"min {wide.min():.4g}, mean {wide.mean():.4g}, max {wide.max():.4g}")
    head = " · ".join(html.escape(fact) for fact in facts)
    style = "font:12px ui-monospace,Menlo,Consolas,monospace;border-collapse:separate;border-spacing:2px"
    return (
        f'<div><div style="opacity:.75;font-size:12px">{head}</div><table style="{style}">{_rows(values)}</table></div>'
    )


def _rows(values: Any) -> str:
    if not values.size:
        return "<tr><td>empty</td></tr>"
    note = ""
    if values.ndim > 2:
        first = ", ".join(["0"] * (values.ndim - 2))
        note = f'<tr><td colspan="{SIDE + 1}" style="opacity:.75">[{first}, …]</td></tr>'
        values = values[(0,) * (values.ndim - 2)]
    table = np.atleast_2d(values)
    finite = np.abs(table[np.isfinite(table)].astype(np.float64))
    most = float(finite.max()) if finite.size else 0.0
    rows = []
    for i in _shown(table.shape[0]):
        cells = (
            ["<td>⋮</td>"]
            if i is None
            else [_cell(None if j is None else table[i, j], most) for j in _shown(table.shape[1])]
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return note + "".join(rows)


def _shown(length: int) -> list[int | None]:
    if length <= SIDE:
        return list(range(length))
    half = SIDE // 2
    return [*range(half), None, *range(length - half, length)]


def _cell(value: Any, most: float) -> str:
    if value is None:
        return "<td>…</td>"
    text = f"{value:.4g}" if value.dtype.kind == "f" else str(value)
    color = ""
    if value.dtype.kind != "b" and np.isfinite(value) and most > 0:
        share = 0.45 * abs(float(value)) / most
        color = f";background:rgba({'31,111,235' if value >= 0 else '217,72,15'},{share:.2f})"
    return f'<td style="text-align:right;padding:2px 6px{color}">{html.escape(text)}</td>'
