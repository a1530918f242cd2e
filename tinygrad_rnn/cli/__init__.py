"""The command line: ``python -m tinygrad_rnn``, or ``tinygrad-rnn``.

argparse reads it; rich (tables, progress) and matplotlib (pictures) are in the extra ``cli`` and are loaded only where
they are used; without them the commands print plain lines and leave the picture out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import TinygradRNNError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, 1 for an error of this library, 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except TinygradRNNError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `... | head`
        sys.stderr.close()
        return 0
    return status


def parser() -> argparse.ArgumentParser:
    """The parser of every command; each command's own module adds its options."""
    from . import backends, check, generate, train

    top = argparse.ArgumentParser(
        prog="tinygrad-rnn", description="A mini autodiff framework for recurrent networks. No argument is needed: train."
    )
    top.add_argument("--version", action="version", version=f"tinygrad_rnn {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (train, generate, check, backends):
        name = command.__name__.rpartition(".")[2]
        summary, _, rest = (command.__doc__ or "").partition("\n")
        sub = commands.add_parser(
            name,
            help=summary,
            description=f"{summary}{rest}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(sub)
        sub.set_defaults(run=command.run)
    return top
