"""fit: train a model on arrays, or on batches of any other kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import optim
from ..errors import ArgumentError
from ..nn.module import Module
from .batches import ArrayBatches, FunctionBatches, augmented, whole
from .early_stopping import EarlyStopping
from .loop import Loop, Loss, Pace
from .metrics import History, evaluating, loss_on, measured, modes_kept, write_metrics
from .run_state import packed_run, restore_run
from .snapshot import load_snapshot, save_snapshot

AUGMENTATION = 1  # apart from the shuffling, which draws from (seed, epoch) with two numbers
COLUMNS = ("step", "loss", "gradient_norm", "clipped", "learning_rate")
FILE = "model.safetensors"

Callback = Callable[[int, "Fit"], Any]


def fit(
    model: Module,
    data: Any,
    *,
    loss: Loss,
    optimizer: optim.Optimizer,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 32,
    schedule: optim.Schedule | Sequence[optim.Schedule] | None = None,
    clip: float | None = None,
    validation: Any = None,
    early_stopping: EarlyStopping | None = None,
    augment: Callable[[Any, Any], Any] | None = None,
    callbacks: Iterable[Callback] = (),
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    every: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Module
        Trained in place, in training mode; afterwards all modes are as before. If the model as a whole is in training
        mode already, the modes inside stay as they are, so a part in evaluation mode stays in it.
    data : tuple of arrays, or object with ``batch(step)``, or function of the step
        Arrays (x, y) of one first axis in common are shuffled anew each epoch; a batch is a tuple of Tensors on the
        model's backend, floats in the model's dtype. From an object or a function (``Lanes.window``) batches
        reach the loss as they come; to be resumed it must give the same batch for the same step.
    loss : function
        ``loss(model, batch, carry)`` returns a scalar Tensor, or (scalar, carry). The carry of a step, without its
        history, is what the next step gets; the first gets None. That is truncated back-propagation through time.
    optimizer : Optimizer
        Made for the model, or for some of its parameters; the loss must use each of them.
    steps, epochs : int
        How long; one of the two. They count from the beginning of the run, also when it is resumed.
    batch_size : int
        Examples of a batch; the last of an epoch may hold fewer. May be larger than the data.
    schedule : Schedule, or several
        Made for the optimiser; goes on after each step.
    clip : float
        The largest norm of the gradient of all parameters.
    validation : tuple of arrays, or function
        Arrays (x, y): the mean of the loss over them is the metric "validation_loss". Or ``validation(model)`` that
        returns a number, or a dict of numbers. Runs in evaluation mode every `every` steps and at the end.
    early_stopping : EarlyStopping
        Watches the validation, the first number of a dict. In the end the model has the best weights, if it keeps them.
    augment : function
        ``augment(x, rng)`` returns a changed x for a training batch; `tinygrad_rnn.data.augmentation` has some.
    callbacks : functions
        ``callback(step, state)`` is called after each step with the number of steps done. `state` has ``model``,
        ``optimizer``, ``loss``, ``norm`` (of the gradient), ``carry`` and ``history``; ``state.stop = True`` ends the
        run.
    seed : int
        Of shuffling and augmentation.
    folder : path
        For model.safetensors, which holds all that the next step depends on, and metrics.jsonl. The weights are
        there under "model", the best ones of an early stopping under "best" (`Snapshot.part`).
    every : int
        Steps between two reports and snapshots; default: an epoch, or 100 steps if `data` does not know its epochs.
    resume : bool
        Go on from the snapshot in `folder`, if there is one: the same numbers follow as without the interruption,
        bit for bit. Give the same arguments again; only `steps` (or `epochs`) may grow. The optimiser's options,
        such as a learning rate that a callback had changed, are those of the snapshot.
    progress : bool
        Print a line for each report, and on a terminal a bar that moves.

    Returns
    -------
    History
        The reports, and why the run stopped. Ctrl-C ends it after the step, and is no error; a second one raises
        KeyboardInterrupt at once, and the last snapshot stays.

    Raises
    ------
    DataError
        Data or validation set that are empty, of unequal lengths, or not finite. A run that diverges; the last good
        snapshot stays.
    ArgumentError
        Arguments that do not fit; a folder that holds a run, without `resume`.
    SnapshotError
        A snapshot of another model, optimiser or run; lists what differs. Then nothing has changed.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tg
    >>> from tinygrad_rnn.training import fit
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> model = tg.nn.Linear(1, 1, rng=0)
    >>> def squares(model, batch, carry):
    ...     x, y = batch
    ...     return tg.mean((model(x) - y) ** 2)
    >>> history = fit(model, (x, 3 * x + 1), loss=squares, optimizer=tg.optim.Adam(model, lr=0.1), epochs=100,
    ...               batch_size=10, progress=False)
    >>> history.steps, model.weight.numpy().round(2).tolist(), model.bias.numpy().round(2).tolist()
    (400, [[3.0]], [1.0])
    """
    first = next(iter(model.parameters()), None) if isinstance(model, Module) else None
    if first is None:
        raise ArgumentError(f"fit trains a Module with parameters; got a {type(model).__name__} without")
    if not callable(loss):
        raise ArgumentError(f"loss is a function (model, batch, carry); got a {type(loss).__name__}")
    if not isinstance(optimizer, optim.Optimizer):
        raise ArgumentError(f"optimizer is one of tg.optim, made for the model; got a {type(optimizer).__name__}")
    own = {id(parameter) for parameter in model.parameters()}
    strange = sum(id(parameter) not in own for parameter in optimizer.parameters())
    if strange:
        raise ArgumentError(
            f"optimizer was made for another model: {strange} of its parameters are not in this one. "
            f"Write {type(optimizer).__name__}(model, ...)"
        )
    schedules = list(schedule) if isinstance(schedule, (list, tuple)) else [] if schedule is None else [schedule]
    if not all(isinstance(each, optim.Schedule) and each.optimizer is optimizer for each in schedules):
        raise ArgumentError("schedule is a Schedule that was made for the optimizer given here, or a list of such")
    if clip is not None and (isinstance(clip, bool) or not isinstance(clip, (int, float)) or not clip > 0):
        raise ArgumentError(f"clip is the largest norm of a gradient, above 0; got {clip!r}")
    if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
        raise ArgumentError(f"write early_stopping=EarlyStopping(patience); got {early_stopping!r}")
    if early_stopping is not None and validation is None:
        raise ArgumentError("early stopping watches a validation; give validation=(x, y) or a function of the model")
    if resume and folder is None:
        raise ArgumentError("resume goes on from the snapshot in a folder; give folder= too")
    seed = whole("seed", seed, 0)
    options: dict[str, Any] = {"dtype": first.dtype, "backend": first.backend}
    batches: ArrayBatches | FunctionBatches
    if isinstance(data, (tuple, list)):
        batches = ArrayBatches(data, batch_size, seed, **options)
    else:
        batches = FunctionBatches(data)
    if isinstance(validation, (tuple, list)):
        validation = ArrayBatches(validation, batch_size, **options, name="validation")
    elif validation is not None and not callable(validation):
        raise ArgumentError(f"validation is (x, y) or a function of the model; got a {type(validation).__name__}")
    per_epoch = batches.steps_per_epoch
    run = Fit(
        model,
        loss,
        optimizer,
        steps=_length(steps, epochs, per_epoch),
        every=whole("every", per_epoch or 100 if every is None else every, 1),
        schedules=schedules,
        clip=clip,
        silent=not progress,
    )
    run.batches, run.validation, run.early_stopping, run.augment = batches, validation, early_stopping, augment
    run.callbacks, run.seed, run.folder = list(callbacks), seed, None if folder is None else Path(folder)
    run.rng = np.random.default_rng([seed, 0, AUGMENTATION])
    return run.train(resume)


class Fit(Loop):
    """A run of `fit`: what its callbacks see."""

    batches: ArrayBatches | FunctionBatches
    validation: Any
    early_stopping: EarlyStopping | None
    augment: Callable[[Any, Any], Any] | None
    callbacks: list[Callback]
    seed: int
    folder: Path | None
    rng: np.random.Generator  # of the augmentation
    fingerprint = ""  # of the data, if they are arrays and there is a snapshot

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.history = History()

    def train(self, resume: bool) -> History:
        """Begin, or go on from the snapshot; see `fit`."""
        self._open(resume)
        patience_out = self.early_stopping is not None and self.early_stopping.should_stop
        with modes_kept(self.model):
            if not self.model.training:
                self.model.train()
            try:
                if not patience_out:
                    self.loop()
            except KeyboardInterrupt:
                kept = f" The snapshot of step {self.saved} is kept in {self.folder}." if self.folder else ""
                raise KeyboardInterrupt(f"stopped at once in step {self.step + 1}.{kept}") from None
        self.history.steps, self.history.stopped = self.step, self._reason()
        if self.early_stopping is not None and self.early_stopping.weights is not None:
            self.early_stopping.restore_best(self.model)
        return self.history

    def _open(self, resume: bool) -> None:
        if self.folder is None:
            return
        path = self.folder / FILE
        if isinstance(self.batches, ArrayBatches):
            self.fingerprint = self.batches.fingerprint()
        if not path.exists():
            self.save()  # a folder that cannot be written shows before the work
            return
        if not resume:
            raise ArgumentError(f"{self.folder} holds a run. Go on with it: resume=True, or choose another folder")
        snapshot = load_snapshot(path)
        done = snapshot.metadata.get("step")
        if isinstance(done, int) and self.steps < done:
            raise ArgumentError(f"steps is {self.steps}, and the run has done {done} already; give at least that")
        restore_run(self, snapshot)
        write_metrics(self.folder, self.history.lines)  # a crash may have come between the two files

    def _reason(self) -> str:
        if self.early_stopping is not None and self.early_stopping.should_stop:
            return "early stopping"
        if self.step == self.steps:
            return ""
        return "interrupt" if self.interrupted else "callback"

    # ---- what the loop asks for

    def batch(self) -> Any:
        """The batch of the next step, augmented."""
        batch = self.batches.batch(self.step)
        if self.augment is not None:
            batch = augmented(batch, self.augment, self.rng)
        return self.batches.placed(batch) if isinstance(self.batches, ArrayBatches) else batch

    def report(self, pace: Pace) -> str:
        """Validate and append a line to the history."""
        means = self.means()
        line: dict[str, Any] = {
            "step": self.step,
            "loss": means["loss"],
            "gradient_norm": means["norm"],
            "clipped": means["clipped"],
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
        }
        found = self._validated()
        self.history.lines.append(line | found)
        if self.early_stopping is not None:
            watched = next(iter(found.values()))
            self.stop |= self.early_stopping.update(watched, self.model, self.step)
        said = {"loss": line["loss"], **found, "|g|": line["gradient_norm"]}
        return f"step {self.step:>6}   " + "   ".join(f"{name} {value:.4g}" for name, value in said.items())

    def _validated(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        with evaluating(self.model):
            if isinstance(self.validation, ArrayBatches):
                return loss_on(self.model, self.loss_of, self.validation)
            return measured(self.validation, self.model, COLUMNS)

    def after_step(self) -> None:
        """Call the callbacks."""
        self.history.steps = self.step
        for callback in self.callbacks:
            callback(self.step, self)

    def save(self) -> None:
        """Write the snapshot and the metrics, if there is a folder for them."""
        weights = self.weights()
        if self.folder is not None:
            save_snapshot(self.folder / FILE, *packed_run(self, weights))
            write_metrics(self.folder, self.history.lines)
        self.saved = self.step

    def advice(self) -> str:
        """What to change, with the values that it has."""
        rate = self.optimizer.param_groups[0]["lr"]
        clip = "clip the gradients (clip=1.0)" if self.clip is None else f"a smaller clip (it is {self.clip:g})"
        kept = f" The snapshot of step {self.saved} is kept in {self.folder}." if self.folder else ""
        return f"Try a smaller learning rate (it is {rate:g}), or {clip}.{kept}"


def _length(steps: int | None, epochs: int | None, per_epoch: int | None) -> int:
    if (steps is None) == (epochs is None):
        raise ArgumentError(f"give steps or epochs, one of the two; got steps={steps!r}, epochs={epochs!r}")
    if steps is not None:
        return whole("steps", steps, 1)
    if per_epoch is None:
        raise ArgumentError("data does not say how many steps an epoch has (steps_per_epoch); give steps")
    return whole("epochs", epochs, 1) * per_epoch
