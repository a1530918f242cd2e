"""Melodies, and notes as points in space."""

import numpy as np
import pytest

from tinygrad_rnn.data import (
    BEAT,
    DURATIONS,
    PITCHES,
    REST,
    Note,
    duration_vectors,
    melodies,
    pitch_vectors,
    write_midi,
)
from tinygrad_rnn.errors import ArgumentError, DataError

# as Mozer 1994 tabulates them; his C3 is the middle of the range
TABLE = {
    36: (-9.798, "+++---", "---+++"),
    42: (-7.349, "---+++", "+++---"),
    55: (-2.041, "----++", "----++"),
    60: (0, "+++---", "---+++"),
    63: (1.225, "++++++", "++++++"),
    64: (1.633, "-+++++", "+-----"),
    81: (8.573, "------", "------"),
    84: (9.798, "+++---", "---+++"),
    REST: (0, "+-+-+-", "+-+-+-"),
}


def test_the_representation_of_pitch_is_the_papers_table():
    found = pitch_vectors(list(TABLE))
    for row, (height, chroma, fifths) in zip(found, TABLE.values()):
        assert row[0] == pytest.approx(height, abs=1e-3)  # the table has three decimals, not all rounded
        np.testing.assert_array_equal(row[1:], [1 if sign == "+" else -1 for sign in chroma + fifths])


def test_a_step_on_a_circle_changes_one_sign():
    chroma = pitch_vectors(range(60, 73))[:, 1:7]
    fifths = pitch_vectors([(7 * k) % 12 + 60 for k in range(13)])[:, 7:]
    for circle in (chroma, fifths):
        assert np.all(np.sum(circle[1:] != circle[:-1], axis=1) == 1)


def test_notes_have_different_representations_and_whole_beats_are_alike_on_the_circles():
    assert len(np.unique(pitch_vectors(PITCHES), axis=0)) == len(PITCHES)
    found = duration_vectors(range(1, 49))
    assert len(np.unique(found.round(4), axis=0)) == 48
    np.testing.assert_allclose(found[11::12, 1:], np.tile([1, 0, 1, 0], (4, 1)), atol=1e-5)
    np.testing.assert_allclose(found[11::12, 0], np.log2([1, 2, 3, 4]), rtol=1e-6)


def test_tunes_have_eight_bars_of_the_form_a_a_b_a_and_end_on_c():
    for tune in melodies(50, seed=1):
        assert {note.pitch for note in tune} <= set(PITCHES) and {note.duration for note in tune} <= set(DURATIONS)
        bars, time = [[] for _ in range(8)], 0
        for note in tune:
            bars[time // (4 * BEAT)].append(note)
            time += note.duration
        assert time == 32 * BEAT and all(sum(note.duration for note in bar) == 4 * BEAT for bar in bars)
        assert bars[0] == bars[2] == bars[6] and bars[3] == bars[7]
        assert next(note.pitch for note in reversed(tune) if note.pitch != REST) % 12 == 0
    assert melodies(3, seed=1) == melodies(50, seed=1)[:3]


def test_wrong_notes_say_so():
    with pytest.raises(DataError, match="0 to 127"):
        pitch_vectors([128])
    with pytest.raises(DataError, match="at least 1"):
        duration_vectors([0])
    with pytest.raises(ArgumentError, match="number"):
        melodies(0)


def test_a_tune_comes_back_from_its_midi_file(tmp_path):
    mido = pytest.importorskip("mido")
    tune = [Note(60, 12), Note(REST, 6), Note(REST, 6), Note(67, 4), Note(60, 24)]
    write_midi(tmp_path / "tune.mid", tune, tempo=90)
    read = mido.MidiFile(tmp_path / "tune.mid")
    beats = [message.time / read.ticks_per_beat for message in read.tracks[0] if not message.is_meta]
    assert [message.note for message in read.tracks[0] if message.type == "note_on"] == [60, 67, 60]
    np.testing.assert_allclose(np.array(beats) * BEAT, [0, 12, 12, 4, 0, 24])
    assert read.length == pytest.approx(52 / BEAT * 60 / 90, rel=1e-5)
