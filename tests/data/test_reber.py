"""Reber's strings: of the grammar, with the successors that it allows."""

import re

import numpy as np
import pytest

from tinygrad_rnn.data import REBER_SYMBOLS, reber_batch, reber_right, reber_strings, reber_successors
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

# the graph as a regular expression: T S* X or P T* V, then round and round until S or V
PLAIN = re.compile(r"B(TS*(XS|XXT*V(PXT*V)*(V|PS))|PT*V(PXT*V)*(V|PS))E")


def scores_of(strings, embedded, wrong=()):
    """Ideal scores; at the places of `wrong`, (lane, step), an illegal symbol is the highest."""
    scores = np.zeros((max(map(len, strings)) - 1, len(strings), 7))
    for lane, string in enumerate(strings):
        for t, allowed in enumerate(reber_successors(string, embedded=embedded)):
            scores[t, lane] = [symbol in allowed for symbol in REBER_SYMBOLS]
            if (lane, t) in wrong:
                scores[t, lane] = 1 - scores[t, lane]
    return scores


def test_strings_match_the_grammar():
    strings = reber_strings(500, seed=0)
    assert all(PLAIN.fullmatch(string) for string in strings)
    assert min(map(len, strings)) == 5 and len(set(strings)) > 80


def test_embedded_strings_keep_their_second_symbol():
    strings = reber_strings(300, embedded=True, seed=1)
    assert all(string[1] == string[-2] and PLAIN.fullmatch(string[2:-2]) for string in strings)
    assert {string[1] for string in strings} == {"T", "P"}


@pytest.mark.parametrize("embedded", [False, True])
def test_what_follows_is_allowed_and_nothing_else_ever_follows(embedded):
    seen = {}
    for string in reber_strings(2000, embedded=embedded, seed=2):
        allowed = reber_successors(string, embedded=embedded)
        assert len(allowed) == len(string) - 1
        for t, symbols in enumerate(allowed):
            assert string[t + 1] in symbols
            seen.setdefault(string[: t + 1], set()).add((symbols, string[t + 1]))
    for begun in ("B", "BT", "BP") if not embedded else ("B", "BT", "BTB", "BTBT", "BPBP"):
        assert {symbol for _, symbol in seen[begun]} == set(next(iter(seen[begun]))[0])


@pytest.mark.parametrize("string", ["", "B", "BTXS", "BTXSEE", "BVVE", "btxse"])
def test_strings_of_another_grammar_are_refused(string):
    with pytest.raises(DataError):
        reber_successors(string)
    with pytest.raises(DataError):
        reber_successors(f"BT{string}TE", embedded=True)


def test_an_embedded_string_with_unequal_ends_is_refused():
    with pytest.raises(DataError):
        reber_successors("BTBTXSEPE", embedded=True)


def test_a_batch_holds_the_strings():
    strings = reber_strings(20, seed=3)
    inputs, targets, lengths = reber_batch(strings)
    for lane, string in enumerate(strings):
        end = lengths[lane]
        assert "".join(REBER_SYMBOLS[i] for i in inputs[:end, lane].argmax(axis=1)) == string[:-1]
        assert "".join(REBER_SYMBOLS[i] for i in targets[:end, lane]) == string[1:]
        assert not inputs[end:, lane].any() and np.all(targets[end:, lane] == -1)
    assert np.array_equal(inputs.sum(axis=2), targets >= 0)


@pytest.mark.parametrize("strings", [[], ["B"], ["BAD"]])
def test_a_batch_of_something_else_is_refused(strings):
    with pytest.raises(DataError):
        reber_batch(strings)


@pytest.mark.parametrize("embedded", [False, True])
def test_one_wrong_step_makes_a_string_wrong(embedded):
    strings = reber_strings(4, embedded=embedded, seed=4)
    last = len(strings[2]) - 2
    assert reber_right(scores_of(strings, embedded), strings, embedded=embedded).all()
    found = reber_right(scores_of(strings, embedded, [(0, 1), (2, last)]), strings, embedded=embedded)
    assert found.tolist() == [False, True, False, True]


def test_equal_scores_are_not_right_and_a_wrong_shape_is_refused():
    assert not reber_right(np.zeros((4, 1, 7)), ["BTXSE"]).any()
    with pytest.raises(ShapeError):
        reber_right(np.zeros((5, 1, 7)), ["BTXSE"])


def test_a_number_below_one_is_refused():
    with pytest.raises(ArgumentError):
        reber_strings(0)
