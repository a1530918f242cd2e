"""Say which array backends run on this machine, why others do not, which kernels each has, and how fast each is."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import backends, ops, rnn
from ..errors import BackendUnavailableError
from ..tape import Tape
from ..tensor import tensor
from .console import show_table


def add_options(parser: argparse.ArgumentParser) -> None:
    """One option: how long to measure."""
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=1.0,
        metavar="S",
        help="how long to measure each backend, after its first use; 0 measures nothing (1)",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Print three tables: the backends, the kernels, and the times."""
    known = {name: _tried(name, status) for name, status in backends.available().items()}
    rows = [(name, "yes" if status.can_run else "no", status.reason, status.fix) for name, status in known.items()]
    show_table("Backends", ("backend", "runs here", "why not", "fix"), rows)
    running = [name for name, status in known.items() if status.can_run]
    kernels = sorted({kernel for name in running for kernel in known[name].kernels})
    served = [(kernel, *(known[name].kernels.get(kernel, "none") for name in running)) for kernel in kernels]
    print()
    show_table("Kernels, and which implementation serves them", ("kernel", *running), served)
    if options.seconds:
        measured = [measure(name, options.seconds) for name in running]
        print()
        show_table(
            "Times: medians, on this machine as it is now",
            ("work", *running),
            [(work.title, *map(_readable, times)) for work, *times in zip(WORKS, *measured)],
        )
    return 0


def _tried(name: str, status: backends.Availability) -> backends.Availability:
    """What is installed may still not load; that shows when it is used."""
    if status.can_run:
        try:
            backends.get(name)
        except BackendUnavailableError as error:
            return backends.Availability(False, str(error))
    return status


# ---- measurements


class Work(NamedTuple):
    """Something to measure: `make` prepares it for the backend that is chosen, and returns what is timed."""

    title: str
    make: Callable[[], Callable[[], Any]]


def _addition() -> Callable[[], Any]:
    x = ops.ones(16)
    return lambda: x + x


def _tanh() -> Callable[[], Any]:
    x = ops.linspace(-3.0, 3.0, 1_000_000)
    return lambda: ops.tanh(x)


def _sum() -> Callable[[], Any]:
    x = ops.ones((1000, 1000))
    return lambda: ops.sum(x)


def _product() -> Callable[[], Any]:
    x = ops.ones((512, 512))
    return lambda: ops.matmul(x, x)


def _lstm() -> Callable[[], Any]:
    layer = rnn.LSTM(64, 64)
    x = tensor([[[0.5] * 64] * 16] * 50)
    sources = list(layer.parameters())

    def step() -> None:
        with Tape() as tape:
            outputs, _ = layer(x)
            loss = ops.sum(outputs * outputs)
        tape.gradient(loss, sources)

    return step


WORKS = (
    Work("x + x, 16 entries", _addition),
    Work("tanh(x), 1,000,000 entries", _tanh),
    Work("sum(x), 1,000,000 entries", _sum),
    Work("matmul, 512 x 512 x 512", _product),
    Work("LSTM forward and backward, T 50, batch 16, 64 units", _lstm),
)


def measure(name: str, seconds: float) -> list[float]:
    """Seconds that each of `WORKS` takes on a backend in float32: the medians of what fits into the time.

    The first call of each, which may compile, is not counted.
    """
    backend = backends.get(name)
    medians = []
    with backends.backend(name):
        for work in WORKS:
            timed = work.make()
            timed()
            backend.synchronize()
            times: list[float] = []
            end = time.perf_counter() + seconds / len(WORKS)
            while not times or time.perf_counter() < end:
                start = time.perf_counter()
                timed()
                backend.synchronize()
                times.append(time.perf_counter() - start)
            medians.append(statistics.median(times))
    return medians


def _readable(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
