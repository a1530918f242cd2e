"""Add, a task whose best losses are known: how far back does each rule learn to look?

The input is a fair coin x(t), given as (x, 1 - x); the target is

    y(t) = 0.5 + 0.5 x(t - 5) - 0.25 x(t - 9)

as the probabilities (y, 1 - y), and the loss the cross-entropy of a softmax readout of 32 tanh units. Whoever knows
neither input of the past predicts 0.625 and pays 0.6616; the input of 5 steps ago alone brings 0.5192, both 0.4545.
Orthogonal recurrent weights, all else normal with variance 1/fan-in, no bias at first, plain SGD on one endless stream.

The source takes a million steps at rate 1e-4 in one lane (--full). Without that, 20 lanes share one network for 3000
updates at rate 2e-3: nearly the path of 60,000 single steps at that rate. A rule as noisy as UORO needs the small rate.
The numbers expected of rules are those of a prototype in plain NumPy, 100,000 steps in one lane at rate 1e-3.

Source: O. Marschall, K. Cho and C. Savin, "A unified framework of online learning algorithms for training recurrent
neural networks", JMLR 21 (2020), section 4.1.
"""

from __future__ import annotations

import argparse

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, gradients, nn, optim, rnn

UNITS, NEAR, FAR = 32, 5, 9


def entropy(p: float | np.ndarray) -> np.ndarray:
    """Of a coin, in nats."""
    p = np.clip(p, 1e-300, 1)
    return -p * np.log(p) - (1 - p) * np.log(np.clip(1 - p, 1e-300, 1))


BOUNDS = {
    "neither input": float(entropy(0.625)),
    f"{NEAR} steps ago": float(np.mean(entropy(0.375 + 0.5 * np.arange(2)))),
    "both": float(np.mean(entropy(np.array([0.5, 1.0, 0.25, 0.75])))),
}


class Readout(nn.Module):
    """The loss, with the readout that it owns."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(rng.normal(size=(UNITS, 2)).astype(np.float32) / UNITS**0.5)
        self.bias = nn.Parameter(np.zeros(2, np.float32))
        self.target = tg.zeros((1, 2))

    def forward(self, h: tg.Tensor, t: int) -> tg.Tensor:
        return -tg.sum(self.target * tg.log_softmax(h @ self.weight + self.bias, axis=-1))


def learn(rule: gradients.Rule | None, seed: int, steps: int, lanes: int, rate: float) -> np.ndarray:
    """Losses a lane, step by step; without a rule only the readout learns."""
    rng = np.random.default_rng(seed)
    cell = rnn.ElmanCell(2, UNITS, rng=rng, dtype="float32")
    cell.weight_ih.assign(rng.normal(size=(UNITS, 2)) / np.sqrt(2))
    cell.weight_hh.assign(np.linalg.qr(rng.normal(size=(UNITS, UNITS)))[0])
    for bias in (cell.bias_ih, cell.bias_hh):
        bias.assign(np.zeros(UNITS))
    readout = Readout(rng)
    cell_rate = optim.SGD(cell, lr=rate) if rule is not None else None
    readout_rate = optim.SGD(readout, lr=rate)
    learner = (rule or gradients.TruncatedBPTT(1, 1)).start(cell, batch=lanes)
    coins = rng.integers(0, 2, size=(steps + FAR, lanes)).astype(np.float32)
    xs = np.stack([coins, 1 - coins], axis=2)
    ys = 0.5 + 0.5 * coins[FAR - NEAR : -NEAR] - 0.25 * coins[:-FAR]
    losses = np.empty(steps)
    for t in range(steps):
        readout.target = tg.tensor(np.stack([ys[t], 1 - ys[t]], axis=1))
        step = learner.step(tg.tensor(xs[t + FAR]), readout)
        losses[t] = step.loss.item() / lanes
        mine = {name.removeprefix("loss."): g for name, g in step.gradients.items() if name.startswith("loss.")}
        readout_rate.step(mine)
        if cell_rate is not None:
            cell_rate.step({name: g for name, g in step.gradients.items() if not name.startswith("loss.")})
    return losses


RULES = {
    "RTRL": (0.469, lambda seed: gradients.RTRL()),
    "KF-RTRL": (0.470, lambda seed: gradients.KroneckerRTRL(seed=seed)),
    "SnAp-1": (0.493, lambda seed: gradients.SnAp(1)),
    "RFLO": (0.497, lambda seed: gradients.RFLO()),
    "readout only": (0.552, lambda seed: None),
    "UORO": (0.65, lambda seed: gradients.UORO(seed=seed)),
}


def options(parser: argparse.ArgumentParser) -> None:
    """Options beside those of every script."""
    parser.add_argument("--full", action="store_true", help="a million steps in one lane at rate 1e-4 (hours)")


def main(run: gallery.Run) -> None:
    """Train by every rule, three seeds each, and compare with the bounds."""
    steps, lanes, rate, seeds = 3000, 20, 2e-3, 3
    if run.quick:
        steps, seeds = 150, 1
    if run.options.full:
        steps, lanes, rate = 1_000_000, 1, 1e-4
    run.say("bounds: " + ", ".join(f"{name} {bound:.4f}" for name, bound in BOUNDS.items()))
    figure = run.figure("Add: y(t) = 0.5 + 0.5 x(t − 5) − 0.25 x(t − 9)", width=8, height=4.2)
    axes, width, found = figure.subplots(), max(1, steps // 30), {}
    for index, (name, (prototype, rule)) in enumerate(RULES.items()):
        runs = [learn(rule(seed), seed, steps, lanes, rate) for seed in range(run.seed, run.seed + seeds)]
        each = [losses[-(steps // 5) :].mean() for losses in runs]
        found[name] = float(np.mean(each))
        # by the loss that is left above the best possible one, within a factor of two
        above = (found[name] - BOUNDS["both"]) / (prototype - BOUNDS["both"])
        loose = run.quick or run.options.full  # other lengths and rates than the prototype's
        run.expect(f"{name}, loss over the last fifth, mean of {seeds} seed" + "s" * (seeds > 1),
                   expected=f"below {BOUNDS['neither input']:.4f}" if loose else f"{prototype:.3f}",
                   got=f"{found[name]:.3f} (" + ", ".join(f"{loss:.3f}" for loss in each) + ")",
                   ok=found[name] < BOUNDS["neither input"] if loose else 0.5 < above < 2)  # fmt: skip
        curve = np.mean(runs, axis=0)[: steps - steps % width].reshape(-1, width).mean(axis=1)
        axes.plot(width * (np.arange(len(curve)) + 0.5), curve, label=name, **run.style(index))
    exact, local = max(found["RTRL"], found["KF-RTRL"]), (found["SnAp-1"], found["RFLO"])
    ordered = exact < min(local) and max(local) < found["readout only"]
    run.expect("order", expected="RTRL, KF-RTRL < SnAp-1, RFLO < readout only",
               got=", ".join(sorted(found, key=found.get)), ok=ordered)  # fmt: skip
    for name, bound in BOUNDS.items():
        axes.axhline(bound, color="#868e96", linewidth=0.8)
        axes.annotate(f"knows {name}:\n{bound:.4f}", (1, bound), xycoords=("axes fraction", "data"), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    axes.set(xlabel=f"updates at rate {rate:g}, {lanes} lane" + "s" * (lanes > 1), ylabel="cross-entropy, nats a step",
             ylim=(0.44, 0.75))  # fmt: skip
    axes.legend(fontsize=8, ncols=2)
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main, options=options)
