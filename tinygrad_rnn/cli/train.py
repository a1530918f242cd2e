"""Train a character model, by default on Python's own standard library, in about a minute.

Truncated back-propagation through time: the text is cut into lanes that are read side by side, a window at a time, and
the state is carried from window to window. Ctrl-C stops after the step and keeps the snapshot; --resume goes on from
it, and reaches the numbers of a run that was never stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeGuard

from .. import backends
from ..data import Text, arithmetic, read_files, standard_library
from ..errors import ArgumentError, SnapshotError
from ..training import load_snapshot
from .character_model import LARGEST
from .training_run import TrainingRun

DEFAULTS: dict[str, Any] = {
    "steps": 1000,
    "batch": 48,
    "window": 64,
    "embedding": 48,
    "hidden": 192,
    "layers": 1,
    "lr": 4e-3,
    "clip": 1.0,
    "every": 50,
    "seed": 0,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("files", metavar="FILE", nargs="*", help="text files or folders; default: the standard library")
    parser.add_argument("--grammar", action="store_true", help="learn generated arithmetic instead of text")
    parser.add_argument("--resume", metavar="RUN", type=Path, help="go on with the run in this folder")
    parser.add_argument("--name", help="the run's name: it writes to runs/NAME")
    parser.add_argument("--runs", metavar="FOLDER", type=Path, help="the folder of all runs (runs)")
    parser.add_argument("--backend", metavar="NAME", help="array backend (the environment's, else the fastest here)")
    parser.add_argument("--tape", action="store_true", help="keep one window as an explorer page, tape.html")
    about = {
        "steps": "training steps, one window each",
        "batch": "lanes B that are read side by side",
        "window": "characters T that a gradient goes back",
        "embedding": "size of a character's vector",
        "hidden": "size H of the LSTM",
        "layers": "LSTM layers",
        "lr": "largest learning rate",
        "clip": "largest norm of a gradient",
        "every": "steps between two lines of the report, and two snapshots",
        "seed": "of the initial weights",
    }
    for name, text in about.items():
        kind = type(DEFAULTS[name])
        metavar = "N" if kind is int else "X"
        parser.add_argument(f"--{name}", metavar=metavar, type=kind, help=f"{text} ({DEFAULTS[name]})")


def run(options: argparse.Namespace) -> int:
    """Train, or go on training."""
    training = _fresh(options) if options.resume is None else _resumed(options)
    training.keeps_tape = options.tape
    with backends.backend(training.backend):
        return training.train()


def corpus(source: dict[str, Any]) -> Text:
    """The text that a run's source names: {"kind": "standard library" | "files" | "grammar", "files": [...]}."""
    if source["kind"] == "grammar":
        return arithmetic()
    return read_files(source["files"]) if source["kind"] == "files" else standard_library()


def _fresh(options: argparse.Namespace) -> TrainingRun:
    if options.files and options.grammar:
        raise ArgumentError("give files or --grammar, not both")
    kind = "grammar" if options.grammar else "files" if options.files else "standard library"
    source = {"kind": kind, "files": [str(Path(each).resolve()) for each in options.files]}
    settings = {
        name: value if getattr(options, name) is None else getattr(options, name) for name, value in DEFAULTS.items()
    }
    _check(settings)
    runs = Path("runs") if options.runs is None else options.runs
    for file in source["files"]:
        if runs.resolve().is_relative_to(file):
            raise ArgumentError(
                f"the run would write into {file}, which it is to read; name another folder for it: --runs FOLDER"
            )
    # resolve() gives a name to "." and "..", too
    stem = "grammar" if options.grammar else (Path(source["files"][0]).stem or "files") if options.files else "stdlib"
    folder = runs / (options.name or _unused(runs, stem))
    if (folder / "model.safetensors").exists():
        raise ArgumentError(f"{folder} holds a run. Choose another --name, or go on with it: --resume {folder}")
    backend = backends.resolve(options.backend, otherwise=backends.fastest()).name
    return TrainingRun.fresh(folder, corpus(source), source, settings, backend)


def _resumed(options: argparse.Namespace) -> TrainingRun:
    given = [f"--{name}" for name in DEFAULTS if name != "steps" and getattr(options, name) is not None]
    given += ["FILE"] * bool(options.files) + ["--grammar"] * options.grammar + ["--name"] * (options.name is not None)
    given += ["--runs"] * (options.runs is not None)
    if given:
        raise ArgumentError(f"a resumed run keeps its settings; leave out {', '.join(given)}. Only --steps may grow.")
    folder = options.resume.parent if options.resume.name == "model.safetensors" else options.resume
    snapshot = load_snapshot(folder / "model.safetensors")
    source, settings = snapshot.metadata.get("source"), snapshot.metadata.get("settings")
    if not _names_a_text(source):
        raise SnapshotError(f"{folder / 'model.safetensors'} does not say on which text it was trained")
    if settings is None or not isinstance(settings, dict) or set(settings) != set(DEFAULTS):
        raise SnapshotError(f"{folder / 'model.safetensors'} lacks the settings of a run")
    _check(settings)
    done = snapshot.metadata.get("step")
    if options.steps is not None:
        if isinstance(done, int) and options.steps < done:
            raise ArgumentError(f"--steps is {options.steps}, and the run has done {done} already; give at least that")
        settings = {**settings, "steps": options.steps}
        _check(settings)
    elif not isinstance(done, int) or done > settings["steps"]:
        raise SnapshotError(f"{folder}: the state of the run is damaged: step is {done!r} of {settings['steps']}")
    backend = backends.resolve(options.backend or str(snapshot.metadata.get("backend"))).name
    return TrainingRun.resumed(folder, snapshot, corpus(source), source, settings, backend)


def _names_a_text(source: Any) -> TypeGuard[dict[str, Any]]:
    if not isinstance(source, dict) or not isinstance(source.get("files"), list):
        return False
    kinds = {"standard library": False, "grammar": False, "files": True}
    return kinds.get(str(source.get("kind"))) == bool(source["files"]) and all(
        isinstance(file, str) and "\0" not in file for file in source["files"]
    )


def _check(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        kind = type(DEFAULTS[name])
        least = 0 if name == "seed" else 1
        if kind is int and (type(value) is not int or value < least):
            raise ArgumentError(f"--{name} must be a whole number of at least {least}; got {value!r}")
        if name in LARGEST and value > LARGEST[name]:
            raise ArgumentError(f"--{name} must be at most {LARGEST[name]:,}; got {value:,}")
        if kind is float and (not isinstance(value, (int, float)) or not 0 < value < float("inf")):
            raise ArgumentError(f"--{name} must be a finite number above 0; got {value!r}")


def _unused(runs: Path, stem: str) -> str:
    """`stem`, or stem-2, stem-3, … where a run of that name exists."""
    name, number = stem, 1
    while (runs / name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name
