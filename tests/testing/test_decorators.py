"""`gradcheck` and `parity` make tests of functions."""

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from testing.planted import planted, wrong_square

import tinygrad_rnn as tg
from tinygrad_rnn.backends import Availability, NumpyBackend, available, register
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.testing import (
    GradientCheckError,
    ParityError,
    broadcastable,
    gradcheck,
    mutate,
    parity,
    programs,
    tensors,
)
from tinygrad_rnn.testing.bounds import CLASS, bounds_of, gamma
from tinygrad_rnn.testing.ledger import Ledger, open_ledgers

# ---- gradcheck


@gradcheck(inputs=broadcastable(2), order=2)
def test_products_have_the_right_gradient(a, b):
    """The decorator's plainest use."""
    return a * b


@gradcheck(inputs=tensors(domain="positive"))
def test_a_logarithm_has_the_right_gradient(x):
    return tg.log(x)


@gradcheck(inputs=tensors(shape=st.just((3,)), unique=True), kinks="subgradient")
def test_a_maximum_has_the_right_gradient(x):
    return tg.max(x, axis=-1)


@gradcheck(inputs=(tensors(shape=(2, 3)), tensors(shape=(3, 2))))
def test_a_tuple_of_strategies_gives_one_to_each_argument(a, b):
    return tg.matmul(a, b)


@gradcheck(inputs=tensors())
def test_keyword_only_parameters_are_fixtures_and_backend_is_where_inputs_are(x, *, backend, factor):
    assert x.backend == backend
    return tg.sin(x) * factor


@pytest.fixture(scope="session")
def factor():
    return 2.0


def test_a_wrong_gradient_fails_with_the_report_of_a_small_example():
    with wrong_square(0.5) as wrong:

        @settings(database=None)
        @gradcheck(inputs=tensors())
        def check(x):
            return wrong(x)

        with pytest.raises(GradientCheckError, match="planted_square") as caught:
            check()
    report = caught.value.report
    assert report.verdict == "fail" and report.primitive == "planted_square"
    assert report.inputs[0].size == 1 and abs(report.inputs[0]).max() <= 1  # shrunk


def test_inconclusive_checks_are_set_aside():
    ledger = Ledger()
    open_ledgers.append(ledger)

    @settings(max_examples=30, database=None, suppress_health_check=list(HealthCheck))
    @gradcheck(inputs=tensors(shape=(1,)))
    def check(x):
        return tg.abs(x - 0.03125)  # a value that is drawn often

    check()
    open_ledgers.remove(ledger)
    assert ledger.verdicts["inconclusive"] > 0 and ledger.verdicts["pass"] > 0 and not ledger.verdicts["fail"]
    assert sum(ledger.reasons.values()) == ledger.verdicts["inconclusive"]


def test_the_test_keeps_its_name_and_text():
    assert test_products_have_the_right_gradient.__name__ == "test_products_have_the_right_gradient"
    assert test_products_have_the_right_gradient.__doc__ == "The decorator's plainest use."


def test_gradcheck_needs_a_strategy():
    with pytest.raises(ArgumentError, match="strategy"):
        gradcheck(inputs=3)


# ---- parity


class Other(NumpyBackend):
    """A backend that computes as NumPy does, except for what a test plants."""

    name = "other"
    changed: ClassVar[dict] = {}

    def __init__(self):
        super().__init__()
        changed, plain = self.changed, self.xp

        class Namespace:
            def __getattr__(self, name):
                return changed.get(name) or getattr(plain, name)

        self.xp = Namespace()


class Absent(NumpyBackend):
    name = "absent"

    @classmethod
    def availability(cls):
        return Availability(False, "it is made up")


@pytest.fixture
def other():
    """Register the backend "other", computing some functions otherwise."""
    from tinygrad_rnn import backends

    def make(**changed):
        kind = type("Changed", (Other,), {"changed": changed})
        register("other", kind)

    yield make
    backends._registry.pop("other", None)
    instance = backends._instances.pop("other", None)
    for primitive in tg.registry.values():
        primitive._forwards.pop(instance, None)


SMALL = settings(max_examples=20, database=None, deadline=None, suppress_health_check=list(HealthCheck))


def test_equal_backends_agree_in_values_and_gradients(other):
    other()

    @parity("numpy", "other")
    @SMALL
    @given(programs(nodes=(1, 6)))
    def check(program):
        return program.value_and_grad()

    check()


def test_parity_stands_below_given_too(other):
    other(exp=lambda x: np.exp(x) * (1 + 1e-9))

    @SMALL
    @given(tensors(domain="positive"))
    @parity("numpy", "other")
    def check(x):
        return tg.exp(x)

    with pytest.raises(ParityError, match="exp"):
        check()


def ulps_up(function, ulps):
    """A function whose results are a few units in the last place too large."""

    def moved(*args, **kwargs):
        y = np.asarray(function(*args, **kwargs))
        return y + ulps * np.spacing(abs(y))

    return moved


X = tg.tensor([[0.5, 1.25, 2.5], [0.75, 3.5, 0.3]], dtype="float64")


def agrees(fn, **options):
    parity("numpy", "other", **options)(fn)(X)


@pytest.mark.parametrize(
    ("name", "fn", "good", "bad"),
    [
        ("exp", lambda x: tg.exp(x), 4, 6),
        ("multiply", lambda x: x * x, 0, 1),
        ("divide", lambda x: 1 / x, 0, 1),
        ("sqrt", lambda x: tg.sqrt(x), 0, 1),
        ("matmul", lambda x: x @ tg.matrix_transpose(x), 2, 8),
        ("sum", lambda x: tg.sum(x), 5, 16),
        ("prod", lambda x: tg.prod(x), 2, 16),
    ],
)
def test_every_class_is_held_to_its_own_bound(other, name, fn, good, bad):
    from tinygrad_rnn import backends

    plain = backends.get("numpy").xp
    other(**{name: ulps_up(getattr(plain, name), good)})
    agrees(fn)
    other(**{name: ulps_up(getattr(plain, name), bad)})
    with pytest.raises(ParityError, match=rf"{name} \(recorded at .*test_decorators.py"):
        agrees(fn)


def test_the_number_of_ulps_can_be_given(other):
    other(exp=ulps_up(np.exp, 6))
    agrees(lambda x: tg.exp(x), ulps=8)


def test_small_differences_may_grow_on_the_way_as_far_as_the_function_makes_them(other):
    other(exp=ulps_up(np.exp, 3))
    agrees(lambda x: tg.exp(x) - tg.exp(x + 1e-9))  # cancels nearly all
    other(sin=ulps_up(np.sin, 4))
    agrees(lambda x: tg.sin(3 * x))


def test_movement_must_be_exact_and_shapes_equal(other):
    other(flip=lambda x, axis: np.roll(np.flip(x, axis=axis), 1, axis=axis))
    with pytest.raises(ParityError, match="flip"):
        agrees(lambda x: tg.flip(x, axis=(1,)))
    other(sum=lambda x, **options: np.sum(x, **{**options, "keepdims": True}))
    with pytest.raises(ParityError, match=r"\(1, 1\) on other"):
        agrees(lambda x: tg.sum(x))


def test_a_function_that_asks_for_the_backend_is_compared_by_its_results(other):
    other()
    with pytest.raises(ParityError, match="result 0"):
        agrees(lambda x: x * (1.0 if x.backend == "numpy" else 1.001))


def test_wrong_rules_of_one_backend_show_in_gradients(other):
    other(cos=lambda x: np.cos(x) * (1 + 1e-9))

    def slope(x):
        return tg.vjp(tg.sin, x)[1](tg.ones_like(x))

    with pytest.raises(ParityError):
        agrees(slope)


def test_backends_that_cannot_run_skip_with_the_reason():
    register("absent", Absent)
    try:
        with pytest.raises(pytest.skip.Exception, match="absent.*made up"):
            parity("numpy", "absent")(lambda: tg.ones(2))()
        parity("numpy", "absent", "numpy")(lambda: tg.ones(2))()
    finally:
        from tinygrad_rnn import backends

        backends._registry.pop("absent")
    with pytest.raises(pytest.skip.Exception, match="no such backend"):
        parity("numpy", "abacus")(lambda: tg.ones(2))()


def test_parity_needs_two_names_and_tensors():
    with pytest.raises(ArgumentError, match="compares backends"):
        parity("numpy")
    with pytest.raises(ArgumentError, match="returns Tensors"):
        parity("numpy", "numpy")(lambda: 3.0)()


def test_every_primitive_has_a_class_or_is_measured():
    assert set(CLASS) - set(tg.registry) <= {"take"}
    x = tg.tensor(np.linspace(-1, 1, 12).reshape(3, 4))
    with tg.Tape() as tape:
        tg.softmax(x, axis=1), tg.inv(x @ tg.matrix_transpose(x) + tg.eye(3, dtype="float64")), tg.silu(x), tg.argmax(x)
    for record in tape:
        for most in bounds_of(record):
            assert np.all(np.asarray(most) < 1e-11)


def test_gamma_is_that_of_the_book():
    assert gamma(10, "float32") == pytest.approx(10 * 2**-24 / (1 - 10 * 2**-24), rel=1e-15)


def test_mutants_do_not_disturb_values():
    with planted("twice", lambda xp, x: 2 * x, derivative=lambda xp, y, x: 2.0), mutate("planted_twice", "sign"):
        assert "numpy" in available()
        parity("numpy", "numpy")(lambda: tg.registry["planted_twice"](X))()
