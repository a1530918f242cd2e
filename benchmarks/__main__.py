"""``python -m benchmarks`` measures in short and writes benchmarks/README.md; with a name it runs one comparison."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in FOLDER.glob("[a-z]*.py") if path.stem not in ("measure", "peers"))
HEAD = """# Benchmarks

Everything is measured by one command, in turns with the peers that are installed (torch, JAX, ReservoirPy): each
library in a process of its own, of which one works at a time, so that a slow moment of the machine meets them all.

| command | what it measures |
|---|---|
| `python -m benchmarks` | the parts below that have a table here; writes this file and `recurrent.json` anew |
| `python -m benchmarks recurrent` | a training step of RNN, GRU and LSTM by the public interface, on a grid |
| `python -m benchmarks recurrent --quick` | the small half of that grid, few rounds |
| `python -m benchmarks recurrent --busy-neighbour` | two threads beside a process that keeps one core busy |
| `python -m benchmarks recurrent --last-step` | a loss on the last step only, whose gradients decay into denormals |
| `python -m benchmarks train` | characters a second of `tinygrad-rnn train`, beside the same model in torch |
| `python -m benchmarks memory` | peak memory of a training step at T = 1000 |
| `python -m benchmarks start` | seconds from the start of a process to a first gradient, compiled before or not |
| `python -m benchmarks tape` | what recording and sweeping one operation costs |
| `python -m benchmarks rtrl`, `esn` | gradient rules and influence updates; reservoirs |

Each has `--help`; a wrong name lists them all. The first run on a machine compiles kernels, which no sample counts.

How to read the tables: a ratio is our time over that of the faster peer, so below 1 is faster; "goal" is what earlier
measurements of prototypes support, point by point. Times are medians, with half the distance of the quartiles beside
them. They count only as ratios from one run: a machine on which others work gives no good ones, and a row marked
"(busy)" is one in which too few samples were free of them. `--rounds` and `--seconds` make a comparison longer and
steadier. "share of peak" compares the matrix products of a step with the fastest large product of this machine; "in
kernels" is the share of our step that passes in compiled kernels, beside which there are Python, its tape and small
products; "error to float64" is the largest error of a gradient over its largest entry. Memory is what a process has
held at most beyond what it held after a tiny step.
"""


def everything() -> None:
    """Run all in short, and write the tables."""
    from benchmarks import memory, recurrent, start, train

    parts = [
        ("Training step of RNN, GRU and LSTM", recurrent.main(["--json", str(FOLDER / "recurrent.json")])),
        (
            "Beside a process that keeps one core busy",
            recurrent.main(["--busy-neighbour", "--steps", "50", "--rounds", "5"]),
        ),
        ("A loss on the last step only (T = 500, B = 16, H = 128)", recurrent.main(["--last-step"])),
        ("The main job", train.main([])),
        ("Memory", memory.main([])),
        ("From the start of a process to a first gradient", start.main([])),
    ]
    date = time.strftime("%Y-%m-%d")
    text = "\n".join([HEAD, f"Measured on {date}.", *[f"\n## {title}\n\n{table}" for title, table in parts]])
    (FOLDER / "README.md").write_text(text + "\n")


def main() -> None:
    """Everything, or the comparison that is named."""
    if len(sys.argv) == 1:
        everything()
        return
    name = sys.argv[1]
    if name not in NAMES:
        sys.exit(f"no comparison is called {name!r}; there are {', '.join(NAMES)}")
    sys.argv[:] = [f"benchmarks {name}", *sys.argv[2:]]
    importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
