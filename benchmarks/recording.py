"""What looking inside costs, beside recording and sweeping that nobody looks at: ``python -m benchmarks recording``.

An LSTM cell over T steps, small enough that bookkeeping shows. A tape keeps no contributions, times or checks: whoever
wants them pays for them, by going over the records again. So each tool is timed as a multiple of what it looks at.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.measure import THREADS, in_turns, machine, versions

for _name in THREADS:
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - the thread counts come first

import tinygrad_rnn as tg  # noqa: E402

FIRST = "record and sweep"


def programs(steps: int, batch: int, hidden: int):
    """What is timed, by name."""
    cell = tg.rnn.LSTMCell(4, hidden, rng=0)
    xs = tg.asarray(np.random.default_rng(0).normal(size=(steps, batch, 4)).astype("float32"))
    parameters = list(cell.parameters())
    folder = tempfile.TemporaryDirectory()

    def record(tape=None):
        with tg.Tape() if tape is None else tape as tape:
            loss = tg.sum(tg.rnn.scan(cell, xs)[0] ** 2)
        return tape, loss

    def sweep(tape=None):
        tape, loss = record(tape)
        return tape.gradient(loss, parameters)

    known, known_loss = record()
    return {
        "record": record,
        FIRST: sweep,
        "sweep": lambda: known.gradient(known_loss, parameters),
        "contributions": lambda: tg.inspect.contributions(known, known_loss),
        "watched: record and sweep": lambda: sweep(tg.inspect.watch(tg.Tape())),
        "profile, once": lambda: known.profile(known_loss, repeats=1),
        "memory": known.memory,
        "diagnose": lambda: tg.inspect.diagnose(known, loss=known_loss),
        "table": lambda: str(known),
        "explorer's page": lambda: known.to_html(Path(folder.name) / "tape.html", known_loss),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(machine())
    print(versions("numpy"))
    sizes = {"steps": options.steps, "batch": options.batch, "hidden": options.hidden}
    runs = programs(**sizes)
    times = {name: timing.median for name, timing in in_turns(runs, options.rounds, warmup=2).items()}
    count = len(runs["record"]()[0])
    print(f"LSTM cell, T = {options.steps}, B = {options.batch}, H = {options.hidden}: {count} records")
    for name, seconds in times.items():
        print(f"{name:<28} {seconds * 1e3:>9.2f} ms   {seconds / times[FIRST]:>6.2f} of {FIRST}")


if __name__ == "__main__":
    main()
