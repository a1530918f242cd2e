"""Every derivative of the library is right: both sweeps, both orders, against differences; and in float32."""

import inspect

import pytest
from laws.support import MODULES, SUBJECTS, draw_case, for_each

from tinygrad_rnn import esn, nn, rnn, training
from tinygrad_rnn.primitive import registry
from tinygrad_rnn.testing import check_gradients, domains

# a check of one of these takes a tenth of a second
SLOW = {*MODULES, "elman_sequence", "lstm_sequence", "gru_sequence", "svd", "eigh"}


@pytest.mark.parametrize(
    "name", [name for name, primitive in registry.items() if primitive.differentiable and primitive.builtin]
)
def test_every_differentiable_primitive_has_a_domain(name):
    assert name not in domains.missing(), f'add a row for "{name}" to tinygrad_rnn/testing/domain_table.py'


# modules without a case of their own, and why
WITHOUT = {
    **dict.fromkeys(["Module", "Sequential", "ResNet", "ResidualMLP", "EncoderDecoder", "DeepReservoir",
                     "BidirectionalReservoir", "Ensemble"], "made of others"),
    **dict.fromkeys(["Dropout", "VariationalDropout", "StochasticDepth"], "random, or else the identity"),
    "HopfieldNetwork": "a step function",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        name
        for package in (nn, rnn, esn, training)
        for name in package.__all__
        if inspect.isclass(getattr(package, name)) and issubclass(getattr(package, name), nn.Module)
    ],
)
def test_every_cell_and_layer_has_a_case(name):
    known = {case.split("(")[0] for case in MODULES}
    assert (name in known) != (name in WITHOUT), f'add "{name}" to MODULES in tinygrad_rnn/testing/module_cases.py'


@for_each([name for name in SUBJECTS if name not in SLOW], share=0.6)
def test_gradients_and_their_gradients_agree_with_differences(name, data):
    case = draw_case(data, name)
    check_gradients(case.fn, *case.inputs, order=case.order, kinks=case.kinks).check()


@for_each(sorted(SLOW), share=0.4)
def test_gradients_of_sequences_and_layers_agree_with_differences(name, data):
    case = draw_case(data, name)
    check_gradients(case.fn, *case.inputs, kinks=case.kinks).check()


@for_each([name for name in SUBJECTS if name != "astype"], share=0.4)  # a cast has a dtype of its own
def test_float32_gradients_are_as_near_as_round_off_lets_them(name, data):
    """Float32 is judged against float64 on the same tape, by how far round-off spreads it; never differenced."""
    case = draw_case(data, name, dtype="float32")
    check_gradients(case.fn, *case.inputs, modes=("rev",), directions=1, exhaustive=False).check()
