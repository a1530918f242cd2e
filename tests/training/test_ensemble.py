"""Ensembles: averages, seeds, bootstrap samples and errors."""

import numpy as np
import pytest
from helpers import close
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import ArgumentError, DataError
from tinygrad_rnn.training import Ensemble, bootstrap


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def linear(seed):
    return nn.Linear(3, 2, rng=seed, dtype="float64")


def test_an_ensemble_predicts_the_mean_of_its_members():
    ensemble = Ensemble([linear(i) for i in range(5)])
    x = tg.tensor(normal(4, 3))
    each = np.stack([model(x).numpy() for model in ensemble.models])
    close(ensemble.predict(x), each.mean(0), factor=5)
    close(ensemble(x), each.mean(0), factor=5)
    close(ensemble.spread(x), each.std(0), factor=40)
    assert len(ensemble) == 5
    assert "models.4.weight" in ensemble.state_dict()


def test_the_average_may_be_one_of_probabilities():
    ensemble = Ensemble([linear(i) for i in range(3)], function=tg.softmax)
    x = tg.tensor(normal(4, 3))
    expected = np.mean([tg.softmax(model(x)).numpy() for model in ensemble.models], axis=0)
    close(ensemble.predict(x), expected, factor=8)
    close(tg.sum(ensemble.predict(x), axis=-1), np.ones(4), factor=16)


def test_predict_is_in_evaluation_mode_and_off_the_tape_and_changes_nothing():
    ensemble = Ensemble([nn.Sequential(nn.Dropout(0.5, rng=i), linear(i)) for i in range(3)])
    ensemble.models[1].eval()
    before = [module.training for module in ensemble.modules()]
    x = tg.tensor(normal(4, 3))
    with tg.Tape() as tape:
        found = ensemble.predict(x)
    assert len(tape) == 0
    assert [module.training for module in ensemble.modules()] == before
    assert_array_equal(found.numpy(), ensemble.predict(x).numpy())
    with tg.Tape() as tape:
        ensemble(x)
    assert len(tape) > 0


def train(model, data, seed):
    """A few steps of least squares."""
    x, y = (tg.tensor(each) for each in data)
    optimizer = optim.SGD(model, lr=0.1)
    for _ in range(5):
        with tg.Tape() as tape:
            loss = tg.mse_loss(model(x), y)
        names = [name for name, _ in model.named_parameters()]
        optimizer.step(dict(zip(names, tape.gradient(loss, list(model.parameters())))))


def test_members_come_from_their_seeds_and_the_same_data():
    data = normal(20, 3), normal(20, 2, seed=1)
    ensemble = Ensemble.from_seeds(linear, lambda model, seed: train(model, data, seed), range(3))
    for seed, model in enumerate(ensemble.models):
        alone = linear(seed)
        train(alone, data, seed)
        assert_array_equal(model.weight.numpy(), alone.weight.numpy())
    assert not np.array_equal(ensemble.models[0].weight.numpy(), ensemble.models[1].weight.numpy())


def test_bagging_gives_each_member_its_own_sample():
    data = normal(20, 3), normal(20, 2, seed=1)
    seen = []
    ensemble = Ensemble.bagged(lambda seed: linear(0), lambda m, d, s: (seen.append(d), train(m, d, s)), data, [3, 4])
    for seed, sample, model in zip([3, 4], seen, ensemble.models):
        for ours, theirs in zip(sample, bootstrap(data, seed)):
            assert_array_equal(ours, theirs)
        alone = linear(0)
        train(alone, sample, seed)
        assert_array_equal(model.weight.numpy(), alone.weight.numpy())


def test_a_bootstrap_sample_keeps_pairs_together_and_leaves_the_data_alone():
    x = np.arange(1000)
    a, b = bootstrap((x, tg.tensor(2 * x)), rng=0)
    assert_array_equal(b.numpy(), 2 * a)
    assert a.shape == x.shape
    share = len(np.unique(a)) / 1000  # 1 - 1/e in the mean, with a standard deviation below 0.5 / sqrt(1000)
    assert abs(share - (1 - 1 / np.e)) < 5 * 0.5 / np.sqrt(1000)
    assert_array_equal(x, np.arange(1000))


def test_ensembles_name_what_is_wrong():
    with pytest.raises(ArgumentError, match="at least one model"):
        Ensemble([])
    with pytest.raises(ArgumentError, match="made of Modules; got a function"):
        Ensemble([lambda x: x])
    for data in ((), (np.zeros((3, 2)), np.zeros(4)), (np.zeros((0, 2)),), (np.float64(1.0),)):
        with pytest.raises(DataError, match="as many examples each"):
            bootstrap(data)
