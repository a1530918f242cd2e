"""Convolution: values, derivatives of every order, and errors.

Tolerances. A sum of n products in any order is within about n eps of the exact one, relative to the sum of the
products' magnitudes. The reference computes that sum too, so the bound used is (n + 4) eps times it, once for
either side. Derivatives are compared with central differences of polynomials with a stencil that is exact for
their degree; what is left is rounding, bounded by a generous multiple of eps times the largest value that the
stencil adds.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError

EPS = float(np.finfo(np.float64).eps)
EXAMPLES = settings(max_examples=60, deadline=None)
FEWER = settings(max_examples=25, deadline=None)


@dataclass
class Case:
    """Operands of one convolution, and the arguments it is called with."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    options: dict

    @property
    def axes(self):
        return self.x.ndim - 2

    def function(self):
        return tg.conv1d if self.axes == 1 else tg.conv2d

    def __call__(self, x, weight):
        return self.function()(x, weight, **self.options)

    def reference(self, x=None, weight=None):
        return loop(self.x if x is None else x, self.weight if weight is None else weight, **self.options)

    def bound(self, eps=EPS):
        """Rounding of one convolution of these operands, entry by entry."""
        terms = math.prod(self.weight.shape[1:])
        return 2 * (terms + 4) * eps * self.reference(np.abs(self.x), np.abs(self.weight)) + 1e-300


def loop(x, weight, stride=1, padding=0, dilation=1, groups=1):
    """The equation, term by term."""
    axes = x.ndim - 2
    strides, dilations = pair(stride, axes), pair(dilation, axes)
    size, kernel = x.shape[2:], weight.shape[2:]
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilations)]
        before, after = [t // 2 for t in totals], [t - t // 2 for t in totals]
    else:
        before = after = pair(0 if padding == "valid" else padding, axes)
    out = [
        (n + a + b - d * (k - 1) - 1) // s + 1
        for n, k, s, d, a, b in zip(size, kernel, strides, dilations, before, after)
    ]
    filters, part = weight.shape[0], weight.shape[1]
    y = np.zeros((x.shape[0], filters, *out), dtype=np.float64)
    for b, o, *place in itertools.product(*map(range, y.shape)):
        first = o // (filters // groups) * part
        for c, *tap in itertools.product(*map(range, weight.shape[1:])):
            at = [s * n + d * k - p for s, n, d, k, p in zip(strides, place, dilations, tap, before)]
            if all(0 <= i < n for i, n in zip(at, size)):
                y[(b, o, *place)] += weight[(o, c, *tap)] * x[(b, first + c, *at)]
    return y


def pair(value, axes):
    return list(value) if isinstance(value, (tuple, list)) else [value] * axes


@st.composite
def cases(draw, axes=None):
    axes = draw(st.integers(1, 2)) if axes is None else axes
    few = st.integers(1, 3) if axes == 1 else st.integers(1, 2)

    def of_axes(least, most):
        one = st.integers(least, most)
        return draw(st.one_of(one, st.tuples(*[one] * axes)))

    groups, part, out = draw(few), draw(few), draw(few)
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    dilation = of_axes(1, 2)
    padding = draw(st.sampled_from(["same", "valid", "number", "number"]))
    padding = of_axes(0, 2) if padding == "number" else padding
    stride = 1 if padding == "same" else of_axes(1, 3)
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, pair(dilation, axes))]
    zeros = extents if padding == "same" else [2 * p for p in pair(0 if padding == "valid" else padding, axes)]
    size = [max(1, e - z) + draw(st.integers(0, 3)) for e, z in zip(extents, zeros)]
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return Case(
        rng.normal(size=(draw(few), groups * part, *size)),
        rng.normal(size=(groups * out, part, *kernel)),
        rng.normal(size=groups * out),
        {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    )


def assert_within(found, expected, bound):
    found = found.numpy() if isinstance(found, tg.Tensor) else found
    assert found.shape == expected.shape
    assert np.all(np.abs(found - expected) <= bound), np.max(np.abs(found - expected) - bound)


# ---- values


@given(case=cases())
@EXAMPLES
def test_convolution_is_its_equation(case):
    expected = case.reference()
    assert_within(case(tg.tensor(case.x), tg.tensor(case.weight)), expected, case.bound())
    biased = case.function()(tg.tensor(case.x), tg.tensor(case.weight), tg.tensor(case.bias), **case.options)
    bias = case.bias.reshape(-1, *[1] * case.axes)
    assert_within(biased, expected + bias, case.bound() + 2 * EPS * (np.abs(expected) + np.abs(bias)))


@given(case=cases())
@FEWER
def test_float32_stays_float32_and_so_do_its_gradients(case):
    x, weight, bias = (tg.tensor(a.astype(np.float32)) for a in (case.x, case.weight, case.bias))

    def loss(x, weight, bias):
        return tg.sum(case.function()(x, weight, bias, **case.options))

    y = case(x, weight)
    assert y.dtype == tg.float32
    exact = case.reference(x.numpy().astype(float), weight.numpy().astype(float))
    assert_within(y, exact, case.bound(float(np.finfo(np.float32).eps)) + 1e-37)
    assert all(part.dtype == tg.float32 for part in tg.grad(loss, (0, 1, 2))(x, weight, bias))


def test_mixed_precision_is_float64_and_gradients_keep_their_operands_dtype():
    x, weight = tg.ones((1, 1, 4)), tg.ones((1, 1, 2), dtype=tg.float64)
    assert tg.conv1d(x, weight).dtype == tg.float64
    of_x, of_weight = tg.grad(lambda x, w: tg.sum(tg.conv1d(x, w)), (0, 1))(x, weight)
    assert (of_x.dtype, of_weight.dtype) == (tg.float32, tg.float64)


def test_empty_batch_gives_an_empty_result_and_zero_gradients():
    x, weight = tg.zeros((0, 2, 5)), tg.ones((3, 2, 2))
    assert tg.conv1d(x, weight).shape == (0, 3, 4)
    of_x, of_weight = tg.grad(lambda x, w: tg.sum(tg.conv1d(x, w)), (0, 1))(x, weight)
    assert of_x.shape == (0, 2, 5)
    assert of_weight.tolist() == np.zeros((3, 2, 2)).tolist()


def test_a_transposed_operand_gives_what_its_contiguous_copy_gives():
    x = np.random.default_rng(0).normal(size=(7, 3, 2))
    weight = np.random.default_rng(1).normal(size=(3, 3, 4))
    view = tg.permute_dims(tg.tensor(x), (2, 1, 0))
    copy = tg.tensor(np.ascontiguousarray(x.transpose(2, 1, 0)))
    assert tg.conv1d(view, tg.tensor(weight)).tolist() == tg.conv1d(copy, tg.tensor(weight)).tolist()


def test_entries_that_the_stride_steps_over_have_gradient_zero():
    found = tg.grad(lambda x: tg.sum(tg.conv1d(x, tg.ones((1, 1, 1)), stride=2)))(tg.ones((1, 1, 6)))
    assert found.tolist() == [[[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]]]


def test_a_convolution_is_one_record_on_the_tape():
    with tg.Tape() as tape:
        tg.conv2d(tg.ones((1, 1, 3, 3)), tg.ones((1, 1, 2, 2)), padding=1, stride=2)
    assert [record.primitive.name for record in tape.records] == ["convolution"]


# ---- derivatives. The loss is a polynomial of degree 4 in (x, weight), of which each of the three primitives has
# a share; along a line it is a polynomial of one variable, for which the five-point stencil with step 1 is exact.


def polynomial(case, rng):
    """The loss of one flat vector that holds x and weight, its length, and a bound for its values near 0."""
    shapes = [case.x.shape, case.weight.shape]
    cut, length = case.x.size, case.x.size + case.weight.size
    scale = tg.tensor(rng.normal(size=case.reference().shape))

    def loss(v):
        x, weight = tg.reshape(v[:cut], shapes[0]), tg.reshape(v[cut:], shapes[1])
        y = case(x, weight)
        return tg.sum(scale * y * y)

    return loss, length


def stencil(f, v, d):
    """d/dt f(v + t d) at 0, exact for polynomials up to degree 4, and a bound for its rounding."""
    values = {t: np.asarray(f(tg.tensor(v + t * d)).numpy()) for t in (-2, -1, 1, 2)}
    slope = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / 12
    return slope, 10 * max(np.max(np.abs(a), initial=0) for a in values.values())


def close(found, expected, size, terms):
    """Within rounding: `terms` operations of values up to `size`."""
    assert np.all(np.abs(np.asarray(found) - expected) <= 20 * terms * EPS * size + 1e-300)


@given(case=cases(), seed=st.integers(0, 1000))
@FEWER
def test_gradient_equals_central_differences(case, seed):
    rng = np.random.default_rng(seed)
    loss, length = polynomial(case, rng)
    v, d = rng.normal(size=(2, length))
    expected, size = stencil(loss, v, d)
    gradient = tg.grad(loss)(tg.tensor(v)).numpy()
    terms = 4 * (length + case.reference().size)
    size = size + np.abs(gradient) @ np.abs(d)
    close(gradient @ d, expected, size, terms)
    close(tg.jvp(loss, (tg.tensor(v),), (tg.tensor(d),))[1].numpy(), expected, size, terms)


@given(case=cases(), seed=st.integers(0, 1000))
@FEWER
def test_second_derivative_equals_differences_of_the_gradient_in_every_mode(case, seed):
    rng = np.random.default_rng(seed)
    loss, length = polynomial(case, rng)
    v, d = rng.normal(size=(2, length))
    direction = tg.tensor(d)
    expected, size = stencil(tg.grad(loss), v, d)
    terms = 4 * (length + case.reference().size)
    close(tg.hvp(loss, tg.tensor(v), direction).numpy(), expected, size, terms)
    twice = tg.grad(lambda u: tg.sum(tg.grad(loss)(u) * direction))(tg.tensor(v))
    close(twice.numpy(), expected, size, terms)
    reverse_of_forward = tg.grad(lambda u: tg.jvp(loss, (u,), (direction,))[1])(tg.tensor(v))
    close(reverse_of_forward.numpy(), expected, size, terms)


@given(case=cases(axes=1), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_third_derivative_equals_differences_of_the_second(case, seed):
    rng = np.random.default_rng(seed)
    loss, length = polynomial(case, rng)
    v, d, e = rng.normal(size=(3, length))
    second, third = tg.tensor(d), tg.tensor(e)
    expected, size = stencil(lambda u: tg.hvp(loss, u, second), v, e)

    def twice(u):
        return tg.sum(tg.grad(loss)(u) * second)

    found = tg.grad(lambda u: tg.sum(tg.grad(twice)(u) * third))(tg.tensor(v))
    terms = 4 * (length + case.reference().size)
    close(found.numpy(), expected, size, terms * length)


@given(case=cases(), seed=st.integers(0, 1000))
@FEWER
def test_vjp_and_jvp_are_transposes(case, seed):
    rng = np.random.default_rng(seed)
    primals = (tg.tensor(case.x), tg.tensor(case.weight))
    dx, dw = rng.normal(size=case.x.shape), rng.normal(size=case.weight.shape)
    y, pull = tg.vjp(case, *primals)
    g = rng.normal(size=y.shape)
    of_x, of_weight = (part.numpy() for part in pull(tg.tensor(g)))
    tangent = tg.jvp(case, primals, (tg.tensor(dx), tg.tensor(dw)))[1].numpy()
    rounding = 4 * (case.x.size + case.weight.size + g.size) * EPS
    absolute = case.reference(np.abs(dx), np.abs(case.weight)) + case.reference(np.abs(case.x), np.abs(dw))
    assert_within(tangent, case.reference(dx) + case.reference(weight=dw), rounding * absolute + 1e-300)
    total = np.sum(np.abs(g) * absolute)
    assert abs(np.sum(g * tangent) - np.sum(of_x * dx) - np.sum(of_weight * dw)) <= rounding * total + 1e-300


def test_bias_takes_the_sum_of_the_cotangents():
    x, weight, g = tg.ones((2, 1, 4)), tg.ones((3, 1, 2)), tg.reshape(tg.arange(18, dtype=tg.float32), (2, 3, 3))
    found = tg.grad(lambda b: tg.sum(g * tg.conv1d(x, weight, b)))(tg.zeros(3))
    assert found.tolist() == g.numpy().sum(axis=(0, 2)).tolist()


# ---- a peer


@given(case=cases())
@FEWER
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_values_and_gradients_equal_those_of_torch(case):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.conv1d if case.axes == 1 else torch.nn.functional.conv2d
    leaves = [torch.tensor(a, requires_grad=True) for a in (case.x, case.weight, case.bias)]
    options = dict(case.options)
    y = theirs(*leaves, **options)
    g = np.random.default_rng(0).normal(size=tuple(y.shape))
    y.backward(torch.tensor(g))
    found, pull = tg.vjp(
        lambda x, w, b: case.function()(x, w, b, **options), *[tg.tensor(a) for a in (case.x, case.weight, case.bias)]
    )
    bias = np.abs(case.bias).reshape(-1, *[1] * case.axes)
    assert_within(found, y.detach().numpy(), 2 * case.bound() + 4 * EPS * (bias + np.abs(y.detach().numpy())))
    # each gradient is a sum of at most g.size * prod(kernel) products of entries of g and of one operand
    terms = g.size * math.prod(case.weight.shape[2:])
    largest = np.max(np.abs(g)) * max(1.0, np.max(np.abs(case.x)), np.max(np.abs(case.weight)))
    for mine, leaf in zip(pull(tg.tensor(g)), leaves):
        assert_within(mine, leaf.grad.numpy(), 2 * terms * terms * EPS * largest)


# ---- errors


@pytest.mark.parametrize(
    ("function", "x", "weight", "options", "kind", "text"),
    [
        (tg.conv1d, (2, 5), (1, 2, 3), {}, ShapeError, r"\(batch, channels, length\).*\(2, 5\).*expand_dims"),
        (tg.conv1d, (1, 2, 5, 5), (1, 2, 3), {}, ShapeError, r"x needs the axes.*\(1, 2, 5, 5\)"),
        (tg.conv2d, (1, 2, 5), (1, 2, 3, 3), {}, ShapeError, r"\(batch, channels, height, width\)"),
        (tg.conv1d, (1, 2, 5), (1, 2, 3, 3), {}, ShapeError, r"weight needs the axes.*\(1, 2, 3, 3\)"),
        (tg.conv1d, (1, 2, 5), (1, 2, 0), {}, ShapeError, r"the last of at least 1.*\(1, 2, 0\)"),
        (tg.conv1d, (1, 3, 5), (4, 2, 3), {}, ShapeError, r"3 channels.*reads 2 in each of 1.*must be 3"),
        (tg.conv1d, (1, 4, 5), (4, 4, 3), {"groups": 2}, ShapeError, r"reads 4 in each of 2.*must be 2"),
        (tg.conv1d, (1, 3, 5), (4, 1, 3), {"groups": 2}, ShapeError, r"groups=2 must divide the 3 channels"),
        (tg.conv1d, (1, 4, 5), (3, 2, 3), {"groups": 2}, ShapeError, r"the 3 filters"),
        (tg.conv1d, (1, 1, 3), (1, 1, 6), {"padding": 1}, ShapeError, r"spans 6 entries of axis 2.*has 3.*5 with"),
        (tg.conv2d, (1, 1, 9, 4), (1, 1, 3, 3), {"dilation": (1, 2)}, ShapeError, r"spans 5 entries of axis 3"),
        (tg.conv1d, (1, 1, 5), (1, 1, 3), {"stride": 0}, ArgumentError, r"stride must be a whole number, at least 1"),
        (tg.conv2d, (1, 1, 5, 5), (1, 1, 3, 3), {"stride": (1, 0)}, ArgumentError, r"2 of them.*got \(1, 0\)"),
        (tg.conv2d, (1, 1, 5, 5), (1, 1, 3, 3), {"stride": (1, 1, 1)}, ArgumentError, r"stride .*got \(1, 1, 1\)"),
        (tg.conv1d, (1, 1, 5), (1, 1, 3), {"stride": 1.5}, ArgumentError, r"stride .*got 1\.5"),
        (tg.conv1d, (1, 1, 5), (1, 1, 3), {"dilation": 0}, ArgumentError, r"dilation must be"),
        (tg.conv1d, (1, 1, 5), (1, 1, 3), {"groups": 0}, ArgumentError, r"groups must be"),
        (tg.conv1d, (1, 1, 5), (1, 1, 3), {"padding": -1}, ArgumentError, r"padding must be .*at least 0; got -1"),
        (tg.conv1d, (1, 1, 5), (1, 1, 3), {"padding": "full"}, ArgumentError, r'"same", "valid".*got "full"'),
        (tg.conv1d, (1, 1, 5), (1, 1, 3), {"padding": "same", "stride": 2}, ArgumentError, r"only with stride 1"),
    ],
)
def test_an_error_says_what_does_not_fit_and_where(function, x, weight, options, kind, text):
    with pytest.raises(kind, match=text) as caught:
        function(tg.ones(x), tg.ones(weight), **options)
    assert str(caught.value).startswith(function.__name__)
    assert __file__ in str(caught.value)


def test_a_bias_of_another_length_is_an_error():
    with pytest.raises(ShapeError, match=r"each of the 4 filters, shape \(4,\); got shape \(3,\)"):
        tg.conv1d(tg.ones((1, 2, 5)), tg.ones((4, 2, 3)), tg.ones(3))


def test_whole_numbers_are_an_error():
    with pytest.raises(DTypeError, match="conv1d needs floats; got int64"):
        tg.conv1d(tg.ones((1, 1, 5), dtype=tg.int64), tg.ones((1, 1, 3)))
