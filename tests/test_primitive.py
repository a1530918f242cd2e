"""Primitives: registering one, what the registry refuses, and what the engine does around every rule."""

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_gradients, close

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, DTypeError, GradientError, IndexingError, ShapeError


@pytest.fixture(autouse=True)
def clean_registry():
    """Take out again what a test registers."""
    before = dict(tg.registry)
    yield
    tg.registry.clear()
    tg.registry.update(before)


# ---- registering


def test_a_users_primitive_takes_a_few_lines_and_has_derivatives_of_every_order():
    @tg.primitive(
        vjp=lambda xp, g, y, x: g * 3 * x**2,
        jvp=lambda xp, d, y, x: d * 3 * x**2,
    )
    def my_cube(xp, x):
        return x * x * x

    assert_gradients(my_cube, [0.5, -1.5], order=3)
    assert tg.registry["my_cube"] is my_cube
    assert my_cube(2.0).item() == 8.0  # plain numbers become Tensors


def test_an_elementwise_primitive_takes_one_derivative_for_both_modes():
    hypot = tg.elementwise(
        "my_hypot",
        lambda xp, a, b: xp.sqrt(a * a + b * b),
        derivative=(lambda xp, y, a, b: a / y, lambda xp, y, a, b: b / y),
    )
    assert_gradients(hypot, np.ones((3, 1)), np.array([0.5, -2.0]), order=2)


def test_one_rule_may_serve_all_inputs_and_is_told_which_are_needed():
    asked = []

    def pull(xp, g, y, a, b, *, needs):
        asked.append(needs)
        return g * b, g * a

    product = tg.primitive(
        "my_product", lambda xp, a, b: a * b, vjp=pull, jvp=lambda xp, da, db, y, a, b: da * b + a * db
    )
    assert_gradients(product, [1.0, 2.0], [3.0, 4.0])
    asked.clear()
    a, b = tg.tensor([1.0]), tg.tensor([2.0])
    with tg.Tape() as tape:
        y = tg.sum(product(a, b))
    assert tape.gradient(y, b).tolist() == [1.0]
    assert asked == [(False, True)]


def test_a_primitive_with_several_outputs_gets_zeros_for_those_that_were_not_used():
    both = tg.primitive(
        "my_sincos",
        lambda xp, x: (xp.sin(x), xp.cos(x)),
        outputs=2,
        vjp=lambda xp, g, y, x: g[0] * y[1] - g[1] * y[0],
        jvp=lambda xp, d, y, x: (d * y[1], -d * y[0]),
    )
    for fn in (lambda x: both(x)[0], lambda x: both(x)[1], lambda x: both(x)[0] * both(x)[1] + both(x)[1]):
        # (sin, cos)' = (cos, -sin): the rule uses the outputs, which carry their own history
        assert_gradients(fn, [0.3, 1.2])


def test_a_residual_reaches_the_vjp_and_is_not_part_of_the_result():
    seen = []

    def pull(xp, g, y, x, *, residual):
        seen.append(residual)
        return g * residual

    square = tg.primitive(
        "my_square",
        lambda xp, x: (x * x, 2 * x),
        residual=True,
        vjp=pull,
        composed=lambda x: x * x,
    )
    x = tg.tensor([3.0])
    with tg.Tape() as tape:
        y = square(x)
    assert y.tolist() == [9.0]
    assert tape.gradient(y, x, cotangent=[1.0]).tolist() == [6.0]
    assert len(seen) == 1
    # forward mode and higher orders go through the composed form
    assert_gradients(square, [3.0, -0.5], order=3)


def test_a_primitive_may_have_a_composed_form_instead_of_rules():
    fused = tg.primitive("my_fused", lambda xp, x, *, k: xp.exp(k * x) * x, composed=lambda x, *, k: tg.exp(k * x) * x)
    assert_gradients(lambda x: fused(x, k=0.5), [0.5, -1.0])
    x = tg.tensor([0.5])
    with tg.Tape() as tape:
        fused(x, k=0.5)
    assert [record.primitive.name for record in tape] == ["my_fused"]


def test_a_primitive_without_derivatives_stops_gradients():
    sign = tg.primitive("my_sign", lambda xp, x: xp.sign(x), differentiable=False)
    x = tg.tensor([2.0, -3.0])
    assert tg.grad(lambda x: tg.sum(sign(x) * x))(x).tolist() == [1.0, -1.0]
    assert tg.jvp(lambda x: sign(x) * x, [x], [x])[1].tolist() == [2.0, 3.0]


# ---- what the registry refuses


@pytest.mark.parametrize(("have", "missing"), [("vjp", "jvp"), ("jvp", "vjp")])
def test_a_missing_rule_raises_at_registration(have, missing):
    with pytest.raises(GradientError, match=f'"my_half" has a {have} and no {missing}: register both'):
        tg.primitive("my_half", lambda xp, x: x, **{have: lambda xp, g, y, x: g})
    assert "my_half" not in tg.registry


def test_a_primitive_with_no_rule_at_all_raises_at_registration():
    with pytest.raises(GradientError, match=r"neither vjp nor jvp.*differentiable=False"):
        tg.primitive("my_none", lambda xp, x: x)
    with pytest.raises(GradientError, match="expected a function, 1, -1 or None; got 'x'"):
        tg.elementwise("my_odd", lambda xp, x: x, derivative="x")


def test_the_name_of_a_built_in_primitive_is_taken():
    before = tg.registry["exp"]
    with pytest.raises(ArgumentError, match='"exp" is one of the library\'s own'):
        tg.primitive("exp", lambda xp, x: x, differentiable=False)
    assert tg.registry["exp"] is before


def test_a_users_primitive_may_be_registered_anew():
    first = tg.primitive("my_own", lambda xp, x: x, differentiable=False)
    second = tg.primitive("my_own", lambda xp, x: x, differentiable=False)
    assert tg.registry["my_own"] is second is not first


def test_every_differentiable_primitive_has_both_modes_and_a_description():
    for name, each in tg.registry.items():
        if each.differentiable and each.composed is None and not hasattr(each, "derivatives"):
            assert None not in (each.vjp, each.jvp), name
        assert each.__name__ == name
        assert each.__doc__


# ---- what the engine does around a rule


def test_the_engine_undoes_broadcasting_and_promotion_for_rules_that_do_not():
    blunt = tg.primitive(
        "my_sum_of_two",
        lambda xp, a, b: a + b,
        vjp=(lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: g),
        jvp=(lambda xp, d, y, a, b: d, lambda xp, d, y, a, b: d),
    )
    a, b = tg.tensor(np.ones((3, 1), np.float32)), tg.tensor(np.ones((2, 1, 4)))
    with tg.Tape() as tape:
        y = blunt(a, b)
    ga, gb = tape.gradient(y, [a, b], cotangent=np.ones((2, 3, 4)))
    assert (ga.shape, ga.dtype) == ((3, 1), np.float32)
    assert np.all(ga.numpy() == 8)
    assert (gb.shape, gb.dtype) == ((2, 1, 4), np.float64)
    assert np.all(gb.numpy() == 3)
    tangent = tape.jvp(y, a, np.ones((3, 1)))
    assert (tangent.shape, tangent.dtype) == ((2, 3, 4), np.float64)


def test_a_vjp_that_returns_too_few_cotangents_raises():
    short = tg.primitive(
        "my_short", lambda xp, a, b: a * b, vjp=lambda xp, g, y, a, b: (g * b,), jvp=lambda xp, da, db, y, a, b: da
    )
    with pytest.raises(GradientError, match='vjp of "my_short" returned 1 cotangents for 2 inputs'):
        tg.grad(lambda a: short(a, a))(tg.tensor(1.0))


def test_an_error_of_the_array_library_names_the_operation_the_shapes_and_the_line():
    failing = tg.primitive("my_failing", lambda xp, a, b: a + b, differentiable=False)
    with pytest.raises(ShapeError, match=r"my_failing\(float32 \(2,\), float32 \(3,\)\): .*test_primitive\.py:\d+"):
        failing(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.0, 3.0]))
    indexing = tg.primitive("my_indexing", lambda xp, a, *, i: a[i], differentiable=False)
    with pytest.raises(IndexingError, match=r"my_indexing\(float32 \(2,\), i=5\)"):
        indexing(tg.tensor([1.0, 2.0]), i=5)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("wrong", [[1.0, 2.0], "text", 1j, {"a": 1.0}], ids=lambda wrong: type(wrong).__name__)
def test_an_input_that_is_neither_tensor_nor_array_nor_number_raises_and_says_how_to_wrap_it(wrong, recorded):
    double = tg.primitive("my_double", lambda xp, a, b: a, differentiable=False)
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() if recorded else tg.scope(), pytest.raises(DTypeError, match=type(wrong).__name__):
        double(x, wrong)


def test_a_constant_array_beside_a_tensor_is_recorded_as_a_constant():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = tg.sum(x * np.array([3.0, 4.0]))
    assert tape[0].inputs[1] == -1
    close(tape.gradient(y, x), np.array([3.0, 4.0], np.float32), 0)


def test_a_singular_derivative_sends_zero_to_exactly_zero_in_both_modes():
    root = tg.elementwise("my_root", lambda xp, x: xp.sqrt(x), derivative=lambda xp, y, x: 0.5 / y, singular=True)
    x = tg.tensor([0.0, 4.0])
    with tg.Tape() as tape:
        y = root(x)
    assert tape.gradient(y, x, cotangent=[0.0, 1.0]).tolist() == [0.0, 0.25]
    assert tape.jvp(y, x, np.array([0.0, 1.0])).tolist() == [0.0, 0.25]
    # and at the second order
    assert tg.hvp(lambda x: tg.sum(root(x) * tg.tensor([0.0, 1.0])), x, x).tolist() == [0.0, -0.125]


def test_a_primitive_is_copied_as_itself_and_shows_its_name():
    exp = tg.registry["exp"]
    assert copy.deepcopy(exp) is exp
    assert copy.copy(exp) is exp
    assert repr(exp) == '<primitive "exp">'


# BUG: Primitive.__reduce__ pickles `registry.__getitem__`, a bound method, and with it the whole registry,
# which fails half-way through (KeyError: 'add'). A module-level `_named(name)` that looks the name up would do.
def test_a_primitive_is_pickled_by_its_name():
    exp = tg.registry["exp"]
    assert pickle.loads(pickle.dumps(exp)) is exp
