"""Echo-state networks beside reservoirpy, in speed and in accuracy: ``python -m benchmarks esn``.

Speed: a run of 10,000 steps, float64, one process, two threads, in turns; the reservoir has the same matrices in both.
Accuracy: the same data and the same matrices. The readout here is solved by SVD; reservoirpy's by its normal equations,
with the same ridge and with the best of `RIDGES`, which is picked on the test data, in its favour. The states of both
libraries are compared, and the closed loop is one function for both. All settings and seeds are below.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.measure import THREADS, in_turns, machine, versions
from benchmarks.peers import _busy

for _name in (*THREADS, "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "2")

import numpy as np  # noqa: E402 - the thread counts come first

from tinygrad_rnn import data, esn  # noqa: E402

STEPS, ROUNDS = 10_000, 5


class Case(NamedTuple):
    """A run whose time is taken. goal: how many times faster than reservoirpy."""

    units: int
    goal: float
    topology: str = "random"
    batch: int = 1


CASES = {
    "N = 100": Case(100, 5),
    "N = 1000": Case(1000, 2.5),
    "N = 5000": Case(5000, 2.5),
    "ring of 1000": Case(1000, 5, topology="ring"),
    "64 series, N = 300": Case(300, 10, batch=64),
}

SEEDS = range(10)
RIDGES = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4)
WASHOUT = 200
MACKEY_GLASS: dict[str, Any] = {
    "units": 1000, "leak": 0.7, "spectral_radius": 0.9, "input_scaling": 1.0, "bias_scaling": 0.2, "connectivity": 0.1,
    "ridge": 1e-14, "train": 3000, "starts": 100, "gap": 50,
}  # fmt: skip
NARMA: dict[str, Any] = {
    "units": 400, "leak": 1.0, "spectral_radius": 0.9, "input_scaling": 0.05, "bias_scaling": 0.2, "connectivity": 0.1,
    "ridge": 1e-10, "train": 10_000, "test": 5000,
}  # fmt: skip
MEMORY: dict[str, Any] = {
    "units": 100, "leak": 1.0, "spectral_radius": 0.93, "input_scaling": 1.0, "bias_scaling": 0.0, "topology": "ring",
    "nonlinearity": "identity", "ridge": 1e-12, "train": 8000, "test": 4000, "delays": 150,
}  # fmt: skip
LORENZ: dict[str, Any] = {
    "units": 500, "leak": 1.0, "spectral_radius": 0.9, "input_scaling": 0.1, "bias_scaling": 1.0, "connectivity": 0.1,
    "ridge": 1e-14, "train": 8000, "starts": 20, "gap": 400, "steps": 1200, "dt": 0.02,
}  # fmt: skip


# ---- speed


def peer_of(reservoir: esn.Reservoir, nonlinearity: Any = None) -> Any:
    """reservoirpy's reservoir with the same matrices."""
    import scipy.sparse
    from reservoirpy.nodes import Reservoir

    bias = np.zeros(reservoir.units) if reservoir.bias is None else reservoir.bias.numpy()
    w = scipy.sparse.csr_array(reservoir.matrix())
    options = {} if nonlinearity is None else {"activation": nonlinearity}
    return Reservoir(W=w, Win=reservoir.w_in.numpy(), bias=bias, lr=float(reservoir.leak.numpy()), **options)


def peer_run(peer: Any, u: Any) -> Any:
    """A run from the zero state."""
    if peer.initialized:
        peer.reset()
    return peer.run(u)


def reading_rate(megabytes: int = 256) -> float:
    """Bytes a second that both threads read from memory together."""
    x = np.ones(megabytes << 17)
    np.dot(x, x)
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        np.dot(x, x)
        taken.append(time.perf_counter() - begun)
    return x.nbytes / min(taken)


def speed(quick: bool, names: Sequence[str]) -> None:
    """Print the table of times per step; the last column says how many cores other programs used meanwhile."""
    steps, rounds, rate = (300, 3, reading_rate(64)) if quick else (STEPS, ROUNDS, reading_rate())
    print(f"\nmicroseconds a step, medians of {rounds} rounds in turns; memory is read at {rate / 1e9:.1f} GB/s")
    header = (
        "case",
        "ours",
        "quartiles",
        "reservoirpy",
        "quartiles",
        "faster",
        "goal",
        "difference",
        "step/read",
        "others",
    )
    print(f"{header[0]:<20}{header[1]:>9}{header[2]:>18}{header[3]:>13}{header[4]:>18}", end="")
    print(f"{header[5]:>8}{header[6]:>6}{header[7]:>12}{header[8]:>11}{header[9]:>8}")
    for name in names:
        case = CASES[name]
        rng = np.random.default_rng(0)
        reservoir = esn.Reservoir(
            1, case.units, topology=case.topology, bias_scaling=0.2, rng=rng, dtype="float64", backend="numba"
        )
        u = rng.uniform(-1, 1, (steps, case.batch, 1))
        peer = peer_of(reservoir)

        def ours(u: Any = u, reservoir: esn.Reservoir = reservoir) -> None:
            reservoir.run(u)

        def theirs(u: Any = u, peer: Any = peer) -> None:
            for b in range(u.shape[1]):
                peer_run(peer, u[:, b])

        busy, own, begun = _busy(), time.process_time(), time.perf_counter()
        found = in_turns({"ours": ours, "reservoirpy": theirs}, rounds, warmup=1)
        others = max(0.0, (_busy() - busy - time.process_time() + own) / (time.perf_counter() - begun))
        mine, other = found["ours"], found["reservoirpy"]
        check = min(steps, 200)
        gap = np.abs(reservoir.run(u[:check, 0])[0].numpy() - peer_run(peer, u[:check, 0])).max()
        entries = len(reservoir.pattern.indices) if reservoir.pattern is not None else case.units
        reading = entries * (8 if case.topology == "ring" else 10) / rate
        cells = [
            f"{each.median / steps * 1e6:>{width}.2f}"
            f"{' (' + ' - '.join(f'{q / steps * 1e6:.2f}' for q in each.quartiles) + ')':>18}"
            for each, width in ((mine, 9), (other, 13))
        ]
        ratio = other.median / mine.median
        goal, note = ("-", "") if quick else (f"{case.goal:g}", "" if ratio >= case.goal else "  missed")
        print(
            f"{name:<20}{cells[0]}{cells[1]}{ratio:>8.2f}{goal:>6}{gap:>12.0e}"
            f"{mine.median / steps / reading:>11.2f}{others:>8.2f}{note}",
            flush=True,
        )


# ---- accuracy


class Readout(NamedTuple):
    """Outputs are ``states @ weights + intercept``."""

    weights: Any
    intercept: Any

    def __call__(self, states: Any) -> Any:
        return states @ self.weights + self.intercept


def reservoir_of(settings: dict[str, Any], inputs: int, seed: int) -> esn.Reservoir:
    """The reservoir of a task."""
    names = ("leak", "spectral_radius", "input_scaling", "bias_scaling", "connectivity", "topology", "nonlinearity")
    options = {name: settings[name] for name in names if name in settings}
    return esn.Reservoir(inputs, settings["units"], rng=seed, dtype="float64", backend="numba", **options)


def free_run(reservoir: esn.Reservoir, readout: Readout, states: Any, steps: int) -> Any:
    """Outputs (steps, starts, O) from the states (starts, N) after the last known inputs; each is the next input."""
    w, w_in, leak = reservoir.matrix(), reservoir.w_in.numpy(), reservoir.leak.numpy()
    bias = 0 if reservoir.bias is None else reservoir.bias.numpy()[:, None]
    h, y, made = states.T.copy(), readout(states), []
    for _ in range(steps):
        made.append(y)
        h = (1 - leak) * h + leak * np.tanh(w @ h + w_in @ y.T + bias)
        y = readout(h.T)
    return np.array(made)


def mackey_glass(settings: dict[str, Any], seed: int) -> tuple[Any, ...]:
    """tanh(x - 1) as input, its next value as target; 84 steps of closed loop from 100 places after the training."""
    train, starts = settings["train"], settings["train"] + settings["gap"] * np.arange(settings["starts"])
    x = np.tanh(data.mackey_glass(int(starts[-1]) + 100, seed=seed) - 1)
    reservoir = reservoir_of(settings, 1, seed)
    wanted = np.stack([x[starts + 1 + k] for k in range(84)])

    def score(states: Any, readout: Readout) -> float:
        return data.nrmse84(wanted, free_run(reservoir, readout, states[starts], 84), variance=float(x.var()))

    return reservoir, x[:-1], x[WASHOUT + 1 : train + 1], slice(WASHOUT, train), score


def narma(settings: dict[str, Any], seed: int) -> tuple[Any, ...]:
    """The output of order 10 that follows from the inputs so far."""
    train = settings["train"]
    u, y = data.narma(train + settings["test"] + 1, seed=seed)
    u, y = u[:-1], y[1:]

    def score(states: Any, readout: Readout) -> float:
        return data.nmse(y[train:], readout(states[train:]))

    return reservoir_of(settings, 1, seed), u, y[WASHOUT:train], slice(WASHOUT, train), score


def memory(settings: dict[str, Any], seed: int) -> tuple[Any, ...]:
    """The inputs 1 to 150 steps ago; the score is the sum of squared correlations."""
    train = settings["train"]
    u, wanted = data.memory_capacity_task(train + settings["test"], settings["delays"], seed=seed)

    def score(states: Any, readout: Readout) -> float:
        return data.memory_capacity(wanted[train:], readout(states[train:]))

    return reservoir_of(settings, 1, seed), u, wanted[WASHOUT:train], slice(WASHOUT, train), score


def lorenz(settings: dict[str, Any], seed: int) -> tuple[Any, ...]:
    """The next state of the Lorenz system, standardised; the median over 20 starts of the valid prediction time."""
    train, dt, steps = settings["train"], settings["dt"], settings["steps"]
    starts = train + settings["gap"] * np.arange(settings["starts"])
    x = data.lorenz(int(starts[-1]) + steps + 2, dt=dt, seed=seed)
    x = (x - x[:train].mean(axis=0)) / x[:train].std(axis=0)
    reservoir = reservoir_of(settings, 3, seed)

    def score(states: Any, readout: Readout) -> float:
        made = free_run(reservoir, readout, states[starts], steps)
        times = [
            data.valid_prediction_time(
                x[start + 1 : start + 1 + steps], made[:, k], dt, data.LORENZ_EXPONENT, scale=np.ones(3)
            )
            for k, start in enumerate(starts)
        ]
        return statistics.median(times)

    return reservoir, x[:-1], x[WASHOUT + 1 : train + 1], slice(WASHOUT, train), score


class Task(NamedTuple):
    """A task, its settings, and what the median over the seeds ought to reach."""

    make: Callable[[dict[str, Any], int], tuple[Any, ...]]
    settings: dict[str, Any]
    goal: float
    least: bool  # whether less is better
    small: dict[str, Any]  # what a quick run changes


TASKS = {
    "Mackey-Glass, NRMSE84": Task(mackey_glass, MACKEY_GLASS, 3e-5, True, {"units": 300, "starts": 20}),
    "NARMA-10, NMSE": Task(narma, NARMA, 0.02, True, {"units": 100, "train": 2000, "test": 1000}),
    "memory capacity of 100": Task(memory, MEMORY, 98, False, {"train": 4000, "test": 2000}),
    "Lorenz, Lyapunov times": Task(lorenz, LORENZ, 11, False, {"units": 200, "train": 4000, "starts": 5}),
}


def outcomes(task: Task, settings: dict[str, Any], seed: int) -> tuple[float, float, float, float]:
    """The score here; reservoirpy's with the same ridge; with its best; and the largest difference of states."""
    from reservoirpy.nodes import Ridge

    reservoir, u, targets, rows, score = task.make(settings, seed)
    states = reservoir.run(u)[0].numpy()
    solved = esn.fit_ridge(states[rows], targets, settings["ridge"])
    ours = score(states, Readout(solved.weights, solved.intercept))
    linear = (lambda x: x) if settings.get("nonlinearity") == "identity" else None
    seen = peer_run(peer_of(reservoir, linear), u)
    theirs = []
    for ridge in (settings["ridge"], *RIDGES):
        try:
            found = Ridge(ridge=ridge).fit(seen[rows], targets)
            theirs.append(score(seen, Readout(found.Wout, np.ravel(found.bias))))
        except np.linalg.LinAlgError:
            theirs.append(np.inf if task.least else 0.0)
    best = min(theirs) if task.least else max(theirs)
    return ours, theirs[0], best, float(np.abs(states - seen).max())


def accuracy(quick: bool) -> int:
    """Print the table of scores; returns how many goals are missed."""
    seeds = list(SEEDS)[:2] if quick else list(SEEDS)
    print(f"\nmedians over {len(seeds)} seeds (least - most); reservoirpy with the same ridge, and with its best")
    print(f"{'task':<25}{'ours':>10}{'':>22}{'same ridge':>12}{'best ridge':>12}{'goal':>9}{'difference':>12}")
    missed = 0
    for name, task in TASKS.items():
        settings = {**task.settings, **(task.small if quick else {})}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # reservoirpy warns of each ill-conditioned solve
            found = [outcomes(task, settings, seed) for seed in seeds]
        ours, same, best, gap = zip(*found)
        median = statistics.median(ours)
        reached = median < task.goal if task.least else median > task.goal
        missed += not reached and not quick
        spread = f"({min(ours):.3g} - {max(ours):.3g})"
        note = "" if reached or quick else "  missed"
        print(
            f"{name:<25}{median:>10.3g}{spread:>22}{statistics.median(same):>12.3g}{statistics.median(best):>12.3g}"
            f"{'-' if quick else format(task.goal, 'g'):>9}{max(gap):>12.0e}{note}",
            flush=True,
        )
    return missed


def main() -> int:
    """Print both tables; the status is 1 if an accuracy is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short runs, small networks, two seeds")
    parser.add_argument("--only", choices=("speed", "accuracy"), help="one of the tables")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="of the table of speed")
    options = parser.parse_args()
    try:
        import reservoirpy
    except ImportError:
        print("reservoirpy is not installed: pip install reservoirpy", file=sys.stderr)
        return 2
    if hasattr(reservoirpy, "verbosity"):
        reservoirpy.verbosity(0)
    print(machine())
    print(versions("numpy", "scipy", "numba", "reservoirpy"))
    if options.only != "accuracy":
        speed(options.quick, options.cases)
    return 1 if options.only != "speed" and accuracy(options.quick) else 0


if __name__ == "__main__":
    sys.exit(main())
