"""What online learning computes, as laws over built-in cells, stacks and cells of users.

Comparisons are relative to the largest entry of the gradient, and fail where that is zero; a rule that is meant to be
biased, or a parameter that is meant to matter, is seen to make a difference.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from recurrent_cells import (
    BUILT_IN,
    CELLS,
    ELEMENTWISE,
    EPS,
    Readout,
    TwoSpeeds,
    WeightInWeight,
    assert_same,
    cells,
    difference,
    sequence,
    stream,
)

import tinygrad_rnn as tg
from tinygrad_rnn import gradients, nn
from tinygrad_rnn import testing as tgt
from tinygrad_rnn.gradients import BPTT, RTRL, CheckpointedBPTT, DiagonalRTRL, Hybrid, TruncatedBPTT
from tinygrad_rnn.gradients.jacobian import StepTape
from tinygrad_rnn.rnn.state import leaves_of

law = settings(max_examples=25, deadline=None)
lengths, lanes, seeds = st.integers(1, 7), st.integers(1, 3), st.integers(0, 99)
FORWARD = [RTRL(), RTRL(kernels=False), Hybrid(1), Hybrid(3)]


def run_resets(batch, steps):
    """Some lane starts anew half-way, and all of them later."""
    return {steps // 2: np.arange(batch) == 0, steps - 1: np.ones(batch, dtype=bool)} if steps > 3 else {}


# ---- 1: RTRL and BPTT compute the same gradient, of the whole and of each step's loss


@given(cell=cells(), steps=lengths, batch=lanes, seed=seeds)
@law
def test_rtrl_equals_bptt(cell, steps, batch, seed):
    """Real-time recurrent learning and back-propagation through time compute the same gradient."""
    xs, loss = sequence(steps, batch, seed=seed), Readout()
    wanted = BPTT().gradient(cell, xs, loss)
    for rule in (RTRL(), RTRL(kernels=False)):
        got = rule.gradient(cell, xs, loss)
        assert_same(got.gradients, wanted.gradients)
        assert got.loss.item() == pytest.approx(wanted.loss.item(), rel=1e-12)
        for a, b in zip(leaves_of(got.state), leaves_of(wanted.state)):
            assert np.abs(a.numpy() - b.numpy()).max() < 1e-12


@given(cell=cells(), steps=lengths, batch=lanes, seed=seeds)
@law
def test_each_step_of_rtrl_gives_the_gradient_of_its_own_loss(cell, steps, batch, seed):
    """g_t is the gradient of ℓ_t alone, with respect to parameters at all steps so far."""
    xs, loss = sequence(steps, batch, seed=seed), Readout()
    _, online = stream(RTRL(), cell, xs, loss)
    last = steps - 1
    wanted, _ = stream(BPTT(), cell, xs, Only(loss, last))
    got = {f"loss.loss.{n[5:]}" if n.startswith("loss.") else n: g for n, g in online[last].gradients.items()}
    assert_same(got, wanted)


class Only(nn.Module):
    """A loss at one step, zero at all others."""

    def __init__(self, loss, at):
        super().__init__()
        self.loss, self.at = loss, at

    def forward(self, y, t):
        return self.loss(y, t) if t == self.at else tg.tensor(np.array(0.0))


@given(case=tgt.cells(steps=(1, 6)))
@law
def test_rtrl_equals_bptt_on_the_public_strategy(case):
    wanted = BPTT().gradient(*case.run()).gradients
    assume(max(np.abs(g.numpy()).max() for g in wanted.values()) > 0)  # all-zero weights and targets are drawn too
    for rule in FORWARD:
        assert_same(rule.gradient(*case.run()).gradients, wanted)


class ProgramCell(nn.Module):
    """A cell made of a random program: its first input is the state, the others are parameters."""

    def __init__(self, program):
        super().__init__()
        self.program, first = program, program.inputs[0]
        self.shape = first.shape
        self.start = tg.Parameter(first.numpy())
        self.count = len(program.inputs) - 1
        for k, given_input in enumerate(program.inputs[1:]):
            setattr(self, f"p{k}", tg.Parameter(given_input.numpy()))

    def initial_state(self, batch):
        return tg.reshape(self.start, (1, *self.shape))

    def forward(self, x, h):
        inside = tg.reshape(h, self.shape) + tg.sum(x)
        y = self.program(inside, *[getattr(self, f"p{k}") for k in range(self.count)])
        return tg.tanh(0.5 * h + tg.mean(y) * tg.ones_like(h))


@given(program=tgt.programs(), steps=st.integers(1, 4))
@law
def test_rtrl_equals_bptt_on_random_programs(program, steps):
    cell, xs = ProgramCell(program), 0.5 * sequence(steps, 1)
    wanted = BPTT().gradient(cell, xs, lambda y, t: tg.sum(y * (1 + t))).gradients
    scale = max(np.abs(g.numpy()).max() for g in wanted.values())
    assume(1e-8 < scale < 1e8)
    for rule in (RTRL(), Hybrid(2)):
        got = rule.gradient(cell, xs, lambda y, t: tg.sum(y * (1 + t))).gradients
        for name in wanted:  # the slopes of a program reach 1e3, and cancel
            assert np.abs(got[name].numpy() - wanted[name].numpy()).max() <= 1e-9 * max(scale, 1.0)


@given(kind=st.sampled_from(list(BUILT_IN)), steps=lengths, batch=lanes, seed=seeds)
@law
def test_the_structured_and_the_general_path_agree(kind, steps, batch, seed):
    """Kernels that know the equations of a cell, and Jacobians from its tape, give the same at every step."""
    cell, xs = CELLS[kind](seed), sequence(steps, batch, seed=seed)
    resets = run_resets(batch, steps)
    _, structured = stream(RTRL(), cell, xs, Readout(), resets)
    _, general = stream(RTRL(kernels=False), cell, xs, Readout(), resets)
    for a, b in zip(structured, general):
        scale = max(1.0, *[np.abs(g.numpy()).max() for g in b.gradients.values()])
        for name in b.gradients:
            assert np.abs(a.gradients[name].numpy() - b.gradients[name].numpy()).max() <= 1000 * EPS * scale, name


# ---- 2: what a stale influence means


@pytest.mark.parametrize("rule", [*FORWARD, BPTT(), CheckpointedBPTT(2)], ids=repr)
def test_while_weights_change_the_gradient_is_by_one_offset_along_the_recorded_path(rule):
    """... and not the gradient at the parameters of the end."""
    path = 0.2

    def along(cell):
        return lambda t: cell.u.assign(cell.u.numpy() + path)

    cell, loss, xs = TwoSpeeds(), Readout(), sequence(6)
    got, _ = stream(rule, cell, xs, loss, after=along(cell))
    fresh = TwoSpeeds()
    with tg.Tape() as tape:
        offset = tg.zeros((3, 3), dtype=tg.float64)
        state, total = fresh.initial_state(2), 0.0
        for t in range(6):
            h, slow = state
            slow = 0.9 * slow + 0.1 * h
            state = tg.tanh(xs[t] @ fresh.w + h @ (fresh.u + t * path + offset) + slow), slow
            total = total + loss(state[0], t)
    wanted = {"u": tape.gradient(total, offset)}
    assert_same({"u": got["u"]}, wanted)
    at_the_end = BPTT().gradient(cell, xs, loss).gradients
    assert difference({"u": at_the_end["u"]}, wanted) > 0.01


# ---- 4, 8, 9, 11: limits in which rules coincide


@given(kind=st.sampled_from(list(ELEMENTWISE)), steps=lengths, batch=lanes, seed=seeds)
@law
def test_diagonal_rtrl_equals_rtrl_where_it_serves(kind, steps, batch, seed):
    cell, xs = CELLS[kind](seed), sequence(steps, batch, seed=seed)
    assert_same(DiagonalRTRL().gradient(cell, xs, Readout()).gradients, RTRL().gradient(cell, xs, Readout()).gradients)


@given(cell=cells(), steps=lengths, extra=st.integers(0, 3))
@law
def test_a_window_as_long_as_the_sequence_is_bptt(cell, steps, extra):
    """One chunk is BPTT to the bit."""
    xs = sequence(steps)
    wanted = BPTT().gradient(cell, xs, Readout()).gradients
    got = TruncatedBPTT(steps, steps + extra).gradient(cell, xs, Readout()).gradients
    for name in wanted:
        assert np.array_equal(got[name].numpy(), wanted[name].numpy()), name
    assert max(np.abs(g.numpy()).max() for g in wanted.values()) > 0


def test_a_window_that_is_shorter_is_not_bptt():
    xs, cell = sequence(6), TwoSpeeds()
    wanted = BPTT().gradient(cell, xs, Readout()).gradients
    assert difference(TruncatedBPTT(2, 2).gradient(cell, xs, Readout()).gradients, wanted) > 1e-3


@given(cell=cells(), slots=st.none() | st.integers(1, 4), steps=lengths)
@law
def test_checkpointing_changes_no_bit(cell, slots, steps):
    xs = sequence(steps)
    wanted = BPTT().gradient(cell, xs, Readout()).gradients
    got = CheckpointedBPTT(slots).gradient(cell, xs, Readout()).gradients
    for name in wanted:
        assert np.array_equal(got[name].numpy(), wanted[name].numpy()), name


@given(cell=cells(), block=st.integers(1, 8), steps=lengths, batch=lanes, seed=seeds)
@law
def test_blocks_of_any_length_equal_bptt(cell, block, steps, batch, seed):
    xs, resets = sequence(steps, batch, seed=seed), run_resets(batch, steps)
    got, _ = stream(Hybrid(block), cell, xs, Readout(), resets)
    assert_same(got, stream(BPTT(), cell, xs, Readout(), resets)[0])


@given(cell=cells(), steps=lengths, batch=lanes, seed=seeds)
@law
def test_blocks_of_one_step_are_rtrl(cell, steps, batch, seed):
    xs = sequence(steps, batch, seed=seed)
    _, blocks = stream(Hybrid(1), cell, xs, Readout())
    _, online = stream(RTRL(), cell, xs, Readout())
    for a, b in zip(blocks, online):
        scale = max(1.0, *[np.abs(g.numpy()).max() for g in b.gradients.values()])
        for name in b.gradients:
            assert np.abs(a.gradients[name].numpy() - b.gradients[name].numpy()).max() <= 1000 * EPS * scale


# ---- 14: a stream that is saved and goes on elsewhere


RESUMED = [*FORWARD, CheckpointedBPTT(), CheckpointedBPTT(2), gradients.ARTBP(0.4, seed=7)]


@given(cell=cells(), rule=st.sampled_from(RESUMED), at=st.integers(0, 7), batch=lanes)
@law
def test_a_saved_stream_resumes_bit_for_bit(cell, rule, at, batch):
    """Also in the middle of a block, with weights that change, with lanes that start anew."""
    xs, loss, resets = sequence(8, batch), Readout(), {3: np.arange(batch) == 0, 6: np.arange(batch) > 0}
    _, changing = next(iter(cell.named_parameters()))
    values = [changing.numpy() * 0.99**t for t in range(9)]

    def run(learner, start, stop):
        out = []
        for t in range(start, stop):
            changing.assign(values[t])
            out.append(learner.step(xs[t], loss, reset=resets.get(t)))
        changing.assign(values[stop])
        return out

    whole = rule.start(cell, batch)
    steps = run(whole, 0, 8)
    wanted = whole.flush()
    first = rule.start(cell, batch)
    parts = run(first, 0, at)
    rest = rule.start(cell, batch)
    rest.load_state_dict(first.state_dict())
    parts += run(rest, at, 8)
    changing.assign(values[0])
    for a, b in zip(steps, parts):
        assert a.loss.item() == b.loss.item()
        same(a.gradients, b.gradients)
    same(wanted, rest.flush())


def same(a, b):
    assert (a is None) == (b is None)
    for name in a or ():
        assert np.array_equal(a[name].numpy(), b[name].numpy()), name


# ---- 15: lanes


@given(cell=cells(), rule=st.sampled_from([*FORWARD, BPTT()]), cut=st.integers(1, 5), batch=st.integers(2, 3))
@law
def test_lanes_are_separate_streams_and_a_reset_starts_one(cell, rule, cut, batch):
    """The gradient of a batch is the sum over lanes; a lane that is reset is two streams."""
    xs = sequence(6, batch)

    def loss(y, t):
        return tg.sum(y * y * (1 + t))

    got, _ = stream(rule, cell, xs, loss, {cut: np.arange(batch) == 0})
    parts = [BPTT().gradient(cell, xs[:, b : b + 1], loss) for b in range(1, batch)]
    parts.append(BPTT().gradient(cell, xs[:cut, :1], loss))
    parts.append(BPTT().gradient(cell, xs[cut:, :1], lambda y, t: loss(y, t + cut)))
    total = parts[0].gradients
    for part in parts[1:]:
        total = gradients.rule.add_gradients(total, part.gradients)
    assert_same(got, total)


@pytest.mark.parametrize("rule", [*FORWARD, BPTT(), CheckpointedBPTT()], ids=repr)
def test_a_loss_that_is_a_mean_gives_a_mean(rule):
    """The rules add what the loss makes of the lanes, once."""
    cell, xs = WeightInWeight(), sequence(4, 3)
    of_sum = rule.gradient(cell, xs, lambda y, t: tg.sum(y * y)).gradients
    of_mean = rule.gradient(cell, xs, lambda y, t: tg.sum(tg.mean(y * y, axis=0))).gradients
    assert_same({name: 3 * g for name, g in of_mean.items()}, of_sum)


# ---- 16: adjoints, and a tape that does not grow


@given(cell=cells(), batch=lanes, seed=seeds)
@law
def test_pushing_forward_and_pulling_back_are_adjoint(cell, batch, seed):
    """⟨v, D u⟩ = ⟨Dᵀ v, u⟩ for the step of every cell."""
    step = StepTape(cell, sequence(1, batch, seed=seed)[0], StepTape.start(cell, batch).after, batch)
    u, v = np.random.default_rng(seed).normal(size=(2, batch, step.layout.size))
    pushed, pulled = step.push(u), step.pull(v[None]).entering[0]
    size = max(np.abs(pushed).max(), np.abs(pulled).max())
    assert abs((v * pushed).sum() - (pulled * u).sum()) <= 1000 * EPS * max(size, 1.0)


@pytest.mark.parametrize("kind", CELLS)
def test_the_tape_of_a_forward_rule_does_not_grow_with_time(kind, monkeypatch):
    sizes = []
    plain = StepTape.__init__

    def noted(self, *args):
        plain(self, *args)
        if args[1] is not None:
            sizes.append(len(self.tape))

    monkeypatch.setattr(StepTape, "__init__", noted)
    stream(RTRL(kernels=False), CELLS[kind](0), sequence(6), Readout())
    assert len(sizes) == 6 and len(set(sizes)) == 1 and sizes[0] > 0


# ---- what every rule says of itself


@given(cell=cells(), rule=st.sampled_from([*FORWARD, BPTT(), CheckpointedBPTT(), gradients.ARTBP(0.2)]))
@law
def test_no_parameter_is_left_out_without_a_word(cell, rule):
    """Coverage names every parameter, and what it calls exact has a gradient that some sequence makes non-zero."""
    names = [name for name, _ in cell.named_parameters()]
    coverage = rule.coverage(cell)
    assert list(coverage) == names
    assert set(coverage.values()) == {"exact" if rule.exactness == "exact" else "approximate"}
    assert set(rule.gradient(cell, sequence(3), Readout()).gradients) == {*names, "loss.v"}
