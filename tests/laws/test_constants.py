"""What is constant, detached or unused gets no gradient, and changes nobody else's."""

import pytest
from laws.support import (
    SUBJECTS,
    draw_case,
    draw_rng,
    for_each,
    identical,
    lattice,
    listed,
    near,
    slack,
    subject_of,
)

import tinygrad_rnn as tg
from tinygrad_rnn.errors import UnusedSourceError


@for_each(SUBJECTS)
def test_a_detached_branch_gets_exactly_nothing(name, data):
    case = draw_case(data, name)

    def fn(*x):
        return (*listed(case.fn(*[each.detach() for each in x])), *[3 * each for each in x])

    subject = subject_of(fn, case.inputs)
    v = lattice(draw_rng(data), subject.first.shape)
    seeds = subject.split(v)[-len(case.inputs) :]
    identical(subject.pull(v), [3 * w for w in seeds])


@for_each(SUBJECTS)
def test_an_unused_source_raises_unless_zeros_are_asked_for(name, data):
    case = draw_case(data, name)
    spare = tg.ones((2, 3))
    with tg.Tape() as tape:
        watched = [tape.watch(x) for x in case.inputs]
        other = tape.watch(spare)
        y = listed(case.fn(*watched))[0]
        loss = tg.sum(y * y)
    with pytest.raises(UnusedSourceError):
        tape.gradient(loss, [other])
    zeros = tape.gradient(loss, [*watched, other], unused="zeros")[-1]
    assert zeros.shape == spare.shape
    assert zeros.dtype == spare.dtype
    assert not zeros.numpy().any()


@for_each(SUBJECTS)
def test_an_input_held_constant_changes_no_other_gradient(name, data):
    case = draw_case(data, name)
    whole = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), whole.first.shape)
    expected, allowed = whole.pull(v), slack(whole, v)
    for k, x in enumerate(case.inputs):

        def alone(moving, k=k):
            return case.fn(*[moving if i == k else each for i, each in enumerate(case.inputs)])

        near(subject_of(alone, [x]).pull(v), [expected[k]], [allowed[k]])
