"""Cross-entropy, layer norm, embeddings, optimiser steps and the norm: their equations, and Numba beside NumPy."""

import math

import numpy as np
import pytest

from tinygrad_rnn.kernels import reference

SIZES = [(1, 1), (3, 5), (7, 33), (2, 16), (0, 4)]
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_size = pytest.mark.parametrize(("rows", "columns"), SIZES, ids=str)


@pytest.fixture(params=["reference", "numba"])
def kernels(request):
    if request.param == "reference":
        return reference
    pytest.importorskip("numba", reason="Numba is not installed: its kernels cannot run")
    from tinygrad_rnn.kernels import numba as compiled

    return compiled


def drawn(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32").astype(dtype)


def assert_near(found, wanted, operations, dtype, scale=1.0):
    """`operations` roundings of numbers up to `scale`."""
    assert found.dtype == dtype
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0) <= operations * np.finfo(dtype).eps * scale


@every_dtype
@every_size
def test_cross_entropy_is_minus_the_log_of_the_share_and_its_slope(kernels, dtype, rows, columns):
    x, targets = 3 * drawn(rows, columns, dtype=dtype), np.arange(rows) % columns
    loss, slopes = kernels.softmax_cross_entropy(x, targets)
    shares = np.exp(x.astype("float64"))
    shares /= shares.sum(axis=-1, keepdims=True)
    # the exponential of a number up to 20 carries its rounding, 20 times; and a sum of all columns
    assert_near(loss, -np.log(shares[np.arange(rows), targets]), columns + 40, dtype, 20.0)
    shares[np.arange(rows), targets] -= 1
    assert_near(slopes, shares, columns + 40, dtype)


def test_classes_masked_with_minus_infinity_have_no_slope_and_large_logits_do_not_overflow(kernels):
    loss, slopes = kernels.softmax_cross_entropy(np.array([[0.0, -math.inf, 0.0], [1e5, 0.0, 0.0]]), np.array([0, 0]))
    assert slopes[0, 1] == 0
    assert np.allclose(loss, [math.log(2), 0])
    assert np.array_equal(slopes[1], [0, 0, 0])


def test_a_nan_among_the_logits_is_not_lost(kernels):
    loss, slopes = kernels.softmax_cross_entropy(np.array([[0.0, math.nan, 1.0]]), np.array([0]))
    assert np.isnan(loss).all()
    assert np.isnan(slopes).all()


@every_dtype
@every_size
def test_layer_norm_is_its_equation_and_its_derivative(kernels, dtype, rows, columns):
    x, dy = drawn(rows, columns, dtype=dtype) + 2, drawn(rows, columns, dtype=dtype, seed=1)
    y, scale = kernels.layer_norm_forward(x, 0.25)
    wide = x.astype("float64")
    spread = np.sqrt(wide.var(axis=-1, keepdims=True) + 0.25)
    normal = (wide - wide.mean(axis=-1, keepdims=True)) / spread
    # eps = 0.25 keeps the scale below 2, and numbers below 5 times that
    assert_near(y, normal, 4 * (columns + 10), dtype, 10.0)
    assert_near(scale, 1 / spread, 4 * (columns + 10), dtype, 10.0)
    jacobian_product = [
        np.linalg.multi_dot([np.eye(columns) - 1 / columns - np.outer(n, n) / columns, d]) / s if columns > 1 else n * 0
        for n, d, s in zip(normal, dy.astype("float64"), spread[:, 0])
    ]
    wanted = np.array(jacobian_product).reshape(rows, columns)
    assert_near(kernels.layer_norm_backward(dy, y, scale), wanted, 16 * (columns + 10), dtype, 10.0)


@every_dtype
def test_an_embedding_adds_up_what_was_looked_up_more_than_once(kernels, dtype):
    ids = np.array([[0, 2, 2], [-1, 0, 2]])
    dy = drawn(2, 3, 17, dtype=dtype)
    wanted = np.zeros((4, 17))
    np.add.at(wanted, ids, dy.astype("float64"))
    assert_near(kernels.embedding_gradient(dy, ids, 4), wanted, 3, dtype, 9.0)
    assert np.array_equal(kernels.embedding_gradient(dy[:0], ids[:0], 4), np.zeros((4, 17)))


SHAPES = [(3,), (17, 5), (), (0,), (40, 41)]


@every_dtype
@pytest.mark.parametrize("decay", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True}], ids=str)
def test_adam_in_numba_has_the_bits_of_the_reference(dtype, decay):
    compiled = pytest.importorskip("tinygrad_rnn.kernels.numba", reason="Numba is not installed")
    values, gradients, means = ([drawn(*s, dtype=dtype, seed=k) for s in SHAPES] for k in range(3))
    given = values, gradients, means, [abs(g) for g in gradients], [1, 2, 3, 50, 5], 1e-2, 0.9, 0.999, 1e-8
    for found, wanted in zip(compiled.adam_step(*given, **decay), reference.adam_step(*given, **decay), strict=True):
        for one, other in zip(found, wanted, strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)


@every_dtype
@pytest.mark.parametrize(
    "how",
    [{}, {"weight_decay": 0.1}, {"momentum": 0.9, "dampening": 0.2}, {"momentum": 0.9, "nesterov": True}],
    ids=str,
)
def test_gradient_descent_in_numba_has_the_bits_of_the_reference(dtype, how):
    compiled = pytest.importorskip("tinygrad_rnn.kernels.numba", reason="Numba is not installed")
    values, gradients, buffers = ([drawn(*s, dtype=dtype, seed=k) for s in SHAPES] for k in range(3))
    buffers[0] = buffers[4] = None
    given = values, gradients, buffers, 1e-2
    for found, wanted in zip(compiled.sgd_step(*given, **how), reference.sgd_step(*given, **how), strict=True):
        for one, other in zip(found, wanted, strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)


def test_the_first_momentum_is_a_copy_and_nothing_given_is_written_to(kernels):
    value, gradient = np.ones(3), np.full(3, 2.0)
    (new,), (buffer,) = kernels.sgd_step([value], [gradient], [None], 0.5, 0.9)
    gradient[:] = 7
    assert np.array_equal(buffer, [2, 2, 2])
    assert np.array_equal(new, [0, 0, 0])
    assert np.array_equal(value, [1, 1, 1])


@every_dtype
def test_the_norm_is_that_of_all_entries_together(kernels, dtype):
    gradients = [drawn(*shape, dtype=dtype) for shape in SHAPES]
    flat = np.concatenate([g.astype("float64").reshape(-1) for g in gradients])
    assert kernels.global_norm(gradients) == pytest.approx(np.linalg.norm(flat), rel=flat.size * np.finfo("f8").eps)
    assert kernels.global_norm([]) == 0


def test_the_norm_neither_overflows_nor_hides_what_is_not_finite(kernels):
    assert kernels.global_norm([np.array([3e200]), np.array([[4e200]])]) == pytest.approx(5e200)
    assert kernels.global_norm([np.array([1.0, math.inf])]) == math.inf
    assert math.isnan(kernels.global_norm([np.array([1.0, math.nan])]))


def test_the_work_can_be_cut_among_threads_without_a_change_of_bits(monkeypatch):
    compiled = pytest.importorskip("tinygrad_rnn.kernels.numba", reason="Numba is not installed")
    from tinygrad_rnn.kernels.numba import threads

    def results():
        x, y = drawn(9, 33), drawn(9, 33, seed=1)
        steps = compiled.adam_step([x], [y], [y], [y * y], [3], 1e-2)
        return [
            *compiled.softmax_cross_entropy(x, np.arange(9)),
            *compiled.layer_norm_forward(x, 1e-5),
            *[each[0] for each in steps],
        ]

    wanted = results()
    monkeypatch.setattr(threads, "PASS", 1)
    monkeypatch.setattr(threads, "thread_count", lambda: 3)
    for one, other in zip(results(), wanted, strict=True):
        assert np.array_equal(one, other)
