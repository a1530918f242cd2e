"""Randomness is explicit: one place turns a seed into a generator, and a generator's state into an array and back.

Numbers are drawn on the host, so every backend gets the same ones. There is no global state.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .errors import ArgumentError, SnapshotError

__all__ = ["Seed", "as_generator", "generator_state", "set_generator_state"]

Seed = int | np.random.Generator | None  # what every `rng=` and `seed=` of the library takes


def as_generator(seed: Seed = None) -> np.random.Generator:
    """Return a generator: a new one for an integer, the same one for a generator, an unpredictable one for None.

    Raises ArgumentError for anything else, and for negative integers.

    >>> from tinygrad_rnn.random import as_generator
    >>> int(as_generator(0).integers(100)), int(as_generator(0).integers(100))
    (85, 85)
    >>> rng = as_generator(0)
    >>> as_generator(rng) is rng
    True
    """
    if isinstance(seed, np.random.Generator):
        return seed
    if seed is None or (isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and seed >= 0):
        return np.random.default_rng(seed)
    raise ArgumentError(
        f"a seed is an integer >= 0, a numpy.random.Generator, or None; got {seed!r}. "
        f"Write rng=0, or rng=numpy.random.default_rng(0)."
    )


def generator_state(rng: np.random.Generator) -> Any:
    """Return the state of a generator as a uint8 array (JSON text), for a snapshot on disk.

    >>> from tinygrad_rnn.random import as_generator, generator_state, set_generator_state
    >>> rng = as_generator(0)
    >>> saved = generator_state(rng)
    >>> first = rng.random()
    >>> set_generator_state(rng, saved)
    >>> rng.random() == first
    True
    """
    text = json.dumps(rng.bit_generator.state, default=lambda value: value.tolist())
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()


def set_generator_state(rng: np.random.Generator, state: Any) -> None:
    """Set a generator to a state from `generator_state`.

    Raises SnapshotError if the state cannot be read, or is that of another kind of bit generator.
    """
    wanted = type(rng.bit_generator).__name__
    try:
        found = json.loads(np.asarray(state, dtype=np.uint8).tobytes())
        kind = found["bit_generator"]
    except (ValueError, TypeError, KeyError) as error:
        raise SnapshotError(f"expected the state of a random generator as saved by generator_state; {error}") from error
    if kind != wanted:
        raise SnapshotError(f"the state is that of a {kind} generator, and this one is a {wanted}")
    try:
        rng.bit_generator.state = found
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise SnapshotError(f"the state of the {kind} generator is damaged: {error}") from error
