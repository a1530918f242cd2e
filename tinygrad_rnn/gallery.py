"""What the scripts of the gallery share: options, numbers that are expected, pictures.

>>> import contextlib, io
>>> from tinygrad_rnn import gallery
>>> def main(run):
...     run.expect("two and two", expected="4", got=str(2 + 2), ok=2 + 2 == 4)
>>> gallery.start(main, ["--quick", "--output", ""])
two and two: expected 4, got 4
0
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backends
from .errors import ArgumentError, TinygradRNNError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLORS", "DASHES", "MARKERS", "Run", "start"]

COLORS = ("#1f6feb", "#d9480f", "#2b8a3e", "#9c36b5", "#495057", "#c2255c", "#0b7285", "#e67700")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK = "#212529"

HOUSE: Any = {
    "figure.facecolor": "white", "savefig.facecolor": "white", "axes.facecolor": "white", "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": "#868e96", "xtick.color": INK, "ytick.color": INK, "font.size": 9.5,
    "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "lines.linewidth": 1.6, "lines.markersize": 4, "axes.grid": False,
}  # fmt: skip


class Run:
    """One run of a script: its options, and what it shows.

    Attributes
    ----------
    name
        The script's name.
    seed, rng
        The seed, and a `numpy.random.Generator` made from it.
    quick
        Whether to take seconds and show less.
    backend
        The backend's name; it is the default one while the script runs.
    options
        The other options of the script.
    """

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.options = name, options
        self.seed: int = options.seed
        self.quick: bool = options.quick
        self.backend = backends.resolve(options.backend).name
        self.rng = np.random.default_rng(options.seed)
        self.folder = Path(options.output) if options.output else None
        self.said: list[str] = []
        self.checks: list[dict[str, Any]] = []
        self.pictures: list[str] = []

    @property
    def missed(self) -> int:
        """How many numbers are not what was expected."""
        return sum(not check["ok"] for check in self.checks)

    def say(self, text: str = "") -> None:
        """Print a line, and keep it for the gallery's page."""
        self.said.append(text)
        print(text, flush=True)

    def expect(self, what: str, *, expected: str, got: str, ok: bool) -> None:
        """Print a number beside what the source states; a miss makes the script fail."""
        self.checks.append({"what": what, "expected": expected, "got": got, "ok": bool(ok)})
        self.say(f"{what}: expected {expected}, got {got}" + ("" if ok else "  ** missed **"))

    def figure(self, title: str = "", *, width: float = 7.0, height: float = 4.0) -> Figure:
        """An empty figure in the house style, `width` by `height` inches."""
        from matplotlib import rcParams
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        rcParams.update(HOUSE)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        if title:
            figure.suptitle(title, fontsize=11.5, fontweight="bold")
        return figure

    def style(self, index: int, *, markers: bool = False) -> dict[str, Any]:
        """Keywords of the `index`-th line of a plot; lines differ in black and white too."""
        chosen: dict[str, Any] = {"color": COLORS[index % len(COLORS)], "linestyle": DASHES[index % len(DASHES)]}
        if markers:
            chosen["marker"] = MARKERS[index % len(MARKERS)]
        return chosen

    def save(self, figure: Figure, part: str = "") -> Path | None:
        """Write ``NAME.png``, or ``NAME_part.png``, and say where. Returns the path; None if nothing is to be saved."""
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / (f"{self.name}_{part}.png" if part else f"{self.name}.png")
        figure.savefig(path, dpi=130)
        self.pictures.append(path.name)
        print(f"picture: {path}", flush=True)
        return path

    def write(self, seconds: float) -> None:
        """Write ``NAME.json``, from which the gallery's page is made."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = {
                "name": self.name, "seconds": round(seconds, 1), "seed": self.seed, "backend": self.backend,
                "quick": self.quick, "checks": self.checks, "said": self.said, "pictures": self.pictures,
            }  # fmt: skip
            (self.folder / f"{self.name}.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")


def start(
    main: Callable[[Run], None],
    arguments: Sequence[str] | None = None,
    *,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Run a script of the gallery from its command line.

    Parameters
    ----------
    main
        The script.
    arguments
        The command line; `sys.argv` if None, and then the process ends with the status.
    options
        Adds the script's own options to the parser.

    Returns
    -------
    int
        0; 1 if a number is not what was expected, or after an error of this library; 130 after Ctrl-C.
    """
    module = inspect.getmodule(main)
    description = (getattr(module, "__doc__", None) or "").strip()
    name = Path(inspect.getfile(main)).stem
    parser = argparse.ArgumentParser(
        prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", metavar="NAME", help="where to compute (default: the environment's, else numpy)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random (default: 0)")
    parser.add_argument("--quick", action="store_true", help="take seconds, and show less")
    parser.add_argument(
        "--output", default="runs/gallery", metavar="FOLDER", help="for the picture; '' saves none (runs/gallery)"
    )
    if options is not None:
        options(parser)
    status = _run(main, name, parser.parse_args(arguments))
    if arguments is None:
        sys.exit(status)
    return status


def _run(main: Callable[[Run], None], name: str, options: argparse.Namespace) -> int:
    begun = time.perf_counter()
    try:
        if options.seed < 0:
            raise ArgumentError(f"--seed must be at least 0; got {options.seed}")
        run = Run(name, options)
        with backends.backend(run.backend):
            main(run)
        run.write(time.perf_counter() - begun)
    except TinygradRNNError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 1 if run.missed else 0
