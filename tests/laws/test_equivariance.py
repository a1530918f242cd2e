"""What treats its entries, its lanes or its matrices alike has a gradient that does."""

import numpy as np
from laws.support import (
    ENTRYWISE,
    PRIMITIVES,
    draw_case,
    draw_rng,
    for_each,
    lattice,
    near,
    slack,
    subject_of,
)

import tinygrad_rnn as tg
from tinygrad_rnn.rnn.state import leaves_of, like_state
from tinygrad_rnn.testing import module_cases, strategies


@for_each(ENTRYWISE)
def test_permuting_the_entries_permutes_values_and_gradients(name, data):
    case = draw_case(data, name)
    shape = np.broadcast_shapes(*[x.shape for x in case.inputs])
    flat = [np.broadcast_to(x.numpy(), shape).reshape(-1) for x in case.inputs]
    rng = draw_rng(data)
    order = rng.permutation(flat[0].size)
    plain = subject_of(case.fn, flat)
    moved = subject_of(case.fn, [x[order] for x in flat])
    v = lattice(rng, plain.first.shape)
    near([moved.first], [plain.first[order]], [4 * 2.0**-52 * float(np.max(abs(plain.first), initial=0.0))])
    near(moved.pull(v[order]), [g[order] for g in plain.pull(v)], slack(plain, v))


SYMMETRIC = ["sum", "mean", "var", "prod", "max", "min", "logsumexp"]
ALONG = ["softmax", "log_softmax", "normalise"]


def _axes(case):
    axis = case.fn.keywords["axis"]
    return axis if isinstance(axis, tuple) else (axis,)


@for_each(SYMMETRIC, share=2)
def test_the_gradient_of_a_symmetric_function_is_permuted_with_its_input(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    x = case.inputs[0].numpy()
    plain = subject_of(case.fn, [x])
    v = lattice(rng, plain.first.shape)
    for axis in _axes(case):
        order = rng.permutation(x.shape[axis])
        moved = subject_of(case.fn, [x.take(order, axis)])
        near(moved.pull(v), [plain.pull(v)[0].take(order, axis)], slack(plain, v))


@for_each(ALONG, share=2)
def test_permuting_along_the_axis_permutes_the_gradient(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    x = case.inputs[0].numpy()
    plain = subject_of(case.fn, [x])
    v = lattice(rng, x.shape)
    for axis in _axes(case):
        order = rng.permutation(x.shape[axis])
        moved = subject_of(case.fn, [x.take(order, axis)])
        expected = plain.pull(v.reshape(-1))[0].take(order, axis)
        near(moved.pull(v.take(order, axis).reshape(-1)), [expected], slack(plain, v.reshape(-1)))


STACKS = [name for name in ("inv", "det", "cholesky", "pinv", "qr", "slogdet", "matmul") if name in PRIMITIVES]


@for_each(STACKS)
def test_each_matrix_of_a_stack_has_the_gradient_that_it_has_alone(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    singles = [np.array(x.numpy()) for x in case.inputs]
    if min(x.ndim for x in singles) < 2 or max(x.ndim for x in singles) > 2:
        return  # a stack already, or a vector
    stacks = [np.stack([x, x * 1.0, x]) for x in singles]
    stacked = subject_of(lambda *x: case.fn(*x), stacks)
    alone = subject_of(lambda *x: case.fn(*x), singles)
    v = lattice(rng, alone.first.shape)
    whole = np.concatenate([np.stack([0.5 * part, part, -part]).reshape(-1) for part in alone.split(v)])
    for g, h, most in zip(stacked.pull(whole), alone.pull(v), slack(alone, v)):
        near(list(g), [0.5 * h, h, -h], [2 * most] * 3)


@for_each([*strategies.CELLS, "stacked"])
def test_permuting_the_lanes_permutes_states_and_keeps_the_gradient_of_the_weights(name, data):
    case = data.draw(strategies.cells([name], batch=(2, 3), steps=(1, 2)), label="case")
    rng = draw_rng(data)
    order = rng.permutation(case.batch)
    xs = case.xs.numpy()
    form = case.cell.initial_state(case.batch)

    def run(x, *parameters):
        with module_cases._replaced(case.cell, dict(zip(names, parameters))):
            state = like_state(form, [tg.asarray(np.zeros(leaf.shape)) for leaf in leaves_of(form)])
            for t in range(case.steps):
                state = case.cell(x[t], state)
            return tuple(leaves_of(state))

    names = [key for key, _ in case.cell.named_parameters()]
    weights = [parameter.numpy() for parameter in case.cell.parameters()]
    plain = subject_of(run, [xs, *weights])
    moved = subject_of(run, [xs[:, order], *weights])
    v = lattice(rng, plain.first.shape)
    shuffled = np.concatenate([part[order].reshape(-1) for part in plain.split(v)])
    near(plain.split(plain.first), [part[np.argsort(order)] for part in moved.split(moved.first)],
         [64 * 2.0**-52 * max(1.0, float(abs(plain.first).max()))] * len(plain.shapes))  # fmt: skip
    allowed = slack(plain, v)
    first, *rest = plain.pull(v)
    near(moved.pull(shuffled), [first[:, order], *rest], allowed)
