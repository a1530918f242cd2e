"""One run of `train`: its model, its place in the text, what it reports, and what it leaves on disk."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import optim
from ..data import Lanes, Text, Vocabulary, bigram_bits, uniform_bits, unigram_bits
from ..errors import DataError, SnapshotError
from ..inspect import table
from ..random import as_generator
from ..tape import Tape
from ..tensor import tensor
from ..training import Snapshot, save_snapshot
from .character_model import CharacterModel, Sizes, describe, model_from, sample
from .console import LiveLine
from .curve import save_curve

RARE = 10  # characters that the training text has less often count as unknown
BITS = 1 / math.log(2)  # a nat, in bits
SAMPLE = 400  # characters of generated text at the end


class TrainingRun:
    """A run in progress. Everything that the next step depends on is in its snapshot."""

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
        self.folder, self.text, self.source, self.settings, self.backend = folder, text, source, settings, backend
        self.vocabulary, self.model = vocabulary, model
        train, validation = vocabulary.encode(text.train), vocabulary.encode(text.validation)
        self.lanes = Lanes(train, settings["batch"], settings["window"])
        width = min(settings["batch"], max(1, len(validation) // 256))
        self.validation = Lanes(validation, width, min(settings["window"], len(validation) // width - 1))
        self.baselines = {
            "uniform": uniform_bits(len(vocabulary)),
            "unigram": unigram_bits(train, validation, len(vocabulary)),
            "bigram": bigram_bits(train, validation, len(vocabulary)),
        }
        self.optimizer = optim.Adam(model, lr=settings["lr"])
        steps = settings["steps"]
        self.schedule = optim.CosineDecay(self.optimizer, steps, warmup_steps=steps // 20, final=0.05)
        self.step = 0
        self.state: Any = None  # of the LSTM, carried from window to window
        self.since = {"bits": 0.0, "norm": 0.0, "clipped": 0.0, "steps": 0.0}  # sums since the last line
        self.lines: list[dict[str, Any]] = []
        self.stop = False

    @classmethod
    def fresh(
        cls, folder: Path, text: Text, source: dict[str, Any], settings: dict[str, Any], backend: str
    ) -> TrainingRun:
        """A run at its first step."""
        vocabulary = Vocabulary.from_text(text.train, minimum_count=RARE)
        sizes = Sizes(len(vocabulary), settings["embedding"], settings["hidden"], settings["layers"])
        model = CharacterModel(sizes, rng=settings["seed"], backend=backend)
        return cls(folder, text, source, settings, backend, vocabulary, model)

    @classmethod
    def resumed(
        cls, folder: Path, snapshot: Snapshot, text: Text, source: dict[str, Any], settings: dict[str, Any], backend: str
    ) -> TrainingRun:
        """A run as its snapshot left it. Raises SnapshotError, and DataError if the text has changed."""
        if snapshot.metadata.get("sha256") != text.sha256:
            raise DataError(
                f"the text has changed since the run began: its SHA-256 was {snapshot.metadata.get('sha256')}, "
                f"and now is {text.sha256}. Restore the files, or begin a new run."
            )
        model, vocabulary = model_from(snapshot, backend)
        run = cls(folder, text, source, settings, backend, vocabulary, model)
        try:
            run._restore(snapshot)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SnapshotError(f"{folder}: the state of the run is damaged: {error}") from error
        return run

    # ---- the loop

    def train(self) -> int:
        """Train to the last step, or to Ctrl-C. Returns the exit status, 130 after Ctrl-C."""
        self._introduce()
        if self.step >= self.settings["steps"]:
            print(f"the run has finished its {self.step} steps; give more with --steps to go on")
            return 0
        begun, begun_at = time.perf_counter(), self.step
        with _stopped_by_ctrl_c(self), LiveLine(self.settings["steps"], self.step) as live:
            while self.step < self.settings["steps"] and not self.stop:
                bits = self._one_step()
                seconds = time.perf_counter() - begun
                rate = (self.step - begun_at) * self.settings["batch"] * self.settings["window"] / seconds
                live.update(self.step, f"{bits:.2f} bits/char  {rate:,.0f} char/s")
                if self.step % self.settings["every"] == 0 or self.step == self.settings["steps"]:
                    left = seconds / (self.step - begun_at) * (self.settings["steps"] - self.step)
                    live.print(self._report(rate, left))
                    self._save()
        self._save()
        if self.stop:
            print(f"stopped after step {self.step}. Go on: python -m tinygrad_rnn train --resume {self.folder}")
            return 130
        self._finish()
        return 0

    def _one_step(self) -> float:
        """One window: forward, backward, clipped update. Returns the window's bits per character."""
        x, y, fresh = self.lanes.window(self.step)
        if fresh:
            self.state = None
        with Tape() as tape:
            loss, state = self.model.loss(tensor(x), tensor(y), self.state)
        names, parameters = zip(*self.model.named_parameters())
        gradients = dict(zip(names, tape.gradient(loss, list(parameters))))
        value = loss.item()
        if not math.isfinite(value):
            raise DataError(
                f"the loss is {value} at step {self.step}: the run has diverged. "
                f"Try a smaller --lr (it was {self.settings['lr']}) or --clip. The last snapshot is kept."
            )
        gradients, norm = optim.clip_by_norm(gradients, self.settings["clip"])
        self.optimizer.step(gradients)
        self.schedule.step()
        self.state = tuple(part.detach() for part in state)
        self.step += 1
        self.since["bits"] += value * BITS
        self.since["norm"] += norm
        self.since["clipped"] += norm > self.settings["clip"]
        self.since["steps"] += 1
        return value * BITS

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
        print(f"corpus      {self.text.name}: {self.text.characters:,} characters, {len(self.text.files)} files")
        print(f"            SHA-256 {self.text.sha256}")
        if self.text.note:
            print(f"            note: {self.text.note}")
        print(f"vocabulary  {len(self.vocabulary)} characters")
        print(f"model       {self.model.sizes.layers} LSTM layer(s) of {self.model.sizes.hidden}, {parameters:,} parameters")
        print("baselines   " + ", ".join(f"{name} {bits:.3f}" for name, bits in self.baselines.items()) + " bits/char")
        print(f"gradient    largest relative difference from finite differences: {self._spot_check():.1e}")
        print(f"run         {self.folder}, step {self.step} of {self.settings['steps']}", flush=True)

    def _spot_check(self) -> float:
        """Compare a few entries of the gradient with central differences, in float64, on a short window."""
        model = self.model.copy().astype("float64")
        x, y, _ = self.lanes.window(0)
        x, y = tensor(x[:8, :4]), tensor(y[:8, :4])
        with Tape() as tape:
            loss, _ = model.loss(x, y)
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
                values.append(model.loss(x, y)[0].item())
            parameter.assign(start)
            numeric = (values[0] - values[1]) / (2 * step)
            exact = float((gradient.numpy() * direction).sum())
            worst = max(worst, abs(numeric - exact) / max(abs(exact), 1e-3))
        return worst

    def _report(self, rate: float, left: float) -> str:
        """Append a line to the metrics, and return it for people."""
        steps = self.since["steps"]
        line = {
            "step": self.step,
            "train_bits": self.since["bits"] / steps,
            "validation_bits": self.validation_bits(),
            "gradient_norm": self.since["norm"] / steps,
            "clipped": self.since["clipped"] / steps,
            "characters_per_second": round(rate),
        }
        self.since = dict.fromkeys(self.since, 0.0)
        self.lines.append(line)
        return (
            f"step {line['step']:>5}   train {line['train_bits']:.3f}   validation {line['validation_bits']:.3f} bits/char"
            f"   {rate:>8,.0f} char/s   |g| {line['gradient_norm']:.2f}   clipped {line['clipped']:4.0%}   {left:3.0f} s left"
        )

    def _finish(self) -> None:
        rng = as_generator(0)
        print("sample:")
        text = "".join(sample(self.model, self.vocabulary, "\ndef ", SAMPLE, 0.6, rng))
        print("\n".join("    | " + line for line in ("def " + text).split("\n")))
        last = self.lines[-1]
        print(
            f"validation {last['validation_bits']:.3f} bits/char, "
            f"{self.baselines['unigram'] - last['validation_bits']:.2f} below the unigram baseline"
        )
        (self.folder / "tape.txt").write_text(self._tape_text(), encoding="utf-8")
        picture = self.folder / "curve.png"
        problem = save_curve(picture, self.lines, self.baselines)
        print("wrote       " + ", ".join(str(self.folder / name) for name in ("model.safetensors", "metrics.jsonl")))
        print(f"            {self.folder / 'tape.txt'}, {problem or picture}")

    def _tape_text(self) -> str:
        """The tape of one window, and that of a few steps recorded operation by operation."""
        x, y, _ = self.lanes.window(0)
        parts = []
        for title, steps, fused in (("one window, as trained", len(x), True), ("recorded step by step", 6, False)):
            with Tape() as tape:
                self.model.loss(tensor(x[:steps]), tensor(y[:steps]), None, fused)
            parts.append(f"{title}: {steps} time steps, {x.shape[1]} lanes\n\n{table(tape)}\n")
        return "\n\n".join(parts)

    # ---- what it keeps

    def _save(self) -> None:
        arrays = {f"model.{name}": array for name, array in self.model.state_dict().items()}
        optimizer = self.optimizer.state_dict()
        arrays |= {f"optimizer.{name}": array for name, array in optimizer["state"].items()}
        if self.state is not None:
            arrays |= {f"stream.{i}": part.numpy() for i, part in enumerate(self.state)}
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
            "optimizer": optimizer["groups"],
        }
        save_snapshot(self.folder / "model.safetensors", arrays, metadata)
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        (self.folder / "metrics.jsonl").write_text(text, encoding="utf-8")

    def _restore(self, snapshot: Snapshot) -> None:
        kept = snapshot.metadata
        step, since, lines = kept["step"], kept["since"], kept["lines"]
        if type(step) is not int or step < 0 or set(since) != set(self.since):
            raise ValueError(f"step {step!r}, sums {since!r}")
        self.step, self.since = step, {name: float(value) for name, value in since.items()}
        self.lines = [{**line, "validation_bits": float(line["validation_bits"])} for line in lines]
        groups, arrays = kept["optimizer"], snapshot.part("optimizer")
        self.optimizer.load_state_dict({"kind": "Adam", "groups": groups, "state": arrays})
        self.schedule.load_state_dict({"steps": step})
        parts = snapshot.part("stream")
        shape = (self.settings["layers"], self.settings["batch"], self.settings["hidden"])
        if parts:
            found = [parts[name] for name in ("0", "1")]
            if any(part.shape != shape for part in found):
                raise ValueError(f"the carried state has shapes {[part.shape for part in found]}, expected {shape}")
            self.state = tuple(tensor(part, backend=self.backend) for part in found)


@contextmanager
def _stopped_by_ctrl_c(run: TrainingRun) -> Iterator[None]:
    """Let the first Ctrl-C end the run after its step, so that the snapshot stands between two steps."""

    def ask(number: int, frame: Any) -> None:
        if run.stop:  # a second one: at once
            raise KeyboardInterrupt
        run.stop = True

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not in the main thread: there is no Ctrl-C to catch
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
