"""Recurrent layers on a GPU beside torch's, which are cuDNN's: forward and backward, the same dtype and TF32 setting.

``python -m benchmarks gpu`` prints a table and writes gpu.json. Errors are the largest differences of the outputs from
float64 on NumPy, as a share of the largest output.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from benchmarks.measure import machine, versions

SHAPES = {"large": (512, 64, 1024), "small": (512, 16, 128), "gru": (512, 64, 512)}  # T, B, H
KINDS = ("LSTM", "GRU")
WARMUP = 5


def why_not() -> str | None:
    """Why this machine cannot run the comparison; None if it can."""
    status = tg.backends.available()["cupy"]
    if not status.can_run:
        return f"The CuPy backend cannot run here: {status.reason}. {status.fix}."
    try:
        import torch
    except ImportError:
        return "The peer is not installed: pip install torch"
    return None if torch.cuda.is_available() else "torch finds no CUDA device: install its CUDA build"


def timed(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each by CUDA events, in turns."""
    import cupy

    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(WARMUP + rounds):
        for name, run in runs.items():
            begin, end = cupy.cuda.Event(), cupy.cuda.Event()
            cupy.cuda.Device().synchronize()
            begin.record()
            run()
            cupy.cuda.Device().synchronize()
            end.record()
            end.synchronize()
            if turn >= WARMUP:
                taken[name].append(cupy.cuda.get_elapsed_time(begin, end))
    return {name: statistics.median(times) for name, times in taken.items()}


def ours(kind: str, xs: Any, weights: dict[str, Any]) -> tuple[Callable[[], object], Callable[[], Any]]:
    """A training step of a layer of this library on the GPU, and its outputs as NumPy."""
    with tg.backend("cupy"):
        layer = getattr(tg.rnn, kind)(xs.shape[2], xs.shape[2])
        layer.load_state_dict(weights)
        x = tg.tensor(xs)
        sources = list(layer.parameters())

    def step() -> None:
        with tg.backend("cupy"), tg.Tape() as tape:
            loss = tg.sum(layer(x)[0])
        tape.gradient(loss, sources)

    return step, lambda: layer(x)[0].numpy()


def theirs(kind: str, xs: Any) -> tuple[Callable[[], object], Callable[[], Any], dict[str, Any]]:
    """The same of torch, and its weights."""
    import torch

    layer = getattr(torch.nn, kind)(xs.shape[2], xs.shape[2], device="cuda")
    x = torch.from_numpy(xs).cuda()

    def step() -> None:
        layer.zero_grad()
        layer(x)[0].sum().backward()

    weights = {name: value.detach().cpu().numpy() for name, value in layer.state_dict().items()}
    return step, lambda: layer(x)[0].detach().cpu().numpy(), weights


def exact(kind: str, xs: Any, weights: dict[str, Any]) -> Any:
    """The outputs in float64 on NumPy."""
    layer = getattr(tg.rnn, kind)(xs.shape[2], xs.shape[2], backend="numpy", dtype="float64")
    layer.load_state_dict({name: value.astype(np.float64) for name, value in weights.items()})
    return layer(tg.tensor(xs.astype(np.float64), backend="numpy"))[0].numpy()


def compare(shape: str, kind: str, tf32: bool, rounds: int) -> dict[str, Any]:
    """One row of the table."""
    import torch

    steps, batch, units = SHAPES[shape]
    backend: Any = tg.backends.get("cupy")
    backend.allow_tf32(tf32)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    xs = np.random.default_rng(0).normal(size=(steps, batch, units)).astype(np.float32)
    their_step, their_outputs, weights = theirs(kind, xs)
    our_step, our_outputs = ours(kind, xs, weights)

    def graphed() -> None:
        backend.use_graphs(True)
        our_step()
        backend.use_graphs(False)

    times = timed({"step by step": our_step, "graph": graphed, "cuDNN": their_step}, rounds)
    wanted = exact(kind, xs, weights)
    size = float(np.abs(wanted).max())
    errors = {
        "ours": float(np.abs(our_outputs() - wanted).max()) / size,
        "cuDNN": float(np.abs(their_outputs() - wanted).max()) / size,
    }
    return {
        "shape": shape,
        "T": steps,
        "B": batch,
        "H": units,
        "kind": kind,
        "tf32": tf32,
        "ms": times,
        "errors": errors,
    }


def main(arguments: list[str] | None = None) -> str:
    """Print the table, or why there is none."""
    parser = argparse.ArgumentParser(prog="benchmarks gpu", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of which the median is taken (20)")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    reason = why_not()
    if reason is not None:
        print(f"Nothing was measured. {reason}")
        return reason
    rows = [
        compare(shape, kind, tf32, options.rounds) for shape in SHAPES for kind in KINDS for tf32 in (False, True)
    ]  # fmt: skip
    lines = ["| shape | kind | TF32 | ours ms | graph ms | cuDNN ms | ours / cuDNN | error ours | error cuDNN |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        ms, errors = row["ms"], row["errors"]
        best = min(ms["step by step"], ms["graph"])
        lines.append(
            f"| T={row['T']} B={row['B']} H={row['H']} | {row['kind']} | {'on' if row['tf32'] else 'off'} "
            f"| {ms['step by step']:.2f} | {ms['graph']:.2f} | {ms['cuDNN']:.2f} | {best / ms['cuDNN']:.2f} "
            f"| {errors['ours']:.1e} | {errors['cuDNN']:.1e} |"
        )
    table = "\n".join(lines)
    print(table)
    import cupy

    device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    about = {"device": device, "machine": machine(), "versions": versions("cupy-cuda12x", "cupy-cuda13x", "torch")}
    target = Path(__file__).with_name("gpu.json")
    target.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return table


if __name__ == "__main__":
    main()
