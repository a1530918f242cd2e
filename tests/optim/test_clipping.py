"""Clipping: one scale for all gradients, no overflow on the way, and no silent NaN."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import ArgumentError, GradientError


def parameters():
    a, b, unused = nn.Parameter([1.0, 1.0]), nn.Parameter([[1.0]]), nn.Parameter([5.0])
    a.grad, b.grad = tg.tensor([2.0, 3.0]), tg.tensor([[6.0]])
    return [a, b, unused]


def test_clipping_by_norm_scales_all_gradients_alike():
    listed = parameters()
    assert optim.clip_grad_norm(listed, 3.5) == 7.0
    assert listed[0].grad.tolist() == [1.0, 1.5] and listed[1].grad.tolist() == [[3.0]]
    assert listed[2].grad is None
    assert listed[0].grad.dtype == np.float32


@pytest.mark.parametrize("limit", [7.0, 100.0, math.inf])
def test_a_norm_within_the_limit_changes_nothing(limit):
    listed = parameters()
    before = [each.grad for each in listed]
    assert optim.clip_grad_norm(listed, limit) == 7.0
    assert all(now.grad is then for now, then in zip(listed, before))


def test_clipping_equals_that_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype("float32") for shape in ((5, 4), (7,))]
    peers = [torch.nn.Parameter(torch.zeros(a.shape)) for a in arrays]
    for peer, array in zip(peers, arrays):
        peer.grad = torch.tensor(array)
    expected = float(torch.nn.utils.clip_grad_norm_(peers, 0.5))
    clipped, norm = optim.clip_by_norm(arrays, 0.5)
    assert_allclose(norm, expected, rtol=1e-6)
    for mine, peer in zip(clipped, peers):
        assert_allclose(mine, peer.grad.numpy(), rtol=1e-5)  # torch adds 1e-6 to the norm


def test_the_functional_form_returns_new_gradients_in_the_same_structure():
    gradients = {"a": tg.tensor([3.0]), "b": tg.tensor([4.0]), "c": None}
    clipped, norm = optim.clip_by_norm(gradients, 2.5)
    assert norm == 5.0 and list(clipped) == ["a", "b", "c"] and clipped["c"] is None
    assert clipped["b"].tolist() == [2.0] and gradients["b"].tolist() == [4.0]
    clipped, _ = optim.clip_by_norm((tg.tensor([3.0]), tg.tensor([4.0])), 2.5)
    assert isinstance(clipped, tuple) and clipped[0].tolist() == [1.5]


def test_a_module_can_be_given():
    class Two(nn.Module):
        def __init__(self):
            self.a, self.b, _ = parameters()

    model = Two()
    assert optim.clip_grad_norm(model, 3.5) == 7.0
    optim.clip_grad_value(model, 1.25)
    assert model.a.grad.tolist() == [1.0, 1.25] and model.b.grad.tolist() == [[1.25]]


def test_large_entries_do_not_overflow():
    assert_allclose(optim.global_norm([np.full(4, 1e30, np.float32)]), 2e30, rtol=1e-6)
    assert_allclose(optim.global_norm([np.full(4, 1e200), np.zeros(3)]), 2e200, rtol=1e-14)
    clipped, _ = optim.clip_by_norm([np.full(4, 1e300)], 1.0)
    assert_allclose(clipped[0], np.full(4, 0.5), rtol=1e-14)
    assert optim.global_norm([]) == 0.0 and optim.global_norm([np.zeros((0, 3))]) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_raises_and_names_the_gradient(bad):
    gradients = {"fine": tg.tensor([1.0]), "broken": tg.tensor([1.0, bad])}
    with pytest.raises(GradientError, match="entries of broken are not finite"):
        optim.clip_by_norm(gradients, 1.0)
    same, norm = optim.clip_by_norm(gradients, 1.0, error_if_nonfinite=False)
    assert same is gradients and not math.isfinite(norm)


def test_clipping_by_value_limits_every_entry():
    listed = parameters()
    optim.clip_grad_value(listed, 2.5)
    assert listed[0].grad.tolist() == [2.0, 2.5] and listed[1].grad.tolist() == [[2.5]]
    assert listed[2].grad is None
    assert math.isnan(optim.clip_by_value([np.array([math.nan])], 1.0)[0][0])


def test_impossible_limits_and_gradients_raise():
    for limit in (0, -1.0, math.nan, "1"):
        with pytest.raises(ArgumentError, match="max_norm must be above 0"):
            optim.clip_grad_norm(parameters(), limit)
        with pytest.raises(ArgumentError, match="limit must be above 0"):
            optim.clip_grad_value(parameters(), limit)
    with pytest.raises(ArgumentError, match="there is clip_by_norm"):
        optim.clip_grad_norm({"a": tg.tensor([1.0])}, 1.0)
    with pytest.raises(ArgumentError, match="expected Parameters; got a float"):
        optim.clip_grad_norm([1.0], 1.0)
    with pytest.raises(ArgumentError, match="a dict or a list of gradients; got a Tensor"):
        optim.clip_by_norm(tg.tensor([1.0]), 1.0)
    with pytest.raises(ArgumentError, match="Tensor or an array; got a float"):
        optim.clip_by_norm([1.0], 1.0)
