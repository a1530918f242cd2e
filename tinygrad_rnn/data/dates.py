"""Pairs to translate: numbers in words and in digits, dates as people write them and in ISO 8601.

The lengths of source and target differ from pair to pair and from each other, and in a date the order changes too,
so that no network that writes one symbol for each that it reads can do it.
"""

import datetime
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..random import Seed, as_generator
from .arguments import count

__all__ = ["Pair", "date_forms", "date_pairs", "number_pairs", "spelled"]

SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LARGEST = 999_999  # of the numbers that can be spelled
FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)


class Pair(NamedTuple):
    """A text, and its translation."""

    source: str
    target: str


def spelled(number: int) -> str:
    """A number in English words.

    Parameters
    ----------
    number : int
        From 0 to 999,999.

    Raises
    ------
    ArgumentError
        If it is outside.

    Examples
    --------
    >>> spelled(0), spelled(21), spelled(3_407)
    ('zero', 'twenty one', 'three thousand four hundred and seven')
    >>> spelled(120_016)
    'one hundred and twenty thousand and sixteen'
    """
    if count("number", number, least=0) > LARGEST:
        raise ArgumentError(f"number is {number}; it can be {LARGEST:,} at most.")
    thousands, below = divmod(number, 1000)
    words = [*_hundreds(thousands), "thousand"] if thousands else []
    if below or not words:
        words += ["and"] * bool(words and below < 100) + _hundreds(below)
    return " ".join(words)


def number_pairs(number: int, *, largest: int = LARGEST, seed: Seed = 0) -> list[Pair]:
    """Numbers in words, and in digits; as many short ones as long ones.

    Parameters
    ----------
    number : int
        How many pairs.
    largest : int
        The largest number, from 9 to 999,999. The count of digits is drawn first, then a number that has as many.
    seed : int, numpy.random.Generator or None
        The same number gives the same pairs.

    Raises
    ------
    ArgumentError
        If `number` is below 1, or `largest` out of range.

    Examples
    --------
    >>> for pair in number_pairs(3, seed=1):
    ...     print(pair.source, "=", pair.target)
    nine hundred and fifty five = 955
    one thousand three hundred and thirteen = 1313
    twenty two thousand nine hundred and seventy four = 22974
    """
    draw = as_generator(seed)
    if not 9 <= count("largest", largest) <= LARGEST:
        raise ArgumentError(f"largest is {largest}; it goes from 9 to {LARGEST:,}.")
    digits = draw.integers(1, len(str(largest)) + 1, count("number", number))
    least = np.where(digits == 1, 0, 10 ** (digits - 1))
    drawn = draw.integers(least, np.minimum(10**digits, largest + 1))
    return [Pair(spelled(int(one)), str(one)) for one in drawn]


def date_pairs(number: int, *, seed: Seed = 0) -> list[Pair]:
    """Dates from 1900 to 2099 in one of the forms of `date_forms`, drawn at random, and in ISO 8601.

    Parameters
    ----------
    number : int
        How many pairs.
    seed : int, numpy.random.Generator or None
        The same number gives the same pairs.

    Raises
    ------
    ArgumentError
        If `number` is below 1.

    Examples
    --------
    >>> for pair in date_pairs(3, seed=0):
    ...     print(pair.source, "=", pair.target)
    15 Feb 2070 = 2070-02-15
    24 May 2027 = 2027-05-24
    25 March 2002 = 2002-03-25
    """
    draw = as_generator(seed)
    days = draw.integers(FIRST.toordinal(), LAST.toordinal() + 1, count("number", number))
    pairs = []
    for day in days:
        date = datetime.date.fromordinal(int(day))
        forms = date_forms(date)
        pairs.append(Pair(forms[int(draw.integers(len(forms)))], date.isoformat()))
    return pairs


def date_forms(date: datetime.date) -> Sequence[str]:
    """The ways to write a date, in English; none depends on the computer's language.

    Examples
    --------
    >>> import datetime
    >>> for form in date_forms(datetime.date(1996, 2, 3)):
    ...     print(form)
    3 February 1996
    February 3, 1996
    3 Feb 1996
    Feb 3, 1996
    3.2.1996
    2/3/1996
    3rd of February 1996
    Saturday, February 3, 1996
    """
    day, month, year = date.day, MONTHS[date.month - 1], date.year
    return (
        f"{day} {month} {year}",
        f"{month} {day}, {year}",
        f"{day} {month[:3]} {year}",
        f"{month[:3]} {day}, {year}",
        f"{day}.{date.month}.{year}",
        f"{date.month}/{day}/{year}",
        f"{day}{_suffix(day)} of {month} {year}",
        f"{WEEKDAYS[date.weekday()]}, {month} {day}, {year}",
    )


def _hundreds(number: int) -> list[str]:
    """A number below 1000."""
    hundreds, below = divmod(number, 100)
    words = [SMALL[hundreds], "hundred"] if hundreds else []
    if below or not words:
        words += ["and"] * bool(words)
        words += [SMALL[below]] if below < 20 else [TENS[below // 10 - 2], *([SMALL[below % 10]] if below % 10 else [])]
    return words


def _suffix(day: int) -> str:
    return "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
