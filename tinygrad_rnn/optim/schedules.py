"""Learning-rate schedules. They count steps, never seconds, so a run that is continued sees the same rates."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError, StateDictError
from .optimizer import Optimizer


class Schedule:
    """Base of the schedules: a factor for each step, by which the optimiser's learning rates are multiplied.

    optimizer: whose learning rates to set. The rate of a group is its ``base_lr`` (its ``lr`` when the
    first schedule was made) times the factors of all schedules made for the optimiser: several of
    them work together as a product, each with its own ``step()`` after each ``optimizer.step()``.
    A subclass defines ``factor(step)``, for steps from 0.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"a schedule needs an optimiser; got a {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.steps = 0
        self._place = len(optimizer.factors)
        optimizer.factors.append(1.0)
        self._set()

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at a step, counted from 0."""
        raise TypeError(f"{type(self).__name__} must define factor(step)")

    def step(self) -> None:
        """Go on to the next step's learning rate. Call it after ``optimizer.step()``."""
        self.steps += 1
        self._set()

    def state_dict(self) -> dict[str, int]:
        """Return the number of steps so far: a schedule's whole state. The rates are in the optimiser's."""
        return {"steps": self.steps}

    def load_state_dict(self, saved: dict[str, int]) -> None:
        """Go to the step at which `state_dict` was taken, and set that step's rates.

        Load the optimiser's own state first: it holds the rates that the factors multiply.
        Raises StateDictError unless it holds a number of steps.
        """
        steps = saved.get("steps") if isinstance(saved, dict) else None
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
            raise StateDictError(f'expected the state_dict of a schedule, {{"steps": n}}; got {saved!r}')
        self.steps = steps
        self._set()

    def _set(self) -> None:
        factors = self.optimizer.factors
        factors[self._place] = self.factor(self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group.setdefault("base_lr", group["lr"]) * math.prod(factors)


class StepDecay(Schedule):
    """Multiply the learning rate by `factor` once every `every` steps.

    optimizer: see `Schedule`.  every: a number of steps, at least 1.  factor: above 0, at most 1.
    Raises ArgumentError for others.

    >>> import tinygrad_rnn as tg
    >>> opt = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.StepDecay(opt, every=2, factor=0.5)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates.append(opt.param_groups[0]["lr"])
    ...     opt.step()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, every: int, factor: float = 0.1) -> None:
        _check_steps("every", every, 1)
        if not 0 < factor <= 1:
            raise ArgumentError(f"factor must be above 0 and at most 1; got {factor!r}")
        self.every, self.decay = every, float(factor)
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        return self.decay ** (step // self.every)


class WarmUp(Schedule):
    """Raise the learning rate linearly: (step + 1) / steps of it in the first steps, then all. [Goyal et al. 2017]

    optimizer: see `Schedule`.  steps: length of the warm-up, at least 1.  Raises ArgumentError for others.

    >>> import tinygrad_rnn as tg
    >>> opt = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.WarmUp(opt, steps=4)
    >>> [schedule.factor(t) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    def __init__(self, optimizer: Optimizer, steps: int) -> None:
        _check_steps("steps", steps, 1)
        self.length = steps
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        return _ramp(step, self.length)


class CosineDecay(Schedule):
    """Lower the learning rate along half a cosine wave, after a linear warm-up. [Loshchilov & Hutter 2017, eq. 5]

    optimizer: see `Schedule`.  total_steps: where the wave ends; later steps keep the last rate.
    warmup_steps: length of the warm-up, below total_steps.  final: the last rate as a share of the first, in [0, 1].
    Raises ArgumentError for others.

    >>> import tinygrad_rnn as tg
    >>> opt = tg.optim.SGD([tg.nn.Parameter([0.0])], lr=1.0)
    >>> schedule = tg.optim.CosineDecay(opt, total_steps=6, warmup_steps=2, final=0.1)
    >>> [round(schedule.factor(t), 4) for t in range(8)]
    [0.5, 1.0, 1.0, 0.8682, 0.55, 0.2318, 0.1, 0.1]
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> None:
        _check_steps("total_steps", total_steps, 1)
        _check_steps("warmup_steps", warmup_steps, 0)
        if warmup_steps >= total_steps:
            raise ArgumentError(
                f"warmup_steps must be below total_steps; got warmup_steps={warmup_steps}, total_steps={total_steps}"
            )
        if not 0 <= final <= 1:
            raise ArgumentError(f"final is the last rate as a share of the first, in [0, 1]; got {final!r}")
        self.total_steps, self.warmup_steps, self.final = total_steps, warmup_steps, float(final)
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        if step < self.warmup_steps:
            return _ramp(step, self.warmup_steps)
        done = min(1.0, (step - self.warmup_steps) / (self.total_steps - self.warmup_steps))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))


def _ramp(step: int, length: int) -> float:
    return min(1.0, (step + 1) / length)


def _check_steps(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ArgumentError(f"{name} must be an integer of at least {least}; got {value!r}")
