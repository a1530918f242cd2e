"""Adam, and AdamW with decoupled weight decay."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from .optimizer import Optimizer, State, fraction, positive


class Adam(Optimizer):
    """Running mean over running root mean square, both corrected for their start at zero. [Kingma & Ba 2015, alg. 1]

    With m, v zero at first, and t the step's number from 1::

        g ← g + weight_decay · w
        m ← β₁ m + (1 - β₁) g
        v ← β₂ v + (1 - β₂) g²
        w ← w - lr · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + eps)

    parameters: see `Optimizer`.  lr: learning rate, above 0.  betas: β₁ and β₂, in [0, 1).  eps: above 0.
    weight_decay: at least 0, an L2 penalty (for decay apart from the gradient see `AdamW`).
    Raises ArgumentError for options outside these ranges.

    >>> import tinygrad_rnn as tg
    >>> w = tg.nn.Parameter([1.0, 1.0])
    >>> opt = tg.optim.Adam([w], lr=0.25)
    >>> opt.step([tg.tensor([0.5, -20.0])])
    >>> w.numpy().round(4).tolist()  # the first step has the size of lr, whatever the gradient's
    [0.75, 1.25]
    """

    decoupled = False  # whether weight decay acts beside the gradient's step, and not through it

    def __init__(
        self,
        parameters: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        betas = options["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ArgumentError(f"betas must be two numbers in [0, 1); got {betas!r}")
        fraction("betas[0]", betas[0])
        fraction("betas[1]", betas[1])
        positive(options, "eps")

    def update_all(
        self, xp: Any, values: list[Any], gradients: list[Any], states: list[State], options: dict[str, Any]
    ) -> list[tuple[Any, State]]:
        steps = [state.get("step", 0) + 1 for state in states]
        old = [
            [state[name] if state else xp.zeros_like(value) for value, state in zip(values, states)] for name in _KEPT
        ]
        numbers = options["lr"], *options["betas"], options["eps"], options["weight_decay"], self.decoupled
        new = xp.kernel("adam_step")(values, gradients, *old, steps, *numbers)
        return [
            (value, {"step": step, "mean": mean, "square": square}) for value, mean, square, step in zip(*new, steps)
        ]


_KEPT = "mean", "square"  # what is kept of a parameter beside the number of its steps


class AdamW(Adam):
    """Adam whose weight decay does not pass through the running means. [Loshchilov & Hutter 2019, alg. 2, as torch]

    ``w ← w · (1 - lr · weight_decay)`` comes first, then Adam's step without a penalty. Arguments as in
    `Adam`; weight_decay is 0.01 by default.

    >>> import tinygrad_rnn as tg
    >>> w = tg.nn.Parameter([1.0])
    >>> tg.optim.AdamW([w], lr=0.5, weight_decay=0.5).step([tg.tensor([0.0])])
    >>> w.item()
    0.75
    """

    decoupled = True

    def __init__(
        self,
        parameters: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)
