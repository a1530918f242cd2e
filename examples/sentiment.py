"""Many to one: is a review praise or blame? A recurrent network reads negation, a bag of words cannot see it.

    h(t) = LSTM(e(w_t), h(t-1)),   p(positive) = σ(w · h(T) + b)          against     p = σ(Σ_t w[w_t] + b)

The reviews come from a grammar: of two clauses joined by "and" both are of one mind, joined by "but" the second
decides; each is said directly or as the opposite denied ("nobody found the plot dull"). Tested is also on twins, two
reviews of the same words and opposite labels: a bag of words gives both one answer, so it is right for half of them,
whatever it learned.

Source: many to one as in Karpathy's "The unreasonable effectiveness of recurrent neural networks" (2015); the bag of
words and where it fails: Pang, Lee & Vaithyanathan 2002, "Thumbs up?", section 6, which marks words after "not" for it.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import Review, WordVocabulary, padded, review_twins, reviews
from tinygrad_rnn.training import fit

HIDDEN, EMBEDDING, BATCH = 32, 16, 64
SHOWN = (  # three pairs of the same words
    "the plot was good and the acting was not bad .", "the plot was not good and the acting was bad .",
    "the ending was weak but the music was charming .", "the ending was charming but the music was weak .",
    "nobody found the script silly and i found the pace superb .",
    "i found the script silly and nobody found the pace superb .",
)  # fmt: skip
RATES = {"bag of words": 0.02, "LSTM": 0.01}  # of learning


class Bag(nn.Module):
    """Logistic regression on the counts of the words."""

    def __init__(self, words: int, seed: int) -> None:
        self.words = words
        self.output = nn.Linear(words, 1, rng=seed)

    def forward(self, numbers: np.ndarray, lengths: np.ndarray) -> tg.Tensor:
        """numbers (T, B), lengths (B,) → log odds of being positive, (B,)."""
        counts = np.stack([np.bincount(lane[:n], minlength=self.words) for lane, n in zip(numbers.T, lengths)])
        return self.output(tg.asarray(counts.astype(np.float32)))[:, 0]


class Reader(nn.Module):
    """An LSTM over the words, and an output of its last state."""

    def __init__(self, words: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.embedding = nn.Embedding(words, EMBEDDING, rng=rng)
        self.lstm = rnn.LSTM(EMBEDDING, HIDDEN, rng=rng)
        self.output = nn.Linear(HIDDEN, 1, rng=rng)

    def forward(self, numbers: np.ndarray, lengths: np.ndarray) -> tg.Tensor:
        """numbers (T, B), lengths (B,) → log odds of being positive, (B,)."""
        _, (h, _) = self.lstm(self.embedding(numbers), lengths=lengths)
        return self.output(h[0])[:, 0]


def batch(drawn: list[Review], vocabulary: WordVocabulary) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """numbers (T, B), lengths (B,), labels (B,)."""
    numbers, lengths = padded([vocabulary.encode(review.text.split()) for review in drawn])
    return numbers, lengths, np.array([review.positive for review in drawn], np.float32)


def accuracy(model: nn.Module, drawn: list[Review], vocabulary: WordVocabulary) -> float:
    """The share of reviews told right."""
    numbers, lengths, labels = batch(drawn, vocabulary)
    return float(np.mean((model(numbers, lengths).numpy() > 0) == labels))


def train(model: nn.Module, data: object, rate: float, updates: int, watch: object) -> None:
    """Train on reviews that are new in every update."""
    optimizer = optim.Adam(model, lr=rate)

    def loss(model: nn.Module, batch: tuple[np.ndarray, ...], carry: None) -> tg.Tensor:
        numbers, lengths, labels = batch
        return tg.binary_cross_entropy_with_logits(model(numbers, lengths), tg.asarray(labels))

    fit(model, data, loss=loss, optimizer=optimizer, steps=updates, clip=1.0, callbacks=[watch], progress=False,
        schedule=optim.CosineDecay(optimizer, updates))  # fmt: skip


def main(run: gallery.Run) -> None:
    """Train both, and compare them on new reviews and on twins."""
    updates, number, every = (250, 300, 50) if run.quick else (800, 2000, 25)
    vocabulary = WordVocabulary.from_words(word for each in reviews(3000, seed=run.seed) for word in each.text.split())
    new = reviews(number, seed=run.seed + 1)
    twins = [review for pair in review_twins(number // 2, seed=run.seed + 2) for review in pair]
    known = {review.text for review in new + twins}
    models = {"bag of words": Bag(len(vocabulary), run.seed), "LSTM": Reader(len(vocabulary), run.seed)}
    curves, found = {}, {}
    for kind, model in models.items():
        rng, curve = np.random.default_rng(run.seed + 3), curves.setdefault(kind, {})

        def data(step: int, rng: np.random.Generator = rng) -> tuple[np.ndarray, ...]:
            return batch([each for each in reviews(BATCH, seed=rng) if each.text not in known], vocabulary)

        def watch(step: int, state: object, model: nn.Module = model, curve: dict[int, float] = curve) -> None:
            if step % every == 0:
                curve[step] = accuracy(model, new[:500], vocabulary)

        train(model, data, RATES[kind], updates, watch)
        found[kind] = [accuracy(model, drawn, vocabulary) for drawn in (new, twins)]
    least = 0.85 if run.quick else 0.98
    for place, which in enumerate(("new reviews", "twins")):
        got = found["LSTM"][place]
        run.expect(f"LSTM, {which}", expected=f"at least {least:.0%} right", got=f"{got:.1%}", ok=got >= least)
    bag, bag_twins = found["bag of words"]
    run.expect("bag of words, new reviews", expected="chance, 50 % right", got=f"{bag:.1%}",
               ok=abs(bag - 0.5) < (0.1 if run.quick else 0.06))  # fmt: skip
    run.expect("bag of words, twins", expected="exactly 50 % right", got=f"{bag_twins:.1%}", ok=bag_twins == 0.5)

    figure = run.figure("Praise or blame: reading the words, and counting them", width=11, height=4)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    for i, (kind, curve) in enumerate(curves.items()):
        left.plot(list(curve), [100 * share for share in curve.values()], **run.style(i), label=kind)
    left.axhline(50, color="#868e96", linestyle="--", linewidth=1)
    left.annotate("chance", (1, 50), xycoords=("axes fraction", "data"), xytext=(0, -3), textcoords="offset points",
                  ha="right", va="top")  # fmt: skip
    left.set(title="new reviews", xlabel=f"update (batches of {BATCH})", ylabel="told right in %", ylim=(40, 102),
             xlim=(0, None))  # fmt: skip
    left.legend(loc="center right")
    numbers, lengths = padded([vocabulary.encode(text.split()) for text in SHOWN])
    places = np.arange(len(SHOWN))
    for i, (kind, model) in enumerate(models.items()):
        odds = tg.sigmoid(model(numbers, lengths)).numpy()
        right.plot(100 * odds, places, linestyle="", marker=gallery.MARKERS[i], markersize=8, label=kind,
                   color=gallery.COLORS[i])  # fmt: skip
    right.axvline(50, color="#868e96", linestyle="--", linewidth=1)
    right.set_yticks(places, [text.replace(" but ", "\nbut ").replace(" and ", "\nand ") for text in SHOWN])
    right.set(
        title="three pairs of reviews of the same words", xlabel="p(positive) in %", xlim=(-3, 103), ylim=(5.5, -0.5)
    )
    right.legend(loc="center", bbox_to_anchor=(0.27, 0.5))
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
