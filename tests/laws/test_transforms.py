"""What the transforms say of one function fits together: grad, vjp, jvp, Jacobian, Hessian."""

import numpy as np
from laws.support import (
    MODULES,
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

SLOW = {*MODULES, "elman_sequence", "lstm_sequence", "gru_sequence", "svd", "eigh", "program"}


def _scalar(case, rng):
    """<v, f>, as a function of all inputs, and v."""
    v = [tg.asarray(lattice(rng, y.shape)) for y in listed(case.fn(*case.inputs))]

    def fn(*x):
        parts = [tg.sum(weight * y) for weight, y in zip(v, listed(case.fn(*x)))]
        return sum(parts[1:], start=parts[0])

    return fn, v


@for_each(SUBJECTS, share=0.6)
def test_grad_and_value_and_grad_are_the_pullback(name, data):
    """Bit for bit; and the value is the function's own."""
    case = draw_case(data, name)
    fn, v = _scalar(case, draw_rng(data))
    numbers = tuple(range(len(case.inputs)))
    value, both = tg.value_and_grad(fn, numbers)(*case.inputs)
    alone = tg.grad(fn, numbers)(*case.inputs)
    out, pull = tg.vjp(fn, *case.inputs)
    identical([value.numpy()], [fn(*case.inputs).numpy()])
    identical([value.numpy()], [out.numpy()])
    pulled = [g.numpy() for g in pull(tg.ones_like(out))]
    identical([g.numpy() for g in both], pulled)
    identical([g.numpy() for g in alone], pulled)
    _, push = tg.vjp(lambda *x: tuple(listed(case.fn(*x))), *case.inputs)
    direct = [g.numpy() for g in push(tuple(v))]
    identical([0.0 + g for g in direct], [0.0 + g for g in pulled])  # v times 1 is v


@for_each([name for name in SUBJECTS if name not in SLOW], share=0.6)
def test_the_jacobian_by_rows_is_the_jacobian_by_columns_and_both_are_the_sweeps(name, data):
    case = draw_case(data, name)
    for k, x in enumerate(case.inputs):

        def fn(moving, k=k):
            outs = listed(case.fn(*[moving if i == k else each for i, each in enumerate(case.inputs)]))
            return tg.concat([tg.reshape(y, (-1,)) for y in outs])

        rows = tg.jacobian(fn)(x).numpy()
        columns = tg.jacobian(fn, mode="forward")(x).numpy()
        subject = subject_of(fn, [x])
        assert rows.shape == (*subject.first.shape, *x.shape)
        v = lattice(draw_rng(data), subject.first.shape)
        bound = slack(subject, v)[0]
        near([np.tensordot(v, rows, 1)], subject.pull(v), [8 * bound])
        near([np.tensordot(v, columns, 1)], subject.pull(v), [8 * bound])


@for_each([name for name in SUBJECTS if name not in SLOW], share=0.4)
def test_a_hessian_times_a_vector_is_hvp(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    whole, _ = _scalar(case, rng)
    x, rest = case.inputs[0], case.inputs[1:]
    u = lattice(rng, x.shape)
    full = tg.hessian(lambda x: whole(x, *rest))(x).numpy()
    product = tg.hvp(lambda x: whole(x, *rest), x, tg.asarray(u)).numpy()
    second = subject_of(tg.grad(lambda x: whole(x, *rest)), [x])
    allowed = slack(second, u.reshape(-1))[0] + 8 * 2.0**-52 * np.max(abs(full), initial=0.0) * np.sum(abs(u))
    near([np.tensordot(full, u, u.ndim)], [product], [2 * allowed])
