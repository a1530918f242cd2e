"""Adagrad: steps divided by the root of the sum of all squared gradients."""

from __future__ import annotations

from typing import Any

from .optimizer import Optimizer, State, not_negative, positive


class Adagrad(Optimizer):
    """Divide by the root of the sum of all squared gradients. [Duchi, Hazan & Singer 2011; form as torch]

    With s the sum, `initial_accumulator_value` at first, and t the step's number from 1::

        g ← g + weight_decay · w
        s ← s + g²
        w ← w - lr / (1 + (t - 1) · lr_decay) · g / (√s + eps)

    parameters: see `Optimizer`.  lr: learning rate, above 0.  eps: above 0.
    lr_decay, weight_decay, initial_accumulator_value: at least 0.
    Raises ArgumentError for options outside these ranges.

    >>> import tinygrad_rnn as tg
    >>> w = tg.nn.Parameter([1.0])
    >>> tg.optim.Adagrad([w], lr=0.5).step([tg.tensor([3.0])])
    >>> round(w.item(), 6)
    0.5
    """

    def __init__(
        self,
        parameters: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        options = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay}
        start = {"initial_accumulator_value": initial_accumulator_value}
        super().__init__(parameters, {**options, **start, "eps": eps})

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        for name in ("lr_decay", "initial_accumulator_value"):
            not_negative(options, name)
        positive(options, "eps")

    def update(self, xp: Any, value: Any, gradient: Any, state: State, options: dict[str, Any]) -> tuple[Any, State]:
        decay = options["weight_decay"]
        if decay:
            gradient = gradient + decay * value
        step = state.get("step", 0) + 1
        total = state.get("total", float(options["initial_accumulator_value"])) + gradient * gradient
        lr = options["lr"] / (1 + (step - 1) * options["lr_decay"])
        return value - lr * gradient / (xp.sqrt(total) + options["eps"]), {"step": step, "total": total}
