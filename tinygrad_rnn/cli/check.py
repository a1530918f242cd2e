"""Check the gradient of every primitive, cell and layer.

Each is run at inputs drawn from its domain, and its reverse and forward mode are checked against differences and
against each other. The exit status is 1 if any gradient is wrong.
"""

from __future__ import annotations

import argparse
import collections
import difflib
from typing import Any

import numpy as np

from .. import backends
from ..errors import ArgumentError, TinygradRNNError
from .console import show_table

MODES = ("rev", "fwd", "dot")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--backend", default="numpy", metavar="NAME", help="where to compute (default: numpy)")
    parser.add_argument(
        "--order", type=int, choices=(1, 2), default=1, help="2 checks the gradient's own gradient too (default: 1)"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="check these primitives, cells or layers alone")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the inputs (default: 0)")
    parser.add_argument(
        "--cases", type=int, default=3, metavar="N", help="inputs to draw for each; the worst is shown (default: 3)"
    )


def run(options: argparse.Namespace) -> int:
    """Check, print a table and a summary; return 1 if any gradient is wrong, else 0."""
    from ..testing.domains import domain_names, missing
    from ..testing.module_cases import MODULES

    known = [*domain_names(), *MODULES]
    names = _chosen(options.only, known) if options.only else known
    if options.cases < 1 or options.seed < 0:
        raise ArgumentError(f"--cases must be at least 1 and --seed at least 0; got {options.cases}, {options.seed}")
    rows, counts, failures = [], collections.Counter[str](), []
    with backends.backend(options.backend):
        for name in names:
            row, report = _checked(name, options)
            rows.append(row)
            counts[row[1]] += 1
            if row[1] == "fail":
                failures.append(f"{name}\n{report}")
    header = ("name", "verdict", "modes", "order", "worst relative error")
    show_table(f"Gradients on {options.backend}", header, rows)
    for failure in failures:
        print(f"\n{failure}")
    if not options.only:
        for name in missing():
            print(f"not checked: {name} has no domain")
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in ("pass", "inconclusive", "fail"))
    print(f"{len(names)} gradients, {options.cases * len(names)} cases: {kinds}")
    return 1 if counts["fail"] else 0


def _chosen(wanted: list[str], known: list[str]) -> list[str]:
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(name, known, 3) or known[:5]
            raise ArgumentError(f'there is nothing to check with the name "{name}". Near it: {", ".join(close)}')
    return list(dict.fromkeys(wanted))


def _checked(name: str, options: argparse.Namespace) -> tuple[tuple[str, ...], Any]:
    """Check one name at several inputs; return its row, and the worst report."""
    from ..testing import check_gradients
    from ..testing.domains import case
    from ..testing.module_cases import MODULES, module_case

    make = module_case if name in MODULES else case
    rank = ("pass", "inconclusive", "fail")
    worst: Any = None
    order, resolution, modes = options.order, 0.0, " ".join(MODES)
    for number in range(options.cases):
        drawn = make(name, np.random.default_rng([options.seed, number]))
        order = min(options.order, drawn.order)
        try:
            report = check_gradients(drawn.fn, *drawn.inputs, modes=MODES, order=order, kinks=drawn.kinks)
        except TinygradRNNError as error:
            return (name, "fail", modes, str(order), "raised"), f"{type(error).__name__}: {error}"
        if report.verdict != "inconclusive":
            resolution = max(resolution, report.resolution)
        if worst is None or rank.index(report.verdict) > rank.index(worst.verdict):
            worst = report
    return (name, worst.verdict, modes, str(order), _error(worst, resolution)), worst


def _error(report: Any, resolution: float) -> str:
    """The relative error: as measured where a check failed, else below what it could have seen."""
    if report.verdict == "inconclusive":
        return "not settled"
    if report.verdict == "pass" or report.expected is None or report.got is None:
        return f"< {resolution:.0e}" if resolution else "0"
    scale = max(abs(report.expected), abs(report.got)) or 1.0
    return f"{abs(report.got - report.expected) / scale:.0e}"
