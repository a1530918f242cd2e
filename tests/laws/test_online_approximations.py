"""What approximate rules compute, as laws: biased ones in their limits; streams, lanes and memory of all of them.

Every law has a guard: the rule is seen to differ from RTRL where it is not in its limit, and no gradient is zero.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from recurrent_cells import (
    CELLS,
    ELEMENTWISE,
    Banded,
    Leaky,
    Readout,
    assert_same,
    cells,
    difference,
    sequence,
    stream,
)

import tinygrad_rnn as tg
from tinygrad_rnn import nn, rnn
from tinygrad_rnn import testing as tgt
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.gradients import (
    BPTT,
    DNI,
    KTP,
    RFLO,
    RTRL,
    UORO,
    EProp,
    KroneckerRTRL,
    OptimalKronecker,
    SnAp,
    TruncatedBPTT,
)
from tinygrad_rnn.gradients.jacobian import StepTape
from tinygrad_rnn.gradients.rule import add_gradients

law = settings(max_examples=20, deadline=None)
few = settings(max_examples=6, deadline=None)
lengths, lanes, seeds = st.integers(1, 7), st.integers(1, 3), st.integers(0, 99)
DENSE = ["elman", "gru", "gru, reset before", "lstm", "two speeds", "transposed", "weight in weight"]
RANDOM = [UORO(seed=3), KroneckerRTRL(seed=3), OptimalKronecker(1, seed=3), OptimalKronecker(2, seed=3), KTP(2, seed=3)]
LOCAL = [SnAp(1), SnAp(2), RFLO(0.5), EProp()]
APPROXIMATE = [*LOCAL, DNI(0.1), *RANDOM]


def served(rule, cell):
    """Leave out cells that a rule refuses."""
    try:
        rule.start(cell, 1)
    except ArgumentError:
        assume(False)


def squared(y, t):
    return tg.sum(y * y * (1 + t))


def gradient(rule, cell, xs, loss=None):
    return rule.gradient(cell, xs, loss or Readout()).gradients


# ---- 3, 4: sparse approximations in their limits


@given(cell=cells(), steps=lengths, batch=lanes, seed=seeds)
@law
def test_snap_is_rtrl_once_its_mask_is_closed(cell, steps, batch, seed):
    """Within as many steps as there are units every parameter reaches what it ever reaches."""
    xs, n = sequence(steps, batch, seed=seed), StepTape.start(cell, 1).layout.size
    closed = SnAp(n)
    assert set(closed.coverage(cell).values()) == {"exact"}
    assert_same(gradient(closed, cell, xs), gradient(RTRL(), cell, xs))


@given(kind=st.sampled_from([k for k in DENSE if k not in ("two speeds", "gru, reset before")]), seed=seeds)
@law
def test_two_steps_close_the_mask_of_a_dense_network_and_one_does_not(kind, seed):
    cell, xs = CELLS[kind](seed), sequence(5, seed=seed)
    assert_same(gradient(SnAp(2), cell, xs), gradient(RTRL(), cell, xs))
    if kind != "weight in weight":  # its softmax lets every weight reach every unit at once
        assert difference(gradient(SnAp(1), cell, xs), gradient(RTRL(), cell, xs)) > 1e-5
        assert "approximate" in SnAp(1).coverage(cell).values()


@given(seed=seeds)
@law
def test_a_chain_of_units_needs_as_many_steps_as_it_is_long(seed):
    """Four units, each of which feeds the next: the mask closes at n = 4, not at 3."""
    cell, xs = Banded(seed), sequence(6, seed=seed)
    wanted = gradient(RTRL(), cell, xs, Readout(4))
    assert_same(gradient(SnAp(4), cell, xs, Readout(4)), wanted)
    assert difference(gradient(SnAp(3), cell, xs, Readout(4)), wanted) > 1e-9
    assert SnAp(3).coverage(cell)["u"] == "approximate" and SnAp(4).coverage(cell)["u"] == "exact"


@given(kind=st.sampled_from(["independent"]), steps=lengths, batch=lanes, seed=seeds)
@law
def test_snap_of_one_step_is_rtrl_where_units_are_not_connected(kind, steps, batch, seed):
    cell, xs = ELEMENTWISE[kind](seed), sequence(steps, batch, seed=seed)
    assert_same(gradient(SnAp(1), cell, xs), gradient(RTRL(), cell, xs))
    connected = rnn.ElmanCell(2, 3, rng=seed, dtype="float64")
    assert difference(gradient(SnAp(1), connected, sequence(5)), gradient(RTRL(), connected, sequence(5))) > 1e-5


@given(leak=st.sampled_from([1.0, 0.3]), steps=lengths, batch=lanes, seed=seeds)
@law
def test_rflo_is_rtrl_without_recurrent_weights(leak, steps, batch, seed):
    cell, xs = Leaky(seed, leak), sequence(steps, batch, seed=seed)
    if steps > 2:
        assert difference(gradient(RFLO(), cell, xs), gradient(RTRL(), cell, xs)) > 1e-9
    cell.u.assign(np.zeros((3, 3)))
    assert_same(gradient(RFLO(), cell, xs), gradient(RTRL(), cell, xs))


# ---- 12, 13: learning signals from elsewhere


def later_cotangents(cell, xs, loss):
    """Of the whole state after each step, (B, n): what all later losses say, ∂(Σ_{s>t} ℓ_s)/∂s_t; and ∂(all)/∂z_t."""
    with tg.Tape() as tape:
        state, boxes, outputs, total = cell.initial_state(xs.shape[1]), [], [], 0.0
        for t in range(xs.shape[0]):
            after = cell(xs[t], state)
            leaves = list(after) if isinstance(after, tuple) else [after]
            added = [tape.watch(tg.zeros_like(leaf.detach())) for leaf in leaves]  # an offset for all later steps
            out = tape.watch(tg.zeros_like(leaves[0].detach()))  # and one for its own loss as well
            leaves[0] = leaves[0] + out
            total = total + loss(leaves[0], t)
            leaves = [leaf + more for leaf, more in zip(leaves, added)]
            state = tuple(leaves) if isinstance(after, tuple) else leaves[0]
            boxes.append(added)
            outputs.append(out)
    later = [np.concatenate([g.numpy() for g in tape.gradient(total, row, unused="zeros")], axis=1) for row in boxes]
    return later, [g.numpy() for g in tape.gradient(total, outputs)]


@given(cell=cells(["elman", "gru", "lstm", "two speeds", "stack", "independent"]), steps=st.integers(2, 6), batch=lanes)
@law
def test_synthetic_gradients_are_bptt_with_an_oracle_and_one_step_with_none(cell, steps, batch):
    xs, loss = sequence(steps, batch), Readout()
    later, _ = later_cotangents(cell, xs, loss)
    wanted = gradient(BPTT(), cell, xs, loss)
    assert_same(gradient(DNI(predict=lambda s, t: later[t]), cell, xs, loss), wanted)
    silent = gradient(DNI(predict=lambda s, t: tg.zeros_like(s)), cell, xs, loss)
    assert_same(silent, gradient(TruncatedBPTT(1, 1), cell, xs, loss))
    assert_same(gradient(DNI(learning_rate=0), cell, xs, loss), silent)
    assert difference(silent, wanted) > 1e-9


class Spiking(nn.Module):
    """Smooth integrate-and-fire units: (output, potential, adaptation). Outputs alone reach other units."""

    input_size, hidden = 2, 3

    def __init__(self, seed):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.w, self.u = tg.Parameter(rng.normal(size=(2, 3))), tg.Parameter(rng.normal(size=(3, 3)))
        self.decay = tg.Parameter(rng.uniform(0.4, 0.9, 3))

    def initial_state(self, batch):
        return tuple(tg.zeros((batch, 3), dtype="float64") for _ in range(3))

    def forward(self, x, state):
        z, v, a = state
        v = self.decay * v + x @ self.w + z @ self.u - 0.5 * z
        return tg.sigmoid(v - 0.3 * a), v, 0.8 * a + 0.2 * v


@given(
    cell=st.builds(Spiking, seeds) | cells(["lstm", "lstm without biases", "independent"]),
    steps=st.integers(2, 6),
    batch=lanes,
)
@law
def test_eprop_with_the_total_learning_signal_is_bptt(cell, steps, batch):
    """... and with that of the present loss alone it is not."""
    xs, loss = sequence(steps, batch), Readout()
    _, total = later_cotangents(cell, xs, loss)
    wanted, online = gradient(BPTT(), cell, xs, loss), gradient(EProp(), cell, xs, loss)
    if hasattr(cell, "start"):  # of one part, which is its own hidden state: nothing passes between units
        assert_same(online, wanted)
        return
    assert_same(gradient(EProp(feedback=lambda y, t: total[t]), cell, xs, loss), wanted)
    assert difference(online, wanted) > 1e-9


# ---- 14, 15, 16: streams, lanes, memory


@given(cell=cells(), rule=st.sampled_from(APPROXIMATE), at=st.integers(0, 6), batch=lanes)
@settings(max_examples=60, deadline=None)
def test_a_saved_stream_resumes_bit_for_bit(cell, rule, at, batch):
    """With random rules, weights that change, and lanes that start anew."""
    served(rule, cell)
    xs, loss, resets = sequence(7, batch), Readout(), {3: np.arange(batch) == 0, 5: np.arange(batch) > 0}
    _, changing = next(iter(cell.named_parameters()))
    values = [changing.numpy() * 0.99**t for t in range(8)]

    def run(learner, start, stop):
        out = []
        for t in range(start, stop):
            changing.assign(values[t])
            out.append(learner.step(xs[t], loss, reset=resets.get(t)))
        return out

    steps = run(rule.start(cell, batch), 0, 7)
    first, rest = rule.start(cell, batch), rule.start(cell, batch)
    parts = run(first, 0, at)
    rest.load_state_dict(first.state_dict())
    parts += run(rest, at, 7)
    changing.assign(values[0])
    for a, b in zip(steps, parts, strict=True):
        assert a.loss.item() == b.loss.item()
        for name in a.gradients:
            assert np.array_equal(a.gradients[name].numpy(), b.gradients[name].numpy()), name


@given(cell=cells(), rule=st.sampled_from(LOCAL), cut=st.integers(1, 5), batch=st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_lanes_are_separate_streams_and_a_reset_starts_one(cell, rule, cut, batch):
    served(rule, cell)
    xs = sequence(6, batch)
    got, _ = stream(rule, cell, xs, squared, {cut: np.arange(batch) == 0})
    total = gradient(rule, cell, xs[:cut, :1], squared)
    total = add_gradients(total, gradient(rule, cell, xs[cut:, :1], lambda y, t: squared(y, t + cut)))
    for b in range(1, batch):
        total = add_gradients(total, gradient(rule, cell, xs[:, b : b + 1], squared))
    assert_same(got, total)


@pytest.mark.parametrize("rule", [*LOCAL, DNI(0.1)], ids=repr)
def test_a_loss_that_is_a_mean_gives_a_mean(rule):
    cell, xs = Leaky(1) if isinstance(rule, RFLO) else ELEMENTWISE["independent"](1), sequence(4, 3)
    rule = DNI(0) if isinstance(rule, DNI) else rule  # what it learns depends on the size of the loss
    of_sum = gradient(rule, cell, xs, lambda y, t: tg.sum(y * y))
    of_mean = gradient(rule, cell, xs, lambda y, t: tg.sum(tg.mean(y * y, axis=0)))
    assert_same({name: 3 * g for name, g in of_mean.items()}, of_sum)


@pytest.mark.parametrize("rule", APPROXIMATE, ids=repr)
def test_neither_tape_nor_trace_grows_with_time(rule, monkeypatch):
    sizes, traces = [], []
    plain = StepTape.__init__

    def noted(self, *args):
        plain(self, *args)
        if args[1] is not None:
            sizes.append(len(self.tape))

    cell = Leaky(0) if not isinstance(rule, EProp) else CELLS["lstm"](0)
    learner, xs = rule.start(cell, 2), sequence(6)
    monkeypatch.setattr(StepTape, "__init__", noted)
    for x in xs:
        learner.step(x, Readout())
        traces.append(sum(array.size for array in flat_arrays(learner.trace()) if array.dtype != np.uint8))
    assert len(sizes) == 6 and len(set(sizes)) == 1 and sizes[0] > 0
    assert len(set(traces)) == 1 and traces[0] > 0


def flat_arrays(tree):
    return [tree] if isinstance(tree, np.ndarray) else [a for part in tree.values() for a in flat_arrays(part)]


# ---- what every rule says of itself


@given(cell=cells(), rule=st.sampled_from(APPROXIMATE))
@settings(max_examples=60, deadline=None)
def test_no_parameter_is_left_out_without_a_word(cell, rule):
    """A rule either refuses a cell, or gives every parameter a gradient, and what it calls exact is."""
    served(rule, cell)
    xs = sequence(4)
    coverage, got, wanted = rule.coverage(cell), gradient(rule, cell, xs), gradient(RTRL(), cell, xs)
    assert list(coverage) == [name for name, _ in cell.named_parameters()]
    assert set(got) == set(wanted) == {*coverage, "loss.v"}
    assert set(coverage.values()) <= {"exact", "approximate"}
    exact = [name for name, kind in coverage.items() if kind == "exact"] + ["loss.v"]
    assert_same({n: got[n] for n in exact}, {n: wanted[n] for n in exact}, factor=1e5)


@given(case=tgt.cells(steps=(1, 5)))
@law
def test_uoro_and_dni_serve_the_public_strategy(case):
    wanted = BPTT().gradient(*case.run()).gradients
    for rule in (UORO(0), DNI(0.01)):
        got = rule.gradient(*case.run())
        assert set(got.gradients) == set(wanted)
        assert all(np.isfinite(g.numpy()).all() for g in got.gradients.values())


def test_what_is_biased_says_so():
    assert {rule.exactness for rule in [*LOCAL, DNI()]} == {"biased"}
    assert {rule.exactness for rule in RANDOM} == {"unbiased"}
