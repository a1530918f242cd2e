"""One call of every kernel, for any module that has the kernels: each returns what the kernel returned, as a list.

A case is ``run(kernels, rng, dtype, units)``. The inputs are drawn in float32 and then cast, so that they are the same
numbers in both dtypes, and a float32 result can be judged by the float64 one.
"""

import numpy as np

from tinygrad_rnn.kernels import reference

STEPS, BATCH = 3, 2
WAYS = {
    "plain": (None, False),
    "reverse": (None, True),
    "lengths": (np.array([3, 1]), False),
    "reverse with lengths": (np.array([2, 3]), True),
}


def draw(rng, dtype, *shape, scale=1.0):
    return (scale * rng.normal(size=shape)).astype(np.float32).astype(dtype)


def listed(result):
    return [np.array(each) for each in (result if isinstance(result, (tuple, list)) else (result,))]


def recurrent(rng, dtype, gates, units, states):
    """The inputs with their weights and bias, the recurrent weights, and states."""
    rows = gates * units
    inputs = draw(rng, dtype, STEPS, BATCH, 3), draw(rng, dtype, rows, 3, scale=0.5), draw(rng, dtype, rows, scale=0.5)
    w_hh = draw(rng, dtype, rows, units, scale=units**-0.5)
    return inputs, w_hh, [draw(rng, dtype, BATCH, units) for _ in range(states)]


def pulled(backward, given, inputs, *rest):
    """What a backward kernel returns, and the cotangent of the inputs that it writes."""
    xs, w_ih, _ = inputs
    w_hh, *starts, how = rest
    dx = np.empty_like(xs)
    return [*listed(backward(*given, xs, w_ih, w_hh, *starts, dx, *how)), dx]


def elman(nonlinearity, way):
    def run(kernels, rng, dtype, units):
        inputs, w_hh, (h0, last) = recurrent(rng, dtype, 1, units, 2)
        dh, how = draw(rng, dtype, STEPS, BATCH, units), (*WAYS[way], nonlinearity)
        forward = listed(kernels.elman_forward(*inputs, w_hh, h0, *how))
        h = reference.elman_forward(*inputs, w_hh, h0, *how)
        return forward + pulled(kernels.elman_backward, (dh, last, h), inputs, w_hh, h0, how)

    return run


def lstm(way):
    def run(kernels, rng, dtype, units):
        inputs, w_hh, (h0, c0, *last) = recurrent(rng, dtype, 4, units, 4)
        dh, how = draw(rng, dtype, STEPS, BATCH, units), WAYS[way]
        forward = listed(kernels.lstm_forward(*inputs, w_hh, h0, c0, *how))
        saved = reference.lstm_forward(*inputs, w_hh, h0, c0, *how)
        return forward + pulled(kernels.lstm_backward, (dh, *last, *saved), inputs, w_hh, h0, c0, how)

    return run


def gru(reset_after, way):
    def run(kernels, rng, dtype, units):
        inputs, w_hh, (h0, last) = recurrent(rng, dtype, 3, units, 2)
        dh, b_hn = draw(rng, dtype, STEPS, BATCH, units), draw(rng, dtype, units)
        how = (*WAYS[way], reset_after)
        forward = listed(kernels.gru_forward(*inputs, w_hh, b_hn, h0, *how))
        saved = reference.gru_forward(*inputs, w_hh, b_hn, h0, *how)
        return forward + pulled(kernels.gru_backward, (dh, last, *saved), inputs, w_hh, h0, how)

    return run


RECURRENCES = {
    **{f"elman {kind} {way}": elman(kind, way) for kind in ("tanh", "relu") for way in WAYS},
    **{f"lstm {way}": lstm(way) for way in WAYS},
    **{f"gru reset after {way}": gru(True, way) for way in WAYS},
    **{f"gru reset before {way}": gru(False, way) for way in WAYS},
}


def reservoir(form, nonlinearity, way):
    def run(kernels, rng, dtype, units):
        _, w, (h0,) = recurrent(rng, dtype, 1, units, 1)
        xw = draw(rng, dtype, STEPS, BATCH, units)
        leak = np.linspace(0.25, 1.0, units).astype(np.float32).astype(dtype)
        if form == "ring":
            w = w[0]
        if form == "sparse":
            w[:, ::2] = 0
            w[0] = 0
            rows, columns = np.nonzero(w)
            w = np.searchsorted(rows, np.arange(units + 1)), columns, w[rows, columns]
        return listed(kernels.reservoir_run(xw.copy(), w, h0, leak, *WAYS[way], nonlinearity))

    return run


def influence_dense(kernels, rng, dtype, units):
    influence, d = draw(rng, dtype, BATCH, units, 2 * units + 31), draw(rng, dtype, BATCH, units, units)
    return listed(kernels.influence_update_dense(influence, d))


def influence_dense_of_a_view(kernels, rng, dtype, units):
    whole, d = draw(rng, dtype, BATCH, units, 2 * units + 1), draw(rng, dtype, BATCH, units, units)
    kernels.influence_update_dense(whole[:, :, ::2], d)
    return [whole]


def influence_diagonal(kernels, rng, dtype, units):
    influence, decay = draw(rng, dtype, BATCH, 2, 3 * units), draw(rng, dtype, BATCH, 2, 2, units)
    return listed(kernels.influence_update_diagonal(influence, decay, np.arange(3 * units) % units))


def influence_elman(kernels, rng, dtype, units):
    _, w_hh, (slope,) = recurrent(rng, dtype, 1, units, 1)
    a, influence = draw(rng, dtype, BATCH, units + 3), draw(rng, dtype, BATCH, units, 1, units, units + 3)
    q = draw(rng, dtype, BATCH, units)
    return [influence, *listed(kernels.influence_update_elman(influence, w_hh, slope, a, q))]


def influence_gru(reset_after):
    def run(kernels, rng, dtype, units):
        inputs, w_hh, (h0,) = recurrent(rng, dtype, 3, units, 1)
        b_hn = draw(rng, dtype, units)
        _, gates, inner = reference.gru_forward(*inputs, w_hh, b_hn, h0, None, False, reset_after)
        a, influence = draw(rng, dtype, BATCH, units + 4), draw(rng, dtype, BATCH, units, 3, units, units + 4)
        q = draw(rng, dtype, BATCH, units)
        gradient = kernels.influence_update_gru(influence, w_hh, h0, gates[0], inner[0], a, q, 3, reset_after)
        return [influence, *listed(gradient)]

    return run


def influence_lstm(kernels, rng, dtype, units):
    inputs, w_hh, (h0, c0) = recurrent(rng, dtype, 4, units, 2)
    _, c, gates = reference.lstm_forward(*inputs, w_hh, h0, c0)
    a, influence = draw(rng, dtype, BATCH, units + 2), draw(rng, dtype, 2, BATCH, units, 4, units, units + 2)
    q = draw(rng, dtype, BATCH, units)
    return [influence, *listed(kernels.influence_update_lstm(influence, w_hh, c0, c[0], gates[0], a, q))]


def cross_entropy(kernels, rng, dtype, units):
    x = draw(rng, dtype, 3, units, scale=5.0)
    return listed(kernels.softmax_cross_entropy(x, rng.integers(0, units, 3)))


def layer_norm(kernels, rng, dtype, units):
    x, dy = draw(rng, dtype, 3, units), draw(rng, dtype, 3, units)
    y, scale = reference.layer_norm_forward(x, 1e-5)
    return listed(kernels.layer_norm_forward(x, 1e-5)) + listed(kernels.layer_norm_backward(dy, y, scale))


def parameters(rng, dtype, units):
    return [draw(rng, dtype, *shape) for shape in ((units, 3), (0, 4), (1,), (1025 + units,))]


def sgd(kernels, rng, dtype, units):
    values, gradients, buffers = (parameters(rng, dtype, units) for _ in range(3))
    started = [None, *buffers[1:]]
    found = kernels.sgd_step(values, gradients, started, 0.1, 0.9, 0.25, 0.01)
    nesterov = kernels.sgd_step(values, gradients, buffers, 0.1, 0.9, 0.0, 0.0, True)
    plain = kernels.sgd_step(values, gradients, [None] * 4, 0.1)
    assert plain[1] == []
    return [*found[0], *found[1], *nesterov[0], *nesterov[1], *plain[0]]


def adam(kernels, rng, dtype, units):
    values, gradients, means, squares = (parameters(rng, dtype, units) for _ in range(4))
    squares = [each * each for each in squares]
    given = values, gradients, means, squares, [1, 2, 3, 40]
    first = kernels.adam_step(*given, 0.01, 0.9, 0.99, 1e-8, 0.1)
    second = kernels.adam_step(*given, 0.01, 0.9, 0.99, 1e-8, 0.1, True)
    return [each for found in (*first, *second) for each in found]


def norm(kernels, rng, dtype, units):
    return listed(kernels.global_norm(parameters(rng, dtype, units)))


def embedding(kernels, rng, dtype, units):
    ids = rng.integers(-4, 4, (5, 3))
    return listed(kernels.embedding_gradient(draw(rng, dtype, 5, 3, units), ids, 4))


OTHERS = {
    **{f"reservoir {form}": reservoir(form, "tanh", "reverse with lengths") for form in ("dense", "ring", "sparse")},
    **{f"reservoir {kind}": reservoir("dense", kind, "plain") for kind in ("identity", "relu", "sigmoid")},
    "influence dense": influence_dense,
    "influence dense of a view": influence_dense_of_a_view,
    "influence diagonal": influence_diagonal,
    "influence elman": influence_elman,
    "influence gru reset after": influence_gru(True),
    "influence gru reset before": influence_gru(False),
    "influence lstm": influence_lstm,
    "cross-entropy": cross_entropy,
    "layer norm": layer_norm,
    "sgd": sgd,
    "adam": adam,
    "norm": norm,
    "embedding": embedding,
}


def run(case, kernels, dtype, units):
    """The results of a case, always on the same numbers."""
    return case(kernels, np.random.default_rng(units), np.dtype(dtype), units)
