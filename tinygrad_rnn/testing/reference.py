"""A naive reference for the tape: a graph of float64 arrays, differentiated by the definition of the derivative.

It shares nothing with the engine. There is no reverse sweep, no slot, no rule with a cotangent, and no undoing of
broadcasting: a gradient is put together entry by entry from directional derivatives, which follow the chain rule from
the target back to the source. Derivatives are graphs again, so those of higher order need no further code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


class Node:
    """One value of the graph: how it was computed, and which tapes were active then.

    identity: what a source is recognised by; a parameter keeps it when it is assigned new values.
    order: how often derivatives were taken on the way to this value.
    """

    def __init__(self, value: Any, rule: str = "", parents: Iterable[Node] = (), **params: Any) -> None:
        self.value = np.asarray(value, dtype=np.float64)
        self.rule, self.parents, self.params = rule, tuple(parents), params
        self.tapes: frozenset[int] = frozenset()
        self.identity: object = object()
        self.order: int = max((parent.order for parent in self.parents), default=0)

    def assigned(self, value: Any) -> Node:
        """The same source with new values: what was computed before keeps the old ones."""
        new = Node(value)
        new.identity = self.identity
        return new


class Graph:
    """Makes nodes and differentiates them.  active: numbers of the tapes that record now.

    >>> graph = Graph()
    >>> graph.active = (0,)
    >>> x = Node([1.0, 2.0])
    >>> y = graph.apply("multiply", x, x)
    >>> graph.gradient(y, x, Node([1.0, 1.0]), tape=0).value.tolist()
    [2.0, 4.0]
    """

    def __init__(self) -> None:
        self.active: tuple[int, ...] = ()
        self.largest = 1.0  # magnitude of the largest value so far: rounding errors are of its size

    def apply(self, rule: str, *parents: Node, **params: Any) -> Node:
        """Compute one node."""
        node = Node(FORWARD[rule](*[parent.value for parent in parents], **params), rule, parents, **params)
        node.tapes = frozenset(self.active)
        self.largest = max(self.largest, float(np.abs(node.value).max(initial=0)))
        return node

    def derivative(self, target: Node, source: Node, direction: Node, tape: int) -> Node | None:
        """Derivative of target along a direction of source, through what the tape recorded; None without a path."""
        found: dict[int, Node | None] = {}

        def along(node: Node) -> Node | None:
            if id(node) not in found:
                found[id(node)] = chain(node)
            return found[id(node)]

        def chain(node: Node) -> Node | None:
            if node.identity is source.identity:
                return direction
            if tape not in node.tapes:
                return None  # made before the tape, or while it was off: a constant
            inner = [along(parent) for parent in node.parents]
            if all(d is None for d in inner):
                return None
            return TANGENT[node.rule](self.apply, node, node.parents, inner)

        return along(target)

    def gradient(self, target: Node, source: Node, cotangent: Node, tape: int) -> Node | None:
        """Gradient of ``sum(cotangent * target)`` with respect to source; None without a path."""
        entries = []
        for place in range(source.value.size):
            basis = np.zeros(source.value.size)
            basis[place] = 1
            along = self.derivative(target, source, Node(basis.reshape(source.value.shape)), tape)
            if along is None:
                return None
            entries.append(self.apply("sum", self.apply("multiply", cotangent, along)))
        return self.apply("assemble", *entries, shape=source.value.shape)


FORWARD: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "matmul": np.matmul,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "negative": np.negative,
    "transpose": np.transpose,
    "sum": lambda x, axis=None, keepdims=False: np.sum(x, axis=axis, keepdims=keepdims),
    "take": lambda x, index: x[list(index)],
    "concat": lambda a, b: np.concatenate([a, b]),
    "move": lambda x: x,
    "spread": lambda x, shape: np.broadcast_to(x, shape),
    "assemble": lambda *entries, shape: np.array(entries).reshape(shape),
}


def _linear(apply: Any, y: Node, x: Any, d: Any) -> Node:
    full = [Node(np.zeros_like(each.value)) if along is None else along for each, along in zip(x, d)]
    return apply(y.rule, *full, **y.params)


def _product(apply: Any, y: Node, x: Any, d: Any) -> Node:
    # a term with no tangent is left out: times zero it would still be a path back to the other factor
    terms = []
    if d[0] is not None:
        terms.append(apply(y.rule, d[0], x[1]))
    if d[1] is not None:
        terms.append(apply(y.rule, x[0], d[1]))
    return terms[0] if len(terms) == 1 else apply("add", *terms)


def _tanh(apply: Any, y: Node, x: Any, d: Any) -> Node:
    slope = apply("subtract", Node(1.0), apply("multiply", y, y))
    return apply("multiply", d[0], slope)


def _cos(apply: Any, y: Node, x: Any, d: Any) -> Node:
    return apply("negative", apply("multiply", d[0], apply("sin", x[0])))


# rule -> (apply, the node y, its parents x, their tangents d or None) -> the tangent of y
TANGENT: dict[str, Callable[..., Node]] = {
    **dict.fromkeys(("add", "subtract", "negative", "transpose", "sum", "take", "concat", "spread", "move"), _linear),
    "assemble": _linear,
    "multiply": _product,
    "matmul": _product,
    "tanh": _tanh,
    "sin": lambda apply, y, x, d: apply("multiply", d[0], apply("cos", x[0])),
    "cos": _cos,
}
