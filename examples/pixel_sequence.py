"""Images as sequences: digits read row by row and pixel by pixel, and pixel networks that draw new ones.

    p(x) = Π_i p(x_i | x_1, ..., x_{i-1})        pixels in the order of reading, each one of 17 levels of gray

Read as 8 rows of 8, or as 64 pixels, an LSTM tells which digit it is. The other way round, a network that predicts
every pixel from those before it knows the probability of an image, and can draw: a 5 × 5 convolution with mask A,
a layer with mask B and a shortcut around it, and a softmax over the levels. The layer is a Row LSTM, in which

    i, f, g, o = σ, σ, tanh, σ of (K_ss ⊛ h_{i-1} + K_is ⊛ x_i),    c_i = f c_{i-1} + i g,    h_i = o tanh(c_i)

runs down the rows, or a diagonal BiLSTM, for which a pixel comes after its left (right) and its upper neighbour.
Measured in bits a pixel, the paper's diagonal BiLSTM has 3.00 and its Row LSTM 3.07 on the colour photos of CIFAR-10,
against 8 for guessing; the small digits here are another task, so the baseline is their own: independent pixels.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, "Pixel recurrent neural networks", arXiv:1601.06759.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, nn, optim, rnn
from tinygrad_rnn.training import fit

LEVELS, SIDE, BATCH = 17, 8, 32
READINGS = {"row by row": (8, 8), "pixel by pixel": (64, 1)}  # steps, pixels a step
LAYERS = {"Row LSTM": rnn.RowLSTM, "diagonal BiLSTM": rnn.DiagonalBiLSTM}


class Reader(nn.Module):
    """An LSTM over an image cut into steps, and scores of the ten digits from its last state."""

    def __init__(self, steps: int, pixels: int, hidden: int, seed: int) -> None:
        self.shape = (-1, steps, pixels)
        self.recurrence = rnn.LSTM(pixels, hidden, batch_first=True, rng=seed)
        self.output = nn.Linear(hidden, 10, rng=seed)
        nn.init.forget_gate_bias_(self.recurrence)

    def forward(self, images: tg.Tensor) -> tg.Tensor:
        """images (B, 8, 8), levels → (B, 10)."""
        return self.output(self.recurrence(tg.reshape(images / (LEVELS - 1), self.shape))[0][:, -1])


class Painter(nn.Module):
    """Scores of the level of every pixel, each from the pixels before it."""

    def __init__(self, kind: str, channels: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.first = rnn.MaskedConv2d(1, channels, 5, mask="A", rng=rng)
        self.recurrence = LAYERS[kind](channels, channels, mask="B", rng=rng)
        self.mix = nn.Conv2d(channels, 2 * channels, 1, rng=rng)
        self.output = nn.Conv2d(2 * channels, LEVELS, 1, rng=rng)

    def forward(self, images: tg.Tensor) -> tg.Tensor:
        """images (B, 8, 8), levels → (B, 8, 8, 17)."""
        seen = self.first(tg.expand_dims(images / 8 - 1, axis=1))
        scores = self.output(tg.relu(self.mix(seen + self.recurrence(seen))))
        return tg.permute_dims(scores, (0, 2, 3, 1))


def train(model: nn.Module, images: np.ndarray, targets: np.ndarray, epochs: int, rate: float, seed: int) -> None:
    """Cross-entropy, Adam, and a learning rate that falls to zero."""
    optimizer = optim.Adam(model, lr=rate)
    steps = epochs * -(-len(images) // BATCH)

    def loss(model: nn.Module, batch: tuple[tg.Tensor, tg.Tensor], carry: None) -> tg.Tensor:
        return tg.cross_entropy(model(batch[0]), batch[1])

    fit(model, (images.astype(np.float32), targets), loss=loss, optimizer=optimizer, steps=steps, batch_size=BATCH,
        schedule=optim.CosineDecay(optimizer, steps), clip=1.0, seed=seed, progress=False)  # fmt: skip


def bits(model: Painter, images: np.ndarray) -> float:
    """Mean -log2 p of a pixel."""
    scores = model(tg.asarray(images.astype(np.float32)))
    return float(tg.cross_entropy(scores, tg.asarray(images)).item() / np.log(2))


def independent_bits(train: np.ndarray, test: np.ndarray) -> float:
    """The same if every pixel has a distribution of its own, counted with one added to each level."""
    counts = np.stack([(train == level).sum(axis=0) for level in range(LEVELS)], axis=-1) + 1
    chance = counts / counts.sum(axis=-1, keepdims=True)
    return float(-np.mean(np.log2(np.take_along_axis(chance[None], test[..., None], axis=-1))))


def draw(model: Painter, images: np.ndarray, start: int, rng: np.random.Generator) -> np.ndarray:
    """Pixel by pixel from the row `start` on, each drawn from what the network expects after those before it."""
    images = images.copy()
    images[:, start:] = 0
    for row in range(start, SIDE):
        for column in range(SIDE):
            scores = model(tg.asarray(images.astype(np.float32))).numpy()[:, row, column]
            gumbel = rng.gumbel(size=scores.shape)  # the largest of scores + Gumbel noise is a draw of their softmax
            images[:, row, column] = (scores + gumbel).argmax(axis=-1)
    return images


def main(run: gallery.Run) -> None:
    """Read digits, then draw them."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    seen, unseen, labels, answers = train_test_split(
        digits.images.astype(np.int64), digits.target, test_size=360, random_state=run.seed, stratify=digits.target
    )
    for reading, (steps, pixels) in list(READINGS.items())[: 1 if run.quick else 2]:
        reader, least = Reader(steps, pixels, 64, run.seed), 0.75 if run.quick else 0.95 if steps == SIDE else 0.9
        train(reader, seen, labels, 4 if run.quick else 15 if steps == SIDE else 30, 0.01, run.seed)
        right = reader(tg.asarray(unseen.astype(np.float32))).numpy().argmax(axis=1) == answers
        run.expect(f"digits told apart, {reading} ({steps} steps)", expected=f"above {least:.0%}",
                   got=f"{right.mean():.1%}", ok=right.mean() > least)  # fmt: skip

    rates = {"uniform": float(np.log2(LEVELS)), "independent pixels": independent_bits(seen, unseen)}
    run.say("bits a pixel: " + ", ".join(f"{name} {bits:.3f}" for name, bits in rates.items()))
    some, alone = unseen[: 8 if run.quick else 24], rates["independent pixels"]
    grids = {"from the data": some}
    for kind in LAYERS:
        painter = Painter(kind, 16 if run.quick else 32, run.seed)
        train(painter, seen, seen, 2 if run.quick else 12, 0.02 if run.quick else 0.01, run.seed)
        rates[kind] = bits(painter, unseen)
        run.expect(f"{kind}, bits a pixel", expected=f"below independent pixels, {alone:.3f}", got=f"{rates[kind]:.3f}",
                   ok=rates[kind] < alone - (0 if run.quick else 0.4))  # fmt: skip
        grids[f"drawn by the {kind}"] = draw(painter, some, 0, run.rng)
    grids["lower half drawn by it"] = draw(painter, some, SIDE // 2, run.rng)

    figure = run.figure("Pixel networks on 8 × 8 digits", width=11, height=6.2)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 2.1))
    axes = above.subplots()
    for i, rate in enumerate(rates.values()):
        axes.barh(i, rate, color="#868e96" if i < 2 else gallery.COLORS[0], hatch=None if i < 2 else "//", ec="white")
        axes.annotate(f"{rate:.2f}", (rate, i), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rates)), list(rates))
    axes.invert_yaxis()
    axes.set(xlabel="bits a pixel, on images that training never saw", title="how well each pixel is foreseen")
    for axes, (title, images) in zip(below.subplots(1, 4), grids.items()):
        tiled = np.full((len(images) // 4 * (SIDE + 1) + 1, 4 * (SIDE + 1) + 1), np.nan)  # with lines between
        for n, image in enumerate(images):
            row, column = n // 4 * (SIDE + 1) + 1, n % 4 * (SIDE + 1) + 1
            tiled[row : row + SIDE, column : column + SIDE] = image
        axes.set_facecolor("#ced4da")
        axes.imshow(tiled, cmap="Greys", vmin=0, vmax=LEVELS - 1)
        axes.set(xticks=[], yticks=[], title=title)
        axes.spines[:].set_visible(False)
    run.save(figure)


if __name__ == "__main__":
    gallery.start(main)
