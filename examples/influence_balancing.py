"""Influence balancing: where truncation does not slow learning but turns it around.

One parameter θ pushes 10 of 23 units up and the 13 others down, and what is pushed moves one unit at a time towards
the first, which alone is seen:

    s_{t+1} = A s_t + θ (1, ..., 1, -1, ..., -1),    A = ½ (identity + superdiagonal),    ℓ_t = ½ (s_t[1] - 1)²

At rest s[1] = 2 θ (10 - 13), so the best is θ* = -1/6. But the positive influences are near and the negative ones far:
whoever looks back too few steps sees ds[1]/dθ with the wrong sign, and descent runs away.

RTRL sees the whole past in one number a unit; UORO sees it through noise that is right on average. Truncated BPTT
makes one update at the end of each window of K steps.

Source: C. Tallec and Y. Ollivier, "Unbiased online recurrent optimization", ICLR 2018, section 4 and figure 1; numbers
of truncated BPTT after 3000 updates with rate 1e-4 from θ = ½: the closed form of this recurrence.
"""

from __future__ import annotations

import argparse

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, gradients, nn, optim

UNITS, POSITIVE, BEST = 23, 10, -1 / 6


class Pushed(nn.Module):
    """The system: linear, one parameter, and an input that it ignores."""

    input_size = 1

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(np.array([0.5]))
        self.register_buffer("transposed", tg.tensor(0.5 * (np.eye(UNITS) + np.eye(UNITS, k=-1))))
        self.register_buffer("signs", tg.tensor(np.where(np.arange(UNITS) < POSITIVE, 1.0, -1.0)))

    def initial_state(self, batch: int) -> tg.Tensor:
        return tg.ones((batch, UNITS), dtype="float64")

    def forward(self, x: tg.Tensor, s: tg.Tensor) -> tg.Tensor:
        return s @ self.transposed + self.theta * self.signs


def descend(rule: gradients.Rule, updates: int, rate: float, window: int = 1) -> np.ndarray:
    """Losses at the updates, one every `window` steps; ends early once descent has run away."""
    cell = Pushed()
    optimizer = optim.SGD(cell, lr=rate)
    learner, x = rule.start(cell, batch=1), tg.zeros((1, 1), dtype="float64")

    def loss(s: tg.Tensor, t: int) -> tg.Tensor:
        last = (t + 1) % window == 0
        return 0.5 * (s[0, 0] - 1.0) ** 2 if last else 0.0 * s[0, 0]

    losses = []
    while len(losses) < updates:
        for _ in range(window):
            step = learner.step(x, loss)
        losses.append(step.loss.item())
        if losses[-1] > 1e6:
            break
        optimizer.step(step.gradients)
    return np.array(losses)


def closed_form(window: int, updates: int, rate: float) -> float:
    """Loss after truncated descent from θ = ½, with the state at rest whenever the loss is taken."""
    seen, reach = 0.0, np.eye(UNITS)[0]
    step = 0.5 * (np.eye(UNITS) + np.eye(UNITS, k=1))
    for _ in range(window):  # ds[1]/dθ through the last K steps
        seen += reach[:POSITIVE].sum() - reach[POSITIVE:].sum()
        reach = reach @ step
    # s[1] - 1 = -6 (θ - θ*)
    return 18.0 * (0.5 - BEST) ** 2 * (1 + 6.0 * rate * seen) ** (2.0 * updates)


def options(parser: argparse.ArgumentParser) -> None:
    """Options beside those of every script."""
    parser.add_argument("--full", action="store_true", help="the source's rates and numbers of updates (minutes)")


def main(run: gallery.Run) -> None:
    """Run every rule, and compare with what must come out."""
    full = run.options.full
    figure = run.figure("influence balancing: the loss ½ (s[1] − 1)²", width=9, height=4)
    seeing, noisy = figure.subplots(1, 2, sharey=True)

    exact = descend(gradients.RTRL(), 600 if run.quick else 3000, 1e-4)
    bound = 0.1 if run.quick else 1e-15
    run.expect(f"RTRL, loss after {len(exact)} updates", expected=f"below {bound:.0e}", got=f"{exact[-1]:.1e}",
               ok=exact[-1] < bound)  # fmt: skip
    seeing.semilogy(exact, label="RTRL", **run.style(0))
    shown = (1, 10, 50, 100)
    for window in (1, 10, 50) if run.quick else (1, 2, 5, 10, 20, 50, 100):
        # where descent converges, ten times the rate and a tenth of the updates give the same, sooner
        faster = 1 if full or window <= 20 else 10
        updates = ({1: 300, 10: 100, 50: 150}[window] if run.quick else 3000) // faster
        name = f"truncated to {window} step" + "s" * (window > 1)
        losses = descend(gradients.TruncatedBPTT(window, window), updates, faster * 1e-4, window)
        if window <= 20:
            run.expect(f"{name}, loss after {len(losses)} updates", expected="grows from 8",
                       got=f"{losses[-1]:.1e}", ok=losses[-1] > 8)  # fmt: skip
        else:
            expected = closed_form(window, updates, faster * 1e-4)
            run.expect(f"{name}, loss after {updates} updates", expected=f"{expected:.1e}",
                       got=f"{losses[-1]:.1e}", ok=expected / 2 < losses[-1] < 2 * expected)  # fmt: skip
        if window in shown:
            at = np.arange(len(losses)) * faster
            seeing.semilogy(at, losses, label=name, **run.style(1 + shown.index(window)))
    seeing.set(title="exact and truncated", xlabel="updates at rate 1e-4", ylabel="loss", ylim=(1e-17, 1e6))
    seeing.legend(fontsize=8)

    updates = 300 if run.quick else 20_000
    noisy.semilogy(descend(gradients.RTRL(), updates, 1e-5), label="RTRL", **run.style(0))
    for index in range(1 if run.quick else 5 if full else 3):
        losses = descend(gradients.UORO(seed=run.seed + index), updates, 1e-5)
        noisy.semilogy(losses, label=f"UORO, seed {run.seed + index}", **run.style(index + 1) | {"linewidth": 1})
        run.expect(f"UORO, seed {run.seed + index}, loss after {updates} updates at rate 1e-5",
                   expected="below 100" if run.quick else "below 2e-7", got=f"{losses[-1]:.1e}",
                   ok=losses[-1] < (100 if run.quick else 2e-7))  # fmt: skip
    noisy.set(title="exact and unbiased", xlabel="updates at rate 1e-5")
    noisy.legend(fontsize=8)
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main, options=options)
