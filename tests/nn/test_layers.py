"""Linear, Embedding, Dropout, LayerNorm and Sequential: values, gradients and errors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, DTypeError, IndexingError, ShapeError
from tinygrad_rnn.random import generator_state, set_generator_state


def rng():
    return np.random.default_rng(0)


def test_linear_is_x_times_weight_transposed_plus_bias():
    layer = nn.Linear(3, 2, rng=0, dtype="float64")
    x = rng().standard_normal((4, 5, 3))
    assert_allclose(layer(tg.tensor(x)).numpy(), x @ layer.weight.numpy().T + layer.bias.numpy(), rtol=1e-14)
    assert layer(tg.tensor(x[0, 0])).shape == (2,)


def test_linear_gradients_are_those_of_the_formula():
    layer = nn.Linear(3, 2, rng=0, dtype="float64")
    x, g = rng().standard_normal((4, 3)), rng().standard_normal((4, 2))
    with tg.Tape():
        y = layer(tg.tensor(x))
        y.backward(g)
    assert_allclose(layer.weight.grad.numpy(), g.T @ x, rtol=1e-13)
    assert_allclose(layer.bias.grad.numpy(), g.sum(0), rtol=1e-13)


def test_linear_without_bias_has_one_parameter():
    layer = nn.Linear(3, 2, bias=False, rng=0)
    assert list(layer.state_dict()) == ["weight"] and layer.bias is None
    assert layer(tg.tensor([0.0, 0.0, 0.0])).tolist() == [0.0, 0.0]
    assert "bias=False" in repr(layer)


def test_linear_takes_an_empty_batch():
    assert nn.Linear(3, 2, rng=0)(tg.tensor(np.zeros((0, 3), np.float32))).shape == (0, 2)


def test_linear_starts_inside_one_over_root_of_in_features():
    layer = nn.Linear(16, 50, rng=0)
    assert np.abs(layer.weight.numpy()).max() <= 0.25 and np.abs(layer.bias.numpy()).max() <= 0.25
    assert_array_equal(layer.weight.numpy(), nn.Linear(16, 50, rng=0).weight.numpy())


def test_linear_names_the_sizes_it_expected_and_got():
    layer = nn.Linear(3, 2, rng=0)
    with pytest.raises(ShapeError, match=r"expected an input of shape \(\.\.\., 3\); got \(4, 5\).*test_layers"):
        layer(tg.tensor(np.zeros((4, 5), np.float32)))
    with pytest.raises(ShapeError, match="Add an axis"):
        layer(tg.tensor(1.0))
    with pytest.raises(DTypeError, match="int64.*astype"):
        layer(tg.tensor([1, 2, 3]))
    with pytest.raises(DTypeError, match="got a list"):
        layer([1.0, 2.0, 3.0])
    for sizes in ((0, 2), (3, -1), (3.0, 2), (True, 2)):
        with pytest.raises(ArgumentError, match="integer of at least 1"):
            nn.Linear(*sizes)


def test_embedding_looks_rows_up_and_adds_gradients_of_repeated_ids():
    layer = nn.Embedding(4, 3, rng=0, dtype="float64")
    ids = np.array([[1, 2, 1], [3, 1, 2]])
    with tg.Tape():
        y = layer(tg.tensor(ids))
        tg.sum(y).backward()
    assert_array_equal(y.numpy(), layer.weight.numpy()[ids])
    assert layer.weight.grad.numpy()[:, 0].tolist() == [0.0, 3.0, 2.0, 1.0]


def test_embedding_takes_arrays_and_lists_of_integers_and_no_ids_at_all():
    layer = nn.Embedding(4, 3, rng=0)
    assert layer(np.array([1, 2], dtype=np.int32)).shape == (2, 3)
    assert layer([1, 2, 3]).shape == (3, 3)
    assert layer(np.zeros((0, 5), np.int64)).shape == (0, 5, 3)


@pytest.mark.parametrize("padding_idx", [0, -4])
def test_the_padding_vector_is_zero_and_gets_no_gradient(padding_idx):
    layer = nn.Embedding(4, 3, padding_idx=padding_idx, rng=0)
    with tg.Tape():
        y = layer(tg.tensor([0, 1, 0]))
        tg.sum(y).backward()
    assert y.numpy()[0].tolist() == [0.0] * 3
    assert layer.weight.grad.numpy()[:2].tolist() == [[0.0] * 3, [1.0] * 3]


def test_embedding_says_which_ids_it_can_look_up():
    layer = nn.Embedding(4, 3, rng=0)
    with pytest.raises(IndexingError, match="from 0 to 3; got ids from 1 to 4.*test_layers"):
        layer(tg.tensor([1, 4]))
    with pytest.raises(IndexingError, match="got ids from -1 to 2"):
        layer(tg.tensor([-1, 2]))
    with pytest.raises(DTypeError, match="float32.*astype"):
        layer(tg.tensor([1.0, 2.0]))
    with pytest.raises(DTypeError, match="bool"):
        layer(tg.tensor([True]))
    with pytest.raises(ArgumentError, match="padding_idx"):
        nn.Embedding(4, 3, padding_idx=4)


def test_dropout_keeps_the_mean_and_drops_the_share_p():
    layer = nn.Dropout(0.25, rng=0)
    y = layer(tg.tensor(np.ones(40_000, np.float32))).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 40_000)
    assert y.dtype == np.float32


def test_dropout_passes_gradients_where_it_passed_values():
    layer = nn.Dropout(0.5, rng=0)
    x = tg.tensor(np.ones(20))
    with tg.Tape() as tape:
        y = layer(x)
        total = y * tg.tensor(np.ones(20))
    assert_array_equal(tape.gradient(total, x, cotangent=np.ones(20)).numpy(), y.numpy())


def test_dropout_does_nothing_in_evaluation_and_zeroes_all_at_one():
    x = tg.tensor([1.0, 2.0])
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert nn.Dropout(1.0)(x).tolist() == [0.0, 0.0]


def test_the_state_of_dropout_can_be_saved_and_continued():
    model = nn.Sequential(nn.Dropout(0.5, rng=1), nn.Dropout(0.5, rng=2))
    x = tg.tensor(np.ones(50))
    model(x)
    saved = {name: generator_state(each) for name, each in model.named_generators()}
    assert list(saved) == ["0.rng", "1.rng"]
    expected = model(x).numpy()
    for name, each in model.named_generators():
        set_generator_state(each, saved[name])
    assert_array_equal(model(x).numpy(), expected)


def test_dropout_names_what_is_wrong():
    for p in (-0.1, 1.5, "half", float("nan"), True):
        with pytest.raises(ArgumentError, match="from 0 to 1"):
            nn.Dropout(p)
    with pytest.raises(DTypeError, match="int64"):
        nn.Dropout(0.5)(tg.tensor([1, 2]))


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 6)])
def test_layer_norm_normalises_the_last_axes(shape):
    normalized = shape if shape == (2, 6) else (6,)
    layer = nn.LayerNorm(normalized, dtype="float64")
    layer.weight.assign(rng().standard_normal(normalized))
    layer.bias.assign(rng().standard_normal(normalized))
    x = rng().standard_normal((4, *shape))
    axes = tuple(range(-len(normalized), 0))
    z = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    assert_allclose(layer(tg.tensor(x)).numpy(), z * layer.weight.numpy() + layer.bias.numpy(), rtol=1e-11, atol=1e-13)


def test_layer_norm_without_parameters():
    layer = nn.LayerNorm(4, elementwise_affine=False)
    assert list(layer.parameters()) == []
    y = layer(tg.tensor([[1.0, 2.0, 3.0, 4.0]])).numpy()
    assert abs(y.mean()) < 1e-6
    scaled = nn.LayerNorm(4, bias=False)
    assert list(scaled.state_dict()) == ["weight"]
    assert_allclose(scaled(tg.tensor([[1.0, 2.0, 3.0, 4.0]])).numpy(), y, rtol=1e-6)


def test_layer_norm_names_the_shape_it_expected():
    with pytest.raises(ShapeError, match=r"\(\.\.\., 4\); got \(2, 3\)"):
        nn.LayerNorm(4)(tg.tensor(np.zeros((2, 3), np.float32)))
    with pytest.raises(DTypeError, match="int64"):
        nn.LayerNorm(2)(tg.tensor([1, 2]))
    with pytest.raises(ArgumentError, match="eps"):
        nn.LayerNorm(2, eps=0)
    with pytest.raises(ArgumentError, match="at least one axis"):
        nn.LayerNorm(())


def test_sequential_runs_modules_and_functions_in_order():
    model = nn.Sequential(nn.Linear(2, 3, rng=0), tg.tanh, nn.Linear(3, 1, rng=1))
    x = tg.tensor([[1.0, 2.0]])
    by_hand = model[2](tg.tanh(model[0](x)))
    assert_array_equal(model(x).numpy(), by_hand.numpy())
    assert len(model) == 3 and [name for name, _ in model.named_children()] == ["0", "2"]
    assert "1: tanh" in repr(model)


def test_sequential_names_layers_by_the_keys_of_a_dict():
    model = nn.Sequential({"inner": nn.Linear(2, 3, rng=0), "outer": nn.Linear(3, 1, rng=0)})
    assert list(model.state_dict()) == ["inner.weight", "inner.bias", "outer.weight", "outer.bias"]


def test_sequential_refuses_what_it_cannot_call():
    with pytest.raises(ArgumentError, match="layer 1 must be a Module or a function; got a int"):
        nn.Sequential(tg.tanh, 3)
    with pytest.raises(ArgumentError, match='cannot name a layer "forward"'):
        nn.Sequential({"forward": tg.tanh})


def test_an_empty_sequential_returns_its_input():
    x = tg.tensor([1.0])
    assert nn.Sequential()(x) is x
