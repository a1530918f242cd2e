"""BPTT with few states in memory: the schedule is optimal, the gradient is that of BPTT to the bit."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_cells import Readout, TwoSpeeds, cells, sequence, stream

import tinygrad_rnn as tg
from tinygrad_rnn import gradients, rnn
from tinygrad_rnn.errors import ArgumentError, DataError, StateDictError
from tinygrad_rnn.gradients import checkpointed
from tinygrad_rnn.gradients.checkpointed import advances


def assert_bitwise(got, wanted):
    assert set(got) == set(wanted)
    for name in wanted:
        assert np.array_equal(got[name].numpy(), wanted[name].numpy()), name
    assert any(np.abs(g.numpy()).max() > 0 for g in wanted.values())


@given(cell=cells(), slots=st.none() | st.integers(1, 5), steps=st.integers(1, 12), batch=st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_it_equals_bptt_bit_for_bit(cell, slots, steps, batch):
    rule, xs = gradients.CheckpointedBPTT(slots), sequence(steps, batch)
    got, wanted = (each.gradient(cell, xs, Readout()) for each in (rule, gradients.BPTT()))
    assert_bitwise(got.gradients, wanted.gradients)
    assert got.loss.item() == wanted.loss.item()
    resets = {steps // 2: np.arange(batch) == 0}
    assert_bitwise(
        stream(rule, cell, xs, Readout(), resets)[0], stream(gradients.BPTT(), cell, xs, Readout(), resets)[0]
    )


@functools.cache
def fewest(steps, slots):
    """Fewest steps without a tape, by trying every place for the next state to keep."""
    if steps <= 1:
        return 0
    if slots == 1:
        return steps * (steps - 1) // 2
    return min(ahead + fewest(steps - ahead, slots - 1) + fewest(ahead, slots) for ahead in range(1, steps))


@pytest.mark.parametrize("slots", range(1, 7))
def test_the_schedule_is_the_best_there_is(slots, monkeypatch):
    """The formula is the minimum of the dynamic programme, and the schedule runs that number of steps."""
    calls = []
    plain = checkpointed.run_step
    monkeypatch.setattr(checkpointed, "run_step", lambda *args: calls.append(1) or plain(*args))
    cell = rnn.ElmanCell(1, 1, rng=0)
    for steps in (1, 2, 3, 5, 9, 16, 27):
        assert advances(steps, slots) == fewest(steps, slots)
        calls.clear()
        gradients.CheckpointedBPTT(slots).gradient(cell, np.ones((steps, 1, 1), np.float32), lambda y, t: tg.sum(y))
        assert len(calls) == fewest(steps, slots)


def test_a_thousand_steps_and_fifty_slots():
    assert advances(1000, 50) == 1948  # the number of [Griewank & Walther 2000], r = 2


@pytest.mark.parametrize("slots", [1, 3, None])
def test_no_more_states_and_tapes_are_alive_than_promised(slots, monkeypatch):
    """Counted: tapes at once, and states handed to `reverse`, which are those that are kept."""
    alive, most, depth, deepest = [0], [0], [0], [0]

    class Counted(checkpointed.StepRecord):
        def __init__(self, *args):
            super().__init__(*args)
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= 1

    plain = checkpointed._Reversal.reverse

    def reverse(self, *args):
        depth[0] += 1
        deepest[0] = max(deepest[0], depth[0])
        plain(self, *args)
        depth[0] -= 1

    monkeypatch.setattr(checkpointed, "StepRecord", Counted)
    monkeypatch.setattr(checkpointed._Reversal, "reverse", reverse)
    xs = np.ones((25, 1, 1), np.float32)
    gradients.CheckpointedBPTT(slots).gradient(rnn.ElmanCell(1, 1, rng=0), xs, lambda y, t: tg.sum(y))
    if slots is None:
        assert most[0] <= 5 + 1
    else:
        assert deepest[0] <= slots and most[0] <= 2  # one goes as the next comes


def test_parameters_that_change_are_those_that_each_step_saw():
    def run(rule):
        cell = TwoSpeeds()
        return stream(rule, cell, sequence(9), Readout(), after=lambda t: cell.u.assign(cell.u.numpy() + 0.1))[0]

    assert_bitwise(run(gradients.CheckpointedBPTT(2)), run(gradients.BPTT()))


def test_a_later_flush_counts_later_losses_alone():
    cell, xs, loss = TwoSpeeds(), sequence(6), Readout()

    def run(rule):
        learner = rule.start(cell, 2)
        out = []
        for t in range(6):
            learner.step(xs[t], loss)
            if t in (2, 5):
                out.append(learner.flush())
        return out

    for got, wanted in zip(run(gradients.CheckpointedBPTT(2)), run(gradients.BPTT())):
        assert_bitwise(got, wanted)


def test_bad_input_says_what_came():
    for slots in (0, 2.0, True):
        with pytest.raises(ArgumentError, match="slots"):
            gradients.CheckpointedBPTT(slots)
    xs = sequence(6).numpy().copy()
    xs[2] = np.nan
    for slots in (1, None):
        with pytest.raises(DataError, match="step 2"):
            gradients.CheckpointedBPTT(slots).gradient(TwoSpeeds(), xs, Readout())
    learner = gradients.CheckpointedBPTT().start(TwoSpeeds(), 2)
    with pytest.raises(StateDictError, match="missing"):
        learner.load_state_dict({})
    with pytest.raises(StateDictError, match="lanes"):
        learner.load_state_dict(gradients.CheckpointedBPTT().start(TwoSpeeds(), 1).state_dict())
