"""A language model of words: an embedding, an LSTM, and the perplexity against counting words and pairs of words.

    e(t) = E[w(t)]       h(t), c(t) = LSTM(e(t), h(t-1), c(t-1))       p(w(t+1) | w(1..t)) = softmax(V h(t) + b)
    perplexity = exp(-1/N Σ_t log p(w(t+1) | w(1..t)))

Teacher forcing: in training the input is always the text's own word, never what the model would have said. Words that
occur fewer than five times are one word, <unk>, in training as in the text that is predicted. Against the LSTM stand
the frequencies of single words, and pairs of words with back-off to single ones.

Source: Mikolov, Karafiát, Burget, Černocký & Khudanpur 2010, "Recurrent neural network based language model",
Interspeech, where the perplexity falls by about half against the best model with back-off; Katz 1987 and Ney, Essen &
Kneser 1994 for the back-off. Text: modules of Python's standard library, cut into words, numbers and signs.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import Lanes, Window, WordVocabulary, backoff_bits, split_words, standard_library, unigram_bits
from tinygrad_rnn.training import fit

EMBEDDING, HIDDEN, DROPOUT = 64, 128, 0.3
BATCH, STEPS, RARE = 20, 25, 5
SHOWN = ("if", "elif", "for", "while", "return", "raise", "not", "None", "True", "False", "0", "1", "2", "self", "cls",
         "def", "class", "list", "dict", "tuple", "the", "a", "is", "are")  # fmt: skip


class WordModel(nn.Module):
    """Embedding, LSTM, readout; dropout before and after the LSTM."""

    def __init__(self, words: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.embedding = nn.Embedding(words, EMBEDDING, rng=rng)
        self.lstm = rnn.LSTM(EMBEDDING, HIDDEN, rng=rng)
        self.dropout = nn.Dropout(DROPOUT, rng=rng)
        self.readout = nn.Linear(HIDDEN, words, rng=rng)

    def forward(self, words: np.ndarray, state: object = None) -> tuple[tg.Tensor, object]:
        """words (T, B) → scores of the next (T, B, V), and the state."""
        ys, state = self.lstm(self.dropout(self.embedding(tg.asarray(words))), state)
        return self.readout(self.dropout(ys)), state


def main(run: gallery.Run) -> None:
    """Train, compare perplexities, write a few lines, and show the embedding."""
    text = standard_library()
    training, validation = split_words(text.train), split_words(text.validation)
    if run.quick:
        training, validation = training[:12_000], validation[:2_000]
    vocabulary = WordVocabulary.from_words(training, minimum_count=RARE)
    ids, unseen, size = vocabulary.encode(training), vocabulary.encode(validation), len(vocabulary)
    run.say(f"{text.name}: {len(ids):,} words to train on, {len(unseen):,} to predict, a vocabulary of {size:,}")
    run.say(f"unknown: {np.mean(ids == 0):.1%} of the training text, {np.mean(unseen == 0):.1%} of the other")
    baselines = {
        "single words": 2 ** unigram_bits(ids, unseen, size),
        "pairs, back-off": 2 ** backoff_bits(ids, unseen, size),
    }

    model, lanes = WordModel(size, run.seed), Lanes(ids, BATCH, STEPS)
    passes = 2 if run.quick else 4
    steps = passes * lanes.windows_per_epoch
    optimizer = optim.Adam(model, lr=0.004)
    curve = []

    def loss(model: WordModel, window: Window, carry: object) -> tuple[tg.Tensor, object]:
        scores, state = model(window.x, None if window.fresh else carry)
        return tg.cross_entropy(scores, tg.asarray(window.y)), state

    def perplexity(step: int, state: object) -> None:
        if step % max(1, steps // 12) == 0 or step == steps:
            model.eval()
            scores, _ = model(unseen[:-1, None])
            curve.append((step * BATCH * STEPS, np.exp(tg.cross_entropy(scores[:, 0], tg.asarray(unseen[1:])).item())))
            model.train()

    fit(model, lanes.window, loss=loss, optimizer=optimizer, steps=steps, clip=1.0, progress=False,
        schedule=optim.CosineDecay(optimizer, steps), callbacks=[perplexity])  # fmt: skip
    found = curve[-1][1]
    for name, value in baselines.items():
        run.say(f"perplexity of {name}: {value:.1f}")
    single, pairs = baselines.values()
    run.expect("perplexity of the LSTM", expected=f"below {'single words' if run.quick else 'pairs with back-off'}",
               got=f"{found:.1f} against {single if run.quick else pairs:.1f}",
               ok=found < (single if run.quick else pairs))  # fmt: skip

    model.eval()
    word, state, written = vocabulary.encode(["\n"])[:, None], None, []
    for _ in range(60):
        scores, state = model(word, state)
        ranked = scores.numpy()[-1].copy()
        ranked[:, 0] = -np.inf  # do not write <unk>
        word = rnn.draw(ranked, 0.7, rng=run.rng)[None]
        written += vocabulary.decode(word[0])
    run.say("it writes: " + " ".join(written).replace("\n", "⏎"))

    figure = run.figure("A language model of words", width=10.5, height=4.6)
    left, right = figure.subplots(1, 2)
    seen, values = np.transpose(curve)
    left.semilogy(seen / 1000, values, **run.style(0, markers=True), label=f"LSTM: {found:.1f}")
    for i, (name, value) in enumerate(baselines.items(), 1):
        left.axhline(value, **run.style(i), label=f"{name}: {value:.1f}")
    ticks = [20, 30, 50, 100, 200]
    left.set_yticks(ticks, [str(tick) for tick in ticks])
    left.minorticks_off()
    left.set(title="perplexity on unseen text", xlabel="words seen, in thousands", ylabel="perplexity")
    left.legend()
    shown = [word for word in SHOWN if word in vocabulary]
    vectors = model.embedding.weight.numpy()
    vectors = (vectors - vectors.mean(axis=0))[vocabulary.encode(shown)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    picture = right.imshow(vectors @ vectors.T, cmap="Greys", vmin=0, vmax=0.6)
    right.set(title="the embedding: cosine of two words", xticks=range(len(shown)), yticks=range(len(shown)))
    right.set_xticklabels(shown, rotation=90)
    right.set_yticklabels(shown)
    right.tick_params(labelsize=8, length=0)
    figure.colorbar(picture, ax=right, shrink=0.8, extend="both")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
