"""How good is `check_gradients`: false alarms, planted errors that it finds beside its peers, and its time.

    python -m benchmarks.gradcheck                          # beside the peers that are installed
    python -m benchmarks.gradcheck --false-alarms           # 200,000 checks of right gradients

The functions are the library's primitives, at inputs of their domains and at the same scaled by up to 1e±3. The errors
are the kinds that `tinygrad_rnn.testing.mutate` plants. Each peer gets the very same arrays: its own function that
calls ours forward, and backward the rule in which the error was planted.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from benchmarks.measure import in_turns, machine, versions
from tinygrad_rnn.primitive import Elementwise, registry
from tinygrad_rnn.testing import KINDS, check_gradients, mutate
from tinygrad_rnn.testing.domains import Case, case, domain_names
from tinygrad_rnn.testing.subjects import TensorSubject

CHUNK = 25
# What lives on an interval cannot be scaled. All others are defined on a cone: their inputs are scaled, by entries
# where the primitive acts on entries, and all together where it does not (which keeps bounds and ties as they are).
BOUNDED = {"asin", "acos", "atanh", "log1p", "acosh", "tan", "pow", "power"}
TOGETHER = {"clip", "clip_below", "clip_above", "maximum", "minimum", "remainder", "floor_divide"}
SLIGHT = 1e-9  # a planted error that changes the gradient by less than this of it changes nothing


def drawn(name: str, seed: tuple[int, ...]) -> Case:
    """A case of a primitive; every other one with inputs scaled by 10 to a power between -3 and 3."""
    rng = np.random.default_rng(seed)
    made = case(name, rng)
    if name in BOUNDED or rng.random() < 0.5:
        return made
    apart = isinstance(registry[name], Elementwise) and name not in TOGETHER
    factors = [10.0 ** rng.uniform(-3, 3, x.shape if apart else ()) for x in made.inputs]
    inputs = [tg.tensor(x.numpy() * (f if apart else factors[0])) for x, f in zip(made.inputs, factors)]
    return Case(name, made.fn, tuple(inputs), made.kinks, made.order)


# ---- false alarms


class Alarms(NamedTuple):
    """What checks of one primitive's right gradient said."""

    name: str
    verdicts: Counter[str]
    seconds: float
    resolution: float
    reports: list[str]


def alarms(name: str, first: int, count: int) -> Alarms:
    """Check one primitive at so many inputs."""
    verdicts: Counter[str] = Counter()
    reports, resolutions = [], [0.0]
    begun = time.perf_counter()
    for number in range(first, first + count):
        made = drawn(name, (domain_names().index(name), number))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                report = check_gradients(made.fn, *made.inputs, kinks=made.kinks, seed=number)
            except (tg.errors.DataError, tg.errors.LinAlgError):  # no finite value there
                verdicts["undefined"] += 1
                continue
        verdicts[report.verdict] += 1
        if report.verdict == "pass":
            resolutions.append(report.resolution)
        elif report.verdict == "fail":
            reports.append(f"{name}, number {number}\n{report}")
    return Alarms(name, verdicts, time.perf_counter() - begun, max(resolutions), reports)


def false_alarms(count: int, jobs: int) -> int:
    """Spread the checks over all primitives; print one line for each, and return the number of false alarms."""
    names = domain_names()
    share, more = divmod(count, len(names))
    tasks = []
    for place, name in enumerate(names):
        total = share + (place < more)
        tasks += [(name, first, min(CHUNK, total - first)) for first in range(0, total, CHUNK)]
    begun = time.perf_counter()
    found: dict[str, list[Alarms]] = defaultdict(list)
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(alarms, *zip(*tasks), chunksize=1):
            found[result.name].append(result)
    totals: Counter[str] = Counter()
    print(f"| {'primitive':<22} | checks | pass | inconclusive | undefined | false alarms | ms a check |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        verdicts = sum((each.verdicts for each in found[name]), Counter())
        checks = sum(verdicts.values())
        seconds = sum(each.seconds for each in found[name])
        totals += verdicts
        row = [verdicts[kind] for kind in ("pass", "inconclusive", "undefined", "fail")]
        print(f"| {name:<22} | {checks} | {' | '.join(map(str, row))} | {1e3 * seconds / max(1, checks):.2f} |")
    for name in names:
        for each in found[name]:
            for report in each.reports[:2]:
                print(f"\n{report}")
    print(
        f"\n{sum(totals.values())} checks of right gradients of {len(names)} primitives: {totals['fail']} "
        f"false alarms, {totals['inconclusive']} inconclusive, {totals['undefined']} without a finite value; "
        f"{time.perf_counter() - begun:.0f} s on {jobs} processes"
    )
    return totals["fail"]


# ---- planted errors, beside the peers


class Flat:
    """A case as a function of NumPy arrays with one flat result, and its pullback, in which errors may be planted."""

    def __init__(self, made: Case) -> None:
        self.points = [np.array(x.numpy(), order="C") for x in made.inputs]
        backend = tg.zeros(())._backend
        self._new = functools.partial(
            TensorSubject, made.fn, wrt=list(range(len(self.points))), backends=[backend] * len(self.points)
        )
        self._last: tuple[Any, ...] = ()

    def subject(self, arrays: Any) -> Any:
        """The tape at these inputs."""
        arrays = [np.array(x, dtype=np.float64) for x in arrays]
        if not self._last or not all(np.array_equal(a, b) for a, b in zip(self._last[0], arrays)):
            self._last = (arrays, self._new(points=arrays))
        return self._last[1]

    def value(self, *arrays: Any) -> Any:
        """The result, flat."""
        return np.array(self.subject(arrays).first)

    def pull(self, v: Any, *arrays: Any) -> tuple[Any, ...]:
        """A gradient for each input."""
        return tuple(np.array(g) for g in self.subject(arrays).pull(np.asarray(v, np.float64)))


def ours(flat: Flat, seed: int) -> bool:
    """Whether `check_gradients` lets a function pass (inconclusive is no alarm)."""
    return check_gradients(flat.value, *flat.points, vjp=flat.pull, seed=seed).verdict != "fail"


def with_torch(fast: bool) -> Callable[[Flat, int], bool]:
    """`torch.autograd.gradcheck` with its own tolerances."""
    import torch

    def passes(flat: Flat, seed: int) -> bool:
        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *xs: Any) -> Any:
                ctx.save_for_backward(*xs)
                return torch.from_numpy(flat.value(*[x.detach().numpy() for x in xs]))

            @staticmethod
            def backward(ctx: Any, v: Any) -> Any:
                return tuple(map(torch.from_numpy, flat.pull(v.numpy(), *[x.numpy() for x in ctx.saved_tensors])))

        torch.manual_seed(seed)
        xs = [torch.tensor(x, requires_grad=True) for x in flat.points]
        return bool(torch.autograd.gradcheck(Function.apply, xs, raise_exception=False, fast_mode=fast,
                                             check_undefined_grad=False))  # fmt: skip

    return passes


def with_jax() -> Callable[[Flat, int], bool]:
    """`jax.test_util.check_grads` in float64, with its own tolerances."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")

    def passes(flat: Flat, seed: int) -> bool:
        result = jax.ShapeDtypeStruct(flat.value(*flat.points).shape, np.float64)
        shapes = tuple(jax.ShapeDtypeStruct(x.shape, np.float64) for x in flat.points)

        @jax.custom_vjp
        def fn(*xs: Any) -> Any:
            return jax.pure_callback(flat.value, result, *xs)

        fn.defvjp(lambda *xs: (fn(*xs), xs), lambda xs, v: jax.pure_callback(flat.pull, shapes, v, *xs))
        with contextlib.suppress(AssertionError):
            check_grads(fn, tuple(flat.points), order=1, modes=["rev"])
            return True
        return False

    return passes


def with_autograd() -> Callable[[Flat, int], bool]:
    """`autograd.test_util.check_grads` with its own tolerances."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    def passes(flat: Flat, seed: int) -> bool:
        fn = primitive(lambda *xs: flat.value(*xs))

        def rule(k: int) -> Any:
            return lambda y, *xs: lambda v: flat.pull(v, *xs)[k]

        defvjp(fn, *[rule(k) for k in range(len(flat.points))])
        np.random.seed(seed)  # it draws from the global generator
        with contextlib.suppress(AssertionError):
            check_grads(fn, modes=["rev"], order=1)(*flat.points)
            return True
        return False

    return passes


def checkers() -> dict[str, Callable[[Flat, int], bool]]:
    """Ours, and the peers that are installed."""
    found: dict[str, Callable[[Flat, int], bool]] = {"tinygrad_rnn": ours}
    for name, make in {
        "torch": lambda: with_torch(fast=False),
        "torch, fast mode": lambda: with_torch(fast=True),
        "jax": with_jax,
        "autograd": with_autograd,
    }.items():
        try:
            found[name] = make()
        except ImportError:
            print(f"{name} is not installed", file=sys.stderr)
    return found


def changes(name: str, kind: str, flat: Flat, seed: int) -> bool:
    """Whether a planted error changes the gradient at this point at all."""
    v = np.random.default_rng(seed).uniform(0.5, 1.0, flat.value(*flat.points).shape)
    right = flat.pull(v, *flat.points)
    with mutate(name, kind):
        wrong = flat.pull(v, *flat.points)
    if not all(np.isfinite(g).all() for g in right):
        return False
    return any(np.max(abs(a - b), initial=0.0) > SLIGHT * np.max(abs(a), initial=0.0) for a, b in zip(right, wrong))


def points(examples: int, only: str) -> Iterator[tuple[str, int, Flat]]:
    """Inputs for every primitive at which its result is finite."""
    for place, name in enumerate(domain_names()):
        for number in range(examples if only in name else 0):
            flat = Flat(drawn(name, (place, number)))
            with np.errstate(all="ignore"):
                y = flat.value(*flat.points)
            if y.size and np.isfinite(y).all() and abs(y).max() < 1e100:
                yield name, number, flat


def beside_peers(examples: int, only: str) -> bool:
    """Print the rates at which each checker finds each kind of error; say whether ours is the best."""
    passes = checkers()
    killed: dict[str, Counter[str]] = {who: Counter() for who in passes}
    seconds: dict[str, list[float]] = {who: [] for who in passes}
    planted: Counter[str] = Counter()
    for name, number, flat in points(examples, only):
        for kind in ("right", *KINDS):
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if kind != "right" and not changes(name, kind, flat, number):
                    continue
                planted[kind] += 1
                with contextlib.nullcontext() if kind == "right" else mutate(name, kind):
                    for who, check in passes.items():
                        begun = time.perf_counter()
                        killed[who][kind] += not check(flat, number)
                        seconds[who].append(time.perf_counter() - begun)
    print(f"| | planted | {' | '.join(passes)} |\n|---|---|{'---|' * len(passes)}")
    for kind in KINDS:
        rates = " | ".join(f"{killed[who][kind] / max(1, planted[kind]):.1%}" for who in passes)
        print(f"| {kind} | {planted[kind]} | {rates} |")

    def rate(who: str, left_out: str = "") -> float:
        counted = [kind for kind in KINDS if kind != left_out]
        return sum(killed[who][kind] for kind in counted) / max(1, sum(planted[kind] for kind in counted))

    total = sum(planted[kind] for kind in KINDS)
    print(f"| **all** | {total} | {' | '.join(f'**{rate(who):.1%}**' for who in passes)} |")
    coarse = total - planted["slightly"]
    rates = " | ".join(f"{rate(who, 'slightly'):.1%}" for who in passes)
    print(f"| all but the millionth | {coarse} | {rates} |")
    alarmed = " | ".join(f"{killed[who]['right'] / max(1, planted['right']):.1%}" for who in passes)
    print(f"| false alarms | {planted['right']} | {alarmed} |")
    checks = sum(planted.values())
    medians = " | ".join(f"{1e3 * statistics.median(seconds[who]):.2f}" for who in passes)
    print(f"| median ms a check | {checks} | {medians} |\n")
    return all(rate("tinygrad_rnn") > rate(who) for who in passes if who != "tinygrad_rnn")


# ---- time


def times() -> None:
    """Print how long checks of small elementwise functions take."""
    x, y = tg.tensor([[0.5, -1.5], [2.0, 0.25]], dtype="float64"), tg.tensor([3.0, -0.75], dtype="float64")
    small = {
        "tanh (2, 2)": lambda: check_gradients(tg.tanh, x),
        "multiply (2, 2) by (2,)": lambda: check_gradients(tg.multiply, x, y),
        "exp(x) x (2, 2)": lambda: check_gradients(lambda x: tg.exp(x) * x, x),
        "tanh (2, 2), order 2": lambda: check_gradients(tg.tanh, x, order=2),
        "softmax (2, 2)": lambda: check_gradients(lambda x: tg.softmax(x, axis=1), x),
    }
    print("| a check of | median ms | quartiles |\n|---|---|---|")
    for name, timing in in_turns(small, rounds=200, warmup=20).items():
        low, high = timing.quartiles
        print(f"| {name} | {1e3 * timing.median:.2f} | {1e3 * low:.2f} to {1e3 * high:.2f} |")
    print()


def main() -> int:
    """Run what was asked for; the exit status is 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description="False alarms, planted errors that are found, and time.")
    parser.add_argument("--false-alarms", action="store_true", help="check right gradients of all primitives")
    parser.add_argument("--count", type=int, default=200_000, help="how many such checks (default: 200000)")
    parser.add_argument("--jobs", type=int, default=2, help="processes that make them (default: 2)")
    parser.add_argument("--examples", type=int, default=6, help="inputs for each primitive beside peers (default: 6)")
    parser.add_argument("--only", default="", metavar="TEXT", help="beside peers: primitives whose name has this text")
    options = parser.parse_args()
    print(f"{machine()}; {versions('numpy', 'torch', 'jax', 'autograd')}\n")
    if options.false_alarms:
        return int(false_alarms(options.count, options.jobs) > 0)
    times()
    return int(not beside_peers(options.examples, options.only))


if __name__ == "__main__":
    sys.exit(main())
