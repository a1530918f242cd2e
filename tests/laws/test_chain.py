"""The chain rule: a composition pulls back as its parts do, one after the other."""

import math

import numpy as np
from laws.support import (
    PRIMITIVES,
    SUBJECTS,
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
from tinygrad_rnn import ops
from tinygrad_rnn.ops import sequence
from tinygrad_rnn.primitive import registry


@for_each(SUBJECTS)
def test_a_composition_pulls_back_through_its_parts(name, data):
    """vjp of g∘f is vjp of f after vjp of g, bit for bit: they are the same products in the same order."""
    case = draw_case(data, name)
    rng = draw_rng(data)

    def outer(*parts):
        return tuple([ops.tanh(y) * y for y in parts])

    ys, pull_inner = tg.vjp(lambda *x: tuple(listed(case.fn(*x))), *case.inputs)
    zs, pull_outer = tg.vjp(outer, *ys)
    v = tuple([tg.asarray(lattice(rng, z.shape)) for z in zs])
    _, pull_whole = tg.vjp(lambda *x: outer(*listed(case.fn(*x))), *case.inputs)
    identical(numpy_of(pull_whole(v)), numpy_of(pull_inner(pull_outer(v))))


@for_each(SUBJECTS)
def test_a_residual_connection_adds_the_cotangent_itself(name, data):
    """The gradient of x + f(x) is v + vjp_f(v), where f keeps the shape."""
    case = draw_case(data, name)
    x, rest = case.inputs[0], case.inputs[1:]
    plain = subject_of(lambda x: listed(case.fn(x, *rest))[0], [x])
    if plain.shapes != [x.shape]:
        return  # nothing to add x to
    residual = subject_of(lambda x: x + listed(case.fn(x, *rest))[0], [x])
    v = lattice(draw_rng(data), plain.first.shape)
    near(residual.pull(v), [v.reshape(x.shape) + plain.pull(v)[0]], slack(residual, v))


# ---- fused primitives and what they are made of


def _softmax(x, axis):
    weights = ops.exp(x)
    return weights / ops.sum(weights, axis=axis, keepdims=True)


def _variance(x, axis, correction, keepdims):
    deviation = x - ops.mean(x, axis=axis, keepdims=True)
    count = math.prod([x.shape[a] for a in axis])
    return ops.sum(deviation * deviation, axis=axis, keepdims=keepdims) / (count - correction)


def _normalise(x, axis, eps):
    deviation = x - ops.mean(x, axis=axis, keepdims=True)
    return deviation / ops.sqrt(ops.mean(deviation * deviation, axis=axis, keepdims=True) + eps)


def _product(x, axis, keepdims):
    for a in sorted(axis, reverse=True):
        parts = ops.unstack(x, axis=a)
        x = parts[0]
        for part in parts[1:]:
            x = x * part
        x = ops.expand_dims(x, axis=a) if keepdims else x
    return x


def _running(combine):
    def composed(x, axis):
        parts = list(ops.unstack(x, axis=axis))
        for i in range(1, len(parts)):
            parts[i] = combine(parts[i - 1], parts[i])
        return ops.stack(parts, axis=axis)

    return composed


def _scanned(step, parts):
    def composed(xs, *rest, lengths, reverse, **options):
        def cell(x, state):
            return step(x, *listed(state), *rest[parts:], **options)

        ys, last = tg.rnn.scan(
            cell, xs, tuple(rest[:parts]) if parts > 1 else rest[0], lengths=lengths, reverse=reverse
        )
        return (ys, *listed(last))

    return composed


def _determinant(a):
    sign, logarithm = ops.linalg.slogdet(a)
    return sign * ops.exp(logarithm)


def _windows(x, size, kernel, stride):
    parts = []
    for place in np.ndindex(*kernel):
        cut = [slice(k, n - length + k + 1, s) for k, n, length, s in zip(place, size, kernel, stride)]
        parts.append(x[(slice(None), slice(None), *cut)])
    return ops.reshape(ops.stack(parts), (*kernel, *parts[0].shape))


COMPOSED = {
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "tan": lambda x: ops.sin(x) / ops.cos(x),
    "tanh": lambda x: ops.sinh(x) / ops.cosh(x),
    "sinh": lambda x: 0.5 * (ops.exp(x) - ops.exp(-x)),
    "cosh": lambda x: 0.5 * (ops.exp(x) + ops.exp(-x)),
    "expm1": lambda x: ops.exp(x) - 1,
    "log1p": lambda x: ops.log(1 + x),
    "log2": lambda x: ops.log(x) / math.log(2),
    "log10": lambda x: ops.log(x) / math.log(10),
    "atanh": lambda x: 0.5 * (ops.log(1 + x) - ops.log(1 - x)),
    "acos": lambda x: math.pi / 2 - ops.asin(x),
    "hypot": lambda a, b: ops.sqrt(a * a + b * b),
    "logaddexp": lambda a, b: ops.log(ops.exp(a) + ops.exp(b)),
    "pow": lambda a, b: ops.exp(b * ops.log(a)),
    "abs": lambda x: ops.maximum(x, -x),
    "maximum": lambda a, b: 0.5 * (a + b + ops.abs(a - b)),
    "minimum": lambda a, b: 0.5 * (a + b - ops.abs(a - b)),
    "clip": lambda x, low, high: ops.minimum(ops.maximum(x, low), high),
    "sigmoid": lambda x: 1 / (1 + ops.exp(-x)),
    "softplus": lambda x: ops.log(1 + ops.exp(x)),
    "relu": lambda x: ops.where(x > 0, x, 0 * x),
    "silu": lambda x: x * ops.sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5))),
    "mean": lambda x, axis, keepdims: ops.sum(x, axis=axis, keepdims=keepdims) / math.prod([x.shape[a] for a in axis]),
    "var": _variance,
    "prod": _product,
    "cumulative_sum": _running(ops.add),
    "cumulative_prod": _running(ops.multiply),
    "logsumexp": lambda x, axis, keepdims: ops.log(ops.sum(ops.exp(x), axis=axis, keepdims=keepdims)),
    "softmax": _softmax,
    "log_softmax": lambda x, axis: ops.log(_softmax(x, axis)),
    "normalise": _normalise,
    "inv": lambda a: ops.solve(a, tg.asarray(np.broadcast_to(np.eye(a.shape[-1]), a.shape))),
    "solve": lambda a, b: ops.inv(a) @ b,
    "det": _determinant,
    "windows": _windows,
    "elman_sequence": _scanned(sequence.elman_step, 1),
    "gru_sequence": _scanned(sequence.gru_step, 1),
    "lstm_sequence": _scanned(sequence.lstm_step, 2),
}


@for_each([name for name in COMPOSED if name in PRIMITIVES])
def test_a_fused_primitive_has_the_gradient_of_what_it_is_made_of(name, data):
    case = draw_case(data, name)
    params = getattr(case.fn, "keywords", {})
    fused = subject_of(case.fn, case.inputs)
    composed = subject_of(lambda *x: COMPOSED[name](*x, **params), case.inputs)
    v = lattice(draw_rng(data), fused.first.shape)
    allowed = [a + b for a, b in zip(slack(fused, v), slack(composed, v))]
    near(fused.pull(v), composed.pull(v), allowed)


@for_each([name for name in PRIMITIVES if registry[name].composed is not None])
def test_a_fused_rule_and_the_composed_form_agree(name, data):
    """Under an outer tape the composed form stands in for the fused rule: first derivatives are the same."""
    case = draw_case(data, name)
    fused = subject_of(case.fn, case.inputs)
    v = lattice(draw_rng(data), fused.first.shape)
    with tg.Tape() as outer:
        watched = [outer.watch(x) for x in case.inputs]
        _, pull = tg.vjp(lambda *x: tuple(listed(case.fn(*x))), *watched)
        composed = pull(tuple([tg.asarray(part) for part in fused.split(v)]))
    near(fused.pull(v), numpy_of(composed), [2 * s for s in slack(fused, v)])


@for_each(PRIMITIVES)
def test_an_identity_in_front_changes_no_gradient(name, data):
    """(x + x) / 2 is x exactly, and so is its pullback; only the memory layout may change the order of a sum."""
    case = draw_case(data, name)
    plain = subject_of(case.fn, case.inputs)
    longer = subject_of(lambda *xs: case.fn(*[0.5 * (x + x) for x in xs]), case.inputs)
    v = lattice(draw_rng(data), plain.first.shape)
    near(plain.pull(v), longer.pull(v), slack(plain, v))
