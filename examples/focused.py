"""Mozer's focused architecture against full recurrence on a long lag.

The first symbol of a sequence, X or Y, has to be named at its end, after distractors that say nothing:

    focused   c_i(t) = d_i c_i(t-1) + tanh(net_i(t)),   net from the input alone, d_i learned, each unit for itself
    full      h(t) = tanh(W x(t) + U h(t-1) + b)

and an output layer reads the last state. In the focused network the error comes back to the first step through the
decays alone, so it fades by d^lag and nothing else; in the full one it passes lag times through U and tanh'.

Source: Mozer 1989, "A focused backpropagation algorithm for temporal pattern recognition", Complex Systems 3, 349; the
paper's task of the same kind (its section 4.1) reports that the focused network needs far fewer passes and that full
recurrence fails as the lag grows.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.training import fit

SYMBOLS, DISTRACTORS = 2, 4
HIDDEN, BATCH = 12, 32


class Classifier(nn.Module):
    """A recurrence, and an output layer on its last state."""

    def __init__(self, kind: str, rng: np.random.Generator) -> None:
        cells = {"focused": rnn.FocusedCell, "full": rnn.ElmanCell}
        self.cell = cells[kind](SYMBOLS + DISTRACTORS, HIDDEN, rng=rng)
        self.output = nn.Linear(HIDDEN, SYMBOLS, rng=rng)

    def forward(self, xs: np.ndarray) -> tg.Tensor:
        """xs (T, B, I) → scores of the first symbol, (B, 2)."""
        _, last = rnn.scan(self.cell, tg.asarray(xs))
        return self.output(last)


def sequences(lag: int, batch: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One-hot inputs (lag + 1, B, 6), and which symbol came first (B,)."""
    first = rng.integers(0, SYMBOLS, batch)
    symbols = np.concatenate([first[None], SYMBOLS + rng.integers(0, DISTRACTORS, (lag, batch))])
    return np.eye(SYMBOLS + DISTRACTORS, dtype=np.float32)[symbols], first


def error_after(kind: str, lag: int, updates: int, seed: int) -> float:
    """Train on the task, and return the share of new sequences that it gets wrong."""
    rng = np.random.default_rng(seed)
    model = Classifier(kind, rng)

    def loss(model: Classifier, batch: tuple[np.ndarray, np.ndarray], carry: None) -> tg.Tensor:
        xs, first = batch
        return tg.cross_entropy(model(xs), tg.tensor(first))

    fit(model, lambda step: sequences(lag, BATCH, rng), loss=loss, optimizer=optim.Adam(model, lr=0.005), steps=updates,
        clip=1.0, progress=False)  # fmt: skip
    xs, first = sequences(lag, 1000, np.random.default_rng(seed + 1))
    return float(np.mean(model(xs).numpy().argmax(axis=1) != first))


def main(run: gallery.Run) -> None:
    """Both networks at growing lags."""
    lags = (2, 30) if run.quick else (2, 10, 20, 30, 50)
    updates, seeds = (60, 1) if run.quick else (300, 3)
    errors = {
        kind: np.array([[error_after(kind, lag, updates, run.seed + seed) for seed in range(seeds)] for lag in lags])
        for kind in ("focused", "full")
    }
    for kind, found in errors.items():
        shown = ", ".join(f"lag {lag}: {100 * e.mean():.1f} %" for lag, e in zip(lags, found))
        run.say(f"{kind:8} wrong after {updates} updates, mean of {seeds}: {shown}")
    focused, full = errors["focused"][-1].mean(), errors["full"][-1].mean()
    run.expect(f"focused network at lag {lags[-1]}", expected="solves it (below 5 % wrong)", got=f"{focused:.1%} wrong",
               ok=focused < 0.05)  # fmt: skip
    run.expect(f"full recurrence at lag {lags[-1]}", expected="does not (chance is 50 %)", got=f"{full:.1%} wrong",
               ok=full > 0.25)  # fmt: skip

    figure = run.figure(
        "A symbol to remember over a lag: focused architecture and full recurrence", width=7, height=3.8
    )
    axes = figure.subplots()
    for i, (kind, found) in enumerate(errors.items()):
        axes.plot(lags, 100 * found.mean(axis=1), **run.style(i, markers=True), label=kind)
        axes.plot(np.repeat(lags, seeds), 100 * found.ravel(), ".", color=gallery.COLORS[i], alpha=0.5)
    axes.axhline(50, color="#868e96", linestyle="--", linewidth=1)
    axes.annotate("chance", (lags[0], 50), xytext=(0, 3), textcoords="offset points")
    axes.set(xlabel="lag in steps", ylabel="wrong sequences in %", ylim=(-2, 60))
    axes.legend(loc="center right")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
