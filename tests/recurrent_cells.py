"""Cells that a user would write, each with a difficulty for gradient rules, and the comparison of gradients."""

import numpy as np
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import gradients, nn, rnn

EPS = float(np.finfo(np.float64).eps)


class UserCell(nn.Module):
    """What the cells here share: two inputs, three units, parameters drawn from a seed."""

    input_size, hidden = 2, 3

    def __init__(self, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.w = tg.Parameter(rng.normal(size=(self.input_size, self.hidden)))
        self.u = tg.Parameter(0.7 * rng.normal(size=(self.hidden, self.hidden)))
        self.start = tg.Parameter(rng.normal(size=self.hidden))

    def initial_state(self, batch):
        return tg.broadcast_to(self.start, (batch, self.hidden))


class TwoSpeeds(UserCell):
    """Two parts of the state, one of them read by the output only through time."""

    def initial_state(self, batch):
        start = super().initial_state(batch)
        return start, 0.5 * start

    def forward(self, x, state):
        h, slow = state
        slow = 0.9 * slow + 0.1 * h
        return tg.tanh(x @ self.w + h @ self.u + slow), slow


class WeightInWeight(UserCell):
    """Weights that reach the state through another product, a nonlinearity, a sum and a softmax."""

    def forward(self, x, h):
        gate = tg.sigmoid(h @ tg.sin(self.u))
        return tg.softmax(x @ self.w + (gate * h) @ (self.u * tg.sum(self.u)), axis=-1) - tg.mean(self.w)


class Transposed(UserCell):
    """Columns for lanes inside, so that no operation is known to keep lanes apart."""

    def forward(self, x, h):
        return tg.tanh((self.w.T @ x.T + self.u @ h.T).T)


class Masked(UserCell):
    """A sparse recurrent weight, by a mask."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.register_buffer("mask", tg.tensor(np.triu(np.ones((3, 3)))))

    def forward(self, x, h):
        return tg.tanh(x @ self.w + h @ (self.u * self.mask))


class Coupled(UserCell):
    """Lanes that influence each other through their mean."""

    def forward(self, x, h):
        h = tg.tanh(x @ self.w + h @ self.u)
        return h - 0.5 * tg.mean(h, axis=0, keepdims=True)


class Rotation(nn.Module):
    """Element-wise: each unit turns and decays by itself, in two parts of the state."""

    input_size, hidden = 2, 3

    def __init__(self, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.w = tg.Parameter(rng.normal(size=(self.hidden, self.input_size)))
        self.decay = tg.Parameter(rng.uniform(0.3, 0.9, self.hidden))
        self.angle = tg.Parameter(rng.uniform(0.3, 0.9, self.hidden))
        self.start = tg.Parameter(rng.normal(size=self.hidden))

    def initial_state(self, batch):
        start = tg.broadcast_to(self.start, (batch, self.hidden))
        return start, 0.5 * start

    def forward(self, x, state):
        a, b = state
        c, s = self.decay * tg.cos(self.angle), self.decay * tg.sin(self.angle)
        return tg.tanh(c * a - s * b + x @ self.w.T), s * a + c * b


class Independent(UserCell):
    """IndRNN: h' = tanh(W x + u h), unit by unit. [Li et al. 2018]"""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.u = tg.Parameter(np.random.default_rng(seed).uniform(-1, 1, self.hidden))

    def forward(self, x, h):
        return tg.tanh(x @ self.w + self.u * h)


class Leaky(UserCell):
    """A leaky network, h' = (1 - α) h + α tanh(W x + U h)."""

    def __init__(self, seed=0, leak=0.4):
        super().__init__(seed)
        self.leak = leak

    def forward(self, x, h):
        return (1 - self.leak) * h + self.leak * tg.tanh(x @ self.w + h @ self.u)


class Banded(UserCell):
    """A chain of four units, each of which feeds itself and the next, by a mask."""

    hidden = 4

    def __init__(self, seed=0):
        super().__init__(seed)
        self.register_buffer("mask", tg.tensor(np.eye(4) + np.eye(4, k=1)))

    def forward(self, x, h):
        return tg.tanh(x @ self.w + h @ (self.u * self.mask))


class Readout(nn.Module):
    """A loss with parameters of its own, and targets that change with time."""

    def __init__(self, hidden=3):
        super().__init__()
        self.v = tg.Parameter(np.linspace(-1, 1, hidden))

    def forward(self, output, t):
        return tg.sum((output @ self.v - 0.3 * t) ** 2)


def alive(cell):
    """An Elman cell whose biases keep most of its rectified units on."""
    cell.bias_ih.assign(cell.bias_ih.numpy() + 2.0)
    return cell


BUILT_IN = {
    "elman": lambda seed: rnn.ElmanCell(2, 3, rng=seed, dtype="float64"),
    "elman relu": lambda seed: alive(rnn.ElmanCell(2, 3, "relu", rng=seed, dtype="float64")),
    "gru": lambda seed: rnn.GRUCell(2, 3, rng=seed, dtype="float64"),
    "gru, reset before": lambda seed: rnn.GRUCell(2, 3, reset_after=False, rng=seed, dtype="float64"),
    "gru without biases": lambda seed: rnn.GRUCell(2, 3, bias=False, rng=seed, dtype="float64"),
    "lstm": lambda seed: rnn.LSTMCell(2, 3, rng=seed, dtype="float64"),
    "lstm without biases": lambda seed: rnn.LSTMCell(2, 3, bias=False, rng=seed, dtype="float64"),
}
STACKS = {
    "stack": lambda seed: rnn.StackedCell(
        [rnn.LSTMCell(2, 2, rng=seed, dtype="float64"), rnn.GRUCell(2, 3, rng=seed + 1, dtype="float64")]
    ),
    "stack with a user's cell": lambda seed: rnn.StackedCell(
        [rnn.ElmanCell(2, 2, rng=seed, dtype="float64"), TwoSpeeds(seed)]
    ),
}
USER = {"two speeds": TwoSpeeds, "weight in weight": WeightInWeight, "transposed": Transposed, "masked": Masked}
ELEMENTWISE = {"rotation": Rotation, "independent": Independent}
CELLS = BUILT_IN | STACKS | USER | ELEMENTWISE


def cells(names=tuple(CELLS)):
    """A cell of one of these kinds, from a seed."""
    return st.builds(lambda name, seed: CELLS[name](seed), st.sampled_from(names), st.integers(0, 99))


def sequence(steps, batch=2, inputs=2, seed=1):
    """Inputs (T, B, I) of unit variance."""
    return tg.tensor(np.random.default_rng(seed).normal(size=(steps, batch, inputs)))


def stream(rule, cell, xs, loss, resets=None, after=None):
    """Run a rule step by step; return the sum of all gradients, and each step.

    resets: {t: bools}.  after: called with t when step t is done, to change parameters.
    """
    learner = rule.start(cell, xs.shape[1])
    total, steps = None, []
    for t in range(xs.shape[0]):
        steps.append(learner.step(xs[t], loss, reset=(resets or {}).get(t)))
        total = gradients.rule.add_gradients(total, steps[-1].gradients)
        if after is not None:
            after(t)
    return gradients.rule.add_gradients(total, learner.flush()), steps


def assert_same(got, expected, factor=1000.0):
    """Equal up to the round-off of sums taken in another order: a multiple of eps times the largest entry of all.

    A gradient is a sum of T² products of n by n matrices; here T <= 8 and n <= 7, so 1000 roundings are ample, and a
    wrong term is larger by many orders.
    """
    assert set(got) == set(expected)
    scale = max(np.abs(g.numpy()).max() for g in expected.values())
    assert scale > 0, "every gradient is zero: the comparison would prove nothing"
    for name in expected:
        a, b = got[name].numpy(), expected[name].numpy()
        assert a.shape == b.shape and a.dtype == b.dtype, name
        assert np.abs(a - b).max() <= factor * EPS * max(scale, 1.0), name


def difference(got, expected):
    """Largest difference, relative to the largest entry: how far a biased rule is off."""
    scale = max(np.abs(g.numpy()).max() for g in expected.values())
    return max(np.abs(got[name].numpy() - expected[name].numpy()).max() for name in expected) / scale
