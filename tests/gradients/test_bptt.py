"""BPTT and truncated BPTT, on cells that a user would write with Tensor operations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import gradients, nn
from tinygrad_rnn.errors import ArgumentError, DataError, GradientError, ShapeError, StateDictError

EPS = np.finfo(np.float64).eps


class UserCell(nn.Module):
    """Two states, one of them read by the output only through time; a learned initial state."""

    def __init__(self, inputs=2, hidden=3, seed=0, dtype="float64"):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.input_size, self.hidden = inputs, hidden
        self.w = tg.Parameter(rng.normal(size=(inputs, hidden)).astype(dtype))
        self.u = tg.Parameter(0.5 * rng.normal(size=(hidden, hidden)).astype(dtype))
        self.start = tg.Parameter(rng.normal(size=hidden).astype(dtype))

    def initial_state(self, batch):
        start = tg.broadcast_to(self.start, (batch, self.hidden))
        return start, tg.zeros((batch, self.hidden), dtype=start.dtype)

    def forward(self, x, state):
        h, slow = state
        slow = 0.9 * slow + 0.1 * h
        return tg.tanh(x @ self.w + h @ self.u + slow), slow


class Readout(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self, hidden=3):
        super().__init__()
        self.v = tg.Parameter(np.linspace(-1, 1, hidden))

    def forward(self, output, t):
        return tg.sum((output @ self.v - t) ** 2)


def sequence(steps, batch=2, inputs=2, seed=1):
    return tg.tensor(np.random.default_rng(seed).normal(size=(steps, batch, inputs)))


def one_tape(cell, xs, loss, state=None):
    """The definition: the whole program on one tape."""
    pairs = gradients.rule.named_parameters(cell, loss)
    with tg.Tape() as tape:
        state = cell.initial_state(xs.shape[1]) if state is None else state
        total = 0.0
        for t in range(xs.shape[0]):
            state = cell(xs[t], state)
            total = total + loss(state[0], t)
    found = tape.gradient(total, [p for _, p in pairs], unused="zeros")
    return total, {name: g for (name, _), g in zip(pairs, found)}


def assert_same(got, expected, factor=100.0):
    """Equal up to the round-off of sums taken in another order: a multiple of eps times the largest entry."""
    assert set(got) == set(expected)
    for name in expected:
        a, b = got[name].numpy(), expected[name].numpy()
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.abs(a - b).max() <= factor * EPS * max(np.abs(b).max(), 1.0), name


@given(steps=st.integers(1, 7), batch=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_bptt_equals_one_sweep_over_one_tape(steps, batch, seed):
    cell, loss, xs = UserCell(seed=seed), Readout(), sequence(steps, batch, seed=seed)
    result = gradients.BPTT().gradient(cell, xs, loss)
    total, expected = one_tape(cell, xs, loss)
    assert_same(result.gradients, expected, factor=1000.0)
    assert result.loss.item() == pytest.approx(total.item(), rel=1e-14)
    assert any(np.abs(g.numpy()).max() > 0 for g in result.gradients.values())


@given(steps=st.integers(1, 7), k1=st.integers(1, 9), extra=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_truncation_beyond_the_sequence_is_bptt(steps, k1, extra):
    cell, xs = UserCell(), sequence(steps)
    whole = gradients.BPTT().gradient(cell, xs, Readout())
    cut = gradients.TruncatedBPTT(k1, max(k1, steps) + extra).gradient(cell, xs, Readout())
    assert_same(cut.gradients, whole.gradients, factor=1000.0)


def test_one_chunk_is_bptt_bit_for_bit():
    cell, xs = UserCell(), sequence(5)
    whole = gradients.BPTT().gradient(cell, xs, Readout())
    cut = gradients.TruncatedBPTT(5, 5).gradient(cell, xs, Readout())
    for name in whole.gradients:
        assert np.array_equal(whole.gradients[name].numpy(), cut.gradients[name].numpy())


def test_a_short_window_differs_from_bptt_and_equals_its_definition():
    cell, loss, xs, k1, k2 = UserCell(), Readout(), sequence(7), 2, 3
    states = [cell.initial_state(2)]
    for t in range(7):
        states.append(cell(xs[t], states[-1]))
    expected = None
    for end in (2, 4, 6, 7):
        newest = range(end - k1 if end % k1 == 0 else 6, end)
        begin = max(0, end - k2)
        with tg.Tape() as tape:
            state = cell.initial_state(2) if begin == 0 else tuple(leaf.detach() for leaf in states[begin])
            total = 0.0
            for t in range(begin, end):
                state = cell(xs[t], state)
                if t in newest:
                    total = total + loss(state[0], t)
        pairs = gradients.rule.named_parameters(cell, loss)
        found = tape.gradient(total, [p for _, p in pairs], unused="zeros")
        part = {name: g for (name, _), g in zip(pairs, found)}
        expected = part if expected is None else {name: expected[name] + part[name] for name in part}
    result = gradients.TruncatedBPTT(k1, k2).gradient(cell, xs, loss)
    assert_same(result.gradients, expected, factor=1000.0)
    whole = gradients.BPTT().gradient(cell, xs, loss)
    assert np.abs(whole.gradients["u"].numpy() - result.gradients["u"].numpy()).max() > 1e-3


def test_parameters_that_change_in_the_stream_are_differentiated_as_each_step_saw_them():
    cell, loss, xs = UserCell(), Readout(), sequence(4)
    learner = gradients.BPTT().start(cell, 2)
    shift = 0.1
    for t in range(4):
        learner.step(xs[t], loss)
        cell.u.assign(cell.u.numpy() + shift)
    got = learner.flush()
    first = UserCell()
    with tg.Tape() as tape:
        offset = tg.zeros((3, 3), dtype=tg.float64)
        state, total = first.initial_state(2), 0.0
        for t in range(4):
            h, slow = state
            slow = 0.9 * slow + 0.1 * h
            state = tg.tanh(xs[t] @ first.w + h @ (first.u + t * shift + offset) + slow), slow
            total = total + loss(state[0], t)
    expected = tape.gradient(total, offset)
    assert np.abs(got["u"].numpy() - expected.numpy()).max() <= 1e-12


@pytest.mark.parametrize("rule", [gradients.BPTT(), gradients.TruncatedBPTT(2, 5), gradients.TruncatedBPTT(3, 3)])
@pytest.mark.parametrize("at", [1, 4, 6])
def test_a_saved_stream_resumes_bit_for_bit(rule, at):
    def run(stop=None, saved=None, cell=None):
        cell = cell or UserCell()
        learner = rule.start(cell, 2)
        out = []
        if saved is not None:
            learner.load_state_dict(saved)
        for t in range(learner.t, 8 if stop is None else stop):
            step = learner.step(xs[t], loss, reset=np.array([t == 5, False]))
            out.append(step)
            cell.u.assign(cell.u.numpy() * 0.99)
        return cell, learner, out

    xs, loss = sequence(8), Readout()
    _, whole, steps = run()
    part, half, before = run(stop=at)
    _, rest, after = run(saved=half.state_dict(), cell=part)
    for a, b in zip(steps, [*before, *after]):
        assert a.loss.item() == b.loss.item()
        assert (a.gradients is None) == (b.gradients is None)
        for name in a.gradients or ():
            assert np.array_equal(a.gradients[name].numpy(), b.gradients[name].numpy()), name
    left, right = whole.flush(), rest.flush()
    assert (left is None) == (right is None)
    for name in left or ():
        assert np.array_equal(left[name].numpy(), right[name].numpy()), name


def test_a_lane_that_is_reset_equals_a_separate_run():
    cell, xs = UserCell(), sequence(5)

    def loss(output, t):
        return tg.sum(output**2)

    learner = gradients.BPTT().start(cell, 2)
    for t in range(5):
        learner.step(xs[t], loss, reset=[t == 3, False] if t == 3 else None)
    got = learner.flush()
    parts = [
        gradients.BPTT().gradient(cell, xs[:3, :1], loss),
        gradients.BPTT().gradient(cell, xs[3:, :1], loss),
        gradients.BPTT().gradient(cell, xs[:, 1:], loss),
    ]
    expected = {name: sum((p.gradients[name] for p in parts[1:]), parts[0].gradients[name]) for name in got}
    assert_same(got, expected, factor=1000.0)


def test_backward_adds_to_grad():
    cell, loss, xs = UserCell(), Readout(), sequence(3)
    rule = gradients.BPTT()
    once = rule.backward(cell, xs, loss).gradients
    rule.backward(cell, xs, loss)
    assert np.array_equal(cell.u.grad.numpy(), 2 * once["u"].numpy())
    assert np.array_equal(loss.v.grad.numpy(), 2 * once["loss.v"].numpy())


def test_cost_grows_as_the_window_says():
    cell = UserCell()
    short, long = gradients.BPTT().cost(cell, 2, 10), gradients.BPTT().cost(cell, 2, 20)
    assert long.multiplications == 2 * short.multiplications and long.bytes == 2 * short.bytes
    window = gradients.TruncatedBPTT(5, 5)
    assert window.cost(cell, 2, 20).bytes == short.bytes // 2
    assert window.cost(cell, 2, 20).multiplications == long.multiplications
    matrices = 2 * (2 * 3 + 3 * 3)  # x @ w and h @ u for two lanes
    assert short.multiplications >= 3 * 10 * matrices


@pytest.mark.parametrize("k1, k2", [(3, 2), (0, 1), (1.5, 2)])
def test_a_window_that_loses_losses_is_refused(k1, k2):
    with pytest.raises(ArgumentError):
        gradients.TruncatedBPTT(k1, k2)


def test_bad_input_says_what_came():
    cell, loss, rule = UserCell(), Readout(), gradients.BPTT()
    with pytest.raises(DataError, match="T = 0"):
        rule.gradient(cell, tg.zeros((0, 2, 2), dtype=tg.float64), loss)
    with pytest.raises(DataError, match="B = 0"):
        rule.gradient(cell, tg.zeros((3, 0, 2), dtype=tg.float64), loss)
    with pytest.raises(ShapeError, match=r"\(T, B, I\)"):
        rule.gradient(cell, tg.zeros(3), loss)
    with pytest.raises(GradientError, match="scalar"):
        rule.gradient(cell, sequence(2), lambda y, t: y)
    with pytest.raises(DataError, match="step 1"):
        rule.gradient(cell, sequence(3), lambda y, t: tg.sum(y) * (np.nan if t == 1 else 1.0))
    with pytest.raises(GradientError, match="neither to the cell nor to the loss"):
        rule.gradient(cell, sequence(2), lambda y, t: loss(y, t))
    with pytest.raises(ArgumentError, match="named_parameters"):
        rule.start(lambda x, s: s, 1)
    with pytest.raises(DataError, match="lane"):
        rule.start(cell, 0)
    learner = rule.start(cell, 2)
    with pytest.raises(ShapeError, match="one row a lane"):
        learner.step(np.zeros((3, 2)), loss)
    with pytest.raises(ShapeError, match="2 bools"):
        learner.step(np.zeros((2, 2)), loss, reset=[1, 0])
    with pytest.raises(StateDictError, match="missing"):
        learner.load_state_dict({})
    with pytest.raises(StateDictError, match="lanes"):
        learner.load_state_dict(rule.start(cell, 3).state_dict())
