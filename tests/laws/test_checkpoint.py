"""A checkpointed function has the gradients of the one that keeps everything, bit for bit."""

import numpy as np
from hypothesis import given, settings
from laws.support import SUBJECTS, draw_case, draw_rng, for_each, identical, lattice, listed, numpy_of, subject_of

import tinygrad_rnn as tg
from tinygrad_rnn.rnn.state import leaves_of
from tinygrad_rnn.testing.strategies import cells


@for_each(SUBJECTS)
def test_running_again_gives_the_gradients_of_the_stored_tape(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    stored = subject_of(case.fn, case.inputs)
    again = subject_of(tg.checkpoint(case.fn), case.inputs)
    v = lattice(rng, stored.first.shape)
    identical([stored.first], [again.first])
    identical(stored.pull(v), again.pull(v))
    for k, x in enumerate(case.inputs):
        u = lattice(rng, x.shape)
        identical([stored.push(k, u)], [again.push(k, u)])


@for_each(SUBJECTS)
def test_the_second_derivative_is_the_same_too(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    shapes = [y.shape for y in listed(case.fn(*case.inputs))]
    v = [tg.asarray(lattice(rng, shape)) for shape in shapes]
    w = [tg.asarray(lattice(rng, x.shape)) for x in case.inputs]

    def gradient(fn):
        return lambda *x: tuple(tg.vjp(lambda *y: tuple(listed(fn(*y))), *x)[1](tuple(v)))

    plain = tg.jvp(gradient(case.fn), list(case.inputs), w)[1]
    again = tg.jvp(gradient(tg.checkpoint(case.fn)), list(case.inputs), w)[1]
    identical(numpy_of(plain), numpy_of(again))
    assert all(np.isfinite(part).all() for part in numpy_of(plain))


@settings(deadline=None)
@given(case=cells(steps=(1, 3)))
def test_what_a_checkpointed_function_closes_over_gets_its_gradient(case):
    """The parameters of a cell, which are nobody's arguments."""

    def step(x, *state):
        return tuple(leaves_of(case.cell(x, state if len(state) > 1 else state[0])))

    def gradients(step):
        with tg.Tape() as tape:
            state = leaves_of(case.cell.initial_state(case.batch))
            loss = tg.zeros((), dtype="float64")
            for t in range(case.steps):
                state = step(case.xs[t], *state)
                loss = loss + case.loss(state[0], t)
        return numpy_of(tape.gradient(loss, list(case.cell.parameters())))

    identical(gradients(step), gradients(tg.checkpoint(step)))
