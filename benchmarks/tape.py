"""What recording and sweeping one elementwise operation costs: ``python -m benchmarks.tape``.

A chain of 200 operations on 16 float32 numbers, forward and backward, so small that all but the bookkeeping
vanishes. Provenance and checks are on, as always. One thread; peers (torch, autograd) where they are installed.
"""

from __future__ import annotations

import argparse
import os

from benchmarks.measure import THREADS, in_turns, machine, versions

for _name in THREADS:
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - the thread counts come first

import tinygrad_rnn as tg  # noqa: E402

LENGTH = 200
START = np.linspace(0.1, 0.9, 16, dtype=np.float32)
FACTOR = np.full(16, 0.999, dtype=np.float32)
ONES = np.ones(16, dtype=np.float32)


def ours(kind):
    """The chain on a tape of this library."""
    start, factor, ones = tg.tensor(START), tg.tensor(FACTOR), tg.tensor(ONES)

    def multiply():
        x = start
        with tg.Tape() as tape:
            for _ in range(LENGTH):
                x = x * factor
        return tape.gradient(x, [start, factor], cotangent=ones)

    def add():
        x = start
        with tg.Tape() as tape:
            for _ in range(LENGTH):
                x = x + factor
        return tape.gradient(x, [start, factor], cotangent=ones)

    def tanh():
        x = start
        with tg.Tape() as tape:
            for _ in range(LENGTH):
                x = tg.tanh(x)
        return tape.gradient(x, [start], cotangent=ones)

    return {"multiply": multiply, "add": add, "tanh": tanh}[kind]


def by_torch(kind):
    """The chain in torch eager."""
    import torch

    torch.set_num_threads(1)
    start, factor = torch.tensor(START, requires_grad=True), torch.tensor(FACTOR, requires_grad=True)
    ones = torch.tensor(ONES)

    def run():
        x = start
        for _ in range(LENGTH):
            x = x * factor if kind == "multiply" else x + factor if kind == "add" else torch.tanh(x)
        return torch.autograd.grad(x, [start] if kind == "tanh" else [start, factor], ones)

    return run


def by_autograd(kind):
    """The chain in autograd (HIPS)."""
    import autograd.numpy as anp
    from autograd import make_vjp

    def chain(pair):
        x, factor = pair
        for _ in range(LENGTH):
            x = x * factor if kind == "multiply" else x + factor if kind == "add" else anp.tanh(x)
        return x

    return lambda: make_vjp(chain)((START, FACTOR))[0](ONES)


def by_hand(kind):
    """The same numbers in NumPy, with the backward written out: the floor."""

    def run():
        x, xs = START, []
        for _ in range(LENGTH):
            xs.append(x)
            x = x * FACTOR if kind == "multiply" else x + FACTOR if kind == "add" else np.tanh(x)
        g, total = ONES, np.zeros_like(FACTOR)
        for before in reversed(xs):
            if kind == "multiply":
                total += g * before
                g = g * FACTOR
            elif kind == "add":
                total += g
            else:
                g = g * (1 - x * x)
                x = before
        return g, total

    return run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    print(machine())
    print(versions("numpy", "torch", "autograd"))
    print(f"{'operation':<10} {'ours':>9} {'NumPy':>9} {'torch':>9} {'autograd':>9}   ours/torch  ours/autograd  error")
    for kind in ("multiply", "add", "tanh"):
        runs = {"ours": ours(kind), "NumPy": by_hand(kind)}
        for name, make in (("torch", by_torch), ("autograd", by_autograd)):
            try:
                runs[name] = make(kind)
            except ImportError:
                print(f"({name} is not installed)")
        times = {name: timing.median / LENGTH * 1e9 for name, timing in in_turns(runs, options.rounds).items()}
        exact = by_hand(kind)()[0].astype(np.float64)
        error = np.abs(ours(kind)()[0].numpy() - exact).max() / np.abs(exact).max()
        shown = (times.get(name, float("nan")) for name in ("ours", "NumPy", "torch", "autograd"))
        cells = "".join(f"{time:>8.0f}n " for time in shown)
        ratios = [times["ours"] / times.get(name, float("nan")) for name in ("torch", "autograd")]
        print(f"{kind:<10} {cells}  {ratios[0]:>8.2f}  {ratios[1]:>12.2f}   {error:.0e}")


if __name__ == "__main__":
    main()
