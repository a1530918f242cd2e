"""Sequences are classified by the states that they drive a reservoir through."""

import numpy as np
import pytest

from tinygrad_rnn import esn


def waves(count, steps=40, unequal=False, seed=0):
    rng = np.random.default_rng(seed)
    X, y = [], []
    for k in range(count):
        t = np.arange(steps + (k % 5) * 7 * unequal)[:, None] + rng.uniform(0, 20)
        speed, name = ((0.2, "slow"), (0.5, "middle"), (0.9, "fast"))[k % 3]
        X.append(np.sin(speed * t) + 0.05 * rng.normal(size=t.shape))
        y.append(name)
    return X, y


def model(**options):
    return esn.ESNClassifier(40, **({"random_state": 0, "washout": 5} | options))


@pytest.mark.parametrize("features", ["last", "mean", "states", "model"])
def test_every_kind_of_features_tells_the_classes_apart(features):
    X, y = waves(90)
    fitted = model(features=features).fit(X[:60], y[:60])
    assert fitted.score(X[60:], y[60:]) > (0.5 if features == "states" else 0.8)  # 1400 features of 60 phases
    assert list(fitted.classes_) == ["fast", "middle", "slow"]
    p = fitted.predict_proba(X[60:])
    assert p.shape == (30, 3)
    assert np.allclose(p.sum(axis=1), 1)


@pytest.mark.parametrize("features", ["last", "mean", "model"])
def test_sequences_of_unequal_length_are_each_their_own(features):
    X, y = waves(30, unequal=True)
    fitted = model(features=features).fit(X, y)
    together = fitted.transform(X)
    for row, x in zip(together, X):
        assert np.allclose(row, fitted.transform([x])[0], rtol=1e-7, atol=1e-9)


def test_the_features_are_what_their_names_say():
    X, y = waves(6, steps=12)
    for name, expected in (
        ("last", lambda states: states[-1]),
        ("mean", lambda states: states.mean(axis=0)),
        ("states", np.ravel),
    ):
        fitted = model(features=name).fit(X, y)
        states = fitted.reservoir_.run(X[0])[0].numpy()[5:]
        assert np.allclose(fitted.transform(X)[0], expected(states), rtol=0, atol=1e-12)


def test_an_array_of_sequences_has_time_first():
    X, y = waves(12)
    stacked = np.stack(X, axis=1)
    assert np.allclose(model().fit(stacked, y).transform(stacked), model().fit(X, y).transform(X))


X, LABELS = waves(6)
BAD = {
    "features": (lambda: model(features="all").fit(X, LABELS), "features is one of"),
    "labels": (lambda: model().fit(X, LABELS[:3]), "6 sequences, and y 3 labels"),
    "one sequence": (lambda: model().fit(X[0], LABELS), "got one sequence"),
    "too short": (lambda: model(washout=40).fit(X, LABELS), "too few are left"),
    "unequal": (lambda: model(features="states").fit(*waves(6, unequal=True)), "sequences of one length"),
    "another length": (
        lambda: model(features="states").fit(X, LABELS).predict([x[:20] for x in X]),
        "sequences of 40 steps",
    ),
    "columns": (lambda: model().fit(X, LABELS).predict([np.ones((9, 2))]), "X has 2 features, but ESNClassifier"),
    "mixed columns": (lambda: model().fit([*X[:5], np.ones((9, 2))], LABELS), "one number of features"),
    "NaN": (lambda: model().fit([*X[:5], X[5] * np.nan], LABELS), "NaN"),
    "one class": (lambda: model().fit(X, ["a"] * 6), "at least two classes"),
    "unfitted": (lambda: model().predict(X), "not fitted"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
