"""Noise for recurrent cells while they train: zoneout, and dropout with one mask for a whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..nn.dropout import check_probability
from ..nn.init import as_generator
from ..nn.module import Module, Seed
from ..tape import paused, user_line
from ..tensor import Tensor, asarray
from .state import detached, leaves_of, like_state


class ZoneoutCell(Module):
    """While training, let each unit keep its previous value with probability p. [Krueger et al. 2017]

        s' = m · s + (1 - m) · cell(x, s),   m = 1 with probability p, anew for every entry and step

    In evaluation, m is replaced with its mean p. Where dropout forgets, zoneout remembers: the gradient
    of a kept unit passes a step unchanged.

    cell: any cell.
    p: from 0 to 1; one for all parts of the state, or one for each, such as (0.05, 0.5) for h and c of an LSTM.
    rng: a generator or an integer seed; see `nn.Dropout`.

    Raises ArgumentError for a p outside [0, 1], and for another number of them than the state has parts.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.ZoneoutCell(tg.rnn.LSTMCell(2, 3, rng=0), p=(0.05, 0.5), rng=1)
    >>> ys, (h, c) = tg.rnn.scan(cell, tg.ones((4, 5, 2)))
    >>> ys.shape, c.shape
    ((4, 5, 3), (5, 3))
    """

    drops = True  # nn.monte_carlo may leave it on

    def __init__(self, cell: Any, p: float | Sequence[float] = 0.1, *, rng: Seed = None) -> None:
        listed = list(p) if isinstance(p, (tuple, list)) else [p]
        what = "ZoneoutCell p is the probability of keeping a unit's value,"
        listed = [check_probability(what, each) for each in listed]
        self.cell = cell
        self.p = tuple(listed) if isinstance(p, (tuple, list)) else listed[0]
        self.rng = as_generator(rng)
        self.input_size = getattr(cell, "input_size", None)

    def initial_state(self, batch: int) -> Any:
        """The cell's own."""
        return self.cell.initial_state(batch)

    def forward(self, x: Any, state: Any) -> Any:
        """x (B, I), state → state, of the cell's form."""
        after = self.cell(x, state)
        new, old = leaves_of(after), leaves_of(state)
        chances: Any = self.p if isinstance(self.p, tuple) else (self.p,) * len(new)
        if len(chances) != len(new):
            raise ArgumentError(
                f"ZoneoutCell got {len(chances)} probabilities, and the state of {type(self.cell).__name__} has "
                f"{len(new)} parts        at {user_line()}"
            )
        return like_state(after, map(self._kept, new, old, chances))

    def _kept(self, new: Tensor, old: Tensor, p: float) -> Tensor:
        if p == 0:
            return new
        if not self.training:
            return old * p + new * (1 - p)
        mask = asarray(self.rng.random(new.shape) < p, backend=new.backend)
        return ops.where(mask, old, new)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class VariationalDropoutCell(Module):
    """Dropout of a cell's previous output, with one mask for all steps of a sequence. [Gal & Ghahramani 2016, eq. 7]

    The cell reads ``m · h / (1 - p)`` in place of h. The mask m is drawn by ``initial_state`` and travels in the
    state, as its last part, so that every rule for gradients sees a function without hidden randomness. For the
    inputs of the sequence use `nn.VariationalDropout`.

    cell: any cell.  p: from 0 to 1.  rng: a generator or an integer seed; see `nn.Dropout`.
    The state is (*the cell's own state, the mask). A state that is carried from one stretch of a text to the next
    carries its mask too. In evaluation the mask in the state is not used.
    Raises ArgumentError for p outside [0, 1].

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.VariationalDropoutCell(tg.rnn.ElmanCell(2, 4, rng=0), 0.5, rng=0)
    >>> cell.initial_state(1)[-1].tolist()
    [[2.0, 0.0, 0.0, 0.0]]
    """

    drops = True

    def __init__(self, cell: Any, p: float = 0.5, *, rng: Seed = None) -> None:
        self.cell = cell
        self.p = check_probability("VariationalDropoutCell p is the probability of dropping a unit,", p)
        self.rng = as_generator(rng)
        self.input_size = getattr(cell, "input_size", None)
        with paused():
            self._form = detached(cell.initial_state(1))

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """The cell's initial state, and a new mask."""
        leaves = leaves_of(self.cell.initial_state(batch))
        h = leaves[0]
        kept = self.rng.random(h.shape) >= self.p if self.training else np.ones(h.shape, bool)
        scale = 1 / (1 - self.p) if self.training and self.p < 1 else float(not self.training)
        return (*leaves, asarray((kept * scale).astype(h.dtype), backend=h.backend))

    def forward(self, x: Any, state: Any) -> tuple[Any, ...]:
        """x (B, I), state (*state of the cell, mask) → the same."""
        *leaves, mask = leaves_of(state)
        if self.training:
            leaves[0] = leaves[0] * mask
        return (*leaves_of(self.cell(x, like_state(self._form, leaves))), mask)

    def extra_repr(self) -> str:
        return f"p={self.p}"
