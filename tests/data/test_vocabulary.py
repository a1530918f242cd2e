"""Vocabulary: round trips, the unknown character, and what a damaged checkpoint list raises."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import UNKNOWN, Vocabulary
from tinygrad_rnn.errors import ArgumentError, DataError

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates included


@given(text=any_text)
def test_decode_undoes_encode(text):
    vocabulary = Vocabulary.from_text(text)
    indices = vocabulary.encode(text)
    assert indices.dtype == np.int64 and indices.shape == (len(text),)
    assert vocabulary.decode(indices) == text


@given(known=any_text, other=any_text)
def test_every_text_can_be_encoded_and_only_strangers_become_unknown(known, other):
    vocabulary = Vocabulary.from_text(known)
    assert vocabulary.decode(vocabulary.encode(other)) == "".join(c if c in known else UNKNOWN for c in other)


@given(text=any_text)
def test_a_vocabulary_survives_json_and_its_order_is_kept(text):
    vocabulary = Vocabulary.from_text(text)
    again = Vocabulary.from_list(json.loads(json.dumps(vocabulary.to_list())))
    assert again == vocabulary and hash(again) == hash(vocabulary)
    np.testing.assert_array_equal(again.encode(text), vocabulary.encode(text))


@given(characters=st.permutations(["b", UNKNOWN, "a", "\U0001f600", "z"]))
def test_a_list_in_any_order_keeps_its_indices(characters):
    vocabulary = Vocabulary.from_list(characters)
    assert vocabulary.encode("".join(characters)).tolist() == list(range(5))
    assert vocabulary.encode("?").tolist() == [characters.index(UNKNOWN)]


def test_characters_are_sorted_behind_the_unknown_one():
    assert Vocabulary.from_text("cabbage\U0001f600").to_list() == [UNKNOWN, *"abceg", "\U0001f600"]


def test_rare_characters_become_unknown():
    vocabulary = Vocabulary.from_text("aaabbc", minimum_count=2)
    assert len(vocabulary) == 3 and "b" in vocabulary and "c" not in vocabulary
    assert vocabulary.decode(vocabulary.encode("abc")) == "ab" + UNKNOWN


def test_a_text_with_the_unknown_character_has_it_once():
    assert Vocabulary.from_text(f"a{UNKNOWN}").to_list() == [UNKNOWN, "a"]


def test_vocabularies_differ_by_their_characters():
    assert Vocabulary.from_text("ab") != Vocabulary.from_text("ac")
    assert Vocabulary.from_text("ab") != ["\ufffd", "a", "b"]


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ("ab\ufffd", "must be a list"),
        (None, "must be a list"),
        ({"a": 0}, "must be a list"),
        ([UNKNOWN, "ab"], "entry 1 of a vocabulary is 'ab'"),
        ([UNKNOWN, ""], "entry 1"),
        ([UNKNOWN, 7], "entry 1 of a vocabulary is 7"),
        ([UNKNOWN, ["a"]], "entry 1"),
        ([UNKNOWN, "a", "b", "a"], "'a' more than once"),
        (["a"], "lacks"),
        ([], "lacks"),
    ],
)
def test_a_damaged_list_is_refused(entries, says):
    with pytest.raises(DataError, match=says):
        Vocabulary.from_list(entries)


@pytest.mark.parametrize(
    ("indices", "says"),
    [([0, 3], "0 to 2"), ([-1], "from -1"), ([0.5], "float64"), ([[0, 1]], "shape"), (1, "shape")],
)
def test_decode_refuses_what_is_no_sequence_of_its_indices(indices, says):
    with pytest.raises(DataError, match=says):
        Vocabulary.from_text("ab").decode(indices)


def test_nothing_decodes_to_nothing():
    assert Vocabulary.from_text("ab").decode([]) == ""


def test_minimum_count_must_be_positive():
    with pytest.raises(ArgumentError, match="at least 1"):
        Vocabulary.from_text("ab", minimum_count=0)
