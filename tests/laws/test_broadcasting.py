"""Broadcasting is a copy forward and a sum backward; a gradient has its input's shape and dtype."""

import math

import numpy as np
import pytest
from laws.support import (
    ENTRYWISE,
    EPS,
    MODULES,
    PRIMITIVES,
    draw_case,
    draw_rng,
    for_each,
    lattice,
    listed,
    near,
    pulled,
    subject_of,
)

import tinygrad_rnn as tg
from tinygrad_rnn.primitive import registry

SEVERAL = [name for name in ENTRYWISE if len(registry[name].derivatives) > 1] + ["where"]


def _summed(g, shape):
    extra = g.ndim - len(shape)
    axes = [*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1)]
    return g.sum(axis=tuple(axes)).reshape(shape)


@for_each(SEVERAL, share=2)
def test_a_broadcast_input_gets_the_sum_over_its_copies(name, data):
    case = draw_case(data, name)
    short = subject_of(case.fn, case.inputs)
    full = [tg.broadcast_to(x, short.shapes[0]) for x in case.inputs]
    long = subject_of(case.fn, full)
    v = lattice(draw_rng(data), short.first.shape)
    # NumPy chooses its loop by strides and places in memory, and its vector functions promise 4 units in the last place
    assert np.isclose(short.first, long.first, rtol=4 * EPS, atol=0).all()
    copies = long.pull(v)
    expected = [_summed(g, x.shape) for g, x in zip(copies, case.inputs)]
    # n terms, summed in another order, after one product each
    n = math.prod(short.shapes[0]) + 1
    sizes = [_summed(abs(g), x.shape) for g, x in zip(copies, case.inputs)]
    allowed = [2 * n * EPS * float(size.max(initial=0.0)) for size in sizes]
    near(short.pull(v), expected, allowed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@for_each([*PRIMITIVES, *MODULES])
def test_a_gradient_has_the_shape_and_the_dtype_of_its_input(name, dtype, data):
    case = draw_case(data, name, dtype=dtype)
    out = case.fn(*case.inputs)
    outs = listed(out)
    assert all(y.dtype == dtype for y in outs)
    rng = draw_rng(data)
    gradients = pulled(case.fn, case.inputs, [lattice(rng, y.shape) for y in outs])
    for x, g in zip(case.inputs, gradients):
        assert g.shape == x.shape
        assert g.dtype == x.dtype
    directions = [tg.asarray(lattice(rng, x.shape).astype(dtype)) for x in case.inputs]
    _, tangents = tg.jvp(case.fn, list(case.inputs), directions)
    for y, d in zip(outs, listed(tangents)):
        assert d.shape == y.shape
        assert d.dtype == y.dtype


@for_each(SEVERAL)
def test_with_mixed_dtypes_each_gradient_keeps_its_own(name, data):
    case = draw_case(data, name)
    kinds = ["float32" if k % 2 == 0 else "float64" for k in range(len(case.inputs))]
    mixed = [x.astype(kind) for x, kind in zip(case.inputs, kinds)]
    y = case.fn(*mixed)
    gradients = pulled(case.fn, mixed, [lattice(draw_rng(data), y.shape)])
    assert [str(g.dtype) for g in gradients] == kinds
