"""From a network's scores to symbols: draws at a temperature, and beam search."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..nn.linear import check_size
from ..random import Seed, as_generator
from ..tensor import Tensor, tensor
from .state import leaves_of, like_state

__all__ = ["Hypothesis", "beam_search", "draw"]


class Hypothesis(NamedTuple):
    """A sequence that beam search found: its symbols without start and end, its log probability, whether it ended."""

    symbols: tuple[int, ...]
    log_probability: float
    ended: bool


def draw(logits: Any, temperature: float = 1.0, *, rng: Seed = None) -> Any:
    """Draw from softmax(logits / temperature), for each lane; temperature 0 takes the likeliest.

    logits: (..., V), a Tensor or an array.  Returns integers (...), a NumPy array.
    Raises ArgumentError for a negative temperature.

    >>> import tinygrad_rnn as tg
    >>> tg.rnn.draw(tg.tensor([[0.0, 5.0], [1.0, 0.0]]), 0).tolist()
    [1, 0]
    """
    if not temperature >= 0:
        raise ArgumentError(f"a temperature is at least 0; got {temperature}")
    scores = np.asarray(logits.numpy() if isinstance(logits, Tensor) else logits, np.float64)
    if temperature == 0:
        return scores.argmax(axis=-1)
    # the Gumbel-max trick: argmax of scores plus noise is a draw from their softmax
    with np.errstate(over="ignore"):  # at a temperature near 0 all but the likeliest go to -inf
        scaled = (scores - scores.max(axis=-1, keepdims=True)) / temperature
    return (scaled + as_generator(rng).gumbel(size=scores.shape)).argmax(axis=-1)


def beam_search(
    step: Callable[[Tensor, Any], tuple[Tensor, Any]],
    state: Any,
    *,
    start: int,
    end: int,
    width: int = 5,
    max_length: int = 100,
    length_penalty: float = 0.0,
) -> list[Hypothesis]:
    """Search for the likeliest sequence, keeping the `width` best beginnings at every length. [Graves 2012; Sutskever
    et al. 2014, arXiv:1409.3215, sec. 3.2]

    step: ``step(symbols, state) -> (logits, state)`` with symbols (K,), logits (K, V), and one lane of the state's
        leaves (K, ...) for each beginning.
    state: the state before the first symbol, with one lane.  start, end: the symbols at both ends.
    length_penalty: α in log p / lengthᵃ, by which finished sequences are ranked [Wu et al. 2016, arXiv:1609.08144,
        eq. 14, in its simple form]; 0 ranks by probability.
    Returns at most `width` hypotheses, the best first; those that reached `max_length` have not ended. With width 1 it
    is greedy search.

    >>> import numpy as np, tinygrad_rnn as tg
    >>> after = np.log([[0.0001, 0.6, 0.4], [0.9, 0.05, 0.05], [0.0001, 0.0001, 0.9998]])  # 0 is start and end
    >>> step = lambda symbols, state: (tg.tensor(after[symbols.numpy()]), state)
    >>> tg.rnn.beam_search(step, tg.zeros((1, 1)), start=0, end=0, width=3, max_length=9)[0].symbols
    (1,)
    """
    check_size("width", width)
    check_size("max_length", max_length)
    if any(leaf.shape[0] != 1 for leaf in leaves_of(state)):
        raise ShapeError(f"beam search begins with one lane; got {[leaf.shape for leaf in leaves_of(state)]}")
    live, scores = [()], np.zeros(1)  # beginnings, and their log probabilities
    done: list[Hypothesis] = []
    last = np.array([start])

    def rank(found: Hypothesis) -> float:
        return found.log_probability / max(1, len(found.symbols) + 1) ** length_penalty

    for _ in range(max_length):
        logits, state = step(tensor(last), state)
        values = logits.numpy().astype(np.float64)
        values = values - values.max(axis=-1, keepdims=True)
        with np.errstate(divide="ignore"):
            values = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
        total = (scores[:, None] + values).ravel()
        best = np.argsort(-total, kind="stable")[: 2 * width]  # half of them at most can end
        lanes, symbols = best // values.shape[1], best % values.shape[1]
        kept: list[int] = []
        for place, (lane, symbol) in enumerate(zip(lanes, symbols)):
            if total[best[place]] == -math.inf:
                continue
            if symbol == end:
                if place < width:
                    done.append(Hypothesis(live[lane], float(total[best[place]]), True))
            elif len(kept) < width:
                kept.append(place)
        done = sorted(done, key=rank, reverse=True)[:width]
        if not kept:
            return done
        live = [(*live[lanes[place]], int(symbols[place])) for place in kept]
        scores, last = total[best[kept]], symbols[kept]
        if len(done) == width and length_penalty <= 0 and done[-1].log_probability >= scores[0]:
            return done  # what goes on can only become less likely
        state = like_state(state, [leaf[lanes[kept]] for leaf in leaves_of(state)])
    done += [Hypothesis(symbols, float(score), False) for symbols, score in zip(live, scores)]
    return sorted(done, key=lambda found: (found.ended, rank(found)), reverse=True)[:width]
