"""Pooling: values against plain loops, gradients of every order, shapes and errors."""

import itertools

import numpy as np
import pytest
from helpers import assert_gradients, close
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def by_loops(x, kernel, stride, padding, reduce, fill):
    """Every window cut out and reduced, one after the other."""
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]], constant_values=fill)
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride)]
    y = np.empty((*x.shape[:2], *out))
    for place in itertools.product(*[range(n) for n in out]):
        window = x[(..., *[slice(i * s, i * s + k) for i, k, s in zip(place, kernel, stride)])]
        y[(..., *place)] = reduce(window, axis=tuple(range(2, x.ndim)))
    return y


GEOMETRIES = [  # lengths, kernel, stride, padding
    ((6,), (2,), (2,), (0,)),
    ((7,), (3,), (1,), (1,)),
    ((5, 4), (2, 2), (2, 2), (0, 0)),
    ((5, 6), (3, 2), (2, 1), (1, 1)),
    ((4, 4), (4, 4), (1, 1), (0, 0)),
    ((6, 5), (1, 1), (3, 2), (0, 0)),
]


@pytest.mark.parametrize(("lengths", "kernel", "stride", "padding"), GEOMETRIES)
def test_pooling_reduces_every_window(lengths, kernel, stride, padding):
    x = normal(2, 3, *lengths)
    axes = len(lengths)
    for name, reduce, fill in (("max", np.max, -np.inf), ("avg", np.mean, 0.0)):
        pool = getattr(tg, f"{name}_pool{axes}d")
        expected = by_loops(x, kernel, stride, padding, reduce, fill)
        close(pool(tg.tensor(x), kernel, stride, padding), expected, factor=np.prod(kernel))
        assert pool(tg.tensor(x.astype(np.float32)), kernel, stride, padding).dtype == np.float32


@pytest.mark.parametrize(("lengths", "kernel", "stride", "padding"), GEOMETRIES)
def test_gradients_of_pooling_agree_with_differences_up_to_the_second_order(lengths, kernel, stride, padding):
    """The entries are far apart, so that no step of a difference changes which one is largest."""
    x = np.random.default_rng(0).permutation(int(np.prod(lengths)) * 2).reshape(1, 2, *lengths) / 4.0
    axes = len(lengths)
    for name in ("max", "avg"):
        pool = getattr(tg, f"{name}_pool{axes}d")
        assert_gradients(lambda x, pool=pool: tg.square(pool(x, kernel, stride, padding)), x)


def test_the_windows_and_their_transpose_are_adjoint_to_the_last_bit_for_integers():
    from tinygrad_rnn.ops.pooling import _windows, _windows_transpose

    rng = np.random.default_rng(0)
    params = {"size": (5, 6), "kernel": (3, 2), "stride": (1, 2)}
    x = rng.integers(-9, 9, (2, 3, 5, 6)).astype(float)
    laid = _windows(tg.tensor(x), **params).numpy()
    w = rng.integers(-9, 9, laid.shape).astype(float)
    assert (laid * w).sum() == (x * _windows_transpose(tg.tensor(w), **params).numpy()).sum()


def test_entries_that_tie_for_the_largest_share_its_gradient():
    x = tg.tensor(np.ones((1, 1, 2, 2)))
    assert tg.grad(lambda x: tg.sum(tg.max_pool2d(x, 2)))(x).tolist() == [[[[0.25, 0.25], [0.25, 0.25]]]]


def test_the_padding_of_a_maximum_never_wins():
    x = tg.tensor(-np.ones((1, 1, 2, 2)))
    assert_array_equal(tg.max_pool2d(x, 2, 1, 1).numpy(), -np.ones((1, 1, 3, 3)))
    assert_array_equal(tg.grad(lambda x: tg.sum(tg.max_pool2d(x, 2, 2, 1)))(x).numpy(), np.ones((1, 1, 2, 2)))


def test_global_average_is_the_mean_of_each_channel():
    x = normal(2, 3, 4, 5)
    close(tg.global_avg_pool(tg.tensor(x)), x.mean((2, 3)), factor=20)
    assert tg.global_avg_pool(tg.tensor(x[:, :, 0])).shape == (2, 3)


def test_an_empty_batch_stays_empty():
    assert tg.max_pool2d(tg.zeros((0, 3, 4, 4)), 2).shape == (0, 3, 2, 2)


def test_pooling_names_what_is_wrong():
    x = tg.zeros((1, 2, 4, 4))
    with pytest.raises(ShapeError, match=r"needs the axes \(batch, channels, height, width\).*add the batch axis"):
        tg.max_pool2d(x[0], 2)
    with pytest.raises(ShapeError, match="has 5 entries along axis 2.*has 4 there"):
        tg.max_pool2d(x, 5)
    with pytest.raises(ArgumentError, match="half a window"):
        tg.avg_pool2d(x, 2, padding=2)
    with pytest.raises(ArgumentError, match="kernel_size"):
        tg.avg_pool2d(x, 0)
    with pytest.raises(ArgumentError, match="stride"):
        tg.max_pool2d(x, 2, stride=(1, 1, 1))
    with pytest.raises(DTypeError, match="int64"):
        tg.max_pool2d(x.astype(tg.int64), 2)
    with pytest.raises(ShapeError, match="something to average"):
        tg.global_avg_pool(tg.zeros((2, 3)))
