"""Learning to execute: an LSTM reads a program character by character and writes what it prints.

    h(t) = LSTM(E[x(t)], h(t-1))        p(next character) = softmax(V h(t) + b), trained on the characters of the answer

Programs add, subtract, multiply, assign, choose and loop; their numbers have `length` digits, and `nesting` operations
are combined. Hard programs alone teach little, so the paper begins with easy ones, in four curricula:

    baseline   hard ones only         naive      harder in stages
    mix        all at random          combined   mostly naive, one in five from mix

In the control the characters of each program are shuffled: what is right there follows from the answers' frequencies.
Digits are predicted after the right digits before (teacher forcing), as in the paper; a program is right if its whole
answer is.

Source: Zaremba & Sutskever 2014, "Learning to execute", arXiv:1410.4615, sections 3 to 5 (two layers of 400 cells,
lengths to 10 and nesting to 4; combined is best, baseline worst in most cases). Here everything is smaller.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import CURRICULA, Program, curriculum, program, program_batch, program_vocabulary, scrambled
from tinygrad_rnn.training import fit

LENGTH, NESTING = 1, 2
EMBEDDING, HIDDEN, BATCH = 32, 112, 32
VOCABULARY = program_vocabulary()
CONTROL = "scrambled"


class Executor(nn.Module):
    """Embedding, LSTM, readout."""

    def __init__(self, seed: int) -> None:
        self.embedding = nn.Embedding(len(VOCABULARY), EMBEDDING, rng=seed)
        self.lstm = rnn.LSTM(EMBEDDING, HIDDEN, rng=seed)
        self.readout = nn.Linear(HIDDEN, len(VOCABULARY), rng=seed)
        nn.init.forget_gate_bias_(self.lstm)

    def forward(self, characters: np.ndarray) -> tg.Tensor:
        """characters (T, B) → scores of the next (T, B, V)."""
        ys, _ = self.lstm(self.embedding(tg.asarray(characters)))
        return self.readout(ys)


def programs(kind: str, number: int, progress: float, rng: np.random.Generator) -> list[Program]:
    """Training programs of a curriculum, or the control."""
    if kind == CONTROL:
        return [scrambled(program(LENGTH, NESTING, seed=rng), seed=rng) for _ in range(number)]
    return [program(*curriculum(kind, LENGTH, NESTING, progress, seed=rng), seed=rng) for _ in range(number)]


def accuracy(model: Executor, tests: list[Program]) -> tuple[float, float]:
    """Per digit, given the right ones before, and per program."""
    inputs, targets = program_batch(tests, VOCABULARY)
    right = model(inputs).numpy().argmax(axis=-1) == targets
    digits = (targets >= 0) & (targets != VOCABULARY.encode(".")[0])
    return float(right[digits].mean()), float((right | (targets < 0)).all(axis=0).mean())


def main(run: gallery.Run) -> None:
    """Train by every curriculum, and test on the hard programs."""
    steps = 24 if run.quick else 800
    tests = [program(LENGTH, NESTING, seed=run.rng) for _ in range(200 if run.quick else 1000)]
    hidden = [scrambled(each, seed=run.rng) for each in tests]
    run.say(f"a program of length {LENGTH} and nesting {NESTING}: {tests[0].text!r} prints {tests[0].answer}")
    curves, last = {}, {}
    for kind in (*CURRICULA, CONTROL):
        model, rng, pool, curve = Executor(run.seed), np.random.default_rng(run.seed), [], []
        optimizer = optim.Adam(model, lr=0.008)

        def batch(step: int, kind: str = kind, rng: np.random.Generator = rng, pool: list = pool) -> tuple:
            if not pool:  # batches of programs of like length, which need little padding
                drawn = sorted(programs(kind, 4 * BATCH, step / steps, rng), key=lambda each: len(each.text))
                pool.extend(drawn[i * BATCH : (i + 1) * BATCH] for i in rng.permutation(4))
            return program_batch(pool.pop(), VOCABULARY)

        def loss(model: Executor, given: tuple[np.ndarray, np.ndarray], carry: None) -> tg.Tensor:
            inputs, targets = given
            return tg.cross_entropy(model(inputs), tg.asarray(targets), ignore_index=-1)

        def look(step: int, state: object, kind: str = kind, curve: list = curve, model: Executor = model) -> None:
            if step % (steps // 8) == 0:
                curve.append((step * BATCH, *accuracy(model, hidden if kind == CONTROL else tests)))

        fit(model, batch, loss=loss, optimizer=optimizer, steps=steps, clip=1.0, progress=False, callbacks=[look],
            schedule=optim.CosineDecay(optimizer, steps))  # fmt: skip
        curves[kind], last[kind] = np.array(curve), curve[-1][1:]
        run.say(f"{kind:10} {last[kind][0]:.1%} of the digits, {last[kind][1]:.1%} of the programs")
    best = max(CURRICULA[1:], key=lambda kind: last[kind][1])
    run.expect(f"digits right after {best}", expected="more than by chance, 10 %", got=f"{last[best][0]:.1%}",
               ok=last[best][0] > 0.1)  # fmt: skip
    for other in () if run.quick else ("baseline", CONTROL):
        run.expect(f"programs right after the best, {best}", expected=f"more than {other}, {last[other][1]:.1%}",
                   got=f"{last[best][1]:.1%}", ok=last[best][1] > last[other][1])  # fmt: skip

    figure = run.figure(f"Learning to execute: length {LENGTH}, nesting {NESTING}", width=9, height=3.9)
    for column, (axes, what) in enumerate(zip(figure.subplots(1, 2), ("digits", "programs")), 1):
        for i, (kind, curve) in enumerate(curves.items()):
            axes.plot(curve[:, 0], 100 * curve[:, column], **run.style(i, markers=True), label=kind)
        axes.set(title=f"{what} right", xlabel="programs seen", ylabel=f"{what} right in %", ylim=(0, None))
    figure.axes[0].legend(loc="lower right")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
