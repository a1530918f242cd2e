"""One process a library: ``python -m benchmarks.peers NAME`` answers questions, each a line of JSON.

Libraries keep threads that spin for a while after their work. In processes of their own, of which one works at a
time, they do not meet; and each is asked in turns, so that a slow moment of the machine meets them all.

Every library runs the same step: a recurrent layer over x (T, B, I), float32, and the product of a fixed cotangent
with the derivative by x and every parameter, from the same numbers.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
FOREIGN = 0.15  # cores that others may use during a sample that counts


class Point(NamedTuple):
    """One point of the grid; hidden and input size are the same."""

    cell: str
    steps: int
    batch: int
    size: int
    last: bool = False  # the loss reads the last step only


def numbers(point: Point, dtype: str = "float32") -> dict[str, Any]:
    """Inputs, parameters in torch's layout, and the cotangent of the outputs."""
    rng = np.random.default_rng(0)
    rows, bound = GATES[point.cell] * point.size, point.size**-0.5
    made = {"x": rng.standard_normal((point.steps, point.batch, point.size), "float32")}  # at once: for peak memory
    for name, shape in (("w_ih", (rows, point.size)), ("w_hh", (rows, point.size)), ("b_ih", rows), ("b_hh", rows)):
        made[name] = rng.uniform(-bound, bound, shape).astype("float32")
    made["dy"] = rng.standard_normal(made["x"].shape, "float32")
    if point.last:
        made["dy"][:-1] = 0
        made["w_hh"] *= 0.5  # so that gradients decay, far below the normal range
    return {name: array.astype(dtype, copy=False) for name, array in made.items()}


# ---- the step in each library: functions that return gradients by x, w_ih, w_hh, b_ih, b_hh


def ours(point: Point, backend: str = "numba", dtype: str = "float32") -> Callable[[], list[Any]]:
    """This library, by its public interface."""
    import tinygrad_rnn as tg

    given = numbers(point, dtype)
    kind = {"lstm": tg.rnn.LSTM, "gru": tg.rnn.GRU, "rnn": tg.rnn.RNN}[point.cell]
    layer = kind(point.size, point.size, rng=0, dtype=dtype, backend=backend)
    names = {"w_ih": "weight_ih_l0", "w_hh": "weight_hh_l0", "b_ih": "bias_ih_l0", "b_hh": "bias_hh_l0"}
    layer.load_state_dict({name: given[short] for short, name in names.items()})
    x, dy = tg.tensor(given["x"], backend=backend), tg.tensor(given["dy"], backend=backend)
    wanted = [x, *[getattr(layer, name) for name in names.values()]]

    def step() -> list[Any]:
        with tg.Tape() as tape:
            ys, _ = layer(x)
        return tape.gradient(ys, wanted, cotangent=dy)

    return step


def by_torch(point: Point) -> Callable[[], list[Any]]:
    """torch, eager."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    given = {name: torch.tensor(array) for name, array in numbers(point).items()}
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[point.cell](point.size, point.size)
    parameters = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0]
    with torch.no_grad():
        for parameter, name in zip(parameters, ("w_ih", "w_hh", "b_ih", "b_hh")):
            parameter.copy_(given[name])
    x, dy = given["x"].requires_grad_(), given["dy"]

    def step() -> list[Any]:
        ys, _ = layer(x)
        return list(torch.autograd.grad(ys, [x, *parameters], dy))

    return step


def by_jax(point: Point) -> Callable[[], list[Any]]:
    """JAX: `scan` under `jit`, the input product for all steps at once."""
    import jax
    import jax.numpy as jnp

    size = point.size

    def run(x, w_ih, w_hh, b_ih, b_hh):
        def lstm(state, a):
            h, c = state
            i, f, g, o = jnp.split(a + h @ w_hh.T, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        def gru(h, a):
            x_r, x_z, x_n = jnp.split(a, 3, axis=-1)
            h_r, h_z, h_n = jnp.split(h @ w_hh.T + b_hh, 3, axis=-1)
            r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
            n = jnp.tanh(x_n + r * h_n)
            h = (1 - z) * n + z * h
            return h, h

        def rnn(h, a):
            h = jnp.tanh(a + h @ w_hh.T)
            return h, h

        zeros = jnp.zeros((point.batch, size), jnp.float32)
        xw = x @ w_ih.T + (b_ih if point.cell == "gru" else b_ih + b_hh)
        start = (zeros, zeros) if point.cell == "lstm" else zeros
        return jax.lax.scan({"lstm": lstm, "gru": gru, "rnn": rnn}[point.cell], start, xw)[1]

    given = {name: jnp.asarray(array) for name, array in numbers(point).items()}
    dy = given.pop("dy")
    compiled = jax.jit(lambda dy, *primals: jax.vjp(run, *primals)[1](dy))
    primals = [given[name] for name in ("x", "w_ih", "w_hh", "b_ih", "b_hh")]
    return lambda: list(jax.block_until_ready(compiled(dy, *primals)))


LIBRARIES: dict[str, Callable[[Point], Callable[[], list[Any]]]] = {"ours": ours, "torch": by_torch, "jax": by_jax}


# ---- the process


def serve(name: str) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    step: Callable[[], Any] | None = None
    for line in sys.stdin:
        ask = json.loads(line)
        answer: Any = None
        try:
            if "point" in ask:
                step = None  # the one before gives its memory back first
                begun = time.perf_counter()
                step = LIBRARIES[name](Point(*ask["point"]))
                step()
                answer = time.perf_counter() - begun
            elif "job" in ask:
                from benchmarks import train

                step = {"ours": train.ours, "torch": train.by_torch}[name](train.Job(*ask["job"]))
                answer = step()
            elif "seconds" in ask:
                assert step is not None
                answer = _sample(step, ask["seconds"])
            elif "save" in ask:
                assert step is not None
                np.savez(ask["save"], *[np.asarray(each) for each in step()])
            elif "inside" in ask:
                assert step is not None
                answer = _inside(step, ask["inside"])
            elif "rss" in ask:
                answer = _peak_memory()
        except Exception as error:  # an absent library, for one: the asker says so
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _sample(step: Callable[[], Any], seconds: float) -> tuple[float, float]:
    """Run for about so many seconds. Returns the seconds of one step, and the cores that others used meanwhile."""
    busy, own = _busy(), time.process_time()
    begun = time.perf_counter()
    taken = []
    while True:
        start = time.perf_counter()
        step()
        end = time.perf_counter()
        taken.append(end - start)
        if end - begun >= seconds:
            break
    foreign = max(0.0, (_busy() - busy) - (time.process_time() - own)) / (time.perf_counter() - begun)
    return statistics.median(taken), foreign


def _inside(step: Callable[[], Any], seconds: float) -> float:
    """The share of a step of ours that passes in compiled kernels, from their calls to their returns."""
    from tinygrad_rnn.kernels.numba.threads import GANG

    run, spent = GANG.run, [0.0]

    def timed(*arguments: Any, **options: Any) -> None:
        begun = time.perf_counter()
        run(*arguments, **options)
        spent[0] += time.perf_counter() - begun

    shares = []
    GANG.run = timed  # type: ignore[method-assign]
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end or not shares:
        spent[0] = 0.0
        step()
        shares.append(spent[0] / (time.perf_counter() - begun))
    del GANG.run
    return statistics.median(shares)


def _busy() -> float:
    """Seconds that all cores have spent on work, since the start of the machine; 0 where it does not say."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, soft, *steal = (float(field) for field in fields)
    return (user + nice + system + irq + soft + (steal[0] if steal else 0.0)) / os.sysconf("SC_CLK_TCK")


def _peak_memory() -> int:
    """The most bytes that this process has held in memory so far."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


class Peer:
    """A library in a process of its own."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        environment = dict(os.environ)
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            environment[variable] = str(threads)
        if name == "jax":
            environment["JAX_PLATFORMS"] = "cpu"
            if threads == 1:
                environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).resolve().parents[1],
        )

    def ask(self, **question: Any) -> Any:
        """Ask, and wait for the answer. Raises RuntimeError with what went wrong there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the process has died"}')
        if isinstance(answer, dict):
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Measured(NamedTuple):
    """Seconds of one step over the rounds, and whether others used the machine meanwhile."""

    median: float
    spread: float  # between the quartiles, as a share of the median
    noisy: bool


def compare(peers: list[Peer], rounds: int, seconds: float) -> dict[str, Measured]:
    """Ask each in turns; samples during which others used the machine do not count, if enough others are left."""
    samples: dict[str, list[tuple[float, float]]] = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            samples[peer.name].append(tuple(peer.ask(seconds=seconds)))
            time.sleep(0.02)  # its threads stop to spin
    answer = {}
    for name, all_samples in samples.items():
        quiet = [taken for taken, foreign in all_samples if foreign <= FOREIGN]
        noisy = len(quiet) < min(3, rounds)
        kept = [taken for taken, _ in all_samples] if noisy else quiet
        median = statistics.median(kept)
        first, third = (kept[0], kept[0]) if len(kept) == 1 else statistics.quantiles(kept, n=4)[::2]
        answer[name] = Measured(median, (third - first) / median, noisy)
    return answer


if __name__ == "__main__":
    serve(sys.argv[1])
