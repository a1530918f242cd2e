"""Encoder and decoder: number words to digits and dates to ISO 8601, from one length to another.

    v = last state of LSTM(x_1, ..., x_T),    p(y_1, ..., y_U | x) = Π_u p(y_u | v, y_1, ..., y_{u-1}),  y_U = <end>

The decoder begins in the encoder's last state v, reads what it wrote last, and stops where it writes the end token.
Three of them: one reads the source as it is, one reads it backwards, one looks back at all states by attention,

    a_t = softmax over t of score(s_u, h_t),    context = Σ_t a_t h_t.

Backwards, the first words of the source come closest to the first symbols of the target. That helps where both have
the same order, as Sutskever et al. found in translation; in a date the year comes last, and is written first.

Source: Sutskever, Vinyals & Le 2014, arXiv:1409.3215; attention: Bahdanau, Cho & Bengio 2015, arXiv:1409.0473 (score
"additive"), Luong, Pham & Manning 2015, arXiv:1508.04025 ("dot").
"""

import argparse

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, optim, rnn
from tinygrad_rnn.data import Pair, Vocabulary, WordVocabulary, date_pairs, number_pairs, padded
from tinygrad_rnn.training import fit

HIDDEN, EMBEDDING, BATCH, WIDTH, EVERY = 64, 32, 64, 5, 50
END = "\n"
UPDATES = {
    "numbers": {"as it is": 1400, "backwards": 1400, "attention": 500},
    "dates": {"as it is": 1000, "backwards": 1400, "attention": 500},
}
SHOWN = {
    "numbers": Pair("forty thousand three hundred and seven", "40307"), "dates": Pair("Feb 3, 1996", "1996-02-03"),
}  # fmt: skip


class Task:
    """Numbers, read word by word, or dates, read letter by letter; and pairs that training never sees."""

    def __init__(self, name: str, seed: int, tests: int) -> None:
        self.make, self.cut = (number_pairs, str.split) if name == "numbers" else (date_pairs, list)
        self.sources = WordVocabulary.from_words(
            s for pair in self.make(3000, seed=seed) for s in self.cut(pair.source)
        )
        self.targets = Vocabulary.from_text("0123456789-" + END)
        self.end = int(self.targets.encode(END)[0])
        # there are too few numbers below 100 to hold some of them out
        fresh = {pair.target: pair for pair in self.make(4 * tests, seed=seed + 1) if len(pair.target) > 2}
        self.tests = list(fresh.values())[:tests]
        self.held_out = {pair.target for pair in self.tests}

    def training(self, rng: np.random.Generator) -> list[Pair]:
        """New pairs, but none of a number or date that is held out, in whatever form it is written."""
        return [pair for pair in self.make(BATCH, seed=rng) if pair.target not in self.held_out]

    def batch(self, pairs: list[Pair], kind: str) -> tuple[np.ndarray, ...]:
        """source (T, B), target (U, B) with its end token, and the lengths of both, (B,) each."""
        order = -1 if kind == "backwards" else 1
        source, source_lengths = padded([self.sources.encode(self.cut(pair.source)[::order]) for pair in pairs])
        target, target_lengths = padded([self.targets.encode(pair.target + END) for pair in pairs], value=self.end)
        return source, target, source_lengths, target_lengths

    def exact(self, model: rnn.EncoderDecoder, kind: str, width: int = 1, count: int | None = None) -> float:
        """The share of the pairs held out that the model translates without any error."""
        source, _, lengths, _ = self.batch(self.tests[:count], kind)
        written = model.translate(source, lengths, max_length=14, width=width)
        right = [self.targets.decode(one) == pair.target for one, pair in zip(written, self.tests)]
        return float(np.mean(right))


def train(task: Task, kind: str, score: str, updates: int, seed: int) -> tuple[rnn.EncoderDecoder, dict[int, float]]:
    """Train one of the three kinds; return it, and the exact matches in the course of training."""
    attention = score if kind == "attention" else None
    model = rnn.EncoderDecoder(len(task.sources), len(task.targets), HIDDEN, embedding_size=EMBEDDING, end=task.end,
                               attention=attention, rng=seed)  # fmt: skip
    rng, optimizer, curve = np.random.default_rng(seed), optim.Adam(model, lr=0.005), {}

    def loss(model: rnn.EncoderDecoder, batch: tuple[np.ndarray, ...], carry: None) -> tg.Tensor:
        return model.loss(*batch)

    def watch(step: int, state: object) -> None:
        if step % EVERY == 0:
            curve[step] = task.exact(model, kind, count=100)

    fit(model, lambda step: task.batch(task.training(rng), kind), loss=loss, optimizer=optimizer, steps=updates,
        schedule=optim.CosineDecay(optimizer, updates), clip=1.0, callbacks=[watch], progress=False)  # fmt: skip
    return model, curve


def options(parser: argparse.ArgumentParser) -> None:
    """What this script adds to the command line."""
    parser.add_argument("--attention", choices=("dot", "additive"), default="dot", help="its score (default: dot)")


def main(run: gallery.Run) -> None:
    """Train three kinds on two tasks, and count what they translate exactly."""
    curves, weights, tests = {}, {}, 60 if run.quick else 300
    for name in ("numbers",) if run.quick else UPDATES:
        task = Task(name, run.seed, tests)
        for kind in ("attention",) if run.quick else UPDATES[name]:
            updates = 250 if run.quick else UPDATES[name][kind]
            model, curves[name, kind] = train(task, kind, run.options.attention, updates, run.seed)
            greedy, beam = task.exact(model, kind), task.exact(model, kind, WIDTH)
            run.expect(f"{name}, {kind}: exact matches, greedy", expected="at least 95 %", got=f"{greedy:.1%}",
                       ok=greedy >= (0.8 if run.quick else 0.95))  # fmt: skip
            run.expect(f"{name}, {kind}: exact matches, beam of {WIDTH}", expected="at least 95 %", got=f"{beam:.1%}",
                       ok=beam >= (0.8 if run.quick else 0.95))  # fmt: skip
        source, target, lengths, _ = task.batch([SHOWN[name]], kind)
        weights[name] = task.cut(SHOWN[name].source), model.attended(source, target, lengths)[..., 0]
        if not run.quick:
            halves = {kind: next(step for step, share in curves[name, kind].items() if share >= 0.5)
                      for kind in UPDATES[name]}  # fmt: skip
            run.say(f"{name}: half right after " + ", ".join(f"{n} updates ({kind})" for kind, n in halves.items()))

    figure = run.figure("From one sequence to another of a different length", width=10, height=3.7 * len(weights))
    for (left, right), (name, (symbols, looked)) in zip(
        figure.subplots(len(weights), 2, squeeze=False), weights.items()
    ):
        left.imshow(looked, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        letters = name == "dates"
        left.set_xticks(range(len(symbols)), ["␣" if symbol == " " else symbol for symbol in symbols],
                        rotation=0 if letters else 30, ha="center" if letters else "right")  # fmt: skip
        left.set_yticks(range(len(looked)), [*SHOWN[name].target, "end"])
        left.set(title=f"{name}: where the attention looks (black: weight 1)", ylabel="written")
        for i, kind in enumerate(UPDATES[name]):
            curve = curves.get((name, kind), {})
            right.plot(list(curve), [100 * share for share in curve.values()], **run.style(i),
                       label=f"with {kind}" if kind == "attention" else kind)  # fmt: skip
        right.axhline(95, color="#868e96", linestyle="--", linewidth=1)
        right.set(title=f"{name}: translated without any error", xlabel=f"update (batches of {BATCH})",
                  ylabel="pairs in %", ylim=(-2, 102), xlim=(0, None))  # fmt: skip
        right.annotate("95 %", (1, 95), xycoords=("axes fraction", "data"), xytext=(0, -3), ha="right", va="top",
                       textcoords="offset points")  # fmt: skip
        right.legend(loc="lower right", title="the source is read")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main, options=options)
