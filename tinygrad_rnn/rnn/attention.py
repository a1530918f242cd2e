"""Attention over the states of a sequence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..nn import init
from ..nn.linear import Linear, check_size
from ..nn.module import Module
from ..random import Seed
from ..tape import user_line
from ..tensor import Tensor, tensor
from .state import check_lengths

__all__ = ["Attention"]


class Attention(Module):
    """A weighted mean of a sequence's states, with weights that depend on a query.

    a_t = softmax over t of score(q, k_t); context = Σ a_t k_t, where the score is

    - "additive": vᵀ tanh(W q + U k_t) [Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, sec. A.1.2], or
    - "dot": (W q)ᵀ k_t / √K, the general score of [Luong, Pham & Manning 2015, arXiv:1508.04025, eq. 8], scaled.

    query_size, key_size: Q and K.  score: as above.  size: rows of W, U and v of the additive score; default K.
    rng, dtype, backend: as in `nn.Linear`.

    Call: query (B, Q), keys (T, B, K), lengths (B,) or None → context (B, K), weights (T, B), which are zero past a
    lane's length and sum to 1. A sequence of queries (U, B, Q) gives contexts (U, B, K) and weights (U, T, B).

    >>> import tinygrad_rnn as tg
    >>> attention = tg.rnn.Attention(4, 3, rng=0)
    >>> context, weights = attention(tg.ones((2, 4)), tg.ones((5, 2, 3)), lengths=[5, 2])
    >>> context.shape, weights.shape, weights[2:, 1].tolist()
    ((2, 3), (5, 2), [0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        score: str = "additive",
        size: int | None = None,
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_size("query_size", query_size)
        check_size("key_size", key_size)
        if score not in ("additive", "dot"):
            raise ArgumentError(f'score is "additive" or "dot"; got {score!r}')
        self.query_size, self.key_size, self.score = query_size, key_size, score
        made: dict[str, Any] = {"rng": init.as_generator(rng), "dtype": dtype, "backend": backend}
        size = key_size if size is None or score == "dot" else size
        self.query = Linear(query_size, size, bias=score == "additive", **made)
        if score == "additive":
            self.key = Linear(key_size, size, bias=False, **made)
            self.value = Linear(size, 1, bias=False, **made)

    def forward(self, query: Any, keys: Any, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """query (..., B, Q), keys (T, B, K) → context (..., B, K), weights (..., T, B)."""
        if keys.ndim != 3 or keys.shape[1:] != (query.shape[-2], self.key_size):
            raise ShapeError(
                f"Attention expected keys of shape (T, {query.shape[-2]}, {self.key_size}) for a query of shape "
                f"{query.shape}; got {keys.shape}        at {user_line()}"
            )
        asked = ops.expand_dims(self.query(query), axis=-3)
        if self.score == "additive":
            scores = self.value(ops.tanh(asked + self.key(keys)))[..., 0]
        else:
            scores = ops.sum(keys * asked, axis=-1) * (1 / math.sqrt(self.key_size))
        ends = check_lengths(lengths, *keys.shape[:2])
        if ends is not None:
            past = np.arange(keys.shape[0])[:, None] >= ends
            scores = ops.where(tensor(past, backend=keys.backend), ops.full_like(scores, -math.inf), scores)
        weights = ops.softmax(scores, axis=-2)
        return ops.sum(weights[..., None] * keys, axis=-3), weights
