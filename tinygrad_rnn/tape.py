"""The tape: a list of records, and the two sweeps over it.

A tape knows arrays and slots (integers), not Tensors. Append order is topological order, so the
reverse sweep is one loop over the reversed list and the forward sweep is one loop over the list.
Nothing here recurses: a tape of a hundred thousand records is swept like one of ten.
"""

from __future__ import annotations

import functools
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import TapeError

if TYPE_CHECKING:
    from .primitive import Primitive

CONSTANT = -1  # the slot of an input that no gradient can reach
ONE = 1  # a local derivative that needs no multiplication


class Record(NamedTuple):
    """One operation on a tape: what was computed, from what, and where the user asked for it."""

    primitive: Primitive
    inputs: tuple[int, ...]  # slots; CONSTANT for what is not a Tensor
    output: Any  # a slot, or a tuple of slots
    values: tuple[Any, ...]  # the inputs as the forward saw them
    result: Any  # what the forward returned: an array, or a tuple of arrays
    residual: Any  # what a fused kernel keeps for its backward; None otherwise
    params: dict[str, Any]
    backend: Any
    scope: str
    step: int | None
    code: CodeType
    lasti: int  # the byte offset in `code`; the line number is looked up only when somebody asks

    @property
    def file(self) -> str:
        """File of the user's code that ran this operation."""
        return self.code.co_filename

    @property
    def line(self) -> int:
        """Line of the user's code that ran this operation."""
        for start, end, line in self.code.co_lines():
            if start <= self.lasti < end and line is not None:
                return line
        return self.code.co_firstlineno

    @property
    def where(self) -> str:
        """``file:line`` of the user's code that ran this operation."""
        return f"{self.file}:{self.line}"


# tuple.__new__ skips the Python-level __new__ of the NamedTuple: 0.1 µs instead of 0.35
make_record: Callable[..., Record] = tuple.__new__


class _ThreadState(threading.local):
    """What is active in this thread: the innermost tape, and the scope and step that records carry."""

    tape: Tape | None = None
    place: tuple[str, int | None] = ("", None)


state = _ThreadState()


class Tape:
    """Record operations on Tensors while the ``with`` block runs; differentiate afterwards.

    Outside a tape nothing is recorded. Tapes nest: what happens inside an inner block is recorded on
    the outer tape too, the inner tape's sweep included, which is how derivatives of any order arise.
    A tape records one block; enter a new one for the next computation. It keeps every array that
    its rules need until it is dropped; Tensors refer to it weakly.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0, 3.0])
    >>> with tg.Tape() as tape:
    ...     loss = tg.sum(x * x)
    >>> tape.gradient(loss, x)
    Tensor([2., 4., 6.], dtype=float32)
    >>> [record.primitive.name for record in tape]
    ['multiply', 'sum']
    """

    # gradient, jvp, backward and watch deal in Tensors and are installed by transforms.py
    gradient: Callable[..., Any]
    jvp: Callable[..., Any]
    backward: Callable[..., None]
    watch: Callable[..., Any]
    # pictures, pages and measurements are installed by inspect
    to_html: Callable[..., Path]
    to_svg: Callable[..., Path]
    to_dot: Callable[..., str]
    _repr_html_: Callable[..., str]
    profile: Callable[..., Any]
    memory: Callable[..., Any]

    __slots__ = (
        "__weakref__", "_entered", "append", "code", "leaves", "nested", "noted", "outer", "place", "records", "ref",
        "slots", "swept",
    )  # fmt: skip

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.append = self.records.append
        self.leaves: dict[int, tuple[int, Any]] = {}  # id(tensor) -> (slot, tensor)
        self.slots = 0
        self.outer: Tape | None = None
        self.nested = False  # recorded inside another tape: the values are Tensors of that tape
        self.place: tuple[str, int | None] = ("", None)  # scope and step of the next record
        self.noted: tuple[CodeType, int] | None = None
        self.code: CodeType | None = None  # the last code that was seen to be the user's
        self.ref = weakref.ref(self)
        self.swept: Mapping[int, Any] | None = None  # the seeds of the last backward sweep, which pictures show
        self._entered = False

    def __enter__(self) -> Tape:
        if self._entered:
            raise TapeError("a Tape records one `with` block, and this one was already entered. Make a new tg.Tape().")
        self._entered = True
        self.outer = state.tape
        self.nested = self.outer is not None
        self.place = state.place
        state.tape = self
        return self

    def __exit__(self, *exc: object) -> None:
        if state.tape is not self:
            raise TapeError("tapes must be left in the reverse order of entering them, in the thread that entered them")
        state.tape = self.outer
        self.outer = None

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    def __repr__(self) -> str:
        return f"Tape({len(self.records)} records, {len(self.leaves)} leaves)"

    def __str__(self) -> str:
        from .inspect.table import table

        return table(self)

    def sweep_backward(
        self, cotangents: Mapping[int, Any], wanted: Iterable[int], namespace: Any = None
    ) -> dict[int, Any]:
        """Pull cotangents back through the tape: the vector-Jacobian product of the whole program.

        cotangents: {slot: cotangent of that slot}, the seeds.  wanted: the slots to report.
        namespace: the array namespace for the rules; None takes each record's backend.
        Returns {slot: sum of what reached it} for the wanted slots that were reached.
        """
        self.swept = cotangents
        kept = set(wanted)
        needed = self._reachable_from(kept)
        totals: list[Any] = [None] * (self.slots + 1)
        for slot, cotangent in cotangents.items():
            totals[slot] = cotangent
        owned = bytearray(self.slots + 1)  # whether a slot's total is an array made here, and may be added to in place
        on_arrays = namespace is None

        def add(slot: int, value: Any, part: Any) -> None:
            """Add a cotangent to the total of a slot that holds `value`."""
            if owned[slot]:
                try:
                    totals[slot] += part
                except ValueError:  # it is larger than the total: its input was broadcast
                    totals[slot] += fit(xp, part, value)
                return
            if part.shape != value.shape or part.dtype is not value.dtype:
                part = fit(xp, part, value)
            total = totals[slot]
            if total is None:
                totals[slot] = part
            else:
                totals[slot] = total + part
                owned[slot] = on_arrays and value.ndim > 0  # 0-d sums are scalars, which += replaces, shape and all

        for record in reversed(self.records):
            output = record[2]
            if output.__class__ is int:
                cotangent = totals[output]
                if cotangent is None:
                    continue
                if output not in kept:
                    totals[output] = None
            else:
                cotangent = _taken(totals, output, needed, kept)
                if cotangent is None:
                    continue
            primitive = record[0]
            inputs = record[1]
            values = record[3]
            xp = namespace or record[7].xp
            local = primitive.local
            if local is None or record[6]:
                for slot, value, part in zip(inputs, values, primitive.pullback(xp, cotangent, record, needed)):
                    if part is None:
                        continue
                    if totals[slot] is None and part.shape == value.shape and part.dtype is value.dtype:
                        totals[slot] = part
                    else:
                        add(slot, value, part)
            elif len(local) == 1:
                (slot,) = inputs
                (a,) = values
                if needed[slot]:
                    add(slot, a, cotangent if local[0] is ONE else cotangent * local[0](xp, record[4], a))
            else:
                i, j = inputs
                a, b = values
                first, second = local
                if needed[i]:
                    add(i, a, cotangent if first is ONE else cotangent * first(xp, record[4], a, b))
                if needed[j]:
                    add(j, b, cotangent if second is ONE else cotangent * second(xp, record[4], a, b))
        return _reported(totals, kept)

    def sweep_forward(self, tangents: Mapping[int, Any], namespace: Any = None) -> dict[int, Any]:
        """Push tangents forward through the tape: the Jacobian-vector product of the whole program.

        tangents: {slot: tangent of that slot}, the seeds. Returns the tangent of every slot reached.
        """
        known = dict(tangents)
        for record in self.records:
            if not record.primitive.differentiable:
                continue
            parts = [known.get(slot) for slot in record.inputs]
            if all(part is None for part in parts):
                continue
            tangent = record.primitive.pushforward(namespace or record.backend.xp, parts, record)
            if record.output.__class__ is int:
                known[record.output] = tangent
            else:
                known.update((slot, part) for slot, part in zip(record.output, tangent) if part is not None)
        return known

    def _reachable_from(self, sources: Iterable[int]) -> bytearray:
        """Mark the slots that depend on the sources; slot CONSTANT is the last entry and stays 0."""
        live = bytearray(self.slots + 1)
        for slot in sources:
            live[slot] = 1
        for record in self.records:
            for slot in record[1]:
                if live[slot]:
                    if record[0].differentiable:
                        output = record[2]
                        if output.__class__ is int:
                            live[output] = 1
                        else:
                            for part in output:
                                live[part] = 1
                    break
        return live


def _reported(totals: list[Any], kept: set[int]) -> dict[int, Any]:
    return {slot: totals[slot] for slot in kept if totals[slot] is not None}


def _taken(totals: list[Any], outputs: tuple[int, ...], needed: bytearray, kept: set[int]) -> Any:
    """Take the cotangents of a record of several outputs out of the totals; None if none was reached."""
    cotangents = []
    reached = False
    for slot in outputs:
        part = totals[slot] if needed[slot] else None
        if part is not None:
            reached = True
        cotangents.append(part)
        if slot not in kept:
            totals[slot] = None
    return tuple(cotangents) if reached else None


def fit(xp: Any, g: Any, value: Any) -> Any:
    """Undo broadcasting and promotion: give a cotangent its input's shape and dtype."""
    shape = value.shape
    if g.shape != shape:
        extra = g.ndim - len(shape)
        if extra > 0:
            g = xp.sum(g, axis=tuple(range(extra)))
        stretched = tuple([i for i, (have, want) in enumerate(zip(g.shape, shape)) if want == 1 and have != 1])
        if stretched:
            g = xp.sum(g, axis=stretched, keepdims=True)
        if g.shape != shape:
            g = xp.broadcast_to(g, shape)
    return g if g.dtype == value.dtype else xp.astype(g, value.dtype)


@contextmanager
def paused() -> Iterator[None]:
    """Record nothing inside: no tape is active."""
    tape, state.tape = state.tape, None
    try:
        yield
    finally:
        state.tape = tape


@contextmanager
def outside(tape: Tape) -> Iterator[None]:
    """Run with `tape`, and every tape inside it, switched off; outer tapes keep recording."""
    before = state.tape
    layers = []
    layer = before
    while layer is not None:
        layers.append(layer)
        layer = layer.outer
    if tape in layers:
        state.tape = tape.outer
    try:
        yield
    finally:
        state.tape = before


class scope:  # noqa: N801 - reads as a word in `with scope("encoder"):`
    """Name a stretch of the program on the tape; scopes nest as ``outer/inner``.

    name: a word for the records made inside; None keeps the scope as it is.  step: their time step.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0])
    >>> with tg.Tape() as tape, tg.scope("encoder", step=3):
    ...     y = tg.exp(x)
    >>> tape[0].scope, tape[0].step
    ('encoder', 3)
    """

    __slots__ = ("_before", "_name", "_step")

    def __init__(self, name: str | None = None, *, step: int | None = None) -> None:
        self._name = name
        self._step = step

    def __enter__(self) -> None:
        around, step = self._before = state.place
        name = self._name
        if name is not None:
            around = f"{around}/{name}" if around else name
        if self._step is not None:
            step = self._step
        self._move(around, step)

    def __exit__(self, *exc: object) -> None:
        self._move(*self._before)

    def _move(self, *place: Any) -> None:
        state.place = place
        tape = state.tape
        while tape is not None:
            tape.place = place
            tape = tape.outer


_HOME = str(Path(__file__).resolve().parent / "_")[:-1]  # with the separator: a folder beside it may begin alike
_KERNELS = str(Path(__file__).resolve().parent.parent / "kernels" / "_")[:-1]
_EXAMPLES = str(Path(__file__).resolve().parent / "examples" / "_")[:-1]


@functools.cache  # a walk up the stack then costs one look-up a frame
def is_library_file(name: str) -> bool:
    """Whether a source file belongs to this library (its examples count as user code)."""
    return name.startswith((_HOME, _KERNELS)) and not name.startswith(_EXAMPLES)


def user_frame(depth: int = 1) -> FrameType:
    """Return the innermost frame that is not this library's, from `depth` frames up."""
    frame = sys._getframe(depth)
    while is_library_file(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def user_line() -> str:
    """``file:line`` of the user's code that is running, for error messages."""
    frame = user_frame(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class noting_user:  # noqa: N801 - reads as a verb in `with noting_user():`
    """Look up the user's frame once for all that is recorded inside the ``with`` block.

    library_code: False says that user code runs inside, whose own lines should be looked up again.
    """

    __slots__ = ("_before", "_library_code")

    def __init__(self, library_code: bool = True) -> None:
        self._library_code = library_code

    def __enter__(self) -> None:
        self._before: list[tuple[Tape, Any]] = []
        tape = state.tape
        if tape is None or (self._library_code and tape.noted is not None):
            return
        note = None
        if self._library_code:
            frame = user_frame(2)
            note = (frame.f_code, frame.f_lasti)
        while tape is not None:
            self._before.append((tape, tape.noted))
            tape.noted = note
            tape = tape.outer

    def __exit__(self, *exc: object) -> None:
        for tape, before in self._before:
            tape.noted = before
