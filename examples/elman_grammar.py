"""Elman's grammar: to predict the next word, a network finds nouns and verbs, and kinds of nouns, by itself.

    h(t) = tanh(W x(t) + U h(t-1) + b)        p(next word) = softmax(V h(t) + c)

x(t): the word as one-hot vector. 10,000 sentences of two and three words follow each other without a mark between
them; which nouns go with which verbs is restricted ("monster eat mouse", but never "rock eat"). Elman copied the
hidden units to context units, so his gradient goes back one step only; full back-propagation through time is beside it.

    truncated     ∂L_t/∂U = ∂L_t/∂h_t  ∂h_t/∂U  with h(t-1) held constant

The mean hidden vectors of the words are clustered when the predictions are as good as in the paper, and after five
passes, when they are better. Then words are sorted by what they predict alone: inanimate nouns mostly end a sentence,
as many verbs do, and stand with the verbs against the nouns that begin one.

Source: Elman 1990, "Finding structure in time", Cognitive Science 14, 179 (150 hidden units; the slide says 50, and so
it is here). Its predictions differ by 0.053 (root mean square) from the likelihoods in the text, with a mean cosine of
0.916; compared is here with the likelihoods that the grammar gives.
"""

from collections.abc import Callable

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import ELMAN_NOUNS, ELMAN_WORDS, Lanes, elman_likelihoods, elman_sentences
from tinygrad_rnn.training import fit

WORDS, HIDDEN, BATCH, STEPS, EVERY = len(ELMAN_WORDS), 50, 8, 16, 20
ONE_HOT = np.eye(WORDS, dtype=np.float32)
METHODS = {"one": "truncation after one step", "full": "full BPTT"}
PAPER = 0.053


class Predictor(nn.Module):
    """An Elman network that predicts the next word."""

    def __init__(self, seed: int) -> None:
        self.hidden = rnn.RNN(WORDS, HIDDEN, rng=seed)
        self.output = nn.Linear(HIDDEN, WORDS, rng=seed)

    def loss(self, x: np.ndarray, y: np.ndarray, state: tg.Tensor, method: str) -> tuple[tg.Tensor, tg.Tensor]:
        """Cross-entropy of the words y (T, B) that follow x (T, B), and the state after them."""
        xs = tg.asarray(ONE_HOT[x])
        hs, last = self.hidden(xs, state)
        if method == "one":  # each step anew, from the state before it as a constant: all steps at once, side by side
            before = tg.concat([state, hs[:-1]]).detach()
            hs, _ = self.hidden(xs.reshape((1, -1, WORDS)), before.reshape((1, -1, HIDDEN)))
            hs = hs.reshape((*x.shape, HIDDEN))
        return tg.cross_entropy(self.output(hs), tg.asarray(y)), last


def train(method: str, stream: np.ndarray, look: Callable[[int, Predictor], None], seed: int) -> None:
    """Train on five passes through a stream; `look` at the model now and then."""
    model, lanes = Predictor(seed), Lanes(stream, batch=BATCH, steps=STEPS)
    start, steps = tg.zeros((1, BATCH, HIDDEN)), 5 * lanes.windows_per_epoch

    def loss(model: Predictor, batch: object, carry: tg.Tensor | None) -> tuple[tg.Tensor, tg.Tensor]:
        return model.loss(batch.x, batch.y, start if batch.fresh else carry, method)

    def callback(step: int, state: object) -> None:
        if step % EVERY == 0 or step == steps:
            look(step, model)

    fit(model, lanes.window, loss=loss, optimizer=optim.Adam(model, lr=0.001), steps=steps, clip=1.0, progress=False,
        callbacks=[callback])  # fmt: skip


def main(run: gallery.Run) -> None:
    """Train by both methods; compare predictions with the grammar, and cluster the hidden vectors."""
    from scipy.cluster.hierarchy import dendrogram, fcluster, linkage

    stream = elman_sentences(2000 if run.quick else 10_000, seed=run.rng)
    unseen = elman_sentences(1000, seed=run.rng)
    likelihoods = elman_likelihoods(unseen)
    noun = np.array([word in ELMAN_NOUNS for word in ELMAN_WORDS])
    run.say(f"{len(stream):,} words of {WORDS} (the slide: 27,354; the paper: 27,534)")
    curves, trees = {}, {}
    for method, name in METHODS.items():
        curve, found = curves.setdefault(name, []), {}

        def look(step: int, model: Predictor, curve: list = curve, found: dict = found) -> None:
            hs, _ = model.hidden(tg.asarray(ONE_HOT[unseen[:, None]]))
            scores, hidden = tg.softmax(model.output(hs), axis=-1).numpy()[:, 0], hs.numpy()[:, 0]
            error = np.sqrt(np.mean((scores - likelihoods) ** 2, axis=1)).mean()
            lengths = np.linalg.norm(scores, axis=1) * np.linalg.norm(likelihoods, axis=1)
            curve.append((step * BATCH * STEPS, error, np.mean(np.sum(scores * likelihoods, axis=1) / lengths)))
            means = np.stack([hidden[unseen == word].mean(axis=0) for word in range(WORDS)])
            found["last"] = linkage(means, "average")
            if error <= PAPER:
                found.setdefault("as in the paper", found["last"])

        train(method, stream, look, run.seed)
        _, error, cosine = curve[-1]
        run.expect(f"{name}: root mean squared error against the grammar", expected="0.053 or less", got=f"{error:.3f}",
                   ok=error <= PAPER)  # fmt: skip
        run.expect(f"{name}: mean cosine with the grammar's likelihoods", expected="0.916 or more", got=f"{cosine:.3f}",
                   ok=cosine > (0.75 if run.quick else 0.916))  # fmt: skip
        apart = {}
        for when, tree in found.items():
            two = fcluster(tree, 2, "maxclust")
            apart[when] = max(np.mean((two == side) == noun) for side in (1, 2))
        run.expect(f"{name}: words on the right side of the first branching, predictions as good as in the paper",
                   expected="all: nouns and verbs separate", got=f"{apart['as in the paper']:.0%}",
                   ok=apart["as in the paper"] == 1)  # fmt: skip
        run.say(f"{name}: after five passes {apart['last']:.0%}")
        trees[name] = found

    figure = run.figure(
        "Elman's grammar: mean hidden vectors of the words, clustered (verbs: bold italics)", width=11, height=5.5
    )
    shown = figure.subplots(1, 3)
    titles = {"as in the paper": "predictions as good as in the paper", "last": "after five passes"}
    for axes, (when, title) in zip(shown, titles.items()):
        dendrogram(trees[METHODS["one"]][when], labels=list(ELMAN_WORDS), orientation="left", ax=axes,
                   color_threshold=0, above_threshold_color=gallery.INK, leaf_font_size=9)  # fmt: skip
        for label in axes.get_yticklabels():
            if label.get_text() not in ELMAN_NOUNS:
                label.set(fontstyle="italic", fontweight="bold", color=gallery.COLORS[1])
        axes.set(title=title, xlabel=f"distance ({METHODS['one']})")
        axes.spines["left"].set_visible(False)
    for i, (name, curve) in enumerate(curves.items()):
        seen, errors, _ = np.transpose(curve)
        shown[2].plot(seen / 1000, errors, **run.style(i), label=name)
    shown[2].axhline(PAPER, color="#868e96", linestyle="--", linewidth=1)
    shown[2].annotate("Elman 1990: 0.053", (1, PAPER), xycoords=("axes fraction", "data"), xytext=(0, 3),
                      textcoords="offset points", ha="right")  # fmt: skip
    shown[2].set(title="distance from the grammar", xlabel="words seen, in thousands",
                 ylabel="root mean squared error", ylim=(0, None))  # fmt: skip
    shown[2].legend(loc="upper right")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
