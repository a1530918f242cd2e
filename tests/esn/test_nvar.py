"""NVAR sees delayed inputs and their products, and nothing of another series."""

import numpy as np
import pytest

from tinygrad_rnn import esn

rng = np.random.default_rng(0)


def test_features_are_the_delays_and_their_products():
    x = rng.normal(size=(50, 2))
    model = esn.NVAR(delays=2, spacing=3, degree=2).fit(x, x[:, :1])
    assert model.warmup == 3
    assert len(model.monomials_) == 4 + 10
    delayed = model._delayed(x)
    assert np.array_equal(delayed, np.hstack((x[3:], x[:-3])))
    rows = model._features(delayed)
    wanted = [delayed[:, i] for i in range(4)]
    wanted += [delayed[:, i] * delayed[:, j] for i in range(4) for j in range(i, 4)]
    assert np.allclose(rows, np.stack(wanted, axis=1), rtol=1e-15, atol=0)


def test_it_finds_a_polynomial_law():
    x = rng.normal(size=(200, 2))
    y = np.zeros((200, 1))
    y[1:, 0] = 0.5 + x[1:, 0] - 2 * x[1:, 0] * x[:-1, 1] + x[:-1, 0] ** 2
    model = esn.NVAR(delays=2, degree=2, ridge=1e-10).fit(x, y)
    assert np.abs(model.predict(x)[1:] - y[1:]).max() < 1e-8
    assert model.score(x, y) > 1 - 1e-12


def henon(steps):
    x = np.zeros((steps, 1))
    x[1] = 0.1
    for t in range(2, steps):
        x[t] = 1 - 1.4 * x[t - 1] ** 2 + 0.3 * x[t - 2]
    return x


@pytest.mark.parametrize("increments", [False, True])
def test_it_generates_a_chaotic_map(increments):
    x = henon(240)
    model = esn.NVAR(delays=2, increments=increments, ridge=1e-13).fit(x[:199], x[1:200])
    assert np.abs(model.generate(15, prime=x[:200]) - x[200:215]).max() < 1e-3


def test_series_do_not_leak_into_each_other():
    parts = [henon(60)[10:], henon(90)[20:]]
    model = esn.NVAR(delays=2, ridge=1e-12).fit([p[:-1] for p in parts], [p[1:] for p in parts])
    for together, alone in zip(model.predict(parts), parts):
        assert np.array_equal(together, model.predict(alone))
    assert np.abs(model.predict(parts[0])[1:-1] - parts[0][2:]).max() < 1e-6
    stacked = np.stack((parts[0], parts[1][:50]), axis=1)
    assert model.predict(stacked).shape == (50, 2, 1)
    assert model.predict(parts[0][:1]).shape == (1, 1)


X = henon(60)
BAD = {
    "delays": (lambda: esn.NVAR(delays=0).fit(X, X), "delays is an integer"),
    "short": (lambda: esn.NVAR(delays=5, spacing=20).fit(X, X), "need more than 80"),
    "increments": (lambda: esn.NVAR(increments=True).fit(X, np.hstack((X, X))), "1 inputs, 2 outputs"),
    "generation": (lambda: esn.NVAR().fit(X, np.hstack((X, X))).generate(3, X), "1 inputs, 2 outputs"),
    "prime": (lambda: esn.NVAR(delays=4).fit(X, X).generate(3, X[:2]), "more than 3 steps"),
    "NaN": (lambda: esn.NVAR().fit(X * np.nan, X), "NaN"),
    "unfitted": (lambda: esn.NVAR().predict(X), "not fitted"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
