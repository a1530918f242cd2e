"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from .optimizer import Optimizer, State, not_negative


class SGD(Optimizer):
    """Gradient descent with momentum. [Polyak 1964; Nesterov 1983 in the form of Sutskever et al. 2013, as torch]

    With g the gradient, w the parameter and b the buffer (g itself at the first step)::

        g ← g + weight_decay · w
        b ← momentum · b + (1 - dampening) · g
        g ← g + momentum · b   (nesterov)     or     g ← b
        w ← w - lr · g

    parameters: see `Optimizer`.  lr: learning rate, above 0.  momentum: at least 0.  dampening: of the momentum.
    weight_decay: at least 0, an L2 penalty.  nesterov: needs momentum above 0 and no dampening.
    Raises ArgumentError for options outside these ranges.

    >>> import tinygrad_rnn as tg
    >>> w = tg.nn.Parameter([1.0, 2.0])
    >>> opt = tg.optim.SGD([w], lr=0.5)
    >>> with tg.Tape():
    ...     loss = tg.sum(w * w)
    ...     loss.backward()
    >>> opt.step()
    >>> w.tolist()
    [0.0, 0.0]
    """

    def __init__(
        self,
        parameters: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening}
        super().__init__(parameters, {**options, "weight_decay": weight_decay, "nesterov": nesterov})

    def check(self, options: dict[str, Any]) -> None:
        super().check(options)
        not_negative(options, "momentum")
        not_negative(options, "dampening")
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ArgumentError(
                f"nesterov needs momentum above 0 and dampening 0; got momentum={options['momentum']}, "
                f"dampening={options['dampening']}"
            )

    def update_all(
        self, xp: Any, values: list[Any], gradients: list[Any], states: list[State], options: dict[str, Any]
    ) -> list[tuple[Any, State]]:
        buffers = [state.get("momentum") for state in states]
        numbers = [options[name] for name in ("lr", "momentum", "dampening", "weight_decay", "nesterov")]
        new, buffers = xp.kernel("sgd_step")(values, gradients, buffers, *numbers)
        return list(zip(new, [{"momentum": buffer} for buffer in buffers] or states))
