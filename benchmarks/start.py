"""From the start of a process to its first gradient: ``python -m benchmarks start``.

Once with an empty cache of compiled kernels, as on a machine that has never run them, and then from that cache. The
time is that of the whole process: interpreter, imports, a layer, its forward and its backward pass.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import machine, versions

PROGRAM = """
import numpy as np
import tinygrad_rnn as tg
layer = tg.rnn.{layer}({size}, {size}, rng=0, backend="numba")
x = tg.tensor(np.ones(({steps}, {batch}, {size}), "float32"), backend="numba")
with tg.Tape() as tape:
    ys, _ = layer(x)
tape.gradient(ys, list(layer.parameters()), cotangent=ys)
"""
MODULES = "import numba, tinygrad_rnn.kernels.numba; numba.njit(lambda: 0)()"


def seconds(program: str, cache: str) -> float:
    """How long a process takes that runs a program, its compiled kernels and modules kept in `cache`."""
    environment = {**os.environ, "TINYGRAD_RNN_CACHE": cache, "PYTHONPYCACHEPREFIX": f"{cache}/modules"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=Path(__file__).resolve().parents[1],
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - begun


def main(arguments: list[str] | None = None) -> str:
    """Measure, print the table, and return it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks start", description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9, help="from the cache (default: 9)")
    options = parser.parse_args(arguments)
    shape = {"steps": options.steps, "batch": options.batch, "size": options.size}
    lines = [
        f"{machine()}; {versions('numpy', 'numba')}.",
        "",
        f"T = {options.steps}, B = {options.batch}, I = H = {options.size}, float32; s.",
        "",
        "| layer | nothing compiled yet (wanted: 12) | from the cache (wanted: 0.6) |",
        "|---|---|---|",
    ]
    for layer in ("LSTM", "GRU", "RNN"):
        program = PROGRAM.format(layer=layer, **shape)
        with tempfile.TemporaryDirectory() as cache:
            seconds(MODULES, cache)  # which are compiled when they are installed
            first = seconds(program, cache)
            later = statistics.median(seconds(program, cache) for _ in range(options.rounds))
        lines.append(f"| {layer} | {first:.1f} | **{later:.2f}** |")
    text = "\n".join(lines)
    print(text)
    return text


if __name__ == "__main__":
    main()
