"""scan: the loop over time, over plain functions, a user's cell, built-in cells and stacks of them."""

import inspect

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn, rnn

EPS = float(np.finfo(np.float64).eps)
RNG = np.random.default_rng(0)


class UserCell(nn.Module):
    """A cell as a user writes it: two states, the first of which is the output."""

    def __init__(self, size=2, hidden=3):
        rng = np.random.default_rng(1)
        self.input_size, self.hidden = size, hidden
        self.w = tg.Parameter(rng.normal(size=(size, hidden)))
        self.u = tg.Parameter(0.5 * rng.normal(size=(hidden, hidden)))

    def initial_state(self, batch):
        return tg.zeros((batch, self.hidden), dtype="float64"), tg.ones((batch, self.hidden), dtype="float64")

    def forward(self, x, state):
        h, slow = state
        slow = 0.5 * slow + h
        return tg.tanh(x @ self.w + h @ self.u + slow), slow


def running_sum(x, total):
    return total + x


def stack_of_three():
    cells = [rnn.GRUCell(2, 3, rng=0, dtype="float64"), rnn.LSTMCell(3, 4, rng=1, dtype="float64"), UserCell(4, 2)]
    return rnn.StackedCell(cells)


CELLS = {
    "Elman": lambda: rnn.ElmanCell(2, 3, rng=0, dtype="float64"),
    "GRU": lambda: rnn.GRUCell(2, 3, rng=0, dtype="float64"),
    "LSTM": lambda: rnn.LSTMCell(2, 3, rng=0, dtype="float64"),
    "user": UserCell,
    "stack": stack_of_three,
}
every_cell = pytest.mark.parametrize("kind", CELLS)
both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def sequence(steps, batch=2, size=2):
    return tg.tensor(np.random.default_rng(steps).normal(size=(steps, batch, size)))


def parts(state):
    return list(state) if isinstance(state, tuple) else [state]


def assert_close(found, wanted, roundings):
    """Equal up to so many roundings of the largest entry (or of 1)."""
    found, wanted = found.numpy(), wanted.numpy()
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= roundings * EPS * max(1.0, np.abs(wanted).max())


def test_a_plain_function_is_a_cell():
    xs = np.arange(12.0).reshape(3, 2, 2)
    ys, last = rnn.scan(running_sum, tg.tensor(xs), tg.zeros((2, 2), dtype="float64"))
    assert np.array_equal(ys.numpy(), np.cumsum(xs, axis=0))
    assert np.array_equal(last.numpy(), xs.sum(axis=0))


def test_reverse_runs_from_the_end_and_keeps_outputs_in_place():
    xs = np.arange(12.0).reshape(3, 2, 2)
    ys, last = rnn.scan(running_sum, tg.tensor(xs), tg.zeros((2, 2), dtype="float64"), reverse=True)
    assert np.array_equal(ys.numpy(), np.cumsum(xs[::-1], axis=0)[::-1])
    assert np.array_equal(last.numpy(), ys.numpy()[0])


@every_cell
@both_ways
def test_scan_is_the_cell_called_step_by_step(kind, reverse):
    cell, xs = CELLS[kind](), sequence(4)
    ys, last = rnn.scan(cell, xs, reverse=reverse)
    state, outputs = cell.initial_state(2), {}
    for t in range(4)[:: -1 if reverse else 1]:
        state = cell(xs[t], state)
        outputs[t] = parts(state)[0].numpy()
    assert np.array_equal(ys.numpy(), np.stack([outputs[t] for t in range(4)]))
    assert type(last) is type(state)
    for found, wanted in zip(parts(last), parts(state), strict=True):
        assert np.array_equal(found.numpy(), wanted.numpy())


@every_cell
@both_ways
def test_with_lengths_each_lane_runs_as_if_alone_on_its_own_part(kind, reverse):
    """Past the end outputs are zero and the state stays; the reverse direction starts at each lane's own end."""
    cell, lengths, steps = CELLS[kind](), [5, 1, 3], 5
    xs = sequence(steps, batch=3)
    ys, last = rnn.scan(cell, xs, lengths=lengths, reverse=reverse)
    for lane, length in enumerate(lengths):
        alone, end = rnn.scan(cell, xs[:length, lane : lane + 1], reverse=reverse)
        # a product of one row may be summed in another order than that of three: 4 terms a step and layer
        assert_close(ys[:length, lane : lane + 1], alone, 16 * length)
        assert not ys.numpy()[length:, lane].any()
        for found, wanted in zip(parts(last), parts(end), strict=True):
            assert_close(found[lane : lane + 1], wanted, 16 * length)


@both_ways
def test_what_lies_past_a_length_has_no_influence_and_no_gradient(reverse):
    cell, xs = UserCell(), sequence(5)
    spoilt = np.array(xs.numpy())
    spoilt[2:, 1] = 1e3
    found = []
    for each in (xs, tg.tensor(spoilt)):
        with tg.Tape() as tape:
            ys, _ = rnn.scan(cell, each, lengths=[5, 2], reverse=reverse)
            loss = tg.sum(tg.sin(ys))
        found.append((loss.item(), *[g.numpy() for g in tape.gradient(loss, [each, cell.w, cell.u])]))
    for a, b in zip(*found):
        assert np.array_equal(a, b)
    assert not found[0][1][2:, 1].any()
    assert found[0][1][:2, 1].all()


def test_lengths_that_reach_the_end_change_nothing():
    cell, xs = UserCell(), sequence(4)
    assert np.array_equal(rnn.scan(cell, xs, lengths=[4, 4])[0].numpy(), rnn.scan(cell, xs)[0].numpy())


def test_the_state_of_a_stack_is_flat_with_the_topmost_output_first():
    stack = stack_of_three()
    below, middle, above = stack.cells
    x, state = sequence(1)[0], stack.initial_state(2)
    assert [part.shape for part in state] == [(2, 2), (2, 2), (2, 4), (2, 4), (2, 3)]
    for _ in range(2):
        low = below(x, state[4])
        mid = middle(low, state[2:4])
        top = above(mid[0], state[:2])
        state = stack(x, state)
        for found, wanted in zip(state, (*top, *mid, low), strict=True):
            assert np.array_equal(found.numpy(), wanted.numpy())
    assert rnn.scan(stack, sequence(3))[0].shape == (3, 2, 2)


@every_cell
@both_ways
@pytest.mark.parametrize("lengths", [None, [7, 3]], ids=["whole", "lengths"])
@pytest.mark.parametrize("every", [1, 3, 7, 9])
def test_checkpoint_changes_neither_outputs_nor_gradients(kind, reverse, lengths, every):
    cell, xs = CELLS[kind](), sequence(7)
    sources = [xs, *cell.parameters()]
    results = []
    for checkpoint in (None, every):
        with tg.Tape() as tape:
            ys, last = rnn.scan(cell, xs, lengths=lengths, reverse=reverse, checkpoint=checkpoint)
            loss = tg.sum(tg.sin(ys)) + sum(tg.sum(part * part) for part in parts(last))
        results.append([ys, *parts(last), *tape.gradient(loss, sources)])
    for found, wanted in zip(*results, strict=True):
        # the same operations; a gradient is a sum of one term a step, here with a partial sum for each segment
        assert_close(found, wanted, 2 * 7 * 16)


def test_checkpoint_keeps_far_fewer_records():
    cell, xs, counts = UserCell(), sequence(100), {}
    for checkpoint in (None, 10):
        with tg.Tape() as tape:
            rnn.scan(cell, xs, checkpoint=checkpoint)
        counts[checkpoint] = len(tape)
    assert counts[None] > 500
    assert counts[10] < 60


def lines_of(function):
    source, start = inspect.getsourcelines(function)
    return range(start, start + len(source))


def test_the_records_of_a_users_cell_carry_their_step_and_the_cells_own_line():
    with tg.Tape() as tape:
        rnn.scan(UserCell(), sequence(3), reverse=True)
    hyperbolic = [record for record in tape if record.primitive.name == "tanh"]
    assert [record.step for record in hyperbolic] == [2, 1, 0]
    source, start = inspect.getsourcelines(UserCell.forward)
    expected = start + next(k for k, line in enumerate(source) if "tg.tanh" in line)
    assert {(record.file, record.line) for record in hyperbolic} == {(__file__, expected)}


def test_the_records_of_a_plain_function_carry_its_own_line():
    with tg.Tape() as tape:
        rnn.scan(running_sum, sequence(2), tg.zeros((2, 2), dtype="float64"))
    sums = [record for record in tape if record.primitive.name == "add"]
    assert [record.step for record in sums] == [0, 1]
    assert all(record.file == __file__ and record.line in lines_of(running_sum) for record in sums)


@pytest.mark.parametrize("kind", ["Elman", "GRU", "LSTM"])
def test_the_records_of_a_built_in_cell_carry_their_step_and_the_line_that_called_scan(kind):
    cell, xs = CELLS[kind](), sequence(3)
    with tg.Tape() as tape:
        line = inspect.currentframe().f_lineno + 1
        rnn.scan(cell, xs)
    assert {(record.file, record.line) for record in tape} == {(__file__, line)}
    steps = [record.step for record in tape if record.primitive.name == "tanh"]
    assert steps == ([0, 0, 1, 1, 2, 2] if kind == "LSTM" else [0, 1, 2])


def test_in_a_stack_a_users_cell_keeps_its_line_and_a_built_in_cell_has_the_callers():
    stack, xs = stack_of_three(), sequence(2)
    with tg.Tape() as tape:
        line = inspect.currentframe().f_lineno + 1
        rnn.scan(stack, xs)
    users = {record.line for record in tape if record.line in lines_of(UserCell.forward)}
    assert users
    assert {record.line for record in tape} == users | {line}
    assert {record.file for record in tape} == {__file__}


def test_records_are_the_same_under_checkpoint_but_one_a_segment():
    with tg.Tape() as tape:
        line = inspect.currentframe().f_lineno + 1
        rnn.scan(UserCell(), sequence(6), checkpoint=2)
    segments = [record for record in tape if record.primitive.name.startswith("checkpoint")]
    assert [(record.file, record.line) for record in segments] == [(__file__, line)] * 3


def test_twenty_thousand_steps_need_no_recursion():
    steps = 20_000
    with tg.Tape() as tape:
        weight, xs = tg.tensor(0.5, dtype="float64"), tg.ones((steps, 1), dtype="float64")
        ys, last = rnn.scan(lambda x, h: weight * h + x, xs, tg.zeros(1, dtype="float64"))
        loss = tg.sum(last)
    # h = 1 / (1 - w) in the limit, so dh/dw = 1 / (1 - w)^2; both sums have about 50 terms above eps
    assert abs(loss.item() - 2) <= 50 * EPS * 2
    assert abs(tape.gradient(loss, weight).item() - 4) <= 50 * EPS * 4
    assert len(tape) > 2 * steps
    assert ys.shape == (steps, 1)
