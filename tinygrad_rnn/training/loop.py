"""The training loop: one for the project. `fit` gives it arrays and validation, the command `train` gives it text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import optim
from ..errors import ArgumentError, DataError
from ..nn.module import Module
from ..tape import Tape
from ..tensor import Tensor
from .carry import detached
from .interrupt import interruptible
from .progress import LiveLine

Loss = Callable[[Any, Any, Any], Any]  # (model, batch, carry) -> loss, or (loss, carry)


class Pace(NamedTuple):
    """How fast this part of a run is."""

    rate: float  # steps a second
    left: float  # seconds to the last step


class Loop:
    """A run in progress, from its first step or from a snapshot: what is the same in every run.

    A step is a function of what the run holds: the batch of that step, the weights, the optimiser's state and
    what the loss carries. A subclass gives `batch`, `report` and `save`; it may change the other public methods.

    ``step`` counts the steps done, ``steps`` those of the whole run, ``saved`` is the step of the last snapshot.
    ``stop`` ends the run after the step in which it is set. ``carry`` is what the loss returned beside its value.
    ``since`` are the sums since the last report. ``loss`` and ``norm`` are those of the last step.
    """

    unit = 1.0  # of the loss as reported; the gradient is that of the loss itself

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: optim.Optimizer,
        *,
        steps: int,
        every: int,
        schedules: Sequence[optim.Schedule] = (),
        clip: float | None = None,
        silent: bool = False,
    ) -> None:
        self.model, self.loss_of, self.optimizer, self.schedules = model, loss, optimizer, list(schedules)
        self.steps, self.every, self.clip, self.silent = steps, every, clip, silent
        self.step = self.saved = 0
        self.stop = self.interrupted = False
        self.carry: Any = None
        self.since = {"loss": 0.0, "norm": 0.0, "clipped": 0.0, "steps": 0.0}
        self.loss = self.norm = math.nan

    # ---- what a subclass gives

    def batch(self) -> Any:
        """The batch of the next step, a function of ``step``."""
        raise TypeError(f"{type(self).__name__} must define batch()")

    def report(self, pace: Pace) -> str:
        """Validate, keep the means since the last report, and return a line for people."""
        raise TypeError(f"{type(self).__name__} must define report(pace)")

    def save(self) -> None:
        """Write what the next step depends on, and set ``saved``."""
        raise TypeError(f"{type(self).__name__} must define save()")

    def live(self, loss: float, pace: Pace) -> str:
        """What stands beside the moving bar."""
        return f"loss {loss:.4g}"

    def after_step(self) -> None:
        """Called after each step and its report, before the snapshot."""

    def hopeless(self, loss: float) -> bool:
        """Whether a loss, in the unit of the reports, says that the run has diverged."""
        return not math.isfinite(loss)

    def described(self, loss: float) -> str:
        """A loss, in the unit of the reports, as text."""
        return f"{loss:.4g}"

    def advice(self) -> str:
        """What to try after a run that has diverged, and where its last good state is."""
        return "Try a smaller learning rate, or clip the gradients."

    # ---- the loop

    def loop(self) -> None:
        """Train to the last step, or until ``stop`` is set, by Ctrl-C for example; the last state is saved.

        Raises DataError if the run diverges, and KeyboardInterrupt for a second Ctrl-C.
        """
        begun, begun_at = time.perf_counter(), self.step
        quiet = np.errstate(over="ignore", invalid="ignore")  # a run that diverges is told so in better words
        bar = LiveLine(self.steps, self.step, silent=self.silent)
        with interruptible(self._ask_to_stop), quiet, bar:
            while self.step < self.steps and not self.stop:
                loss = self._one_step()
                seconds = time.perf_counter() - begun
                done = self.step - begun_at
                pace = Pace(done / seconds, seconds / done * (self.steps - self.step))
                bar.update(self.step, self.live(loss, pace))
                due = self.step % self.every == 0 or self.step == self.steps
                if due:
                    bar.print(self.report(pace))
                self.after_step()
                if due:
                    self.save()
            if self.saved != self.step:
                self.save()

    def _ask_to_stop(self) -> None:
        self.stop = self.interrupted = True

    def _one_step(self) -> float:
        """Forward, backward, clipped update. Returns the loss in the unit of the reports."""
        with Tape() as tape:
            loss, carry = split(self.loss_of(self.model, self.batch(), self.carry))
        parameters = [parameter for parameter in self.optimizer.parameters() if parameter.requires_grad]
        found = tape.gradient(loss, parameters)
        limit = math.inf if self.clip is None else self.clip
        gradients, norm = optim.clip_by_norm(dict(zip(parameters, found)), limit, error_if_nonfinite=False)
        value = loss.item() * self.unit
        if self.hopeless(value) or not math.isfinite(norm):
            raise self.diverged(f"the loss is {self.described(value)} and the gradient's norm {norm:.3g}")
        self.optimizer.step(gradients)
        for schedule in self.schedules:
            schedule.step()
        self.carry = detached(carry)
        self.step += 1
        self.loss, self.norm = value, norm
        self.since["loss"] += value
        self.since["norm"] += norm
        self.since["clipped"] += norm > limit
        self.since["steps"] += 1
        return value

    def means(self) -> dict[str, float]:
        """The means of loss, gradient's norm and share of clipped steps since the last report; then they are zero."""
        steps = self.since["steps"]
        means = {name: total / steps for name, total in self.since.items() if name != "steps"}
        self.since = dict.fromkeys(self.since, 0.0)
        return means

    def weights(self) -> dict[str, Any]:
        """The model's state for a snapshot. Raises DataError if it is not finite: then the last snapshot stays."""
        arrays = self.model.state_dict()
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise self.diverged("the weights are not finite")
        return arrays

    def diverged(self, what: str) -> DataError:
        """The error for a run that has diverged."""
        return DataError(f"after step {self.step} {what}: the run has diverged. {self.advice()}")


def split(result: Any) -> tuple[Tensor, Any]:
    """What a loss function returned, as (loss, carry). Raises ArgumentError if it is neither form."""
    loss, carry = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(loss, Tensor):
        raise ArgumentError(
            f"loss(model, batch, carry) must return a Tensor, or (Tensor, carry); got a {type(loss).__name__}"
        )
    return loss, carry
