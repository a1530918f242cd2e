"""EarlyStopping: end a training run when validation stops improving, and go back to the best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError, StateDictError
from ..nn.module import Module


class EarlyStopping:
    """Watch a validation metric; stop when it has not improved for `patience` validations. [Prechelt 1998]

    patience: validations without improvement before stopping, at least 1.
    mode: "min" for a metric that should fall (a loss), "max" for one that should rise (an accuracy).
    min_delta: the smallest change that counts as an improvement, at least 0.
    restore: whether the best weights are kept, for `restore_best`; a copy of the model's state in memory.

    After each validation call `update`; it says whether to stop. ``best`` is the best value so far (None before the
    first), ``best_step`` the step that came with it, ``waited`` the number of validations since.
    A NaN is no improvement, whatever came before.
    Raises ArgumentError for a patience below 1, an unknown mode and a negative min_delta.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.training import EarlyStopping
    >>> model = tg.nn.Linear(2, 1, rng=0)
    >>> stopping = EarlyStopping(patience=2)
    >>> [stopping.update(loss, model) for loss in (3.0, 2.0, 2.5, 2.1)]
    [False, False, False, True]
    >>> stopping.restore_best(model)  # the weights that came with 2.0
    2.0
    """

    def __init__(self, patience: int, *, mode: str = "min", min_delta: float = 0.0, restore: bool = True) -> None:
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 1:
            raise ArgumentError(
                f"patience counts validations without improvement before stopping, at least 1; got {patience!r}"
            )
        if mode not in ("min", "max"):
            raise ArgumentError(f'mode must be "min" (a loss) or "max" (an accuracy); got {mode!r}')
        if not 0 <= min_delta < math.inf:
            raise ArgumentError(f"min_delta must be a number of at least 0; got {min_delta!r}")
        self.patience, self.mode, self.min_delta, self.restore = patience, mode, float(min_delta), bool(restore)
        self.best: float | None = None
        self.best_step: int | None = None
        self.waited = 0
        self.weights: dict[str, Any] | None = None

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self.waited >= self.patience

    def is_better(self, value: float) -> bool:
        """Whether a value improves on the best so far by more than `min_delta`."""
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        gain = self.best - value if self.mode == "min" else value - self.best
        return gain > self.min_delta

    def update(self, value: float, model: Module | None = None, step: int | None = None) -> bool:
        """Note a validation; return whether to stop.

        value: the metric, a Python float.  model: whose weights are kept if the value is the best yet.
        step: noted beside it.  Raises ArgumentError if weights are to be kept and there is no model.
        """
        value = float(value)
        if self.restore and model is None:
            raise ArgumentError(
                "update needs the model, whose best weights it keeps; or make EarlyStopping(restore=False)"
            )
        if self.is_better(value):
            self.best, self.best_step, self.waited = value, step, 0
            if self.restore and model is not None:
                self.weights = model.state_dict()
        else:
            self.waited += 1
        return self.should_stop

    def restore_best(self, model: Module) -> float:
        """Load the best weights (parameters and buffers) into the model; return the best value.

        Raises ArgumentError if none were kept.
        """
        if self.weights is None or self.best is None:
            raise ArgumentError(
                "there are no best weights: no validation has given a number yet, or restore=False was chosen"
            )
        model.load_state_dict(self.weights)
        return self.best

    def state_dict(self) -> dict[str, Any]:
        """Return what a run that continues must know: "best", "best_step", "waited", and "weights" ({name: array}).

        All but the weights can be written as JSON; None stands for what is not there.
        """
        weights = None if self.weights is None else {name: array.copy() for name, array in self.weights.items()}
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited, "weights": weights}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`. Raises StateDictError if something is missing or of the wrong kind."""
        missing = [name for name in ("best", "best_step", "waited", "weights") if name not in values]
        if missing:
            raise StateDictError(f"the state of EarlyStopping lacks {', '.join(missing)}")
        best, step, waited, weights = (values[name] for name in ("best", "best_step", "waited", "weights"))
        for name, value, kinds in (
            ("best", best, (int, float, type(None))),
            ("best_step", step, (int, type(None))),
            ("waited", waited, int),
            ("weights", weights, (Mapping, type(None))),
        ):
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise StateDictError(f"the state of EarlyStopping has {name} = {value!r}")
        if waited < 0:
            raise StateDictError(f"the state of EarlyStopping has waited = {waited}")
        self.best, self.best_step, self.waited = None if best is None else float(best), step, waited
        self.weights = None if weights is None else dict(weights)
