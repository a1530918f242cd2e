"""Encoder and decoder: from one sequence of symbols to another of a different length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..nn import init
from ..nn.embedding import Embedding
from ..nn.linear import Linear
from ..nn.module import Module
from ..random import Seed
from ..tensor import Tensor, tensor
from .attention import Attention
from .decoding import beam_search
from .layers import LSTM
from .state import check_lengths

__all__ = ["EncoderDecoder"]


class EncoderDecoder(Module):
    """Read a sequence with one LSTM, write another with a second one. [Sutskever, Vinyals & Le 2014, arXiv:1409.3215]

    The decoder begins in the encoder's last state and with the end symbol, is trained by teacher forcing, and stops at
    the end symbol. With attention it also sees a weighted mean of the encoder's states: h̃ = tanh(W [context; h]),
    which the output is read from. [Luong et al. 2015, arXiv:1508.04025, eq. 5]

    source_symbols, target_symbols: how many there are.  hidden_size: H.  embedding_size: E; default H.
    num_layers: of both LSTMs.  attention: None, "additive" or "dot", see `Attention`.  end: the end symbol of the
    target, which is its start symbol too.  rng, dtype, backend: as in `nn.Linear`.

    Call: source (T, B) and target (U, B), integers, source_lengths (B,) or None → logits (U, B, target_symbols): the
    scores of each target symbol given those before it.

    >>> import numpy as np, tinygrad_rnn as tg
    >>> model = tg.rnn.EncoderDecoder(5, 6, 8, attention="dot", rng=0)
    >>> source, target = np.ones((4, 2), int), np.array([[1, 2], [3, 0], [0, 0]])
    >>> model(source, target, [4, 3]).shape
    (3, 2, 6)
    >>> len(model.translate(source, [4, 3], max_length=7))
    2
    """

    def __init__(
        self,
        source_symbols: int,
        target_symbols: int,
        hidden_size: int,
        *,
        embedding_size: int | None = None,
        num_layers: int = 1,
        attention: str | None = None,
        end: int = 0,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        if not 0 <= end < target_symbols:
            raise ArgumentError(f"end is one of the {target_symbols} target symbols; got {end}")
        made: dict[str, Any] = {"rng": init.as_generator(rng), "dtype": dtype, "backend": backend}
        size = hidden_size if embedding_size is None else embedding_size
        self.end = end
        self.source_embedding = Embedding(source_symbols, size, **made)
        self.target_embedding = Embedding(target_symbols, size, **made)
        self.encoder = LSTM(size, hidden_size, num_layers, **made)
        self.decoder = LSTM(size, hidden_size, num_layers, **made)
        self.attention = None
        if attention is not None:
            self.attention = Attention(hidden_size, hidden_size, attention, **made)
            self.joined = Linear(2 * hidden_size, hidden_size, **made)
        self.output = Linear(hidden_size, target_symbols, **made)

    def forward(self, source: Any, target: Any, source_lengths: Any = None) -> Tensor:
        """source (T, B), target (U, B) → logits (U, B, V), by teacher forcing."""
        states, state = self.encode(source, source_lengths)
        target = np.asarray(target.numpy() if isinstance(target, Tensor) else target)
        before = np.concatenate([np.full_like(target[:1], self.end), target[:-1]])
        return self._decode(before, state, states, source_lengths)[0]

    def loss(self, source: Any, target: Any, source_lengths: Any = None, target_lengths: Any = None) -> Tensor:
        """Mean cross-entropy per target symbol in nats; symbols past `target_lengths` count for nothing."""
        target = np.asarray(target.numpy() if isinstance(target, Tensor) else target, np.int64)
        logits = self(source, target, source_lengths)
        ends = check_lengths(target_lengths, *target.shape)
        if ends is not None:
            target = np.where(np.arange(len(target))[:, None] < ends, target, -1)
        return ops.cross_entropy(logits, tensor(target, backend=logits.backend), ignore_index=-1)

    def encode(self, source: Any, lengths: Any = None) -> tuple[Tensor, Any]:
        """source (T, B) → the encoder's states (T, B, H), and its last state."""
        return self.encoder(self.source_embedding(source), lengths=lengths)

    def translate(self, source: Any, lengths: Any = None, *, max_length: int = 50, width: int = 1) -> list[list[int]]:
        """Write a target for each lane of source (T, B): greedily, or with a beam of `width`. Ends are left out."""
        states, state = self.encode(source, lengths)
        if width == 1:
            return self._greedy(states, state, lengths, max_length)
        return [
            list(self._beam(states, state, lengths, lane, max_length, width)) for lane in range(states.shape[1])
        ]  # fmt: skip

    def attended(self, source: Any, target: Any, lengths: Any = None) -> Any:
        """The weights of the attention, (U, T, B): where the decoder looks as it writes each symbol of the target."""
        if self.attention is None:
            raise ArgumentError('this model has no attention; make it with attention="additive" or "dot"')
        states, state = self.encode(source, lengths)
        target = np.asarray(target)
        before = np.concatenate([np.full_like(target[:1], self.end), target[:-1]])
        h, _ = self.decoder(self.target_embedding(before), state)
        return self.attention(h, states, lengths)[1].numpy()

    def _decode(self, symbols: Any, state: Any, states: Any, lengths: Any) -> tuple[Tensor, Any]:
        h, state = self.decoder(self.target_embedding(symbols), state)
        if self.attention is not None:
            context, _ = self.attention(h, states, lengths)
            h = ops.tanh(self.joined(ops.concat([context, h], axis=-1)))
        return self.output(h), state

    def _greedy(self, states: Any, state: Any, lengths: Any, max_length: int) -> list[list[int]]:
        batch = states.shape[1]
        last, written, ended = np.full((1, batch), self.end), [], np.zeros(batch, bool)
        for _ in range(max_length):
            logits, state = self._decode(last, state, states, lengths)
            last = logits.numpy().argmax(axis=-1)
            written.append(last[0])
            ended |= last[0] == self.end
            if ended.all():
                break
        return [_until(self.end, [int(symbols[lane]) for symbols in written]) for lane in range(batch)]

    def _beam(self, states: Any, state: Any, lengths: Any, lane: int, length: int, width: int) -> Sequence[int]:
        own = states[:, lane : lane + 1]
        ends = None if lengths is None else np.asarray(lengths)[lane : lane + 1]
        # beam search wants lanes first, the layers have them second
        first = tuple(ops.moveaxis(part[:, lane : lane + 1], 1, 0) for part in state)

        def step(symbols: Tensor, kept: Any) -> tuple[Tensor, Any]:
            count = symbols.shape[0]
            wide = ops.broadcast_to(own, (own.shape[0], count, own.shape[2]))
            inside = tuple(ops.moveaxis(part, 0, 1) for part in kept)
            lengths = None if ends is None else np.repeat(ends, count)
            logits, after = self._decode(symbols.numpy()[None], inside, wide, lengths)
            return logits[0], tuple(ops.moveaxis(part, 1, 0) for part in after)

        return beam_search(step, first, start=self.end, end=self.end, width=width, max_length=length)[0].symbols


def _until(end: int, symbols: list[int]) -> list[int]:
    return symbols[: symbols.index(end)] if end in symbols else symbols
