"""Printing: with rich where it is installed and a person looks on, in plain lines everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..training.progress import LiveLine, rich_console

__all__ = ["LiveLine", "show_table"]


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; as aligned plain text if rich is missing or the output is no terminal."""
    console = rich_console() if sys.stdout.isatty() else None
    if console is not None:
        from rich.markup import escape
        from rich.table import Table

        made = Table(*header, title=title, title_justify="left")
        for row in rows:
            made.add_row(*map(escape, row))  # [cuda] is no markup
        console.print(made)
        return
    print(title)
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
