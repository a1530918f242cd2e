"""Do gradients vanish or explode on their way back, and why: a verdict in words and numbers.

The gradient of the last loss with respect to the state of step t is a product of T - t Jacobians, which shrinks or
grows about geometrically with the distance. [Hochreiter 1991; Bengio, Simard & Frasconi 1994; Pascanu, Mikolov &
Bengio 2013]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, GradientError
from ..nn.module import Module
from ..random import as_generator
from ..tape import Tape, user_line
from ..tensor import Tensor, asarray
from .contributions import seeds_of
from .jacobian import _first_tensor, gradient_flow
from .passages import Passage, along_depth, dead_units, passages

OFTEN = 0.5  # a share that is worth a remark: of saturated entries, of clipped steps


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; ``print`` shows it in words.

    passages: the way of the gradient through each recurrence (or through the layers, where there is none), the one
        with the largest change first. `verdict`, `decay`, `ratio`, `horizon` and `spectral_radius` are those of the
        first.
    saturation: share of entries by gate and unit whose derivative is below a tenth of its largest, of that passage.
    dead: ReLU units that never fired, {place: (dead, all)}.
    clipped: share of training steps whose gradient was clipped; None if it was not given.
    advice: what to try, a sentence each.
    """

    passages: list[Passage]
    dead: dict[str, tuple[int, int]]
    clipped: float | None
    advice: list[str]

    @property
    def verdict(self) -> str:
        """ "vanishing", "exploding" or "healthy"."""
        return self.passages[0].verdict

    @property
    def decay(self) -> float:
        """The factor by which the gradient changes per step back."""
        return self.passages[0].decay

    @property
    def ratio(self) -> float:
        """The gradient's norm at the first step over that at the last."""
        return self.passages[0].ratio

    @property
    def horizon(self) -> float:
        """Steps back after which the gradient has changed a hundredfold."""
        return self.passages[0].horizon

    @property
    def spectral_radius(self) -> dict[str, float]:
        """Largest |eigenvalue| of the recurrent matrix, for each gate that it serves."""
        return self.passages[0].spectral_radius

    @property
    def saturation(self) -> dict[str, float]:
        """Share of saturated entries, for each gate and unit."""
        return self.passages[0].saturation

    def __str__(self) -> str:
        lines = [_headline(self.passages[0])]
        for each in self.passages:
            lines += ["", *_described(each)]
        rows = []
        if self.dead:
            dead, units = (sum(column) for column in zip(*self.dead.values()))
            rows.append(f"  dead ReLUs: {dead} of {units}")
        if self.clipped is not None:
            rows.append(f"  clipped steps: {self.clipped:.0%}")
        lines += ["", *rows] if rows else []
        if self.advice:
            lines += ["", "What to try:", *[f"  - {each}" for each in self.advice]]
        return "\n".join(lines)


def diagnose(subject: Any, xs: Any = None, loss: Any = None, *, clipped: Any = None) -> Diagnosis:
    """Say whether gradients vanish or explode in a recurrent network, or in the layers of a deep one, and why.

    subject: one of
        a cell (``initial_state`` and ``cell(x, state)``), which is run over xs (T, B, I); `loss` takes its output
        (B, H) and the number of the step, as for the gradient rules;
        another Module, called with xs; `loss` takes its output (of several, the first) and returns a scalar;
        a Tape; `loss` is the Tensor whose gradient is looked at, by default what was swept last, or else the last
        floating scalar.
        A Module is looked at as a copy, so that its random generators and running statistics stay as they are.
    loss: None for a random direction of norm 1 at the end, instead of a loss.
    clipped: of training steps, whether the gradient was clipped: a share between 0 and 1, or one flag a step.

    Only the loss of the last step is sent back, as gradients of many losses hide how each of them fades. The verdict is
    "vanishing" if less than a hundredth of its norm arrives at the first step, "exploding" if more than a hundredfold
    does or something is not finite, and else "healthy". In a model without a recurrence, the same is asked of its
    layers. A fused layer is run again step by step.

    Raises ArgumentError for another subject, or if there is nothing to follow (fewer than two steps); GradientError
    for a loss that is no scalar; what the model itself raises.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.ElmanCell(2, 16, rng=0)
    >>> found = tg.inspect.diagnose(cell, tg.ones((50, 4, 2)), lambda y, t: tg.sum(y * y))
    >>> found.verdict, bool(0 < found.decay < 0.7), list(found.spectral_radius)
    ('vanishing', True, ['W'])
    >>> print(found)  # doctest: +ELLIPSIS
    vanishing: per step back in time, the gradient is multiplied by ...
    """
    share = None if clipped is None else _share(clipped)
    if isinstance(subject, Tape):
        found, dead = passages(subject, seeds_of(subject, loss)), dead_units(subject)
    else:
        found, dead = _of_model(subject, xs, loss)
    if not found:
        raise ArgumentError(
            "there is nothing to follow: diagnose looks for a recurrence of two steps or more (records with a time "
            "step, as rnn.scan and tg.scope(step=t) make them, or an RNN, GRU or LSTM), or a Module with two layers."
            f"        at {user_line()}"
        )
    found.sort(key=lambda each: -each.change)
    return Diagnosis(found, dead, share, _advice(found[0], dead, share))


def _of_model(subject: Any, xs: Any, loss: Any) -> tuple[list[Passage], dict[str, tuple[int, int]]]:
    if xs is None or not callable(subject):
        got = type(subject).__name__
        raise ArgumentError(f"diagnose takes a tape, or a model and its inputs: diagnose(model, xs, loss); got {got}")
    model = subject.copy() if isinstance(subject, Module) else subject
    parameters = model.parameters() if isinstance(model, Module) else ()
    backend = next((parameter.backend for parameter in parameters), None)
    xs = xs if isinstance(xs, Tensor) else asarray(xs, backend=backend)
    is_cell = hasattr(model, "initial_state")
    with Tape() as tape:
        if is_cell:
            from ..rnn.scan import scan

            output = scan(model, xs)[0][-1]
        else:
            output = _first_tensor(model(xs))
        target = output if loss is None else loss(output, len(xs) - 1) if is_cell else loss(output)
    cotangent = None
    if loss is None:
        direction = as_generator(0).standard_normal(output.shape)
        cotangent = (direction / np.linalg.norm(direction)).astype(output.dtype)
    elif not isinstance(target, Tensor) or target.size != 1:
        got = getattr(target, "shape", type(target).__name__)
        raise GradientError(f"diagnose needs a loss that returns a scalar Tensor; got {got}        at {user_line()}")
    found = passages(tape, seeds_of(tape, target, cotangent))
    if not found and isinstance(subject, Module) and len(list(subject.named_children())) > 1:
        found = [along_depth(type(subject).__name__, gradient_flow(subject, xs, loss).outputs)]
    return found, dead_units(tape)


def _share(clipped: Any) -> float:
    share = float(np.mean(np.asarray(clipped, dtype=np.float64)))
    if not 0 <= share <= 1:
        raise ArgumentError(f"clipped is a share of the steps, or one flag a step; got {clipped!r}")
    return share


# ---- in words


def _headline(worst: Passage) -> str:
    unit = "step back in time" if worst.along == "time" else "layer back"
    if not all(map(math.isfinite, worst.norms)):
        return "exploding: the gradient is not finite"
    return f"{worst.verdict}: per {unit}, the gradient is multiplied by {_number(worst.decay)}"


def _described(passage: Passage) -> list[str]:
    unit = "time step" if passage.along == "time" else "layer"
    lines = [
        f"{passage.name}, {len(passage.norms)} {unit}s",
        f"  norm of the gradient at the first {unit} over that at the last: {_number(passage.ratio)}",
    ]
    if math.isfinite(passage.horizon):
        way = "falls to a hundredth" if passage.decay < 1 else "grows a hundredfold"
        lines.append(f"  at this rate it {way} in {passage.horizon:.0f} {unit}s")
    if passage.spectral_radius:
        lines.append(f"  spectral radius of the recurrent matrix: {_listed(passage.spectral_radius, '.2f')}")
    if passage.saturation:
        lines.append(f"  saturated: {_listed(passage.saturation, '.0%')}")
    return lines


def _advice(worst: Passage, dead: dict[str, tuple[int, int]], clipped: float | None) -> list[str]:
    """What to try, the likeliest cause first."""
    gates = [name for name in worst.saturation if name.startswith("sigmoid")]
    radius = max(worst.spectral_radius.values(), default=math.nan)
    units = {name: share for name, share in worst.saturation.items() if name.startswith("tanh")}
    advice = []
    if worst.verdict == "vanishing":
        if max(units.values(), default=0) > OFTEN:
            advice.append(
                f"Most units are saturated ({_listed(units, '.0%')}), where tanh passes little on: scale the inputs "
                "and weights down, normalise (nn.LayerNorm), or lower the learning rate."
            )
        if worst.along == "depth":
            advice.append(
                "Add residual connections (nn.Residual), and initialise for the nonlinearity (nn.init.he_normal)."
            )
        elif gates:
            advice.append(
                "Open the gate that keeps the state: for an LSTM nn.init.forget_gate_bias_(model, 1.0), or more than 1 "
                "for longer distances."
            )
        else:
            if radius < 1:
                advice.append(
                    f"Start with a recurrent matrix whose spectral radius is 1, not {radius:.2f}: nn.init.orthogonal "
                    "for tanh, nn.init.irnn_ for ReLU."
                )
            advice.append("Use a gated cell (rnn.LSTM, rnn.GRU), whose state is added to rather than multiplied.")
        if worst.along == "time":
            advice.append("Shorten the distance: a loss at more steps, attention over the states, or skips in time.")
    elif worst.verdict == "exploding":
        advice.append(
            "Clip the norm of the gradient: optim.clip_grad_norm(parameters, 1.0), or clip=1.0 in training.fit."
        )
        if radius > 1:
            advice.append(f"Shrink the recurrent matrix, whose spectral radius is {radius:.2f}: nn.init.orthogonal.")
        if worst.along == "depth":
            advice.append("Initialise for the nonlinearity (nn.init.he_normal), normalise (nn.LayerNorm).")
        advice.append("Lower the learning rate; find what is not finite with inspect.watch(tape).")
    if clipped is not None and clipped > OFTEN:
        advice.append(
            f"{clipped:.0%} of the steps were clipped, so the threshold sets the size of a step: raise it, or lower "
            "the learning rate."
        )
    lost, all_units = (sum(column) for column in zip(*dead.values())) if dead else (0, 0)
    if lost:
        advice.append(
            f"{lost} of {all_units} ReLU units never fire here and learn nothing: a smaller learning rate, "
            "nn.init.he_normal, or leaky_relu."
        )
    return advice


def _listed(shares: dict[str, float], form: str) -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in shares.items())


def _number(value: float) -> str:
    return f"{value:.3g}"
