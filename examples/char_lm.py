"""A language model of characters: bits per character, samples at temperatures, and cells that follow the text.

    h(t), c(t) = LSTM(E[x(t)], h(t-1), c(t-1))        p(x(t+1)) = softmax((V h(t) + b) / temperature)
    bits per character = -1/N Σ_t log2 p(x(t+1))

The model of the command ``train``, on the modules of Python's standard library. To predict what comes next it has to
know whether a bracket is open and how far a line is indented; some cells come to hold just that. They are found here by
the correlation of c_j(t) with it over unseen text.

Source: Mikolov et al. 2010; Graves 2013, arXiv:1308.0850, section 3; cells that can be read: Karpathy, Johnson &
Fei-Fei 2015, arXiv:1506.02078, section 4.2. To beat: the frequencies of pairs of characters.
"""

import math

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import gallery, optim, rnn
from tinygrad_rnn.cli.character_model import CharacterModel, Sizes, sample
from tinygrad_rnn.data import Lanes, Vocabulary, Window, bigram_bits, standard_library, unigram_bits
from tinygrad_rnn.training import fit

EMBEDDING, HIDDEN, BATCH, STEPS = 32, 128, 32, 64
WIDTH, LINES = 88, 11  # of the text that is shown


def facts(text: str) -> dict[str, np.ndarray]:
    """What a reader knows after each character: is a bracket open, how far is the line indented so far."""
    depth, indent, leading = 0, 0, True
    brackets, indents = np.zeros(len(text)), np.zeros(len(text))
    for t, character in enumerate(text):
        depth = max(0, depth + (character in "([{") - (character in ")]}"))
        if character == "\n":
            indent, leading = 0, True
            if text[t - 1 : t] in ("\n", ":"):
                depth = 0  # a bracket in a comment may stay open
        else:
            leading = leading and character == " "
            indent += leading
        brackets[t], indents[t] = depth > 0, indent if leading else 0
    return {"an open bracket": brackets, "the indentation at the beginning of a line": indents}


def cells(model: CharacterModel, ids: np.ndarray) -> np.ndarray:
    """The cells' values c(t) over lanes of text, ids (T, B) → (T, B, H)."""
    cell = rnn.LSTMCell(EMBEDDING, HIDDEN)
    for name, parameter in cell.named_parameters():
        parameter.assign(getattr(model.lstm, f"{name}_l0").numpy())
    state, values = cell.initial_state(ids.shape[1]), []
    for x in model.embedding(tg.asarray(ids)):
        state = cell(x, state)
        values.append(state[1].numpy())
    return np.stack(values)


def main(run: gallery.Run) -> None:
    """Train, measure, sample, and find the cells."""
    text = standard_library()
    vocabulary = Vocabulary.from_text(text.train)
    ids, unseen, size = vocabulary.encode(text.train), vocabulary.encode(text.validation), len(vocabulary)
    if run.quick:
        unseen = unseen[:6000]
    model = CharacterModel(Sizes(size, EMBEDDING, HIDDEN, 1), rng=run.seed)
    lanes, steps = Lanes(ids, BATCH, STEPS), 40 if run.quick else 1200
    optimizer = optim.Adam(model, lr=0.008)

    def loss(model: CharacterModel, window: Window, carry: object) -> tuple[tg.Tensor, object]:
        return model.loss(tg.asarray(window.x), tg.asarray(window.y), None if window.fresh else carry)

    fit(model, lanes.window, loss=loss, optimizer=optimizer, steps=steps, clip=1.0, progress=False,
        schedule=optim.CosineDecay(optimizer, steps))  # fmt: skip
    bits = model.loss(tg.asarray(unseen[:-1, None]), tg.asarray(unseen[1:, None]))[0].item() / math.log(2)
    single, pairs = unigram_bits(ids, unseen, size), bigram_bits(ids, unseen, size)
    run.say(f"{text.name}: bits per character of single characters {single:.2f}, of pairs {pairs:.2f}")
    run.expect("bits per character of the LSTM, unseen text", expected="below those of pairs", got=f"{bits:.2f}",
               ok=bits < (single if run.quick else pairs))  # fmt: skip
    for temperature in (0, 0.5, 1):
        written = "".join(sample(model, vocabulary, "\n    def ", 120, temperature, run.rng))
        run.say(f"at temperature {temperature:g}: def {written!r}")

    read, side = text.validation[: len(unseen)], 1000
    usable = read[: len(read) // side * side]
    values = cells(model, vocabulary.encode(usable).reshape(-1, side).T)
    flat = values.transpose(1, 0, 2).reshape(len(usable), HIDDEN)
    warm = np.arange(len(usable)) % side >= 50  # lanes begin with an empty state
    figure = run.figure(f"Two cells over unseen text ({bits:.2f} bits per character)", width=9, height=7)
    for axes, (fact, known) in zip(figure.subplots(2, 1), facts(usable).items()):
        centred = flat[warm] - flat[warm].mean(axis=0)
        target = known[warm] - known[warm].mean()
        correlation = centred.T @ target / (np.linalg.norm(centred, axis=0) * np.linalg.norm(target) + 1e-9)
        best = int(np.abs(correlation).argmax())
        found = float(np.abs(correlation[best]))
        run.expect(f"correlation of cell {best} with {fact}", expected="a cell follows it (above 0.4)",
                   got=f"{found:.2f}", ok=found > (0.2 if run.quick else 0.4))  # fmt: skip
        signal = flat[:, best] * np.sign(correlation[best])
        low, high = np.quantile(signal[warm], (0.05, 0.95))
        show(axes, usable, known, (signal - low) / (high - low))
        axes.set_title(f"cell {best} and {fact}: correlation {found:.2f} (dark: high)")
    run.save(figure)


def show(axes: object, text: str, known: np.ndarray, shades: np.ndarray) -> None:
    """Some lines of text, each character on the shade of the cell; the lines in which most is to be followed."""
    ends = np.flatnonzero(np.array(list(text)) == "\n")
    changes = [np.abs(np.diff(known[ends[i] : ends[i + LINES]])).sum() for i in range(len(ends) - LINES)]
    first = int(
        np.argmax(changes * np.array([np.diff(ends[i : i + LINES + 1]).max() < WIDTH for i in range(len(changes))]))
    )
    for row in range(LINES):
        begin, end = ends[first + row] + 1, ends[first + row + 1] + 1
        for column, t in enumerate(range(begin, min(end, begin + WIDTH))):
            shade = float(np.clip(shades[t], 0, 1))
            axes.fill_between((column, column + 1), row, row + 1, color=str(1 - 0.7 * shade), linewidth=0)
            axes.text(column + 0.5, row + 0.55, text[t].replace("\n", "⏎"), family="monospace", fontsize=8, ha="center",
                      va="center", color="white" if shade > 0.65 else gallery.INK)  # fmt: skip
    axes.set(xlim=(0, WIDTH), ylim=(LINES, 0))
    axes.axis("off")


if __name__ == "__main__":
    gallery.start(main)
