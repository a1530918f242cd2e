"""``python -m benchmarks`` measures in short and writes benchmarks/README.md; with a name it runs one comparison."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in FOLDER.glob("[a-z]*.py") if path.stem not in ("measure", "peers"))
HEAD = """# Benchmarks

One command measures the library beside the peers that are installed (torch, JAX), in turns, each in a process of its
own: `python -m benchmarks` writes this file and `recurrent.json` anew. A single comparison: `python -m benchmarks
recurrent`, `train`, `memory` and so on, each with `--help`; a wrong name lists them. Times count only as ratios from
one run; a machine on which others work at the same time gives no good ones, and rows marked "busy" are such.
`--rounds` and `--seconds` make a comparison longer and steadier.
"""


def everything() -> None:
    """Run all in short, and write the tables."""
    from benchmarks import memory, recurrent, train

    parts = [
        ("Training step of RNN, GRU and LSTM", recurrent.main(["--json", str(FOLDER / "recurrent.json")])),
        (
            "Beside a process that keeps one core busy",
            recurrent.main(["--busy-neighbour", "--steps", "50", "--rounds", "5"]),
        ),
        ("A loss on the last step only (T = 500, B = 16, H = 128)", recurrent.main(["--last-step"])),
        ("The main job", train.main([])),
        ("Memory", memory.main([])),
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
