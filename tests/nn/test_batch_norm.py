"""BatchNorm: batches, running statistics, gradients and errors."""

import numpy as np
import pytest
from helpers import assert_gradients, close
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def layer_of(channels, **options):
    layer = nn.BatchNorm(channels, dtype="float64", **options)
    if layer.weight is not None:
        layer.weight.assign(normal(channels, seed=1))
        layer.bias.assign(normal(channels, seed=2))
    return layer


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5)])
def test_training_normalises_each_channel_over_the_batch(shape):
    layer, x = layer_of(3), normal(*shape)
    axes = (0, *range(2, len(shape)))
    along = (1, 3, *[1] * (len(shape) - 2))
    z = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    expected = z * layer.weight.numpy().reshape(along) + layer.bias.numpy().reshape(along)
    close(layer(tg.tensor(x)), expected, factor=4 * x.size)


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 5)])
def test_evaluation_uses_the_running_statistics_and_leaves_them(shape):
    layer, x = layer_of(3).eval(), normal(*shape)
    layer.running_mean, layer.running_var = tg.tensor(normal(3, seed=3)), tg.tensor(normal(3, seed=4) ** 2)
    before = layer.state_dict()
    along = (1, 3, *[1] * (len(shape) - 2))
    mean, var, weight, bias = (
        each.numpy().reshape(along) for each in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    close(layer(tg.tensor(x)), (x - mean) / np.sqrt(var + 1e-5) * weight + bias, factor=16)
    for name, value in layer.state_dict().items():
        assert_array_equal(value, before[name])


def test_running_statistics_move_by_the_momentum_with_the_unbiased_variance():
    layer, batches = layer_of(3, momentum=0.25), [normal(8, 3, seed=i) for i in range(4)]
    mean, var = np.zeros(3), np.ones(3)
    for batch in batches:
        with tg.Tape():
            layer(tg.tensor(batch))
        mean += 0.25 * (batch.mean(0) - mean)
        var += 0.25 * (batch.var(0, ddof=1) - var)
    close(layer.running_mean, mean, factor=64)
    close(layer.running_var, var, factor=64)
    assert layer.num_batches_tracked.item() == 4


def test_without_momentum_the_running_statistics_are_plain_means():
    layer, batches = layer_of(3, momentum=None), [normal(8, 3, seed=i) for i in range(5)]
    for batch in batches:
        layer(tg.tensor(batch))
    close(layer.running_mean, np.mean([b.mean(0) for b in batches], axis=0), factor=64)
    close(layer.running_var, np.mean([b.var(0, ddof=1) for b in batches], axis=0), factor=64)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_agree_with_differences_up_to_the_second_order(training):
    layer = nn.BatchNorm(2, eps=0.5, dtype="float64").train(training)

    def function(x, weight, bias):
        layer.weight, layer.bias = weight, bias
        return layer(x)

    assert_gradients(function, normal(5, 2), normal(2, seed=1), normal(2, seed=2), factor=512)


def test_the_statistics_are_no_sources_of_gradients_and_are_not_recorded():
    layer = nn.BatchNorm(3)
    with tg.Tape() as tape:
        layer(tg.ones((4, 3)) * tg.tensor([[1.0], [2.0], [3.0], [4.0]]))
    assert [record.primitive.name for record in tape if record.primitive.name in ("var", "mean")] == []
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


def test_the_state_is_saved_and_continued():
    first, second = layer_of(3), layer_of(3)
    for i in range(3):
        first(tg.tensor(normal(8, 3, seed=i)))
    assert list(first.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    second.load_state_dict(first.state_dict())
    x = tg.tensor(normal(4, 3))
    assert_array_equal(first.eval()(x).numpy(), second.eval()(x).numpy())
    assert second.num_batches_tracked.item() == 3


def test_float32_stays_float32():
    layer = nn.BatchNorm(3)
    assert layer(tg.zeros((4, 3))).dtype == np.float32
    assert layer.running_var.dtype == np.float32
    assert layer.eval()(tg.zeros((4, 3))).dtype == np.float32


def test_without_affine_there_is_nothing_to_train():
    layer = nn.BatchNorm(3, affine=False)
    assert list(layer.parameters()) == []
    assert abs(layer(tg.tensor(normal(8, 3))).numpy().mean(0)).max() < 1e-12


def test_a_batch_of_one_has_no_variance():
    layer = nn.BatchNorm(3)
    for shape in ((1, 3), (1, 3, 1, 1), (0, 3)):
        with pytest.raises(ShapeError, match="more than one value in each channel.*eval.*test_batch_norm"):
            layer(tg.zeros(shape))
    assert layer.num_batches_tracked.item() == 0
    assert layer(tg.zeros((1, 3, 2, 2))).shape == (1, 3, 2, 2)
    assert layer.eval()(tg.zeros((1, 3))).shape == (1, 3)


def test_batch_norm_names_what_is_wrong():
    with pytest.raises(ShapeError, match=r"\(batch, 3, \.\.\.\); got \(4, 2\)"):
        nn.BatchNorm(3)(tg.zeros((4, 2)))
    with pytest.raises(ShapeError, match="got"):
        nn.BatchNorm(3)(tg.zeros((3,)))
    with pytest.raises(DTypeError, match="int64"):
        nn.BatchNorm(3)(tg.zeros((4, 3), dtype=tg.int64))
    with pytest.raises(ArgumentError, match="eps"):
        nn.BatchNorm(3, eps=0)
    for momentum in (0, 1.5, -0.1):
        with pytest.raises(ArgumentError, match="momentum"):
            nn.BatchNorm(3, momentum=momentum)
