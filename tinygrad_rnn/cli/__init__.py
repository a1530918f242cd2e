"""The command line: ``python -m tinygrad_rnn``, or ``tinygrad-rnn``.

argparse reads it; rich (tables, progress) and matplotlib (pictures) are in the extra ``cli`` and are loaded only where
they are used; without them the commands print plain lines and leave the picture out.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import TinygradRNNError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns the exit status: 0; 1 for an error of this library or of the file system; 130 after Ctrl-C; 141 if nobody
    reads what it prints any more. Wrong options end the process with 2, as argparse does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack characters that a model knows
        sys.stdout.reconfigure(errors="replace")
    known = parser()
    options, rest = known.parse_known_args(arguments)
    if rest and not hasattr(options, "rest"):
        known.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        status: int = options.execute(options)
        sys.stdout.flush()
    except TinygradRNNError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `... | head`; what Python flushes at its end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or 'a file'}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"error: out of memory: {error}. Smaller sizes need less of it.", file=sys.stderr)
        return 1
    return status


def parser() -> argparse.ArgumentParser:
    """The parser of every command; each command's own module adds its options."""
    from . import backends, check, esn, examples, generate, tape, train

    top = argparse.ArgumentParser(
        prog="tinygrad-rnn",
        description="A mini autodiff framework for recurrent networks. Begin with `train`, which needs no arguments.",
    )
    top.add_argument("--version", action="version", version=f"tinygrad_rnn {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (train, generate, esn, check, tape, examples, backends):
        name = command.__name__.rpartition(".")[2]
        description = (command.__doc__ or "").strip()
        sub = commands.add_parser(
            name,
            help=description.partition("\n")[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(sub)
        sub.set_defaults(execute=command.run)
    return top
