"""Reverse mode is the transpose of forward mode; and the transposes that have names of their own."""

import numpy as np
from laws.support import (
    PRIMITIVES,
    SUBJECTS,
    arrays,
    draw_case,
    draw_rng,
    for_each,
    identical,
    lattice,
    near,
    slack,
    subject_of,
)

from tinygrad_rnn.primitive import registry

LINEAR = [name for name in PRIMITIVES if registry[name].linear]


@for_each(SUBJECTS)
def test_v_times_Ju_is_Jv_times_u(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(rng, subject.first.shape)
    bounds = slack(subject, v)
    for k, (x, g) in enumerate(zip(case.inputs, subject.pull(v))):
        u = lattice(rng, x.shape)
        near([np.sum(g * u)], [v @ subject.push(k, u)], [2 * bounds[k] * np.sum(abs(u))])


@for_each(LINEAR)
def test_a_linear_primitive_is_its_own_derivative(name, data):
    case = draw_case(data, name)
    rng = draw_rng(data)
    subject = subject_of(case.fn, case.inputs)
    directions = [lattice(rng, x.shape) for x in case.inputs]
    pushed = sum(subject.push(k, u) for k, u in enumerate(directions))
    direct = subject.call([subject.boxed(k, u) for k, u in enumerate(directions)])
    # sums of at most 27 entries below 1: one may pair its terms differently from the other
    near([pushed], [direct], [2 * 27 * 2.0**-52 * 27])


# The cotangent of each linear primitive, in NumPy: (v, params, *inputs) -> a cotangent for each input.


def _back(a, axis, shape, keepdims):
    return a if keepdims else a.reshape([1 if i in axis else n for i, n in enumerate(shape)])


def _broadcast_to(v, params, x):
    extra = v.ndim - x.ndim
    axes = [*range(extra), *(i + extra for i, n in enumerate(x.shape) if n == 1)]
    return [v.sum(axis=tuple(axes)).reshape(x.shape)]


def _reduced(v, params, x):
    return [np.broadcast_to(_back(v, params["axis"], x.shape, params["keepdims"]), x.shape)]


def _mean(v, params, x):
    count = np.prod([x.shape[a] for a in params["axis"]])
    return [_reduced(v, params, x)[0] / count]


def _scattered(v, params, x):
    found = np.zeros(x.shape)
    np.add.at(found, params["index"], v)
    return [found]


def _put(v, params, x, values):
    rest = np.array(v)
    rest[params["index"]] = 0
    return [rest, v[params["index"]]]


def _cut(v, params, *parts):
    ends = np.cumsum([x.shape[params["axis"]] for x in parts])[:-1]
    return np.split(v, ends, axis=params["axis"])


def _pad(v, params, x):
    return [v[tuple(slice(before, before + n) for (before, _), n in zip(params["widths"], x.shape))]]


def _running(v, params, x):
    axis = params["axis"]
    return [np.flip(np.cumsum(np.flip(v, axis), axis), axis)]


def _windows(v, params, x):
    found = np.zeros(x.shape)
    kernel, stride = params["kernel"], params["stride"]
    for place in np.ndindex(*kernel):
        for n in np.ndindex(*v.shape[len(kernel) + 2 :]):
            at = tuple(i * s + k for i, s, k in zip(n, stride, place))
            found[(..., *at)] += v[(*place, slice(None), slice(None), *n)]
    return [found]


def _windows_transpose(v, params, w):
    kernel, stride = params["kernel"], params["stride"]
    found = np.zeros(w.shape)
    for place in np.ndindex(*kernel):
        for n in np.ndindex(*w.shape[len(kernel) + 2 :]):
            at = tuple(i * s + k for i, s, k in zip(n, stride, place))
            found[(*place, slice(None), slice(None), *n)] = v[(..., *at)]
    return [found]


TRANSPOSES = {
    "broadcast_to": _broadcast_to,
    "sum": _reduced,
    "mean": _mean,
    "reshape": lambda v, params, x: [v.reshape(x.shape)],
    "permute_dims": lambda v, params, x: [np.transpose(v, np.argsort(params["axes"]))],
    "flip": lambda v, params, x: [np.flip(v, params["axis"])],
    "roll": lambda v, params, x: [np.roll(v, [-s for s in params["shift"]], params["axis"])],
    "concat": _cut,
    "stack": lambda v, params, *parts: list(np.moveaxis(v, params["axis"], 0)),
    "pad": _pad,
    "getitem": _scattered,
    "scatter_add": lambda v, params, x, values: [v, v[params["index"]]],
    "put": _put,
    "cumulative_sum": _running,
    "astype": lambda v, params, x: [v],
    "tril": lambda v, params, x: [np.tril(v, params["k"])],
    "triu": lambda v, params, x: [np.triu(v, params["k"])],
    "windows": _windows,
    "windows_transpose": _windows_transpose,
}

EXACT = {"broadcast_to", "mean", "cumulative_sum", "getitem", "windows"}  # the others move entries, and no more


@for_each(list(TRANSPOSES))
def test_the_pullback_is_the_transpose_by_its_own_name(name, data):
    """Broadcast and sum, concat and split, gather and scatter-add, and so on."""
    case = draw_case(data, name)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), subject.shapes[0])
    expected = TRANSPOSES[name](v, case.fn.keywords, *arrays(case))
    got = subject.pull(v.reshape(-1))
    if name in EXACT:  # entries are summed, 27 below 1 at most
        near(got, expected, [27 * 27 * 2.0**-52] * len(got))
    else:
        identical(got, expected)


@for_each(["unstack"])
def test_the_pullback_of_unstack_is_stack(name, data):
    case = draw_case(data, name)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), subject.first.shape)
    identical(subject.pull(v), [np.stack(subject.split(v), axis=case.fn.keywords["axis"])])


PARTNERS = {"convolution": "convolution_transpose", "windows": "windows_transpose"}


@for_each(list(PARTNERS))
def test_a_primitive_and_its_transpose_pull_each_other_back(name, data):
    case = draw_case(data, name)
    x, *weight = arrays(case)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), subject.shapes[0])
    transposed = registry[PARTNERS[name]]
    across = transposed(v, *weight, **case.fn.keywords).numpy()
    near([across], subject.pull(v.reshape(-1))[:1], slack(subject, v.reshape(-1))[:1])
    again = subject_of(lambda g: transposed(g, *weight, **case.fn.keywords), [v])
    forward = registry[name](x, *weight, **case.fn.keywords).numpy()
    near(again.pull(x.reshape(-1)), [forward], slack(again, x.reshape(-1)))
