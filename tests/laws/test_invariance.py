"""What a function ignores, its gradient is orthogonal to; what scales obeys Euler's identity."""

import numpy as np
from laws.support import PRIMITIVES, arrays, draw_case, draw_rng, for_each, lattice, near, slack, subject_of

# adding a constant along the axes adds so many times the constant to the result
SHIFTED = {
    "softmax": 0, "log_softmax": 0, "normalise": 0, "var": 0, "logsumexp": 1, "mean": 1, "max": 1, "min": 1,
}  # fmt: skip


def _kept(v, case):
    """The cotangent of a reduction with its axes back, in the shape of x for what keeps them."""
    x = case.inputs[0]
    params = case.fn.keywords
    axis = params["axis"] if isinstance(params["axis"], tuple) else (params["axis"],)
    if "keepdims" not in params:
        return axis, None
    return axis, v.reshape([1 if i in axis else n for i, n in enumerate(x.shape)])


@for_each(list(SHIFTED), share=2)
def test_a_shift_along_the_axis_adds_nothing_or_itself(name, data):
    """The sum of the gradient along the axis is 0 for what ignores a shift, the cotangent for what follows it."""
    case = draw_case(data, name)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), subject.first.shape)
    axis, back = _kept(v, case)
    g = subject.pull(v)[0]
    total = g.sum(axis=axis, keepdims=True)
    expected = np.zeros(total.shape) if not SHIFTED[name] else SHIFTED[name] * back
    near([total], [expected], [slack(subject, v)[0] * max(1, g.size)])


@for_each(["cross_entropy", "class_cross_entropy"], share=2)
def test_a_shift_of_the_logits_changes_no_loss(name, data):
    case = draw_case(data, name)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), subject.first.shape)
    g = subject.pull(v)[0]
    near([g.sum(axis=-1)], [np.zeros(g.shape[:-1])], [slack(subject, v)[0] * g.shape[-1]])


def _of_params(key):
    return lambda case: case.fn.keywords[key]


def _count(case):
    return int(np.prod([case.inputs[0].shape[a] for a in case.fn.keywords["axis"]]))


def _rows(case):
    return case.inputs[0].shape[-1]


# f(λ x) = λ^k f(x) for λ > 0, all inputs scaled together: k, one for each result
ONE = """add subtract negative positive real imag conj abs relu hypot maximum minimum copysign remainder clip
    clip_below clip_above sum mean max min cumulative_sum reshape permute_dims broadcast_to concat stack unstack flip
    roll astype to_backend tril triu getitem scatter_add put where windows windows_transpose"""
TWO = "multiply square var matmul convolution convolution_transpose convolution_weight"
NONE = "divide atan2 sign floor_divide solve complement"
DEGREE = {
    **dict.fromkeys(ONE.split(), 1),
    **dict.fromkeys(TWO.split(), 2),
    **dict.fromkeys(NONE.split(), 0),
    **dict.fromkeys(["inv", "pinv", "reciprocal"], -1),
    "sqrt": 0.5,
    "cholesky": 0.5,
    "power": _of_params("exponent"),
    "prod": _count,
    "det": _rows,
    "qr": (0, 1),
    "svd": (0, 1, 0),
    "eigh": (1, 0),
}


@for_each([name for name in DEGREE if name in PRIMITIVES])
def test_eulers_identity_holds_for_homogeneous_functions(name, data):
    """<gradient, x> is k times <v, f(x)>, k the degree."""
    case = draw_case(data, name)
    subject = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), subject.first.shape)
    degree = DEGREE[name](case) if callable(DEGREE[name]) else DEGREE[name]
    degrees = degree if isinstance(degree, tuple) else [degree] * len(subject.shapes)
    expected = sum(k * np.sum(w * y) for k, w, y in zip(degrees, subject.split(v), subject.split(subject.first)))
    inputs = arrays(case)
    euler = sum(np.sum(g * x) for g, x in zip(subject.pull(v), inputs))
    bounds = slack(subject, v)
    # the value itself is off by a few roundings of what it is made of: the gradient's own error times x, and its own
    allowed = sum(most * np.sum(abs(x)) for most, x in zip(bounds, inputs))
    allowed += 16 * 2.0**-52 * np.sum(abs(v * subject.first))
    near([euler], [expected], [allowed])
