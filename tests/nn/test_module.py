"""Module: finding, saving, loading, moving and copying parameters."""

import pickle

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, BackendUnavailableError, DTypeError, StateDictError


class Scale(nn.Module):
    def __init__(self, value=2.0):
        self.factor = nn.Parameter([value])

    def forward(self, x):
        return self.factor * x


class Model(nn.Module):
    def __init__(self):
        self.first = Scale(2.0)
        self.layers = [Scale(3.0), Scale(4.0)]
        self.table = {"a": Scale(5.0), "rest": (Scale(6.0),)}
        self.offset = nn.Parameter([1.0])
        self.label = "a model"
        self.register_buffer("mean", np.zeros(2))

    def forward(self, x):
        for layer in (self.first, *self.layers, self.table["a"]):
            x = layer(x)
        return x + self.offset


NAMES = ["offset", "first.factor", "layers.0.factor", "layers.1.factor", "table.a.factor", "table.rest.0.factor"]


def test_parameters_are_found_in_attributes_lists_tuples_and_dicts():
    assert [name for name, _ in Model().named_parameters()] == NAMES
    assert all(isinstance(parameter, nn.Parameter) for parameter in Model().parameters())


def test_modules_are_named_with_parents_first():
    assert [name for name, _ in Model().named_modules()] == [
        "", "first", "layers.0", "layers.1", "table.a", "table.rest.0",
    ]  # fmt: skip
    assert [name for name, _ in Model().named_children()][:2] == ["first", "layers.0"]
    assert len(list(Model().children())) == 5


def test_a_shared_parameter_is_listed_once_under_its_first_name():
    a, b = Scale(), Scale()
    b.factor = a.factor
    model = nn.Sequential(a, b)
    assert [name for name, _ in model.named_parameters()] == ["0.factor"]
    assert list(model.state_dict()) == ["0.factor"]


def test_a_shared_module_and_a_circle_are_walked_once():
    model = Model()
    model.first.owner = model
    model.again = model.first
    model.layers.append(model.layers)
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert repr(model).count("Scale(") == 5
    assert len(model.state_dict()) == 7
    model.train()


def test_state_dict_returns_copies_under_the_dotted_names():
    model = Model()
    state = model.state_dict()
    assert list(state) == [*NAMES, "mean"]
    state["offset"][0] = 99
    assert model.offset.item() == 1.0


def test_load_state_dict_restores_values_and_keeps_dtypes():
    model, other = Model(), Model()
    other.offset.assign(np.array([7.0]))
    other.mean = tg.tensor([1.0, 2.0])
    state = {name: array.astype("float64") for name, array in other.state_dict().items()}
    report = model.load_state_dict(state)
    assert report == ([], [])
    assert model.offset.tolist() == [7.0] and model.offset.dtype == np.float32
    assert model.mean.tolist() == [1.0, 2.0]
    state["offset"][0] = 99
    assert model.offset.item() == 7.0


def test_load_state_dict_lists_every_difference_and_changes_nothing():
    model = Model()
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items() if name not in ("offset", "mean")}
    state["stranger"] = np.zeros(1)
    state["first.factor"] = np.zeros((2, 3))
    state["layers.0.factor"] = np.array(["text"])
    with pytest.raises(StateDictError) as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    for part in ("missing: offset, mean", "unexpected: stranger", "first.factor: expected shape (1,), got (2, 3)",
                 "layers.0.factor: expected numbers", "strict=False"):  # fmt: skip
        assert part in text
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_load_state_dict_not_strict_reports_what_it_passed_over():
    model = Model()
    report = model.load_state_dict({"offset": [5.0], "stranger": [1.0]}, strict=False)
    assert report.missing == [*NAMES[1:], "mean"] and report.unexpected == ["stranger"]
    assert model.offset.item() == 5.0
    with pytest.raises(StateDictError, match="expected shape"):
        model.load_state_dict({"offset": [5.0, 6.0]}, strict=False)
    with pytest.raises(StateDictError, match="expected a dict"):
        model.load_state_dict([1])


def test_two_parameters_under_one_name_raise_when_saved():
    model = Model()
    model.table = {1: Scale(), "1": Scale()}
    with pytest.raises(StateDictError, match="two parameters"):
        model.state_dict()


def test_train_and_eval_reach_every_module():
    model = Model()
    assert model.training and model.eval() is model
    assert not any(module.training for module in model.modules())
    assert model.train() is model and all(module.training for module in model.modules())


def test_astype_casts_parameters_gradients_and_floating_buffers_in_place():
    model = Model()
    model.register_buffer("count", np.array([3]))
    parameter = model.offset
    parameter.grad = tg.tensor([0.5])
    assert model.astype("float64") is model
    assert model.offset is parameter and parameter.requires_grad
    assert {str(p.dtype) for p in model.parameters()} == {"float64"}
    assert str(parameter.grad.dtype) == "float64" and str(model.mean.dtype) == "float64"
    assert str(model.count.dtype) == "int64"
    with pytest.raises(DTypeError, match="float32 or float64"):
        model.astype("int64")


def test_to_moves_to_a_backend_and_names_one_that_is_not_there():
    model = Model()
    assert model.to("numpy") is model and model.offset.backend == "numpy"
    with pytest.raises(BackendUnavailableError, match="no backend"):
        model.to("abacus")


def test_a_copy_shares_nothing_and_keeps_ties():
    model = Model()
    model.layers[1].factor = model.layers[0].factor
    twin = model.copy()
    twin.layers[0].factor.assign(np.array([9.0], dtype="float32"))
    assert twin.layers[1].factor.item() == 9.0
    assert model.layers[0].factor.item() == 3.0


def test_a_module_survives_pickling_with_its_values():
    model = Model().eval()
    model.layers[1].factor = model.layers[0].factor
    twin = pickle.loads(pickle.dumps(model))
    assert not twin.training and twin.layers[0].factor is twin.layers[1].factor
    for name, array in twin.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name])


def test_zero_grad_forgets_every_gradient():
    model = Model()
    with tg.Tape():
        model(tg.tensor([1.0])).backward()
    assert model.offset.grad.tolist() == [1.0] and model.first.factor.grad.tolist() == [60.0]
    assert model.table["rest"][0].factor.grad is None
    model.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_records_carry_the_names_of_modules_and_the_line_of_the_user():
    model = Model()
    with tg.Tape() as tape:
        model(tg.tensor([1.0]))
    assert [record.scope for record in tape] == [
        "Model/first", "Model/layers.0", "Model/layers.1", "Model/Scale", "Model",
    ]  # fmt: skip
    assert all(record.file == __file__ for record in tape)
    line = Scale.forward.__code__.co_firstlineno + 1
    assert [record.line for record in tape][:4] == [line] * 4


def test_a_library_module_notes_the_line_that_called_it():
    layer = nn.Linear(2, 3, rng=0)
    with tg.Tape() as tape:
        layer(tg.tensor([[1.0, 2.0]]))
    assert {record.file for record in tape} == {__file__}
    assert {record.scope for record in tape} == {"Linear"}


def test_repr_is_a_tree_with_shapes_and_a_count():
    assert repr(Model()).splitlines() == [
        "Model(offset: float32 (1,))  [6 parameters]",
        "  first: Scale(factor: float32 (1,))",
        "  layers.0: Scale(factor: float32 (1,))",
        "  layers.1: Scale(factor: float32 (1,))",
        "  table.a: Scale(factor: float32 (1,))",
        "  table.rest.0: Scale(factor: float32 (1,))",
    ]


def test_a_module_without_forward_says_what_to_write():
    class Empty(nn.Module):
        pass

    with pytest.raises(TypeError, match="Define `def forward"):
        Empty()(1)


def test_a_buffer_needs_a_name_that_can_be_an_attribute():
    with pytest.raises(ArgumentError, match="not a name"):
        Scale().register_buffer("a.b", [1.0])
