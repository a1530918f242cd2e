"""A second reader, which knows the words' tone and counts denials, finds the label of every review."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import review_twins, reviews
from tinygrad_rnn.data.reviews import BAD, FILLERS, GOOD
from tinygrad_rnn.errors import ArgumentError

DENIALS = ("not", "never", "nobody")


def said(clause):
    """1 for praise, -1 for blame."""
    words = clause.split()
    (tone,) = [1 if word in GOOD else -1 for word in words if word in GOOD + BAD]
    return -tone if any(word in DENIALS for word in words) else tone


def clauses(text):
    """The two clauses of the only sentence that is an opinion, and what joins them."""
    (opinion,) = [part for part in text.removesuffix(" .").split(" . ") if part not in FILLERS]
    joint = "but" if " but " in opinion else "and"
    return opinion.split(f" {joint} "), joint


@given(st.integers(0, 2**32))
def test_and_joins_what_agrees_and_after_but_comes_the_verdict(seed):
    for text, positive in reviews(20, seed=seed):
        (first, second), joint = clauses(text)
        assert (said(second) > 0) == positive
        assert (said(first) == said(second)) == (joint == "and")


@given(st.integers(0, 2**32))
def test_twins_have_the_same_words_and_opposite_labels(seed):
    for praise, blame in review_twins(10, seed=seed):
        assert praise.positive and not blame.positive
        assert Counter(praise.text.split()) == Counter(blame.text.split())
        for text, positive in (praise, blame):
            (first, second), joint = clauses(text)
            assert joint == "and" and said(first) == said(second) == (1 if positive else -1)


def test_neither_a_tone_nor_a_denial_tells_the_label():
    drawn = reviews(20_000)
    assert sum(one.positive for one in drawn) == pytest.approx(10_000, abs=360)  # 5 deviations of a binomial count
    for words in (GOOD, BAD, DENIALS, ("but",), ("really",)):
        with_them = [one.positive for one in drawn if set(words) & set(one.text.split())]
        assert sum(with_them) / len(with_them) == pytest.approx(0.5, abs=2.5 / len(with_them) ** 0.5)


def test_both_tell_it_if_combined():
    drawn = [one for one in reviews(2_000) if not set(DENIALS) & set(one.text.split()) and " and " in one.text]
    assert all(one.positive == bool(set(GOOD) & set(one.text.split())) for one in drawn)


@pytest.mark.parametrize("make", [reviews, review_twins])
def test_a_seed_fixes_the_reviews_and_counts_are_checked(make):
    assert make(20, seed=1) == make(20, seed=1) != make(20, seed=2)
    with pytest.raises(ArgumentError, match="number is 0"):
        make(0)
