"""Python itself comes to the value of every node."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import EXPRESSION_SYMBOLS, expressions
from tinygrad_rnn.errors import ArgumentError


def nodes(expression):
    """The node and all below it."""
    yield expression
    for child in expression.children:
        yield from nodes(child)


@given(
    operations=st.integers(1, 8), largest=st.integers(9, 40), operators=st.sampled_from(["+", "-", "*", "+-", "+-*"]),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_every_node_is_worth_what_python_says_and_within_bounds(operations, largest, operators, seed):
    for expression in expressions(5, operations=operations, largest=largest, operators=operators, seed=seed):
        below = list(nodes(expression))
        inner = [node for node in below if node.children]
        assert 1 <= len(inner) <= operations and len(below) == 2 * len(inner) + 1
        for node in below:
            assert eval(str(node)) == node.value and abs(node.value) <= largest
            assert node.symbol in EXPRESSION_SYMBOLS and len(node.children) == (2 if node in inner else 0)
        assert {node.symbol for node in inner} <= set(operators)
        assert (expression.height == 1) == (len(inner) == 1)
        assert expression.height == 1 + max(child.height for child in expression.children)


def test_all_sizes_and_symbols_come():
    drawn = expressions(2_000, operations=4)
    sizes = [sum(bool(node.children) for node in nodes(each)) for each in drawn]
    for size in (1, 2, 3, 4):
        assert sizes.count(size) == pytest.approx(500, abs=100)  # 5 deviations of a binomial count
    assert {node.symbol for each in drawn for node in nodes(each)} == set(EXPRESSION_SYMBOLS)


def test_a_seed_fixes_the_expressions():
    assert expressions(20, seed=1) == expressions(20, seed=1) != expressions(20, seed=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 0}, "number is 0"),
        ({"operations": 0}, "operations is 0"),
        ({"largest": 8}, "largest is 8; it must be at least 9"),
        ({"operators": ""}, "operators are some of"),
        ({"operators": "+/"}, "operators are some of"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        expressions(**{"number": 1, **options})
