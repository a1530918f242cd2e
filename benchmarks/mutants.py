"""Does the test suite find a wrong derivative? ``python -m benchmarks.mutants``.

Plants every mistake of `tinygrad_rnn.testing.mutants`, one at a time, and runs the tests that touch what is wrong,
up to the first that fails. Then the mistake is taken out, and that test must pass. Prints a table; the exit status is 1
unless every mutant was killed.

Everything runs in one process: tests are collected once, and Hypothesis draws the same examples every time, keeps none
and shrinks none.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.measure import THREADS

for _name in THREADS:
    os.environ.setdefault(_name, "1")

import pytest  # noqa: E402 - the thread counts come first
from _pytest.runner import runtestprotocol  # noqa: E402
from hypothesis import HealthCheck, Phase, settings  # noqa: E402

from tinygrad_rnn.testing.mutation import Mutant, mutants  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

# Tests that are not parametrised by the name of what they touch: files and folders by that name.
FILES = {
    "prod": ("tests/ops/test_products.py",),
    "maximum": ("tests/laws/test_edges.py",),
    "max": ("tests/laws/test_edges.py",),
    "clip": ("tests/laws/test_edges.py",),
    "relu": ("tests/laws/test_edges.py",),
    "where": ("tests/laws/test_edges.py",),
    "backward": ("tests/test_gradient.py", "tests/test_tape.py", "tests/laws/test_replay.py"),
    "detach": ("tests/laws/test_constants.py",),
    "checkpoint": ("tests/laws/test_checkpoint.py", "tests/test_checkpoint.py"),
    "checkpoint_many": ("tests/laws/test_checkpoint.py", "tests/test_checkpoint.py"),
    "scan": ("tests/rnn/test_scan.py", "tests/rnn/test_fused.py"),
    "ResidualCell": ("tests/rnn/test_cell_wrappers.py",),
    "BPTT": ("tests/laws/test_online_learning.py", "tests/gradients/test_bptt.py"),
    "TruncatedBPTT": ("tests/laws/test_online_learning.py", "tests/gradients/test_bptt.py"),
    "RTRL": ("tests/laws/test_online_learning.py", "tests/gradients/test_rtrl.py"),
}
FIRST = ("test_derivatives", "test_edges")  # the files that see most, soonest


class Sweep:
    """A pytest plugin that takes over the loop: for each mutant, the tests that touch it."""

    def __init__(self, chosen: str, seconds: float) -> None:
        self.chosen, self.seconds = chosen, seconds
        self.rows: list[tuple[str, str, str, float]] = []
        self.unfinished = 0

    def pytest_configure(self, config: pytest.Config) -> None:
        """No example of one mutant may be seen by the next, and nobody reads the shrunk ones."""
        settings.register_profile(
            "mutants",
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.explicit, Phase.generate),
            max_examples=200,
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Plant, run, take out."""
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        begun = time.perf_counter()
        for mutant in mutants():
            if self.chosen not in mutant.name:
                continue
            if time.perf_counter() - begun > self.seconds:
                self.unfinished += 1
                continue
            start = time.perf_counter()
            items = touching(session.items, mutant)
            with mutant:
                killer = next((item for item in items if self.fails(item)), None)
            if killer is None:
                verdict = "survived" if items else "no test touches it"
            elif self.fails(killer):
                verdict, killer = "no verdict: its test fails without it", killer
            else:
                verdict = "killed"
            name = "" if killer is None else killer.nodeid.removeprefix("tests/")
            self.rows.append((mutant.name, verdict, name, time.perf_counter() - start))
        return True

    def fails(self, item: pytest.Item) -> bool:
        """Run one test."""
        return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def touching(items: list[pytest.Item], mutant: Mutant) -> list[pytest.Item]:
    """The tests that touch what a mutant makes wrong, those that see most first."""
    names = [*mutant.touches, mutant.entry]
    found = []
    for number, item in enumerate(items):
        parameters = getattr(item, "callspec", None)
        values = [] if parameters is None else [v for v in parameters.params.values() if isinstance(v, str)]
        for place, name in enumerate(names):
            if name in values or item.nodeid.startswith(FILES.get(name, ())):
                found.append((not any(word in item.nodeid for word in FIRST), place, number))
                break
    return [items[number] for _, _, number in sorted(found)]


def main() -> int:
    """Run, print the table, and say whether all were killed."""
    parser = argparse.ArgumentParser(description="Plant wrong derivatives and see whether the tests notice.")
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants whose name has this text")
    parser.add_argument("--seconds", type=float, default=240, help="give up after so long (default: 240)")
    options = parser.parse_args()
    begun = time.perf_counter()
    os.chdir(ROOT)
    sweep = Sweep(options.only, options.seconds)
    files = {file for files in FILES.values() for file in files if not file.startswith("tests/laws")}
    quiet = ["--assert=plain", "--no-summary", "--doctest-glob=", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(["tests/laws", *sorted(files), *quiet], plugins=[sweep])
    if status not in (0, 5):
        print(said.getvalue())
    width = max((len(row[0]) for row in sweep.rows), default=0)
    for name, verdict, killer, seconds in sweep.rows:
        print(f"{name:<{width}}  {verdict:<8}  {seconds:5.2f} s  {killer}")
    counts = Counter(verdict for _, verdict, _, _ in sweep.rows)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    print(f"\n{len(sweep.rows)} mutants: {summary}; {time.perf_counter() - begun:.0f} s")
    if sweep.unfinished:
        print(f"{sweep.unfinished} mutants were not reached in {options.seconds:.0f} s")
    return int(status not in (0, 5) or sweep.unfinished > 0 or not sweep.rows or set(counts) != {"killed"})


if __name__ == "__main__":
    sys.exit(main())
