"""Peak memory of a training step beside torch: ``python -m benchmarks memory``.

What a process has held at most, beyond what it held after a tiny step of the same cell: T = 1000, B = 32, H = 256.
"""

from __future__ import annotations

import argparse

from benchmarks.measure import machine, versions
from benchmarks.peers import Peer, Point


def growth(name: str, point: Point, threads: int) -> int:
    """Bytes that three steps of a library need beyond a tiny one, in a process of their own."""
    peer = Peer(name, threads)
    try:
        peer.ask(point=Point(point.cell, 2, point.batch, point.size))
        before = peer.ask(rss=True)
        peer.ask(point=point)
        peer.ask(seconds=0.0)
        peer.ask(seconds=0.0)
        return int(peer.ask(rss=True) - before)
    finally:
        peer.close()


def main(arguments: list[str] | None = None) -> str:
    """Measure, print the table, and return it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    lines = [
        f"{machine()}; {versions('numpy', 'numba', 'torch')}.",
        "",
        f"T = {options.steps}, B = {options.batch}, I = H = {options.size}, float32; MB.",
        "",
        "| cell | ours | torch | ratio (wanted: 0.7) |",
        "|---|---|---|---|",
    ]
    for cell in ("lstm", "gru", "rnn"):
        point = Point(cell, options.steps, options.batch, options.size)
        mine = growth("ours", point, options.threads)
        try:
            other = growth("torch", point, options.threads)
        except RuntimeError as error:
            lines.append(f"| {cell} | {mine / 1e6:.0f} | {error} | – |")
            continue
        lines.append(f"| {cell} | {mine / 1e6:.0f} | {other / 1e6:.0f} | **{mine / other:.2f}** |")
    text = "\n".join(lines)
    print(text)
    return text


if __name__ == "__main__":
    main()
