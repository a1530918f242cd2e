"""The copying problem: ten symbols are to be repeated after a pause of a hundred steps.

    input    s_1 ... s_10   blank × 99   go   blank × 10
    target   blank × 110                      s_1 ... s_10

A network without memory does best by blanks and then eight equally likely symbols, at a cross-entropy of
10 log 8 / (delay + 20) nats a step. Elman networks and LSTMs stay there for long; a recurrence with an orthogonal
matrix, through which gradients pass without fading, gets below it within a few hundred updates.

Source: Hochreiter & Schmidhuber 1997; in this form Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, section 5.1;
orthogonal matrix as e^A: Lezcano-Casado & Martínez-Rubio 2019, arXiv:1901.08428.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import copy_memory
from tinygrad_rnn.training import fit

SYMBOLS, LENGTH, HIDDEN, BATCH = 8, 10, 64, 16
KINDS = {"Elman": 0.001, "LSTM": 0.003, "orthogonal": 0.002}  # kind: learning rate


class Copier(nn.Module):
    """A recurrence, and scores of the next symbol at every step."""

    def __init__(self, kind: str, seed: int) -> None:
        self.output = nn.Linear(HIDDEN, SYMBOLS + 1, rng=seed)
        if kind == "orthogonal":
            self.recurrence = rnn.UnitaryCell(SYMBOLS + 2, HIDDEN, parametrization="exponential", rng=seed)
        else:
            self.recurrence = {"LSTM": rnn.LSTM, "Elman": rnn.RNN}[kind](SYMBOLS + 2, HIDDEN, rng=seed)
        if kind == "LSTM":
            nn.init.forget_gate_bias_(self.recurrence)

    def forward(self, xs: tg.Tensor) -> tg.Tensor:
        """xs (T, B, 10) → scores (T, B, 9)."""
        cell = isinstance(self.recurrence, rnn.UnitaryCell)
        ys, _ = rnn.scan(self.recurrence, xs) if cell else self.recurrence(xs)
        return self.output(ys)


def train(kind: str, delay: int, updates: int, seed: int) -> tuple[np.ndarray, float]:
    """Train; return the loss of every update on its new batch, and the share of symbols right on a last batch."""
    model, rng, losses = Copier(kind, seed), np.random.default_rng(seed), []

    def loss(model: Copier, batch: tuple[np.ndarray, np.ndarray], carry: None) -> tg.Tensor:
        xs, targets = batch
        return tg.cross_entropy(model(tg.asarray(xs)), tg.asarray(targets))

    fit(model, lambda step: copy_memory(delay, BATCH, seed=rng), loss=loss, steps=updates, clip=1.0,
        optimizer=optim.Adam(model, lr=KINDS[kind]), callbacks=[lambda step, state: losses.append(state.loss)],
        progress=False)  # fmt: skip
    xs, targets = copy_memory(delay, 64, seed=seed + 1)
    right = model(tg.asarray(xs)).numpy().argmax(axis=-1)[-LENGTH:] == targets[-LENGTH:]
    return np.array(losses), float(right.mean())


def main(run: gallery.Run) -> None:
    """Train all three, and compare their last cross-entropies with the baseline."""
    delay, updates = (10, 150) if run.quick else (100, 600)
    baseline = LENGTH * np.log(SYMBOLS) / (delay + 2 * LENGTH)
    curves, last = {}, {}
    for kind in ("orthogonal",) if run.quick else KINDS:
        losses, right = train(kind, delay, updates, run.seed)
        curves[kind] = losses.reshape(-1, 10).mean(axis=1)
        last[kind] = float(losses[-20:].mean())
        run.say(f"{kind:10} cross-entropy of the last 20 updates {last[kind]:.4f} nats a step, {right:.0%} of the "
                f"symbols right (chance {1 / SYMBOLS:.0%})")  # fmt: skip
    run.expect(f"orthogonal, delay {delay}", expected=f"below the memoryless {baseline:.4f}",
               got=f"{last['orthogonal']:.4f}", ok=last["orthogonal"] < 0.75 * baseline)  # fmt: skip
    for kind in [kind for kind in last if kind != "orthogonal"]:
        run.expect(f"{kind}, delay {delay}", expected=f"about the memoryless {baseline:.4f}", got=f"{last[kind]:.4f}",
                   ok=0.9 * baseline < last[kind] < 1.5 * baseline)  # fmt: skip

    figure = run.figure(f"Copying {LENGTH} symbols over {delay} steps", width=7.5, height=4)
    axes = figure.subplots()
    for i, (kind, curve) in enumerate(curves.items()):
        axes.plot(10 * np.arange(1, len(curve) + 1), curve, **run.style(i), label=kind)
    axes.axhline(baseline, color="#868e96", linestyle="--", linewidth=1)
    axes.annotate("memoryless", (1, baseline), xycoords=("axes fraction", "data"), xytext=(0, 3),
                  textcoords="offset points", ha="right")  # fmt: skip
    axes.set(xlabel=f"update (batches of {BATCH})", ylabel="cross-entropy in nats a step", ylim=(0, 3 * baseline),
             xlim=(0, None))  # fmt: skip
    axes.legend(loc="upper right")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
