"""The picture of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def save_curve(path: Path, lines: Sequence[Mapping[str, Any]], baselines: Mapping[str, float]) -> str:
    """Draw bits per character over steps, with the baselines. Returns "" or why there is no picture."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return 'no picture: matplotlib is missing (pip install "tinygrad_rnn[cli]")'
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = [line["step"] for line in lines]
    axes.plot(steps, [line["train_bits"] for line in lines], color="#1f6feb", marker=".", label="training")
    axes.plot(steps, [line["validation_bits"] for line in lines], color="#d9480f", marker=".", label="validation")
    for name, bits in baselines.items():
        axes.axhline(bits, color="0.6", linewidth=1, linestyle="--")
        axes.annotate(f"{name} {bits:.2f}", (1, bits), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                      color="0.4", fontsize=8)  # fmt: skip
    axes.set(xlabel="training step", ylabel="bits per character", ylim=(0, None), xlim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=120)
    return ""
