"""How the benchmarks measure: in turns, medians, ratios, and the machine beside the numbers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Timing(NamedTuple):
    """Seconds of one run, over the rounds."""

    median: float
    quartiles: tuple[float, float]


def in_turns(runs: Mapping[str, Callable[[], object]], rounds: int = 60, warmup: int = 5) -> dict[str, Timing]:
    """Time functions one after the other, round by round, so that a slow moment of the machine meets them all."""
    for run in runs.values():
        for _ in range(warmup):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    answer = {}
    for name, taken in seconds.items():
        first, median, third = statistics.quantiles(taken, n=4)
        answer[name] = Timing(median, (first, third))
    return answer


def machine() -> str:
    """Processor, Python, and the thread counts that were asked for."""
    threads = ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ)
    return (
        f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}, "
        f"Python {platform.python_version()}, {threads or 'thread counts by default'}"
    )


def versions(*packages: str) -> str:
    """Versions of installed packages."""
    found = []
    for name in packages:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)
