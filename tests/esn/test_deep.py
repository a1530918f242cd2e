"""Layers and directions are what they say: reservoirs one after the other, and one against time."""

import numpy as np
import pytest
from helpers import close

import tinygrad_rnn as tg
from tinygrad_rnn import esn


def reservoirs(*sizes, rng=0):
    rng = np.random.default_rng(rng)
    inputs = [2, *sizes]
    return [esn.Reservoir(i, n, rng=rng, dtype="float64", connectivity=0.5, leak=0.6) for i, n in zip(inputs, sizes)]


def series(steps=7, batch=3):
    return np.random.default_rng(1).normal(size=(steps, batch, 2))


def test_each_layer_is_driven_by_the_one_below():
    layers = reservoirs(6, 5)
    states, last = esn.DeepReservoir(layers).run(series())
    first, _ = layers[0].run(series())
    second, _ = layers[1].run(first)
    assert np.array_equal(states.numpy(), np.concatenate((first.numpy(), second.numpy()), axis=-1))
    assert np.array_equal(last.numpy(), states.numpy()[-1])


def test_a_deep_reservoir_is_a_cell():
    deep = esn.DeepReservoir(reservoirs(6, 5, 4))
    states, last = deep.run(series(), lengths=[7, 3, 1])
    wanted, wanted_last = tg.rnn.scan(deep, tg.tensor(series()), lengths=[7, 3, 1])
    close(states, wanted, 1000)
    close(last, wanted_last, 1000)
    step, h = deep.stepper(), np.zeros(15)
    for t in range(7):
        h = step(series()[t, 0], h)
        close(states.numpy()[t, 0], h, 1000)


def test_a_run_goes_on_from_its_state():
    deep = esn.DeepReservoir(reservoirs(6, 5))
    whole, _ = deep.run(series())
    first, state = deep.run(series()[:4])
    second, _ = deep.run(series()[4:], state)
    close(whole, np.concatenate((first.numpy(), second.numpy())), 1000)


@pytest.mark.parametrize("lengths", [None, [7, 3, 1]])
def test_both_directions_stand_side_by_side(lengths):
    there, back = reservoirs(6)[0], reservoirs(5, rng=1)[0]
    states, last = esn.BidirectionalReservoir(there, back).run(series(), lengths=lengths)
    assert np.array_equal(states.numpy()[..., :6], there.run(series(), lengths=lengths)[0].numpy())
    for b, length in enumerate(lengths or [7] * 3):
        flipped, end = back.run(series()[:length, b][::-1])
        close(states.numpy()[:length, b, 6:], flipped.numpy()[::-1], 1000)
        close(last.numpy()[b, 6:], end, 1000)


def wave(steps):
    t = np.arange(float(steps))[:, None]
    return np.sin(0.3 * t) * np.cos(0.11 * t)


X, Y = wave(300)[:-1], wave(300)[1:]


def test_a_deep_model_learns_and_generates():
    whole = wave(340)
    model = esn.DeepESN(40, layers=2, leak=[1.0, 0.7], washout=30, random_state=0).fit(whole[:299], whole[1:300])
    assert model.reservoir_.units == 80
    assert np.abs(model.generate(40, prime=whole[:300]) - whole[300:]).max() < 0.05


def test_both_directions_see_what_is_to_come():
    """The value of five steps later is no prediction for a model that reads from both ends."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 1))
    y = np.roll(x, -5, axis=0)
    y[-5:] = 0
    score = {
        both: esn.DeepESN(60, layers=1, bidirectional=both, washout=10, random_state=0).fit(x, y).score(x, y)
        for both in (False, True)
    }
    assert score[True] > 0.9
    assert score[False] < 0.5


def test_series_of_unequal_length():
    x = [X[:50], X[50:180], X[180:]]
    y = [Y[:50], Y[50:180], Y[180:]]
    model = esn.DeepESN(20, layers=2, bidirectional=True, washout=5, ridge=1e-4, random_state=0).fit(x, y)
    for together, alone in zip(model.predict(x), x):
        assert np.abs(together - model.predict(alone)).max() < 1e-8


BAD = {
    "layers": (lambda: esn.DeepESN(5, layers=0).fit(X, Y), "layers must be an integer"),
    "leaks": (lambda: esn.DeepESN(5, layers=2, leak=[0.5]).fit(X, Y), "one for each of 2 layers"),
    "sizes": (lambda: esn.DeepReservoir([*reservoirs(4), *reservoirs(3)]), "driven by the 4 units"),
    "none": (lambda: esn.DeepReservoir([]), "at least one layer"),
    "generation": (
        lambda: esn.DeepESN(5, bidirectional=True, ridge=1.0, random_state=0).fit(X, Y).generate(5, prime=X),
        "cannot generate",
    ),
    "a state": (
        lambda: esn.BidirectionalReservoir(*reservoirs(4), *reservoirs(4)).run(series(), np.zeros((3, 8))),
        "goes on from no state",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
