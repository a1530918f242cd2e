"""Bidirectional recurrence: a label that depends on both sides, which one direction cannot know.

    →h(t) = f(W x(t) + U →h(t-1)),   ←h(t) = f(W' x(t) + U' ←h(t+1)),   y(t) = out([→h(t); ←h(t)])

Marks 0 and 1 are strewn over blanks. At each step the network has to name the nearest mark before the step and the
nearest one after it: one of four answers. Whoever knows one of the two only is right half of the time. A network of
one direction may answer d steps later, having seen d steps of the future; if a step holds a mark with probability p,
it can be right with probability

    ½ + ½ (1 - (1 - p)^d).

Source: Schuster & Paliwal 1997, "Bidirectional recurrent neural networks", IEEE Trans. Signal Processing 45, 2673, who
compare with delays in the same way; Graves 2012, "Supervised sequence labelling", section 3.2.4.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.training import fit

MARKED = 0.2  # p
BLANK, STEPS, HIDDEN, BATCH = 2, 40, 24, 32
SHOWN = 4  # the delay in the picture


def sequences(batch: int, delay: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One-hot inputs (T + delay, B, 3), blanks behind the end; answers (T + delay, B), -1 where there is no question.

    The question of step t has to be answered at step t + delay, with 2 (mark before) + (mark after).
    """
    symbols = np.where(rng.random((STEPS, batch)) < MARKED, rng.integers(0, 2, (STEPS, batch)), BLANK)
    symbols[0], symbols[-1] = rng.integers(0, 2, (2, batch))
    before, after = np.empty_like(symbols), np.empty_like(symbols)
    for t in range(1, STEPS):
        before[t] = np.where(symbols[t - 1] == BLANK, before[t - 1], symbols[t - 1])
        after[-1 - t] = np.where(symbols[-t] == BLANK, after[-t], symbols[-t])
    labels = np.full((STEPS + delay, batch), -1)
    labels[1 + delay : STEPS - 1 + delay] = (2 * before + after)[1:-1]
    given = np.concatenate([symbols, np.full((delay, batch), BLANK)])
    return np.eye(3, dtype=np.float32)[given], labels


class Labeller(nn.Module):
    """A recurrence over the sequence or from its end, or both, and an output layer."""

    def __init__(self, kind: str, rng: np.random.Generator) -> None:
        self.backwards, both = kind == "backward", kind == "bidirectional"
        self.recurrence = rnn.GRU(3, HIDDEN // 2 if both else HIDDEN, bidirectional=both, rng=rng)
        self.output = nn.Linear(HIDDEN, 4, rng=rng)

    def forward(self, xs: np.ndarray) -> tg.Tensor:
        """xs (T, B, 3) → scores of the four answers, (T, B, 4)."""
        order = -1 if self.backwards else 1
        ys, _ = self.recurrence(tg.asarray(np.ascontiguousarray(xs[::order])))
        return self.output(ys[::order])


def bound(delay: int) -> float:
    """How often a network of one direction can be right: if a mark came within the delay, as the last step does."""
    left = STEPS - 1 - np.arange(1, STEPS - 1)  # steps to the last one, which is a mark
    return float(np.mean(0.5 + 0.5 * np.where(left <= delay, 1, 1 - (1 - MARKED) ** delay)))


def train(kind: str, delay: int, updates: int, seed: int) -> tuple[Labeller, float]:
    """Train; return the network, and the share of questions that it answers right in new sequences."""
    rng = np.random.default_rng(seed)
    model = Labeller(kind, rng)
    optimizer = optim.Adam(model, lr=0.01)

    def loss(model: Labeller, batch: tuple[np.ndarray, np.ndarray], carry: None) -> tg.Tensor:
        xs, answers = batch
        return tg.cross_entropy(model(xs), tg.tensor(answers), ignore_index=-1)

    fit(model, lambda step: sequences(BATCH, delay, rng), loss=loss, optimizer=optimizer, steps=updates, clip=1.0,
        schedule=optim.CosineDecay(optimizer, updates), progress=False)  # fmt: skip
    xs, answers = sequences(1000, delay, np.random.default_rng(seed + 1))
    return model, float(np.mean((model(xs).numpy().argmax(axis=-1) == answers)[answers >= 0]))


def main(run: gallery.Run) -> None:
    """Both directions, each alone, and forwards with answers that may come later."""
    updates = 150 if run.quick else 500
    models, shares = {}, {}  # the networks, and how often those that read forwards are right, by delay
    for kind in ("forward", "backward", "bidirectional"):
        models[kind], share = train(kind, 0, updates, run.seed)
        if kind == "bidirectional":
            both, least = share, 0.9 if run.quick else 0.995
            run.expect(kind, expected=f"at least {100 * least:g} % right", got=f"{share:.1%}", ok=share >= least)
        else:
            run.expect(f"{kind} alone", expected="50 % right, and no more", got=f"{share:.1%}",
                       ok=0.45 < share < 0.52)  # fmt: skip
            shares[0] = shares.get(0, share)
    for delay in (4,) if run.quick else (2, 4, 8):
        later, shares[delay] = train("forward", delay, updates if run.quick else 2 * updates, run.seed)
        if delay == SHOWN:
            models[f"forward,\n{delay} steps later"] = later
        run.expect(f"forward, answering {delay} steps later", expected=f"at most {bound(delay):.1%} right",
                   got=f"{shares[delay]:.1%}",
                   ok=bound(delay) - (0.2 if run.quick else 0.04) < shares[delay] < bound(delay) + 0.01)  # fmt: skip

    figure = run.figure("A label that depends on both sides", width=11, height=3.8)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.7))
    delays = np.arange(13)
    left.plot(delays, [100 * bound(d) for d in delays], **run.style(4), label="what is possible forwards")
    left.plot(list(shares), [100 * s for s in shares.values()], marker="o", linestyle="", color=gallery.COLORS[0],
              markersize=7, label="forward, trained")  # fmt: skip
    left.plot(0, 100 * both, marker="s", linestyle="", color=gallery.COLORS[1],
              markersize=7, label="bidirectional, trained")  # fmt: skip
    left.set(title="right answers", xlabel="delay of the answer in steps", ylabel="right in %", ylim=(40, 103))
    left.legend(loc="lower right")

    names = ["backward", "forward", *list(models)[3:], "bidirectional"]
    grid = np.full((len(names), STEPS), np.nan)
    for row, name in enumerate(names):
        delay = SHOWN if "later" in name else 0
        xs, answers = sequences(1, delay, np.random.default_rng(run.seed + 4))  # always the same one
        asked = np.flatnonzero(answers[:, 0] >= 0)
        grid[row, asked - delay] = tg.softmax(models[name](xs), axis=-1).numpy()[asked, 0, answers[asked, 0]]
    shown = right.imshow(grid, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    right.set_yticks(range(len(names)), names)
    symbols = ["01·"[symbol] for symbol in xs[:STEPS, 0].argmax(axis=-1)]
    right.set_xticks(range(STEPS), symbols)
    right.set(title="probability of the right answer along one sequence", xlabel="step: mark 0, mark 1 or blank ·")
    figure.colorbar(shown, ax=right, label="probability")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
