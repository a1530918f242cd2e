"""Conv1d, Conv2d and the pooling layers."""

import numpy as np
import pytest
from helpers import assert_gradients
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize(
    ("kind", "function", "lengths"), [(nn.Conv1d, tg.conv1d, (9,)), (nn.Conv2d, tg.conv2d, (7, 8))]
)
def test_a_layer_is_the_operation_with_its_parameters(kind, function, lengths):
    options = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
    layer = kind(4, 6, 3, **options, rng=0, dtype="float64")
    x = tg.tensor(normal(2, 4, *lengths))
    assert_array_equal(layer(x).numpy(), function(x, layer.weight, layer.bias, **options).numpy())
    assert layer.weight.shape == (6, 2, *(3,) * len(lengths))
    assert layer.bias.shape == (6,)


def test_the_gradients_of_a_layer_reach_its_parameters():
    layer = nn.Conv2d(2, 3, (2, 3), padding="same", rng=0, dtype="float64")
    x = normal(2, 2, 4, 4)

    def with_parameters(x, weight, bias):
        layer.weight, layer.bias = weight, bias
        return layer(x)

    assert_gradients(with_parameters, x, layer.weight.numpy(), layer.bias.numpy(), order=1)


def test_initial_values_lie_within_one_over_the_root_of_fan_in():
    layer = nn.Conv2d(4, 64, 2, rng=0)
    assert np.abs(layer.weight.numpy()).max() <= 0.25
    assert np.abs(layer.weight.numpy()).max() > 0.24
    assert_array_equal(layer.weight.numpy(), nn.Conv2d(4, 64, 2, rng=0).weight.numpy())
    assert list(nn.Conv2d(4, 6, 2, bias=False, rng=0).state_dict()) == ["weight"]


def test_pooling_layers_are_the_operations():
    x = tg.tensor(normal(2, 3, 6, 6))
    assert_array_equal(nn.MaxPool2d(3, 2, 1)(x).numpy(), tg.max_pool2d(x, 3, 2, 1).numpy())
    assert_array_equal(nn.AvgPool2d(2)(x).numpy(), tg.avg_pool2d(x, 2).numpy())
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(2, stride=2, padding=0)  [0 parameters]"


def test_a_convolution_layer_names_what_is_wrong():
    layer = nn.Conv2d(3, 4, 3, rng=0)
    with pytest.raises(ShapeError, match=r"\(batch, 3, height, width\); got \(2, 5, 8, 8\).*test_convolution"):
        layer(tg.zeros((2, 5, 8, 8)))
    with pytest.raises(ShapeError, match="For one example"):
        layer(tg.zeros((3, 8, 8)))
    with pytest.raises(ShapeError, match="spans 3 entries"):
        layer(tg.zeros((2, 3, 2, 8)))
    with pytest.raises(DTypeError, match="int64"):
        layer(tg.zeros((2, 3, 8, 8), dtype=tg.int64))
    with pytest.raises(DTypeError, match="got a list"):
        layer([1.0])
    with pytest.raises(ArgumentError, match="groups must divide"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ArgumentError, match="kernel_size is one length or 2"):
        nn.Conv2d(3, 4, (3, 3, 3))
    for sizes in ((0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1.5)):
        with pytest.raises(ArgumentError, match="integer of at least 1"):
            nn.Conv1d(*sizes)
