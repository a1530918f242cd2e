"""Spelled numbers are read back by a second program, and every form of a date by `datetime`."""

import datetime
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import date_forms, date_pairs, number_pairs, spelled
from tinygrad_rnn.errors import ArgumentError

UNITS = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
         "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
         "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
         "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}  # fmt: skip
FORMATS = ("%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d, %Y", "%d.%m.%Y", "%m/%d/%Y", "%d of %B %Y", "%A, %B %d, %Y")


def read(words):
    """From words to the number: hundreds multiply what came last, thousand multiplies all."""
    total = 0
    for word in words.split():
        if word == "hundred":
            total = total // 1000 * 1000 + total % 1000 * 100
        elif word == "thousand":
            total *= 1000
        elif word != "and":
            total += UNITS[word]
    return total


@given(st.integers(0, 999_999))
def test_a_spelled_number_reads_back(number):
    words = spelled(number)
    assert read(words) == number
    assert words.split()[0] != "and" != words.split()[-1]


def test_and_stands_before_the_last_part_below_a_hundred():
    assert spelled(105) == "one hundred and five"
    assert spelled(1_005) == "one thousand and five"
    assert spelled(1_500) == "one thousand five hundred"
    assert spelled(999_999) == "nine hundred and ninety nine thousand nine hundred and ninety nine"


@given(st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)))
def test_every_form_of_a_date_reads_back(date):
    forms = date_forms(date)
    assert len(set(forms)) >= len(forms) - 2  # May has no shorter name
    for form, layout in zip(forms, FORMATS, strict=True):
        plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", form)
        assert datetime.datetime.strptime(plain, layout).date() == date


@pytest.mark.parametrize(
    ("day", "ending"), [(1, "st"), (2, "nd"), (3, "rd"), (4, "th"), (11, "th"), (12, "th"), (13, "th"), (21, "st"),
                        (22, "nd"), (23, "rd"), (30, "th"), (31, "st")],
)  # fmt: skip
def test_days_end_as_they_are_said(day, ending):
    assert date_forms(datetime.date(2000, 1, day))[6].startswith(f"{day}{ending} of")


def test_date_pairs_are_pairs_in_every_form():
    pairs = date_pairs(2_000)
    assert all(source in date_forms(datetime.date.fromisoformat(target)) for source, target in pairs)
    seen = {date_forms(datetime.date.fromisoformat(target)).index(source) for source, target in pairs}
    assert seen == set(range(8))
    years = {target[:4] for _, target in pairs}
    assert min(years) < "1910" and max(years) > "2090"


@given(largest=st.integers(9, 999_999), seed=st.integers(0, 2**32))
def test_number_pairs_are_pairs_up_to_the_largest(largest, seed):
    for source, target in number_pairs(20, largest=largest, seed=seed):
        assert source == spelled(int(target)) and target == str(int(target)) and int(target) <= largest


def test_short_numbers_are_as_frequent_as_long_ones():
    lengths = [len(target) for _, target in number_pairs(6_000)]
    for digits in range(1, 7):
        assert lengths.count(digits) == pytest.approx(1_000, abs=150)  # 5 deviations of a binomial count


@pytest.mark.parametrize("make", [number_pairs, date_pairs])
def test_a_seed_fixes_the_pairs(make):
    assert make(50, seed=1) == make(50, seed=1) != make(50, seed=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spelled(-1), "number is -1; it must be at least 0"),
        (lambda: spelled(1_000_000), "999,999 at most"),
        (lambda: number_pairs(0), "number is 0"),
        (lambda: number_pairs(1, largest=8), "goes from 9 to 999,999"),
        (lambda: number_pairs(1, largest=1_000_000), "goes from 9 to 999,999"),
        (lambda: date_pairs(0), "number is 0"),
    ],
)
def test_arguments_out_of_range_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
