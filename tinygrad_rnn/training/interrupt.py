"""Ctrl-C while training: the first one ends the run between two steps, the second one at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible(ask: Callable[[], None]) -> Iterator[None]:
    """Call `ask` at the first Ctrl-C, so that the work stands between two steps; raise KeyboardInterrupt at the second.

    ask: a function that notes the wish to stop. Outside the main thread there is no Ctrl-C to catch, and nothing is
    done. Afterwards the handler is the one from before.
    """
    asked = False

    def handle(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        ask()

    try:
        before = signal.signal(signal.SIGINT, handle)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
