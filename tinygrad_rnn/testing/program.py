"""Random programs: tapes of smooth operations with shared subexpressions, which print themselves as Python."""

from __future__ import annotations

import functools
import linecache
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import backends
from ..errors import ArgumentError
from ..primitive import Elementwise, registry
from ..tensor import Tensor, asarray
from ..transforms import vjp
from .operations import SMOOTH, Operation, Shape, family
from .strategies import REACH, tensors

__all__ = ["SMOOTH", "Program", "programs"]

LARGEST = 8.0  # a statement whose result may be larger ends in a factor that brings it back below half of this


@dataclass(frozen=True, eq=False)
class Program:
    """A straight-line function of Tensors, with inputs to run it on.

    inputs: Tensors, the arguments.  body: its statements, each ``name = expression``, where the arguments are ``x0``,
    ``x1``, ….  result: the name that it returns.  operations: the operation of each statement.

    What `source` prints is what runs: the statements are compiled, not interpreted beside their text.

    >>> import tinygrad_rnn as tg
    >>> program = Program((tg.tensor([0.5, 1.0]),), ("v1 = x0 * x0",), "v1", ("multiply",))
    >>> program().tolist()
    [0.25, 1.0]
    >>> value, (gradient,) = program.value_and_grad()
    >>> gradient.tolist() == [2 * v * x for v, x in zip(program.cotangent(program()).tolist(), [0.5, 1.0])]
    True
    """

    inputs: tuple[Tensor, ...]
    body: tuple[str, ...]
    result: str
    operations: tuple[str, ...]

    def __call__(self, *tensors: Tensor) -> Tensor:
        """Run the program on tensors of its inputs' shapes (by default on its inputs); any float dtype and backend."""
        given = tensors or self.inputs
        if len(given) != len(self.inputs):
            raise ArgumentError(f"this program has {len(self.inputs)} inputs; got {len(given)}")
        with backends.backend(given[0].backend):  # masks and indices are made where the inputs live
            return self._function(*given)

    def cotangent(self, y: Tensor) -> Tensor:
        """The cotangent that `value_and_grad` pulls back: fixed, of mixed signs, 17/32 to 31/32 in magnitude."""
        places = range(math.prod(y.shape))
        weights = [(-1) ** place.bit_count() * (17 + 2 * (5 * place % 8)) / 32 for place in places]
        return asarray(np.array(weights, dtype=y.dtype).reshape(y.shape), backend=y.backend)

    def value_and_grad(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The result at the inputs, and the gradients of its product with `cotangent`, one for each input."""
        return self._pulled(self.inputs)

    def run(self, backend: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`value_and_grad` on a backend of that name. Raises BackendUnavailableError if it cannot run here."""
        target = backends.get(backend)
        return self._pulled(tuple([asarray(x.numpy(), backend=target, copy=True) for x in self.inputs]))

    def _pulled(self, given: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        y, pull = vjp(self, *given)
        return y, pull(self.cotangent(y))

    @property
    def size(self) -> int:
        """Number of statements."""
        return len(self.body)

    @property
    def definition(self) -> str:
        """The function alone, as Python."""
        arguments = ", ".join(f"x{i}" for i in range(len(self.inputs)))
        return "\n    ".join([f"def program({arguments}):", *self.body, f"return {self.result}"])

    def source(self) -> str:
        """The program, its inputs and the sweep as Python that runs as it stands (on the default backend)."""
        names = [f"x{i}" for i in range(len(self.inputs))]
        y = self()
        return "\n".join(
            [
                "import tinygrad_rnn as tg",
                "",
                *[f"{name} = {_literal(x)}" for name, x in zip(names, self.inputs)],
                "",
                self.definition,
                "",
                f"y, pull = tg.vjp(program, {', '.join(names)})",
                f"gradients = pull({_literal(self.cotangent(y))})",
                "",
            ]
        )

    def __repr__(self) -> str:
        return f"\n{self.source()}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the source in Hypothesis's report of a failure, where it would list the fields otherwise."""
        printer.text(repr(self))

    @functools.cached_property
    def _function(self) -> Callable[..., Any]:
        import tinygrad_rnn

        text = f"{self.definition}\n"
        name = f"<program {zlib.crc32(text.encode()):x}>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)  # so that tracebacks show its lines
        scope: dict[str, Any] = {"tg": tinygrad_rnn}
        exec(compile(text, name, "exec"), scope)
        return scope["program"]


def _literal(x: Tensor) -> str:
    return f'tg.tensor({x.tolist()}, dtype="{x.dtype}")'


@dataclass
class _Value:
    """A name of the program under construction. bound: the largest magnitude that its entries can have."""

    name: str
    shape: Shape
    bound: float
    used: bool = False


class _Builder:
    """Turns numbers into statements: each number is the place of a choice among those that fit, modulo their count.

    So any list of numbers is a program, and Hypothesis can cut statements out of it freely.
    """

    def __init__(self, n: int, shapes: Sequence[Shape], operations: Sequence[Operation], share: bool) -> None:
        self.n, self.operations, self.share = n, operations, share
        self.values = [_Value(f"x{i}", shape, REACH) for i, shape in enumerate(shapes)]
        self.body: list[str] = []
        self.used: list[str] = []

    def add(self, operation: Operation, choices: Sequence[int]) -> None:
        """Add one statement; an operation that fits no value is replaced by the first that does."""
        for candidate in (operation, *self.operations):
            if operands := self._operands(candidate, choices):
                forms = candidate.forms(self.n, *[each.shape for each in operands])
                text, shape = forms[choices[2] % len(forms)]
                self._append(candidate, text, shape, operands)
                return

    def join(self) -> None:
        """Add up what no statement has used, so that every statement and input matters."""
        while len(left := [value for value in self.values if not value.used]) > 1:
            add = SMOOTH["add"]
            ((text, shape),) = add.forms(self.n, left[0].shape, left[1].shape)
            self._append(add, text, shape, left[:2])

    def _operands(self, operation: Operation, choices: Sequence[int]) -> list[_Value]:
        values = [each for each in reversed(self.values) if not each.used]  # what is new and unused comes first
        if self.share:
            values += [each for each in reversed(self.values) if each.used]
        if operation.arity == 1:
            fitting = [[a] for a in values if operation.forms(self.n, a.shape)]
            return fitting[choices[0] % len(fitting)] if fitting else []
        firsts = []
        for a in values:
            seconds = [b for b in values if (self.share or b is not a) and operation.forms(self.n, a.shape, b.shape)]
            if seconds:
                firsts.append((a, seconds))
        if not firsts:
            return []
        a, seconds = firsts[choices[0] % len(firsts)]
        return [a, seconds[choices[1] % len(seconds)]]

    def _append(self, operation: Operation, text: str, shape: Shape, operands: Sequence[_Value]) -> None:
        bound = operation.bound(self.n, *[each.bound for each in operands])
        expression = text.format(*[each.name for each in operands])
        if bound > LARGEST:
            factor = 2.0 ** -math.ceil(math.log2(2 * bound / LARGEST))
            expression, bound = f"({expression}) * {factor!r}", bound * factor
        for each in operands:
            each.used = True
        name = f"v{len(self.body) + 1}"
        self.body.append(f"{name} = {expression}")
        self.used.append(operation.name)
        self.values.append(_Value(name, shape, bound))


def _operation(each: str | Operation) -> Operation:
    """An operation by its name; a user's elementwise primitive is found in the registry."""
    if isinstance(each, Operation):
        return each
    if each in SMOOTH:
        return SMOOTH[each]
    known = registry.get(each)
    if not isinstance(known, Elementwise):
        raise ArgumentError(
            f'random programs have no operation "{each}". Choose from SMOOTH, name an elementwise primitive of the '
            f"registry, or give an Operation"
        )
    from .operations import binary, unary

    # nothing is known of its growth, so tanh bounds it
    if len(known.derivatives) == 1:
        return unary(each, lambda a: 1, f'tg.tanh(tg.registry["{each}"]({{0}}))')
    return binary(each, lambda a, b: 1, f'tg.tanh(tg.registry["{each}"]({{0}}, {{1}}))')


@st.composite
def _programs(
    draw: Any, operations: list[Operation], inputs: Any, nodes: Any, share: bool, sides: Any, dtype: Any, backend: Any
) -> Program:
    n = draw(st.integers(*sides))
    fitting = [each for each in family(n) if any(_starts(op, n, each) for op in operations)]
    shapes = draw(st.lists(st.sampled_from(fitting), min_size=inputs[0], max_size=inputs[1]))
    place = st.integers(0, 15)
    statement = st.tuples(st.sampled_from(operations), st.tuples(place, place, place))
    builder = _Builder(n, shapes, operations, share)
    for operation, choices in draw(st.lists(statement, min_size=nodes[0], max_size=nodes[1])):
        builder.add(operation, choices)
    builder.join()
    given = [draw(tensors(shape=shape, dtype=dtype, layouts=("C",), backend=backend)) for shape in shapes]
    return Program(tuple(given), tuple(builder.body), builder.values[-1].name, tuple(builder.used))


def _starts(operation: Operation, n: int, shape: Shape) -> bool:
    """Whether a program can begin with the operation on inputs of this shape alone."""
    return bool(operation.forms(n, *[shape] * operation.arity))


def programs(
    ops: Sequence[str | Operation] | None = None,
    inputs: tuple[int, int] = (1, 3),
    nodes: tuple[int, int] = (1, 12),
    share: bool = True,
    *,
    sides: tuple[int, int] = (1, 3),
    dtype: Any = "float64",
    backend: Any = None,
) -> st.SearchStrategy[Program]:
    """Random programs of smooth operations.

    ops: names of operations in `SMOOTH` (all of them by default), names of elementwise primitives of the registry
        such as your own, or `Operation` objects. An operation that fits no value is replaced by the first that fits.
    inputs, nodes: lowest and highest number of arguments and of statements. Values that no statement has used are added
        up at the end, in further statements, so that every input and every statement has a gradient.
    share: whether a value may be used more than once; otherwise the program is a tree.
    sides: lowest and highest length n; shapes are (), (n,), (n, n) and the like with 1 for n.
    dtype, backend: of the inputs.

    A statement whose result could exceed 8 ends in a factor that brings it back, so no program overflows on
    inputs of its kind (lattice values within ±4).

    A failing program shrinks to few statements on small inputs and shows itself as Python to paste.

    Raises ArgumentError for an unknown operation.

    >>> from hypothesis import find
    >>> print(find(programs(), lambda program: "sin" in program.operations).definition)
    def program(x0):
        v1 = tg.sin(x0)
        return v1
    """
    chosen = list(SMOOTH.values()) if ops is None else [_operation(each) for each in ops]
    if not chosen:
        raise ArgumentError("programs needs at least one operation")
    return _programs(chosen, inputs, nodes, share, sides, dtype, backend)
