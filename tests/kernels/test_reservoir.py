"""The reservoir kernel: in NumPy against its equation, one number at a time; in Numba against the one in NumPy."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from tinygrad_rnn.kernels import numba as compiled
from tinygrad_rnn.kernels import reference
from tinygrad_rnn.kernels.numba import reservoir as loops
from tinygrad_rnn.kernels.numba import reservoir_fast
from tinygrad_rnn.kernels.reference import reservoir

T, B, N = 4, 2, 5
F = {
    "tanh": math.tanh,
    "identity": lambda a: a,
    "relu": lambda a: max(a, 0.0),
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
}


def forms(dtype="float64"):
    rng = np.random.default_rng(0)
    dense = (rng.normal(size=(N, N)) * (rng.random((N, N)) < 0.6)).astype(dtype)
    dense[1] = 0
    sparse = csr_array(dense)
    ring = rng.normal(size=N).astype(dtype)
    return {
        "dense": (dense, dense),
        "sparse": ((sparse.indptr, sparse.indices, sparse.data), dense),
        "ring": (ring, np.roll(np.diag(ring), -1, axis=1)),
    }


def inputs(dtype="float64"):
    rng = np.random.default_rng(1)
    return (
        rng.normal(size=(T, B, N)).astype(dtype),
        rng.normal(size=(B, N)).astype(dtype),
        rng.uniform(0.1, 1, N).astype(dtype),
    )


def by_loops(xw, w, h0, leak, lengths, reverse, f):
    h = np.zeros((T, B, N))
    for b in range(B):
        before = [float(value) for value in h0[b]]
        for t in range(T)[:: -1 if reverse else 1]:
            if lengths is None or t < lengths[b]:
                net = [xw[t, b, i] + sum(w[i, j] * before[j] for j in range(N)) for i in range(N)]
                before = [(1 - leak[i]) * before[i] + leak[i] * f(net[i]) for i in range(N)]
            h[t, b] = before
    return h


@pytest.mark.parametrize("form", ["dense", "sparse", "ring"])
@pytest.mark.parametrize(("lengths", "reverse"), [(None, False), (None, True), ([4, 2], False), ([3, 1], True)])
@pytest.mark.parametrize("nonlinearity", F)
@pytest.mark.parametrize("sparse_from", [0, 256], ids=["by sums", "by products"])
def test_the_kernel_is_its_equation(form, lengths, reverse, nonlinearity, sparse_from, monkeypatch):
    monkeypatch.setattr(reservoir, "DENSE_UNITS", sparse_from)
    w, dense = forms()[form]
    xw, h0, leak = inputs()
    ends = None if lengths is None else np.array(lengths)
    wanted = by_loops(xw, dense, h0, leak, lengths, reverse, F[nonlinearity])
    found = reference.reservoir_run(xw.copy(), w, h0, leak, ends, reverse, nonlinearity)
    # a product of N terms and some ten operations a step; an error passes through a slope of at most norm(w) a step
    slope = max(1.0, np.linalg.norm(dense, 2))
    assert np.abs(found - wanted).max() <= T * (N + 10) * slope**T * np.finfo(np.float64).eps * np.abs(wanted).max()


@pytest.mark.parametrize("form", ["dense", "sparse", "ring"])
def test_float32_stays_float32(form):
    xw, h0, leak = inputs("float32")
    found = reference.reservoir_run(xw, forms("float32")[form][0], h0, leak)
    assert found.dtype == np.float32


@pytest.mark.parametrize("form", ["dense", "sparse", "ring"])
def test_only_the_input_products_are_overwritten(form):
    xw, h0, leak = inputs()
    w = forms()[form][0]
    kept = [np.copy(part) for part in (w if isinstance(w, tuple) else (w,))]
    starts = h0.copy()
    assert reference.reservoir_run(xw, w, h0, leak) is xw
    assert np.array_equal(h0, starts)
    for part, copy in zip(w if isinstance(w, tuple) else (w,), kept, strict=True):
        assert np.array_equal(part, copy)


@pytest.mark.parametrize("kernels", [reference, compiled], ids=["reference", "numba"])
def test_an_unknown_nonlinearity_is_refused(kernels):
    xw, h0, leak = inputs()
    with pytest.raises(ValueError, match="nonlinearity is"):
        kernels.reservoir_run(xw, np.eye(N), h0, leak, nonlinearity="cube")


# ---- Numba


def case(form, steps, batch, units, dtype="float64", density=0.15):
    """Arguments of a run; the matrix has norm below 1, so that errors do not grow."""
    rng = np.random.default_rng([steps, batch, units])
    dense = rng.normal(size=(units, units)) * (rng.random((units, units)) < density)
    dense[units // 2] = 0
    dense /= 1.1 * max(1.0, np.linalg.norm(dense, 2))
    sparse = csr_array(dense.astype(dtype))
    w = {
        "dense": dense.astype(dtype),
        "sparse": (sparse.indptr, sparse.indices, sparse.data),
        "ring": rng.uniform(-0.9, 0.9, units).astype(dtype),
    }[form]
    drawn = rng.normal(size=(steps, batch, units)), rng.normal(size=(batch, units)), rng.uniform(0.1, 1, units)
    xw, h0, leak = (each.astype(dtype) for each in drawn)
    return xw, w, h0, leak


def assert_parity(arguments, *options):
    xw, *rest = arguments
    wanted = reference.reservoir_run(xw.copy(), *rest, *options)
    found = compiled.reservoir_run(xw.copy(), *rest, *options)
    assert found.dtype == wanted.dtype
    # in each step a sum of N terms and some thirty operations of the nonlinearity, on either side
    steps, _, units = xw.shape
    allowed = 2 * steps * (units + 30) * np.finfo(xw.dtype).eps * np.abs(wanted).max()
    assert np.abs(found - wanted).max() <= allowed


@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "loops"])
@pytest.mark.parametrize("form", ["dense", "sparse", "ring"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numba_computes_what_numpy_computes(form, dtype, vectors, monkeypatch):
    if not vectors:
        monkeypatch.setattr(loops, "fast", lambda *shape: False)
    for steps, batch, units in ((7, 1, 5), (7, 3, 9), (7, 1, 37), (7, 2, 64), (7, 21, 50), (5, 70, 33)):
        for nonlinearity in F:
            arguments = case(form, steps, batch, units, dtype)
            lengths = 1 + np.arange(batch) % steps
            assert_parity(arguments, None, False, nonlinearity)
            assert_parity(arguments, lengths, True, nonlinearity)
    xw, w, h0, _ = case(form, 7, 2, 30, dtype)
    assert_parity((xw, w, h0, np.ones(30, dtype)))


@pytest.mark.parametrize("form", ["dense", "sparse", "ring"])
@pytest.mark.parametrize("batch", [1, 4, 40])
def test_numba_on_several_threads_computes_what_it_computes_on_one(form, batch, monkeypatch):
    for name in ("SHARED_ENTRIES", "SHARED_UNITS", "AWAKE"):
        monkeypatch.setattr(reservoir_fast, name, 1)
    arguments = case(form, 60, batch, 200)
    alone, shared = (
        _with_threads(monkeypatch, threads, arguments) for threads in (1, 3)
    )  # fmt: skip
    assert np.array_equal(alone, shared)
    assert_parity(arguments, 1 + np.arange(batch) % 60)


def _with_threads(monkeypatch, threads, arguments):
    monkeypatch.setattr(reservoir_fast, "thread_count", lambda: threads)
    xw, *rest = arguments
    return compiled.reservoir_run(xw.copy(), *rest)


@pytest.mark.parametrize("form", ["sparse", "ring"])
def test_numba_runs_a_series_alone_as_it_runs_it_among_others(form):
    xw, w, h0, leak = case(form, 20, 19, 90)
    together = compiled.reservoir_run(xw.copy(), w, h0, leak)
    for b in (0, 7, 18):
        alone = compiled.reservoir_run(xw[:, b : b + 1].copy(), w, h0[b : b + 1], leak)
        assert np.array_equal(alone[:, 0], together[:, b])


def test_numba_takes_matrices_of_any_density_and_with_more_units_than_short_indices_reach():
    for density in (0.0, 0.02, 0.9):
        assert_parity(case("sparse", 30, 1, 40, density=density))
        assert_parity(case("sparse", 30, 3, 40, density=density))
    units = 2**16 + 5
    rng = np.random.default_rng(0)
    w = (np.arange(units + 1), rng.permutation(units), rng.uniform(-0.9, 0.9, units))
    for batch in (1, 2):
        xw, h0 = rng.normal(size=(3, batch, units)), rng.normal(size=(batch, units))
        assert_parity((xw, w, h0, np.ones(units)))


def test_numba_reads_arrays_that_are_read_only_strided_or_empty():
    xw, (indptr, indices, data), h0, leak = case("sparse", 9, 2, 40)
    wanted = reference.reservoir_run(xw.copy(), (indptr, indices, data), h0, leak)
    for array in (data, h0, leak):
        array.flags.writeable = False
    w = (indptr.astype(np.int32), indices.astype(np.int64), data)
    given = np.asfortranarray(xw)
    found = compiled.reservoir_run(given, w, np.asfortranarray(h0), leak)
    assert np.allclose(found, wanted, rtol=0, atol=1e-13)
    assert np.array_equal(given, xw)
    assert compiled.reservoir_run(xw[:0].copy(), w, h0, leak).shape == (0, 2, 40)
