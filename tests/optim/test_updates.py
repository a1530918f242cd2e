"""The update rules: numbers computed by hand, and torch's own where it is installed."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim

# Two steps from w = 1 with gradients 1 and 2, worked out with pencil and paper from the equations.
BY_HAND = [
    (optim.SGD, {"lr": 0.1}, [0.9, 0.7]),
    (optim.SGD, {"lr": 0.1, "weight_decay": 0.5}, [0.85, 0.6075]),  # g = 1 + 0.5; then 2 + 0.425
    (optim.SGD, {"lr": 0.1, "momentum": 0.5}, [0.9, 0.65]),  # b = 1, then 0.5 + 2
    (optim.SGD, {"lr": 0.1, "momentum": 0.5, "dampening": 0.5}, [0.9, 0.75]),  # b = 1, then 0.5 + 0.5·2
    (optim.SGD, {"lr": 0.1, "momentum": 0.5, "nesterov": True}, [0.85, 0.525]),  # 1 + 0.5; 2 + 0.5·2.5
    # v = 0.5, then 0.25 + 2 = 2.25; lr / √v is 0.1/0.707107, then 0.2/1.5
    (optim.RMSprop, {"lr": 0.1, "alpha": 0.5, "eps": 1e-12}, [1 - 0.1 * 2**0.5, 1 - 0.1 * 2**0.5 - 0.2 / 1.5]),
    # mean 0.5, then 1.25; variances 0.25 and 2.25 - 1.5625 = 0.6875
    (
        optim.RMSprop,
        {"lr": 0.1, "alpha": 0.5, "eps": 1e-12, "centered": True},
        [0.8, 0.8 - 0.2 / 0.6875**0.5],
    ),
    # moves 1/√0.5 = √2, then 0.5·√2 + 2/1.5
    (
        optim.RMSprop,
        {"lr": 0.1, "alpha": 0.5, "eps": 1e-12, "momentum": 0.5},
        [1 - 0.1 * 2**0.5, 1 - 0.15 * 2**0.5 - 0.2 / 1.5],
    ),
    (optim.Adagrad, {"lr": 0.1, "eps": 1e-12}, [0.9, 0.9 - 0.2 / 5**0.5]),  # sums 1, then 5
    (optim.Adagrad, {"lr": 0.1, "eps": 1e-12, "lr_decay": 1.0}, [0.9, 0.9 - 0.1 / 5**0.5]),
    (optim.Adagrad, {"lr": 0.1, "eps": 1e-12, "initial_accumulator_value": 3.0}, [0.95, 0.95 - 0.2 / 8**0.5]),
    # m = 0.5, then 1.25; corrected 1 and 5/3. v = 0.25, then 1.1875; corrected 1 and 19/7
    (optim.Adam, {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-12}, [0.9, 0.9 - 0.1 * (5 / 3) / (19 / 7) ** 0.5]),
    (
        optim.AdamW,
        {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-12, "weight_decay": 0.5},
        [0.85, 0.85 * 0.95 - 0.1 * (5 / 3) / (19 / 7) ** 0.5],
    ),
]


@pytest.mark.parametrize(("kind", "options", "expected"), BY_HAND)
def test_two_steps_give_the_numbers_computed_by_hand(kind, options, expected):
    w = nn.Parameter([1.0], dtype="float64")
    opt = kind([w], **options)
    found = []
    for gradient in (1.0, 2.0):
        w.grad = tg.tensor(np.array([gradient]))
        opt.step()
        found.append(w.item())
    assert_allclose(found, expected, rtol=1e-11)  # eps = 1e-12 stands in the denominators


SETTINGS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "momentum": 0.8, "centered": True, "weight_decay": 0.01}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.2}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.95), "weight_decay": 0.1, "eps": 1e-6}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "betas": (0.7, 0.95), "weight_decay": 0.3}),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_twenty_steps_equal_those_of_torch(name, options, dtype, tolerance):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.standard_normal((4, 3)).astype(dtype)
    w = nn.Parameter(start)
    peer = torch.nn.Parameter(torch.tensor(start))
    opt = getattr(optim, name)([w], **options)
    other = getattr(torch.optim, name)([peer], **options)
    for _ in range(20):
        gradient = rng.standard_normal((4, 3)).astype(dtype)
        w.grad, peer.grad = tg.tensor(gradient), torch.tensor(gradient)
        opt.step()
        other.step()
    assert w.dtype == np.dtype(dtype)
    # twenty updates of size up to 1, each rounded a handful of times
    assert_allclose(w.numpy(), peer.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [optim.SGD, optim.RMSprop, optim.Adagrad, optim.Adam, optim.AdamW])
def test_every_optimiser_finds_the_minimum_of_a_parabola(kind):
    w = nn.Parameter([3.0, -2.0], dtype="float64")
    opt = kind([w], lr=0.5 if kind is optim.Adagrad else 0.05)
    for _ in range(400):
        opt.step([2 * (w.numpy() - np.array([1.0, 0.5]))])
    assert_allclose(w.numpy(), [1.0, 0.5], atol=0.06)


@pytest.mark.parametrize("kind", [optim.SGD, optim.RMSprop, optim.Adagrad, optim.Adam, optim.AdamW])
def test_numpy_scalars_as_options_keep_single_precision(kind):
    w = nn.Parameter([1.0])
    opt = kind([w], lr=np.float64(0.1), weight_decay=np.float64(0.1))
    opt.step([np.ones(1, np.float32)])
    opt.step([np.ones(1, np.float32)])
    assert {str(a.dtype) for name, a in opt.state_dict()["state"].items() if "step" not in name} <= {"float32"}
