"""A sweep changes nothing, and what it returns is nobody else's memory."""

import numpy as np
from laws.support import (
    SUBJECTS,
    arrays,
    draw_case,
    draw_rng,
    for_each,
    identical,
    lattice,
    listed,
    near,
    numpy_of,
    slack,
    subject_of,
)

import tinygrad_rnn as tg


@for_each(SUBJECTS)
def test_nothing_is_written_to_and_no_memory_is_shared(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    inputs = arrays(case)
    before = [np.array(x) for x in inputs]
    out, pull = tg.vjp(lambda *x: tuple(listed(case.fn(*x))), *case.inputs)
    seeds = [lattice(rng, y.shape) for y in out]
    kept = [np.array(v) for v in seeds]
    values = [np.array(y.numpy()) for y in out]
    gradients = numpy_of(pull(tuple([tg.asarray(v) for v in seeds])))
    tg.jvp(case.fn, list(case.inputs), [tg.asarray(lattice(rng, x.shape)) for x in inputs])
    identical(inputs, before)
    identical(seeds, kept)
    identical(numpy_of(out), values)
    for k, g in enumerate(gradients):
        for other in [*gradients[k + 1 :], *inputs, *seeds, *numpy_of(out)]:
            assert not np.shares_memory(g, other)


@for_each(SUBJECTS)
def test_views_and_copies_have_the_same_gradients(name, data):
    """Strides, order and repetition in memory are nobody's business; a sum may pair its terms differently."""
    case = draw_case(data, name)
    view = subject_of(case.fn, case.inputs)
    copy = subject_of(case.fn, [np.array(x, order="C") for x in arrays(case)])
    v = lattice(draw_rng(data), view.first.shape)
    near(view.pull(v), copy.pull(v), slack(copy, v))
