"""Variational dropout, stochastic depth, Monte-Carlo dropout, and the penalties."""

import numpy as np
import pytest
from helpers import assert_gradients, close
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, AxisError, DTypeError, ShapeError


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("axis", "shape"), [(0, (7, 3, 40)), (1, (3, 7, 40)), (-2, (3, 7, 40))])
def test_variational_dropout_has_one_mask_for_all_steps(axis, shape):
    y = nn.VariationalDropout(0.5, axis=axis, rng=0)(tg.ones(shape)).numpy()
    y = np.moveaxis(y, axis, 0)
    assert_array_equal(y, np.broadcast_to(y[:1], y.shape))
    assert set(np.unique(y)) == {0, 2}
    assert abs((y[0] == 0).mean() - 0.5) < 5 * np.sqrt(0.25 / 120)


def test_variational_dropout_passes_in_evaluation_and_names_a_missing_axis():
    x = tg.ones((2, 3))
    assert nn.VariationalDropout(0.5).eval()(x) is x
    with pytest.raises(AxisError, match="axis 2"):
        nn.VariationalDropout(0.5, axis=2)(x)
    with pytest.raises(DTypeError, match="VariationalDropout expected a floating"):
        nn.VariationalDropout(0.5)(tg.tensor([1]))
    with pytest.raises(ArgumentError, match="VariationalDropout p"):
        nn.VariationalDropout(2.0)


def test_stochastic_depth_keeps_or_drops_whole_examples():
    y = nn.StochasticDepth(0.25, rng=0)(tg.ones((400, 2, 3))).numpy().reshape(400, -1)
    assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert abs((y[:, 0] == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 400)


def test_monte_carlo_averages_over_masks_and_leaves_the_model_as_it_was():
    model = nn.Sequential(
        nn.BatchNorm(4, dtype="float64"), nn.Dropout(0.5, rng=0), nn.Linear(4, 1, rng=1, dtype="float64")
    )
    model.train()
    model[2].eval()
    x = normal(3, 4)
    before = model.state_dict()
    found = nn.monte_carlo(model, tg.tensor(x), samples=400)
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])  # the statistics too: BatchNorm was in evaluation mode
    assert [each.training for each in model.modules()] == [True, True, True, False]
    assert found.samples.shape == (400, 3, 1)
    close(found.mean, found.samples.numpy().mean(0), factor=400)
    close(found.std, found.samples.numpy().std(0, ddof=1), factor=400)
    # the variance of a sum of independent terms w x 2m, m = 0 or 1: the sum of (w x)²
    spread = np.sqrt(((model[2].weight.numpy() * x / np.sqrt(1 + 1e-5)) ** 2).sum(1, keepdims=True))
    plain = model.eval()(tg.tensor(x)).numpy()
    assert (np.abs(found.mean.numpy() - plain) < 5 * spread / np.sqrt(400)).all()
    assert (np.abs(found.std.numpy() / spread - 1) < 0.25).all()


def test_monte_carlo_applies_a_function_before_averaging_and_records_nothing():
    model = nn.Sequential(nn.Dropout(0.5, rng=0), nn.Linear(4, 3, rng=1))
    with tg.Tape() as tape:
        found = nn.monte_carlo(model, tg.ones((2, 4)), samples=5, function=tg.softmax)
    assert len(tape) == 0
    close(tg.sum(found.mean, axis=-1), np.ones(2, np.float32), factor=32)


def test_monte_carlo_drops_inside_recurrent_layers():
    layer = tg.rnn.LSTM(3, 8, num_layers=2, dropout=0.5, rng=0)
    model = nn.Sequential(layer, lambda result: result[0])
    found = nn.monte_carlo(model, tg.ones((4, 2, 3)), samples=4)
    assert float(found.std.numpy().max()) > 0


def test_monte_carlo_needs_something_to_drop():
    for model in (nn.Linear(2, 1, rng=0), nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 1, rng=0))):
        with pytest.raises(ArgumentError, match="no Dropout with p above 0"):
            nn.monte_carlo(model, tg.ones((1, 2)))
    with pytest.raises(ArgumentError, match="at least 2 samples"):
        nn.monte_carlo(nn.Dropout(0.5), tg.ones(3), samples=1)


def test_the_penalties_are_their_sums_over_weights_and_not_over_biases():
    model = nn.Sequential(
        nn.Linear(3, 4, rng=0, dtype="float64"), nn.LayerNorm(4), nn.Linear(4, 2, rng=1, dtype="float64")
    )
    weights = np.concatenate([model[0].weight.numpy().ravel(), model[2].weight.numpy().ravel()])
    close(nn.l1_penalty(model, 0.3), np.asarray(0.3 * np.abs(weights).sum()), factor=40)
    close(nn.l2_penalty(model, 0.3), np.asarray(0.15 * (weights**2).sum()), factor=40)
    assert nn.l1_penalty([model[0].bias], 1.0).item() == pytest.approx(np.abs(model[0].bias.numpy()).sum())


def test_the_gradient_of_the_l2_penalty_is_weight_decay():
    layer = nn.Linear(3, 2, rng=0, dtype="float64")
    with tg.Tape() as tape:
        cost = nn.l2_penalty(layer, 0.1)
    close(tape.gradient(cost, layer.weight), 0.1 * layer.weight.numpy(), factor=4)
    with tg.Tape() as tape:
        cost = nn.l1_penalty([tg.nn.Parameter([2.0, 0.0, -3.0]), layer.weight], 0.5)
    close(tape.gradient(cost, layer.weight), 0.5 * np.sign(layer.weight.numpy()), factor=1)


def test_gradients_of_the_adaptive_weight_decay_agree_with_differences():
    assert_gradients(lambda w, x: nn.adaptive_weight_decay(w, x, 0.3), normal(2, 3), normal(4, 3, seed=1))


def test_the_penalties_name_what_is_wrong():
    with pytest.raises(ArgumentError, match="strength must be at least 0"):
        nn.l1_penalty(nn.Linear(2, 2, rng=0), -1.0)
    with pytest.raises(ArgumentError, match="no weight of two axes"):
        nn.l2_penalty(nn.LayerNorm(3), 0.1)
    with pytest.raises(ArgumentError, match="from 0 to below 1"):
        nn.adaptive_weight_decay(tg.ones(2), tg.ones((3, 2)), 1.0)
    with pytest.raises(ShapeError, match=r"\(3,\) and \(3, 2\)"):
        nn.adaptive_weight_decay(tg.ones(3), tg.ones((3, 2)), 0.5)
