"""Bad input to recurrent networks: the project's own error, which says what was expected and what came."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import rnn
from tinygrad_rnn.errors import ArgumentError, DataError, DTypeError, ShapeError, TinygradRNNError

LAYERS = {"RNN": rnn.RNN, "GRU": rnn.GRU, "LSTM": rnn.LSTM}
CELLS = {"RNN": rnn.ElmanCell, "GRU": rnn.GRUCell, "LSTM": rnn.LSTMCell}
every_layer = pytest.mark.parametrize("kind", LAYERS)
both_forms = pytest.mark.parametrize("fused", [True, False], ids=["fused", "composed"])


def layer(kind, **options):
    return LAYERS[kind](2, 3, rng=0, **options)


def says(error, *words):
    """A context in which `error` must be raised, with every one of the words in its text."""

    class Says:
        def __enter__(self):
            self.raises = pytest.raises(error)
            self.found = self.raises.__enter__()

        def __exit__(self, *exc):
            caught = self.raises.__exit__(*exc)
            text = str(self.found.value)
            assert isinstance(self.found.value, TinygradRNNError)
            for word in words:
                assert word in text, f"{word!r} is not in: {text}"
            return caught

    return Says()


# ---- sequences


@every_layer
@both_forms
def test_a_sequence_of_no_steps_is_refused(kind, fused):
    with says(DataError, "at least one time step", "(0, 4, 2)", "T = 0"):
        layer(kind)(tg.zeros((0, 4, 2)), fused=fused)
    with says(DataError, "at least one time step", "T = 0"):
        layer(kind)(tg.zeros((0, 2)), fused=fused)


@every_layer
@both_forms
def test_a_batch_of_no_lanes_is_refused(kind, fused):
    with says(DataError, "at least one lane", "(5, 0, 2)", "B = 0"):
        layer(kind)(tg.zeros((5, 0, 2)), fused=fused)


def test_with_batch_first_the_axes_in_the_message_are_named_after_their_meaning():
    with says(DataError, "at least one time step", "T = 0"):
        layer("GRU", batch_first=True)(tg.zeros((4, 0, 2)))
    with says(DataError, "at least one lane", "B = 0"):
        layer("GRU", batch_first=True)(tg.zeros((0, 5, 2)))


def test_scan_refuses_empty_sequences_too():
    cell = rnn.ElmanCell(2, 3, rng=0)
    with says(DataError, "at least one time step", "(0, 4, 2)"):
        rnn.scan(cell, tg.zeros((0, 4, 2)))
    with says(DataError, "at least one lane", "(5, 0, 2)"):
        rnn.scan(cell, tg.zeros((5, 0, 2)))
    with says(ShapeError, "(T, B, I)", "(5,)"):
        rnn.scan(cell, tg.zeros(5))


BAD_LENGTHS = [
    ([5, 0], ArgumentError, ("1..T", "T is 5", "got 0")),
    ([6, 5], ArgumentError, ("1..T", "T is 5", "got 6")),
    ([5, -1], ArgumentError, ("1..T", "T is 5", "got -1")),
    ([2.0, 3.0], DTypeError, ("integers", "float64")),
    ([True, True], DTypeError, ("integers", "bool")),
    ([1, 2, 3], ShapeError, ("(2,)", "one a lane", "(3,)")),
    (4, ShapeError, ("(2,)", "one a lane", "()")),
]


@every_layer
@both_forms
@pytest.mark.parametrize(("lengths", "error", "words"), BAD_LENGTHS, ids=[str(each[0]) for each in BAD_LENGTHS])
def test_lengths_are_integers_from_1_to_t_one_a_lane(kind, fused, lengths, error, words):
    with says(error, *words):
        layer(kind)(tg.zeros((5, 2, 2)), lengths=lengths, fused=fused)
    with says(error, *words):
        rnn.scan(CELLS[kind](2, 3, rng=0), tg.zeros((5, 2, 2)), lengths=lengths)


@every_layer
@both_forms
def test_a_wrong_number_of_features_is_refused(kind, fused):
    with says(ShapeError, kind, "(..., 2)", "(5, 4, 7)"):
        layer(kind)(tg.zeros((5, 4, 7)), fused=fused)


@every_layer
@both_forms
def test_a_wrong_number_of_axes_is_refused(kind, fused):
    with says(ShapeError, kind, "(T, B, I)", "(1, 5, 4, 2)"):
        layer(kind)(tg.zeros((1, 5, 4, 2)), fused=fused)
    with says(ShapeError, kind, "(B, T, I)", "(2,)"):
        layer(kind, batch_first=True)(tg.zeros(2), fused=fused)


@every_layer
@both_forms
def test_an_integer_sequence_is_refused_with_the_cast_to_write(kind, fused):
    with says(DTypeError, kind, "int64", "x.astype(tg.float32)"):
        layer(kind)(tg.tensor(np.zeros((5, 4, 2), np.int64)), fused=fused)
    with says(DTypeError, CELLS[kind].__name__, "int64", "x.astype(tg.float32)"):
        cell = CELLS[kind](2, 3, rng=0)
        cell(tg.tensor(np.zeros((4, 2), np.int64)), cell.initial_state(4))


@every_layer
@both_forms
def test_float64_input_or_state_to_float32_weights_is_refused_with_the_cast_to_write(kind, fused):
    with says(DTypeError, "float64", "float32", ".astype(tg.float32)"):
        layer(kind)(tg.zeros((5, 4, 2), dtype="float64"), fused=fused)
    part = tg.zeros((1, 4, 3), dtype="float64")
    with says(DTypeError, kind, "a state of float64", "float32", ".astype(tg.float32)"):
        layer(kind)(tg.zeros((5, 4, 2)), (part, part) if kind == "LSTM" else part, fused=fused)


# ---- states


@every_layer
@both_forms
def test_a_state_of_the_wrong_shape_is_refused(kind, fused):
    for shape, xs in (((1, 4, 5), (5, 4, 2)), ((2, 4, 3), (5, 4, 2)), ((4, 3), (5, 4, 2)), ((1, 4, 3), (5, 2))):
        part = tg.zeros(shape)
        wanted = "(1, 4, 3)" if len(xs) == 3 else "(1, 3)"
        with says(ShapeError, kind, wanted, str(shape)):
            layer(kind)(tg.zeros(xs), (part, part) if kind == "LSTM" else part, fused=fused)


@both_forms
def test_the_state_of_an_lstm_is_a_pair(fused):
    part = tg.zeros((1, 4, 3))
    for state in (part, (part,), (part, part, part)):
        with says(ShapeError, "LSTM", "(h, c)", "(1, 4, 3)"):
            layer("LSTM")(tg.zeros((5, 4, 2)), state, fused=fused)
    with says(ShapeError, "GRU", "a state of shape (1, 4, 3)"):
        layer("GRU")(tg.zeros((5, 4, 2)), (part, part), fused=fused)


def test_the_state_of_an_lstm_cell_is_a_pair():
    with says(ShapeError, "LSTMCell", "(h, c)", "Tensor"):
        rnn.LSTMCell(2, 3, rng=0)(tg.zeros((4, 2)), tg.zeros((4, 3)))


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_refuses_a_state_or_an_input_of_the_wrong_size(kind):
    cell = CELLS[kind](2, 3, rng=0)
    wrong = tg.zeros((4, 5))
    with says(ShapeError, CELLS[kind].__name__, "(4, 3)", "(4, 5)"):
        cell(tg.zeros((4, 2)), (wrong, wrong) if kind == "LSTM" else wrong)
    with says(ShapeError, CELLS[kind].__name__, "(..., 2)", "(4, 7)"):
        cell(tg.zeros((4, 7)), cell.initial_state(4))


def test_a_stack_says_how_many_parts_its_state_has():
    stack = rnn.StackedCell([rnn.ElmanCell(2, 3, rng=0), rnn.LSTMCell(3, 4, rng=0)])
    with says(ArgumentError, "3 parts", "got 2"):
        stack(tg.zeros((5, 2)), stack.initial_state(5)[:2])
    with says(ArgumentError, "at least one cell"):
        rnn.StackedCell([])


def test_scan_asks_for_a_state_where_the_cell_has_none_of_its_own():
    with says(ArgumentError, "function", "initial_state(batch)", "scan(cell, xs, state)"):
        rnn.scan(lambda x, h: x + h, tg.zeros((5, 4, 2)))


@pytest.mark.parametrize("checkpoint", [0, -1, 2.0, True])
def test_checkpoint_is_a_number_of_steps(checkpoint):
    with says(ArgumentError, "checkpoint", "at least 1", repr(checkpoint)):
        rnn.scan(rnn.ElmanCell(2, 3, rng=0), tg.zeros((5, 4, 2)), checkpoint=checkpoint)


# ---- constructors

BAD_SIZES = [0, -1, 2.0, True]


@every_layer
@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
@pytest.mark.parametrize("value", BAD_SIZES)
def test_sizes_of_a_layer_are_integers_of_at_least_1(kind, name, value):
    with says(ArgumentError, name, "integer of at least 1", repr(value)):
        LAYERS[kind](**{"input_size": 2, "hidden_size": 3, name: value})


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("name", ["input_size", "hidden_size"])
@pytest.mark.parametrize("value", BAD_SIZES)
def test_sizes_of_a_cell_are_integers_of_at_least_1(kind, name, value):
    with says(ArgumentError, name, "integer of at least 1", repr(value)):
        CELLS[kind](**{"input_size": 2, "hidden_size": 3, name: value})


@every_layer
@pytest.mark.parametrize("p", [1.5, -0.1, "half"])
def test_dropout_is_a_probability(kind, p):
    with says(ArgumentError, "Dropout", "from 0 to 1", repr(p)):
        layer(kind, dropout=p)


@pytest.mark.parametrize("make", [rnn.RNN, rnn.ElmanCell])
def test_nonlinearity_is_tanh_or_relu(make):
    with says(ArgumentError, '"tanh" or "relu"', "'sigmoid'"):
        make(2, 3, nonlinearity="sigmoid")


def test_an_error_names_the_line_that_made_the_call():
    with says(ShapeError, f"at {__file__}:"):
        layer("GRU")(tg.zeros((5, 4, 7)))
    with says(ArgumentError, f"at {__file__}:"):
        layer("GRU")(tg.zeros((5, 2, 2)), lengths=[0, 1])
