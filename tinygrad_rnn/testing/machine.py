"""TapeMachine: a Hypothesis state machine that drives tapes, and compares every result with a naive reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, precondition, rule

from .. import backends, ops
from ..errors import TapeError, UnusedSourceError
from ..tape import Tape
from ..tensor import Parameter, Tensor, asarray, tensor
from .domain_builders import on_host
from .reference import Graph, Node
from .strategies import tensors

__all__ = ["TapeMachine"]

SHAPES = ((), (2,), (1, 2), (2, 1), (2, 2))  # any two broadcast
LARGEST = 32.0  # no operation that would give more is carried out
SOURCES = 3  # of a gradient, besides one at random
DEEPEST = 3  # tapes inside each other
HIGHEST = 2  # order of the derivatives that are differentiated again
TOLERANCE = 1e-10  # rounding of a few hundred operations, relative to the largest value on the way


def _take(x: Tensor, index: tuple[int, ...]) -> Any:
    return x[list(index)]


def _sum(x: Tensor, **params: Any) -> Tensor:
    return ops.sum(x, **params)


# name -> the engine's function, the reference's rule, and parameters that both take
UNARY: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "tanh": (ops.tanh, "tanh", {}),
    "sin": (ops.sin, "sin", {}),
    "transpose": (ops.transpose, "transpose", {}),
    "sum": (_sum, "sum", {}),
    "sum_first": (_sum, "sum", {"axis": 0}),
    "sum_last_kept": (_sum, "sum", {"axis": -1, "keepdims": True}),
    "take_twice": (_take, "take", {"index": (0, 0)}),
    "take_both": (_take, "take", {"index": (-1, 0)}),
}
BINARY: dict[str, Any] = {
    "multiply": lambda a, b: a * b,
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "matmul": lambda a, b: ops.matmul(a, b),
    "concat": lambda a, b: ops.concat([a, b]),
}


@dataclass(eq=False)
class Live:
    """A tensor of the engine beside the node of the reference that it must equal.

    swept: made by a sweep that outer tapes recorded. Such a tensor may be the cotangent itself, or one with another
        result, so it is no source of its own.
    """

    tensor: Tensor
    node: Node
    swept: bool = False
    grad: Node | None = None  # what `.grad` of the tensor must hold


@dataclass(eq=False)
class Recording:
    """A tape with its number in the reference, and the numbers of the tapes around it when it was entered."""

    tape: Tape
    number: int
    around: tuple[int, ...]


@dataclass(frozen=True)
class Sweep:
    """Gradients that were taken, to be taken again: they must come out the same to the last bit."""

    tape: Tape
    target: Tensor
    sources: list[Tensor]
    cotangent: Any
    results: list[Any]


class TapeMachine(RuleBasedStateMachine):
    """Random histories of a few tapes, checked step by step against `tinygrad_rnn.testing.reference`.

    A history makes tensors and parameters, opens tapes inside each other and closes them, computes on, between and
    after them, detaches, assigns parameters, moves tensors between backends, and takes gradients, directional
    derivatives and ``backward`` of anything recorded with respect to anything, gradients themselves included.
    Earlier sweeps are repeated and must give the same bits.

    backends: names of the backends between which tensors move; default: those that can run here and keep their arrays
        on the host. A subclass may name others.

    Run it as a test: ``TestTape = TapeMachine.TestCase``. A failing history shrinks, and prints as a program of its
    steps.
    """

    backends: tuple[str, ...] | None = None
    leaves: Any = Bundle("leaves")
    parameters: Any = Bundle("parameters")  # these are among the leaves too
    results: Any = Bundle("results")
    derivatives: Any = Bundle("derivatives")  # these are among the results too
    values: Any = leaves | results
    recorded: Any = results.filter(lambda live: live.node.tapes)
    sources: Any = values.filter(lambda live: not live.swept)

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self.open: list[Recording] = []
        self.tapes: list[Recording] = []
        self.live: dict[int, Live] = {}  # by the id of the tensor, which `Live` keeps alive
        self.sweeps: list[Sweep] = []
        self.names = list(self.backends or filter(on_host, backends.available()))

    # ---- what there is

    @initialize(target=leaves, x=tensors(shape=(2,), layouts=("C",)), depth=st.integers(1, DEEPEST))
    def start(self, x: Tensor, depth: int) -> Any:
        """A leaf and open tapes: without them the other rules have little to do."""
        for _ in range(depth):
            self.open_tape()
        return self._enter(tensor(x, requires_grad=True), Node(x.numpy()))

    @rule(target=leaves, x=tensors(shape=st.sampled_from(SHAPES), layouts=("C",)), requires_grad=st.booleans())
    def leaf(self, x: Tensor, requires_grad: bool) -> Any:
        return self._enter(tensor(x, requires_grad=requires_grad), Node(x.numpy()))

    @rule(targets=(leaves, parameters), x=tensors(shape=st.sampled_from(SHAPES), layouts=("C",)))
    def parameter(self, x: Tensor) -> Any:
        return self._enter(Parameter(x), Node(x.numpy()))

    @rule(p=parameters, data=st.data())
    def assign(self, p: Live, data: Any) -> None:
        """What was recorded before keeps the old values, and the parameter is still its source."""
        new = data.draw(tensors(shape=p.tensor.shape, layouts=("C",)))
        p.tensor.assign(new.numpy())
        p.node = p.node.assigned(new.numpy())
        self._compare(p.tensor, p.node)

    @rule(target=leaves, x=values)
    def detach(self, x: Live) -> Any:
        return self._enter(x.tensor.detach(), Node(x.node.value))

    @rule(target=results, x=values, data=st.data())
    def to_backend(self, x: Live, data: Any) -> Any:
        """A move is recorded as any operation is; to where it is already, a tensor stays what it is."""
        name = data.draw(st.sampled_from(self.names))
        moved = x.tensor.to(name)
        assert moved.backend == name, f"moved to {name}, and it is on {moved.backend}"
        if moved is x.tensor:
            return x
        return self._enter(moved, self.graph.apply("move", x.node))

    # ---- tapes

    @precondition(lambda self: len(self.open) < DEEPEST)
    @rule()
    def open_tape(self) -> None:
        recording = Recording(Tape(), len(self.tapes), self.graph.active)
        recording.tape.__enter__()
        self.open.append(recording)
        self.tapes.append(recording)
        self.graph.active = tuple(each.number for each in self.open)

    @precondition(lambda self: self.open)
    @rule()
    def close_tape(self) -> None:
        self.open.pop().tape.__exit__(None, None, None)
        self.graph.active = tuple(each.number for each in self.open)

    # ---- operations

    @rule(target=results, x=values, op=st.sampled_from([*UNARY]))
    def unary(self, x: Live, op: str) -> Any:
        function, name, params = UNARY[op]
        if not x.tensor.ndim and op.startswith(("sum_", "take_")):
            return multiple()
        return self._apply(function, name, x, **params)

    @rule(target=results, a=values, b=values, op=st.sampled_from([*BINARY]))
    def binary(self, a: Live, b: Live, op: str) -> Any:
        """Two values together; those that do not fit for `concat` and `matmul` are multiplied."""
        left, right = a.tensor.shape, b.tensor.shape
        if op == "matmul" and not (len(left) == len(right) == 2 and left[1] == right[0]):
            op = "multiply"
        if op == "concat" and not (len(left) == len(right) > 0 and left[1:] == right[1:]):
            op = "multiply"
        result = self._apply(BINARY[op], op, a, b)
        if op == "concat" and isinstance(result, Live):  # the two entries at the seam: no shape grows
            return self._apply(_take, "take", result, index=(left[0] - 1, left[0]))
        return result

    # ---- derivatives

    @rule(targets=(results, derivatives), y=recorded, x=sources, which=st.integers(0, 2), v=values, unit=st.booleans())
    def gradient(self, y: Live, x: Live, which: int, v: Live, unit: bool) -> Any:
        """Gradients of y on one of the tapes that recorded it, with respect to what it came from, and to x.

        v is the cotangent if it has the shape of y (and `unit` is false); otherwise ones are.
        """
        recording = self._recording(y, which)
        if recording is None:
            return multiple()
        cotangent, ones = self._direction(v, y, unit)
        sources = list(dict.fromkeys([*self._sources(y), x]))
        self.graph.active = self._sweepers(recording)
        expected = [self.graph.gradient(y.node, each.node, ones, recording.number) for each in sources]
        self._end_sweep()
        if unused := [source for source, gradient in zip(sources, expected) if gradient is None]:
            self._check_unused(recording, y, unused[0], cotangent)
        tensors = [each.tensor for each in sources]
        try:
            found = recording.tape.gradient(y.tensor, tensors, cotangent=cotangent, unused="zeros")
        except TapeError:
            # a gradient that is constant is not recorded, and says so when it is a target
            constant = not any(each is not None and each.value.any() for each in expected)
            assert y.node.order and constant, "the tape does not know a target that it recorded"
            return multiple()
        kept = cotangent.detach() if isinstance(cotangent, Parameter) else cotangent  # which may be assigned
        self.sweeps.append(Sweep(recording.tape, y.tensor, tensors, kept, [g.numpy().copy() for g in found]))
        for gradient, want, source in zip(found, expected, sources):
            if want is None:
                assert gradient.shape == source.tensor.shape and not gradient.numpy().any(), "expected zeros"
        reached = [(gradient, want) for gradient, want in zip(found, expected) if want is not None]
        return multiple(*[self._enter_swept(recording, y, gradient, want) for gradient, want in reached])

    @rule(
        targets=(results, derivatives),
        y=derivatives.filter(lambda live: live.node.tapes),
        x=sources,
        which=st.integers(0, 2),
        v=values,
    )
    def gradient_again(self, y: Live, x: Live, which: int, v: Live) -> Any:
        """The same for a derivative as the target: order two."""
        return self.gradient(y, x, which, v, False)

    @rule(targets=(results, derivatives), y=recorded, x=sources, which=st.integers(0, 2), d=values, unit=st.booleans())
    def directional_derivative(self, y: Live, x: Live, which: int, d: Live, unit: bool) -> Any:
        """Forward mode: the tangent of y along the direction d of x (ones if d has another shape)."""
        recording = self._recording(y, which)
        if recording is None:
            return multiple()
        given, direction = self._direction(d, x, unit)
        along = asarray(direction.value, backend=x.tensor.backend) if given is None else given
        self.graph.active = self._sweepers(recording)
        expected = self.graph.derivative(y.node, x.node, direction, recording.number)
        self._end_sweep()
        found = recording.tape.jvp(y.tensor, x.tensor, along)
        if expected is None:
            assert not found.numpy().any(), "a tangent came out of nowhere"
            return multiple()
        return self._enter_swept(recording, y, found, expected)

    @rule(y=recorded, which=st.integers(0, 2), v=values, unit=st.booleans())
    def backward(self, y: Live, which: int, v: Live, unit: bool) -> None:
        """Add the gradients of y to `.grad` of the leaves that require it; a second sweep adds once more."""
        recording = self._recording(y, which)
        if recording is None:
            return
        cotangent, ones = self._direction(v, y, unit)
        needing = [each for each in self.live.values() if each.tensor.requires_grad]
        self.graph.active = self._sweepers(recording)
        parts = [self.graph.gradient(y.node, each.node, ones, recording.number) for each in needing]
        for each, part in zip(needing, parts):
            if part is not None:
                part = self._result(recording, y, part)
                each.grad = part if each.grad is None else self.graph.apply("add", each.grad, part)
        self._end_sweep()
        if all(part is None for part in parts):
            return
        recording.tape.backward(y.tensor, cotangent)
        for each in needing:
            self._compare_grad(each)

    @rule(target=results, x=leaves)
    def read_grad(self, x: Live) -> Any:
        self._compare_grad(x)
        return multiple() if x.grad is None else self._enter(x.tensor.grad, x.grad, True)  # type: ignore[arg-type]

    @rule(x=leaves)
    def clear_grad(self, x: Live) -> None:
        x.tensor.grad = x.grad = None

    @precondition(lambda self: self.sweeps)
    @rule(which=st.integers(0, 7))
    def sweep_again(self, which: int) -> None:
        """Nothing that happened since changes an earlier gradient."""
        past = self.sweeps[which % len(self.sweeps)]
        again = past.tape.gradient(past.target, past.sources, cotangent=past.cotangent, unused="zeros")
        same = [np.array_equal(new.numpy(), old) for new, old in zip(again, past.results)]
        assert all(same), "a second sweep over the same tape gave another gradient"

    def teardown(self) -> None:
        while self.open:
            self.close_tape()

    # ---- small parts

    def _enter(self, made: Tensor, node: Node, swept: bool = False) -> Live:
        """Compare a result with the reference, and keep the pair; a tensor that is known already stays what it was."""
        self._compare(made, node)
        return self.live.setdefault(id(made), Live(made, node, swept))

    def _enter_swept(self, recording: Recording, y: Live, made: Tensor, derivative: Node) -> Live:
        return self._enter(made, self._result(recording, y, derivative), bool(recording.around))

    def _compare(self, found: Tensor, node: Node) -> None:
        array, expected = found.numpy(), node.value
        assert array.shape == expected.shape and array.dtype == np.float64, (
            f"expected float64 {expected.shape}, got {array.dtype} {array.shape}"
        )
        error = np.abs(array - expected).max(initial=0)
        assert error <= TOLERANCE * self.graph.largest, f"expected\n{expected}\ngot\n{array}"

    def _compare_grad(self, leaf: Live) -> None:
        assert (leaf.tensor.grad is None) == (leaf.grad is None), f"expected .grad {leaf.grad}, got {leaf.tensor.grad}"
        if leaf.grad is not None:
            self._compare(leaf.tensor.grad, leaf.grad)  # type: ignore[arg-type]

    def _apply(self, function: Any, name: str, *operands: Live, **params: Any) -> Any:
        if len({each.tensor.backend for each in operands}) > 1:
            return multiple()
        before = self.graph.largest
        node = self.graph.apply(name, *[each.node for each in operands], **params)
        if np.abs(node.value).max(initial=0) > LARGEST:
            self.graph.largest = before
            return multiple()
        return self._enter(function(*[each.tensor for each in operands], **params), node)

    def _sources(self, y: Live) -> list[Live]:
        """The newest few values from which y was computed."""
        seen: set[int] = set()
        waiting, found = [y.node], set()
        while waiting:
            node = waiting.pop()
            if id(node) not in seen:
                seen.add(id(node))
                found.add(node.identity)
                waiting.extend(node.parents)
        return [
            each
            for each in reversed(self.live.values())
            if each.node.identity in found
            and not each.swept
            and each is not y
            and max(each.tensor.shape, default=1) <= 2
        ][:SOURCES]

    def _recording(self, y: Live, which: int) -> Recording | None:
        """One of the tapes that recorded y; None for a leaf, and where the order would grow too high.

        Also None where a tape would record the sweep that was not around the swept one: to that tape a value and
        its copy on the outer tape are two leaves, so what it says of such a derivative is less than the whole.
        """
        if not y.node.tapes or y.node.order >= HIGHEST:
            return None
        recording = self.tapes[sorted(y.node.tapes)[which % len(y.node.tapes)]]
        return recording if set(self._sweepers(recording)) <= set(recording.around) else None

    def _sweepers(self, recording: Recording) -> tuple[int, ...]:
        """The tapes that record a sweep of this one: those around it; an outermost tape's sweep is recorded by none."""
        numbers = tuple(each.number for each in self.open)
        if not recording.around:
            return ()
        return numbers[: numbers.index(recording.number)] if recording.number in numbers else numbers

    def _direction(self, v: Live, like: Live, unit: bool) -> tuple[Any, Node]:
        """A cotangent or tangent for `like`: v, or ones (for the engine None where like is a scalar)."""
        if not unit and v.tensor.shape == like.tensor.shape and v.tensor.backend == like.tensor.backend:
            return v.tensor, v.node
        ones = np.ones(like.tensor.shape)
        return None if ones.size == 1 else asarray(ones, backend=like.tensor.backend), Node(ones)

    def _end_sweep(self) -> None:
        self.graph.active = tuple(each.number for each in self.open)

    def _result(self, recording: Recording, y: Live, derivative: Node) -> Node:
        """A derivative as it is from now on: that of an outermost tape has no history."""
        if not recording.around:
            return Node(derivative.value)
        derivative.order = max(derivative.order, y.node.order + 1)
        return derivative

    def _check_unused(self, recording: Recording, y: Live, x: Live, cotangent: Any) -> None:
        """Where no path leads from the target to the source, the engine says so, or gives zeros if asked to."""
        try:
            recording.tape.gradient(y.tensor, x.tensor, cotangent=cotangent)
        except UnusedSourceError:
            pass
        except TapeError:
            assert y.node.order, "the tape does not know a target that it recorded"
        else:
            raise AssertionError("an unused source raised nothing")
