"""What the laws share: what they range over, how they draw, and how far round-off may take two sides apart.

A law holds exactly in exact arithmetic. In floating point its two sides differ by round-off, whose size depends on the
function and the point; no constant would do. So the gradient is replayed with every primitive's result and every
cotangent multiplied by ``1 + eps U(-1, 1)``, and how far it spreads is how far two sides may be apart
(`tinygrad_rnn.testing.roundoff`, where the factor of 32 was measured). Laws about the very same operations in the same
order hold bit for bit, and `identical` says so.
"""

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.primitive import Elementwise, registry
from tinygrad_rnn.testing import domains, module_cases
from tinygrad_rnn.testing.domains import Case
from tinygrad_rnn.testing.program import programs
from tinygrad_rnn.testing.roundoff import gradient_spread
from tinygrad_rnn.testing.subjects import TensorSubject

EPS = 2.0**-52
TINY = 2.0**-1022
FACTOR = 32.0

PRIMITIVES = [name for name in domains.domain_names() if registry[name].builtin]
MODULES = list(module_cases.MODULES)
SUBJECTS = [*PRIMITIVES, *MODULES, "program"]
ENTRYWISE = [name for name in PRIMITIVES if isinstance(registry[name], Elementwise)]

# A law is run for each of a hundred primitives, so each of them takes a part of the examples that the profile asks for.
FEW = max(3, settings.default.max_examples // 20)


def for_each(names, share=1.0):
    """Parametrise a test over names, and give it `data` to draw from; `share` times the usual number of examples."""
    examples = max(2, round(share * FEW))

    def decorate(test):
        quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.differing_executors]
        run = settings(max_examples=examples, deadline=None, suppress_health_check=quiet)(given(data=st.data())(test))
        return pytest.mark.parametrize("name", names)(run)

    return decorate


@functools.cache
def strategy(name, dtype="float64", allow_empty=False):
    """The cases of a primitive, of a cell or layer, or of random programs."""
    if name == "program":
        return programs(nodes=(1, 8), dtype=dtype).map(lambda program: Case("program", program, program.inputs))
    if name in module_cases.MODULES:
        return module_cases.module_cases(name, dtype=dtype)
    return domains.cases(name, dtype=dtype, allow_empty=allow_empty)


def draw_case(data, name, **options):
    return data.draw(strategy(name, **options), label="case")


def draw_rng(data):
    """A generator for directions and cotangents, whose values need not shrink."""
    return np.random.default_rng(data.draw(st.integers(0, 2**16), label="seed"))


def lattice(rng, shape):
    """±17/32 to ±31/32: no entry is weak, sums of few are exact, and sums of many seldom cancel."""
    return np.asarray(rng.choice((-1.0, 1.0), shape) * (17 + 2 * rng.integers(0, 8, shape)) / 32)


def arrays(case):
    """The inputs as NumPy arrays."""
    return [x.numpy() for x in case.inputs]


def subject_of(fn, inputs):
    """A function on its tape, with `pull(v)` and `push(k, u)` on NumPy arrays; v is flat over all results."""
    points = [np.asarray(x.numpy() if isinstance(x, tg.Tensor) else x) for x in inputs]
    backend = tg.zeros(()).detach()._backend
    return TensorSubject(fn, points, list(range(len(points))), [backend] * len(points))


def slack(subject, v):
    """How far round-off may move each gradient of <v, result>: one number for each input.

    A primitive that passes through numbers near 1 on its way to a tiny result rounds those, which a result that was
    perturbed does not show; so the last bits of such numbers are always allowed.
    """
    sources = [source._slot for source in subject.sources]
    spread = gradient_spread(
        subject.tape, subject.slots(), subject.split(v), sources, np.random.default_rng(0), eps=EPS
    )
    near_one = 4 * EPS * (1.0 + peak(v))
    return [
        near_one + FACTOR * (float(np.max(moved, initial=0.0)) + EPS * peak(g) + TINY)
        for moved, g in zip(spread, subject.pull(v))
    ]


def peak(x):
    return float(np.max(np.abs(x), initial=0.0))


def near(one, other, allowed):
    """Assert that two lists of arrays differ by no more than is allowed for each."""
    assert len(one) == len(other)
    for k, (a, b, most) in enumerate(zip(one, other, allowed)):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape, f"input {k}: shapes {a.shape} and {b.shape}"
        error = peak(a - b)
        assert error <= most, f"input {k} differs by {error:.3e}, allowed {most:.3e}\n{a}\n{b}"


def identical(one, other):
    """Assert that two lists of arrays are equal bit for bit (NaN equals NaN; 0 equals -0)."""
    assert len(one) == len(other)
    for k, (a, b) in enumerate(zip(one, other)):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape, f"input {k}: shapes {a.shape} and {b.shape}"
        assert a.dtype == b.dtype, f"input {k}: {a.dtype} and {b.dtype}"
        assert np.array_equal(a, b, equal_nan=True), f"input {k} differs by {peak(a - b):.3e}\n{a}\n{b}"


def listed(out):
    return list(out) if isinstance(out, (tuple, list)) else [out]


def numpy_of(tensors):
    return [x.numpy() for x in listed(tensors)]


def pulled(fn, inputs, cotangents):
    """Gradients as NumPy arrays, by the public `vjp`."""
    out, pull = tg.vjp(fn, *[tg.asarray(x) for x in inputs])
    seeds = [tg.asarray(np.asarray(v, y.dtype)) for v, y in zip(listed(cotangents), listed(out))]
    return numpy_of(pull(tuple(seeds) if isinstance(out, (tuple, list)) else seeds[0]))


def cotangents_of(rng, out):
    """A cotangent for each result."""
    return [lattice(rng, y.shape) for y in listed(out)]
