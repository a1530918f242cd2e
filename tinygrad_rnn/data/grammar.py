"""A seeded grammar of correct arithmetic: a corpus that every machine generates alike."""

import random
from collections.abc import Callable

from ..errors import ArgumentError
from .corpus import MINIMUM_CHARACTERS, Text, make_text

DEPTH = 3  # at most this many operations nested in one another


def arithmetic(characters: int = 200_000, seed: int = 0) -> Text:
    """Lines of correct arithmetic, such as ``(3+4)*2=14;``.

    The grammar, where every nested operation stands in parentheses, so that no precedence is needed::

        line      = operation "=" value ";" newline
        operation = term ("+" | "-" | "*") term
        term      = digit | "(" operation ")"

    It is regular enough to be learnt in seconds, and its answers need some memory of the line: a task for tests,
    and the text to train on where there is no other.

    Parameters
    ----------
    characters : int
        Upper bound of the length; the text ends with the last whole line that fits.
    seed : int
        Equal seeds give equal text with every version of Python and NumPy.

    Raises
    ------
    ArgumentError
        If `characters` leaves too little for a training and a validation part.

    Examples
    --------
    >>> text = arithmetic(2_000, seed=0)
    >>> text.train.splitlines()[:3]
    ['7-2=5;', '7-4=3;', '5+(6*(9*9))=491;']
    >>> 1_900 < text.characters <= 2_000
    True
    """
    if characters < 2 * MINIMUM_CHARACTERS:
        raise ArgumentError(f"characters is {characters}; arithmetic needs at least {2 * MINIMUM_CHARACTERS:,}.")
    # Only random() itself is promised to stay the same in later versions of Python; choice and randrange are not.
    draw = random.Random(seed).random
    lines: list[str] = []
    left = characters
    while True:
        expression, value = _operation(draw, DEPTH)
        line = f"{expression}={value};\n"
        if len(line) > left:
            break
        lines.append(line)
        left -= len(line)
    return make_text([("arithmetic", "".join(lines))], name=f"arithmetic grammar, seed {seed}")


def _operation(draw: Callable[[], float], depth: int) -> tuple[str, int]:
    """An operation on two terms, as text and as value."""
    left, a = _term(draw, depth - 1)
    right, b = _term(draw, depth - 1)
    operator = "+-*"[int(3 * draw())]
    value = a + b if operator == "+" else a - b if operator == "-" else a * b
    return f"{left}{operator}{right}", value


def _term(draw: Callable[[], float], depth: int) -> tuple[str, int]:
    """A digit, or with probability 0.3, where the depth allows it, an operation in parentheses."""
    if depth > 0 and draw() < 0.3:
        expression, value = _operation(draw, depth)
        return f"({expression})", value
    digit = int(10 * draw())
    return str(digit), digit
