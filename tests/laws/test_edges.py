"""The edges: no entries, no axes, kinks, NaN, infinity, and branches not taken."""

import math

import numpy as np
import pytest
from hypothesis import strategies as st
from laws.support import (
    ENTRYWISE,
    PRIMITIVES,
    arrays,
    draw_case,
    draw_rng,
    for_each,
    identical,
    lattice,
    listed,
    near,
    pulled,
    slack,
    subject_of,
)

import tinygrad_rnn as tg
from tinygrad_rnn.primitive import registry
from tinygrad_rnn.testing import check_gradients
from tinygrad_rnn.testing.domain_table import TABLE
from tinygrad_rnn.testing.strategies import tensors

# ---- no entries, no axes


@for_each([name for name in PRIMITIVES if TABLE[name].empty], share=2)
def test_an_empty_input_has_an_empty_gradient_and_an_empty_result_pulls_back_zeros(name, data):
    case = draw_case(data, name, allow_empty=True)
    out = case.fn(*case.inputs)
    rng = draw_rng(data)
    gradients = pulled(case.fn, case.inputs, [lattice(rng, y.shape) for y in listed(out)])
    for x, g in zip(case.inputs, gradients):
        assert g.shape == x.shape
        assert g.dtype == x.dtype
        assert sum(y.size for y in listed(out)) or not g.any()
    _, tangent = tg.jvp(case.fn, list(case.inputs), [tg.asarray(lattice(rng, x.shape)) for x in case.inputs])
    for y, d in zip(listed(out), listed(tangent)):
        assert d.shape == y.shape
        assert np.isfinite(d.numpy()).all()


@for_each(ENTRYWISE)
def test_a_number_without_axes_is_a_tensor_of_one_entry(name, data):
    case = draw_case(data, name)
    values = [x.reshape(-1)[0] for x in arrays(case)]
    flat = subject_of(case.fn, [x.reshape(1) for x in values])
    scalar = subject_of(case.fn, values)
    v = lattice(draw_rng(data), (1,))
    assert scalar.shapes == [()]
    near([scalar.first], [flat.first], [4 * 2.0**-52 * float(np.max(abs(flat.first)))])
    near(scalar.pull(v), [g.reshape(()) for g in flat.pull(v)], slack(flat, v))


def test_rolling_along_no_axes_changes_nothing():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert tg.roll(x, (), axis=()).tolist() == x.tolist()
    assert tg.grad(lambda x: tg.sum(tg.roll(x, (), axis=()) * x))(x).tolist() == (2 * x).tolist()


# ---- kinks

KINKS = {
    "abs": lambda x: tg.abs(x),
    "relu": lambda x: tg.relu(x),
    "leaky_relu": lambda x: tg.leaky_relu(x, negative_slope=0.25),
    "hardtanh": lambda x: tg.hardtanh(x),
    "clip": lambda x: tg.clip(x, -1.0, 1.0),
    "clip_below": lambda x: tg.clip(x, -1.0),
    "clip_above": lambda x: tg.clip(x, max=1.0),
    "maximum": lambda x: tg.maximum(x, -x),
    "minimum": lambda x: tg.minimum(x, 2 * x),
    "copysign": lambda x: tg.copysign(x, 1.0),
    "hypot": lambda x: tg.hypot(x, 0 * x),
    "max": lambda x: tg.max(x, axis=0),
    "min": lambda x: tg.min(x, axis=0),
    "norm": lambda x: tg.norm(x, axis=0),
    "l1_loss": lambda x: tg.l1_loss(x, 0.0 * x.detach(), reduction="none"),
    "elu": lambda x: tg.elu(x),
    "huber_loss": lambda x: tg.huber_loss(x, 0.0 * x.detach(), reduction="none"),
}


@for_each(list(KINKS), share=2)
def test_at_a_kink_the_gradient_lies_between_the_slopes_of_the_two_sides(name, data):
    values = data.draw(st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.5]), min_size=1, max_size=4), label="x")
    report = check_gradients(KINKS[name], np.array(values), modes=("rev",), kinks="subgradient")
    assert report.verdict != "fail", str(report)


def test_at_a_kink_the_derivative_is_the_documented_one():
    x = tg.tensor(np.array([0.0, -0.0]))
    chosen = {
        tg.abs: 0.0,
        tg.relu: 0.0,
        tg.sign: 0.0,
        tg.elu: 1.0,
        (lambda x: tg.elu(x, alpha=0.5)): 0.5,
        (lambda x: tg.leaky_relu(x, negative_slope=0.25)): 0.25,
        (lambda x: tg.clip(x, 0.0, 1.0)): 1.0,
        (lambda x: tg.clip(x, -1.0, 0.0)): 1.0,
        (lambda x: tg.clip(x, 0.0)): 1.0,
        (lambda x: tg.clip(x, max=0.0)): 1.0,
        (lambda x: tg.hypot(x, 0 * x)): 0.0,
        tg.norm: 0.0,
        tg.std: 0.0,
    }
    for fn, slope in chosen.items():
        assert tg.grad(lambda x, fn=fn: tg.sum(fn(x)))(x).tolist() == [slope, slope]


@for_each(["maximum", "minimum", "max", "min"])
def test_winners_that_tie_share_one_cotangent(name, data):
    """The larger of x and x is x, and so is its gradient: what several winners get adds up to the cotangent."""
    x = data.draw(tensors(shape=(2, 3), layouts=("C",)), label="x")
    copies = data.draw(st.integers(2, 4), label="copies")
    if name in ("maximum", "minimum"):
        fn = lambda x: registry[name](x, x)
    else:
        fn = lambda x: registry[name](tg.stack([x] * copies), axis=(0,), keepdims=False)
    subject = subject_of(fn, [x])
    v = lattice(draw_rng(data), (2, 3))
    near(subject.pull(v.reshape(-1)), [v], [copies * 2.0**-52])


# ---- NaN and infinity

# what has a value where an input is NaN: no power at all, a sign without a magnitude, and zero imaginary parts
WITHOUT_NAN = {"power", "pow", "copysign", "imag", "sign", "hypot"}


@for_each(ENTRYWISE)
def test_a_nan_reaches_its_own_entry_and_no_other(name, data):
    case = draw_case(data, name)
    shape = np.broadcast_shapes(*[x.shape for x in case.inputs])
    full = [np.array(np.broadcast_to(x.numpy(), shape)).reshape(-1) for x in case.inputs]
    rng = draw_rng(data)
    at = int(rng.integers(full[0].size))
    spoilt = [np.where(np.arange(x.size) == at, math.nan, x) for x in full]
    v = lattice(rng, full[0].shape)
    with np.errstate(all="ignore"):
        y, bad = case.fn(*map(tg.asarray, full)).numpy(), case.fn(*map(tg.asarray, spoilt)).numpy()
        gradients, tainted = pulled(case.fn, full, [v]), pulled(case.fn, spoilt, [v])
    assert name in WITHOUT_NAN or np.isnan(bad[at])
    others = np.arange(y.size) != at
    identical([bad[others], *[g[others] for g in tainted]], [y[others], *[g[others] for g in gradients]])


REDUCTIONS = ["sum", "mean", "var", "prod", "max", "min", "logsumexp", "cumulative_sum", "cumulative_prod",
              "softmax", "log_softmax", "normalise"]  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_with_nan_or_infinity_leaves_the_other_rows_alone(name, bad):
    params = {"axis": (1,), "keepdims": False}
    if name in ("cumulative_sum", "cumulative_prod", "softmax", "log_softmax"):
        params = {"axis": 1}
    elif name == "normalise":
        params = {"axis": (1,), "eps": 0.5}
    elif name == "var":
        params["correction"] = 0.0
    x = np.array([[1.0, 2.0, 3.0], [0.5, 0.25, -1.0]])
    spoilt = x.copy()
    spoilt[0, 1] = bad
    with np.errstate(all="ignore"):
        y = registry[name](tg.asarray(x), **params).numpy()
        z = registry[name](tg.asarray(spoilt), **params).numpy()
        v = lattice(np.random.default_rng(0), y.shape)
        good, tainted = (pulled(lambda t: registry[name](t, **params), [each], [v])[0] for each in (x, spoilt))
    identical([z[1], tainted[1]], [y[1], good[1]])
    if math.isnan(bad):
        assert np.isnan(z[0]).any()


ONE_INPUT = [name for name in ENTRYWISE if len(registry[name].derivatives) == 1 and name != "power"]
OUTSIDE = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0]


@pytest.mark.parametrize("name", ONE_INPUT)
def test_a_branch_that_where_does_not_take_leaks_no_nan(name):
    """Outside its domain and at its poles a function that is not chosen gets a gradient of exactly zero."""
    x = tg.tensor(np.array(OUTSIDE))
    with np.errstate(all="ignore"):
        g = tg.grad(lambda x: tg.sum(tg.where(x > 9, registry[name](x), 3 * x)))(x)
        _, d = tg.jvp(lambda x: tg.where(x > 9, registry[name](x), 3 * x), [x], [tg.ones_like(x)])
    assert g.tolist() == [3.0] * len(OUTSIDE)
    assert d.tolist() == [3.0] * len(OUTSIDE)


@pytest.mark.parametrize("name", ["divide", "pow", "atan2", "hypot", "remainder", "floor_divide", "logaddexp"])
def test_a_branch_of_two_inputs_that_where_does_not_take_leaks_no_nan(name):
    a, b = (tg.tensor(part.reshape(-1)) for part in np.meshgrid(OUTSIDE, OUTSIDE))
    with np.errstate(all="ignore"):
        g, h = tg.grad(lambda a, b: tg.sum(tg.where(a > 9, registry[name](a, b), a + b)), (0, 1))(a, b)
    assert g.tolist() == [1.0] * a.size
    assert h.tolist() == [1.0] * a.size


# pow is not among them: the mixed derivative of a**b has a term b * a**(b - 1), infinite where a is 0 and b below 1
@pytest.mark.parametrize("name", ["divide", "atan2", "hypot", "remainder", "floor_divide", "logaddexp"])
def test_two_inputs_of_a_branch_not_taken_leak_no_nan_into_a_second_derivative(name):
    a, b = (tg.tensor(part.reshape(-1)) for part in np.meshgrid(OUTSIDE, OUTSIDE))

    def first(a, b):
        fn = tg.grad(lambda a, b: tg.sum(tg.where(a > 9, registry[name](a, b), a * b)), (0, 1))
        return sum(map(tg.sum, fn(a, b)), start=tg.zeros(()))

    with np.errstate(all="ignore"):
        g, h = tg.grad(first, (0, 1))(a, b)
    assert g.tolist() == [1.0] * a.size
    assert h.tolist() == [1.0] * a.size


@pytest.mark.parametrize("exponent", [2, 3, 0, -1, 0.5, 1.5, -0.5])
def test_a_power_that_where_does_not_take_leaks_no_nan(exponent):
    x = tg.tensor(np.array(OUTSIDE))
    with np.errstate(all="ignore"):
        g = tg.grad(lambda x: tg.sum(tg.where(x > 9, x**exponent, 3 * x)))(x)
    assert g.tolist() == [3.0] * len(OUTSIDE)


@pytest.mark.parametrize("name", ONE_INPUT)
def test_a_branch_not_taken_leaks_no_nan_into_a_second_derivative(name):
    x = tg.tensor(np.array(OUTSIDE))
    with np.errstate(all="ignore"):
        first = tg.grad(lambda x: tg.sum(tg.where(x > 9, registry[name](x), x * x)))
        second = tg.grad(lambda x: tg.sum(first(x)))(x)
    assert second.tolist() == [2.0] * len(OUTSIDE)
