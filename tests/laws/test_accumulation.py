"""Cotangents that meet are added, each once, in an order that does not matter."""

import numpy as np
from hypothesis import strategies as st
from laws.support import (
    ENTRYWISE,
    EPS,
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

from tinygrad_rnn.primitive import registry

# the input that lies in the domain of both
SHARED = {name: 0 if name == "pow" else -1 for name in ENTRYWISE if len(registry[name].derivatives) == 2}


@for_each(list(SHARED))
def test_an_input_used_twice_gets_the_sum_of_both_derivatives(name, data):
    """The gradient of f(x, x) is ∂₁f + ∂₂f, bit for bit."""
    case = draw_case(data, name)
    x = case.inputs[SHARED[name]]
    apart = subject_of(case.fn, [x, x])
    together = subject_of(lambda x: case.fn(x, x), [x])
    v = lattice(draw_rng(data), apart.first.shape)
    first, second = apart.pull(v)
    identical(together.pull(v), [first + second])


@for_each(SUBJECTS)
def test_a_result_added_to_itself_is_twice_the_result(name, data):
    case = draw_case(data, name)
    double = subject_of(lambda *x: tuple([y + y for y in listed(case.fn(*x))]), case.inputs)
    twice = subject_of(lambda *x: tuple([2 * y for y in listed(case.fn(*x))]), case.inputs)
    v = lattice(draw_rng(data), double.first.shape)
    identical([double.first], [twice.first])
    identical(double.pull(v), twice.pull(v))


@for_each(SUBJECTS)
def test_computing_a_shared_result_again_changes_no_gradient(name, data):
    case = draw_case(data, name)

    def shared(*x):
        ys = listed(case.fn(*x))
        return tuple([0.5 * y + y * 0.25 for y in ys])

    def repeated(*x):
        return tuple([0.5 * y + z * 0.25 for y, z in zip(listed(case.fn(*x)), listed(case.fn(*x)))])

    one, two = subject_of(shared, case.inputs), subject_of(repeated, case.inputs)
    v = lattice(draw_rng(data), one.first.shape)
    near(one.pull(v), two.pull(v), slack(one, v))


@for_each(SUBJECTS)
def test_the_order_of_the_branches_changes_no_gradient(name, data):
    """Within γ_n of the sum of the magnitudes of what the branches contribute."""
    case = draw_case(data, name)
    scales = (1.0, -0.75, 0.5, -2.0)
    order = data.draw(st.permutations(range(len(scales))), label="order")

    def total(places):
        def fn(*x):
            branches = {i: [scales[i] * y for y in listed(case.fn(*x))] for i in places}
            sums = branches[places[0]]
            for i in places[1:]:
                sums = [a + b for a, b in zip(sums, branches[i])]
            return tuple(sums)

        return subject_of(fn, case.inputs)

    one, two = total(range(len(scales))), total(order)
    v = lattice(draw_rng(data), one.first.shape)
    plain = subject_of(case.fn, case.inputs)
    # each branch hands v times a power of two or 3/4 of one down the same path, and n terms are added at each input
    terms = [sum(abs(s) for s in scales) * abs(g) for g in plain.pull(v)]
    n = 2 * len(scales)
    for g, h, size, path in zip(one.pull(v), two.pull(v), terms, slack(plain, v)):
        gamma = n * EPS / (1 - n * EPS)
        assert np.all(abs(g - h) <= gamma * size + path)


@for_each(["add", "multiply", "matmul", "where", "concat", "stack", "scatter_add", "solve", "convolution"])
def test_an_input_that_is_also_used_elsewhere_gets_both_gradients(name, data):
    case = draw_case(data, name)
    inputs = case.inputs
    plain = subject_of(case.fn, inputs)
    extra = subject_of(lambda *x: (*listed(case.fn(*x)), *x), inputs)
    rng = draw_rng(data)
    v = lattice(rng, plain.first.shape)
    more = [lattice(rng, x.shape) for x in inputs]
    joined = np.concatenate([v, *[w.reshape(-1) for w in more]])
    identical(extra.pull(joined), [g + w for g, w in zip(plain.pull(v), more)])
