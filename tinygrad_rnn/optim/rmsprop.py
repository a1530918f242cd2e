"""RMSprop: steps divided by a running root mean square of the gradient."""

from __future__ import annotations

from typing import Any

from .optimizer import Optimizer, State, fraction, not_negative, positive


class RMSprop(Optimizer):
    """Divide by a running root mean square. [Tieleman & Hinton 2012; centered: Graves 2013; form as torch]

    With v, m running means of g² and g, and b the momentum's buffer, all zero at first::

        g ← g + weight_decay · w
        v ← alpha · v + (1 - alpha) · g²
        m ← alpha · m + (1 - alpha) · g                  (centered)
        d = √v + eps      or      √(v - m²) + eps         (centered)
        b ← momentum · b + g / d
        w ← w - lr · b

    parameters: see `Optimizer`.  lr: learning rate, above 0.  alpha: decay of the means, in [0, 1).  eps: above 0.
    weight_decay, momentum: at least 0.  centered: divide by the standard deviation.
    Raises ArgumentError for options outside these ranges.

    >>> import tinygrad_rnn as tg
    >>> w = tg.nn.Parameter([1.0])
    >>> tg.optim.RMSprop([w], lr=0.1, alpha=0.75).step([tg.tensor([4.0])])
    >>> round(w.item(), 6)
    0.8
    """

    def __init__(
        self,
        parameters: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(parameters, {**options, "momentum": momentum, "centered": centered})

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        fraction("alpha", options["alpha"])
        positive(options, "eps")
        not_negative(options, "momentum")

    def update(self, xp: Any, value: Any, gradient: Any, state: State, options: dict[str, Any]) -> tuple[Any, State]:
        alpha, momentum, decay = options["alpha"], options["momentum"], options["weight_decay"]
        if decay:
            gradient = gradient + decay * value
        square = alpha * state.get("square", 0.0) + (1 - alpha) * (gradient * gradient)
        new = {"square": square}
        variance = square
        if options["centered"]:
            new["mean"] = alpha * state.get("mean", 0.0) + (1 - alpha) * gradient
            variance = xp.maximum(square - new["mean"] * new["mean"], 0)  # round-off can make it negative
        move = gradient / (xp.sqrt(variance) + options["eps"])
        if momentum:
            move = new["momentum"] = momentum * state.get("momentum", 0.0) + move
        return value - options["lr"] * move, new
