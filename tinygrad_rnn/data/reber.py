"""Reber's grammar and the embedded one: strings of seven symbols, made by a walk through a small graph.

[Reber 1967, J. Verbal Learning and Verbal Behavior 6, 855; embedded: Cleeremans, Servan-Schreiber & McClelland 1989,
Neural Computation 1, 372, and Fahlman 1991.]
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ShapeError
from ..random import Seed, as_generator
from .arguments import count

__all__ = ["REBER_SYMBOLS", "reber_batch", "reber_right", "reber_strings", "reber_successors"]

REBER_SYMBOLS = "BTPSXVE"
# node: {symbol: next node}; both ways out of a node are equally likely
GRAPH: dict[int, dict[str, int]] = {
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 6},
    5: {"P": 4, "V": 6},
    6: {"E": 7},
    7: {},
}


def reber_strings(number: int, *, embedded: bool = False, seed: Seed = 0) -> list[str]:
    """Random strings of the grammar.

    With `embedded` a string of the grammar stands between two equal symbols, ``BT...TE`` or ``BP...PE``: whoever
    predicts the last but one has to remember the second over the whole string between.

    Parameters
    ----------
    number : int
        How many; at least 1. The same string may come again.
    embedded : bool
        Whether each is embedded.
    seed : int, numpy.random.Generator or None
        The same number gives the same strings.

    Raises
    ------
    ArgumentError
        If `number` is below 1.

    Examples
    --------
    >>> reber_strings(3, seed=0)
    ['BPVVE', 'BTSSSSSXSE', 'BPVVE']
    >>> reber_strings(2, embedded=True, seed=0)
    ['BPBPVPXTTTTVVEPE', 'BPBPVVEPE']
    """
    draw = as_generator(seed)
    return [_embedded(draw) if embedded else _walk(draw) for _ in range(count("number", number))]


def reber_successors(string: str, *, embedded: bool = False) -> list[str]:
    """The symbols that the grammar allows after each symbol of a string but the last.

    Parameters
    ----------
    string : str
        A whole string of the grammar.
    embedded : bool
        Whether it is embedded.

    Raises
    ------
    DataError
        If it is not a string of the grammar.

    Examples
    --------
    >>> reber_successors("BTXSE")
    ['TP', 'SX', 'XS', 'E']
    >>> reber_successors("BPBTXSEPE", embedded=True)
    ['TP', 'B', 'TP', 'SX', 'XS', 'E', 'P', 'E']
    """
    if embedded:
        if not (len(string) > 4 and string[0] == "B" and string[1] in "TP" and string[-2:] == string[1] + "E"):
            raise DataError(f'"{string}" is no string of the embedded Reber grammar, BT...TE or BP...PE.')
        return ["TP", "B", *reber_successors(string[2:-2]), string[1], "E"]
    node, found = 0, []
    for symbol in string:
        if symbol not in GRAPH[node]:
            raise DataError(f'"{string}" is no string of the Reber grammar.')
        node = GRAPH[node][symbol]
        found.append("".join(GRAPH[node]))
    if GRAPH[node]:
        raise DataError(f'"{string}" is only the beginning of a string of the Reber grammar.')
    return found[:-1]


def reber_batch(strings: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Strings as a batch for the prediction of the next symbol.

    Returns
    -------
    inputs : numpy.ndarray, shape (T, B, 7)
        One-hot, in the order of `REBER_SYMBOLS`; zeros after the end. T is the length of the longest, less 1.
    targets : numpy.ndarray, shape (T, B)
        The index of the next symbol; -1 after the end.
    lengths : numpy.ndarray, shape (B,)
        Of each string, less 1.

    Raises
    ------
    DataError
        If there is no string, one is shorter than two symbols, or one has other symbols.

    Examples
    --------
    >>> inputs, targets, lengths = reber_batch(["BTXSE", "BPVVE", "BTSXSE"])
    >>> inputs.shape, targets.T.tolist()[0], lengths.tolist()
    ((5, 3, 7), [1, 4, 3, 6, -1], [4, 4, 5])
    """
    if not strings or min(map(len, strings)) < 2 or not set("".join(strings)) <= set(REBER_SYMBOLS):
        raise DataError(f"expected strings of at least two of the symbols {REBER_SYMBOLS}. Take reber_strings.")
    lengths = np.array([len(string) - 1 for string in strings])
    symbols = np.full((lengths.max() + 1, len(strings)), -1)
    for lane, string in enumerate(strings):
        symbols[: len(string), lane] = [REBER_SYMBOLS.index(symbol) for symbol in string]
    targets = symbols[1:].copy()
    inputs = np.eye(len(REBER_SYMBOLS) + 1, dtype=np.float32)[symbols[:-1]][:, :, :-1]
    inputs[targets < 0] = 0
    return inputs, targets, lengths


def reber_right(scores: NDArray[np.floating], strings: Sequence[str], *, embedded: bool = False) -> NDArray[np.bool_]:
    """Which strings are predicted right at every step: each allowed symbol has a higher score than all others.

    [The criterion of Hochreiter & Schmidhuber 1997, experiment 1.]

    Parameters
    ----------
    scores : numpy.ndarray, shape (T, B, 7)
        Of the next symbols, for `reber_batch` of the strings.
    strings : sequence of str
        The B strings.
    embedded : bool
        Whether they are embedded.

    Returns
    -------
    numpy.ndarray, shape (B,)
        bool.

    Raises
    ------
    ShapeError
        If `scores` has another shape.
    DataError
        If a string is not of the grammar.

    Examples
    --------
    >>> inputs, targets, _ = reber_batch(["BTXSE"])
    >>> scores = np.zeros((4, 1, 7))
    >>> for t, allowed in enumerate(reber_successors("BTXSE")):
    ...     scores[t, 0, [REBER_SYMBOLS.index(symbol) for symbol in allowed]] = 1
    >>> reber_right(scores, ["BTXSE"]).tolist()
    [True]
    """
    shape = (max(map(len, strings), default=1) - 1, len(strings), len(REBER_SYMBOLS))
    if np.shape(scores) != shape:
        raise ShapeError(f"scores of these strings have the shape {shape}; got {np.shape(scores)}")
    right = np.ones(len(strings), bool)
    for lane, string in enumerate(strings):
        for row, allowed in zip(scores[:, lane], reber_successors(string, embedded=embedded)):
            legal = np.array([symbol in allowed for symbol in REBER_SYMBOLS])
            right[lane] &= bool(row[legal].min() > row[~legal].max())
    return right


def _walk(draw: np.random.Generator) -> str:
    node, string = 0, ""
    while GRAPH[node]:
        ways = list(GRAPH[node].items())
        symbol, node = ways[int(draw.integers(len(ways)))]
        string += symbol
    return string


def _embedded(draw: np.random.Generator) -> str:
    outer = "TP"[int(draw.integers(2))]
    return f"B{outer}{_walk(draw)}{outer}E"
