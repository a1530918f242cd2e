"""What the gradient rules cost: ``python -m benchmarks rtrl``.

Two tables. The first: time and memory of one online step of every rule against the number n of hidden units (as many
inputs, one lane), with the exponent between the two largest sizes beside that of theory. Time is that of a step with
its loss and its gradient; memory what a stream holds between steps, measured. At small sizes a step is all
bookkeeping, so a fitted exponent of time stays below theory's until the arithmetic dominates.

The second: one step of exact RTRL of an Elman network, forward, influence and gradient, against the same update by
np.dot and, where it is installed, by JAX; one lane, float32, each in a process of its own (the threads of a BLAS spin
for a while after their work), asked in turns, with as many threads each.

One thread unless --threads says otherwise.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.measure import THREADS, in_turns, machine, versions

for _name in (*THREADS, "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
if os.environ["OMP_NUM_THREADS"] == "1":
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402 - the thread counts come first

import tinygrad_rnn as tg  # noqa: E402
from tinygrad_rnn import backends, gradients, rnn  # noqa: E402

WINDOW = 10  # steps that the rules that look backward hold
SAMPLE = 0.6  # s; a virtual machine may take 0.2 s until a processor that has idled runs at its full speed again


class Entry(NamedTuple):
    """A rule of the first table. The exponents are of the number n of units, where p is about 2 n²."""

    name: str
    rule: Callable[[int], gradients.Rule]  # of n
    time: int
    memory: int
    cell: type = rnn.ElmanCell
    largest: int = 1024  # units


TABLE = (
    Entry(f"BPTT, T = {WINDOW}", lambda n: gradients.TruncatedBPTT(WINDOW, WINDOW), 2, 1),
    Entry(f"TruncatedBPTT(1, {WINDOW})", lambda n: gradients.TruncatedBPTT(1, WINDOW), 2, 1),
    Entry(f"ARTBP(1 / {WINDOW})", lambda n: gradients.ARTBP(1 / WINDOW, seed=0), 2, 1),
    Entry("RTRL", lambda n: gradients.RTRL(), 4, 3, largest=256),
    Entry("RTRL, any cell", lambda n: gradients.RTRL(kernels=False), 4, 3, largest=256),
    Entry("RTRL, GRU", lambda n: gradients.RTRL(), 4, 3, rnn.GRUCell, largest=128),
    Entry("RTRL, LSTM", lambda n: gradients.RTRL(), 4, 3, rnn.LSTMCell, largest=128),
    Entry("Hybrid(n)", lambda n: gradients.Hybrid(n), 3, 3, largest=128),
    Entry("DiagonalRTRL, IndRNN", lambda n: gradients.DiagonalRTRL(), 2, 2, rnn.IndRNNCell),
    Entry("SnAp(1)", lambda n: gradients.SnAp(1), 3, 2, largest=128),  # n³ for the Jacobian D, from a tape
    Entry("SnAp(2)", lambda n: gradients.SnAp(2), 4, 3, largest=64),
    Entry("UORO", lambda n: gradients.UORO(seed=0), 2, 2),
    Entry("KroneckerRTRL", lambda n: gradients.KroneckerRTRL(seed=0), 3, 2),
    Entry("OptimalKronecker(4)", lambda n: gradients.OptimalKronecker(4, seed=0), 3, 2, largest=256),
    Entry("KTP(4)", lambda n: gradients.KTP(4, seed=0), 2, 1),
    Entry("RFLO", lambda n: gradients.RFLO(leak=0.1), 2, 2),
    Entry("EProp, LSTM", lambda n: gradients.EProp(), 2, 2, rnn.LSTMCell),
    Entry("DNI", lambda n: gradients.DNI(), 2, 2),
)


class Stream:
    """One online step of a rule, again and again, on noise."""

    def __init__(self, entry: Entry, size: int) -> None:
        rng = np.random.default_rng(0)
        cell = entry.cell(size, size, rng=0)
        self.xs = [tg.tensor(rng.standard_normal((1, size)), dtype="float32") for _ in range(16)]
        self.target = tg.tensor(rng.standard_normal((1, size)), dtype="float32")
        self.learner = entry.rule(size).start(cell, batch=1)
        # a block of gradients is one round, so that a rule that gives one at its end pays in every round
        self.block = {"BPTT": WINDOW, "ARTB": 4 * WINDOW, "Hybr": size}.get(entry.name[:4], 1)

    def loss(self, y: tg.Tensor, t: int) -> tg.Tensor:
        """Half of the squared distance to a fixed target."""
        return 0.5 * tg.sum((y - self.target) ** 2)

    def run(self) -> None:
        """As many steps as give a gradient."""
        for k in range(self.block):
            self.learner.step(self.xs[k % 16], self.loss)


def held(entry: Entry, size: int) -> int:
    """Bytes that a stream holds between steps."""
    tracemalloc.start()
    begun = tracemalloc.get_traced_memory()[0]
    stream = Stream(entry, size)
    mine = sum(p.data.nbytes for p in stream.learner.cell.parameters())
    mine += sum(x.data.nbytes for x in (*stream.xs, stream.target))
    most = 0
    for k in range(max(WINDOW, 3)):
        stream.learner.step(stream.xs[k], stream.loss)
        most = max(most, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    return most - begun - mine


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """That of the power law through the last two points."""
    return float(np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2]))


def costs(sizes: Sequence[int], rounds: int) -> None:
    """Print the first table."""
    width = max(len(entry.name) for entry in TABLE)
    print(f"{'time of a step, in µs':<{width}}" + "".join(f"{n:>10}" for n in sizes) + "   fitted  theory")
    taken: dict[str, dict[int, float]] = {entry.name: {} for entry in TABLE}
    for size in sizes:
        streams = {entry.name: Stream(entry, size) for entry in TABLE if size <= entry.largest}
        for name, timing in in_turns({name: s.run for name, s in streams.items()}, rounds, warmup=2).items():
            taken[name][size] = timing.median / streams[name].block
    for entry in TABLE:
        row(entry.name, width, sizes, {n: 1e6 * t for n, t in taken[entry.name].items()}, entry.time)
    print(f"\n{'memory held, in KiB':<{width}}" + "".join(f"{n:>10}" for n in sizes) + "   fitted  theory")
    for entry in TABLE:
        row(entry.name, width, sizes, {n: held(entry, n) / 1024 for n in sizes if n <= entry.largest}, entry.memory)


def row(name: str, width: int, sizes: Sequence[int], values: dict[int, float], theory: int) -> None:
    """Print one row: values by size, and the exponents."""
    numbers = "".join(f"{values[n]:>10.0f}" if n in values else f"{'-':>10}" for n in sizes)
    fitted = exponent(list(values), list(values.values())) if len(values) > 1 else float("nan")
    print(f"{name:<{width}}{numbers}  {fitted:>7.2f}  {theory:>6}", flush=True)


# ---- exact RTRL of an Elman network against peers


class Numbers(NamedTuple):
    """Parameters, a stream of inputs, and a target, in one dtype."""

    w_ih: Any
    w_hh: Any
    b: Any
    xs: Any
    target: Any


def numbers(size: int, inputs: int, dtype: str = "float32") -> Numbers:
    """The same numbers for everybody; m = size + inputs + 1 is a multiple of 32."""
    rng = np.random.default_rng(0)
    shapes = ((size, inputs), (size, size), (size,), (16, 1, inputs), (1, size))
    made = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    made[0], made[1], made[2] = made[0] / inputs**0.5, made[1] / size**0.5, 0 * made[2]
    return Numbers(*[array.astype("float32").astype(dtype) for array in made])


def by_learner(given: Numbers, backend: str) -> Callable[[int], dict[str, Any]]:
    """``RTRL().start(...)``: everything that a user's step does, its loss on a tape and its checks."""
    size, inputs = given.w_ih.shape
    cell = rnn.ElmanCell(inputs, size, dtype=given.xs.dtype, backend=backend)
    cell.load_state_dict(
        {"weight_ih": given.w_ih, "weight_hh": given.w_hh, "bias_ih": given.b, "bias_hh": np.zeros_like(given.b)}
    )
    learner = gradients.RTRL().start(cell, batch=1)
    xs = [tg.tensor(x, backend=backend) for x in given.xs]
    target = tg.tensor(given.target, backend=backend)

    def loss(y: tg.Tensor, t: int) -> tg.Tensor:
        return 0.5 * tg.sum((y - target) ** 2)

    def step(k: int) -> dict[str, Any]:
        return learner.step(xs[k % 16], loss).gradients

    return step


def by_kernel(given: Numbers, backend: str) -> Callable[[int], Any]:
    """The update and the gradient alone, by the backend's kernel."""
    size, inputs = given.w_ih.shape
    library = backends.get(backend)
    update, matmul = library.kernel("influence_update_elman"), library.xp.matmul
    influence = library.kernel("influence_pack")(np.zeros((1, size, 1, size, inputs + size + 1), given.xs.dtype))
    h, one = np.zeros((1, size), given.xs.dtype), np.ones((1, 1), given.xs.dtype)

    def step(k: int) -> Any:
        nonlocal h
        a = np.concatenate([given.xs[k % 16], h, one], axis=1)
        h = np.tanh(matmul(given.xs[k % 16], given.w_ih.T) + matmul(h, given.w_hh.T) + given.b)
        return update(influence, given.w_hh, 1 - h * h, a, h - given.target)

    return step


def by_dot(given: Numbers) -> Callable[[int], Any]:
    """np.dot for the product, and in-place operations for the rest."""
    size, inputs = given.w_ih.shape
    m = inputs + size + 1
    influence, product = np.zeros((2, size, size * m), given.xs.dtype)
    a, h = np.ones(m, given.xs.dtype), np.zeros(size, given.xs.dtype)
    diagonal = np.arange(size)

    def step(k: int) -> Any:
        nonlocal influence, product, h
        x = given.xs[k % 16, 0]
        a[:inputs], a[inputs:-1] = x, h
        h = np.tanh(given.w_ih @ x + given.w_hh @ h + given.b)
        slope = 1 - h * h
        np.dot(slope[:, None] * given.w_hh, influence, out=product)
        product.reshape(size, size, m)[diagonal, diagonal] += slope[:, None] * a
        influence, product = product, influence
        return np.dot(h - given.target[0], influence).reshape(size, m)

    return step


def by_jax(given: Numbers) -> Callable[[int], Any]:
    """JAX, compiled, the old influence given away so that it may be written over."""
    import jax
    import jax.numpy as jnp

    size, inputs = given.w_ih.shape
    m = inputs + size + 1
    w_ih, w_hh, b, _, target = [jnp.asarray(array) for array in given]
    xs = [jnp.asarray(x[0]) for x in given.xs]

    def update(influence: Any, h: Any, x: Any) -> Any:
        a = jnp.concatenate([x, h, jnp.ones(1, x.dtype)])
        h = jnp.tanh(w_ih @ x + w_hh @ h + b)
        slope = 1 - h * h
        product = ((slope[:, None] * w_hh) @ influence).reshape(size, size, m)
        diagonal = jnp.arange(size)
        influence = product.at[diagonal, diagonal].add(slope[:, None] * a).reshape(size, -1)
        return influence, h, (h - target[0]) @ influence

    compiled = jax.jit(update, donate_argnums=(0,))
    influence, h = jnp.zeros((size, size * m), b.dtype), jnp.zeros(size, b.dtype)

    def step(k: int) -> Any:
        nonlocal influence, h
        influence, h, g = compiled(influence, h, xs[k % 16])
        return np.asarray(jax.block_until_ready(g)).reshape(size, m)

    return step


def together(found: Any) -> Any:
    """The gradients of a learner as one array, columns [x, h, 1]."""
    if not isinstance(found, dict):
        return found
    parts = [found[name].numpy() for name in ("weight_ih", "weight_hh")]
    return np.concatenate([*parts, found["bias_ih"].numpy()[:, None]], axis=1)


MAKERS: dict[str, Callable[..., Callable[[int], Any]]] = {
    "np.dot": by_dot,
    "JAX": by_jax,
    "kernel": by_kernel,
    "Learner": by_learner,
}


def answer(pipe: Any, name: str, size: int, inputs: int, *backend: str) -> None:
    """What the process of one candidate does: the gradient after 20 steps, then samples until told to stop."""
    if os.environ["OMP_NUM_THREADS"] == "1" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # XLA has no other setting that holds
    try:
        step = MAKERS[name](numbers(size, inputs), *backend)
    except ImportError:
        pipe.send(None)
        return
    pipe.send(together([step(k) for k in range(20)][-1]))
    while seconds := pipe.recv():
        taken, begun = [], time.perf_counter()
        while time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            step(0)
            taken.append(time.perf_counter() - start)
        pipe.send(statistics.median(taken))


class Candidate:
    """One way to compute the step, in a process of its own."""

    def __init__(self, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=answer, args=(theirs, *arguments), daemon=True)
        self._process.start()
        self.gradient = self._pipe.recv()
        self.samples: list[float] = []

    def sample(self, seconds: float) -> None:
        """Run for so many seconds, and keep the median of a step."""
        self._pipe.send(seconds)
        self.samples.append(self._pipe.recv())
        time.sleep(0.05)  # its threads stop to spin

    def close(self) -> None:
        """End the process."""
        self._pipe.send(0)
        self._process.join()


def exact(sizes: Sequence[tuple[int, int]], rounds: int) -> None:
    """Print the second table."""
    have = [name for name, state in backends.available().items() if state and name != "cupy"]
    print(f"\n{'exact RTRL, µs a step':<26}{'n':>5}{'p':>8}{'time':>10}{'of np.dot':>11}{'Gflop/s':>9}  error")
    for size, inputs in sizes:
        reference = by_dot(numbers(size, inputs, "float64"))
        truth = [reference(k) for k in range(20)][-1]
        candidates = {name: Candidate(name, size, inputs) for name in ("np.dot", "JAX")}
        candidates |= {f"ours, {each}": Candidate("kernel", size, inputs, each) for each in have}
        candidates |= {f"ours, {each}, Learner": Candidate("Learner", size, inputs, each) for each in have}
        if candidates["JAX"].gradient is None:
            print("(JAX is not installed)")
            del candidates["JAX"]
        for _ in range(rounds):
            for candidate in candidates.values():
                candidate.sample(SAMPLE)
        times = {name: statistics.median(candidate.samples) for name, candidate in candidates.items()}
        p = size * (size + inputs + 1)
        for name, candidate in candidates.items():
            candidate.close()
            error = np.abs(candidate.gradient - truth).max() / np.abs(truth).max()
            print(f"{name:<26}{size:>5}{p:>8}{times[name] * 1e6:>10.0f}{times[name] / times['np.dot']:>11.2f}"
                  f"{2e-9 * size**2 * p / times[name]:>9.1f}  {error:.0e}", flush=True)  # fmt: skip
        best = min(times[name] for name in ("np.dot", "JAX") if name in times)
        for name in times:
            if name.startswith("ours"):
                print(f"  {name}: {times[name] / best:.2f} of the best peer")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks rtrl", description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 128, 256], help="hidden units")
    parser.add_argument("--rounds", type=int, default=15, help="of each size (default: 15)")
    parser.add_argument("--backend", default="numba", help="of the first table (default: numba)")
    parser.add_argument("--only", choices=("rules", "exact"), help="one table")
    parser.add_argument("--threads", type=int, default=1, help="of every candidate of the second table (default: 1)")
    options = parser.parse_args()
    for name in (*THREADS, "NUMBA_NUM_THREADS"):  # for the processes of the second table
        os.environ[name] = str(options.threads)
    if options.threads > 1:
        os.environ.pop("XLA_FLAGS", None)
    begun = time.perf_counter()
    print(machine())
    print(versions("numpy", "numba", "jax"))
    if options.only != "exact":
        with tg.backend(options.backend):
            costs(options.sizes, options.rounds)
    if options.only != "rules":
        exact([(64, 31), (128, 127)], options.rounds)
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
