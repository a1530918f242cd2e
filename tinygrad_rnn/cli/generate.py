"""Write text with a model that `train` made."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from ..errors import ArgumentError
from ..random import as_generator
from ..training import load_snapshot
from .character_model import model_from, sample


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a folder that train wrote, or its model.safetensors")
    parser.add_argument(
        "--prompt", default="", help="text to go on from; characters that the model does not know count as unknown"
    )
    parser.add_argument("--length", metavar="N", type=int, default=500, help="characters to write (500)")
    parser.add_argument(
        "--temperature", metavar="T", type=float, default=0.7, help="0 takes the likeliest; 1 samples as learnt (0.7)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the draws (0)")
    parser.add_argument("--backend", metavar="NAME", help="array backend; the command backends lists them")


def run(options: argparse.Namespace) -> int:
    """Print the prompt and what the model writes after it, as it comes."""
    if options.length < 1:
        raise ArgumentError(f"--length must be at least 1; got {options.length}")
    if not math.isfinite(options.temperature) or options.temperature < 0:
        raise ArgumentError(f"--temperature must be a number of at least 0; got {options.temperature}")
    rng = as_generator(options.seed)
    path = options.run / "model.safetensors" if options.run.is_dir() else options.run
    model, vocabulary = model_from(load_snapshot(path), options.backend)
    unknown = sorted({character for character in options.prompt if character not in vocabulary})
    if unknown:
        print(f"note: the model does not know {', '.join(map(ascii, unknown))}", file=sys.stderr)
    sys.stdout.write(options.prompt)
    for character in sample(model, vocabulary, options.prompt, options.length, options.temperature, rng):
        sys.stdout.write(character)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
