"""RTRL: its own machinery, its limits and its errors. The equality with BPTT is in laws/test_online_learning.py."""

import gc
import pickle
from itertools import pairwise

import numpy as np
import pytest
from recurrent_cells import BUILT_IN, CELLS, Coupled, Readout, TwoSpeeds, UserCell, assert_same, sequence, stream

import tinygrad_rnn as tg
from tinygrad_rnn import gradients, rnn
from tinygrad_rnn.errors import DataError, GradientError, StateDictError
from tinygrad_rnn.gradients.jacobian import Layout, StepTape
from tinygrad_rnn.gradients.pattern import patterns
from tinygrad_rnn.gradients.sweep import Outer
from tinygrad_rnn.rnn.state import leaves_of, like_state


def random_state(cell, batch, seed=0):
    rng = np.random.default_rng(seed)
    form = cell.initial_state(batch)
    return like_state(form, [tg.tensor(rng.normal(size=leaf.shape)) for leaf in leaves_of(form)])


def written_out(step, name, shape):
    """I of one parameter, (n, B, *shape)."""
    _, immediate = step.jacobian()
    lanes = step.layout.rows
    total = np.zeros((step.layout.size, lanes, *shape))
    for part in immediate.get(name, []):
        total = total + part.dense(np)
    return total


@pytest.mark.parametrize("kind", CELLS)
def test_the_jacobians_of_a_step_are_those_of_one_lane_after_another(kind):
    """D and I, against `tg.jacobian` of the step of each lane alone."""
    cell, batch = CELLS[kind](3), 3
    state, x = random_state(cell, batch), sequence(1, batch)[0]
    step = StepTape(cell, x, state, batch)
    d, _ = step.jacobian()
    n = step.layout.size
    assert d.shape == (batch, n, n)
    form = cell.initial_state(1)
    sizes = [leaf.shape[1] for leaf in leaves_of(form)]

    def flat(row, lane):
        parts = np.cumsum([0, *sizes])
        leaves = [row[:, a:b] for a, b in pairwise(parts)]
        return tg.concat(leaves_of(cell(x[lane : lane + 1], like_state(form, leaves))), axis=1)

    for lane in range(batch):
        row = tg.concat([leaf[lane : lane + 1] for leaf in leaves_of(state)], axis=1)
        expected = tg.jacobian(lambda r, lane=lane: flat(r, lane))(row).numpy().reshape(n, n)
        assert np.abs(d[lane] - expected).max() < 1e-13
        with tg.Tape() as tape:
            y = flat(row, lane)
        for name, p in cell.named_parameters():
            got = written_out(step, name, p.shape)
            for i in range(n):
                one = np.eye(n)[i : i + 1]
                wanted = tape.gradient(y, p, cotangent=one, unused="zeros").numpy()
                assert np.abs(got[i, lane] - wanted).max() < 1e-13, name


def test_the_immediate_jacobian_of_a_weight_matrix_is_never_written_out():
    cell = BUILT_IN["gru, reset before"](0)
    step = StepTape(cell, sequence(1, 2)[0], random_state(cell, 2), 2)
    _, immediate = step.jacobian()
    for name in ("weight_ih", "weight_hh"):
        assert all(isinstance(part.part, Outer) for part in immediate[name])


@pytest.mark.parametrize("kind", CELLS)
def test_the_pattern_of_the_jacobians_is_where_they_are_not_zero(kind):
    cell = CELLS[kind](5)
    state, x = random_state(cell, 1, seed=2), sequence(1, 1)[0]
    d, immediate = patterns(cell, x, state)
    step = StepTape(cell, x, state, 1)
    exact = kind != "elman relu"  # a unit that is off has slopes of zero; its pattern has not
    compare = np.array_equal if exact else lambda found, seen: bool((found | ~seen).all())
    assert compare(d, step.jacobian()[0][0] != 0)
    for name, p in cell.named_parameters():
        assert compare(immediate[name], written_out(step, name, p.shape)[:, 0] != 0), name


@pytest.mark.parametrize("kind", ["lstm", "two speeds", "transposed"])
def test_pushing_and_pulling_are_adjoint(kind):
    cell, rng = CELLS[kind](1), np.random.default_rng(0)
    step = StepTape(cell, sequence(1, 2)[0], random_state(cell, 2), 2)
    u, v = rng.normal(size=(2, 2, step.layout.size))
    pulled = step.pull(v[None]).entering[0]
    pushed = step.push(u)
    assert np.abs((pushed * v).sum() - (u * pulled).sum()) < 1e-13
    d, _ = step.jacobian()
    assert np.abs(pushed - np.einsum("bij,bj->bi", d, u)).max() < 1e-13


def test_a_layout_joins_and_splits_leaves():
    state = (tg.zeros((2, 3)), tg.zeros((2, 2, 2)), tg.zeros(2, dtype=tg.int64))
    layout = Layout.of(state, 2)
    assert (layout.lanes, layout.size, layout.places) == (True, 7, (0, 1))
    rows = np.arange(14.0).reshape(1, 2, 7)
    assert np.array_equal(layout.join(layout.split(rows, np), np), rows)


def test_lanes_that_influence_each_other_are_exact():
    cell, xs, loss = Coupled(), sequence(6, 3), Readout()
    resets = {3: np.array([True, False, False])}
    got, _ = stream(gradients.RTRL(), cell, xs, loss, resets)
    wanted, _ = stream(gradients.BPTT(), cell, xs, loss, resets)
    assert_same(got, wanted)
    step = StepTape(cell, xs[0], random_state(cell, 3), 3)
    assert step.jacobian()[0].shape == (1, 9, 9)
    with pytest.raises(GradientError, match="influence each other"):
        step.pull(np.ones((1, 3, 3)))


def test_a_state_that_is_a_parameter_has_its_gradient():
    class Table(UserCell):
        def __init__(self):
            super().__init__()
            self.table = tg.Parameter(np.ones((2, 3)))

        def initial_state(self, batch):
            return self.table

        def forward(self, x, h):
            return tg.tanh(x @ self.w + h @ self.u)

    cell, xs = Table(), sequence(2)
    got = gradients.RTRL().gradient(cell, xs, lambda y, t: tg.sum(y)).gradients["table"]
    with tg.Tape() as tape:
        total, state = 0.0, cell.table
        for t in range(2):
            state = cell(xs[t], state)
            total = total + tg.sum(state)
    assert np.abs(got.numpy() - tape.gradient(total, cell.table).numpy()).max() < 1e-14


def test_counters_in_a_state_pass_through():
    class Counting(UserCell):
        def initial_state(self, batch):
            return super().initial_state(batch), tg.zeros(batch, dtype=tg.int64)

        def forward(self, x, state):
            h, count = state
            return tg.tanh(x @ self.w + h @ self.u), count + 1

    result = gradients.RTRL().gradient(Counting(), sequence(4), Readout())
    assert result.state[1].tolist() == [4, 4]
    assert np.abs(result.gradients["u"].numpy()).max() > 0


@pytest.mark.parametrize("kind", ["gru", "two speeds"])
def test_frozen_parameters_have_no_influence(kind):
    cell = CELLS[kind](0)
    name, trained = next(iter(cell.named_parameters()))
    setattr(cell, name, tg.Parameter(trained.numpy(), requires_grad=False))
    assert gradients.RTRL().coverage(cell)[name] == "none"
    got = gradients.RTRL().gradient(cell, sequence(3), Readout()).gradients
    assert name not in got
    assert_same(got, gradients.BPTT().gradient(cell, sequence(3), Readout()).gradients)


STREAMS = {
    gradients.RTRL(): 100_000,
    gradients.RTRL(kernels=False): 1_000,
    gradients.Hybrid(4): 1_000,
    gradients.SnAp(1): 1_000,
    gradients.UORO(0): 1_000,
    gradients.KroneckerRTRL(0): 1_000,
    gradients.RFLO(): 1_000,
    gradients.DNI(): 1_000,
}


@pytest.mark.parametrize("rule", STREAMS, ids=repr)
def test_memory_does_not_grow_with_the_stream(rule):
    """Objects that are alive, and bytes of the trace, after so many steps are those after 100."""
    learner = rule.start(rnn.ElmanCell(1, 1, bias=False, rng=0), 1)
    x, zero = tg.ones((1, 1)), tg.tensor(0.0)

    def loss(y, t):
        return zero if t % 50 else tg.sum(y)  # a loss now and then: what is tested is the state and the influence

    def run(count):
        for _ in range(count):
            learner.step(x, loss)
        gc.collect()
        trace = learner.state_dict()["trace"]
        trace.pop("rng", None)  # as text; its length depends on the numbers in it
        return len(gc.get_objects()), len(pickle.dumps(trace))

    objects, size = run(100)
    objects_later, size_later = run(STREAMS[rule] - 100)
    assert learner.t == STREAMS[rule]
    assert objects_later - objects < 100
    assert size_later == size


def test_a_bptt_learner_does_grow():
    """The guard of the test above: the same count sees a window that grows."""
    learner = gradients.BPTT().start(rnn.ElmanCell(1, 1, rng=0), 1)
    counts = []
    for _ in range(2):
        for _ in range(50):
            learner.step(np.ones((1, 1), np.float32), lambda y, t: tg.sum(y))
        gc.collect()
        counts.append(len(gc.get_objects()))
    assert counts[1] - counts[0] > 100


@pytest.mark.parametrize("kind", ["gru", "gru, reset before"])
@pytest.mark.parametrize("kernels", [True, False])
def test_the_weights_of_a_reset_gate_are_exact(kind, kernels):
    """They reach the state through another product of weights; the rows of the r gate are not skipped."""
    cell, xs = BUILT_IN[kind](3), sequence(5)
    got = gradients.RTRL(kernels=kernels).gradient(cell, xs, Readout()).gradients
    wanted = gradients.BPTT().gradient(cell, xs, Readout()).gradients
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        r, exact = got[name].numpy()[:3], wanted[name].numpy()[:3]
        assert np.abs(exact).min() > 1e-6
        assert np.abs(r - exact).max() <= 1e-13 * np.abs(exact).max()


EVERY = [
    gradients.RTRL(), gradients.RTRL(kernels=False), gradients.Hybrid(1), gradients.SnAp(1), gradients.UORO(0),
    gradients.KroneckerRTRL(0), gradients.OptimalKronecker(2, 0), gradients.KTP(2, 0), gradients.RFLO(),
    gradients.DNI(0.1), gradients.BPTT(), gradients.TruncatedBPTT(1, 2), gradients.ARTBP(0.5, seed=0),
]  # fmt: skip


@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_nan_in_a_stream_is_reported_with_its_step(rule):
    xs = sequence(5).numpy().copy()
    xs[3, 1, 0] = np.nan
    with pytest.raises(DataError, match="step 3"):
        rule.gradient(rnn.GRUCell(2, 3, rng=0, dtype="float64"), xs, lambda y, t: tg.sum(y[:1]))


@pytest.mark.parametrize("rule", [gradients.RTRL(), gradients.RTRL(kernels=False)])
def test_an_influence_that_explodes_is_reported_with_its_step(rule):
    cell = rnn.ElmanCell(1, 1, "relu", bias=False, rng=0, dtype="float64")
    cell.weight_hh.assign([[1e200]])
    learner = rule.start(cell, 1)
    cell.weight_ih.assign([[1e-300]])  # the state reaches 1e100 at step 2, and its derivative 1e400
    for _ in range(2):
        learner.step(np.ones((1, 1)), lambda y, t: tg.sum(y))
    with pytest.raises(DataError, match=r"step 2; x and the state were finite"):
        learner.step(np.ones((1, 1)), lambda y, t: tg.sum(y))


def test_bad_input_says_what_came():
    learner = gradients.RTRL(kernels=False).start(TwoSpeeds(), 2)
    with pytest.raises(StateDictError, match="trace missing"):
        learner.load_state_dict({"t": 0, "batch": 2, "state": None})
    with pytest.raises(StateDictError, match="lanes"):
        learner.load_state_dict(gradients.RTRL().start(TwoSpeeds(), 3).state_dict())
    with pytest.raises(StateDictError, match="trace of w"):
        learner.load_state_dict({"t": 0, "batch": 2, "state": None, "trace": {}})

    class Integers(UserCell):
        def initial_state(self, batch):
            return tg.zeros((batch, 3), dtype=tg.int64)

    with pytest.raises(GradientError, match="floating"):
        gradients.RTRL().start(Integers(), 1)

    class Shared(UserCell):
        def initial_state(self, batch):
            return tg.broadcast_to(self.start, (batch, 3)), tg.zeros(5, dtype=tg.float64)

        def forward(self, x, state):
            h, memory = state
            return tg.tanh(h + tg.sum(memory)), memory + tg.mean(h)

    learner = gradients.RTRL().start(Shared(), 2)
    learner.step(np.zeros((2, 2)), lambda y, t: tg.sum(y))
    with pytest.raises(GradientError, match="first axis"):
        learner.step(np.zeros((2, 2)), lambda y, t: tg.sum(y), reset=[True, False])
