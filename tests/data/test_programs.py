"""Programs print what their answer says; curricula lead to their goal."""

import contextlib
import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_rnn.data import (
    CURRICULA,
    Program,
    curriculum,
    program,
    program_batch,
    program_vocabulary,
    scrambled,
)
from tinygrad_rnn.errors import ArgumentError, DataError


@given(length=st.integers(1, 6), nesting=st.integers(1, 9), seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_python_prints_the_answer(length, nesting, seed):
    made = program(length, nesting, seed=seed)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(made.text, {"__builtins__": {"print": print, "range": range}})
    assert printed.getvalue().strip() + "." == made.answer
    vocabulary = program_vocabulary()
    assert vocabulary.decode(vocabulary.encode(made.text + made.answer)) == made.text + made.answer


def test_numbers_have_at_most_the_length_and_some_have_it():
    longest = set()
    for seed in range(100):
        text = program(3, 2, seed=seed).text
        longest.add(max(len(piece) for piece in "".join(c if c.isdigit() else " " for c in text).split()))
    assert longest == {3} or longest == {2, 3}


def test_all_operations_come_up():
    texts = [program(2, 1, seed=seed).text for seed in range(100)]
    marks = Counter()
    for text in texts:
        marks += Counter(mark for mark in ("for", "if", "*", "=", "+", "-") if mark in text)
    assert set(marks) == {"for", "if", "*", "=", "+", "-"}


def test_curricula_lead_from_easy_to_the_goal():
    rng = np.random.default_rng(0)
    done = np.linspace(0, 1, 200)
    steps = {kind: [curriculum(kind, 4, 3, share, seed=rng) for share in done] for kind in CURRICULA}
    assert set(steps["baseline"]) == {(4, 3)}
    assert list(dict.fromkeys(steps["naive"])) == [
        (length, nesting) for nesting in (1, 2, 3) for length in (1, 2, 3, 4)
    ]
    assert set(steps["mix"]) == set(steps["naive"])
    off = np.mean([a != b for a, b in zip(steps["combined"], steps["naive"])])
    assert 0.08 < off < 0.3  # a fifth of them are drawn, and one in twelve of those agrees by chance


@pytest.mark.parametrize(
    "arguments", [("harder", 2, 2, 0.5), ("mix", 0, 2, 0.5), ("mix", 2, 2, 1.5), ("naive", 2, 0, 0.5)]
)
def test_a_curriculum_refuses_what_it_cannot_do(arguments):
    with pytest.raises(ArgumentError):
        curriculum(*arguments)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (10, 1), (1, 10), (1.5, 1)])
def test_a_program_refuses_sizes_out_of_range(sizes):
    with pytest.raises(ArgumentError):
        program(*sizes)


def test_scrambling_keeps_characters_and_answer():
    made = program(3, 3, seed=0)
    other = scrambled(made, seed=1)
    assert sorted(other.text) == sorted(made.text) and other.text != made.text and other.answer == made.answer


def test_a_batch_asks_for_the_answers_and_for_nothing_else():
    programs = [program(2, nesting, seed=nesting) for nesting in (1, 2, 3, 4)] + [Program("print(1)", "-1.")]
    vocabulary = program_vocabulary()
    inputs, targets = program_batch(programs, vocabulary)
    assert inputs.shape == targets.shape and np.unique((targets >= 0).argmax(axis=0)).size == 1
    for lane, made in enumerate(programs):
        asked = targets[:, lane] >= 0
        assert vocabulary.decode(targets[asked, lane]) == made.answer
        read = vocabulary.decode(inputs[:, lane])
        assert read.strip("\n") == f"{made.text}\n{made.answer[:-1]}"
        assert read[: asked.argmax() + 1].endswith(made.text + "\n")


def test_an_empty_batch_is_refused():
    with pytest.raises(DataError):
        program_batch([], program_vocabulary())
