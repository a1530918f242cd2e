"""ResidualCell: a shortcut around one layer of a recurrent stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..nn.module import Module
from ..nn.residual import join
from ..tape import paused
from .state import detached, leaves_of, like_state


class ResidualCell(Module):
    """Add a cell's input to its output at every step: y = shortcut(x) + h. [Wu et al. 2016, sec. 3.1]

    The recurrence inside is unchanged: the shortcut runs between the layers of a stack, not through time.
    The state is (y, *the cell's own state), whose first part is the output, and is read by nobody at the next step.

    cell: any cell whose output has the shape of its input; or of the shortcut's result.
    shortcut: None for x as it is; a Module or a function where the sizes differ, such as an `nn.Linear`.

    Raises ShapeError where shortcut and output cannot be joined.

    >>> import tinygrad_rnn as tg
    >>> stack = tg.rnn.StackedCell(
    ...     [tg.rnn.LSTMCell(2, 4, rng=0), *[tg.rnn.ResidualCell(tg.rnn.LSTMCell(4, 4, rng=i)) for i in range(1, 4)]]
    ... )
    >>> ys, state = tg.rnn.scan(stack, tg.ones((6, 3, 2)))
    >>> ys.shape
    (6, 3, 4)
    """

    def __init__(self, cell: Any, shortcut: Callable[[Any], Any] | None = None) -> None:
        self.cell, self.shortcut = cell, shortcut
        self.input_size = getattr(cell, "input_size", None)
        with paused():  # once, here: asking a cell with dropout inside draws numbers
            self._form = detached(cell.initial_state(1))

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """The cell's initial output, and its initial state."""
        leaves = leaves_of(self.cell.initial_state(batch))
        return (leaves[0], *leaves)

    def forward(self, x: Any, state: Any) -> tuple[Any, ...]:
        """x (B, I), state (y, *state of the cell) → the same."""
        after = leaves_of(self.cell(x, like_state(self._form, leaves_of(state)[1:])))
        kept = x if self.shortcut is None else self.shortcut(x)
        return (join("ResidualCell", kept, after[0]), *after)
