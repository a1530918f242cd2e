"""Layers, gradient rules and reservoirs of the library on the CUDA kernels, emulated, against NumPy."""

import numpy as np
import pytest
from emulated_backend import EmulatedBackend

import tinygrad_rnn as tg
from tinygrad_rnn import backends, gradients, rnn
from tinygrad_rnn.esn import Reservoir
from tinygrad_rnn.kernels.cuda.emulator import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="the CUDA emulator needs a C++ compiler, and found none")


@pytest.fixture
def emulated(monkeypatch):
    monkeypatch.setattr(backends, "_registry", {**backends._registry, "emulated": EmulatedBackend})
    return "emulated"


def on(name, make):
    """What `make` returns with this backend as the default, as NumPy arrays."""
    with tg.backend(name):
        return [each.numpy() for each in make()]


def assert_same(emulated, make):
    found, wanted = on(emulated, make), on("numpy", make)
    assert len(found) == len(wanted) > 0
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [rnn.RNN, rnn.GRU, rnn.LSTM])
def test_a_layer_trains_as_on_numpy(kind, emulated):
    def make():
        layer = kind(3, 5, bidirectional=True, rng=np.random.default_rng(0), dtype="float64")
        xs = tg.tensor(np.random.default_rng(1).normal(size=(4, 2, 3)))
        with tg.Tape() as tape:
            ys = layer(xs, lengths=np.array([4, 2]))[0]
            loss = tg.sum(ys * ys)
        found = tape.gradient(loss, list(layer.parameters()))
        return [ys.detach(), *(found.values() if isinstance(found, dict) else found)]

    assert_same(emulated, make)


@pytest.mark.parametrize("kind", [rnn.ElmanCell, rnn.GRUCell, rnn.LSTMCell])
def test_real_time_recurrent_learning_as_on_numpy(kind, emulated):
    def make():
        cell = kind(2, 4, rng=np.random.default_rng(0), dtype="float64")
        xs = tg.tensor(np.random.default_rng(1).normal(size=(4, 2, 2)))
        result = gradients.RTRL().gradient(cell, xs, lambda y, t: tg.sum(y * y))
        return list(result.gradients.values())

    assert_same(emulated, make)


def test_a_reservoir_runs_as_on_numpy(emulated):
    def make():
        reservoir = Reservoir(2, 9, rng=np.random.default_rng(0), dtype="float64")
        states, _ = reservoir.run(tg.tensor(np.random.default_rng(1).normal(size=(4, 2, 2))))
        return [states]

    assert_same(emulated, make)
