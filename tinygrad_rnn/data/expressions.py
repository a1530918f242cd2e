"""Random arithmetic expressions as trees, with the value of every node."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..random import Seed, as_generator
from .arguments import count

__all__ = ["EXPRESSION_SYMBOLS", "Expression", "expressions"]

OPERATORS = "+-*"
EXPRESSION_SYMBOLS = "0123456789" + OPERATORS


class Expression(NamedTuple):
    """A digit, or an operator with two expressions below it.

    symbol: one of `EXPRESSION_SYMBOLS`.  children: none or two.  value: what the expression comes to.

    >>> three, five = Expression("3", (), 3), Expression("5", (), 5)
    >>> inner = Expression("-", (three, five), -2)
    >>> str(inner), str(Expression("*", (inner, three), -6)), inner.height
    ('3-5', '(3-5)*3', 1)
    """

    symbol: str
    children: tuple[Expression, ...]
    value: int

    @property
    def height(self) -> int:
        """Operations from the root down to the deepest digit."""
        return 1 + max((child.height for child in self.children), default=-1)

    def __str__(self) -> str:
        if not self.children:
            return self.symbol
        return self.symbol.join(str(child) if not child.children else f"({child})" for child in self.children)


def expressions(
    number: int, *, operations: int = 6, largest: int = 20, operators: str = OPERATORS, seed: Seed = 0
) -> list[Expression]:
    """Random expressions over digits, all of whose parts lie from ``-largest`` to ``largest``.

    Each has from one operation to `operations`, equally likely; how they divide between the two sides is drawn too, so
    there are chains and bushes. What comes to a larger value is drawn anew.

    Parameters
    ----------
    number : int
        How many.
    operations : int
        The most operations of one expression.
    largest : int
        The largest absolute value of a node; at least 9.
    operators : str
        Those that may occur, out of ``+-*``.
    seed : int, numpy.random.Generator or None
        The same number gives the same expressions.

    Raises
    ------
    ArgumentError
        If a count is too small, or `operators` are none or others.

    Examples
    --------
    >>> for expression in expressions(3, seed=0):
    ...     print(expression, "=", expression.value)
    ((0-((0+5)-2))+4)*(0+1) = 1
    ((2*6)-3)-(3*6) = -9
    (9*((3-6)+2))-5 = -14
    """
    draw = as_generator(seed)
    count("number", number), count("operations", operations), count("largest", largest, least=9)
    if not operators or not set(operators) <= set(OPERATORS):
        raise ArgumentError(f"operators are some of {OPERATORS!r}; got {operators!r}")
    sizes = draw.integers(1, operations + 1, number)
    return [_drawn(int(size), largest, operators, draw) for size in sizes]


def _drawn(size: int, largest: int, operators: str, draw: np.random.Generator) -> Expression:
    if size == 0:
        digit = int(draw.integers(10))
        return Expression(str(digit), (), digit)
    while True:
        left = int(draw.integers(size))
        below = (_drawn(left, largest, operators, draw), _drawn(size - 1 - left, largest, operators, draw))
        symbol = operators[int(draw.integers(len(operators)))]
        a, b = below[0].value, below[1].value
        value = a + b if symbol == "+" else a - b if symbol == "-" else a * b
        if abs(value) <= largest:
            return Expression(symbol, below, value)
