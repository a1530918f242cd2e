"""Gradients of gradients: Hessians are symmetric, and every order of the two sweeps gives the same."""

import numpy as np
from laws.support import SUBJECTS, draw_case, draw_rng, for_each, lattice, listed, near, numpy_of, slack, subject_of

import tinygrad_rnn as tg


def _gradient(case, v):
    """The gradient of <v, f> as a function of the inputs."""

    def fn(*x):
        _, pull = tg.vjp(lambda *y: tuple(listed(case.fn(*y))), *x)
        return tuple(pull(tuple([tg.asarray(part) for part in v])))

    return fn


def _setup(data, name):
    case = draw_case(data, name)
    rng = draw_rng(data)
    first = subject_of(case.fn, case.inputs)
    v = first.split(lattice(rng, first.first.shape))
    second = subject_of(_gradient(case, v), case.inputs)
    u, w = (lattice(rng, second.first.shape) for _ in range(2))
    return case, v, second, u, w


def _weighed(subject, allowed, u):
    return sum(most * np.sum(abs(part)) for most, part in zip(allowed, subject.split(u)))


def _flat(parts):
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts])


@for_each(SUBJECTS)
def test_hessians_are_symmetric(name, data):
    """u · H w is w · H u, each by reverse over reverse."""
    _, _, second, u, w = _setup(data, name)
    one, two = u @ _flat(second.pull(w)), w @ _flat(second.pull(u))
    allowed = _weighed(second, slack(second, w), u) + _weighed(second, slack(second, u), w)
    near([one], [two], [allowed])


@for_each(SUBJECTS)
def test_forward_over_reverse_is_reverse_over_reverse(name, data):
    _, _, second, u, w = _setup(data, name)
    by_reverse = _flat(second.pull(w))
    pushed = sum(second.push(k, part) for k, part in enumerate(second.split(u)))
    near([w @ pushed], [u @ by_reverse], [2 * _weighed(second, slack(second, w), u)])


@for_each(SUBJECTS)
def test_reverse_over_forward_is_reverse_over_reverse(name, data):
    case, v, second, u, w = _setup(data, name)
    directions = [tg.asarray(part) for part in second.split(w)]

    def pushed(*x):
        _, tangents = tg.jvp(lambda *y: tuple(listed(case.fn(*y))), list(x), directions)
        return tuple(tangents)

    _, pull = tg.vjp(pushed, *case.inputs)
    by_forward = _flat(numpy_of(pull(tuple([tg.asarray(part) for part in v]))))
    near([u @ by_forward], [u @ _flat(second.pull(w))], [2 * _weighed(second, slack(second, w), u)])
