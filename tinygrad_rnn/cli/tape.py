"""Run a Python script and open the explorer of the last tape that it recorded.

The page steps through the tape forward and backward, with the values and gradients of every record. Arguments that
this command does not know are the script's own.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..inspect import table
from ..inspect.page_names import variables_of_caller
from ..tape import Tape


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("script", metavar="SCRIPT.py", help="the script to run, as `python SCRIPT.py` would")
    parser.add_argument(
        "--output",
        metavar="FILE.html",
        help="write the page there and open no browser (by default SCRIPT.tape.html, which is opened)",
    )
    parser.add_argument("--table", action="store_true", help="print the tape as a table too")
    parser.set_defaults(rest=[])  # what this parser does not know is the script's own


def run(options: argparse.Namespace) -> int:
    """Run the script, then write the page, and open it unless the output was named."""
    script = Path(options.script)
    if not script.is_file():
        raise ArgumentError(f"there is no script {script}")
    with last_tape() as found:
        status = _run_script(script, options.rest)
    if not found:
        raise ArgumentError(
            f"{script.name} recorded nothing. Its operations on Tensors must run inside `with tg.Tape():`, "
            f"or in tg.grad, tg.vjp or a training loop."
        )
    tape, names = found["tape"], found["names"]
    if options.table:
        print(table(tape))
    path = tape.to_html(options.output or f"{script.stem}.tape.html", names=names, title=script.name)
    print(f"{len(tape)} records, {path.stat().st_size / 1024:.0f} KiB: {path}")
    if options.output is None and not webbrowser.open(path.resolve().as_uri()):
        print("No browser was found here; open the file in one.")
    return status


@contextmanager
def last_tape() -> Iterator[dict[str, Any]]:
    """Keep the tape that is left last inside the ``with`` block, and the variables that were in sight then.

    Fills the dictionary that it yields with "tape" and "names". Empty tapes do not count, nor do those that a tape
    around them or a sweep makes for itself.
    """
    found: dict[str, Any] = {}
    leave = Tape.__exit__
    sweeps = {Tape.sweep_backward.__code__, Tape.sweep_forward.__code__}

    def kept(tape: Tape, *exc: object) -> None:
        inside = tape.nested
        leave(tape, *exc)
        if tape.records and not inside and not _called_from(sweeps):
            found.update(tape=tape, names=variables_of_caller())

    Tape.__exit__ = kept  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Tape.__exit__ = leave  # type: ignore[method-assign]


def _called_from(codes: set[Any]) -> bool:
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False


def _run_script(script: Path, arguments: list[str]) -> int:
    """Run a script as Python would: its arguments, its folder first on the path. Returns its exit status."""
    before = sys.argv[:], sys.path[:]
    sys.argv = [str(script), *arguments]
    sys.path[0:1] = [os.fspath(script.resolve().parent)]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv, sys.path[:] = before
    return 0
