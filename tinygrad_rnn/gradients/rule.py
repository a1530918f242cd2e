"""The interface of every gradient rule, and what all of them do alike: name parameters, take losses, add up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, DataError, GradientError, ShapeError
from ..rnn.state import check_sequence, detached, leaves_of
from ..tape import Tape, scope, user_line
from ..tensor import Parameter, Tensor, asarray

Loss = Callable[..., Tensor]
Gradients = dict[str, Tensor]


class Step(NamedTuple):
    """What one online step gives."""

    loss: Tensor  # scalar, the loss of this step
    output: Tensor  # (B, H), the cell's output
    gradients: Gradients | None  # None while a window fills


class GradientResult(NamedTuple):
    """What a whole sequence gives."""

    loss: Tensor  # scalar, the sum over time
    gradients: Gradients  # by the cell's parameter names; a loss's own under "loss."
    state: Any  # the cell's state after the last step


class Cost(NamedTuple):
    """What a rule will take, for a whole sequence."""

    multiplications: int
    bytes: int  # of arrays held at once


class LossGradient(NamedTuple):
    """The loss of one step, differentiated where it stands: the rules carry only these numbers on."""

    value: Tensor
    cotangent: Tensor | None  # dloss/doutput, (B, H); None where the loss ignored the output
    own: Gradients  # gradients of the loss's own parameters, under "loss."


class Rule(ABC):
    """A way to get the gradient of a sum of losses over time with respect to a cell's parameters.

    exactness: "exact", "unbiased" (right in expectation) or "biased".
    """

    exactness: str

    @abstractmethod
    def start(self, cell: Any, batch: int, state: Any = None) -> Learner:
        """Begin a stream.

        cell: anything with ``initial_state(batch)``, ``cell(x, state) -> state`` and ``named_parameters()``.
        batch: number of lanes B.  state: a state of the cell; default: its initial state.
        """

    @abstractmethod
    def cost(self, cell: Any, batch: int, steps: int) -> Cost:
        """Multiplications, and bytes held at once, of a sequence of `steps` steps. Runs one step to count."""

    def coverage(self, cell: Any) -> dict[str, str]:
        """What each parameter of a cell gets: "exact" or "approximate" (in a single run), or "none".

        "none" is for parameters that require no gradient. Raises ArgumentError for a cell that the rule cannot serve.

        >>> import tinygrad_rnn as tg
        >>> tg.gradients.BPTT().coverage(tg.rnn.ElmanCell(2, 3, bias=False))
        {'weight_ih': 'exact', 'weight_hh': 'exact'}
        """
        check_cell(cell)
        kind = "exact" if self.exactness == "exact" else "approximate"
        return {name: kind if p.requires_grad else "none" for name, p in cell.named_parameters()}

    def gradient(self, cell: Any, xs: Any, loss: Loss, state: Any = None) -> GradientResult:
        """Gradient of the sum over t of ``loss(output, t)``.

        cell: as in `start`.  xs: (T, B, I).  loss: takes the output of a step, (B, H), and the step's number, and
        returns a scalar Tensor; a Module if it has parameters of its own.  state: default: the cell's initial state.

        Raises ShapeError, DataError (T = 0, B = 0, a loss that is not finite) and GradientError
        (a loss that is not scalar, or that uses parameters of neither cell nor loss).

        >>> import tinygrad_rnn as tg
        >>> cell = tg.rnn.ElmanCell(2, 3, rng=0)
        >>> xs = tg.ones((4, 1, 2))
        >>> result = tg.gradients.BPTT().gradient(cell, xs, lambda y, t: tg.sum(y * y))
        >>> sorted(result.gradients)
        ['bias_hh', 'bias_ih', 'weight_hh', 'weight_ih']
        >>> result.gradients["weight_hh"].shape
        (3, 3)
        """
        xs = check_sequence(xs)
        learner = self.start(cell, xs.shape[1], state)
        total: Any = None
        gradients: Gradients | None = None
        for t in range(xs.shape[0]):
            step = learner.step(xs[t], loss)
            total = step.loss if total is None else total + step.loss
            gradients = add_gradients(gradients, step.gradients)
        gradients = add_gradients(gradients, learner.flush())
        return GradientResult(total, gradients or learner.zeros(), learner.state)

    def backward(self, cell: Any, xs: Any, loss: Loss, state: Any = None) -> GradientResult:
        """`gradient`, added to ``.grad`` of the parameters as well."""
        result = self.gradient(cell, xs, loss, state)
        parameters = dict(named_parameters(cell, loss))
        for name, gradient in result.gradients.items():
            parameter = parameters[name]
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return result


class Learner(ABC):
    """A stream in progress: feed it one step at a time.

    ``t`` is the number of steps taken; ``state`` is the cell's state, with no history.
    """

    def __init__(self, cell: Any, batch: int, state: Any) -> None:
        check_cell(cell)
        if not isinstance(batch, int) or batch < 1:
            raise DataError(f"a stream needs at least one lane; got batch={batch!r}")
        self.cell = cell
        self.batch = batch
        self.t = 0
        self.state: Any = None if state is None else detached(state)  # None: the initial state, not yet made
        self.loss: Loss | None = None

    def step(self, x: Any, loss: Loss, reset: Any = None) -> Step:
        """Take one step.

        x: (B, I).  loss: as in `Rule.gradient`.  reset: (B,) bools; True starts that lane anew, before
        this step: its state becomes the initial state, and no gradient passes.
        """
        x = asarray(x)
        if x.ndim < 1 or x.shape[0] != self.batch:
            raise ShapeError(f"a step expects x of shape ({self.batch}, ...), one row a lane; got {x.shape}")
        mask = None if reset is None else check_reset(reset, self.batch)
        self.loss = loss
        with scope(step=self.t):
            return self._step(x, loss, mask)

    @abstractmethod
    def _step(self, x: Tensor, loss: Loss, reset: Any) -> Step: ...

    @abstractmethod
    def flush(self) -> Gradients | None:
        """Return the gradients of losses that no step has returned yet; None if there are none."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on, as NumPy arrays and numbers. Parameters are not included."""

    @abstractmethod
    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on where a learner of the same rule, cell and batch stood, bit for bit."""

    def zeros(self) -> Gradients:
        """A gradient of zero for every parameter."""
        pairs = named_parameters(self.cell, self.loss)
        return {name: asarray(np.zeros(p.shape, p.dtype), backend=p.backend) for name, p in pairs}


# ---- what all rules do alike


def check_cell(cell: Any) -> None:
    """Raise ArgumentError unless the object has the shape of a cell."""
    missing = [name for name in ("initial_state", "named_parameters", "__call__") if not hasattr(cell, name)]
    if missing:
        raise ArgumentError(
            f"a cell needs initial_state(batch), cell(x, state) and named_parameters(); "
            f"{type(cell).__name__} lacks {', '.join(missing)}. Derive it from nn.Module."
        )


def check_reset(reset: Any, batch: int) -> Any:
    """Return reset as a NumPy array of bools of shape (B,)."""
    mask = np.asarray(reset.numpy() if isinstance(reset, Tensor) else reset)
    if mask.shape != (batch,) or mask.dtype != bool:
        raise ShapeError(f"reset expects {batch} bools, one a lane; got {mask.dtype} of shape {mask.shape}")
    return mask


def named_parameters(cell: Any, loss: Any = None) -> list[tuple[str, Parameter]]:
    """The parameters of the cell, and those of a loss that is a Module, under "loss."."""
    pairs = list(cell.named_parameters())
    if hasattr(loss, "named_parameters"):
        pairs += [(f"loss.{name}", parameter) for name, parameter in loss.named_parameters()]
    return [(name, parameter) for name, parameter in pairs if parameter.requires_grad]


def add_gradients(total: Gradients | None, more: Gradients | None) -> Gradients | None:
    """Add two sets of gradients; None counts as zero."""
    if total is None or more is None:
        return more if total is None else total
    both = {**total, **more}
    return {name: total[name] + more[name] if name in total and name in more else both[name] for name in both}


def check_finite(gradients: dict[str, Any], steps: Sequence[tuple[int, Any, Any]]) -> None:
    """Raise DataError if a gradient is not finite, and name the first step where something was not.

    gradients: raw arrays.  steps: the number, x and the state after it of each step that they may come from.
    """
    for name, gradient in gradients.items():
        if np.isfinite(gradient).all():
            continue
        found = [(t, _broken(x, after)) for t, x, after in steps]
        t, bad = next((each for each in found if each[1]), found[-1])
        seen = f"{' and '.join(bad)} held NaN or infinity there. " if bad else "x and the state were finite. "
        raise DataError(
            f"the gradient of {name} is not finite at step {t}; {seen}Look for NaN in the data of this step, or for an "
            "influence that grows from step to step (weights too large): reset lanes, or clip gradients."
        )


def _broken(x: Tensor, after: Any) -> list[str]:
    """Which of x and the state hold NaN or infinity."""
    parts = {"x": [x], "the state": [leaf for leaf in leaves_of(after) if leaf.dtype.kind == "f"]}
    return [what for what, leaves in parts.items() if not all(np.isfinite(leaf.numpy()).all() for leaf in leaves)]


def take_loss(cell: Any, loss: Loss, output: Tensor, t: int) -> LossGradient:
    """Evaluate the loss of one step, and differentiate it with respect to the output and its own parameters."""
    own = [(f"loss.{n}", p) for n, p in getattr(loss, "named_parameters", list)() if p.requires_grad]
    with Tape() as tape:
        box = tape.watch(output)
        value = loss(box, t)
    if not isinstance(value, Tensor) or value.size != 1:
        got = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise GradientError(
            f"the loss must return a scalar Tensor; at step {t} it returned {got}. Sum it: tg.sum(...)"
            f"        at {user_line()}"
        )
    if not np.isfinite(value.item()):
        raise DataError(
            f"the loss at step {t} is {value.item()}; the output {_range(output)}. "
            "Look for NaN in the inputs and targets of this step, or for a diverged model."
        )
    check_foreign(tape, [p for _, p in own], f"the loss, at step {t},")
    if value._tape is not tape.ref:
        return LossGradient(value.detach(), None, {name: _zeros(p) for name, p in own})
    found = tape.gradient(value, [box, *(p for _, p in own)], unused="zeros")
    gradients = {name: gradient for (name, _), gradient in zip(own, found[1:])}
    return LossGradient(value.detach(), found[0], gradients)


def check_foreign(tape: Tape, known: Iterable[Tensor], what: str) -> None:
    """Raise if a tape met a trainable leaf that nobody named: its gradient would be lost without a word."""
    names = {id(parameter) for parameter in known}
    for _, leaf in tape.leaves.values():
        if leaf.requires_grad and id(leaf) not in names:
            raise GradientError(
                f"{what} uses a parameter of shape {leaf.shape} that belongs neither to the cell nor to the loss, "
                "and its gradient would be lost. Make the loss a Module that owns it, or detach() it."
            )


def _range(x: Tensor) -> str:
    values = x.numpy()
    finite = values[np.isfinite(values)]
    if finite.size == values.size:
        return f"lies in [{values.min():.3g}, {values.max():.3g}]"
    return f"holds {values.size - finite.size} entries of {values.size} that are not finite"


def _zeros(p: Tensor) -> Tensor:
    return asarray(np.zeros(p.shape, p.dtype), backend=p.backend)
