"""Layers over time: a sequence may be cut, the future has no influence, and lanes know nothing of each other."""

import functools

import numpy as np
from hypothesis import strategies as st
from laws.support import draw_rng, for_each, identical, lattice, near, slack, subject_of

from tinygrad_rnn import ops, rnn
from tinygrad_rnn.rnn.state import leaves_of, like_state
from tinygrad_rnn.testing.module_cases import _with_parameters

LAYERS = {
    "RNN": rnn.RNN,
    "GRU(after)": rnn.GRU,
    "GRU(before)": functools.partial(rnn.GRU, reset_after=False),
    "LSTM": rnn.LSTM,
}
INPUTS, HIDDEN = 2, 3


def draw_layer(data, name, **options):
    """A layer, a sequence (T, B, 2) with T from 2 to 5 and B from 1 to 3, and a generator."""
    rng = draw_rng(data)
    layer = LAYERS[name](INPUTS, HIDDEN, data.draw(st.integers(1, 2), label="layers"), rng=rng, dtype="float64",
                         **options)  # fmt: skip
    shape = data.draw(st.tuples(st.integers(2, 5), st.integers(1, 3), st.just(INPUTS)), label="shape of xs")
    return layer, lattice(rng, shape), rng


def run_of(layer, run, xs):
    """A function of the sequence and the parameters on its tape: outputs, and the leaves of the last state."""
    fn, inputs = _with_parameters(layer, run, xs)
    return subject_of(fn, inputs)


def flat(ys, state):
    return (ys, *leaves_of(state))


@for_each(list(LAYERS))
def test_a_sequence_cut_in_two_with_its_state_carried_on_is_the_whole_one(name, data):
    layer, xs, rng = draw_layer(data, name)
    cut = data.draw(st.integers(1, len(xs) - 1), label="cut")

    def halves(xs):
        before, state = layer(xs[:cut])
        after, state = layer(xs[cut:], state)
        return flat(ops.concat([before, after], axis=0), state)

    whole, parts = run_of(layer, lambda xs: flat(*layer(xs)), xs), run_of(layer, halves, xs)
    v = lattice(rng, whole.first.shape)
    near([parts.first], [whole.first], [64 * 2.0**-52 * len(xs)])  # outputs are below 1
    near(parts.pull(v), whole.pull(v), slack(whole, v))


@for_each(list(LAYERS))
def test_what_comes_later_has_no_influence(name, data):
    """∂y_t/∂x_s is exactly 0 for s > t; for a layer that runs from the end, for s < t."""
    layer, xs, rng = draw_layer(data, name, bidirectional=True)
    t = data.draw(st.integers(0, len(xs) - 1), label="t")
    layer.num_layers = 1  # the layers above mix both directions
    subject = run_of(layer, lambda xs: layer(xs)[0], xs)
    for direction, unseen in ((slice(0, HIDDEN), slice(t + 1, None)), (slice(HIDDEN, None), slice(0, t))):
        v = np.zeros(subject.shapes[0])
        v[t, :, direction] = lattice(rng, v[t, :, direction].shape)
        g = subject.pull(v.reshape(-1))[0]
        assert not g[unseen].any()
        assert g[t].any()
        u = np.zeros(xs.shape)
        u[unseen] = 1
        assert not subject.push(0, u).reshape(v.shape)[t, :, direction].any()


@for_each(list(LAYERS))
def test_each_lane_has_the_gradient_that_it_has_alone(name, data):
    """And the gradient of the weights is the sum over the lanes."""
    layer, xs, rng = draw_layer(data, name, bidirectional=data.draw(st.booleans(), label="bidirectional"))

    def run(xs):
        return flat(*layer(xs))

    whole = run_of(layer, run, xs)
    v = lattice(rng, whole.first.shape)
    sums = None
    allowed = slack(whole, v)
    gradients = whole.pull(v)
    for lane in range(xs.shape[1]):
        alone = run_of(layer, run, xs[:, lane : lane + 1])
        own = np.concatenate([part[:, lane].reshape(-1) for part in whole.split(v)])
        first, *weights = alone.pull(own)
        near([gradients[0][:, lane : lane + 1]], [first], [2 * allowed[0]])
        sums = weights if sums is None else [a + b for a, b in zip(sums, weights)]
    near(gradients[1:], sums, [4 * most for most in allowed[1:]])


@for_each(list(LAYERS))
def test_reversing_time_reverses_the_layer_that_runs_from_the_end(name, data):
    """With the same weights in both directions, the second one reads the sequence as the first reads its reverse."""
    layer, xs, rng = draw_layer(data, name, bidirectional=True)
    layer.num_layers = 1
    for key, parameter in layer.named_parameters():
        if key.endswith("_l0_reverse"):
            parameter.assign(getattr(layer, key.removesuffix("_reverse")).numpy())
    subject = run_of(layer, lambda xs: layer(xs)[0], xs)
    turned = run_of(layer, lambda xs: layer(xs)[0], np.ascontiguousarray(xs[::-1]))
    v = lattice(rng, subject.shapes[0])
    swapped = np.concatenate([v[..., HIDDEN:], v[..., :HIDDEN]], axis=-1)[::-1]
    one, two = subject.pull(v.reshape(-1))[0], turned.pull(swapped.reshape(-1))[0]
    near([one[::-1]], [two], [slack(subject, v.reshape(-1))[0]])


@for_each(["elman", "gru", "lstm"])
def test_a_loop_by_hand_is_scan_bit_for_bit(name, data):
    """The unrolled tape: the cell called step by step, with the same records."""
    rng = draw_rng(data)
    cell = {"elman": rnn.ElmanCell, "gru": rnn.GRUCell, "lstm": rnn.LSTMCell}[name](2, 3, rng=rng, dtype="float64")
    xs = lattice(rng, (data.draw(st.integers(1, 4), label="T"), 2, 2))
    form = cell.initial_state(2)

    def scanned(xs):
        return flat(*rnn.scan(cell, xs, form))

    def unrolled(xs):
        state, outputs = form, []
        for t in range(xs.shape[0]):
            state = like_state(form, leaves_of(cell(xs[t], state)))
            outputs.append(leaves_of(state)[0])
        return flat(ops.stack(outputs), state)

    one, two = run_of(cell, scanned, xs), run_of(cell, unrolled, xs)
    v = lattice(rng, one.first.shape)
    identical([one.first], [two.first])
    near(one.pull(v), two.pull(v), slack(one, v))
