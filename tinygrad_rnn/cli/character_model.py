"""The character model that `train` trains and `generate` samples from: embedding, LSTM, linear readout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from .. import nn, ops, rnn
from ..data import UNKNOWN, Vocabulary
from ..errors import DataError, SnapshotError
from ..random import Seed, as_generator
from ..tensor import Tensor, tensor
from ..training import Snapshot

LARGEST = {"vocabulary": 1 << 21, "embedding": 1 << 14, "hidden": 1 << 14, "layers": 1 << 8}  # of each size


@dataclass(frozen=True)
class Sizes:
    """What the shapes of the model follow from."""

    vocabulary: int
    embedding: int
    hidden: int
    layers: int


class CharacterModel(nn.Module):
    """Predict the next character from all before it. [Mikolov et al. 2010; Graves 2013]

    Call: ids (T, B) integers, state → logits (T, B, V), state.
    """

    def __init__(self, sizes: Sizes, *, rng: Seed = None, dtype: Any = None, backend: Any = None) -> None:
        rng = as_generator(rng)
        options: dict[str, Any] = {"rng": rng, "dtype": dtype, "backend": backend}
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.embedding, **options)
        self.lstm = rnn.LSTM(sizes.embedding, sizes.hidden, sizes.layers, **options)
        self.readout = nn.Linear(sizes.hidden, sizes.vocabulary, **options)
        nn.init.forget_gate_bias_(self.lstm)

    def forward(self, ids: Tensor, state: Any = None, fused: bool = True) -> tuple[Tensor, Any]:
        """ids (T, B) → logits (T, B, V) and the state after the last character."""
        ys, state = self.lstm(self.embedding(ids), state, fused=fused)
        return self.readout(ys), state

    def loss(self, x: Any, y: Any, state: Any = None, fused: bool = True) -> tuple[Tensor, Any]:
        """Mean cross-entropy in nats of the next characters y (T, B), and the state."""
        logits, state = self(x, state, fused)
        return ops.cross_entropy(logits, y), state


def sizes_from(snapshot: Snapshot) -> Sizes:
    """The model's sizes from a snapshot, checked against the arrays in it before anything is made of them."""
    given = snapshot.metadata.get("sizes")
    names = [field.name for field in fields(Sizes)]
    if not isinstance(given, dict) or set(given) != set(names):
        raise SnapshotError(f"the snapshot is not one of a character model: expected sizes {', '.join(names)}")
    for name in names:
        value = given[name]
        if type(value) is not int or not 1 <= value <= LARGEST[name]:
            raise SnapshotError(f"the snapshot's {name} is {value!r}; expected an integer from 1 to {LARGEST[name]:,}")
    sizes = Sizes(**given)
    held, expected = snapshot.part("model"), _shapes(sizes)
    strange = [name for name in snapshot.arrays if name.partition(".")[0] not in ("model", "optimizer", "stream")]
    strange += [f"model.{name}" for name in held if name not in expected]
    if strange:
        raise SnapshotError(f"the snapshot holds arrays that no run wrote: {', '.join(map(ascii, strange[:3]))}")
    for name, shape in expected.items():
        if name not in held:
            raise SnapshotError(f"the snapshot lacks the array model.{name}")
        if held[name].shape != shape:
            raise SnapshotError(f"the snapshot's {name} has shape {held[name].shape}; its sizes ask for {shape}")
        if held[name].dtype != np.float32:
            raise SnapshotError(f"the snapshot's {name} is of {held[name].dtype}; expected float32")
    return sizes


def _shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    gates = 4 * sizes.hidden
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (sizes.vocabulary, sizes.embedding)}
    for layer in range(sizes.layers):
        shapes[f"lstm.weight_ih_l{layer}"] = (gates, sizes.hidden if layer else sizes.embedding)
        shapes[f"lstm.weight_hh_l{layer}"] = (gates, sizes.hidden)
        shapes[f"lstm.bias_ih_l{layer}"] = shapes[f"lstm.bias_hh_l{layer}"] = (gates,)
    return {**shapes, "readout.weight": (sizes.vocabulary, sizes.hidden), "readout.bias": (sizes.vocabulary,)}


def model_from(snapshot: Snapshot, backend: Any = None) -> tuple[CharacterModel, Vocabulary]:
    """The model and its vocabulary from a snapshot. Raises SnapshotError for one that does not fit."""
    sizes = sizes_from(snapshot)
    symbols = snapshot.metadata.get("vocabulary")
    try:
        vocabulary = Vocabulary.from_list(symbols)
    except DataError as error:
        raise SnapshotError(f"the snapshot's vocabulary is damaged: {error}") from error
    if len(vocabulary) != sizes.vocabulary:
        raise SnapshotError(f"the snapshot has {len(vocabulary)} characters and a model for {sizes.vocabulary}")
    weights = snapshot.part("model")
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise SnapshotError("the snapshot's weights are not all finite: the run that wrote it had diverged")
    model = CharacterModel(sizes, rng=0, backend=backend)
    model.load_state_dict(weights)
    return model, vocabulary


def sample(
    model: CharacterModel,
    vocabulary: Vocabulary,
    prompt: str,
    length: int,
    temperature: float,
    rng: np.random.Generator,
) -> Iterator[str]:
    """Yield `length` characters that the model writes after a prompt, drawn from softmax(logits / temperature).

    Temperature 0 takes the likeliest character each time.
    """
    ids = vocabulary.encode(prompt or "\n")
    logits, state = model(tensor(ids[:, None]))
    unknown = int(vocabulary.encode(UNKNOWN)[0])
    for _ in range(length):
        scores = logits.numpy()[-1, 0].astype(np.float64)
        if len(vocabulary) > 1:
            scores[unknown] = -np.inf  # it stands for no character in particular
        if temperature == 0:
            drawn = int(np.argmax(scores))
        else:  # the Gumbel-max trick: argmax of scores plus noise is a draw from their softmax
            with np.errstate(over="ignore"):  # at a temperature near 0 all but the likeliest go to -inf
                scaled = (scores - scores.max()) / temperature
            drawn = int(np.argmax(scaled + rng.gumbel(size=scores.shape)))
        yield vocabulary.decode([drawn])
        logits, state = model(tensor(np.array([[drawn]])), state)


def describe(sizes: Sizes) -> dict[str, int]:
    """The sizes as JSON, for a snapshot."""
    return asdict(sizes)
