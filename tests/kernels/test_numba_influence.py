"""The influence updates in Numba beside those in NumPy."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed: its kernels cannot run")

from tinygrad_rnn.kernels import numba as compiled
from tinygrad_rnn.kernels import reference
from tinygrad_rnn.kernels.numba import influence as module
from tinygrad_rnn.kernels.numba import threads

RNG = np.random.default_rng(0)
SHAPES = [(1, 16, 1), (3, 17, 5), (1, 33, 70), (2, 64, 31)]
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def draw(*shape, dtype):
    return RNG.normal(size=shape).astype("float32").astype(dtype)


def assert_close(found, wanted, units, dtype):
    """An entry is a sum over the units with a handful of operations a term."""
    bound = (units + 20) * np.finfo(dtype).eps * max(1.0, np.abs(wanted).max(initial=0))
    assert found.dtype == dtype
    assert np.abs(found - wanted).max(initial=0) <= bound


def updated(kernels, name, influence, *more):
    """The influence after an update, which is in place, and the gradient where there is one."""
    update = getattr(kernels, name)
    if name.rpartition("_")[2] in ("dense", "diagonal"):
        found = update(influence, *more)
        assert np.shares_memory(found, influence)
        return [found]
    packed = kernels.influence_pack(influence)
    gradient = update(packed, *more)
    return [kernels.influence_unpack(packed, influence.shape), gradient]


def check(name, units, arrays, *more, monkeypatch):
    """In place, close to the reference, and the same whoever does the parts."""
    monkeypatch.setattr(module, "SHARED", 1)
    wide = [each.astype("float64") for each in arrays]
    wanted = updated(reference, name, *wide, *more)
    for count in (1, 2):
        monkeypatch.setattr(module, "thread_count", lambda count=count: count)
        results = []
        for alone in (False, True):
            gang = threads.Gang()
            if alone:
                monkeypatch.setattr(gang, "_call", lambda parts: 0)
            monkeypatch.setattr(module, "GANG", gang)
            given = [arrays[0].copy(), *arrays[1:]]
            copies = [each.copy() for each in given[1:]]
            found = updated(compiled, name, *given, *more)
            for each, close in zip(found, wanted, strict=True):
                assert_close(each, close, units, arrays[0].dtype)
            for each, copy in zip(given[1:], copies, strict=True):
                assert np.array_equal(each, copy)
            results.append(found)
        for once, again in zip(*results, strict=True):
            assert np.array_equal(once, again)


@every_dtype
@every_shape
def test_dense(shape, dtype, monkeypatch):
    lanes, units, size = shape
    arrays = [draw(lanes, units, units * size, dtype=dtype), draw(lanes, units, units, dtype=dtype) / units]
    check("influence_update_dense", units, arrays, monkeypatch=monkeypatch)


@every_dtype
@every_shape
def test_elman(shape, dtype, monkeypatch):
    lanes, units, size = shape
    arrays = [draw(lanes, units, 1, units, size, dtype=dtype), draw(units, units, dtype=dtype) / units]
    arrays += [draw(lanes, units, dtype=dtype), draw(lanes, size, dtype=dtype), draw(lanes, units, dtype=dtype)]
    check("influence_update_elman", units, arrays, monkeypatch=monkeypatch)


@every_dtype
@every_shape
@pytest.mark.parametrize("reset_after", [True, False], ids=["reset after", "reset before"])
def test_gru(shape, dtype, reset_after, monkeypatch):
    lanes, units, inputs = shape
    columns = inputs + units
    arrays = [draw(lanes, units, 3, units, columns, dtype=dtype), draw(3 * units, units, dtype=dtype) / units]
    arrays += [draw(lanes, units, dtype=dtype), draw(lanes, 3 * units, dtype=dtype), draw(lanes, units, dtype=dtype)]
    arrays += [draw(lanes, columns, dtype=dtype), draw(lanes, units, dtype=dtype)]
    check("influence_update_gru", 4 * units, arrays, inputs, reset_after, monkeypatch=monkeypatch)


@every_dtype
@every_shape
def test_lstm(shape, dtype, monkeypatch):
    lanes, units, size = shape
    arrays = [draw(2, lanes, units, 4, units, size, dtype=dtype), draw(4 * units, units, dtype=dtype) / units]
    arrays += [draw(lanes, units, dtype=dtype) for _ in range(2)]
    arrays += [draw(lanes, 4 * units, dtype=dtype), draw(lanes, size, dtype=dtype), draw(lanes, units, dtype=dtype)]
    check("influence_update_lstm", 4 * units, arrays, monkeypatch=monkeypatch)


@every_dtype
@pytest.mark.parametrize("states", [1, 2])
def test_diagonal(states, dtype, monkeypatch):
    lanes, hidden, size = 3, 5, 40
    units = RNG.integers(0, hidden, size)
    arrays = [draw(lanes, states, size, dtype=dtype), draw(lanes, states, states, hidden, dtype=dtype)]
    check("influence_update_diagonal", states, arrays, units, monkeypatch=monkeypatch)


def test_an_influence_that_is_not_contiguous_is_updated_in_place():
    wide = draw(2, 20, 60, dtype="float64")
    part, d = wide[:, :, ::2], draw(2, 20, 20, dtype="float64")
    wanted, others = d @ part, wide[:, :, 1::2].copy()
    compiled.influence_update_dense(part, d)
    assert np.allclose(part, wanted)
    assert np.array_equal(wide[:, :, 1::2], others)
