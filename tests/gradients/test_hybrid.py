"""Schmidhuber's blocks: when gradients come, what is refused."""

import numpy as np
import pytest
from recurrent_cells import Coupled, Readout, TwoSpeeds, assert_same, sequence, stream

import tinygrad_rnn as tg
from tinygrad_rnn import gradients
from tinygrad_rnn.errors import ArgumentError, GradientError


def test_gradients_come_at_the_end_of_a_block_and_of_the_stream():
    learner = gradients.Hybrid(3).start(TwoSpeeds(), 2)
    given = [learner.step(x, Readout()).gradients is not None for x in sequence(7)]
    assert given == [False, False, True, False, False, True, False]
    assert learner.flush() is not None
    assert learner.flush() is None


def test_a_flush_inside_a_block_counts_each_loss_once():
    cell, xs, loss = TwoSpeeds(), sequence(5), Readout()
    learner = gradients.Hybrid(4).start(cell, 2)
    total = None
    for x in xs:
        total = gradients.rule.add_gradients(total, learner.step(x, loss).gradients)
        total = gradients.rule.add_gradients(total, learner.flush())
    assert_same(total, gradients.BPTT().gradient(cell, xs, loss).gradients)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_lanes_that_start_anew_inside_a_block(at):
    cell, xs, loss = TwoSpeeds(), sequence(6, 3), Readout()
    resets = {at: np.array([True, False, True]), 4: np.array([False, True, True])}
    got, _ = stream(gradients.Hybrid(3), cell, xs, loss, resets)
    wanted, _ = stream(gradients.BPTT(), cell, xs, loss, resets)
    assert_same(got, wanted)


def test_lanes_that_influence_each_other_are_refused():
    with pytest.raises(GradientError, match="influence each other"):
        gradients.Hybrid(2).gradient(Coupled(), sequence(3), Readout())
    one = sequence(4, batch=1)
    assert_same(
        gradients.Hybrid(2).gradient(Coupled(), one, Readout()).gradients,
        gradients.BPTT().gradient(Coupled(), one, Readout()).gradients,
    )


@pytest.mark.parametrize("block", [0, 1.5, True])
def test_a_block_is_a_number_of_steps(block):
    with pytest.raises(ArgumentError, match="block"):
        gradients.Hybrid(block)


def test_the_stream_goes_on_after_a_loss_that_ignores_the_output():
    cell, xs = TwoSpeeds(), sequence(4)
    rule = gradients.Hybrid(2)
    got = rule.gradient(cell, xs, lambda y, t: tg.sum(y) if t == 3 else tg.tensor(np.array(0.0))).gradients
    assert_same(got, gradients.BPTT().gradient(cell, xs, lambda y, t: tg.sum(y) * (t == 3)).gradients)
