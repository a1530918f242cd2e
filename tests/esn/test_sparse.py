"""The product with a sparse matrix is that of the dense one, and so are its derivatives, which keep the mask."""

import numpy as np
from helpers import assert_gradients, close
from scipy.sparse import csr_array

import tinygrad_rnn as tg
from tinygrad_rnn.esn.sparse import Pattern, times


def example(empty_row=True):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(5, 5)) * (rng.random((5, 5)) < 0.5)
    if empty_row:
        w[2] = 0
        w[4] = 0
    found = csr_array(w)
    return w, Pattern(found.indptr, found.indices, 5), found.data, rng.normal(size=(3, 5))


def test_the_product_is_the_dense_one():
    for empty in (True, False):
        w, pattern, values, x = example(empty)
        close(times(tg.tensor(x), tg.tensor(values), pattern), x @ w.T)
        close(times(tg.tensor(x), tg.tensor(values[pattern.order]), pattern.transposed), x @ w)


def test_a_ring_is_the_dense_ring():
    w, x = np.arange(1.0, 6.0), np.random.default_rng(0).normal(size=(2, 5))
    close(times(tg.tensor(x), tg.tensor(w), None), x @ np.roll(np.diag(w), -1, axis=1).T)


def test_derivatives_of_first_and_second_order():
    _, pattern, values, x = example()
    assert_gradients(lambda x, v: times(x, v, pattern), x, values)


def test_without_entries_the_product_is_zero():
    pattern = Pattern(np.zeros(4, dtype=np.int64), np.zeros(0, dtype=np.int64), 3)
    assert np.array_equal(times(tg.ones((2, 3)), tg.zeros(0), pattern).numpy(), np.zeros((2, 3)))
