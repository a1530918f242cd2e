"""Say which array backends can run on this machine, and why the others cannot."""

from __future__ import annotations

import argparse

from .. import backends
from .console import show_table


def add_options(parser: argparse.ArgumentParser) -> None:
    """This command has none."""


def run(options: argparse.Namespace) -> int:
    """Print the table of backends, with how many kernels each has of its own."""
    rows = []
    for name, status in backends.available().items():
        served = ""
        if status.can_run:
            by = list(backends.get(name).kernels().values())
            served = ", ".join(f"{by.count(kind)} {kind}" for kind in sorted(set(by)))
        rows.append((name, "yes" if status.can_run else "no", served, status.reason, status.fix))
    show_table("Backends", ("backend", "runs here", "kernels", "why not", "fix"), rows)
    return 0
