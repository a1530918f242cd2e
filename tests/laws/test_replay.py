"""The same computation twice gives the same, bit for bit; and a second backward adds once more."""

import numpy as np
from laws.support import SUBJECTS, arrays, draw_case, draw_rng, for_each, identical, lattice, listed, subject_of

import tinygrad_rnn as tg


@for_each(SUBJECTS)
def test_a_second_sweep_of_a_tape_gives_the_same_bits(name, data):
    case = draw_case(data, name)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), subject.first.shape)
    first = [np.array(g) for g in subject.pull(v)]
    identical(subject.pull(v), first)
    for k, x in enumerate(case.inputs):
        u = lattice(np.random.default_rng(k), x.shape)
        identical([np.array(subject.push(k, u))], [subject.push(k, u)])
    identical(subject.pull(v), first)


@for_each(SUBJECTS)
def test_recording_again_gives_the_same_bits(name, data):
    case = draw_case(data, name)
    one, two = (subject_of(case.fn, case.inputs) for _ in range(2))
    v = lattice(draw_rng(data), one.first.shape)
    identical([one.first], [two.first])
    identical(one.pull(v), two.pull(v))
    identical([one.first], [one.base()])  # without a tape too


@for_each(SUBJECTS)
def test_backward_adds_and_zeroing_starts_again(name, data):
    """A second backward doubles every .grad; after .grad = None it is the first one's, bit for bit."""
    case = draw_case(data, name)
    leaves = [tg.tensor(x, requires_grad=True) for x in arrays(case)]
    rng = draw_rng(data)
    with tg.Tape() as tape:
        outs = listed(case.fn(*leaves))
        loss = sum((tg.sum(y * tg.asarray(lattice(rng, y.shape))) for y in outs[1:]),
                   start=tg.sum(outs[0] * tg.asarray(lattice(rng, outs[0].shape))))  # fmt: skip
    tape.backward(loss)
    first = [None if x.grad is None else x.grad.numpy().copy() for x in leaves]
    tape.backward(loss)
    for x, g in zip(leaves, first):
        assert (x.grad is None) == (g is None)
        assert g is None or np.array_equal(x.grad.numpy(), 2 * g)
        x.grad = None
    tape.backward(loss)
    identical([x.grad.numpy() for x, g in zip(leaves, first) if g is not None], [g for g in first if g is not None])
