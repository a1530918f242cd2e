"""Recursive networks: one step for every node of a tree, from the leaves to the root.

Back-propagation through structure [Goller & Küchler 1996] is the sweep over the tape, as back-propagation through time
is: a chain is the tree in which every node has one child.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..nn import init
from ..nn.linear import check_features, check_size
from ..nn.module import Module
from ..random import Seed
from ..tape import user_line
from ..tensor import Parameter, Tensor

__all__ = ["Forest", "Tree", "TreeLSTM", "TreeRNN", "forest"]


class Tree(NamedTuple):
    """A node: its label, an integer, and its children.

    >>> from tinygrad_rnn.rnn import Tree
    >>> Tree(2, (Tree(0), Tree(1)))  # a node 2 over two leaves
    Tree(label=2, children=(Tree(label=0, children=()), Tree(label=1, children=())))
    """

    label: int
    children: tuple[Tree, ...] = ()


class Forest(NamedTuple):
    """Trees as arrays, with all nodes of one height side by side, so that a network takes them in one step.

    labels: (N,) integers, by height, leaves first.  children: (N, arity), each the number of a node, or N for none.
    starts: where each height begins, and N.  roots: (trees,) the node on top of each tree.
    """

    labels: Any
    children: Any
    starts: tuple[int, ...]
    roots: Any


def forest(trees: Sequence[Tree], arity: int = 2) -> Forest:
    """Put trees together. Raises ArgumentError for no tree, or a node with more than `arity` children.

    >>> from tinygrad_rnn.rnn import Tree, forest
    >>> made = forest([Tree(2, (Tree(0), Tree(1))), Tree(1)])
    >>> made.labels.tolist(), made.children[3].tolist(), made.roots.tolist()
    ([0, 1, 1, 2], [0, 1], [3, 2])
    """
    if not trees:
        raise ArgumentError("a forest needs at least one tree")
    order: list[Tree] = []  # every node after its children; no recursion, so a tree may be as deep as it likes
    below: list[list[int]] = []
    heights: list[int] = []
    roots = []
    for tree in trees:
        waiting: list[tuple[Tree, list[int] | None, int]] = [(tree, None, 0)]
        done: list[int] = []
        while waiting:
            node, seen, base = waiting.pop()
            if len(node.children) > arity:
                raise ArgumentError(f"a node has {len(node.children)} children; at most {arity} fit (arity={arity})")
            if seen is None and node.children:
                waiting.append((node, [], len(done)))
                waiting.extend((child, None, 0) for child in reversed(node.children))
                continue
            own = done[base:] if node.children else []
            del done[base if node.children else len(done) :]
            done.append(len(order))
            order.append(node)
            below.append(own)
            heights.append(1 + max((heights[i] for i in own), default=-1))
        roots.append(done[0])
    ranks = np.argsort(heights, kind="stable")
    place = np.empty(len(order) + 1, np.int64)
    place[ranks], place[-1] = np.arange(len(order)), len(order)
    children = np.full((len(order), arity), len(order), np.int64)
    for number, own in enumerate(below):
        children[place[number], : len(own)] = place[own]
    starts = np.searchsorted(np.sort(heights), np.arange(max(heights) + 2))
    labels = np.array([order[i].label for i in ranks], np.int64)
    return Forest(labels, children, tuple(int(i) for i in starts), place[roots])


class _Recursive(Module):
    """What the two networks share: their weights, and the way up the trees."""

    weight_ih: Parameter
    weight_hh: Parameter
    bias: Parameter
    _rows: Callable[[], tuple[int, int]]  # of weight_ih and weight_hh
    _step: Callable[..., tuple[Any, ...]]  # one height: inputs, the children's states → states

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        arity: int = 2,
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("arity", arity)):
            check_size(name, size)
        self.input_size, self.hidden_size, self.arity = input_size, hidden_size, arity
        rng = init.as_generator(rng)
        bound = 1 / math.sqrt(hidden_size)
        own, others = self._rows()
        for name, shape in (("weight_ih", (own, input_size)), ("weight_hh", (others, arity * hidden_size)),
                            ("bias", (own,))):  # fmt: skip
            drawn = init.uniform(shape, rng, low=-bound, high=bound, dtype=dtype)
            setattr(self, name, Parameter(drawn, backend=backend))

    def _up(self, xs: Any, trees: Forest, parts: int) -> tuple[Tensor, ...]:
        """The state of every node: height by height, each from the states below."""
        check_features(type(self).__name__, xs, self.input_size, self.weight_ih)
        count = len(trees.labels)
        if xs.shape[0] != count or trees.children.shape[1] != self.arity:
            raise ShapeError(
                f"{type(self).__name__} expected one input for each of {count} nodes, and children of shape "
                f"(N, {self.arity}); got inputs {xs.shape} and children {trees.children.shape}        at {user_line()}"
            )
        nothing = ops.zeros((1, self.hidden_size), dtype=xs.dtype, backend=xs.backend)
        levels: list[list[Any]] = [[] for _ in range(parts)]
        for begin, end in zip(trees.starts, trees.starts[1:]):
            # a missing child's state is zero: it stands behind all that is known so far
            children = np.minimum(trees.children[begin:end], begin)
            below = [ops.concat([*level, nothing], axis=0)[children] for level in levels]  # (n, arity, H)
            for level, made in zip(levels, self._step(xs[begin:end], *below)):
                level.append(made)
        return tuple(ops.concat(level, axis=0) for level in levels)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, arity={self.arity}"


class TreeRNN(_Recursive):
    """``h = tanh(W x + Σ_k U_k h_k + b)`` with one U for each place of a child. [Goller & Küchler 1996]

    input_size, hidden_size: I and H.  arity: the most children of a node.
    rng: a generator or a seed.  dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters: ``weight_ih`` (H, I), ``weight_hh`` (H, arity H), ``bias`` (H,).
    Call: xs (N, I), one input for each node of the forest (such as an embedding of its label), and a `Forest` →
    h (N, H), the state of every node; ``h[trees.roots]`` are the trees'.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.rnn import Tree, TreeRNN, forest
    >>> trees = forest([Tree(2, (Tree(0), Tree(1))), Tree(1)])
    >>> embedding = tg.nn.Embedding(3, 4, rng=0)
    >>> h = TreeRNN(4, 5, rng=0)(embedding(trees.labels), trees)
    >>> h.shape, h[trees.roots].shape
    ((4, 5), (2, 5))
    """

    def _rows(self) -> tuple[int, int]:
        return self.hidden_size, self.hidden_size

    def forward(self, xs: Any, trees: Forest) -> Tensor:
        """xs (N, I), trees → h (N, H)."""
        return self._up(xs, trees, 1)[0]

    def _step(self, x: Any, *below: Any) -> tuple[Any, ...]:
        flat = ops.reshape(below[0], (x.shape[0], self.arity * self.hidden_size))
        return (ops.tanh(x @ ops.matrix_transpose(self.weight_ih) + flat @ ops.matrix_transpose(self.weight_hh)
                         + self.bias),)  # fmt: skip


class TreeLSTM(_Recursive):
    """Long short-term memory along a tree, with one forget gate for each child. [Tai et al. 2015, eqs. 9 to 14]

    i, o, g (σ, σ, tanh) of W x + Σ_k U_k h_k + b; f_k = σ(W_f x + Σ_l U_kl h_l + b_f);
    c = i g + Σ_k f_k c_k; h = o tanh(c). (arXiv:1503.00075, the N-ary form.)

    Arguments and call as in `TreeRNN`; the call returns h and c, (N, H) each.
    Parameters: ``weight_ih`` (4H, I) in the order i, f, g, o, ``weight_hh`` ((3 + arity) H, arity H) in the order
    i, g, o, f_1 … f_arity, ``bias`` (4H,), in which the forget gate's part begins at 1.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.rnn import Tree, TreeLSTM, forest
    >>> trees = forest([Tree(2, (Tree(0), Tree(1))), Tree(1)])
    >>> h, c = TreeLSTM(4, 5, rng=0)(tg.ones((4, 4)), trees)
    >>> h.shape, c.shape
    ((4, 5), (4, 5))
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        bias = self.bias.numpy().copy()
        bias[self.hidden_size : 2 * self.hidden_size] = 1
        self.bias.assign(bias)

    def _rows(self) -> tuple[int, int]:
        return 4 * self.hidden_size, (3 + self.arity) * self.hidden_size

    def forward(self, xs: Any, trees: Forest) -> tuple[Tensor, Tensor]:
        """xs (N, I), trees → h, c, each (N, H)."""
        h, c = self._up(xs, trees, 2)
        return h, c

    def _step(self, x: Any, *below: Any) -> tuple[Any, ...]:
        h, c = below
        rows, size = x.shape[0], self.hidden_size
        x_i, x_f, x_g, x_o = ops.split(x @ ops.matrix_transpose(self.weight_ih) + self.bias, 4, axis=-1)
        flat = ops.reshape(h, (rows, self.arity * size)) @ ops.matrix_transpose(self.weight_hh)
        h_i, h_g, h_o, h_f = flat[:, :size], flat[:, size : 2 * size], flat[:, 2 * size : 3 * size], flat[:, 3 * size :]
        forget = ops.sigmoid(x_f[:, None, :] + ops.reshape(h_f, (rows, self.arity, size)))
        new = ops.sigmoid(x_i + h_i) * ops.tanh(x_g + h_g) + ops.sum(forget * c, axis=1)
        return ops.sigmoid(x_o + h_o) * ops.tanh(new), new
