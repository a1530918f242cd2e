"""Readouts that learn row by row reach what ridge reaches; FORCE keeps what it learned; softmax separates."""

import numpy as np
import pytest

from tinygrad_rnn import esn

rng = np.random.default_rng(0)
H = rng.normal(size=(200, 4))
Y = H @ rng.normal(size=(4, 2)) + 0.5 + 0.1 * rng.normal(size=(200, 2))


def penalised(H, Y, lam, weights=None):
    """Ridge with a penalised intercept, rows weighted."""
    rows = np.hstack((H, np.ones((len(H), 1))))
    scale = np.ones(len(H)) if weights is None else weights
    return np.linalg.solve((rows.T * scale) @ rows + lam, (rows.T * scale) @ Y)


def test_recursive_least_squares_is_ridge_after_every_row():
    readout = esn.RLS(4, 2, regularization=0.3)
    for start, end in ((0, 1), (1, 5), (5, 200)):
        readout.update(H[start:end], Y[start:end])
        wanted = penalised(H[:end], Y[:end], 0.3 * np.eye(5))
        assert np.abs(readout.weights - wanted[:4]).max() < 1e-10
        assert np.abs(readout.intercept - wanted[4]).max() < 1e-10


def test_forgetting_weights_old_rows_less():
    readout = esn.RLS(4, 2, regularization=0.3, forgetting=0.95)
    readout.update(H, Y)
    ages = np.arange(199, -1, -1)
    wanted = penalised(H, Y, 0.3 * 0.95**200 * np.eye(5), 0.95**ages)
    assert np.abs(readout.weights - wanted[:4]).max() < 1e-9


def test_errors_are_those_from_before_each_row():
    readout = esn.RLS(4, 2)
    before = readout.predict(H[:1])
    assert np.array_equal(readout.update(H[:1], Y[:1]), Y[:1] - before)
    one = esn.RLS(4, 2)
    assert np.array_equal(one.update(H[0], Y[0]), Y[0])
    assert np.array_equal(one.weights, readout.weights)


@pytest.mark.parametrize("normalised", [True, False])
def test_lms_comes_near(normalised):
    readout = esn.LMS(4, 2, rate=0.5 if normalised else 0.02, normalised=normalised)
    for _ in range(5):
        errors = readout.update(H, Y)
    assert np.sqrt((errors**2).mean()) < 0.2
    assert np.abs(readout.predict(H) - Y).mean() < 0.2


def reservoir(**options):
    options = {"feedback_size": 1, "leak": 0.3, "rng": 0, "dtype": "float64"} | options
    return esn.Reservoir(1, 100, **options)


def test_force_makes_a_generator_that_runs_on_by_itself():
    target = np.sin(0.1 * np.arange(3300.0))[:, None]
    readout = esn.RLS(100, 1)
    _, state = esn.force(reservoir(), readout, target[:3000])
    free, _ = esn.force(reservoir(), readout, steps=300, state=state)
    assert np.abs(free - target[3000:]).max() < 0.1


def test_force_in_two_pieces_is_force():
    target, u = np.sin(0.1 * np.arange(100.0))[:, None], rng.normal(size=(100, 1))
    whole, split = esn.RLS(100, 1), esn.RLS(100, 1)
    z, _ = esn.force(reservoir(), whole, target, u, every=2)
    first, state = esn.force(reservoir(), split, target[:60], u[:60], every=2)
    second, _ = esn.force(reservoir(), split, target[60:], u[60:], every=2, state=state)
    assert np.array_equal(z, np.concatenate((first, second)))


def test_softmax_probabilities_are_those_of_the_penalised_optimum():
    labels = np.array(["a", "b", "c"])[np.argmax(H[:, :3] + 0.5 * rng.normal(size=(200, 3)), axis=1)]
    readout = esn.SoftmaxReadout(ridge=1e-2).fit(H, labels)
    p = readout.predict_proba(H)
    assert np.allclose(p.sum(axis=1), 1)
    assert list(readout.classes_) == ["a", "b", "c"]
    assert (readout.predict(H) == labels).mean() > 0.7
    # at the optimum the residuals of each class balance the penalty, and sum to 0 for the free intercept
    miss = p - (labels[:, None] == readout.classes_)
    scaled = (H - H.mean(axis=0)) / H.std(axis=0)
    assert np.abs(scaled.T @ miss / 200 + 1e-2 * readout.weights * H.std(axis=0)[:, None]).max() < 1e-6
    assert np.abs(miss.mean(axis=0)).max() < 1e-6


def test_softmax_takes_constant_features():
    readout = esn.SoftmaxReadout().fit(np.hstack((H[:, :1], np.ones((200, 1)))), H[:, 0] > 0)
    assert (readout.predict(np.array([[-1.0, 1.0], [1.0, 1.0]])) == [False, True]).all()


BAD = {
    "rows": (lambda: esn.RLS(4, 2).update(H, Y[:, :1]), r"H \(T, 4\) and Y \(T, 2\)"),
    "NaN": (lambda: esn.LMS(4, 2).update(H * np.nan, Y), "NaN"),
    "regularization": (lambda: esn.RLS(4, 2, regularization=0.0), "above 0"),
    "forgetting": (lambda: esn.RLS(4, 2, forgetting=1.5), r"\(0, 1\]"),
    "rate": (lambda: esn.LMS(4, 2, rate=0.0), "above 0"),
    "no feedback": (lambda: esn.force(esn.Reservoir(1, 5, topology="ring"), esn.RLS(5, 1), steps=3), "feedback_size"),
    "readout": (lambda: esn.force(reservoir(), esn.RLS(5, 1), steps=3), "5 features and 1 outputs for 100 units"),
    "nothing": (lambda: esn.force(reservoir(), esn.RLS(100, 1)), "give targets"),
    "targets": (lambda: esn.force(reservoir(), esn.RLS(100, 1), np.ones((5, 2))), r"targets expects shape \(T, 1\)"),
    "inputs": (
        lambda: esn.force(reservoir(), esn.RLS(100, 1), np.ones((5, 1)), np.ones((4, 1))),
        r"inputs expects shape \(5, 1\)",
    ),
    "every": (lambda: esn.force(reservoir(), esn.RLS(100, 1), np.ones((5, 1)), every=0), "every is a number"),
    "one class": (lambda: esn.SoftmaxReadout().fit(H, np.ones(200)), "at least two classes"),
    "labels": (lambda: esn.SoftmaxReadout().fit(H, np.ones(3)), r"\(200, 4\) and \(3,\)"),
    "penalty": (lambda: esn.SoftmaxReadout(-1.0), "at least 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
