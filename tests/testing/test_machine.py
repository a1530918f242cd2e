"""The state machine holds on the engine, and falls over planted faults."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

import tinygrad_rnn as tg
from tinygrad_rnn.backends.numpy_backend import NumpyBackend
from tinygrad_rnn.tape import fit
from tinygrad_rnn.testing.machine import TapeMachine
from tinygrad_rnn.testing.reference import Graph, Node

TestTape = TapeMachine.TestCase
TestTape.settings = settings(
    stateful_step_count=20, max_examples=300, deadline=None, suppress_health_check=list(HealthCheck)
)

HUNT = settings(
    stateful_step_count=20,
    max_examples=3000,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[phase for phase in settings.default.phases if phase.name == "generate"],
    suppress_health_check=list(HealthCheck),
)


class OnNumpy(TapeMachine):
    """On one backend: many histories in a short time."""

    backends = ("numpy",)


def wrong_multiply(monkeypatch):
    rules = (lambda xp, y, a, b: b, lambda xp, y, a, b: -a)
    monkeypatch.setattr(tg.registry["multiply"], "derivatives", rules)
    monkeypatch.setattr(tg.registry["multiply"], "local", rules)


def forgotten_accumulation(monkeypatch):
    def sweep(self, cotangents, wanted, namespace=None):
        totals = dict(cotangents)
        needed = self._reachable_from(set(wanted))
        for record in reversed(self.records):
            g = totals.get(record.output)
            if g is None:
                continue
            xp = namespace or record.backend.xp
            parts = record.primitive.pullback(xp, g, record, needed)
            for slot, value, part in zip(record.inputs, record.values, parts):
                if part is not None:
                    totals[slot] = fit(xp, part, value)
        return {slot: totals[slot] for slot in wanted if slot in totals}

    monkeypatch.setattr(tg.Tape, "sweep_backward", sweep)


def missing_unbroadcast(monkeypatch):
    monkeypatch.setattr("tinygrad_rnn.tape.fit", lambda xp, g, value: g)


def added_in_place(monkeypatch):
    """An assigned parameter writes into the array that records hold."""

    def assign(self, array):
        self._value[...] = array

    monkeypatch.setattr(tg.Parameter, "assign", assign)


def attached_detach(monkeypatch):
    monkeypatch.setattr(tg.Tensor, "detach", lambda self: self + 0)


def forgotten_tangent(monkeypatch):
    right = tg.Tape.sweep_forward

    def sweep(self, tangents, namespace=None):
        return {slot: d for slot, d in right(self, tangents, namespace).items() if slot % 3 != 2}

    monkeypatch.setattr(tg.Tape, "sweep_forward", sweep)


def replaced_grad(monkeypatch):
    """backward overwrites .grad instead of adding to it."""
    right = tg.Tape.backward

    def backward(self, target, cotangent=None):
        for _, leaf in self.leaves.values():
            leaf.grad = None
        right(self, target, cotangent)

    monkeypatch.setattr(tg.Tape, "backward", backward)


@pytest.mark.parametrize(
    "plant",
    [
        wrong_multiply,
        forgotten_accumulation,
        missing_unbroadcast,
        added_in_place,
        attached_detach,
        forgotten_tangent,
        replaced_grad,
    ],
    ids=lambda plant: plant.__name__,
)
def test_the_machine_finds_planted_faults(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        run_state_machine_as_test(OnNumpy, settings=HUNT)


class MirrorBackend(NumpyBackend):
    """A second backend that always runs, so that `to` has somewhere to go."""

    name = "mirror"


class Moving(TapeMachine):
    backends = ("numpy", "mirror")


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setitem(tg.backends._registry, "mirror", MirrorBackend)
    yield
    tg.backends._instances.pop("mirror", None)


def test_tensors_move_between_backends(mirror):
    moved = set()

    class Watched(Moving):
        def _compare(self, found, node):
            moved.add((found.backend, bool(node.tapes)))
            super()._compare(found, node)

    run_state_machine_as_test(Watched, settings=settings(TestTape.settings, max_examples=100, database=None))
    assert moved == {("numpy", False), ("numpy", True), ("mirror", False), ("mirror", True)}


def test_the_machine_finds_a_move_that_leaves_the_tape(mirror, monkeypatch):
    right = tg.Tensor.to
    monkeypatch.setattr(tg.Tensor, "to", lambda self, name: right(self.detach(), name))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Moving, settings=HUNT)


def test_the_reference_follows_the_definition():
    """Against derivatives worked out by hand: of sin(x²) once and twice, and of a matrix product."""
    graph = Graph()
    graph.active = (0, 1)
    x = Node([0.5, -1.5])
    y = graph.apply("sin", graph.apply("multiply", x, x))
    graph.active = (0,)
    first = graph.gradient(y, x, Node([1.0, 2.0]), tape=1)
    a = x.value
    v = np.array([1.0, 2.0])
    np.testing.assert_allclose(first.value, v * 2 * a * np.cos(a * a), rtol=1e-15)
    second = graph.gradient(first, x, Node([1.0, 1.0]), tape=0)
    np.testing.assert_allclose(second.value, v * (2 * np.cos(a * a) - 4 * a * a * np.sin(a * a)), rtol=1e-15)
    assert graph.gradient(y, Node([1.0]), Node([1.0, 2.0]), tape=0) is None
    assert graph.gradient(y, x, Node([1.0, 2.0]), tape=7) is None

    m, n = Node([[1.0, 2.0], [3.0, 4.0]]), Node([[5.0], [6.0]])
    product = graph.apply("matmul", m, n)
    gradient = graph.gradient(product, m, Node([[1.0], [10.0]]), tape=0)
    assert gradient.value.tolist() == [[5.0, 6.0], [50.0, 60.0]]


def test_hypothesis_is_imported_by_the_testing_package_alone():
    code = "import sys, tinygrad_rnn; assert 'hypothesis' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
