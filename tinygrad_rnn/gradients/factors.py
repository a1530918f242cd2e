"""What the Kronecker rules share: parameters whose immediate Jacobian is a product of two factors, I = a ⊗ Δ.

Where a weight acts through one product of matrices, I_{i,jk} = Δ_{ij} a_k: a is what it was multiplied with, Δ the
derivative of the state by the sums. Weights and biases that go into the same sums have the same Δ, and form a block.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..tensor import Tensor
from .counting import held_bytes, one_step, probe_input, sweep_multiplications
from .forward import SeededLearner
from .jacobian import StepTape
from .sweep import Outer


class Member(NamedTuple):
    """One parameter, or a slice of one, in a block.

    index: the slice, None for all.  start, stop: its columns of a.
    transposed: whether it is (k, j) rather than (j, k).
    """

    name: str
    index: Any
    start: int
    stop: int
    transposed: bool


class Block(NamedTuple):
    """Parameters with the same Δ. members: what they are.  a: (L, m).  delta: (S, L, G), Δ of S cotangents."""

    members: tuple[Member, ...]
    a: Any
    delta: Any

    @property
    def key(self) -> str:
        """A name, the same in every step."""
        return "+".join(m.name if m.index is None else f"{m.name}[{_written(m.index)}]" for m in self.members)


def blocks(immediate: dict[str, list[Any]], cell: Any, rule: str, xp: Any) -> list[Block]:
    """The blocks of what a sweep gave. Raises ArgumentError for a parameter that acts in another way."""
    found: dict[int, tuple[Any, list[tuple[str, Any, Any, bool]]]] = {}
    for name, parts in immediate.items():
        slices = [part.part.index if isinstance(part.part, Outer) else None for part in parts]
        apart = all(index is not None for index in slices) and len(set(map(_written, slices))) == len(slices)
        if len(parts) > 1 and not apart:
            raise _refusal(rule, cell, name, f"acts through {len(parts)} products or sums at once")
        for part in (each.part for each in parts):
            if isinstance(part, Outer):
                delta, a = (part.columns, part.rows) if part.transposed else (part.rows, part.columns)
                member = (name, part.index, a[0], part.transposed)
            elif part.ndim <= 3:
                delta = part if part.ndim == 3 else part[..., None]
                member = (name, None, xp.ones((part.shape[1], 1), dtype=part.dtype), False)
            else:
                raise _refusal(rule, cell, name, "does not act through one product of matrices")
            found.setdefault(id(part if not isinstance(part, Outer) else delta), (delta, []))[1].append(member)
    return [_block(delta, members, xp) for delta, members in found.values()]


def _block(delta: Any, members: list[tuple[str, Any, Any, bool]], xp: Any) -> Block:
    ends = np.cumsum([0, *[a.shape[1] for _, _, a, _ in members]])
    listed = [
        Member(name, index, int(start), int(stop), transposed)
        for (name, index, _, transposed), start, stop in zip(members, ends, ends[1:])
    ]
    return Block(tuple(listed), xp.concat([a for _, _, a, _ in members], axis=1), delta)


def _refusal(rule: str, cell: Any, name: str, why: str) -> ArgumentError:
    return ArgumentError(
        f"{rule} needs weights that act through one product of matrices each, and biases that are added once; in "
        f"{type(cell).__name__} {name} {why}. Use UORO, which is unbiased for every cell."
    )


def _written(index: Any) -> str:
    return ",".join(f"{part.start}:{part.stop}" for part in index or ())


class KroneckerLearner(SeededLearner):
    """A stream with factors of the influence of each block: ``held`` has them as "block: factor".

    A rule implements `room`, `seeds` and `take`.
    """

    rule: str

    def prepare(self) -> None:
        self.members: dict[str, tuple[Member, ...]] = {}
        first = self._probe(StepTape.start(self.cell, self.batch))
        self._meet(first)
        if probe_input(self.cell, self.batch) is not None:
            self._meet(self._probe(one_step(self.cell, self.batch)))

    def _probe(self, step: StepTape) -> list[Block]:
        """The blocks of a step, for one cotangent, of zero."""
        zeros = self.xp.zeros((1, step.layout.rows, step.layout.size), dtype=self.dtype)
        return blocks(step.pull(zeros).immediate, self.cell, self.rule, self.xp)

    def _meet(self, found: list[Block]) -> None:
        """Make room for blocks that are new; raise if a parameter changes its company."""
        for block in found:
            if block.key in self.members:
                continue
            known = {(m.name, _written(m.index)) for members in self.members.values() for m in members}
            for member in block.members:
                if (member.name, _written(member.index)) in known:
                    raise _refusal(self.rule, self.cell, member.name, "acts in one way at first, and in another later")
            self.members[block.key] = block.members
            shapes = self.room(self.layout.rows, block.a.shape[-1], self.layout.size, block.delta.shape[-1])
            for what, shape in shapes.items():
                self.held.setdefault(f"{block.key}: {what}", self.xp.zeros(shape, dtype=self.dtype))

    @abstractmethod
    def room(self, lanes: int, m: int, n: int, g: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the factors of a block, by name: a has m numbers, Δ (n, g)."""

    @abstractmethod
    def seeds(self, q: Any) -> Any:
        """The cotangents (S, L, N) that a step needs. q: (L, N), of the loss."""

    @abstractmethod
    def take(self, factors: dict[str, Any], block: Block | None, step: StepTape, entering: Any, q: Any) -> Any:
        """Take a step into the factors of a block, putting new arrays in; return the block's gradient, (G, m).

        block: None where the block did not act in this step.  entering: (S, L, N), for `seeds`.
        """

    def advance(self, x: Tensor, state: Any) -> StepTape:
        """As for every rule, on x of the state's type: a mixture would part the sums that weights share."""
        if x.dtype.kind == "f" and x.dtype != self.dtype:
            x = x.astype(self.dtype)
        return StepTape(self.cell, x, state, self.batch)

    def learn(self, step: StepTape, cotangent: Any) -> dict[str, Any]:
        xp, q = self.xp, cotangent[0]
        entering, immediate = self.pull(step, self.seeds(q))
        found = {block.key: block for block in blocks(immediate, self.cell, self.rule, xp)}
        self._meet(list(found.values()))
        gradients = {name: xp.zeros(p.shape, dtype=p.dtype) for name, p in self.parameters}
        for key, members in self.members.items():
            names = [name for name in self.held if name.startswith(f"{key}: ")]
            factors = {name.removeprefix(f"{key}: "): self.held[name] for name in names}
            part = self.take(factors, found.get(key), step, entering, q)
            self.held |= {f"{key}: {what}": array for what, array in factors.items()}
            for member in members:
                own = part[:, member.start : member.stop]
                total = gradients[member.name]
                where = (...,) if member.index is None else tuple(member.index)
                total[where] = xp.reshape(xp.matrix_transpose(own) if member.transposed else own, total[where].shape)
        return gradients

    def load_trace(self, saved: dict[str, Any]) -> None:
        for name, array in saved.get("arrays", {}).items():  # blocks of a cell that shows them at its first step
            self.held.setdefault(name, self.backend.asarray(array, copy=True))
        super().load_trace(saved)


def outer(rows: Any, columns: Any, xp: Any) -> Any:
    """The sum over lanes of rows ⊗ columns: (L, G) and (L, m) give (G, m)."""
    return xp.matmul(xp.matrix_transpose(rows), columns)


def kronecker_cost(cell: Any, batch: int, learner: KroneckerLearner, seeds: int) -> tuple[int, int, StepTape]:
    """What all of these rules take in a step: multiplications, bytes, and the step that was counted."""
    step = one_step(cell, batch)
    held = sum(array.nbytes for array in learner.arrays())
    return step.multiplications() + sweep_multiplications(step, seeds), held + held_bytes(step), step
