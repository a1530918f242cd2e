"""Singular values of Jacobians and gradient norms, against direct computation."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import close
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, DTypeError, GradientError, ShapeError
from tinygrad_rnn.inspect import gradient_flow, jacobian_spectrum


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def network():
    return nn.Sequential(
        nn.Linear(3, 5, rng=0, dtype="float64"), tg.tanh, nn.Linear(5, 4, rng=1, dtype="float64"), tg.tanh,
        nn.Linear(4, 2, rng=2, dtype="float64"),
    )  # fmt: skip


def test_the_spectra_are_those_of_each_examples_jacobians():
    model, x = network(), normal(6, 3)
    found = jacobian_spectrum(model, x)
    assert found.names == ["0", "2", "4"]
    parts = [model[0], lambda h: model[2](tg.tanh(h)), lambda h: model[4](tg.tanh(h))]
    for b in range(6):
        h = tg.tensor(x[b])
        for part, values in zip(parts, found.layers):
            expected = np.linalg.svd(tg.jacobian(part)(h).numpy(), compute_uv=False)
            assert_allclose(values[b], expected, rtol=1e-12)
            h = part(h)
        whole = np.linalg.svd(tg.jacobian(model)(tg.tensor(x[b])).numpy(), compute_uv=False)
        assert_allclose(found.end_to_end[b], whole, rtol=1e-10)


def test_reverse_and_forward_sweeps_give_the_same_spectrum():
    """A layer with more outputs than inputs is swept forward; its transpose, in reverse."""
    wide, narrow = nn.Linear(3, 5, rng=0, dtype="float64"), nn.Linear(5, 3, rng=0, dtype="float64")
    narrow.weight.assign(wide.weight.numpy().T.copy())
    found = [jacobian_spectrum(nn.Sequential(each), normal(2, n)).layers[0] for each, n in ((wide, 3), (narrow, 5))]
    close(*found, factor=32)
    assert_allclose(found[0][0], np.linalg.svd(wide.weight.numpy(), compute_uv=False), rtol=1e-12)


def test_blocks_that_start_as_the_identity_have_singular_values_of_one():
    model = nn.ResidualMLP(2, 2, width=5, blocks=4, rng=0, dtype="float64")
    found = jacobian_spectrum(model, normal(3, 2))
    for values in found.layers[1:-1]:
        assert_array_equal(values, np.ones((3, 5)))


def test_images_and_several_axes_count_as_one_vector():
    model = nn.ResNet(1, 3, widths=(2, 4), blocks=1, rng=0, dtype="float64")
    x = normal(2, 1, 4, 4)
    found = jacobian_spectrum(model, x)
    assert found.names == ["first", "stage0_block0", "stage1_block0", "last_norm", "last"]
    assert [values.shape for values in found.layers] == [(2, 16), (2, 32), (2, 16), (2, 16), (2, 3)]
    whole = tg.jacobian(model.eval())(tg.tensor(x[:1])).numpy().reshape(3, 16)
    assert_allclose(found.end_to_end[0], np.linalg.svd(whole, compute_uv=False), rtol=1e-10)


def test_chosen_layers_and_layers_that_run_twice():
    model = nn.ResidualMLP(2, 2, width=4, blocks=2, rng=0, dtype="float64")
    assert jacobian_spectrum(model, normal(2, 2), ["block0.first", "last"]).names == ["block0.first", "last"]
    layer = nn.Linear(3, 3, rng=0, dtype="float64")
    assert jacobian_spectrum(nn.Sequential(layer, tg.tanh, layer), normal(2, 3)).names == ["0", "0 (2)"]


def test_looking_leaves_the_model_as_it_is():
    model = nn.Sequential(
        nn.Linear(3, 4, rng=0, dtype="float64"), nn.BatchNorm(4, dtype="float64"), nn.Dropout(0.5, rng=0)
    )
    before, state = model.state_dict(), model[2].rng.bit_generator.state
    jacobian_spectrum(model, normal(5, 3))
    gradient_flow(model, normal(5, 3))
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])
    assert model[2].rng.bit_generator.state == state
    assert all(module.training for module in model.modules())
    assert "forward" not in vars(model[0])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradient_norms_are_those_of_the_tape():
    model, x, y = network(), tg.tensor(normal(6, 3)), tg.tensor(normal(6, 2, seed=1))
    found = gradient_flow(model, x, lambda out: tg.mse_loss(out, y))
    with tg.Tape() as tape:
        a = model[0](x)
        b = model[2](tg.tanh(a))
        c = model[4](tg.tanh(b))
        loss = tg.mse_loss(c, y)
    outputs = tape.gradient(loss, [a, b, c])
    assert_allclose(found.outputs, [np.linalg.norm(each.numpy()) for each in outputs], rtol=1e-12)
    assert_allclose(found.activations, [np.sqrt((each.numpy() ** 2).mean()) for each in (a, b, c)], rtol=1e-12)
    gradients = tape.gradient(loss, dict(model.named_parameters()))
    assert list(found.parameters) == list(gradients)
    norms = {name: np.linalg.norm(each.numpy()) for name, each in gradients.items()}
    assert_allclose(list(found.parameters.values()), list(norms.values()), rtol=1e-12)
    assert_allclose(found.weights[1], np.hypot(norms["2.weight"], norms["2.bias"]), rtol=1e-12)


def test_without_a_loss_a_gradient_of_norm_one_enters():
    found = gradient_flow(network(), normal(6, 3))
    assert found.outputs[-1] == pytest.approx(1)
    assert gradient_flow(network(), normal(6, 3)).outputs == found.outputs
    assert gradient_flow(network(), normal(6, 3), rng=1).outputs != found.outputs


def test_a_plain_network_loses_its_gradient_with_depth_and_a_residual_one_keeps_it():
    x = normal(4, 2)
    options = {"width": 16, "blocks": 30, "zero_init": False, "rng": 0, "dtype": "float64"}
    plain = gradient_flow(nn.ResidualMLP(2, 2, residual=False, **options), x)
    residual = gradient_flow(nn.ResidualMLP(2, 2, **options), x)
    assert plain.outputs[0] < 1e-10
    assert 0.1 < residual.outputs[0] < 1e3


def test_integers_may_enter_where_no_jacobian_is_taken():
    model = nn.Sequential(nn.Embedding(5, 3, rng=0), nn.Linear(3, 2, rng=1))
    assert gradient_flow(model, np.array([1, 2])).names == ["0", "1"]
    with pytest.raises(DTypeError, match="int64"):
        jacobian_spectrum(model, np.array([1, 2]))


def test_layers_without_parameters_and_recurrent_layers():
    model = nn.Sequential(
        tg.rnn.GRU(3, 4, batch_first=True, rng=0), lambda found: found[0][:, -1], nn.Linear(4, 2, rng=1)
    )
    found = gradient_flow(model, normal(5, 6, 3).astype("float32"))
    assert found.names == ["0", "2"]
    assert np.isnan(
        gradient_flow(nn.Sequential(nn.Linear(3, 2, rng=0), nn.MaxPool2d(1)), normal(1, 1, 2, 3)).weights[1]
    )


def test_the_tables_have_a_row_for_each_layer(tmp_path):
    model, x = network(), normal(6, 3)
    assert str(jacobian_spectrum(model, x)).splitlines()[0].split() == ["layer", "largest", "median", "smallest"]
    assert [line.split()[0] for line in str(jacobian_spectrum(model, x)).splitlines()[1:]] == ["0", "2", "4", "end"]
    assert len(str(gradient_flow(model, x)).splitlines()) == 4


def test_the_pictures_are_written_and_matplotlib_is_loaded_for_them_alone(tmp_path):
    pytest.importorskip("matplotlib")
    x = normal(3, 2)
    for model in (
        nn.ResidualMLP(2, 2, width=4, blocks=2, rng=0, dtype="float64"),
        nn.Sequential(tg.nn.Linear(2, 1, rng=0, dtype="float64")),
    ):
        for name, found in (("spectrum.png", jacobian_spectrum(model, x)), ("flow.png", gradient_flow(model, x))):
            found.save(tmp_path / name)
            assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    dead = nn.Sequential(nn.Linear(2, 2, rng=0, dtype="float64"), lambda x: x * 0.0)
    jacobian_spectrum(dead, x).save(tmp_path / "zeros.png")
    code = "import sys, tinygrad_rnn.inspect; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_they_name_what_is_wrong():
    with pytest.raises(ArgumentError, match="expected an nn.Module; got a function"):
        jacobian_spectrum(lambda x: x, normal(2, 3))
    with pytest.raises(ArgumentError, match="no layer 'third'; it has 0, 2, 4"):
        gradient_flow(network(), normal(2, 3), layers=["third"])
    with pytest.raises(ArgumentError, match="no modules that could be followed"):
        jacobian_spectrum(nn.Linear(3, 2, rng=0), normal(2, 3).astype("float32"))
    with pytest.raises(ShapeError, match="batch as the first"):
        jacobian_spectrum(nn.Sequential(nn.Linear(3, 2, rng=0), tg.sum), normal(2, 3).astype("float32"))
    with pytest.raises(GradientError, match=r"scalar Tensor; got \(2, 2\)"):
        gradient_flow(network(), normal(2, 3), lambda y: y)
