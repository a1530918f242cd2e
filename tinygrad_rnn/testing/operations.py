"""What random programs are made of: smooth operations that are defined everywhere, each as a piece of Python.

All values of one program have shapes from one family, the shapes of 0, 1 and 2 axes whose lengths are 1 or n. Any two
of them broadcast, square matrices multiply, and every operation leads back into the family.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Shape = tuple[int, ...]
Form = tuple[str, Shape]  # a piece of Python with {0}, {1} for the operands, and the shape that it gives


@dataclass(frozen=True)
class Operation:
    """One operation of random programs.

    name: as in `tinygrad_rnn.registry` where it is one primitive.  arity: number of operands, 1 or 2.
    forms: from the side n and the operands' shapes to the ways of writing it; none where the shapes don't fit.
    bound: from the operands' largest magnitudes and n to the result's, an upper bound.
    """

    name: str
    arity: int
    forms: Callable[..., list[Form]]
    bound: Callable[..., float]


def family(n: int) -> list[Shape]:
    """The shapes of a program with side n, simplest first.

    >>> family(3)
    [(), (1,), (3,), (1, 1), (1, 3), (3, 1), (3, 3)]
    """
    sides = [1, n] if n > 1 else [1]
    return [(), *[(a,) for a in sides], *[(a, b) for a in sides for b in sides]]


def _broadcast(a: Shape, b: Shape) -> Shape:
    ndim = max(len(a), len(b))
    a, b = (1,) * (ndim - len(a)) + a, (1,) * (ndim - len(b)) + b
    return tuple(max(pair) for pair in zip(a, b))


def unary(name: str, bound: Callable[[float], float], text: str | None = None) -> Operation:
    """An elementwise operation of one operand."""
    text = text or f"tg.{name}({{0}})"
    return Operation(name, 1, lambda n, a: [(text, a)], lambda n, a: bound(a))


def binary(name: str, bound: Callable[[float, float], float], text: str | None = None) -> Operation:
    """An elementwise operation of two operands, which broadcast."""
    text = text or f"tg.{name}({{0}}, {{1}})"
    return Operation(name, 2, lambda n, a, b: [(text, _broadcast(a, b))], lambda n, a, b: bound(a, b))


def _along(name: str, bound: Callable[[int, float], float], text: str | None = None) -> Operation:
    """An operation along one axis that keeps the shape."""
    text = text or f"tg.{name}({{{{0}}}}, axis={{axis}})"
    return Operation(name, 1, lambda n, a: [(text.format(axis=i), a) for i in range(len(a))], bound)


def _reduction(name: str, bound: Callable[[int, float], float]) -> Operation:
    """A reduction of each axis, with its length kept as 1 or dropped, and of all axes."""

    def forms(n: int, a: Shape) -> list[Form]:
        found: list[Form] = [(f"tg.{name}({{0}})", ())]
        for i in range(len(a)):
            found.append((f"tg.{name}({{0}}, axis={i}, keepdims=True)", (*a[:i], 1, *a[i + 1 :])))
            found.append((f"tg.{name}({{0}}, axis={i})", (*a[:i], *a[i + 1 :])))
        return found

    return Operation(name, 1, forms, bound)


def _matmul(n: int, a: Shape, b: Shape) -> list[Form]:
    found = []
    if len(a) == 2 and len(b) >= 1 and a[1] == b[0]:
        found.append(("tg.matmul({0}, {1})", (a[0], *b[1:])))
    if len(a) == 1 and len(b) == 2 and a[0] == b[0]:
        found.append(("tg.matmul({0}, {1})", (b[1],)))
    if len(a) == len(b) == 2 and a[1] == b[1]:
        found.append(("tg.matmul({0}, tg.matrix_transpose({1}))", (a[0], b[0])))
    return found


def _einsum(n: int, a: Shape, b: Shape) -> list[Form]:
    if len(a) == len(b) == 2 and a[0] == b[0]:
        return [('tg.einsum("ki,kj->ij", {0}, {1})', (a[1], b[1]))]
    return []


def _outer(n: int, a: Shape, b: Shape) -> list[Form]:
    return [("tg.outer({0}, {1})", (a[0], b[0]))] if len(a) == len(b) == 1 else []


def _transpose(n: int, a: Shape) -> list[Form]:
    if len(a) != 2:
        return []
    return [("tg.permute_dims({0}, (1, 0))", a[::-1]), ("tg.matrix_transpose({0})", a[::-1])]


def _triangle(name: str) -> Operation:
    return Operation(
        name, 1, lambda n, a: [(f"tg.{name}({{0}}, k={k})", a) for k in (0, 1, -1)] if len(a) == 2 else [], _same
    )


def _reshape(n: int, a: Shape) -> list[Form]:
    return [(f"tg.reshape({{0}}, {b})", b) for b in family(n) if b != a and math.prod(b) == math.prod(a)]


def _broadcast_to(n: int, a: Shape) -> list[Form]:
    return [(f"tg.broadcast_to({{0}}, {b})", b) for b in family(n) if b != a and _broadcast(a, b) == b]


def _getitem(n: int, a: Shape) -> list[Form]:
    if not a:
        return [("{0}[None]", (1,))]
    picks = [i * i % a[0] for i in range(n)]  # repeats some, so that their cotangents must add up
    return [
        ("{0}[0]", a[1:]),
        ("{0}[-1:]", (1, *a[1:])),
        ("{0}[::-1]", a),
        (f"{{0}}[{picks}]", (n, *a[1:])),
        ("{0}[..., :1]", (*a[:-1], 1)),
    ]


def _take(n: int, a: Shape) -> list[Form]:
    return [
        (f"tg.take({{0}}, tg.tensor({[(i + 1) // 2 % a[i_axis] for i in range(n)]}), axis={i_axis})",
         (*a[:i_axis], n, *a[i_axis + 1 :]))
        for i_axis in range(len(a))
    ]  # fmt: skip


def _repeat(n: int, a: Shape) -> list[Form]:
    return [(f"tg.repeat({{0}}, {n}, axis={i})", (*a[:i], n, *a[i + 1 :])) for i in range(len(a)) if a[i] == 1]


def _pad(n: int, a: Shape) -> list[Form]:
    """Shift along the first axis, with zero for what comes in."""
    return [(f"tg.pad({{0}}, {[(1, 0)] + [(0, 0)] * (len(a) - 1)})[:-1]", a)] if a else []


def _concat(n: int, a: Shape, b: Shape) -> list[Form]:
    """Join, and keep n entries that reach over the seam."""
    found = []
    for i in range(len(a) if len(a) == len(b) else 0):
        if a[:i] == b[:i] and a[i + 1 :] == b[i + 1 :] and (total := a[i] + b[i]) >= n:
            start = min(1, total - n)
            cut = ", ".join([":"] * i + [f"{start}:{start + n}"])
            found.append((f"tg.concat([{{0}}, {{1}}], axis={i})[{cut}]", (*a[:i], n, *a[i + 1 :])))
    return found


def _split(n: int, a: Shape, b: Shape) -> list[Form]:
    """Join, roll over the seam and cut again."""
    if a != b or not a:
        return []
    last = len(a) - 1
    return [
        (f"tg.multiply(*tg.split(tg.roll(tg.concat([{{0}}, {{1}}], axis={i}), 1, axis={i}), 2, axis={i}))", a)
        for i in dict.fromkeys((0, last))
    ]


def _unstack(n: int, a: Shape) -> list[Form]:
    return [(f"tg.stack(tg.unstack({{0}}, axis={i})[::-1], axis={i})", a) for i in range(len(a))]


def _where(n: int, a: Shape, b: Shape) -> list[Form]:
    mask = [i % 2 == 0 for i in range(n)]
    return [(f"tg.where(tg.tensor({mask}), {{0}}, {{1}})", _broadcast(_broadcast(a, b), (n,)))]


def _scatter_add(n: int, a: Shape, b: Shape) -> list[Form]:
    """Add b twice into the last entry of a, and once into the first."""
    if not a or _broadcast(a[1:], b) != a[1:] or len(b) >= len(a):
        return []
    return [("tg.scatter_add({0}, [-1, 0, -1], {1})", a)]


def _put(n: int, a: Shape, b: Shape) -> list[Form]:
    return [("tg.put({0}, 0, {1})", a)] if a and _broadcast(a[1:], b) == a[1:] and len(b) < len(a) else []


def _same(n: int, a: float) -> float:
    return a


def _larger(n: int, a: float, b: float) -> float:
    return max(a, b)


ROWS: tuple[Operation, ...] = (
    # the first is what a program falls back to, and what it shrinks to
    unary("tanh", lambda a: 1),
    binary("add", lambda a, b: a + b, "{0} + {1}"),
    binary("multiply", lambda a, b: a * b, "{0} * {1}"),
    binary("subtract", lambda a, b: a + b, "{0} - {1}"),
    unary("negative", lambda a: a, "-{0}"),
    unary("sin", lambda a: 1),
    unary("sigmoid", lambda a: 1),
    Operation("matmul", 2, _matmul, lambda n, a, b: n * a * b),
    _reduction("sum", lambda n, a: n * n * a),
    Operation("permute_dims", 1, _transpose, _same),
    Operation("broadcast_to", 1, _broadcast_to, _same),
    Operation("getitem", 1, _getitem, _same),
    Operation("where", 2, _where, _larger),
    Operation("concat", 2, _concat, _larger),
    Operation("split", 2, _split, lambda n, a, b: max(a, b) ** 2),
    unary("cos", lambda a: 1),
    unary("square", lambda a: a * a),
    unary("exp", math.exp),
    unary("expm1", math.exp),
    unary("sinh", math.exp),
    unary("cosh", math.exp),
    unary("atan", lambda a: 2),
    unary("asinh", lambda a: a),
    unary("erf", lambda a: 1),
    unary("softplus", lambda a: a + 1),
    unary("silu", lambda a: a),
    unary("gelu", lambda a: a),
    unary("log", lambda a: 2, "tg.log(2 + tg.sin({0}))"),
    unary("log1p", lambda a: a, "tg.log1p(tg.square({0}))"),
    unary("sqrt", lambda a: a + 1, "tg.sqrt(1 + tg.square({0}))"),
    unary("reciprocal", lambda a: 1, "tg.reciprocal(1 + tg.square({0}))"),
    unary("power", lambda a: a**3, "{0} ** 3"),
    unary("checkpoint", lambda a: 1, "tg.checkpoint(lambda x: x * tg.reciprocal(1 + x * x))({0})"),
    binary("pow", lambda a, b: 1 + a * a, "(1 + tg.square({0})) ** tg.tanh({1})"),
    binary("divide", lambda a, b: a, "{0} / (1 + tg.square({1}))"),
    binary("hypot", lambda a, b: 1 + a + b * b, "tg.hypot({0}, 1 + tg.square({1}))"),
    binary("logaddexp", lambda a, b: 1 + max(a, b)),
    _reduction("mean", _same),
    _reduction("var", lambda n, a: 4 * a * a),
    _reduction("prod", lambda n, a: max(1.0, a) ** (n * n)),
    _reduction("logsumexp", lambda n, a: a + 2 * math.log(n) + 1),
    _along("cumulative_sum", lambda n, a: n * a),
    _along("cumulative_prod", lambda n, a: max(1.0, a) ** n),
    _along("softmax", lambda n, a: 1),
    _along("log_softmax", lambda n, a: 2 * a + math.log(n) + 1),
    _along("flip", _same),
    _along("roll", _same, "tg.roll({{0}}, 1, axis={axis})"),
    Operation("unstack", 1, _unstack, _same),
    Operation("reshape", 1, _reshape, _same),
    Operation("take", 1, _take, _same),
    Operation("repeat", 1, _repeat, _same),
    Operation("pad", 1, _pad, _same),
    Operation("einsum", 2, _einsum, lambda n, a, b: n * a * b),
    Operation("outer", 2, _outer, lambda n, a, b: a * b),
    Operation("scatter_add", 2, _scatter_add, lambda n, a, b: a + 3 * b),
    Operation("put", 2, _put, _larger),
    _triangle("tril"),
    _triangle("triu"),
)

SMOOTH: dict[str, Operation] = {operation.name: operation for operation in ROWS}
"""The operations that random programs use by default, by name."""
