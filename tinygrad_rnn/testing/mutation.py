"""Planted mistakes: wrong derivatives, each for the length of a ``with`` block. Does a test suite find them?

A suite that passes says little until it has been seen to fail. `mutants` yields about a hundred mistakes that people
make in derivatives, over operations, tape, kernels, cells, layers, scan and gradient rules; `mutate` plants one of the
common kinds in a primitive of your own.

    for mutant in mutants():
        with mutant:
            assert suite_fails(), f"nobody noticed {mutant.name}"
"""

from __future__ import annotations
import __future__

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from ..errors import ArgumentError
from ..primitive import Elementwise, Primitive, registry
from ..tape import fit

__all__ = ["KINDS", "Mutant", "mutants", "mutate"]

Part = Any  # a cotangent or a tangent, as an array or a Tensor of an outer tape


@dataclass
class Mutant:
    """One planted mistake: a context manager, which may be entered again after it was left.

    name: ``entry: what is wrong``.  entry: the primitive, cell, layer or function that is wrong.
    area: "operation", "tape", "kernel", "cell", "layer", "scan" or "rule".
    touches: names of the primitives, cells and layers whose gradients are wrong.
    """

    name: str
    entry: str
    area: str
    touches: tuple[str, ...]
    plant: Callable[[], Any] = field(repr=False)
    _planted: Any = field(default=None, repr=False, compare=False)

    def __enter__(self) -> Mutant:
        if self._planted is not None:
            raise ArgumentError(f'the mutant "{self.name}" is planted already; leave its with block first')
        planted = self.plant()
        planted.__enter__()
        self._planted = planted
        return self

    def __exit__(self, *exc: Any) -> None:
        planted, self._planted = self._planted, None
        planted.__exit__(*exc)


def mutants(*names: str) -> Iterator[Mutant]:
    """Yield mistakes to plant, one at a time: ``for mutant in mutants(): with mutant: ...``.

    names: of primitives, yours too: then every kind of `KINDS` in each, in reverse mode. Without names, those chosen
        for this library, none of which leaves all gradients right.

    Raises ArgumentError for a name that is not registered as a differentiable primitive.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.testing import check_gradients
    >>> x = tg.tensor([[0.5, -1.0], [2.0, 0.25]], dtype="float64")
    >>> for mutant in mutants("sin"):
    ...     with mutant:
    ...         print(mutant.name, check_gradients(tg.sin, x, modes=("rev",)).verdict)
    sin: sign fail
    sin: factor fail
    sin: slightly fail
    sin: zero fail
    sin: cotangent fail
    sin: broadcast pass
    sin: axis fail
    sin: reversed fail
    sin: shift fail
    sin: average fail
    >>> bool(check_gradients(tg.sin, x))
    True

    A sine has one input, so it cannot forget to sum over a broadcast axis: that mutant changes nothing.
    """
    if not names:
        from .mutant_operations import operations
        from .mutant_recurrences import recurrences

        yield from operations()
        yield from recurrences()
    for name in names:
        for kind in KINDS:
            yield Mutant(f"{name}: {kind}", name, "operation", (name,), functools.partial(mutate, name, kind))


@contextmanager
def mutate(primitive_name: str, kind: str, *, input: int | None = None, mode: str = "rev") -> Iterator[None]:
    """Plant a mistake of one kind in the derivative of a primitive, for the length of the ``with`` block.

    kind: a key of `KINDS`.  input: number of the only input whose derivative is wrong; None for all.
    mode: "rev" for the cotangents, "fwd" for the tangent (where `input` then is the one whose tangent is wrong).

    Raises ArgumentError for an unknown kind, mode or primitive, and for one that has no derivative.

    >>> import tinygrad_rnn as tg
    >>> with mutate("exp", "sign"):
    ...     tg.grad(tg.exp)(tg.tensor(0.0)).item()
    -1.0
    >>> tg.grad(tg.exp)(tg.tensor(0.0)).item()
    1.0
    """
    if primitive_name not in registry or not registry[primitive_name].differentiable:
        raise ArgumentError(f'there is no differentiable primitive "{primitive_name}"')
    if kind not in KINDS:
        raise ArgumentError(f"kind is one of {', '.join(KINDS)}; got {kind!r}")
    if mode not in ("rev", "fwd"):
        raise ArgumentError(f'mode is "rev" or "fwd"; got {mode!r}')
    primitive = registry[primitive_name]
    make = _wrong_pullback if mode == "rev" else _wrong_pushforward
    with swapped(primitive, **make(primitive, KINDS[kind], input, cotangent=kind == "cotangent")):
        yield


# ---- the common kinds: what becomes of a right cotangent (or tangent) of the shape of its input (or output)


def _first_of_broadcast(xp: Any, part: Part, value: Any) -> Part:
    """The first entry along the axes that were broadcast, where their sum belongs."""
    if tuple(part.shape) == tuple(value.shape):
        return part
    part = part[(0,) * (len(part.shape) - len(value.shape))]
    stretched = [slice(0, 1) if n == 1 else slice(None) for n in value.shape]
    return part[tuple(stretched)] if stretched else part


def _other_order(xp: Any, part: Part, value: Any) -> Part:
    """The entries in column-major order under the same shape: a transpose of a square matrix."""
    axes = tuple(reversed(range(len(part.shape))))
    return xp.reshape(xp.permute_dims(part, axes), tuple(part.shape))


def _reversed(xp: Any, part: Part, value: Any) -> Part:
    return xp.flip(part, axis=len(part.shape) - 1) if part.shape else part


def _shifted(xp: Any, part: Part, value: Any) -> Part:
    return xp.roll(part, 1, axis=0) if part.shape else part


def _averaged(xp: Any, part: Part, value: Any) -> Part:
    return part / max(1, part.shape[0]) if part.shape else part


KINDS: dict[str, Callable[[Any, Part, Any], Part]] = {
    "sign": lambda xp, part, value: -part,
    "factor": lambda xp, part, value: 2 * part,
    "slightly": lambda xp, part, value: (1 + 2.0**-20) * part,
    "zero": lambda xp, part, value: xp.zeros_like(part),
    "cotangent": lambda xp, part, value: part,
    "broadcast": _first_of_broadcast,
    "axis": _other_order,
    "reversed": _reversed,
    "shift": _shifted,
    "average": _averaged,
}
"""What goes wrong, in this order: the sign; a factor of 2; a millionth; all of it; the incoming cotangent is taken to
be 1; the sum over broadcast axes is forgotten; axes are confused; the last axis runs backwards; the first axis is off
by one; the first axis is averaged."""


def _wrong_pullback(primitive: Primitive, change: Any, only: int | None, cotangent: bool) -> dict[str, Any]:
    """Attributes that give a primitive a wrong reverse mode."""
    right = type(primitive).pullback

    def pullback(xp: Any, g: Any, record: Any, needed: Any) -> list[Any]:
        if cotangent:
            many = isinstance(g, tuple)
            ones = [None if part is None else xp.ones_like(part) for part in (g if many else (g,))]
            g = tuple(ones) if many else ones[0]
        parts = list(right(primitive, xp, g, record, needed))
        for k, (part, value) in enumerate(zip(parts, record.values)):
            if part is not None and only in (None, k):
                # a sum over broadcast axes belongs to the sweep; every other kind changes the cotangent as summed
                parts[k] = change(xp, part if change is _first_of_broadcast else fit(xp, part, value), value)
        return parts

    # the sweep multiplies local derivatives by itself where it finds some
    return {"pullback": pullback, "local": None} if isinstance(primitive, Elementwise) else {"pullback": pullback}


def _wrong_pushforward(primitive: Primitive, change: Any, only: int | None, cotangent: bool) -> dict[str, Any]:
    """Attributes that give a primitive a wrong forward mode."""
    right = type(primitive).pushforward

    def changed(xp: Any, d: Any, y: Any) -> Any:
        if isinstance(d, tuple):
            return tuple([None if part is None else change(xp, part, each) for part, each in zip(d, y)])
        return None if d is None else change(xp, d, y)

    def pushforward(xp: Any, tangents: Sequence[Any], record: Any) -> Any:
        if cotangent:
            tangents = [None if d is None or only not in (None, k) else xp.ones_like(d) for k, d in enumerate(tangents)]
        if only is None:
            return changed(xp, right(primitive, xp, tangents, record), record.result)
        alone = [d if k == only else None for k, d in enumerate(tangents)]
        others = [None if k == only else d for k, d in enumerate(tangents)]
        wrong = None if alone[only] is None else changed(xp, right(primitive, xp, alone, record), record.result)
        if all(d is None for d in others):
            return wrong
        rest = right(primitive, xp, others, record)
        return rest if wrong is None else wrong if rest is None else wrong + rest

    return {"pushforward": pushforward}


# ---- planting: an attribute, or a piece of a function's text, for the length of a with block


@contextmanager
def swapped(owner: Any, **attributes: Any) -> Iterator[None]:
    """Give an object other attributes; afterwards it has again exactly those that it had."""
    missing = object()
    before = {name: vars(owner).get(name, missing) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            if value is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


@contextmanager
def edited(function: Any, old: str, new: str) -> Iterator[None]:
    """Run a function with one piece of its text replaced, wherever it is referred to.

    function: a plain function or a method, defined by ``def``.  old: text that occurs in it exactly once.

    Raises ArgumentError if the text does not occur once: then the function was rewritten, and the mutant should be too.
    """
    function = getattr(function, "__func__", function)
    code = _edited_code(function, old, new)
    before = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = before


def _edited_code(function: FunctionType, old: str, new: str) -> Any:
    text = textwrap.dedent(inspect.getsource(function))
    if text.count(old) != 1:
        raise ArgumentError(f"{function.__qualname__} has {text.count(old)} times the text {old!r}; expected it once")
    text = text.replace(old, new)
    free = function.__code__.co_freevars
    if free:  # a function around it, so that the compiler sees the same free variables
        text = f"def _around({', '.join(free)}):\n{textwrap.indent(text, '    ')}\n    return {function.__name__}\n"
    tree = ast.parse(text)
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1 - bool(free))
    flags = __future__.annotations.compiler_flag
    found: dict[str, Any] = {}
    exec(compile(tree, function.__code__.co_filename, "exec", flags, dont_inherit=True), function.__globals__, found)
    made = found["_around"](*[None] * len(free)) if free else found[function.__name__]
    return made.__code__
