"""Random truncation: its limits, its seeds and its errors. Its mean over all cuts is in tests/laws."""

import numpy as np
import pytest
from recurrent_cells import Readout, TwoSpeeds, assert_same, sequence

import tinygrad_rnn as tg
from tinygrad_rnn import gradients
from tinygrad_rnn.errors import ArgumentError


class Scripted:
    """Stands for a generator: cuts where it is told."""

    def __init__(self, cuts):
        self.cuts = list(cuts)

    def random(self):
        return 0.0 if self.cuts.pop(0) else 1.0


def test_without_cuts_it_is_bptt():
    cell, xs, loss = TwoSpeeds(), sequence(6), Readout()
    assert_same(
        gradients.ARTBP(0.0).gradient(cell, xs, loss).gradients, gradients.BPTT().gradient(cell, xs, loss).gradients
    )


def test_gradients_come_when_time_is_cut():
    learner = gradients.ARTBP(0.5).start(TwoSpeeds(), 2)
    learner.rng = Scripted([False, True, False, True])
    assert [learner.step(x, Readout()).gradients is not None for x in sequence(5)] == [False, False, True, False, True]
    assert len(learner.window) == 1


def test_seeds_decide_the_cuts():
    cell, xs = TwoSpeeds(), sequence(12)
    runs = [gradients.ARTBP(0.4, seed=seed).gradient(cell, xs, Readout()).gradients["u"].numpy() for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("cut", [1.0, -0.1, "0.1", lambda length: 1.0])
def test_a_probability_lies_below_one(cut):
    with pytest.raises(ArgumentError, match="probability"):
        gradients.ARTBP(cut).gradient(TwoSpeeds(), sequence(3), lambda y, t: tg.sum(y))
