"""Intrinsic plasticity gives the outputs the wanted distribution, and hands back an ordinary reservoir."""

import numpy as np
import pytest
from helpers import close

from tinygrad_rnn import esn

U = np.random.default_rng(0).uniform(-1, 1, (1500, 1))


def reservoir(**options):
    return esn.Reservoir(1, 20, **({"rng": 0, "dtype": "float64", "connectivity": 0.3} | options))


@pytest.mark.parametrize("deviation", [0.15, 0.4])
def test_tanh_units_come_to_the_wanted_spread(deviation):
    after = esn.intrinsic_plasticity(reservoir(), U, deviation=deviation, mean=0.0, rate=2e-3, epochs=5).reservoir
    states = after.run(U)[0].numpy()[100:]
    assert abs(states.mean()) < 0.05
    assert abs(states.std(axis=0).mean() / deviation - 1) < 0.3


def test_sigmoid_units_come_to_the_wanted_mean():
    after = esn.intrinsic_plasticity(reservoir(nonlinearity="sigmoid"), U, mean=0.2, rate=2e-3, epochs=5).reservoir
    assert abs(after.run(U)[0].numpy()[100:].mean() - 0.2) < 0.05


@pytest.mark.parametrize("topology", ["random", "orthogonal", "ring"])
def test_gain_and_bias_stand_in_the_matrices(topology):
    before = reservoir(topology=topology, leak=0.6, bias_scaling=0.1)
    after, gain, bias = esn.intrinsic_plasticity(before, U[:50], rate=0.01)
    h = np.zeros(20)
    w, w_in, b = before.matrix(), before.w_in.numpy(), before.bias.numpy()
    for t in range(10):
        h = 0.4 * h + 0.6 * np.tanh(gain * (w @ h + w_in @ U[t] + b) + bias)
    close(after.run(U[:10])[0].numpy()[-1], h, 2000)
    assert after.pattern is None or np.array_equal(after.pattern.indices, before.pattern.indices)


def test_lanes_are_presented_one_after_the_other():
    stacked = np.stack((U[:50], U[50:100]), axis=1)
    gain = esn.intrinsic_plasticity(reservoir(), stacked).gain
    assert gain.shape == (20,)
    assert not np.array_equal(gain, esn.intrinsic_plasticity(reservoir(), U[:50]).gain)


BAD = {
    "nonlinearity": (lambda: esn.intrinsic_plasticity(reservoir(nonlinearity="relu"), U), "tanh"),
    "feedback": (lambda: esn.intrinsic_plasticity(reservoir(feedback_size=1), U), "without feedback"),
    "rate": (lambda: esn.intrinsic_plasticity(reservoir(), U, rate=0.0), "above 0"),
    "washout": (lambda: esn.intrinsic_plasticity(reservoir(), U[:10], washout=10), "longer than washout=10"),
    "columns": (lambda: esn.intrinsic_plasticity(reservoir(), np.ones((10, 2))), r"series \(T, 1\)"),
    "NaN": (lambda: esn.intrinsic_plasticity(reservoir(), U * np.nan), "finite series"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
