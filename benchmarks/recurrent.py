"""A training step of RNN, GRU and LSTM beside torch and JAX: ``python -m benchmarks recurrent``.

Forward, and backward to the inputs and every parameter, in float32, each library with the same number of threads and
in a process of its own; ours through `rnn.LSTM` and `Tape`. A ratio is our time over that of the faster peer: below 1
is faster. The goals are what earlier measurements of prototypes support.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine, versions
from benchmarks.peers import GATES, Measured, Peer, Point, compare, ours

CELLS, STEPS, BATCHES, SIZES = ("lstm", "gru", "rnn"), (50, 200), (1, 32), (32, 128, 512)
GOALS = {  # in the order T, B, H
    "lstm": (0.25, 0.45, 0.45, 0.35, 0.65, 0.70, 0.20, 0.55, 0.60, 0.38, 0.48, 0.70),
    "gru": (0.25, 0.40, 0.38, 0.22, 0.33, 0.62, 0.20, 0.38, 0.35, 0.20, 0.28, 0.60),
    "rnn": (0.30, 0.40, 0.30, 0.30, 0.42, 0.65, 0.22, 0.45, 0.30, 0.25, 0.40, 0.65),
}
SPIN = "import time\nwhile True:\n    sum(range(1000))"


def goal(point: Point) -> float:
    """The ratio that a point ought to reach."""
    places = list(itertools.product(STEPS, BATCHES, SIZES))
    where = (point.steps, point.batch, point.size)
    return GOALS[point.cell][places.index(where)] if where in places else math.nan


def operations(point: Point) -> float:
    """Floating-point operations of the matrix products of one step: two forward, four backward."""
    return 6 * 2.0 * point.steps * point.batch * GATES[point.cell] * point.size**2


def peak(seconds: float = 1.0) -> float:
    """Operations a second of a large product, the fastest of this library's and NumPy's."""
    from tinygrad_rnn.kernels.numba.product import matmul

    a = np.ones((1024, 1024), dtype=np.float32)
    best = math.inf
    for product in (matmul, np.matmul):
        end = time.perf_counter() + seconds  # a processor that has idled may be slow at first
        while (begun := time.perf_counter()) < end:
            product(a, a)
            best = min(best, time.perf_counter() - begun)
    return 2 * 1024**3 / best


def start(names: list[str], threads: int, point: Point) -> tuple[list[Peer], list[str]]:
    """A process for each library that can run the point, and a line for each that cannot."""
    peers, absent = [], []
    for name in names:
        peer = Peer(name, threads)
        try:
            peer.ask(point=point)
            peers.append(peer)
        except RuntimeError as error:
            absent.append(str(error))
            peer.close()
    return peers, absent


def errors(peers: list[Peer], point: Point) -> dict[str, float]:
    """The largest error of each library's gradients beside ours in float64, over the largest entry."""
    exact = [each.numpy() for each in ours(point, backend="numpy", dtype="float64")()]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for peer in peers:
            file = str(Path(folder) / f"{peer.name}.npz")
            peer.ask(save=file)
            with np.load(file) as saved:
                found[peer.name] = max(
                    float(np.abs(saved[f"arr_{k}"] - array).max() / np.abs(array).max())
                    for k, array in enumerate(exact)
                )
    return found


def run(points: list[Point], names: list[str], threads: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure every point. Returns what `table` shows and what is written as JSON."""
    peers, absent = start(names, threads, points[0])
    fastest_product = peak()
    rows = []
    for point in points:
        for peer in peers:
            peer.ask(point=point)
        times = compare(peers, rounds, seconds)
        others = {name: measured.median for name, measured in times.items() if name != "ours"}
        best = min(others, key=lambda name: others[name]) if others else None
        mine = times["ours"].median
        rows.append(
            {
                "point": point._asdict(),
                "times": {name: measured._asdict() for name, measured in times.items()},
                "best": best,
                "ratio": mine / others[best] if best else math.nan,
                "goal": goal(point),
                "share": operations(point) / mine / fastest_product,
                "inside": peers[0].ask(inside=seconds),
                "errors": errors(peers, point) if point.steps * point.batch * point.size <= 50 * 32 * 128 else {},
            }
        )
        print(_line(rows[-1]), file=sys.stderr, flush=True)
    for peer in peers:
        peer.close()
    return {
        "machine": machine(),
        "versions": versions("numpy", "numba", "torch", "jax"),
        "threads": threads,
        "absent": absent,
        "peak": fastest_product,
        "rows": rows,
    }


def _ms(times: dict[str, Any], name: str) -> str:
    if name not in times:
        return "–"
    measured = Measured(**times[name])
    return f"{measured.median * 1e3:.3f} ± {measured.spread * 50:.0f} %{' (busy)' if measured.noisy else ''}"


def _line(row: dict[str, Any]) -> str:
    point, times = row["point"], row["times"]
    error = f"{row['errors']['ours']:.0e}" if "ours" in row["errors"] else "–"
    cells = [point["cell"], point["steps"], point["batch"], point["size"]]
    cells += [_ms(times, name) for name in ("ours", "torch", "jax")]
    cells += [row["best"] or "–", f"**{row['ratio']:.2f}**", f"{row['goal']:.2f}"]
    cells += [f"{row['share']:.0%}", f"{row['inside']:.0%}", error]
    return "| " + " | ".join(map(str, cells)) + " |"


def table(result: dict[str, Any]) -> str:
    """The result in markdown."""
    rows = result["rows"]
    lines = [
        f"{result['machine']}; {result['versions']}; {result['threads']} threads each; "
        f"largest product {result['peak'] / 1e9:.0f} GFLOP/s.",
        "Medians in ms ± half the distance of the quartiles; (busy): others used the machine meanwhile.",
        *[f"Absent: {line}." for line in result["absent"]],
        "",
        "| cell | T | B | I = H | ours | torch | JAX | faster peer | ratio | goal | share of peak | in kernels "
        "| error to float64 |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *[_line(row) for row in rows],
        "",
    ]
    ratios = [row["ratio"] for row in rows if not math.isnan(row["ratio"])]
    if ratios:
        speed = 1 / statistics.geometric_mean(ratios)
        slower = sum(ratio > 1 for ratio in ratios)
        lines.append(
            f"Geometric mean over {len(ratios)} points: {speed:.2f} times as fast as the faster peer "
            f"(wanted: 2.5); slower than it at {slower} points (wanted: 0)."
        )
        known = [row for row in rows if not math.isnan(row["ratio"])]
        bare = [row["ratio"] * row["inside"] for row in known]
        ideal = [row["ratio"] * (1 - row["inside"] + min(row["share"], row["inside"])) for row in known]
        lines.append(
            f"If nothing but the compiled kernels took time, it would be {1 / statistics.geometric_mean(bare):.2f}; "
            "with kernels that only multiplied matrices, as fast as that largest product, beside the same Python, "
            f"{1 / statistics.geometric_mean(ideal):.2f}."
        )
    return "\n".join(lines)


def busy_neighbour(points: list[Point], rounds: int, seconds: float) -> str:
    """Two threads beside a process that keeps one core busy, over one thread on the machine as it is."""
    lines = ["| cell | T | B | I = H | alone, 1 thread | beside a busy process | ratio (wanted: 1.5) |"]
    lines.append("|---|---|---|---|---|---|---|")
    one, two = Peer("ours", 1), Peer("ours", 2)
    for point in points:
        alone: list[float] = []
        beside: list[float] = []
        for peer in (one, two):
            peer.ask(point=point)
        for _ in range(rounds):
            alone.append(one.ask(seconds=seconds)[0])
            neighbour = subprocess.Popen([sys.executable, "-c", SPIN])
            try:
                time.sleep(0.1)
                beside.append(two.ask(seconds=seconds)[0])
            finally:
                neighbour.kill()
                neighbour.wait()
        first, second = statistics.median(alone), statistics.median(beside)
        lines.append(
            f"| {point.cell} | {point.steps} | {point.batch} | {point.size} | {first * 1e3:.3f} ms | "
            f"{second * 1e3:.3f} ms | **{second / first:.2f}** |"
        )
    one.close()
    two.close()
    return "\n".join(lines)


def last_step(threads: int, rounds: int, seconds: float) -> str:
    """A loss on the last of 500 steps, whose gradients decay into denormals, over a loss on every step."""
    lines = ["| cell | loss on every step | on the last | ratio (wanted: 1.3) |", "|---|---|---|---|"]
    peers = [Peer("ours", threads), Peer("ours", threads)]
    for cell in CELLS:
        taken: list[list[float]] = [[], []]
        for peer, last in zip(peers, (False, True)):
            peer.ask(point=Point(cell, 500, 16, 128, last))
        for _ in range(rounds):
            for peer, each in zip(peers, taken):
                each.append(peer.ask(seconds=seconds)[0])
        every, only = map(statistics.median, taken)
        lines.append(f"| {cell} | {every * 1e3:.2f} ms | {only * 1e3:.2f} ms | **{only / every:.2f}** |")
    for peer in peers:
        peer.close()
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> str:
    """Measure, print the tables, and return them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks recurrent", description=__doc__)
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--steps", nargs="+", type=int, default=STEPS)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="of one sample (a processor that has idled may be slow at first)"
    )
    parser.add_argument("--peers", nargs="*", default=["torch", "jax"], choices=["torch", "jax"])
    parser.add_argument("--busy-neighbour", action="store_true", help="beside a process that keeps one core busy")
    parser.add_argument("--last-step", action="store_true", help="a loss on the last step only")
    parser.add_argument("--quick", action="store_true", help="T = 50 and H up to 128, few rounds: under a minute")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    options = parser.parse_args(arguments)
    if options.quick:
        options.steps, options.sizes, options.rounds, options.seconds = (50,), (32, 128), 3, 0.03
    grid = itertools.product(options.cells, options.steps, options.batches, options.sizes)
    points = [Point(*each) for each in grid]
    if options.busy_neighbour:
        text = busy_neighbour(points, options.rounds, options.seconds)
    elif options.last_step:
        text = last_step(options.threads, options.rounds, options.seconds)
    else:
        result = run(points, ["ours", *options.peers], options.threads, options.rounds, options.seconds)
        text = table(result)
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(text)
    return text


if __name__ == "__main__":
    main()
