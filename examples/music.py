"""Melodies as CONCERT hears them: a network predicts notes by how near they sound, and composes a tune.

    x(n) = ρ(note n),  c_i(n) = τ_i c_i(n-1) + (1 - τ_i) tanh(Σ_j w_ij x_j(n) + Σ_j v_ij c_j(n-1))
    o = W c(n) + b,    p(note k follows) = exp(-‖o - ρ_k‖²) / Σ_l exp(-‖o - ρ_l‖²)

ρ puts a pitch into a space where near means alike: its height, its place on the circle of semitones (chroma) and on
the circle of fifths; a duration has a height and two circles of thirds and quarters of a beat. The network points at
a place o in that space. The time constants τ_i run from 0 to near 1: units with a large one change slowly.

Listeners preferred CONCERT's pieces to those of a table of transitions; but it learned the local structure of music,
and not the global one. The tunes here have the form A A' B A': if it were remembered, a bar that comes back would cost
no bits; the network still spends most of what it cost the first time.

Source: Mozer 1994, "Neural network music composition by prediction: exploring the benefits of psychoacoustic
constraints and multi-scale processing", Connection Science 6, 247.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import data, gallery, nn, optim, rnn
from tinygrad_rnn.data import BEAT, DURATIONS, PITCHES, REST, Note
from tinygrad_rnn.training import fit

HIDDEN, BATCH = 64, 16
NOTES = [Note(pitch, duration) for pitch in PITCHES for duration in DURATIONS]
IDS = {note: number for number, note in enumerate(NOTES)}


class Context(nn.Module):
    """CONCERT's context units, as a cell."""

    def __init__(self, inputs: int, hidden: int, rng: np.random.Generator) -> None:
        self.inner = rnn.ElmanCell(inputs, hidden, rng=rng)
        self.tau = tg.tensor(np.linspace(0, 0.95, hidden).astype(np.float32))
        self.initial_state = self.inner.initial_state

    def forward(self, x: tg.Tensor, c: tg.Tensor) -> tg.Tensor:
        """x (B, I), c (B, H) → c' (B, H)."""
        return self.tau * c + (1 - self.tau) * self.inner(x, c)


class Concert(nn.Module):
    """From the notes so far to scores of the next pitch and of the next duration."""

    def __init__(self, seed: int, hidden: int = HIDDEN) -> None:
        rng = np.random.default_rng(seed)
        self.spaces = [data.pitch_vectors(PITCHES), data.duration_vectors(DURATIONS)]
        self.sizes = [space.shape[1] for space in self.spaces]
        self.context = Context(sum(self.sizes), hidden, rng)
        self.pointer = nn.Linear(hidden, sum(self.sizes), rng=rng)

    def forward(self, notes: np.ndarray) -> list[tg.Tensor]:
        """notes (T, B), numbers → scores of pitch (T, B, 14) and duration (T, B, 5)."""
        xs = np.concatenate([space[part] for space, part in zip(self.spaces, parts(notes))], axis=-1)
        xs[0] = 0  # the first is no note, but the beginning
        cs, _ = rnn.scan(self.context, tg.asarray(xs))
        places = zip(tg.split(self.pointer(cs), [self.sizes[0]], axis=-1), self.spaces)
        return [-tg.sum((place[:, :, None] - tg.asarray(space)) ** 2, axis=-1) for place, space in places]


def parts(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of notes in PITCHES and in DURATIONS."""
    return notes // len(DURATIONS), notes % len(DURATIONS)


def batch(tunes: list[list[Note]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The note before, the note to predict, and 1 where there is one: (T, B) each."""
    notes, lengths = data.padded([[IDS[note] for note in tune] for tune in tunes])
    before = np.concatenate([np.zeros_like(notes[:1]), notes[:-1]])
    return before, notes, (np.arange(len(notes))[:, None] < lengths).astype(np.float32)


def surprise(model: Concert, tunes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tg.Tensor:
    """-log p of every note, in nats, (T, B); zero past the end."""
    before, notes, mask = tunes
    pairs = zip(model(before), parts(notes))
    pitch, duration = (tg.cross_entropy(scores, tg.asarray(part), reduction="none") for scores, part in pairs)
    return (pitch + duration) * tg.asarray(mask)


def compose(model: Concert, length: int, rng: np.random.Generator) -> list[Note]:
    """Draw note by note from what the network expects, until the tune is so long."""
    numbers = [0]  # the first stands for the beginning
    while sum(NOTES[number].duration for number in numbers[1:]) < length:
        scores = [part.numpy()[-1, 0] for part in model(np.array(numbers)[:, None])]
        pitch, duration = (int((part + rng.gumbel(size=part.shape)).argmax()) for part in scores)
        numbers.append(pitch * len(DURATIONS) + duration)
    return [NOTES[number] for number in numbers[1:]]


def main(run: gallery.Run) -> None:
    """Train on tunes, compare with trigrams, compose."""
    count, updates = (100, 100) if run.quick else (400, 1200)
    tunes, others = data.melodies(count, seed=run.seed), data.melodies(100, seed=run.seed + 1)
    model, rng = Concert(run.seed), np.random.default_rng(run.seed)
    optimizer = optim.Adam(model, lr=0.01)

    def loss(model: Concert, tunes: tuple[np.ndarray, np.ndarray, np.ndarray], carry: None) -> tg.Tensor:
        return tg.sum(surprise(model, tunes)) / float(tunes[2].sum())

    fit(model, lambda step: batch([tunes[i] for i in rng.integers(0, count, BATCH)]), loss=loss, optimizer=optimizer,
        steps=updates, schedule=optim.CosineDecay(optimizer, updates), clip=1.0, progress=False)  # fmt: skip
    begins = [np.cumsum([0, *(note.duration for note in tune[:-1])]) for tune in others]
    bars, found = np.concatenate(begins) // (4 * BEAT), surprise(model, batch(others)).numpy().T / np.log(2)
    numbers = [[[IDS[note] for note in tune] for tune in group] for group in (tunes, others)]
    bits = {
        "CONCERT": np.concatenate([row[: len(tune)] for row, tune in zip(found, others)]),
        "trigrams": np.concatenate(data.ngram_bits(*numbers, len(NOTES))),
    }
    by_bar = {name: [values[bars == bar].mean() for bar in range(8)] for name, values in bits.items()}
    network, table = (values.mean() for values in bits.values())
    for name, row in by_bar.items():
        run.say(f"{name:9} bits a note in bars 1 to 8: " + ", ".join(f"{value:.2f}" for value in row))
    run.expect(f"bits a note, new tunes (all alike: {np.log2(len(NOTES)):.2f})", got=f"{network:.2f}",
               expected=f"below trigrams, {table:.2f}", ok=network < table - (0.2 if run.quick else 0.8))  # fmt: skip
    first, again = by_bar["CONCERT"][0], by_bar["CONCERT"][6]
    run.expect("bits a note in bar 7, which repeats bar 1", expected=f"mostly not remembered, above {first / 2:.2f}",
               got=f"{again:.2f} (bar 1: {first:.2f})", ok=again > first / 2)  # fmt: skip
    tune = compose(model, 32 * BEAT, run.rng)
    figure = run.figure("CONCERT: notes by how near they sound", width=10, height=6)
    above, below = figure.subplots(2, 1, height_ratios=(1, 1.2))
    for i, (name, row) in enumerate(by_bar.items()):
        above.plot(range(1, 9), row, **run.style(i, markers=True), label=name)
    above.set(xlabel="bar of the tune (3 and 7 repeat 1, 8 repeats 4)", ylabel="bits a note", ylim=(0, 5.5),
              title="how well notes of new tunes are foreseen")  # fmt: skip
    above.legend(loc="lower left", ncols=2)
    time = 0.0
    for note in tune:
        if note.pitch != REST:
            below.barh(note.pitch, note.duration / BEAT, left=time, height=0.9, color=gallery.COLORS[0], ec="white")
        time += note.duration / BEAT
    chord = [pitch for pitch in PITCHES[1:] if pitch % 12 in (0, 4, 7)]
    below.set_yticks(chord, [f"{'C   E  G'[pitch % 12]}{pitch // 12 - 1}" for pitch in chord])
    below.set_xticks(range(0, int(time) + 1, 4))
    below.grid(axis="x", color="#ced4da")
    below.set_axisbelow(True)
    below.set(xlabel="beats (a line every bar)", ylabel="pitch", title="a tune it composed", ylim=(54, 77))
    run.save(figure)
    if run.folder is not None:
        try:
            data.write_midi(run.folder / f"{run.name}.mid", tune)
            run.say(f"the tune it composed: {run.name}.mid")
        except ImportError as error:
            run.say(f"no MIDI file: {error}")


if __name__ == "__main__":
    gallery.start(main)
