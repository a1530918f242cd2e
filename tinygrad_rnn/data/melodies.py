"""Melodies from a grammar, and the representation of notes by how they sound to a listener.

The representation is that of CONCERT [Mozer 1994, "Neural network music composition by prediction", Connection
Science 6, 247]: a pitch has a height, a place on the circle of semitones (chroma), and one on the circle of fifths
[after Shepard 1982]; a duration has a height, and a place on two circles of what remains of thirds and quarters of a
beat. Notes that sound alike lie near each other.
"""

import math
import os
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..random import Seed, as_generator
from .arguments import count, positive

__all__ = [
    "BEAT",
    "DURATIONS",
    "PITCHES",
    "REST",
    "Note",
    "duration_vectors",
    "melodies",
    "pitch_vectors",
    "write_midi",
]

T = TypeVar("T")

BEAT = 12  # units of a duration in a beat: thirds and quarters of a beat are whole numbers of them
REST = -1
SCALE = (0, 2, 4, 5, 7, 9, 11)  # C major
LOWEST, HIGHEST = -3, 9  # steps of the scale from middle C: G below it to E of the octave above
CIRCLE = np.array([[1 if (step + 2 - sign) % 12 < 6 else -1 for sign in range(6)] for step in range(12)])

CHORDS = {"I": (0, 2, 4), "ii": (1, 3, 5), "IV": (3, 5, 0), "V": (4, 6, 1), "vi": (5, 0, 2)}
PROGRESSIONS = (("I", "IV"), ("I", "vi"), ("I", "ii"), ("vi", "IV"))
RHYTHMS = (
    (12, 12, 12, 12), (6, 6, 12, 12, 12), (12, 6, 6, 24), (18, 6, 12, 12), (24, 12, 12), (12, 12, 6, 6, 12),
    (4, 4, 4, 12, 24), (6, 6, 6, 6, 24), (18, 6, 18, 6), (12, 12, 4, 4, 4, 12),
)  # fmt: skip
CADENCES = ((12, 12, 24), (24, 24), (6, 6, 12, 24), (18, 6, 24), (12, 24, 12))  # a last quarter is a rest


class Note(NamedTuple):
    """A MIDI pitch (middle C is 60) or `REST`, and a duration in twelfths of a beat."""

    pitch: int
    duration: int


def _pitch(step: int) -> int:
    """The MIDI pitch of a step of the scale."""
    return 60 + 12 * (step // 7) + SCALE[step % 7]


PITCHES = (REST, *(_pitch(step) for step in range(LOWEST, HIGHEST + 1)))
DURATIONS = (4, 6, 12, 18, 24)


def pitch_vectors(pitches: Sequence[int]) -> NDArray[np.float32]:
    """Pitches as 13 numbers: height, six for the chroma circle, six for the circle of fifths. [Mozer 1994]

    The height is ``(pitch - 60) / sqrt(6)``, and a step on a circle changes one of six signs, so that an octave in
    height is as far as the opposite side of a circle. A rest is at height 0, apart from all places of the circles.

    Parameters
    ----------
    pitches : sequence of int
        MIDI pitches from 0 to 127, or `REST`.

    Returns
    -------
    float32, shape (number of pitches, 13)

    Raises
    ------
    DataError
        If a pitch is none of MIDI.

    Examples
    --------
    >>> for row in pitch_vectors([60, 67, REST]).round(2).tolist():        # C, G, and a rest
    ...     print(*(f"{number:g}" for number in row))
    0 1 1 1 -1 -1 -1 -1 -1 -1 1 1 1
    2.86 -1 -1 -1 -1 1 1 -1 -1 -1 -1 1 1
    0 1 -1 1 -1 1 -1 1 -1 1 -1 1 -1
    """
    given = np.asarray(pitches)
    if given.dtype.kind not in "iu" or given.ndim != 1 or given.size == 0 or given.min() < REST or given.max() > 127:
        raise DataError(f"pitches are a sequence of integers from 0 to 127, or REST; got {pitches!r}.")
    rest = (given == REST)[:, None]
    height = np.where(rest, 0, (given[:, None] - 60) / math.sqrt(6))
    fifths = given * 7 % 12  # how many fifths above C
    circles = np.concatenate([CIRCLE[given % 12], CIRCLE[(fifths + 6) % 12]], axis=1)
    apart = np.tile([1, -1], 6)
    return np.concatenate([height, np.where(rest, apart, circles)], axis=1).astype(np.float32)


def duration_vectors(durations: Sequence[int]) -> NDArray[np.float32]:
    """Durations as 5 numbers: log2 of the beats, and two points on circles. [Mozer 1994]

    The circles hold what remains of the duration after thirds, and after quarters, of a beat: all whole numbers of
    beats are at (1, 0) on both.

    Parameters
    ----------
    durations : sequence of int
        In twelfths of a beat, at least 1.

    Returns
    -------
    float32, shape (number of durations, 5)

    Raises
    ------
    DataError
        If a duration is below 1.

    Examples
    --------
    >>> duration_vectors([12, 6]).round(2).tolist()
    [[0.0, 1.0, 0.0, 1.0, 0.0], [-1.0, -1.0, 0.0, 1.0, 0.0]]
    """
    given = np.asarray(durations)
    if given.dtype.kind not in "iu" or given.ndim != 1 or given.size == 0 or given.min() < 1:
        raise DataError(f"durations are a sequence of integers of at least 1; got {durations!r}.")
    third, quarter = (2 * math.pi * (given % part) / part for part in (BEAT // 3, BEAT // 4))
    columns = (np.log2(given / BEAT), np.cos(third), np.sin(third), np.cos(quarter), np.sin(quarter))
    return np.stack(columns, axis=1).astype(np.float32)


def melodies(number: int, *, seed: Seed = 0) -> list[list[Note]]:
    """Tunes of eight bars in C major and 4/4, from a grammar::

        tune     = A A' B A'           A' is A with another end: A asks (on the dominant), A' answers (on C)
        phrase   = bar cadence         each over a chord; the rhythm of a bar is one of ten
        bar      = on its strong beats notes of the chord, near the last one; on the others mostly steps

    So a note depends on the notes just before it, on its place in the bar, and, in the second half of the tune, on
    what was played four and more bars ago.

    Parameters
    ----------
    number : int
        How many tunes.
    seed : int, numpy.random.Generator or None
        The same number gives the same tunes.

    Raises
    ------
    ArgumentError
        If `number` is below 1.

    Examples
    --------
    >>> tune = melodies(1, seed=0)[0]
    >>> tune[0], sum(note.duration for note in tune) // BEAT
    (Note(pitch=57, duration=12), 32)
    """
    draw = as_generator(seed)
    return [_tune(draw) for _ in range(count("number", number))]


def write_midi(path: str | os.PathLike[str], tune: Sequence[Note], *, tempo: float = 110) -> None:
    """Write a tune as a MIDI file of one track.

    Parameters
    ----------
    path : path
        Where; a file that is there is replaced.
    tune : sequence of Note
        What.
    tempo : float
        Beats a minute, above 0.

    Raises
    ------
    ImportError
        Without the package mido.
    ArgumentError
        If `tempo` is not above 0.
    """
    try:
        import mido
    except ImportError as error:
        raise ImportError('a MIDI file needs mido: pip install "tinygrad_rnn[examples]"') from error
    beat, waited = 40 * BEAT, 0
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(positive("tempo", tempo)))])
    for pitch, duration in tune:
        ticks = duration * beat // BEAT
        if pitch == REST:
            waited += ticks
            continue
        track.append(mido.Message("note_on", note=pitch, velocity=80, time=waited))
        track.append(mido.Message("note_off", note=pitch, time=ticks))
        waited = 0
    mido.MidiFile(ticks_per_beat=beat, tracks=[track]).save(os.fspath(path))


def _pick(draw: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(draw.integers(len(choices)))]


def _tune(draw: np.random.Generator) -> list[Note]:
    first, second = _pick(draw, PROGRESSIONS), _pick(draw, PROGRESSIONS[1:])
    a, end = _bar(draw, first, _pick(draw, RHYTHMS), _pick(draw, CHORDS["I"]))
    question, _ = _cadence(draw, "V", end)
    answer, after = _cadence(draw, "I", end)
    b, end = _bar(draw, second, _pick(draw, RHYTHMS), after)
    turn, _ = _cadence(draw, "V", end)
    return [*a, *question, *a, *answer, *b, *turn, *a, *answer]


def _bar(
    draw: np.random.Generator, chords: tuple[str, str], rhythm: tuple[int, ...], step: int
) -> tuple[list[Note], int]:
    """A bar, half over one chord and half over another; and the step of the scale on which it ends."""
    notes, time = [], 0
    for duration in rhythm:
        strong = time % (2 * BEAT) == 0
        step = _next(draw, step, CHORDS[chords[time // (2 * BEAT)]] if strong else None)
        notes.append(Note(_pitch(step), duration))
        time += duration
    return notes, step


def _cadence(draw: np.random.Generator, chord: str, step: int) -> tuple[list[Note], int]:
    """A bar that ends on a long note: on the chord's root, or for the dominant on any of its notes."""
    rhythm = _pick(draw, CADENCES)
    rest = rhythm[-1] == BEAT
    sung = rhythm[:-1] if rest else rhythm
    notes = []
    for place, duration in enumerate(sung):
        final = place == len(sung) - 1
        step = _next(draw, step, (CHORDS[chord] if chord == "V" else (0,)) if final else None)
        notes.append(Note(_pitch(step), duration))
    return [*notes, Note(REST, BEAT)] if rest else notes, step


def _next(draw: np.random.Generator, step: int, chord: tuple[int, ...] | None) -> int:
    """The next step of the scale: a near note of the chord, or without one mostly a neighbour."""
    steps = np.arange(LOWEST, HIGHEST + 1)
    far = abs(steps - step)
    weights = np.where(far == 1, 0.4, np.where(far == 2, 0.07, np.where(far == 0, 0.06, 0.0)))
    if chord is not None:
        weights = np.isin(steps % 7, chord) * np.exp(-far / 1.5)
    return int(draw.choice(steps, p=weights / weights.sum()))
