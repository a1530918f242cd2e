"""Embedding: a table of vectors, looked up by integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, DTypeError, IndexingError
from ..tape import user_line
from ..tensor import Parameter, Tensor, asarray
from . import init
from .linear import check_size
from .module import Module, Seed


class Embedding(Module):
    """A trainable vector for each of `num_embeddings` symbols.

    num_embeddings: number of symbols.  embedding_dim: length of a vector.
    padding_idx: a symbol (may be negative, counted from the end) whose vector starts at zero and gets no gradient.
    rng: a generator or an integer seed for the initial values, standard normal as in torch.
    dtype: float32 (the default) or float64.  backend: where the parameter lives.

    Parameters: ``weight`` (num_embeddings, embedding_dim).
    Call: ids of any shape, integers from 0 to num_embeddings - 1 → (*ids.shape, embedding_dim). A symbol
    that occurs more than once gets the sum of its gradients.
    Raises DTypeError for ids that are not integers, IndexingError for ids outside the table.

    >>> import tinygrad_rnn as tg
    >>> embedding = tg.nn.Embedding(10, 4, rng=0)
    >>> embedding(tg.tensor([[1, 2], [2, 9]])).shape
    (2, 2, 4)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_size("num_embeddings", num_embeddings)
        check_size("embedding_dim", embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ArgumentError(
                f"padding_idx must be one of the {num_embeddings} symbols, 0 to {num_embeddings - 1}; got {padding_idx}"
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        weight = init.normal((num_embeddings, embedding_dim), rng, dtype=dtype)
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        self.weight = Parameter(weight, backend=backend)

    def forward(self, ids: Any) -> Tensor:
        """ids (...) → (..., embedding_dim)."""
        ids = self._checked(ids)
        vectors = ops.take(self.weight, ids, axis=0)
        if self.padding_idx is None:
            return vectors
        # where() sends exact zeros to the branch not taken: the padding vector keeps its value and gets no gradient
        padding = ops.expand_dims(ids == self.padding_idx, axis=-1)
        return ops.where(padding, vectors.detach(), vectors)

    def _checked(self, ids: Any) -> Tensor:
        if not hasattr(ids, "dtype") or not hasattr(ids, "shape"):
            ids = np.asarray(ids)
        if str(ids.dtype) not in ("int32", "int64"):
            raise DTypeError(
                f"Embedding expected integer ids (int32 or int64); got {ids.dtype} of shape {tuple(ids.shape)}. "
                f"Cast them: ids.astype(tg.int64)        at {user_line()}"
            )
        if not isinstance(ids, Tensor):
            ids = asarray(ids, backend=self.weight.backend)
        if ids.size:
            array = ids._array
            low, high = int(array.min()), int(array.max())
            if low < 0 or high >= self.num_embeddings:
                raise IndexingError(
                    f"Embedding expected ids from 0 to {self.num_embeddings - 1}; got ids from {low} to {high}. "
                    f"Make the table larger, or map unknown symbols to one inside.        at {user_line()}"
                )
        return ids

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
