"""IndRNN, focused, unitary, Hopfield, attention and recursive networks."""

import numpy as np
import pytest
import scipy.linalg
from helpers import assert_gradients

import tinygrad_rnn as tg
from tinygrad_rnn import gradients, rnn
from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.rnn import Tree

F64 = {"dtype": "float64"}
CELLS = {
    "IndRNN": lambda: rnn.IndRNNCell(3, 4, "tanh", rng=1, **F64),
    "focused": lambda: rnn.FocusedCell(3, 4, rng=1, **F64),
    "orthogonal, Cayley": lambda: rnn.UnitaryCell(3, 4, rng=1, **F64),
    "orthogonal, exponential": lambda: rnn.UnitaryCell(3, 5, parametrization="exponential", rng=1, **F64),
    "unitary, Cayley": lambda: rnn.UnitaryCell(3, 4, "complex", rng=1, **F64),
    "unitary, exponential": lambda: rnn.UnitaryCell(3, 4, "complex", "exponential", rng=1, **F64),
}


@pytest.fixture(params=CELLS)
def cell(request):
    return CELLS[request.param]()


def series(steps=5, batch=2, size=3):
    return tg.tensor(np.random.default_rng(0).normal(size=(steps, batch, size)))


def scan_loss(cell, xs):
    ys, _ = rnn.scan(cell, xs)
    return tg.sum(tg.sin(ys))


def test_gradients_of_the_parameters_are_right(cell):
    names, parameters = zip(*cell.named_parameters())
    xs = series()

    with tg.Tape() as tape:
        total = scan_loss(cell, xs)
    for name, parameter, found in zip(names, parameters, tape.gradient(total, list(parameters))):
        start = parameter.numpy().copy()
        direction = np.random.default_rng(1).normal(size=start.shape)
        values = []
        for step in (-1e-5, 1e-5):
            parameter.assign(start + step * direction)
            values.append(scan_loss(cell, xs).item())
        parameter.assign(start)
        expected = (values[1] - values[0]) / 2e-5
        assert np.isclose(np.sum(found.numpy() * direction), expected, rtol=1e-6, atol=1e-8), name


def test_rtrl_and_bptt_agree(cell):
    case = (cell, series(), lambda y, t: tg.sum(y * y))
    online, through_time = gradients.RTRL().gradient(*case), gradients.BPTT().gradient(*case)
    assert online.gradients.keys() == through_time.gradients.keys() == dict(cell.named_parameters()).keys()
    for name, found in online.gradients.items():
        np.testing.assert_allclose(found.numpy(), through_time.gradients[name].numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in CELLS if "," in name])
def test_the_matrix_stays_orthogonal_when_its_parameters_change(name):
    cell = CELLS[name]()
    rng = np.random.default_rng(2)
    for _ in range(5):
        for parameter in cell.parameters():
            parameter.assign(rng.normal(size=parameter.shape))
        matrix = cell.recurrent_matrix().numpy()
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-13)
        np.testing.assert_allclose(np.abs(np.linalg.eigvals(matrix)), 1, atol=1e-13)


def test_the_exponential_is_scipys():
    cell = rnn.UnitaryCell(2, 6, parametrization="exponential", rng=3, **F64)
    skew = np.random.default_rng(0).normal(size=(6, 6))
    cell.skew.assign(skew)
    np.testing.assert_allclose(cell.recurrent_matrix().numpy(), scipy.linalg.expm(skew - skew.T), atol=1e-13)


def test_the_matrix_is_made_once_a_tape_and_follows_its_parameters():
    cell = rnn.UnitaryCell(3, 4, rng=0, **F64)
    with tg.Tape() as tape:
        scan_loss(cell, series(7))
    assert sum(record.primitive.name == "solve" for record in tape) == 1
    before = scan_loss(cell, series()).item()
    cell.skew.assign(cell.skew.numpy() + 0.1 * np.triu(np.ones((4, 4))))
    assert scan_loss(cell, series()).item() != before


def test_a_unitary_cell_does_not_shrink_a_gradient():
    """With modReLU's bias at zero the recurrence is linear, and ‖∂L/∂h_0‖ does not depend on the length."""
    for kind in ("real", "complex"):
        cell = rnn.UnitaryCell(1, 8, kind, rng=0, **F64)
        cell.bias.assign(np.zeros(8))
        size = cell.weight_ih.shape[0]
        h = tg.tensor(np.random.default_rng(0).normal(size=(1, size)))
        weights = tg.tensor(np.random.default_rng(1).normal(size=(1, size)))
        with tg.Tape() as tape:
            ys, _ = rnn.scan(cell, tg.zeros((300, 1, 1), **F64), h)
            loss = tg.sum(ys[-1] * weights)
        assert np.linalg.norm(tape.gradient(loss, h).numpy()) == pytest.approx(
            np.linalg.norm(weights.numpy()), rel=1e-9
        )


def test_hopfield_energy_never_rises_and_stored_patterns_stay():
    rng = np.random.default_rng(0)
    patterns = np.where(rng.random((4, 100)) < 0.5, -1.0, 1.0)
    network = rnn.HopfieldNetwork(100, **F64)
    network.store(patterns)
    np.testing.assert_array_equal(network.recall(patterns, rng=0).numpy(), patterns)
    states = np.where(rng.random((6, 100)) < 0.5, -1.0, 1.0)
    energies = [network.energy(states).numpy()]
    for seed in range(4):
        states = network.recall(states, sweeps=1, rng=seed).numpy()
        energies.append(network.energy(states).numpy())
    assert np.all(np.diff(energies, axis=0) <= 1e-12) and np.any(np.diff(energies, axis=0) < 0)
    with pytest.raises(ArgumentError, match=r"2 \* patterns - 1"):
        network.store(np.zeros((1, 100)))
    with pytest.raises(ShapeError, match=r"\(B, 100\)"):
        network.recall(np.ones((1, 99)))


@pytest.mark.parametrize("score", ["additive", "dot"])
def test_attention_is_a_weighted_mean_with_right_gradients(score):
    attention = rnn.Attention(4, 3, score, rng=0, **F64)
    rng = np.random.default_rng(0)
    query, keys = rng.normal(size=(2, 4)), rng.normal(size=(5, 2, 3))
    context, weights = attention(tg.tensor(query), tg.tensor(keys), lengths=[5, 3])
    np.testing.assert_allclose(weights.numpy().sum(axis=0), 1, atol=1e-14)
    assert np.all(weights.numpy()[3:, 1] == 0)
    np.testing.assert_allclose(context.numpy(), (weights.numpy()[..., None] * keys).sum(axis=0))
    assert_gradients(lambda q, k: attention(q, k, lengths=[5, 3])[0], query, keys)
    with pytest.raises(ShapeError, match=r"\(T, 2, 3\)"):
        attention(tg.tensor(query), tg.zeros((5, 1, 3), **F64))


TREES = [
    Tree(3, (Tree(0), Tree(4, (Tree(1), Tree(2))))),
    Tree(1),
    Tree(4, (Tree(3, (Tree(3, (Tree(0), Tree(0))), Tree(2))), Tree(1))),
    Tree(3, (Tree(2),)),
]


@pytest.mark.parametrize("kind", [rnn.TreeRNN, rnn.TreeLSTM])
def test_a_forest_in_one_go_is_each_tree_by_recursion(kind):
    network = kind(2, 3, rng=0, **F64)
    table = np.random.default_rng(0).normal(size=(5, 2))
    trees = rnn.forest(TREES)

    def root(tree):
        """One tree alone, by recursion, in plain NumPy."""
        x, w, u, b = table[tree.label], *(p.numpy() for p in (network.weight_ih, network.weight_hh, network.bias))
        below = [root(child) for child in tree.children] + [np.zeros((2, 3))] * (2 - len(tree.children))
        flat = u @ np.concatenate([h for h, _ in below])
        if kind is rnn.TreeRNN:
            return np.array([np.tanh(w @ x + flat + b), np.zeros(3)])
        a = w @ x + b
        sigmoid = lambda v: 1 / (1 + np.exp(-v))
        c = sigmoid(a[:3] + flat[:3]) * np.tanh(a[6:9] + flat[3:6])
        for k, (_, below_c) in enumerate(below):
            c = c + sigmoid(a[3:6] + flat[9 + 3 * k : 12 + 3 * k]) * below_c
        return np.array([sigmoid(a[9:] + flat[6:9]) * np.tanh(c), c])

    found = network(tg.tensor(table[trees.labels]), trees)
    h = found if kind is rnn.TreeRNN else found[0]
    np.testing.assert_allclose(h[trees.roots].numpy(), [root(tree)[0] for tree in TREES], rtol=1e-12)

    def out(x):
        made = network(x, trees)
        return (made if kind is rnn.TreeRNN else made[0])[trees.roots]

    assert_gradients(out, table[trees.labels])


def test_a_chain_is_a_recurrent_network():
    """Back-propagation through structure on a chain is back-propagation through time."""
    network = rnn.TreeRNN(2, 3, arity=1, rng=0, **F64)
    xs = np.random.default_rng(0).normal(size=(4, 2))
    chain = Tree(0)
    for label in range(1, 4):
        chain = Tree(label, (chain,))
    trees = rnn.forest([chain], arity=1)
    cell = rnn.ElmanCell(2, 3, **F64)
    for mine, theirs in (
        (cell.weight_ih, network.weight_ih),
        (cell.weight_hh, network.weight_hh),
        (cell.bias_ih, network.bias),
    ):
        mine.assign(theirs.numpy())
    cell.bias_hh.assign(np.zeros(3))
    with tg.Tape() as tape:
        loss = tg.sum(network(tg.tensor(xs[trees.labels]), trees)[trees.roots])
    through_structure = tape.gradient(loss, network.weight_hh)
    with tg.Tape() as tape:
        loss = tg.sum(rnn.scan(cell, tg.tensor(xs[:, None]))[1])
    np.testing.assert_allclose(through_structure.numpy(), tape.gradient(loss, cell.weight_hh).numpy(), rtol=1e-12)


def test_trees_may_be_very_deep():
    chain = Tree(0)
    for _ in range(5000):
        chain = Tree(0, (chain,))
    assert len(rnn.forest([chain], arity=1).starts) == 5002


def test_wrong_trees_and_options_say_so():
    with pytest.raises(ArgumentError, match="at least one tree"):
        rnn.forest([])
    with pytest.raises(ArgumentError, match="3 children"):
        rnn.forest([Tree(0, (Tree(0), Tree(0), Tree(0)))])
    with pytest.raises(ShapeError, match="one input for each of 2 nodes"):
        rnn.TreeRNN(2, 3)(tg.ones((3, 2)), rnn.forest([Tree(0, (Tree(0),))]))
    with pytest.raises(ArgumentError, match="cayley"):
        rnn.UnitaryCell(2, 3, parametrization="householder")
    with pytest.raises(ArgumentError, match="additive"):
        rnn.Attention(2, 3, "cosine")
