"""What a training run reports: its history in memory, metrics.jsonl on disk, and the loss on a validation set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..nn.module import Module
from ..tape import paused
from .batches import ArrayBatches
from .loop import Loss, split


@dataclass
class History:
    """What `fit` returns: a line for each report.

    lines: dicts of "step" (steps done), "loss" (mean over the steps since the line before), "gradient_norm" (mean,
        before clipping), "clipped" (share of those steps), "learning_rate" (of the next step) and the validation's.
    steps: steps done.
    stopped: why it ended before its last step: "early stopping", "interrupt" (Ctrl-C), "callback", or "" if it did not.

    ``history["loss"]`` is a column: one value a line.
    """

    lines: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    stopped: str = ""

    def __getitem__(self, name: str) -> list[Any]:
        """A column. Raises ArgumentError for a name that no line has."""
        found = [line[name] for line in self.lines if name in line]
        if not found:
            names = ", ".join(dict.fromkeys(key for line in self.lines for key in line)) or "none: there is no line yet"
            raise ArgumentError(f"the history has no column {name!r}; it has {names}")
        return found

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={value:.4g}" for name, value in self.lines[-1].items()) if self.lines else "no line"
        return f"History({self.steps} steps{', ' + self.stopped if self.stopped else ''}: {last})"


def write_metrics(folder: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write metrics.jsonl: each line of a history as one JSON object."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode, and nothing recorded; afterwards all modes are as before."""
    with modes_kept(model), paused():
        model.eval()
        yield


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Leave each module in the mode in which it was."""
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def loss_on(model: Module, loss: Loss, batches: ArrayBatches) -> dict[str, float]:
    """The mean loss over examples, each batch weighted by its size; the loss carries nothing between batches."""
    total = 0.0
    for batch in batches.in_order():
        value, _ = split(loss(model, batches.placed(batch), None))
        total += value.item() * len(batch[0])
    return {"validation_loss": total / batches.examples}


def measured(function: Callable[[Module], Any], model: Module, taken: Sequence[str]) -> dict[str, float]:
    """What a validation function says, as {name: float}; a single number is the "validation_loss".

    Raises ArgumentError for anything but a number or a dict of names and numbers, and for names that are `taken`.
    """
    found = function(model)
    named = found if isinstance(found, Mapping) else {"validation_loss": found}
    made = {}
    for name, value in named.items():
        value = value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, Real):
            raise ArgumentError(
                f"validation(model) must return a number, or a dict of names and numbers; got {name!r}: {value!r}"
            )
        if name in taken:
            raise ArgumentError(
                f"validation(model) returned {name!r}, which is a name of the training's own; rename it"
            )
        made[name] = float(value)
    if not made:
        raise ArgumentError("validation(model) returned no number")
    return made
