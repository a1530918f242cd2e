"""RTRL of element-wise recurrences: the same numbers as RTRL, and refusal of everything else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_cells import CELLS, ELEMENTWISE, Readout, UserCell, assert_same, sequence, stream

import tinygrad_rnn as tg
from tinygrad_rnn import gradients
from tinygrad_rnn.errors import ArgumentError, GradientError


@given(
    kind=st.sampled_from(list(ELEMENTWISE)), seed=st.integers(0, 99), steps=st.integers(1, 8), batch=st.integers(1, 3)
)
@settings(max_examples=25, deadline=None)
def test_it_equals_rtrl(kind, seed, steps, batch):
    cell, xs = ELEMENTWISE[kind](seed), sequence(steps, batch, seed=seed)
    resets = {2: np.arange(batch) == 0}
    got, _ = stream(gradients.DiagonalRTRL(), cell, xs, Readout(), resets)
    wanted, _ = stream(gradients.RTRL(), cell, xs, Readout(), resets)
    assert_same(got, wanted)


@pytest.mark.parametrize("kind", [kind for kind in CELLS if kind not in ELEMENTWISE])
def test_other_cells_are_refused_with_the_reason(kind):
    cell = CELLS[kind](0)
    for meet in (
        lambda rule: rule.start(cell, 2),
        lambda rule: rule.coverage(cell),
        lambda rule: rule.gradient(cell, sequence(2), Readout()),
    ):
        with pytest.raises(ArgumentError, match=r"unit \d depends on unit \d|parts of one shape"):
            meet(gradients.DiagonalRTRL())


class SharedDecay(UserCell):
    """One decay for all units."""

    def __init__(self):
        super().__init__()
        self.decay = tg.Parameter(np.array(0.5))

    def forward(self, x, h):
        return tg.tanh(x @ self.w + self.decay * h + tg.sum(self.u, axis=0))


def test_a_parameter_of_several_units_is_refused():
    with pytest.raises(ArgumentError, match="one entry of decay acts on 3"):
        gradients.DiagonalRTRL().start(SharedDecay(), 1)


def test_what_is_refused_does_not_depend_on_values():
    class Connected(ELEMENTWISE["independent"]):
        def __init__(self):
            super().__init__()
            self.between = tg.Parameter(np.zeros((3, 3)))

        def forward(self, x, h):
            return super().forward(x, h) + h @ self.between

    with pytest.raises(ArgumentError, match="depends on unit"):
        gradients.DiagonalRTRL().start(Connected(), 1)


def test_a_cell_that_does_not_say_its_input_size_is_judged_at_its_first_step():
    class Quiet(UserCell):
        def __init__(self):
            super().__init__()
            self.input_size = None

        def forward(self, x, h):
            return tg.tanh(x @ self.w + h @ self.u)

    learner = gradients.DiagonalRTRL().start(Quiet(), 1)
    with pytest.raises(ArgumentError, match="depends on unit"):
        learner.step(np.zeros((1, 2)), lambda y, t: tg.sum(y))


def test_its_influence_is_as_large_as_the_parameters():
    cell, batch = ELEMENTWISE["independent"](0), 4
    learner = gradients.DiagonalRTRL().start(cell, batch)
    assert all(learner.influence[name].size == batch * p.size for name, p in cell.named_parameters())
    assert gradients.DiagonalRTRL().coverage(cell) == {"w": "exact", "u": "exact", "start": "exact"}


def test_lanes_that_influence_each_other_are_refused():
    class Mean(ELEMENTWISE["independent"]):
        def forward(self, x, h):
            return super().forward(x, h) - tg.mean(h, axis=0, keepdims=True)

    with pytest.raises(GradientError, match="influence each other"):
        gradients.DiagonalRTRL().gradient(Mean(), sequence(3), Readout())
