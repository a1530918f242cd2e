"""Mutants: each makes a gradient wrong while it is planted, and leaves nothing behind."""

import types

import numpy as np
import pytest
from testing.planted import planted

import tinygrad_rnn as tg
from tinygrad_rnn import tape
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.primitive import registry
from tinygrad_rnn.testing import KINDS, check_gradients, mutants, mutate
from tinygrad_rnn.testing.domains import case
from tinygrad_rnn.testing.mutation import edited, swapped

ALL = {mutant.name: mutant for mutant in mutants()}
X = np.array([[0.5, -1.25, 2.0], [0.75, 1.5, -0.25]])
Y = np.array([1.5, -0.5, 0.75])


def everything():
    """All that a mutant may touch: the attributes of primitives, and the code of every function of the library."""
    import sys

    state = {name: dict(vars(primitive)) for name, primitive in registry.items()}
    for module in [m for name, m in sorted(sys.modules.items()) if name.startswith("tinygrad_rnn") and m is not None]:
        for key, value in vars(module).items():
            parts = vars(value).items() if isinstance(value, type) else [("", value)]
            for part, function in parts:
                if isinstance(function, types.FunctionType):
                    state[module.__name__, key, part] = function.__code__
    return state


def test_there_are_many_in_every_area_and_their_names_differ():
    listed = list(mutants())
    assert len(listed) == len(ALL) >= 100
    assert {m.area for m in listed} == {"operation", "tape", "kernel", "cell", "layer", "scan", "rule"}


def test_every_mutant_changes_something_and_restores_all_of_it():
    before = everything()
    for mutant in ALL.values():
        with mutant:
            assert everything() != before, mutant.name
        assert everything() == before, mutant.name


def test_what_was_planted_is_taken_out_when_the_block_raises():
    before = everything()
    with pytest.raises(ZeroDivisionError), ALL["tanh: sign"]:
        1 / 0  # noqa: B018
    assert everything() == before


def test_a_mutant_can_be_planted_again_but_not_twice_at_once():
    mutant = ALL["exp: no gradient at all"]
    for _ in range(2):
        with mutant, pytest.raises(ArgumentError, match="planted already"):
            mutant.__enter__()
    assert check_gradients(tg.exp, X)


ON_ITS_OWN = ["sign", "factor", "slightly", "zero", "cotangent", "axis", "reversed", "shift", "average"]


@pytest.mark.parametrize("kind", ON_ITS_OWN)
@pytest.mark.parametrize("mode", ["rev", "fwd"])
def test_every_kind_is_found_in_an_elementwise_primitive_of_ones_own(kind, mode):
    with planted("cube", lambda xp, x: x * x * x, derivative=lambda xp, y, x: 3 * x * x) as cube:
        assert check_gradients(cube, X)
        with mutate("planted_cube", kind, mode=mode):
            report = check_gradients(cube, X, modes=(mode,))
            assert report.verdict == "fail" and report.primitive == "planted_cube"
            other = "fwd" if mode == "rev" else "rev"
            assert check_gradients(cube, X, modes=(other,))
        assert check_gradients(cube, X)


def test_a_missing_sum_over_broadcast_axes_is_found():
    for first, second in ((X, Y), (X, X[:, :1]), (X[:1], X)):
        with mutate("multiply", "broadcast"):
            assert check_gradients(tg.multiply, first, second).verdict == "fail"
            assert check_gradients(tg.multiply, X, X)


def test_one_input_alone_can_be_wrong():
    for mode in ("rev", "fwd"):
        with mutate("multiply", "factor", input=1, mode=mode):
            assert check_gradients(tg.multiply, X, Y, wrt=0)
            assert check_gradients(tg.multiply, X, Y, wrt=1, modes=(mode,)).input == 1
            if mode == "fwd":
                primals, tangents = (
                    [tg.tensor(X), tg.tensor(Y)],
                    [tg.ones(X.shape, dtype="float64"), tg.zeros(3, dtype="float64")],
                )
                assert tg.jvp(tg.multiply, primals, tangents)[1].tolist() == np.broadcast_to(Y, X.shape).tolist()


def test_second_derivatives_see_the_mistake_too():
    with mutate("sin", "sign"):
        assert tg.grad(tg.grad(tg.sin))(tg.tensor(0.5)).item() == pytest.approx(
            np.sin(0.5)
        )  # -(-cos)' = -sin twice over


@pytest.mark.parametrize("name", [name for name, m in ALL.items() if m.area == "operation" and not m.name.startswith(
    ("maximum: ties", "max: ties", "clip", "relu", "where: NaN", "prod", "cumulative_prod"))])  # fmt: skip
def test_mistakes_in_operations_are_found_at_inputs_of_their_domain(name):
    mutant = ALL[name]
    drawn = [case(mutant.entry, seed) for seed in range(60)]
    with mutant:
        verdicts = (check_gradients(each.fn, *each.inputs, kinks=each.kinks).verdict for each in drawn)
        assert "fail" in verdicts
    for each in drawn[:3]:
        assert check_gradients(each.fn, *each.inputs, kinks=each.kinks)


def test_mistakes_at_ties_and_zeros_are_found_where_they_show():
    shows = {
        "maximum: ties: both inputs take the whole": (lambda x: tg.maximum(x, x), X),
        "max: ties: every winner takes the whole": (lambda x: tg.max(tg.stack([x, x]), axis=0), X),
        "prod: divides by the entry, which may be zero": (lambda x: tg.prod(x), np.array([2.0, 0.0, 3.0])),
        "cumulative_prod: zeros divide": (lambda x: tg.cumulative_prod(x), np.array([2.0, 0.0, 3.0])),
    }
    for name, (fn, x) in shows.items():
        assert check_gradients(fn, x)
        with ALL[name]:
            assert check_gradients(fn, x).verdict == "fail", name


def test_names_give_every_kind_for_those_primitives():
    assert [m.name for m in mutants("tanh", "exp")] == [f"{name}: {kind}" for name in ("tanh", "exp") for kind in KINDS]


def test_wrong_arguments_are_named():
    for arguments, words in (
        (("no_such", "sign"), "no differentiable primitive"),
        (("floor_divided", "sign"), "no differentiable primitive"),
        (("equal", "sign"), "no differentiable primitive"),
        (("exp", "sing"), "kind is one of sign"),
    ):
        with pytest.raises(ArgumentError, match=words), mutate(*arguments):
            pass
    with pytest.raises(ArgumentError, match="mode"), mutate("exp", "sign", mode="reverse"):
        pass


def test_a_text_that_is_no_longer_there_is_an_error():
    with pytest.raises(ArgumentError, match="expected it once"), edited(tape.fit, "no such text", ""):
        pass


def test_edited_functions_keep_their_place_and_their_closures():
    def make(offset):
        def shifted(x):
            return x + offset

        return shifted

    function = make(3)
    line = function.__code__.co_firstlineno
    with edited(function, "x + offset", "x - offset"):
        assert function(1) == -2 and function.__code__.co_firstlineno == line
    assert function(1) == 4


def test_swapped_attributes_come_back_and_new_ones_go():
    thing = types.SimpleNamespace(a=1)
    with swapped(thing, a=2, b=3):
        assert (thing.a, thing.b) == (2, 3)
    assert vars(thing) == {"a": 1}
