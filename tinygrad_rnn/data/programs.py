"""Short Python programs that print one integer, and curricula of them.

[Zaremba & Sutskever 2014, "Learning to execute", arXiv:1410.4615, sections 3 and 4.] Programs add, subtract, multiply
by a small number, assign, choose and loop; loops do not nest, so one pass with little memory is enough to run them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DataError
from ..random import Seed, as_generator
from .arguments import count, real
from .vocabulary import UNKNOWN, Vocabulary

__all__ = ["CURRICULA", "Program", "curriculum", "program", "program_batch", "program_vocabulary", "scrambled"]

CURRICULA = ("baseline", "naive", "mix", "combined")
NAMES = "abcdefghij"  # of variables
CHARACTERS = "\n ()*+-.0123456789:<=>abcdefghijlnoprstux"
BEGIN = "\n"  # what the answer follows
SHARE_OF_MIX = 0.2  # in "combined", as in the authors' program


class Program(NamedTuple):
    """A program, and what it prints, with a full stop at the end."""

    text: str
    answer: str


class Operand(NamedTuple):
    """An expression, and its value."""

    text: str
    value: int


class Writer:
    """A program in the making: its lines, and expressions that wait to be used."""

    def __init__(self, length: int, draw: np.random.Generator) -> None:
        self.length, self.draw = length, draw
        self.lines: list[str] = []
        self.stack: list[Operand] = []
        self.unused = [NAMES[i] for i in draw.permutation(len(NAMES))]

    def heads(self) -> bool:
        return bool(self.draw.integers(2))

    def small(self) -> int:
        return int(self.draw.integers(1, 4 * self.length + 1))

    def operands(self, number: int) -> list[Operand]:
        """What waits, and numbers for the rest, in random order."""
        taken = [self.stack.pop() for _ in range(min(number, len(self.stack)))]
        for value in self.draw.integers(1, 10**self.length, number - len(taken)):
            taken.append(Operand(str(value), int(value)))
        return [taken[i] for i in self.draw.permutation(number)]

    def assign(self, operand: Operand) -> str:
        name = self.unused.pop()
        self.lines.append(f"{name}={operand.text}")
        return name


def program(length: int, nesting: int, *, seed: Seed = 0) -> Program:
    """A random program.

    Parameters
    ----------
    length : int
        Digits of its numbers, at most; from 1 to 9. Factors and loops go up to 4 · length.
    nesting : int
        How many operations are combined; from 1 to 9.
    seed : int, numpy.random.Generator or None
        The same number gives the same program.

    Raises
    ------
    ArgumentError
        If `length` or `nesting` is out of range.

    Examples
    --------
    >>> text, answer = program(2, 2, seed=9)
    >>> print(text)
    b=92
    for x in range(6):b+=91
    print((3-b))
    >>> answer
    '-635.'
    """
    for name, value in (("length", length), ("nesting", nesting)):
        if count(name, value) > 9:
            raise ArgumentError(f"{name} is {value}; it can be 9 at most.")
    writer = Writer(length, as_generator(seed))
    for _ in range(nesting):
        operation = OPERATIONS[int(writer.draw.integers(len(OPERATIONS)))]
        writer.stack.append(operation(writer))
    result = writer.stack.pop()
    return Program("\n".join([*writer.lines, f"print({result.text})"]), f"{result.value}.")


def curriculum(kind: str, length: int, nesting: int, progress: float, *, seed: Seed = None) -> tuple[int, int]:
    """The length and nesting of the next training program, on the way to `length` and `nesting`.

    ::

        baseline   length, nesting
        naive      (1, 1), (2, 1), ... (length, 1), (1, 2), ... (length, nesting), one after the other
        mix        both drawn at random, from 1 on
        combined   one time in five that of mix, else that of naive

    The paper goes to the next stage of "naive" when learning stalls; here every stage takes an equal share of the
    training, so that all curricula take equally long.

    Parameters
    ----------
    kind : str
        One of `CURRICULA`.
    length, nesting : int
        The goal.
    progress : float
        The share of the training that is done, from 0 to 1.
    seed : int, numpy.random.Generator or None
        What the draws of mix and combined come from.

    Raises
    ------
    ArgumentError
        If `kind` is another one, a goal is below 1, or `progress` outside 0 to 1.

    Examples
    --------
    >>> [curriculum("naive", 2, 2, done) for done in (0, 0.3, 0.6, 1)]
    [(1, 1), (2, 1), (1, 2), (2, 2)]
    """
    if kind not in CURRICULA:
        raise ArgumentError(f"a curriculum is one of {', '.join(CURRICULA)}; got {kind!r}")
    count("length", length), count("nesting", nesting)
    if not 0 <= real("progress", progress) <= 1:
        raise ArgumentError(f"progress is {progress:g}; it goes from 0 to 1.")
    draw = as_generator(seed)
    if kind == "mix" or (kind == "combined" and draw.random() < SHARE_OF_MIX):
        return int(draw.integers(1, length + 1)), int(draw.integers(1, nesting + 1))
    if kind == "baseline":
        return length, nesting
    stage = min(int(progress * length * nesting), length * nesting - 1)
    return stage % length + 1, stage // length + 1


def scrambled(given: Program, *, seed: Seed = None) -> Program:
    """The same program with its characters in random order, and the same answer: nothing is left to execute.

    What a network still gets right of the answers it owes to their frequencies, not to reading.

    Examples
    --------
    >>> sorted(scrambled(Program("print((3+4))", "7."), seed=0).text) == sorted("print((3+4))")
    True
    """
    order = as_generator(seed).permutation(len(given.text))
    return Program("".join(given.text[i] for i in order), given.answer)


def program_vocabulary() -> Vocabulary:
    """The vocabulary of the characters of programs and answers."""
    return Vocabulary([UNKNOWN, *CHARACTERS])


def program_batch(programs: Sequence[Program], vocabulary: Vocabulary) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Programs, each followed by a newline and its answer, as a batch; programs stand at the end, so answers align.

    Parameters
    ----------
    programs : sequence of Program
        At least one.
    vocabulary : Vocabulary
        Such as `program_vocabulary`.

    Returns
    -------
    inputs : numpy.ndarray, shape (T, B)
        Newlines, the program, a newline, and the answer without its last character, and newlines again.
    targets : numpy.ndarray, shape (T, B)
        The next character where it belongs to the answer, else -1.

    Raises
    ------
    DataError
        If there is no program.

    Examples
    --------
    >>> inputs, targets = program_batch([Program("print((3+4))", "7.")], vocabulary := program_vocabulary())
    >>> vocabulary.decode(inputs[:, 0]), targets[:, 0].tolist()[-3:] == [-1, *vocabulary.encode("7.").tolist()]
    ('print((3+4))\\n7', True)
    """
    if not programs:
        raise DataError("expected at least one program")
    before = max(len(each.text) for each in programs) + len(BEGIN)
    after = max(len(each.answer) for each in programs)
    inputs = np.full((before + after - 1, len(programs)), vocabulary.encode(BEGIN)[0])
    targets = np.full_like(inputs, -1)
    for lane, each in enumerate(programs):
        answer = vocabulary.encode(each.answer)
        inputs[before - len(BEGIN) - len(each.text) : before, lane] = vocabulary.encode(each.text + BEGIN)
        inputs[before : before + len(answer) - 1, lane] = answer[:-1]
        targets[before - 1 : before - 1 + len(answer), lane] = answer
    return inputs, targets


# ---- the operations


def _add(writer: Writer) -> Operand:
    a, b = writer.operands(2)
    return _sum(writer, a, b)


def _multiply(writer: Writer) -> Operand:
    (a,) = writer.operands(1)
    factor = writer.small()
    text = f"({a.text}*{factor})" if writer.heads() else f"({factor}*{a.text})"
    return Operand(text, a.value * factor)


def _assign(writer: Writer) -> Operand:
    a, b = writer.operands(2)
    return _sum(writer, Operand(writer.assign(a), a.value), b)


def _choose(writer: Writer) -> Operand:
    a, b, c, d = writer.operands(4)
    sign = "<" if writer.heads() else ">"
    holds = a.value < b.value if sign == "<" else a.value > b.value
    return Operand(f"({c.text} if {a.text}{sign}{b.text} else {d.text})", c.value if holds else d.value)


def _loop(writer: Writer) -> Operand:
    a, b = writer.operands(2)
    name, times, plus = writer.assign(a), writer.small(), writer.heads()
    writer.lines.append(f"for x in range({times}):{name}{'+' if plus else '-'}={b.text}")
    return Operand(name, a.value + (times if plus else -times) * b.value)


def _sum(writer: Writer, a: Operand, b: Operand) -> Operand:
    if writer.heads():
        return Operand(f"({a.text}+{b.text})", a.value + b.value)
    return Operand(f"({a.text}-{b.text})", a.value - b.value)


OPERATIONS: tuple[Callable[[Writer], Operand], ...] = (_add, _multiply, _assign, _choose, _loop)
