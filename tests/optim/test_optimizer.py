"""Optimizer: groups, gradients from outside, saving, and errors that change nothing."""

import copy
import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError, StateDictError

KINDS = [
    (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (optim.RMSprop, {"momentum": 0.9, "centered": True}),
    (optim.Adagrad, {"lr_decay": 0.1}),
    (optim.Adam, {"weight_decay": 0.1}),
    (optim.AdamW, {}),
]


class Pair(nn.Module):
    def __init__(self):
        self.a = nn.Parameter([1.0, 2.0])
        self.b = nn.Parameter([[3.0]])


def gradients(step):
    rng = np.random.default_rng(step)
    return {"a": rng.standard_normal(2).astype("float32"), "b": rng.standard_normal((1, 1)).astype("float32")}


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_restored_optimiser_continues_bit_for_bit(kind, options):
    model = Pair()
    opt = kind(model, lr=0.1, **options)
    for t in range(3):
        opt.step(gradients(t))
    weights, saved = model.state_dict(), opt.state_dict()
    json.dumps(saved["groups"])
    for t in range(3, 6):
        opt.step(gradients(t))

    again = Pair()
    again.load_state_dict(weights)
    other = kind(again, lr=0.7, **options)
    other.load_state_dict({**saved, "groups": json.loads(json.dumps(saved["groups"]))})
    for t in range(3, 6):
        other.step(gradients(t))
    for name, array in model.state_dict().items():
        assert_array_equal(again.state_dict()[name], array)


def test_saved_state_is_a_copy():
    model = Pair()
    opt = optim.Adam(model)
    opt.step(gradients(0))
    saved = opt.state_dict()
    kept = {name: array.copy() for name, array in saved["state"].items()}
    opt.step(gradients(1))
    other = optim.Adam(Pair())
    other.load_state_dict(saved)
    other.step(gradients(2))
    for name, array in kept.items():
        assert_array_equal(saved["state"][name], array)


def test_gradients_may_be_given_by_parameter_by_name_or_in_order():
    results = []
    for form in ("grad", "names", "parameters", "list"):
        model = Pair()
        opt = optim.SGD(model.named_parameters(), lr=0.5)
        a, b = tg.tensor([1.0, 1.0]), tg.tensor([[2.0]])
        if form == "grad":
            model.a.grad, model.b.grad = a, b
            opt.step()
        else:
            opt.step({"names": {"a": a, "b": b}, "parameters": {model.b: b, model.a: a}, "list": [a, b]}[form])
        results.append((model.a.tolist(), model.b.tolist()))
    assert results == [([0.5, 1.5], [[2.0]])] * 4


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_parameter_without_a_gradient_stays_as_it_is(kind, options):
    model = Pair()
    opt = kind(model, lr=0.1, **options)
    opt.step({"a": np.ones(2, np.float32), "b": None})
    opt.step({"a": np.ones(2, np.float32)})
    assert model.b.item() == 3.0 and model.b not in opt.state
    model.a.grad = None
    before = model.a.tolist()
    opt.step()
    assert model.a.tolist() == before


def test_groups_have_options_of_their_own():
    model = Pair()
    opt = optim.SGD([{"params": [model.a]}, {"params": model.b, "lr": 1.0}], lr=0.5)
    opt.step([np.ones(2, np.float32), np.ones((1, 1), np.float32)])
    assert model.a.tolist() == [0.5, 1.5] and model.b.item() == 2.0
    opt.param_groups[0]["lr"] = 1.0
    opt.add_param_group({"params": [nn.Parameter([0.0])]})
    assert len(opt.parameters()) == 3 and opt.param_groups[2]["lr"] == 0.5
    assert "lr=1.0" in repr(opt)


def test_a_tape_keeps_the_values_from_before_a_step():
    w = nn.Parameter([3.0])
    opt = optim.SGD([w], lr=0.5)
    with tg.Tape() as tape:
        y = w * w
        opt.step({w: tape.gradient(y, w)})
        assert w.item() == 0.0
        assert tape.gradient(y, w).item() == 6.0


def test_the_gradient_given_may_be_written_to_afterwards():
    w = nn.Parameter([1.0])
    opt = optim.SGD([w], lr=0.5, momentum=0.5)
    g = np.ones(1, np.float32)
    opt.step([g])
    g[:] = 100
    opt.step([np.ones(1, np.float32)])
    assert w.item() == 1 - 0.5 - 0.75


def test_zero_grad_forgets_every_gradient():
    model = Pair()
    model.a.grad = tg.tensor([1.0, 1.0])
    optim.SGD(model).zero_grad()
    assert model.a.grad is None


def test_a_model_that_was_cast_keeps_its_optimiser():
    model = Pair()
    opt = optim.Adam(model)
    opt.step(gradients(0))
    model.astype("float64")
    opt.step({name: g.astype("float64") for name, g in gradients(1).items()})
    assert {str(a.dtype) for name, a in opt.state_dict()["state"].items() if "step" not in name} == {"float64"}


def test_a_failed_step_changes_nothing():
    model = Pair()
    opt = optim.Adam(model)
    before = model.state_dict()
    with pytest.raises(ShapeError, match=r"shape \(1, 1\) got a gradient of shape \(3,\)"):
        opt.step({"a": np.ones(2, np.float32), "b": np.ones(3, np.float32)})
    with pytest.raises(DTypeError, match="got a float"):
        opt.step({"a": np.ones(2, np.float32), "b": 1.0})
    assert not opt.state
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])


def test_gradients_that_belong_to_nobody_raise():
    model = Pair()
    with pytest.raises(ArgumentError, match="'c'.*Names it knows: a, b"):
        optim.SGD(model).step({"c": np.ones(2)})
    with pytest.raises(ArgumentError, match="none: make the optimiser of model.named_parameters"):
        optim.SGD(model.parameters()).step({"a": np.ones(2)})
    with pytest.raises(ArgumentError, match="no parameter of this optimiser"):
        optim.SGD(model).step({nn.Parameter([1.0]): np.ones(1)})
    with pytest.raises(ArgumentError, match="list of 2, one for each parameter; got 1"):
        optim.SGD(model).step([np.ones(2)])
    with pytest.raises(ArgumentError, match="got a int"):
        optim.SGD(model).step(3)


def test_parameters_that_cannot_be_optimised_raise():
    model = Pair()
    with pytest.raises(ArgumentError, match="no parameters.*used up"):
        optim.SGD([])
    with pytest.raises(ArgumentError, match="no parameters"):
        optim.SGD([{"params": []}])
    with pytest.raises(ArgumentError, match="got a Tensor. Make it one: nn.Parameter"):
        optim.SGD([tg.tensor([1.0])])
    with pytest.raises(ArgumentError, match="twice"):
        optim.SGD([model.a, model.a])
    with pytest.raises(ArgumentError, match="twice"):
        optim.SGD([{"params": [model.a]}, {"params": [model.b, model.a]}])
    with pytest.raises(ArgumentError, match='two Parameters named "a"'):
        optim.SGD([*model.named_parameters(), *Pair().named_parameters()])
    with pytest.raises(ArgumentError, match='two Parameters named "a"'):
        optim.SGD([{"params": model}, {"params": Pair()}])
    with pytest.raises(ArgumentError, match="expected a Module.*got a Parameter"):
        optim.SGD(model.a)
    with pytest.raises(ArgumentError, match="got a method"):
        optim.SGD(model.parameters)
    with pytest.raises(ArgumentError, match="no option 'learning_rate'; it has lr"):
        optim.SGD([{"params": [model.a], "learning_rate": 1.0}])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (optim.SGD, {"lr": 0.0}, "lr must be a number above 0; got 0.0"),
        (optim.SGD, {"lr": -1.0}, "lr must be"),
        (optim.SGD, {"lr": float("nan")}, "lr must be"),
        (optim.SGD, {"lr": "fast"}, "lr must be"),
        (optim.SGD, {"momentum": -0.1}, "momentum must be a number of at least 0"),
        (optim.SGD, {"weight_decay": -0.1}, "weight_decay"),
        (optim.SGD, {"nesterov": True}, "nesterov needs momentum"),
        (optim.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening 0"),
        (optim.RMSprop, {"alpha": 1.0}, r"alpha must be a number in \[0, 1\)"),
        (optim.RMSprop, {"eps": 0.0}, "eps"),
        (optim.Adagrad, {"initial_accumulator_value": -1.0}, "initial_accumulator_value"),
        (optim.Adam, {"betas": (0.9, 1.0)}, r"betas\[1\] must be a number in \[0, 1\); got 1.0"),
        (optim.Adam, {"betas": (-0.1, 0.9)}, r"betas\[0\]"),
        (optim.AdamW, {"betas": 0.9}, "two numbers"),
    ],
)
def test_options_out_of_range_raise(kind, options, message):
    with pytest.raises(ArgumentError, match=message):
        kind([nn.Parameter([1.0])], **options)


def test_a_state_that_does_not_fit_lists_every_difference_and_changes_nothing():
    model = Pair()
    opt = optim.Adam(model)
    opt.step(gradients(0))
    saved = opt.state_dict()
    bad = copy.deepcopy(saved)
    bad["kind"] = "SGD"
    bad["groups"][0]["params"] = [0]
    del bad["groups"][0]["betas"]
    bad["state"]["0.mean"] = np.zeros(5)
    bad["state"]["7.mean"] = np.zeros(5)
    with pytest.raises(StateDictError) as caught:
        opt.load_state_dict(bad)
    text = str(caught.value)
    for part in ("expected Adam, got SGD", "expected [2], got [1]", "missing betas",
                 "'0.mean': expected shape (2,), got (5,)", "'7.mean': there is no such parameter"):  # fmt: skip
        assert part in text
    for name, array in opt.state_dict()["state"].items():
        assert_array_equal(array, saved["state"][name])
    with pytest.raises(StateDictError, match="kind, groups and state"):
        opt.load_state_dict({})


def test_model_and_optimiser_pickled_together_stay_together():
    model = Pair()
    opt = optim.Adam(model, lr=0.1)
    opt.step(gradients(0))
    twin, other = pickle.loads(pickle.dumps((model, opt)))
    opt.step(gradients(1))
    other.step(gradients(1))
    assert twin.a.tolist() == model.a.tolist() and other.parameters()[0] is twin.a
