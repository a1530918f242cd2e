"""Conceptors obey their definition and their logic, and recall what was loaded."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import esn

rng = np.random.default_rng(0)
STATES = rng.normal(size=(100, 6)) * np.array([2, 1, 0.5, 0.1, 0.01, 0])


def example(aperture=3.0, seed=0):
    return esn.conceptor(np.random.default_rng(seed).normal(size=(50, 6)), aperture)


def test_the_definition():
    R = STATES.T @ STATES / 100
    wanted = R @ np.linalg.inv(R + 4.0**-2 * np.eye(6))
    assert np.abs(esn.conceptor(STATES, 4.0) - wanted).max() < 1e-13
    assert np.array_equal(esn.conceptor(tg.tensor(STATES), 4.0), esn.conceptor(STATES, 4.0))


def test_singular_values_lie_between_zero_and_one():
    s = np.linalg.eigvalsh(esn.conceptor(STATES, 10.0))
    assert s.min() > -1e-12
    assert s.max() < 1


def test_adapting_the_aperture_is_computing_with_another_one():
    assert np.abs(esn.adapt_aperture(esn.conceptor(STATES, 2.0), 3.0) - esn.conceptor(STATES, 6.0)).max() < 1e-12


def test_conjunction_of_invertible_conceptors():
    C, B = example(seed=0), example(seed=1)
    wanted = np.linalg.inv(np.linalg.inv(C) + np.linalg.inv(B) - np.eye(6))
    assert np.abs(esn.conjunction(C, B) - wanted).max() < 1e-10


def test_disjunction_adds_the_correlations():
    """C OR B is the conceptor of the summed correlation matrices (section 3.9.3 of the source)."""
    a, b = (np.random.default_rng(k).normal(size=(50, 6)) for k in range(2))
    together = np.concatenate((a, b)) * np.sqrt(2)
    found = esn.disjunction(esn.conceptor(a, 3.0), esn.conceptor(b, 3.0))
    assert np.abs(found - esn.conceptor(together, 3.0)).max() < 1e-10


def test_projections_obey_set_logic():
    C, B = np.diag([1.0, 1, 0, 0]), np.diag([0.0, 1, 1, 0])
    assert np.abs(esn.conjunction(C, B) - np.diag([0.0, 1, 0, 0])).max() < 1e-12
    assert np.abs(esn.disjunction(C, B) - np.diag([1.0, 1, 1, 0])).max() < 1e-12
    assert np.array_equal(esn.negation(C), np.diag([0.0, 0, 1, 1]))
    assert np.array_equal(esn.conjunction(np.diag([1.0, 0]), np.diag([0.0, 1])), np.zeros((2, 2)))


@pytest.mark.parametrize("options", [{}, {"leak": 0.8}, {"topology": "orthogonal", "bias_scaling": 0.0}], ids=str)
def test_loaded_patterns_are_recalled(options):
    options = {
        "spectral_radius": 1.5,
        "input_scaling": 1.5,
        "bias_scaling": 0.2,
        "rng": 0,
        "dtype": "float64",
    } | options
    t = np.arange(740.0)[:, None]
    patterns = [np.sin(0.41 * t), np.sin(0.88 * t)]
    memory = esn.load(esn.Reservoir(1, 80, **options), [p[:700] for p in patterns])
    for k, pattern in enumerate(patterns):
        assert np.abs(memory.recall(k, 40) - pattern[700:]).max() < 0.2
        assert 0.5 < memory.recall(k, 1000)[-200:].std() < 0.9  # it does not die away
    blend = 0.5 * (memory.conceptors[0] + memory.conceptors[1])
    assert memory.recall(blend, 10).shape == (10, 1)


def reservoir(**options):
    return esn.Reservoir(1, 6, topology="ring", **options)


BAD = {
    "aperture": (lambda: esn.conceptor(STATES, 0.0), "aperture is above 0"),
    "states": (lambda: esn.conceptor(STATES[0], 1.0), r"\(T, N\)"),
    "NaN": (lambda: esn.conceptor(STATES * np.nan, 1.0), "NaN"),
    "shapes": (lambda: esn.conjunction(np.eye(2), np.eye(3)), "one shape"),
    "square": (lambda: esn.negation(np.ones((2, 3))), r"\(N, N\)"),
    "nonlinearity": (lambda: esn.load(reservoir(nonlinearity="relu"), [np.ones((200, 1))]), "tanh reservoir"),
    "short": (lambda: esn.load(reservoir(), [np.ones((50, 1))]), "more than washout"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
