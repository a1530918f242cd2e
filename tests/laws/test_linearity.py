"""Both sweeps are linear in what they carry."""

import numpy as np
from laws.support import SUBJECTS, draw_case, draw_rng, for_each, lattice, near, slack, subject_of


@for_each(SUBJECTS)
def test_the_pullback_of_a_combination_is_the_combination_of_the_pullbacks(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    subject = subject_of(case.fn, case.inputs)
    v, w = lattice(rng, subject.first.shape), lattice(rng, subject.first.shape)
    a, b = -2.0, 0.75
    whole = subject.pull(a * v + b * w)
    parts = [a * g + b * h for g, h in zip(subject.pull(v), subject.pull(w))]
    near(whole, parts, [abs(a) * p + abs(b) * q for p, q in zip(slack(subject, v), slack(subject, w))])


@for_each(SUBJECTS)
def test_a_zero_cotangent_pulls_back_to_exact_zeros(name, data):
    case = draw_case(data, name)
    subject = subject_of(case.fn, case.inputs)
    for x, g in zip(case.inputs, subject.pull(np.zeros(subject.first.shape))):
        assert g.shape == x.shape
        assert not g.any()


@for_each(SUBJECTS)
def test_the_pushforward_of_a_combination_is_the_combination_of_the_pushforwards(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(rng, subject.first.shape)
    # both sweeps sum the same products over the same paths, so their round-off is of one size
    bounds = slack(subject, v)
    for k, x in enumerate(case.inputs):
        u, w = lattice(rng, x.shape), lattice(rng, x.shape)
        a, b = -2.0, 0.75
        whole = v @ subject.push(k, a * u + b * w)
        parts = a * (v @ subject.push(k, u)) + b * (v @ subject.push(k, w))
        near([whole], [parts], [2 * bounds[k] * np.sum(abs(a * u) + abs(b * w))])


@for_each(SUBJECTS)
def test_a_cotangent_twice_as_large_pulls_back_to_exactly_twice_the_gradient(name, data):
    case = draw_case(data, name)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), subject.first.shape)
    for g, twice in zip(subject.pull(v), subject.pull(2 * v)):
        assert np.array_equal(2 * g, twice)
