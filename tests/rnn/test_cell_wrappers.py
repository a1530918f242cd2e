"""Cells around cells: residual connections between layers, zoneout, and dropout with one mask for a sequence."""

import numpy as np
import pytest
from helpers import assert_gradients, close
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn, rnn
from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.random import generator_state, set_generator_state

CELLS = {"elman": rnn.ElmanCell, "gru": rnn.GRUCell, "lstm": rnn.LSTMCell}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def leaves(state):
    return list(state) if isinstance(state, tuple) else [state]


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_a_residual_cell_adds_the_input_to_the_output_and_leaves_the_recurrence_alone(make):
    inner = make(3, 3, rng=0, dtype="float64")
    xs = tg.tensor(normal(5, 2, 3))
    plain, last = rnn.scan(inner, xs)
    ys, state = rnn.scan(rnn.ResidualCell(inner), xs)
    assert_array_equal(ys.numpy(), xs.numpy() + plain.numpy())
    for ours, theirs in zip(state[1:], leaves(last)):
        assert_array_equal(ours.numpy(), theirs.numpy())


def test_the_layers_of_a_stack_are_joined_by_shortcuts():
    cells = [rnn.GRUCell(2, 4, rng=0, dtype="float64"), *[rnn.LSTMCell(4, 4, rng=i, dtype="float64") for i in (1, 2)]]
    stack = rnn.StackedCell([cells[0], rnn.ResidualCell(cells[1]), rnn.ResidualCell(cells[2])])
    xs = tg.tensor(normal(5, 3, 2))
    ys, state = rnn.scan(stack, xs)
    h = rnn.scan(cells[0], xs)[0]
    h = h + rnn.scan(cells[1], h)[0]
    h = h + rnn.scan(cells[2], h)[0]
    assert_array_equal(ys.numpy(), h.numpy())
    assert len(state) == 7
    assert_array_equal(rnn.scan(stack, xs, lengths=[5, 2, 3])[0].numpy()[:2], ys.numpy()[:2])


def test_a_residual_cell_takes_a_shortcut_where_the_sizes_differ():
    shortcut = nn.Linear(2, 3, rng=1, dtype="float64")
    cell = rnn.ResidualCell(rnn.ElmanCell(2, 3, rng=0, dtype="float64"), shortcut)
    xs = tg.tensor(normal(4, 2, 2))
    assert_array_equal(rnn.scan(cell, xs)[0].numpy(), shortcut(xs).numpy() + rnn.scan(cell.cell, xs)[0].numpy())
    assert "shortcut.weight" in cell.state_dict()
    with pytest.raises(ShapeError, match="ResidualCell cannot join"):
        rnn.scan(rnn.ResidualCell(cell.cell), xs)


def test_gradients_pass_through_residual_stacks_and_dropped_states():
    stack = rnn.StackedCell(
        [rnn.ElmanCell(2, 3, rng=0, dtype="float64"), rnn.ResidualCell(rnn.GRUCell(3, 3, rng=1, dtype="float64"))]
    )
    assert_gradients(lambda xs: rnn.scan(stack, xs)[0], normal(3, 2, 2), factor=512)
    cell = rnn.VariationalDropoutCell(rnn.GRUCell(2, 3, rng=0, dtype="float64"), 0.5, rng=0)
    state = cell.initial_state(2)
    assert_gradients(lambda xs: rnn.scan(cell, xs, state)[0], normal(3, 2, 2), factor=512)


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_zoneout_keeps_the_share_p_of_the_state_and_mixes_in_evaluation(make):
    cell = rnn.ZoneoutCell(make(2, 500, rng=0, dtype="float64"), 0.25, rng=1)
    x, state = tg.tensor(normal(4, 2)), cell.initial_state(4)
    state = tuple(tg.tensor(normal(*s.shape, seed=i)) for i, s in enumerate(leaves(state)))
    state = state if len(state) > 1 else state[0]
    new = leaves(cell.cell(x, state))
    for before, full, after in zip(leaves(state), new, leaves(cell(x, state))):
        kept = after.numpy() == before.numpy()
        assert abs(kept.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 2000)
        assert_array_equal(after.numpy()[~kept], full.numpy()[~kept])
    cell.eval()
    for before, full, after in zip(leaves(state), new, leaves(cell(x, state))):
        close(after, 0.25 * before.numpy() + 0.75 * full.numpy(), factor=4)


def test_zoneout_has_a_probability_for_each_part_of_the_state():
    cell = rnn.ZoneoutCell(rnn.LSTMCell(2, 3, rng=0), p=(0.0, 1.0), rng=1)
    x, state = tg.ones((4, 2)), tuple(tg.ones((4, 3)) for _ in range(2))
    h, c = cell(x, state)
    assert_array_equal(h.numpy(), cell.cell(x, state)[0].numpy())
    assert_array_equal(c.numpy(), np.ones((4, 3)))
    with pytest.raises(ArgumentError, match="2 probabilities.*GRUCell has 1 parts"):
        rnn.ZoneoutCell(rnn.GRUCell(2, 3, rng=0), p=(0.1, 0.2))(x, tg.ones((4, 3)))
    for p in (-0.1, 1.5, "half", (0.1, 2.0)):
        with pytest.raises(ArgumentError, match="from 0 to 1"):
            rnn.ZoneoutCell(rnn.GRUCell(2, 3, rng=0), p)


def test_a_kept_unit_passes_its_gradient_through_unchanged():
    cell = rnn.ZoneoutCell(rnn.ElmanCell(2, 3, rng=0, dtype="float64"), 1.0, rng=0)
    h, v = tg.tensor(normal(2, 3)), normal(2, 3, seed=1)
    with tg.Tape() as tape:
        _, last = rnn.scan(cell, tg.tensor(normal(6, 2, 2)), h)
    assert_array_equal(tape.gradient(last, h, cotangent=v).numpy(), v)


def test_the_mask_of_variational_dropout_stays_the_same_for_a_sequence():
    inner = rnn.ElmanCell(2, 4, rng=0, dtype="float64")
    cell = rnn.VariationalDropoutCell(inner, 0.5, rng=3)
    xs = tg.tensor(normal(5, 2, 2))
    state = cell.initial_state(2)
    ys, last = rnn.scan(cell, xs, state)
    assert last[-1] is state[-1] or np.array_equal(last[-1].numpy(), state[-1].numpy())
    h = state[0]
    for t in range(5):
        h = inner(xs[t], h * state[-1])
        assert_array_equal(ys.numpy()[t], h.numpy())
    assert not np.array_equal(cell.initial_state(2)[-1].numpy(), state[-1].numpy())


def test_variational_dropout_of_the_state_does_nothing_in_evaluation():
    inner = rnn.LSTMCell(2, 4, rng=0, dtype="float64")
    cell = rnn.VariationalDropoutCell(inner, 0.5, rng=3)
    xs = tg.tensor(normal(5, 2, 2))
    trained = cell.initial_state(2)
    cell.eval()
    expected = rnn.scan(inner, xs)[0].numpy()
    assert_array_equal(rnn.scan(cell, xs)[0].numpy(), expected)
    assert_array_equal(rnn.scan(cell, xs, trained)[0].numpy(), expected)
    assert_array_equal(cell.initial_state(2)[-1].numpy(), np.ones((2, 4)))


@pytest.mark.parametrize("wrap", [rnn.ZoneoutCell, rnn.VariationalDropoutCell])
def test_noise_continues_bit_for_bit_from_a_saved_generator(wrap):
    def fresh():
        inner = [wrap(rnn.GRUCell(3, 3, rng=i), 0.5, rng=7 + i) for i in range(2)]
        return rnn.StackedCell([rnn.ResidualCell(each) for each in inner])

    xs = tg.tensor(normal(4, 2, 3).astype("float32"))
    first = fresh()
    _, state = rnn.scan(first, xs)
    saved = {name: generator_state(each) for name, each in first.named_generators()}
    assert len(saved) == 2
    expected = [rnn.scan(first, xs, state)[0].numpy(), rnn.scan(first, xs)[0].numpy()]
    second = fresh()
    for name, each in second.named_generators():
        set_generator_state(each, saved[name])
    found = [rnn.scan(second, xs, state)[0].numpy(), rnn.scan(second, xs)[0].numpy()]
    for a, b in zip(expected, found):
        assert_array_equal(a, b)


def test_a_cells_noise_can_stay_on_in_monte_carlo():
    class Last(nn.Module):
        def __init__(self, cell):
            self.cell = cell

        def forward(self, xs):
            return rnn.scan(self.cell, xs)[0][-1]

    for wrap in (rnn.ZoneoutCell, rnn.VariationalDropoutCell):
        found = nn.monte_carlo(Last(wrap(rnn.GRUCell(2, 6, rng=0), 0.5, rng=0)), tg.ones((4, 2, 2)), samples=4)
        assert float(found.std.numpy().max()) > 0
