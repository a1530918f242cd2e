"""What a run of `fit` keeps in its snapshot, and how it goes on from there: all is checked before any change."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SnapshotError, StateDictError
from ..random import generator_state, set_generator_state
from .batches import ArrayBatches
from .carry import packed, unpacked
from .snapshot import Snapshot

if TYPE_CHECKING:
    from .fit import Fit

KIND = "a run of fit"


def packed_run(run: Fit, weights: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and metadata of a snapshot. weights: the model's state."""
    optimizer, stopping = run.optimizer.state_dict(), run.early_stopping
    stopped = {} if stopping is None else stopping.state_dict()
    carried, form = packed(run.carry)
    parts = {
        "model": weights,
        "optimizer": optimizer["state"],
        "carry": carried,
        "generator": {name: generator_state(rng) for name, rng in _generators(run)},
        "best": stopped.pop("weights", None) or {},
    }
    arrays = {f"{part}.{name}": array for part, inside in parts.items() for name, array in inside.items()}
    metadata = {
        "kind": KIND,
        "step": run.step,
        "settings": _settings(run),
        "optimizer": {"kind": optimizer["kind"], "groups": optimizer["groups"]},
        "schedules": [each.state_dict() for each in run.schedules],
        "stopping": stopped or None,
        "carry": form,
        "since": run.since,
        "lines": run.history.lines,
    }
    return arrays, metadata


def restore_run(run: Fit, snapshot: Snapshot) -> None:
    """Set a run to the state of a snapshot.

    Raises SnapshotError that lists what differs, for a snapshot of another model, optimiser, or run, and one that says
    what is damaged; then nothing has changed.
    """
    kept = snapshot.metadata
    if kept.get("kind") != KIND:
        raise SnapshotError(f"{run.folder} holds a snapshot that fit did not write; choose another folder")
    try:
        problems = list(_differences(run, snapshot))
        if problems:
            listed = "\n    ".join(problems)
            raise SnapshotError(f"the snapshot in {run.folder} is one of another run:\n    {listed}")
        step, since, lines = kept["step"], kept["since"], kept["lines"]
        if type(step) is not int or step < 0:
            raise ValueError(f"step is {step!r}")
        if set(since) != set(run.since) or not all(math.isfinite(value) for value in since.values()):
            raise ValueError(f"the sums since the last line are {since!r}")
        if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
            raise ValueError("its lines are no list of objects")
        carry = unpacked(snapshot.part("carry"), kept["carry"], next(iter(run.model.parameters())).backend)
        groups = [_as_before(group, now) for group, now in zip(kept["optimizer"]["groups"], run.optimizer.param_groups)]
        optimizer = {"kind": kept["optimizer"]["kind"], "groups": groups, "state": snapshot.part("optimizer")}
        schedules = kept["schedules"]
        if any(set(each) != {"steps"} or each["steps"] != step for each in schedules):
            raise ValueError(f"its schedules have not done {step} steps")
        if run.early_stopping is not None:
            stopping = {**kept["stopping"], "weights": snapshot.part("best") or None}
            copy.copy(run.early_stopping).load_state_dict(stopping)  # a rehearsal
            if stopping["weights"] and set(stopping["weights"]) != set(run.model.state_dict()):
                raise ValueError("the best weights are not those of the model")
        states = snapshot.part("generator")
        for name, rng in _generators(run):
            set_generator_state(np.random.Generator(type(rng.bit_generator)()), states[name])
        run.optimizer.load_state_dict(optimizer)
    except SnapshotError:
        raise
    except StateDictError as error:
        raise SnapshotError(f"the snapshot in {run.folder} is one of another run: {error}") from error
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise SnapshotError(f"the snapshot in {run.folder} is damaged: {error}") from error
    run.model.load_state_dict(snapshot.part("model"))
    for schedule, saved in zip(run.schedules, schedules):
        schedule.load_state_dict(saved)
    if run.early_stopping is not None:
        run.early_stopping.load_state_dict(stopping)
    for name, rng in _generators(run):
        set_generator_state(rng, states[name])
    run.step = run.saved = run.history.steps = step
    run.since, run.carry, run.history.lines = dict(since), carry, lines


def _generators(run: Fit) -> Iterator[tuple[str, np.random.Generator]]:
    yield "augment", run.rng
    for name, rng in run.model.named_generators():
        yield f"model.{name}", rng


def _settings(run: Fit) -> dict[str, Any]:
    """What must be the same in a run that goes on."""
    settings: dict[str, Any] = {"seed": run.seed, "every": run.every, "clip": run.clip}
    settings |= {"augment": run.augment is not None, "validation": run.validation is not None}
    if isinstance(run.batches, ArrayBatches):
        settings |= {"batch_size": run.batches.batch_size, "examples": run.batches.examples}
        settings["data (SHA-256)"] = run.fingerprint
    return settings


def _differences(run: Fit, snapshot: Snapshot) -> Iterator[str]:
    """What the snapshot has otherwise than the run, a line each."""
    kept = snapshot.metadata
    mine, theirs = run.model.state_dict(), snapshot.part("model")
    for name in {**mine, **theirs}:
        if name not in theirs:
            yield f"the model has {name} of shape {mine[name].shape}, which the snapshot lacks"
        elif name not in mine:
            yield f"the snapshot has {name} of shape {theirs[name].shape}, which the model lacks"
        elif (mine[name].shape, mine[name].dtype) != (theirs[name].shape, theirs[name].dtype):
            here, there = (f"{each[name].dtype} {each[name].shape}" for each in (mine, theirs))
            yield f"{name} is {here} in the model and {there} in the snapshot"
    now, before = _settings(run), kept["settings"]
    for name in {**now, **before}:
        if now.get(name) != before.get(name):
            yield f"{name} is {now.get(name)!r} now and was {before.get(name)!r}"
    if len(kept["schedules"]) != len(run.schedules):
        yield f"there are {len(run.schedules)} schedules now and were {len(kept['schedules'])}"
    if (kept["stopping"] is None) != (run.early_stopping is None):
        yield "early stopping is " + ("off now and was on" if run.early_stopping is None else "on now and was off")
    names, saved = {name for name, _ in _generators(run)}, set(snapshot.part("generator"))
    if names != saved:
        yield f"random generators are {', '.join(sorted(names))} now and were {', '.join(sorted(saved))}"


def _as_before(group: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """A group of the optimiser from JSON, which has no tuples."""
    return {name: tuple(value) if isinstance(now.get(name), tuple) else value for name, value in group.items()}
