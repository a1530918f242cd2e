"""List the examples, or run one of them, or all.

Without a name it lists them. An example may have options of its own, which follow the name. With --all every example
runs, and the pictures and numbers are put together in one page, runs/gallery/index.html. The exit status is 1 if any
number is not what was expected.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

from ..errors import ArgumentError
from .console import show_table
from .gallery_page import write_page


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="the example to run")
    parser.add_argument("--all", action="store_true", help="run all of them")
    parser.add_argument("--backend", metavar="NAME", help="where to compute (default: the environment's, else numpy)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random (default: 0)")
    parser.add_argument("--quick", action="store_true", help="take seconds, and show less")
    parser.add_argument(
        "--output", default="runs/gallery", metavar="FOLDER", help="for pictures and page (default: runs/gallery)"
    )
    parser.set_defaults(rest=[])  # options that this parser does not know are the example's own


def run(options: argparse.Namespace) -> int:
    """List, run one or run all; return 1 if a number was missed, else 0."""
    if options.all and options.name:
        raise ArgumentError(f"--all runs every example, so leave out the name {options.name!r}, or leave out --all")
    if options.rest and not options.name:
        raise ArgumentError(f"{' '.join(options.rest)} belongs to no example; options of an example follow its name")
    if options.all:
        return _run_all(options)
    if options.name is None:
        show_table("Examples", ("name", "what it shows"), [(name, title) for name, (title, _) in found().items()])
        print("\npython -m tinygrad_rnn examples NAME runs one, --all runs all")
        return 0
    known = found()
    if options.name not in known:
        near = difflib.get_close_matches(options.name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`python -m tinygrad_rnn examples` lists them"
        raise ArgumentError(f"there is no example {options.name!r}; {hint}")
    return _start(options.name, [*_common(options), *options.rest]).wait()


def found() -> dict[str, tuple[str, Path]]:
    """Every example's title and file, by name."""
    package = importlib.util.find_spec("tinygrad_rnn.examples")
    if package is None or not package.submodule_search_locations:
        raise ArgumentError("the examples are not installed; a checkout of the project has them in examples/")
    paths = sorted(Path(package.submodule_search_locations[0]).glob("[!_]*.py"))
    return {path.stem: (_title(path), path) for path in paths}


def _title(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def _start(name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    sys.stdout.flush()
    # matrices this small are multiplied faster by one thread than by several that wait for each other
    environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **os.environ}
    return subprocess.Popen([sys.executable, "-m", f"tinygrad_rnn.examples.{name}", *arguments], env=environment)


def _common(options: argparse.Namespace) -> list[str]:
    quick = ["--quick"] if options.quick else []
    backend = ["--backend", options.backend] if options.backend else []
    return ["--seed", str(options.seed), "--output", options.output, *quick, *backend]


def _run_all(options: argparse.Namespace) -> int:
    arguments = _common(options)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    names = found()
    states: dict[str, int] = {}
    begun = time.perf_counter()
    try:
        for number, (name, (title, _)) in enumerate(names.items(), 1):
            print(f"\n== {number}/{len(names)}  {name}: {title}", flush=True)
            (folder / f"{name}.json").unlink(missing_ok=True)
            started = time.perf_counter()
            states[name] = _start(name, arguments).wait()
            print(f"{time.perf_counter() - started:.1f} s", flush=True)
    finally:  # after Ctrl-C too: what ran is worth looking at
        page = write_page(folder, {name: names[name] for name in states}, states)
    wrong = [name for name, state in states.items() if state]
    print(f"\n{len(states)} examples in {time.perf_counter() - begun:.0f} s, {len(wrong)} missed a number: {page}")
    if wrong:
        print("missed: " + ", ".join(wrong))
    return 1 if wrong else 0
