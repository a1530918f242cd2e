"""One to many: images of digits to their English word, letter by letter.

    h(0) = tanh(W_image x + b),   h(t) = GRU(e(y(t-1)), h(t-1)),   p(y(t)) = softmax(W_out h(t)),   y(0) = <end>

The image sets the first state and is not seen again; the network reads back each letter that it wrote, and stops when
it writes the end. It gets no digit's number, only the letters, so it has to find out that there are ten words.

Source: Vinyals, Toshev, Bengio & Erhan 2015, "Show and tell", arXiv:1411.4555, eqs. 4 to 10; the images are
scikit-learn's 1,797 digits of 8 × 8 (Alpaydin & Kaynak 1998).
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.data import Vocabulary, padded
from tinygrad_rnn.training import fit

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
END = "\n"
LETTERS = Vocabulary.from_text("".join(WORDS) + END)
LAST = int(LETTERS.encode(END)[0])
HIDDEN, EMBEDDING, LONGEST = 96, 16, 9


class Captioner(nn.Module):
    """An image as the first state of a network that writes."""

    def __init__(self, pixels: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.image = nn.Linear(pixels, HIDDEN, rng=rng)
        self.embedding = nn.Embedding(len(LETTERS), EMBEDDING, rng=rng)
        self.gru = rnn.GRU(EMBEDDING, HIDDEN, rng=rng)
        self.output = nn.Linear(HIDDEN, len(LETTERS), rng=rng)

    def start(self, images: tg.Tensor) -> tg.Tensor:
        """images (B, 64) → h(0), (1, B, H)."""
        return tg.tanh(self.image(images))[None]

    def forward(self, images: tg.Tensor, words: np.ndarray) -> tg.Tensor:
        """images (B, 64), words (U, B) → the scores of each letter given those before it, (U, B, letters)."""
        before = np.concatenate([np.full_like(words[:1], LAST), words[:-1]])
        return self.output(self.gru(self.embedding(before), self.start(images))[0])

    def write(self, images: np.ndarray) -> tuple[list[str], np.ndarray]:
        """The likeliest letters, one after the other, until the end; and their probabilities, (U, B, letters)."""
        state, last = self.start(tg.asarray(images)), np.full((1, len(images)), LAST)
        written, odds = [], []
        for _ in range(LONGEST):
            ys, state = self.gru(self.embedding(last), state)
            odds.append(tg.softmax(self.output(ys[0]), axis=-1).numpy())
            last = odds[-1].argmax(axis=-1)[None]
            written.append(last[0])
        return [LETTERS.decode(lane).split(END)[0] for lane in np.stack(written, axis=1)], np.stack(odds)


def digits(seed: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images (N, 64) from 0 to 1 and their digits (N,): three quarters to train on, one to test."""
    from sklearn.datasets import load_digits

    images, numbers = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    images, numbers = (images[order] / 16).astype(np.float32), numbers[order]
    half = 3 * len(images) // 4
    return (images[:half], numbers[:half]), (images[half:], numbers[half:])


def nearest(images: np.ndarray, numbers: np.ndarray, new: np.ndarray, of_new: np.ndarray) -> float:
    """The share of new images whose nearest neighbour is the same digit."""
    distances = np.sum(images**2, axis=1) - 2 * new @ images.T
    return float(np.mean(numbers[distances.argmin(axis=1)] == of_new))


def main(run: gallery.Run) -> None:
    """Train on pairs of image and word, and let it write words for new images."""
    epochs = 12 if run.quick else 60
    (images, numbers), (new, of_new) = digits(run.seed)
    model, curve = Captioner(images.shape[1], run.seed), {}

    def loss(model: Captioner, batch: tuple[tg.Tensor, tg.Tensor], carry: None) -> tg.Tensor:
        shown, which = batch
        words, lengths = padded([LETTERS.encode(WORDS[digit] + END) for digit in which.numpy()])
        targets = np.where(np.arange(len(words))[:, None] < lengths, words, -1)
        return tg.cross_entropy(model(shown, words), tg.tensor(targets), ignore_index=-1)

    def right(model: Captioner) -> float:
        return float(np.mean([word == WORDS[digit] for word, digit in zip(model.write(new)[0], of_new)]))

    def watch(step: int, state: object) -> None:
        if step % per_epoch == 0:
            curve[step // per_epoch] = right(model)

    per_epoch = -(-len(images) // 32)
    optimizer = optim.Adam(model, lr=0.003)
    fit(model, (images, numbers), loss=loss, optimizer=optimizer, epochs=epochs, batch_size=32, clip=1.0,
        schedule=optim.CosineDecay(optimizer, epochs * per_epoch), callbacks=[watch], seed=run.seed,
        progress=False)  # fmt: skip
    written, odds = model.write(new)
    share, least = right(model), 0.9 if run.quick else 0.96
    run.expect(f"words of {len(new)} new images without any error", expected=f"at least {least:.0%} (chance: 10 %)",
               got=f"{share:.1%}", ok=share >= least)  # fmt: skip
    spelled = float(np.mean([word in WORDS for word in written]))
    run.expect("written words that are one of the ten", expected="at least 98 %", got=f"{spelled:.1%}",
               ok=spelled >= 0.98)  # fmt: skip
    wrong = [i for i, (word, digit) in enumerate(zip(written, of_new)) if word != WORDS[digit]]
    run.say(f"for comparison: the nearest neighbour, which is given the digits' numbers, is right for "
            f"{nearest(images, numbers, new, of_new):.1%}")  # fmt: skip
    run.say("wrong: " + (", ".join(f"{WORDS[of_new[i]]} as {written[i]}" for i in wrong) or "none"))

    figure = run.figure("Images of digits, and the words that the network writes for them", width=11, height=4.6)
    pictures, letters = figure.subfigures(1, 2, width_ratios=(1, 1.15))
    shown = [*wrong[:4], *(i for i in range(len(new)) if i not in wrong)][:12]
    for axes, i in zip(pictures.subplots(3, 4).ravel(), shown):
        axes.imshow(new[i].reshape(8, 8), cmap="Greys", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title(written[i] + (f"  (is {WORDS[of_new[i]]})" if i in wrong else ""), fontsize=9,
                       fontweight="bold" if i in wrong else "normal")  # fmt: skip
    sure = odds.max(axis=-1)[0]
    hardest, easiest = int(np.argmin(sure)), int(np.argmax(sure))
    names = [letter.replace(END, "end") for letter in LETTERS.to_list()[1:]]
    for axes, (i, title) in zip(letters.subplots(1, 2, sharey=True), ((easiest, "surest"), (hardest, "least sure"))):
        length = len(written[i]) + 1
        axes.imshow(odds[:length, i, 1:].T, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(length), [*written[i], "end"])
        axes.set_yticks(range(len(names)), names)
        axes.set(title=f"{title}: a {WORDS[of_new[i]]}", xlabel="written")
    letters.axes[0].set_ylabel("probability of each letter (black: 1)")
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
