"""What a person sees while training runs: a bar that moves on a terminal, and lines that stay."""

from __future__ import annotations

import sys
from typing import Any


class LiveLine:
    """A progress bar on standard error while a person looks on; nothing otherwise.

    total: steps of the whole run.  done: steps before this part of it.  silent: show no bar and print no line.
    """

    def __init__(self, total: int, done: int = 0, *, silent: bool = False) -> None:
        self._progress: Any = None
        self._silent = silent
        if not silent and sys.stderr.isatty() and rich_console() is not None:
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
        if self._silent:
            return
        if self._progress is not None and sys.stdout.isatty():
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)


def rich_console() -> Any:
    """A console of rich, or None where rich is not installed."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()
