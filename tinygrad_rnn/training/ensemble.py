"""Ensembles: models from different seeds, or from different samples of the data, and their averaged prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, DataError
from ..nn.module import Module
from ..random import Seed, as_generator
from ..tensor import Tensor
from .metrics import evaluating


class Ensemble(Module):
    """Several models as one: the mean of their outputs. [Breiman 1996; Lakshminarayanan, Pritzel & Blundell 2017]

    For a loss that is convex in the output, the ensemble's is at most the mean of its members' losses (Jensen).

    models: at least one; called alike, and returning Tensors of one shape.
    function: applied to each output before averaging, such as ``tg.softmax`` to average probabilities rather
        than logits; None takes outputs as they are.

    A Module itself: calling it gives the mean, with gradients; ``state_dict`` holds all members.
    Raises ArgumentError for no models, or for what is not a Module.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.training import Ensemble
    >>> ensemble = Ensemble([tg.nn.Linear(3, 1, rng=seed) for seed in range(5)])
    >>> ensemble.predict(tg.ones((2, 3))).shape
    (2, 1)
    """

    def __init__(self, models: Iterable[Module], function: Callable[[Any], Any] | None = None) -> None:
        self.models = list(models)
        self.function = function
        if not self.models:
            raise ArgumentError("an ensemble needs at least one model")
        for model in self.models:
            if not isinstance(model, Module):
                raise ArgumentError(f"an ensemble is made of Modules; got a {type(model).__name__}")

    @classmethod
    def from_seeds(
        cls,
        build: Callable[[int], Module],
        train: Callable[[Module, int], Any],
        seeds: Sequence[int],
        function: Callable[[Any], Any] | None = None,
    ) -> Ensemble:
        """Build and train one model for each seed, all on the same data.

        build: ``build(seed)`` makes a model.  train: ``train(model, seed)`` trains it in place.

        >>> import tinygrad_rnn as tg
        >>> from tinygrad_rnn.training import Ensemble
        >>> made = Ensemble.from_seeds(lambda seed: tg.nn.Linear(2, 1, rng=seed), lambda model, seed: None, range(3))
        >>> len(made)
        3
        """
        models = []
        for seed in seeds:
            model = build(seed)
            train(model, seed)
            models.append(model)
        return cls(models, function)

    @classmethod
    def bagged(
        cls,
        build: Callable[[int], Module],
        train: Callable[[Module, Any, int], Any],
        data: Sequence[Any],
        seeds: Sequence[int],
        function: Callable[[Any], Any] | None = None,
    ) -> Ensemble:
        """Build and train one model for each seed, each on its own bootstrap sample of the data. [Breiman 1996]

        build: ``build(seed)`` makes a model.  train: ``train(model, data, seed)`` trains it in place.
        data: arrays whose first axis is the examples, such as (x, y); see `bootstrap`.
        """

        def on_sample(model: Module, seed: int) -> None:
            train(model, bootstrap(data, seed), seed)

        return cls.from_seeds(build, on_sample, seeds, function)

    def outputs(self, *inputs: Any) -> Tensor:
        """What each member gives, (members, ...), recorded if a tape is on."""
        results = [model(*inputs) for model in self.models]
        return ops.stack([result if self.function is None else self.function(result) for result in results])

    def forward(self, *inputs: Any) -> Tensor:
        """The mean of the members' outputs."""
        return ops.mean(self.outputs(*inputs), axis=0)

    def predict(self, *inputs: Any) -> Tensor:
        """The mean of the members' outputs, in evaluation mode and off any tape. All modes are as before afterwards."""
        return self._evaluated(ops.mean, inputs)

    def spread(self, *inputs: Any) -> Tensor:
        """The standard deviation of the members' outputs, a measure of doubt; evaluated as in `predict`."""
        return self._evaluated(ops.std, inputs)

    def _evaluated(self, statistic: Callable[..., Any], inputs: Sequence[Any]) -> Tensor:
        with evaluating(self):
            return statistic(self.outputs(*inputs), axis=0)

    def __len__(self) -> int:
        return len(self.models)


def bootstrap(data: Sequence[Any], rng: Seed = None) -> tuple[Any, ...]:
    """Draw as many examples as there are, with replacement: about 63 % of them occur. [Efron 1979]

    data: arrays or Tensors with one first axis in common, the examples.  rng: a generator or an integer seed.
    Returns new arrays in the same order. Raises DataError for no arrays, no examples or unequal numbers of them.

    >>> import numpy as np
    >>> from tinygrad_rnn.training import bootstrap
    >>> x, y = bootstrap((np.arange(5), 10 * np.arange(5)), rng=0)
    >>> x.tolist(), y.tolist()
    ([4, 3, 2, 1, 1], [40, 30, 20, 10, 10])
    """
    counts = {tuple(each.shape)[:1] for each in data}
    if len(counts) != 1 or not next(iter(counts)) or not next(iter(counts))[0]:
        shapes = ", ".join(str(tuple(each.shape)) for each in data) or "nothing"
        raise DataError(f"bootstrap needs arrays with as many examples each, along the first axis; got {shapes}")
    count = next(iter(counts))[0]
    index = as_generator(rng).integers(count, size=count)
    return tuple(
        [ops.take(each, index, axis=0) if isinstance(each, Tensor) else np.asarray(each)[index] for each in data]
    )
