"""Residual blocks: shapes, orders of operations, shortcuts, initial values and errors."""

import numpy as np
import pytest
from helpers import assert_gradients, close
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_residual_adds_the_input_to_the_output_of_anything():
    f = nn.Linear(3, 3, rng=0, dtype="float64")
    x = tg.tensor(normal(5, 3))
    assert_array_equal(nn.Residual(f)(x).numpy(), x.numpy() + f(x).numpy())
    projection = nn.Linear(3, 2, rng=1, dtype="float64")
    block = nn.Residual(lambda x: x[:, :2], projection)
    assert_array_equal(block(x).numpy(), projection(x).numpy() + x.numpy()[:, :2])
    assert [name for name, _ in block.named_parameters()] == ["shortcut.weight", "shortcut.bias"]


def test_shapes_that_a_shortcut_cannot_join_are_named():
    x = tg.zeros((5, 3))
    with pytest.raises(
        ShapeError, match=r"Residual cannot join a shortcut of shape \(5, 3\) and a branch of shape \(5, 1\)"
    ):
        nn.Residual(nn.Linear(3, 1, rng=0))(x)  # which broadcasting would let pass
    with pytest.raises(ShapeError, match="nn.PaddedShortcut.*test_residual"):
        nn.Residual(nn.Linear(3, 4, rng=0))(x)
    with pytest.raises(ArgumentError, match="Residual f must be a Module or a function; got a int"):
        nn.Residual(3)
    with pytest.raises(ArgumentError, match="Residual shortcut"):
        nn.Residual(tg.tanh, 3)
    with pytest.raises(ArgumentError, match="from 0 to 1"):
        nn.Residual(tg.tanh, drop=1.5)


@pytest.mark.parametrize("shortcut", ["projection", "padded"])
def test_the_mlp_block_can_change_the_number_of_features(shortcut):
    block = nn.ResidualMLPBlock(3, 7, 5, shortcut=shortcut, rng=0, dtype="float64")
    x = tg.tensor(normal(2, 4, 3))
    y = block(x)
    assert y.shape == (2, 4, 5)
    if shortcut == "padded":
        assert_array_equal(y.numpy(), np.pad(x.numpy(), [(0, 0), (0, 0), (0, 2)]))
    else:
        close(y, x.numpy() @ block.shortcut.weight.numpy().T, factor=3)


def test_the_mlp_block_normalises_what_its_branch_reads_only():
    block = nn.ResidualMLPBlock(3, normalize=True, rng=0, dtype="float64")
    x = tg.tensor(100 * normal(2, 3))
    assert_array_equal(block(x).numpy(), x.numpy())
    names = ["norm.weight", "norm.bias", "first.weight", "first.bias", "second.weight", "second.bias"]
    assert list(block.state_dict()) == names


def test_gradients_of_the_mlp_block_agree_with_differences():
    block = nn.ResidualMLPBlock(3, 4, 5, activation=tg.tanh, normalize=True, zero_init=False, rng=0, dtype="float64")
    assert_gradients(block, normal(2, 3), factor=512)


def conv(x, layer, **options):
    return tg.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2, **options)


def test_the_original_order_is_convolution_norm_activation_and_a_last_activation():
    """He et al. 2016a, figure 2 and section 4.2."""
    block = nn.ResidualConvBlock(2, 4, stride=2, preactivation=False, zero_init=False, rng=0, dtype="float64")
    x = tg.tensor(normal(3, 2, 5, 5))
    (w1, w2), (n1, n2) = block.convolutions, block.norms
    inner = tg.relu(n1(conv(x, w1, stride=2)))
    kept = block.shortcut[1](tg.conv2d(x, block.shortcut[0].weight, stride=2))
    assert_array_equal(block(x).numpy(), tg.relu(kept + n2(conv(inner, w2))).numpy())
    assert all(layer.bias is None for layer in block.convolutions)


def test_the_pre_activation_order_is_norm_activation_convolution_and_nothing_after_the_sum():
    """He et al. 2016b, figure 1 (b)."""
    block = nn.ResidualConvBlock(2, 4, stride=2, zero_init=False, rng=0, dtype="float64")
    x = tg.tensor(normal(3, 2, 5, 5))
    (w1, w2), (n1, n2) = block.convolutions, block.norms
    inner = conv(tg.relu(n1(x)), w1, stride=2)
    kept = tg.conv2d(x, block.shortcut.weight, stride=2)
    assert_array_equal(block(x).numpy(), (kept + conv(tg.relu(n2(inner)), w2)).numpy())


def test_a_bottleneck_has_a_quarter_of_the_channels_inside():
    """He et al. 2016a, figure 5."""
    block = nn.ResidualConvBlock(8, 16, stride=2, kind="bottleneck", rng=0)
    assert [layer.weight.shape for layer in block.convolutions] == [(4, 8, 1, 1), (4, 4, 3, 3), (16, 4, 1, 1)]
    assert [layer.stride for layer in block.convolutions] == [1, 2, 1]
    assert block(tg.zeros((2, 8, 6, 6))).shape == (2, 16, 3, 3)


@pytest.mark.parametrize("preactivation", [True, False])
@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_without_norms_the_convolutions_have_biases_and_the_block_still_starts_as_its_shortcut(kind, preactivation):
    block = nn.ResidualConvBlock(4, kind=kind, preactivation=preactivation, normalize=False, rng=0, dtype="float64")
    x = np.abs(normal(2, 4, 5, 5))  # which the last relu of the original order lets pass
    assert all(layer.bias is not None for layer in block.convolutions)
    assert_array_equal(block(tg.tensor(x)).numpy(), x)


def test_a_block_in_the_original_order_starts_as_the_last_activation_of_its_shortcut():
    block = nn.ResidualConvBlock(4, preactivation=False, rng=0, dtype="float64")
    x = tg.tensor(normal(2, 4, 5, 5))
    assert_array_equal(block(x).numpy(), tg.relu(x).numpy())


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
@pytest.mark.parametrize("preactivation", [True, False])
def test_gradients_of_the_convolution_blocks_agree_with_differences(kind, preactivation):
    block = nn.ResidualConvBlock(
        2, 4, stride=2, kind=kind, preactivation=preactivation, activation=tg.tanh, zero_init=False, rng=0,
        dtype="float64",
    )  # fmt: skip
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm):
            norm.eps = 0.5
    assert_gradients(block, normal(2, 2, 3, 3), order=1, factor=512)


def test_a_padded_shortcut_takes_every_other_entry_and_adds_channels_of_zeros():
    x = normal(2, 3, 5, 4)
    y = nn.PaddedShortcut(3, 4, 2)(tg.tensor(x)).numpy()
    assert_array_equal(y[:, :3], x[:, :, ::2, ::2])
    assert_array_equal(y[:, 3:], np.zeros((2, 1, 3, 2)))
    block = nn.ResidualConvBlock(3, 4, stride=2, shortcut="padded", rng=0, dtype="float64")
    assert_array_equal(block(tg.tensor(x)).numpy(), y)
    assert_gradients(nn.PaddedShortcut(3, 4, 2), x)


def test_stochastic_depth_drops_the_branch_of_whole_examples():
    block = nn.ResidualMLPBlock(3, zero_init=False, drop=0.5, rng=0, dtype="float64")
    x = tg.tensor(normal(200, 3))
    y, branch = block(x).numpy(), block.branch(x).numpy()
    dropped = (y == x.numpy()).all(1)
    assert abs(dropped.mean() - 0.5) < 5 * np.sqrt(0.25 / 200)
    assert_array_equal(y[~dropped], (x.numpy() + 2 * branch)[~dropped])
    assert_array_equal(block.eval()(x).numpy(), x.numpy() + branch)
    assert [name for name, _ in block.named_generators()] == ["drop.rng"]


def test_a_highway_block_is_its_equation():
    """y = T H + (1 - T) x. [Srivastava, Greff & Schmidhuber 2015, eq. 3]"""
    block = nn.HighwayBlock(3, activation=tg.tanh, rng=0, dtype="float64")
    x = normal(4, 3)
    t = tg.sigmoid(block.gate(tg.tensor(x))).numpy()
    h = tg.tanh(block.transform(tg.tensor(x))).numpy()
    close(block(tg.tensor(x)), t * h + (1 - t) * x, factor=8)
    assert block.gate.bias.tolist() == [-2.0] * 3
    assert_gradients(block, x)


def test_a_residual_mlp_is_made_of_blocks_and_has_a_plain_twin():
    options = {"width": 6, "blocks": 4, "zero_init": False, "rng": 0, "dtype": "float64"}
    model, plain = nn.ResidualMLP(2, 3, **options), nn.ResidualMLP(2, 3, residual=False, **options)
    x = tg.tensor(normal(5, 2))
    assert model(x).shape == plain(x).shape == (5, 3)
    for ours, theirs in zip(model.parameters(), plain.parameters()):
        assert_array_equal(ours.numpy(), theirs.numpy())
    h = model[0](x)
    for block in list(model)[1:-1]:
        h = block.branch(h)
    assert_array_equal(plain(x).numpy(), model[-1](h).numpy())
    assert next(iter(model.state_dict())) == "first.weight"


def test_drop_grows_in_equal_steps_to_the_last_block():
    model = nn.ResidualMLP(2, 3, blocks=4, drop=0.4, rng=0)
    assert [block.drop.p for block in list(model)[1:-1]] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    net = nn.ResNet(1, 3, widths=(4, 4), blocks=(1, 3), drop=0.4, rng=0)
    found = [layer.drop.p for layer in net if isinstance(layer, nn.ResidualConvBlock)]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("preactivation", [True, False])
@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
@pytest.mark.parametrize("residual", [True, False])
def test_a_resnet_halves_the_image_from_stage_to_stage(preactivation, kind, residual):
    model = nn.ResNet(
        1, 10, widths=(4, 8, 12), blocks=(1, 2, 1), kind=kind, preactivation=preactivation, residual=residual, rng=0
    )
    x = tg.tensor(normal(2, 1, 8, 8).astype("float32"))
    sizes = []
    h = x
    for layer in model:
        h = layer(h)
        if isinstance(layer, nn.ResidualConvBlock) or hasattr(layer, "block"):
            sizes.append(h.shape)
    assert sizes == [(2, 4, 8, 8), (2, 8, 4, 4), (2, 8, 4, 4), (2, 12, 2, 2)]
    assert h.shape == (2, 10)
    with tg.Tape() as tape:
        loss = tg.cross_entropy(model(x), tg.tensor([0, 1]))
    gradients = tape.gradient(loss, list(model.parameters()))
    assert all(np.isfinite(each.numpy()).all() for each in gradients)


def test_the_blocks_name_what_is_wrong():
    with pytest.raises(ShapeError, match=r"ResidualMLPBlock expected an input of shape \(\.\.\., 3\)"):
        nn.ResidualMLPBlock(3, rng=0)(tg.zeros((2, 4)))
    with pytest.raises(ShapeError, match=r"ResidualConvBlock expected an input of shape \(batch, 3, height, width\)"):
        nn.ResidualConvBlock(3, rng=0)(tg.zeros((2, 4, 5, 5)))
    with pytest.raises(DTypeError, match="int64"):
        nn.ResidualMLPBlock(3, rng=0)(tg.zeros((2, 3), dtype=tg.int64))
    for make in (nn.ResidualMLPBlock, nn.ResidualConvBlock):
        with pytest.raises(ArgumentError, match='"projection" or "padded"; got'):
            make(3, shortcut="none")
    with pytest.raises(ArgumentError, match="cannot join 3 to 2"):
        nn.ResidualMLPBlock(3, 4, 2, shortcut="padded")
    with pytest.raises(ArgumentError, match="cannot join 4 to 2; use a projection"):
        nn.ResidualConvBlock(4, 2, shortcut="padded")
    with pytest.raises(ArgumentError, match='kind must be "basic"'):
        nn.ResidualConvBlock(4, kind="wide")
    with pytest.raises(ArgumentError, match="4 does not divide 6"):
        nn.ResidualConvBlock(4, 6, kind="bottleneck")
    with pytest.raises(ArgumentError, match="as many blocks"):
        nn.ResNet(1, 10, widths=(4, 8), blocks=(1, 1, 1))
    with pytest.raises(ArgumentError, match="blocks must be an integer of at least 1"):
        nn.ResidualMLP(2, 2, blocks=0)
    with pytest.raises(ArgumentError, match="drop"):
        nn.ResidualMLP(2, 2, drop=2.0)
