"""scan: the only loop over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..nn.module import Module
from ..tape import is_library_file, noting_user, scope, user_line
from ..tensor import Tensor, asarray
from ..transforms import checkpoint as recompute
from .state import check_lengths, check_sequence, leaves_of, like_state


def scan(
    cell: Callable[[Any, Any], Any],
    xs: Any,
    state: Any = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> tuple[Tensor, Any]:
    """Run a cell over a sequence; its records carry the time step.

    cell: ``cell(x, state) -> state``, with ``initial_state(batch)`` unless `state` is given. A state is a Tensor or a
        tuple of Tensors whose first is the output.
    xs: (T, B, ...).  state: the state before the first step; default: the cell's initial state.
    lengths: (B,) integers in 1..T; past its length a lane's output is zero and its state stays as it was.
    reverse: run from T - 1 down to 0 (with `lengths`, from each lane's own end).
    checkpoint: keep the state of every so many steps, and run the steps between again in the backward sweep: with √T,
        memory falls from T to about 2√T steps for one more forward. [Chen et al. 2016]
    Returns ys (T, B, ...), the outputs by time step, and the state after the last step.

    Raises ShapeError, DataError (T = 0 or B = 0) and ArgumentError (lengths out of range).

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.ElmanCell(2, 3, rng=0)
    >>> with tg.Tape() as tape:
    ...     ys, h = tg.rnn.scan(cell, tg.ones((4, 1, 2)))
    >>> ys.shape, h.shape, [record.step for record in tape if record.primitive.name == "tanh"]
    ((4, 1, 3), (1, 3), [0, 1, 2, 3])
    """
    xs = check_sequence(xs)
    steps, batch = xs.shape[:2]
    ends = check_lengths(lengths, steps, batch)
    if checkpoint is not None and (not isinstance(checkpoint, int) or isinstance(checkpoint, bool) or checkpoint < 1):
        raise ArgumentError(f"checkpoint is a number of steps, at least 1, or None; got {checkpoint!r}")
    with noting_user():
        if state is None:
            state = _initial_state(cell, batch)
        order = range(steps - 1, -1, -1) if reverse else range(steps)
        if checkpoint is None or checkpoint >= steps:
            outputs, state = _run(cell, ops.unstack(xs), order, state, ends)
        else:
            outputs, state = _run_in_segments(cell, xs, order, state, ends, checkpoint)
        return ops.stack(outputs[::-1] if reverse else outputs), state


def _initial_state(cell: Any, batch: int) -> Any:
    if not hasattr(cell, "initial_state"):
        raise ArgumentError(
            f"{type(cell).__name__} has no initial_state(batch), so scan needs the state: "
            f"scan(cell, xs, state)        at {user_line()}"
        )
    with noting_user(_is_library(cell)):
        return cell.initial_state(batch)


def _is_library(cell: Any) -> bool:
    """Whether the lines that a cell records are this library's own (a Module finds that out by itself)."""
    if isinstance(cell, Module):
        return type(cell)._runs_library_code
    code = getattr(cell, "__code__", None) or getattr(type(cell).__call__, "__code__", None)
    return code is not None and is_library_file(code.co_filename)


def _run(cell: Any, xs: Any, order: Iterable[int], state: Any, ends: Any) -> tuple[list[Tensor], Any]:
    """Run over the steps in `order`; `xs` gives the input of a step by its number."""
    outputs = []
    library = _is_library(cell)
    for t in order:
        with scope(step=t):
            with noting_user(library):
                after = cell(xs[t], state)
            past = None if ends is None else ends <= t
            if past is not None and past.any():
                after = like_state(after, map(_held(past), leaves_of(after), leaves_of(state)))
                output = leaves_of(after)[0]
                outputs.append(_held(past)(output, ops.zeros_like(output)))
            else:
                outputs.append(leaves_of(after)[0])
        state = after
    return outputs, state


def _held(past: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """Make a function that takes the new values where a lane runs, and the old ones where it is past its end."""

    def choose(new: Tensor, old: Tensor) -> Tensor:
        if new.shape[:1] != past.shape:
            raise ShapeError(f"with lengths, a state's first axis is the batch, {past.size}; got {new.shape}")
        mask = asarray(np.reshape(past, (-1, *[1] * (new.ndim - 1))), backend=new.backend)
        return ops.where(mask, old, new)

    return choose


def _run_in_segments(
    cell: Any, xs: Tensor, order: range, state: Any, ends: Any, length: int
) -> tuple[list[Tensor], Any]:
    """Run segments of `length` steps, each as one record that is run again in the backward sweep."""
    outputs: list[Tensor] = []
    for start in range(0, len(order), length):
        segment = order[start : start + length]
        first = min(segment)

        def run(part: Tensor, *leaves: Tensor, segment: range = segment, form: Any = state) -> tuple[Tensor, ...]:
            inputs = dict(zip(sorted(segment), ops.unstack(part)))
            found, after = _run(cell, inputs, segment, like_state(form, leaves), ends)
            return (ops.stack(found), *leaves_of(after))

        results = recompute(run)(xs[first : first + len(segment)], *leaves_of(state))
        outputs += ops.unstack(results[0])
        state = like_state(state, results[1:])
    return outputs, state
