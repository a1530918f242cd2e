"""Primitives with planted mistakes, registered for one test and removed afterwards."""

from contextlib import contextmanager

import tinygrad_rnn as tg


@contextmanager
def planted(name, forward, **rules):
    """Register a primitive under a name of its own; ``derivative=`` makes it an elementwise one."""
    full = f"planted_{name}"
    make = tg.elementwise if "derivative" in rules else tg.primitive
    try:
        yield make(full, forward, **rules)
    finally:
        tg.registry.pop(full, None)


def wrong_square(factor):
    """A square whose gradient is `factor` times the right one."""
    return planted("square", lambda xp, x: x * x, derivative=lambda xp, y, x: factor * 2 * x)
