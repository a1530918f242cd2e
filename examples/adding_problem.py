"""The adding problem: two marked numbers in a sequence of a hundred are to be added.

    x(t) = (u(t), m(t)),  u uniform in 0 to 1,  m = 1 at two steps, else 0;    target = the sum of the two marked u

Answering 1 always has a mean squared error of 2/12 = 0.167, so a network that gets below it carries information over
the sequence. Compared are an Elman network, the same with ReLU and identity (IRNN), LSTM, GRU and an orthogonal one.

Source: Hochreiter & Schmidhuber 1997, experiment 4; in this form Le, Jaitly & Hinton 2015, arXiv:1504.00941, section 4.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import adding_problem
from tinygrad_rnn.training import fit

BASELINE = 1 / 6
HIDDEN, BATCH = 40, 32
KINDS = {  # learning rate, and updates
    "Elman": (0.003, 1000), "IRNN": (0.003, 1000), "orthogonal": (0.01, 1000), "LSTM": (0.005, 2500),
    "GRU": (0.01, 1000),
}  # fmt: skip


class Adder(nn.Module):
    """A recurrence, and a linear output of its last state."""

    def __init__(self, kind: str, seed: int) -> None:
        self.output = nn.Linear(HIDDEN, 1, rng=seed)
        if kind == "orthogonal":
            self.recurrence = rnn.UnitaryCell(2, HIDDEN, parametrization="exponential", rng=seed)
        elif kind in ("LSTM", "GRU"):
            self.recurrence = getattr(rnn, kind)(2, HIDDEN, rng=seed)
        else:
            self.recurrence = rnn.RNN(2, HIDDEN, nonlinearity="relu" if kind == "IRNN" else "tanh", rng=seed)
        if kind == "LSTM":
            nn.init.forget_gate_bias_(self.recurrence)
        if kind == "IRNN":
            nn.init.irnn_(self.recurrence, seed, std=0.1)

    def forward(self, xs: tg.Tensor) -> tg.Tensor:
        """xs (T, B, 2) → the sum, (B, 1)."""
        cell = isinstance(self.recurrence, rnn.UnitaryCell)
        ys, _ = rnn.scan(self.recurrence, xs) if cell else self.recurrence(xs)
        return self.output(ys[-1])


def train(kind: str, steps: int, updates: int, seed: int) -> np.ndarray:
    """Train, and return the loss of every update; every batch is new, so it is the error on new sequences."""
    model, rng, losses = Adder(kind, seed), np.random.default_rng(seed), []

    def loss(model: Adder, batch: tuple[np.ndarray, np.ndarray], carry: None) -> tg.Tensor:
        xs, targets = batch
        return tg.mse_loss(model(tg.asarray(xs)), tg.asarray(targets))

    fit(model, lambda step: adding_problem(steps, BATCH, seed=rng), loss=loss, steps=updates, clip=1.0,
        optimizer=optim.Adam(model, lr=KINDS[kind][0]), callbacks=[lambda step, state: losses.append(state.loss)],
        progress=False)  # fmt: skip
    return np.array(losses)


def main(run: gallery.Run) -> None:
    """Train all five, and compare their last errors with the baseline."""
    steps = 20 if run.quick else 100
    kinds = ("Elman", "GRU") if run.quick else tuple(KINDS)
    curves, last = {}, {}
    for kind in kinds:
        updates = 200 if run.quick else KINDS[kind][1]
        losses = train(kind, steps, updates, run.seed)
        curves[kind] = losses.reshape(-1, 25).mean(axis=1)
        last[kind] = float(losses[-updates // 10 :].mean())
        run.say(f"{kind:10} mean squared error over the last {updates // 10} updates: {last[kind]:.4f}")
    for kind in kinds:
        if kind == "Elman" and not run.quick:
            run.expect(f"Elman, T = {steps}", expected="no better than the baseline 0.167", got=f"{last[kind]:.4f}",
                       ok=last[kind] > 0.12)  # fmt: skip
        elif kind != "Elman":
            run.expect(f"{kind}, T = {steps}", expected="below the baseline 0.167", got=f"{last[kind]:.4f}",
                       ok=last[kind] < (0.16 if run.quick else 0.08))  # fmt: skip

    figure = run.figure(f"The adding problem over {steps} steps", width=7.5, height=4)
    axes = figure.subplots()
    for i, (kind, curve) in enumerate(curves.items()):
        axes.semilogy(25 * np.arange(1, len(curve) + 1), curve, **run.style(i), label=kind)
    axes.axhline(BASELINE, color="#868e96", linestyle="--", linewidth=1)
    axes.annotate("always 1: 0.167", (1, BASELINE), xycoords=("axes fraction", "data"), xytext=(0, 3),
                  textcoords="offset points", ha="right")  # fmt: skip
    axes.set(xlabel=f"update (batches of {BATCH})", ylabel="mean squared error", xlim=(0, None), ylim=(1e-4, 10))
    axes.legend(loc="upper right", ncols=2)
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
