"""One run of `train`: its model, its place in the text, what it reports, and what it leaves on disk."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from .. import optim
from ..data import Lanes, Text, Vocabulary, bigram_bits, uniform_bits, unigram_bits
from ..data.lanes import Window
from ..errors import DataError, SnapshotError
from ..inspect import table
from ..random import as_generator
from ..tape import Tape
from ..tensor import Tensor, tensor
from ..training import Loop, Pace, Snapshot, save_snapshot
from ..training.metrics import write_metrics
from .character_model import CharacterModel, Sizes, describe, model_from, sample
from .curve import save_curve

RARE = 10  # characters that the training text has less often count as unknown
BITS = 1 / math.log(2)  # a nat, in bits
SAMPLE = 400  # characters of generated text at the end
HOPELESS = 20  # a loss of so many times the uniform guess's is no bad step, but a run that has diverged
COLUMNS = ("step", "train_bits", "validation_bits", "gradient_norm", "clipped", "characters_per_second")
PROMPT = "    def __init__(self"  # what the sample goes on from


class TrainingRun(Loop):
    """A run in progress. Everything that the next step depends on is in its snapshot."""

    model: CharacterModel
    unit = BITS
    keeps_tape = False  # whether one window is written as an explorer page in the end

    def __init__(
        self,
        folder: Path,
        text: Text,
        source: dict[str, Any],
        settings: dict[str, Any],
        backend: str,
        vocabulary: Vocabulary,
        model: CharacterModel,
    ) -> None:
        optimizer = optim.Adam(model, lr=settings["lr"])
        steps = settings["steps"]
        schedule = optim.CosineDecay(optimizer, steps, warmup_steps=steps // 20, final=0.05)
        options: dict[str, Any] = {"steps": steps, "every": settings["every"], "clip": settings["clip"]}
        super().__init__(model, next_characters, optimizer, schedules=[schedule], **options)
        self.folder, self.text, self.source, self.settings, self.backend = folder, text, source, settings, backend
        self.vocabulary = vocabulary
        train, validation = vocabulary.encode(text.train), vocabulary.encode(text.validation)
        self.lanes = Lanes(train, settings["batch"], settings["window"])
        width = min(settings["batch"], max(1, len(validation) // 256))
        self.validation = Lanes(validation, width, min(settings["window"], len(validation) // width - 1))
        self.baselines = {
            "uniform": uniform_bits(len(vocabulary)),
            "unigram": unigram_bits(train, validation, len(vocabulary)),
            "bigram": bigram_bits(train, validation, len(vocabulary)),
        }
        self.lines: list[dict[str, Any]] = []

    @classmethod
    def fresh(
        cls, folder: Path, text: Text, source: dict[str, Any], settings: dict[str, Any], backend: str
    ) -> TrainingRun:
        """A run at its first step."""
        vocabulary = Vocabulary.from_text(text.train, minimum_count=RARE)
        if len(vocabulary) == 1:
            raise DataError(f"{text.name} has no character {RARE} times or more: there is nothing to learn from it")
        sizes = Sizes(len(vocabulary), settings["embedding"], settings["hidden"], settings["layers"])
        model = CharacterModel(sizes, rng=settings["seed"], backend=backend)
        return cls(folder, text, source, settings, backend, vocabulary, model)

    @classmethod
    def resumed(
        cls,
        folder: Path,
        snapshot: Snapshot,
        text: Text,
        source: dict[str, Any],
        settings: dict[str, Any],
        backend: str,
    ) -> TrainingRun:
        """A run as its snapshot left it. Raises SnapshotError, and DataError if the text has changed."""
        if snapshot.metadata.get("sha256") != text.sha256:
            raise DataError(
                f"the text has changed since the run began: its SHA-256 was {snapshot.metadata.get('sha256')}, "
                f"and now is {text.sha256}. Restore the files, or begin a new run."
            )
        model, vocabulary = model_from(snapshot, backend)
        for name in ("embedding", "hidden", "layers"):
            if settings[name] != getattr(model.sizes, name):
                raise SnapshotError(
                    f"the snapshot's settings say {name} {settings[name]}, its sizes {getattr(model.sizes, name)}"
                )
        run = cls(folder, text, source, settings, backend, vocabulary, model)
        try:
            run._restore(snapshot)
        except KeyError as error:
            raise SnapshotError(f"{folder}: the state of the run is damaged: {error} is missing") from error
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise SnapshotError(f"{folder}: the state of the run is damaged: {error}") from error
        return run

    # ---- the run

    def train(self) -> int:
        """Train to the last step, or to Ctrl-C. Returns the exit status, 130 after Ctrl-C.

        Raises KeyboardInterrupt for a Ctrl-C that cannot wait for the end of a step, with a message that says how to
        go on; DataError if the run diverges.
        """
        self.save()  # a folder that cannot be written shows before the work; and from here on there is a snapshot
        try:
            self._introduce()
            if self.step == self.steps:
                self._say_that_it_has_finished()
            self.loop()
            if self.step < self.steps:
                print(f"stopped after step {self.step}. {self._way_on()}")
                return 130
            self._finish()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped at once; step {self.saved} is saved. {self._way_on()}") from None
        return 0

    def _say_that_it_has_finished(self) -> None:
        print(f"the run has finished its {self.step} steps; to go on, give more with --steps")
        if self.since["steps"]:  # it was stopped between two lines, and --steps is now where that was
            print(self.report(Pace(0.0, 0.0)))
            self.save()

    def _way_on(self) -> str:
        return f"Go on: python -m tinygrad_rnn train --resume {shlex.quote(str(self.folder))}"

    # ---- what the loop asks for

    def batch(self) -> Window:
        """The window of the next step."""
        return self.lanes.window(self.step)

    def live(self, loss: float, pace: Pace) -> str:
        """What stands beside the moving bar."""
        return f"{loss:.2f} bits/char  {self._characters(pace):,.0f} char/s"

    def hopeless(self, loss: float) -> bool:
        """Whether so many bits per character say that the run has diverged."""
        return not loss < HOPELESS * max(1.0, self.baselines["uniform"])  # NaN, too

    def described(self, loss: float) -> str:
        """A loss as text."""
        return f"{loss:.4g} bits/char"

    def advice(self) -> str:
        """Which options to change, and where the last good state is."""
        return (
            f"Try a smaller --lr (it is {self.settings['lr']:g}) or --clip (it is {self.settings['clip']:g}). "
            f"The snapshot of step {self.saved} is kept in {self.folder}."
        )

    def report(self, pace: Pace) -> str:
        """Append a line to the metrics, and return it for people."""
        validation = self.validation_bits()
        if self.hopeless(validation):
            raise self.diverged(f"the validation loss is {self.described(validation)}")
        means = self.means()
        line = {
            "step": self.step,
            "train_bits": means["loss"],
            "validation_bits": validation,
            "gradient_norm": means["norm"],
            "clipped": means["clipped"],
            "characters_per_second": round(self._characters(pace)),
        }
        self.lines.append(line)
        return (
            f"step {line['step']:>5}   train {line['train_bits']:.3f}   "
            f"validation {line['validation_bits']:.3f} bits/char   {self._characters(pace):>8,.0f} char/s   "
            f"|g| {line['gradient_norm']:.2f}   clipped {line['clipped']:4.0%}   {pace.left:3.0f} s left"
        )

    def _characters(self, pace: Pace) -> float:
        """Characters a second."""
        return float(pace.rate * self.settings["batch"] * self.settings["window"])

    def validation_bits(self) -> float:
        """Bits per character of the validation text, read from front to back with the state carried."""
        state, nats, count = None, 0.0, 0
        for k in range(self.validation.windows_per_epoch):
            x, y, _ = self.validation.window(k)
            loss, state = self.model.loss(tensor(x), tensor(y), state)
            nats += loss.item() * y.size
            count += y.size
        return nats / count * BITS

    # ---- what it says

    def _introduce(self) -> None:
        parameters = sum(p.size for p in self.model.parameters())
        print(f"backend     {self.backend}")
        files = _count(len(self.text.files), "file")
        print(f"corpus      {self.text.name}: {self.text.characters:,} characters, {files}")
        print(f"            SHA-256 {self.text.sha256}")
        if self.text.note:
            print(f"            note: {self.text.note}")
        print(f"vocabulary  {_count(len(self.vocabulary), 'character')}")
        layers = _count(self.model.sizes.layers, "LSTM layer")
        print(f"model       {layers} of {self.model.sizes.hidden}, {parameters:,} parameters")
        print("baselines   " + ", ".join(f"{name} {bits:.3f}" for name, bits in self.baselines.items()) + " bits/char")
        print(f"gradient    largest relative difference from finite differences: {self._spot_check():.1e}")
        print(f"run         {self.folder}, step {self.step} of {self.settings['steps']}", flush=True)

    def _spot_check(self) -> float:
        """Compare a few entries of the gradient with central differences, in float64, on a short window."""
        model = self.model.copy().astype("float64")
        x, y, _ = self.lanes.window(0)
        window = tensor(x[:8, :4]), tensor(y[:8, :4])
        with Tape() as tape:
            loss, _ = model.loss(*window)
        parameters = list(model.parameters())
        gradients = tape.gradient(loss, parameters)
        rng = as_generator(0)
        worst = 0.0
        step = 1e-5
        for parameter, gradient in zip(parameters, gradients):
            direction = rng.choice([-1.0, 1.0], parameter.shape)
            start = parameter.numpy().copy()
            values = []
            for sign in (step, -step):
                parameter.assign(start + sign * direction)
                values.append(model.loss(*window)[0].item())
            parameter.assign(start)
            numeric = (values[0] - values[1]) / (2 * step)
            exact = float((gradient.numpy() * direction).sum())
            worst = max(worst, abs(numeric - exact) / max(abs(exact), 1e-3))
        return worst

    def _finish(self) -> None:
        rng = as_generator(0)
        print("sample:")
        start = PROMPT if self.source["kind"] == "standard library" else ""
        text = start + "".join(sample(self.model, self.vocabulary, "\n" + start, SAMPLE, 0.8, rng))
        print("\n".join("    | " + line for line in text.split("\n")))
        last = self.lines[-1]
        better = self.baselines["unigram"] - last["validation_bits"]
        print(
            f"validation {last['validation_bits']:.3f} bits/char, "
            f"{abs(better):.2f} {'below' if better > 0 else 'above'} the unigram baseline"
        )
        (self.folder / "tape.txt").write_text(self._tape_text(), encoding="utf-8")
        picture = self.folder / "curve.png"
        problem = save_curve(picture, self.lines, self.baselines)
        print("wrote       " + ", ".join(str(self.folder / name) for name in ("model.safetensors", "metrics.jsonl")))
        print(f"            {self.folder / 'tape.txt'}, {problem or picture}")
        if self.keeps_tape:
            print(f"            {self._tape_page()}")

    def _tape_text(self) -> str:
        """The tape of one window, and that of a few steps recorded operation by operation."""
        x, y, _ = self.lanes.window(0)
        parts = []
        for title, steps, fused in (
            ("one window, as trained", len(x), True),
            ("recorded step by step", min(len(x), 6), False),
        ):
            with Tape() as tape:
                self.model.loss(tensor(x[:steps]), tensor(y[:steps]), None, fused)
            counted = f"{_count(steps, 'time step')}, {_count(x.shape[1], 'lane')}"
            parts.append(f"{title}: {counted}\n\n{table(tape)}\n")
        return "\n\n".join(parts)

    def _tape_page(self) -> Path:
        """Write the explorer of the first window, recorded operation by operation with the weights of now."""
        x, y, _ = self.lanes.window(0)
        with Tape() as tape:
            loss, _ = self.model.loss(tensor(x), tensor(y), None, False)
        title = f"{self.folder.name}, step {self.step}: one window"
        return tape.to_html(self.folder / "tape.html", loss, names={"model": self.model, "loss": loss}, title=title)

    # ---- what it keeps

    def save(self) -> None:
        """Write the snapshot and the metrics."""
        arrays = {f"model.{name}": array for name, array in self.weights().items()}
        # Of the optimiser only the arrays: its options follow from the settings and the step.
        arrays |= {f"optimizer.{name}": array for name, array in self.optimizer.state_dict()["state"].items()}
        if self.carry is not None:
            arrays |= {f"stream.{i}": part.numpy() for i, part in enumerate(self.carry)}
        metadata = {
            "sizes": describe(self.model.sizes),
            "vocabulary": self.vocabulary.to_list(),
            "settings": self.settings,
            "source": self.source,
            "sha256": self.text.sha256,
            "backend": self.backend,
            "step": self.step,
            "since": self.since,
            "lines": self.lines,
        }
        save_snapshot(self.folder / "model.safetensors", arrays, metadata)
        self.saved = self.step
        write_metrics(self.folder, self.lines)

    def _restore(self, snapshot: Snapshot) -> None:
        kept = snapshot.metadata
        step, since, lines = kept["step"], kept["since"], kept["lines"]
        if type(step) is not int or step < 0:
            raise ValueError(f"step is {step!r}")
        if not isinstance(since, dict) or set(since) != set(self.since):
            raise ValueError(f"the sums since the last line are {since!r}")
        if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
            raise ValueError("its lines are no list of objects")
        self.step, self.saved = step, step
        self.since = {name: float(_number(name, total)) for name, total in since.items()}
        self.lines = [{name: _number(name, line[name]) for name in COLUMNS} for line in lines]
        if step and not self.lines and not self.since["steps"]:
            raise ValueError(f"nothing is known of its {step} steps")

        parameters = dict(enumerate(self.model.parameters()))
        arrays, stream = snapshot.part("optimizer"), snapshot.part("stream")
        expected = {f"{i}.{name}": p.shape for i, p in parameters.items() for name in ("mean", "square")}
        expected |= {f"{i}.step": () for i in parameters}
        carried = (self.settings["layers"], self.settings["batch"], self.settings["hidden"])
        for held, shapes in ((arrays, expected), (stream, {"0": carried, "1": carried})):
            if {name: array.shape for name, array in held.items()} != (shapes if step else {}):
                raise ValueError("its optimiser or its carried state does not fit the model")
            if not all(np.isfinite(array).all() for array in held.values()):
                raise ValueError("its optimiser or its carried state is not finite")
        if any(array != step for name, array in arrays.items() if name.endswith(".step")):
            raise ValueError(f"its optimiser has not done {step} steps")
        if any((array < 0).any() for name, array in arrays.items() if name.endswith(".square")):
            raise ValueError("its optimiser has negative squares")
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": arrays})
        for schedule in self.schedules:
            schedule.load_state_dict({"steps": step})
        if stream:
            self.carry = tuple(tensor(stream[name], dtype="float32", backend=self.backend) for name in ("0", "1"))


def next_characters(model: CharacterModel, window: Window, carry: Any) -> tuple[Tensor, Any]:
    """The loss of a window in nats, and the LSTM's state after it; the lanes' beginnings get a new one."""
    return model.loss(tensor(window.x), tensor(window.y), None if window.fresh else carry)


def _number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ValueError(f"{name} is {value!r}")
    return value


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("s" if number != 1 else "")
