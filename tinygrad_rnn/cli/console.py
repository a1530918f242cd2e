"""Printing: with rich where it is installed and a person looks on, in plain lines everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; as aligned plain text if rich is missing or the output is no terminal."""
    rich_console = _rich_console() if sys.stdout.isatty() else None
    if rich_console is not None:
        from rich.markup import escape
        from rich.table import Table

        made = Table(*header, title=title, title_justify="left")
        for row in rows:
            made.add_row(*map(escape, row))  # [cuda] is no markup
        rich_console.print(made)
        return
    print(title)
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


class LiveLine:
    """A progress bar on standard error while a person looks on; nothing otherwise."""

    def __init__(self, total: int, done: int = 0) -> None:
        self._progress: Any = None
        if sys.stderr.isatty() and _rich_console() is not None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                BarColumn(bar_width=24),
                TextColumn("step {task.completed}/{task.total}  {task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,  # it may be a file
            )
            self._task = self._progress.add_task("", total=total, completed=done)

    def __enter__(self) -> LiveLine:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, step: int, text: str) -> None:
        """Show how far it is."""
        if self._progress is not None:
            self._progress.update(self._task, completed=step, description=text)

    def print(self, line: str) -> None:
        """Print a line on standard output, above the bar if both are on one terminal."""
        if self._progress is not None and sys.stdout.isatty():
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)


def _rich_console() -> Any:
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()
