"""StackedCell: one cell made of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from ..nn.module import Module
from ..tape import paused
from .state import detached, leaves_of, like_state


class StackedCell(Module):
    """Cells on top of each other, as one cell: the output of each is the input of the next.

    cells: from the bottom up.  The state is a flat tuple: that of the topmost cell first, so that its output is the
    stack's output, that of the lowest last.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.StackedCell([tg.rnn.ElmanCell(2, 3, rng=0), tg.rnn.LSTMCell(3, 4, rng=1)])
    >>> [part.shape for part in cell(tg.ones((5, 2)), cell.initial_state(5))]
    [(5, 4), (5, 4), (5, 3)]
    """

    def __init__(self, cells: Sequence[Any]) -> None:
        if not cells:
            raise ArgumentError("StackedCell needs at least one cell")
        self.cells = list(cells)
        self.input_size = getattr(self.cells[0], "input_size", None)
        with paused():  # a state of each, for its form; once, here: asking a cell with dropout inside draws numbers
            self._forms = [detached(cell.initial_state(1)) for cell in self.cells]

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """The initial states of all cells, the topmost first, flat."""
        return tuple(leaf for cell in reversed(self.cells) for leaf in leaves_of(cell.initial_state(batch)))

    def forward(self, x: Any, state: Any) -> tuple[Any, ...]:
        """x (B, I), flat state → flat state."""
        forms = self._forms
        counts = [len(leaves_of(form)) for form in forms]
        leaves = leaves_of(state)
        if len(leaves) != sum(counts):
            raise ArgumentError(f"the state of this stack has {sum(counts)} parts; got {len(leaves)}")
        after: list[Any] = []
        end = len(leaves)
        for cell, form, count in zip(self.cells, forms, counts):
            found = leaves_of(cell(x, like_state(form, leaves[end - count : end])))
            end -= count
            after = found + after
            x = found[0]
        return tuple(after)
