"""The fused form of a recurrence (one record) against the composed form (every operation of every step)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import rnn
from tinygrad_rnn.ops import sequence
from tinygrad_rnn.ops.sequence import elman_sequence, gru_sequence, lstm_sequence

EPS = float(np.finfo(np.float64).eps)

KINDS = {
    "RNN tanh": (rnn.RNN, {}),
    "RNN relu": (rnn.RNN, {"nonlinearity": "relu"}),
    "GRU": (rnn.GRU, {}),
    "GRU reset before": (rnn.GRU, {"reset_after": False}),
    "LSTM": (rnn.LSTM, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
quickly = settings(max_examples=30, deadline=None)


class Case:
    """A network, its input and its initial state; drawn by `cases`."""

    def __init__(self, kind, steps, batch, size, hidden, layers, options, dtype, layout, start, lengths, seed):
        self.rng = np.random.default_rng(seed)
        make, more = KINDS[kind]
        unbatched = layout == "unbatched"
        self.steps, self.batch, self.dtype = steps, 1 if unbatched else batch, dtype
        self.net = make(
            size,
            hidden,
            num_layers=layers,
            batch_first=layout == "batch first",
            learned_initial_state=start == "learned",
            dtype=dtype,
            rng=self.rng,
            **more,
            **options,
        )
        for name, parameter in self.net.named_parameters():
            if name in ("h_0", "c_0"):
                parameter.assign(self.normal(parameter.shape))
        lane = () if unbatched else (batch,)
        self.xs = tg.tensor(self.normal((batch, steps, size) if layout == "batch first" else (steps, *lane, size)))
        rows = layers * self.net.directions
        parts = self.net.parts if start == "given" else 0
        self.given = [tg.tensor(self.normal((rows, *lane, hidden))) for _ in range(parts)]
        self.lengths = self.rng.integers(1, steps + 1, self.batch) if lengths else None
        # Roundings along the longest chain from an input to a result: a product of size + hidden terms and about
        # eight elementwise operations a step, forward and back, and one sum over the lanes.
        products = max(size, 2 * hidden) + hidden
        self.roundings = 2 * layers * steps * (products + 8) + self.batch * steps

    def normal(self, shape):
        return self.rng.normal(size=shape).astype(self.dtype)

    @property
    def sources(self):
        return {"xs": self.xs, **dict(enumerate(self.given)), **dict(self.net.named_parameters())}

    def run(self, fused=True):
        """The tape, the outputs (ys and each part of the final state), and their sum with a weight for each entry."""
        state = None if not self.given else self.given[0] if len(self.given) == 1 else tuple(self.given)
        weigh = np.random.default_rng(0)
        loss = tg.tensor(0.0, dtype=self.dtype)
        with tg.Tape() as tape:
            ys, last = self.net(self.xs, state, lengths=self.lengths, fused=fused)
            outputs = [ys, *last] if isinstance(last, tuple) else [ys, last]
            for y in outputs:
                loss = loss + tg.sum(y * tg.tensor(weigh.normal(size=y.shape).astype(self.dtype)))
        return tape, outputs, loss

    def close(self, a, b, what):
        """Assert that a is b but for rounding, relative to the largest entry (or to 1, the scale of the inputs)."""
        a, b = a.numpy(), b.numpy()
        assert a.shape == b.shape, what
        assert a.dtype == b.dtype == self.dtype, what
        bound = self.roundings * float(np.finfo(self.dtype).eps) * max(1.0, float(np.abs(b).max()))
        assert np.abs(a - b).max() <= bound, f"{what}: {np.abs(a - b).max():.2e} apart, allowed {bound:.2e}"


@st.composite
def cases(draw, kind):
    """Networks of one kind with their inputs: every option of the layer, small sizes."""
    steps, batch = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    size, hidden, layers = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    options = {"bidirectional": draw(st.booleans()), "bias": draw(st.booleans())}
    dtype = draw(st.sampled_from(["float64", "float32"]))
    layout = draw(st.sampled_from(["time first", "batch first", "unbatched"]))
    start = draw(st.sampled_from(["default", "given", "learned"]))
    lengths, seed = draw(st.booleans()), draw(st.integers(0, 2**16))
    return Case(kind, steps, batch, size, hidden, layers, options, dtype, layout, start, lengths, seed)


@every_kind
@given(data=st.data())
@quickly
def test_fused_equals_composed_in_outputs_states_and_gradients(kind, data):
    case = data.draw(cases(kind))
    fused, fused_outputs, fused_loss = case.run()
    composed, composed_outputs, composed_loss = case.run(fused=False)
    for k, (a, b) in enumerate(zip(fused_outputs, composed_outputs, strict=True)):
        case.close(a, b, f"output {k}")
    a, b = fused.gradient(fused_loss, case.sources), composed.gradient(composed_loss, case.sources)
    for name in case.sources:
        case.close(a[name], b[name], f"gradient of {name}")


@every_kind
@given(data=st.data())
@quickly
def test_a_second_sweep_over_the_same_tape_gives_the_same_gradient(kind, data):
    """No rule writes into what the record keeps, nor into the cotangents it is given."""
    case = data.draw(cases(kind))
    tape, _, loss = case.run()
    first, second = tape.gradient(loss, case.sources), tape.gradient(loss, case.sources)
    for name in case.sources:
        assert np.array_equal(first[name].numpy(), second[name].numpy()), name


@every_kind
@given(data=st.data())
@quickly
def test_the_fused_form_is_one_record_for_each_layer_and_direction(kind, data):
    case = data.draw(cases(kind))
    names = [record.primitive.name for record in case.run()[0]]
    sequences = [name for name in names if name.endswith("_sequence")]
    assert len(sequences) == case.net.num_layers * case.net.directions
    assert not {"matmul", "tanh", "sigmoid", "relu"} & set(names)
    composed = [record.primitive.name for record in case.run(fused=False)[0]]
    assert not any(name.endswith("_sequence") for name in composed)
    assert composed.count("matmul") >= 2 * case.steps * len(sequences)


@every_kind
@given(data=st.data())
@quickly
def test_forward_mode_through_the_fused_record_is_the_transpose_of_the_sweep(kind, data):
    """<1, J u> = <J^T 1, u> for the weighted sum of the outputs, along a random direction of every source at once."""
    case = data.draw(cases(kind))
    tape, _, loss = case.run()
    directions = {name: tg.tensor(case.normal(x.shape)) for name, x in case.sources.items()}
    pushed = tape.jvp(loss, case.sources, directions).item()
    pulled = tape.gradient(loss, case.sources)
    products = np.concatenate([(pulled[name] * directions[name]).numpy().ravel() for name in pulled])
    scale = max(1.0, float(np.abs(products).sum()))
    allowed = (case.roundings + products.size) * float(np.finfo(case.dtype).eps) * scale
    assert abs(pushed - products.sum(dtype=np.float64)) <= allowed


SMOOTH = {
    "RNN tanh": (elman_sequence, 1, 1, {}),
    "GRU": (gru_sequence, 3, 1, {}),
    "GRU reset before": (gru_sequence, 3, 1, {"reset_after": False}),
    "LSTM": (lstm_sequence, 4, 2, {}),
}


def scalar_of_sequence(kind, lengths, reverse, seed=0):
    """A smooth scalar function of every array that a fused record reads, and a point for it."""
    run, gates, parts, options = SMOOTH[kind]
    steps, batch, size, hidden = 4, 2, 2, 3
    rng = np.random.default_rng(seed)
    shapes = [(steps, batch, size), *[(batch, hidden)] * parts]
    shapes += [(gates * hidden, size), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,)]
    point = [tg.tensor(rng.normal(size=shape)) for shape in shapes]

    def scalar(args):
        outputs = run(*args, lengths=lengths, reverse=reverse, **options)
        return sum((tg.sum(tg.sin((k + 1.0) * y)) for k, y in enumerate(outputs)), tg.tensor(0.0, dtype="float64"))

    return scalar, point, [tg.tensor(rng.normal(size=shape)) for shape in shapes]


every_smooth_kind = pytest.mark.parametrize("kind", SMOOTH)
every_way = pytest.mark.parametrize(
    ("lengths", "reverse"), [(None, False), (None, True), (np.array([2, 4]), False), (np.array([3, 1]), True)]
)


@every_smooth_kind
@every_way
def test_jvp_of_a_fused_sequence_is_the_transpose_of_its_vjp(kind, lengths, reverse):
    scalar, point, along = scalar_of_sequence(kind, lengths, reverse)
    pushed = tg.jvp(scalar, [point], [along])[1].item()
    products = [g * u for g, u in zip(tg.grad(scalar)(point), along)]
    size = sum(float(np.abs(p.numpy()).sum()) for p in products)
    roundings = 4 * (2 + 3 + 8) + sum(p.size for p in products)
    assert abs(pushed - sum(float(p.numpy().sum()) for p in products)) <= roundings * EPS * size


@every_smooth_kind
@every_way
def test_second_order_through_the_fused_record_is_the_difference_of_gradients(kind, lengths, reverse):
    """H u = (g(x + h u) - g(x - h u)) / 2h, short of h² |third derivative| and of rounding / h.

    The same quotient with 2h is off by four times the truncation of h, so that their distance bounds it.
    """
    scalar, point, along = scalar_of_sequence(kind, lengths, reverse)
    product = tg.hvp(scalar, point, along)
    h = EPS ** (1 / 3)

    def quotient(step):
        forth = tg.grad(scalar)([x + step * u for x, u in zip(point, along)])
        back = tg.grad(scalar)([x - step * u for x, u in zip(point, along)])
        return [(a.numpy() - b.numpy()) / (2 * step) for a, b in zip(forth, back)]

    gradient = tg.grad(scalar)(point)
    for found, near, far, g in zip(product, quotient(h), quotient(2 * h), gradient, strict=True):
        rounding = 4 * (2 + 3 + 8) * EPS * max(1.0, float(np.abs(g.numpy()).max())) / h
        assert np.abs(found.numpy()).max() > 0
        assert np.abs(found.numpy() - near).max() <= np.abs(far - near).max() + rounding


@every_smooth_kind
def test_hvp_through_the_fused_record_is_symmetric(kind):
    """<H u, w> = <u, H w>: a second derivative does not depend on the order of differentiation."""
    scalar, point, u = scalar_of_sequence(kind, np.array([3, 4]), False)
    w = scalar_of_sequence(kind, None, False, seed=1)[1]
    left = [(a * b).numpy() for a, b in zip(tg.hvp(scalar, point, u), w)]
    right = [(a * b).numpy() for a, b in zip(tg.hvp(scalar, point, w), u)]
    size = sum(float(np.abs(p).sum()) for p in [*left, *right])
    roundings = 2 * 4 * (2 + 3 + 8) + sum(p.size for p in left)
    assert abs(sum(float(p.sum()) for p in left) - sum(float(p.sum()) for p in right)) <= roundings * EPS * size


@every_smooth_kind
@every_way
@pytest.mark.parametrize("steps", [1, 3], ids=["a step each", "three steps each"])
def test_a_sweep_by_stretches_of_time_is_the_sweep_over_all_of_it(kind, lengths, reverse, steps, monkeypatch):
    """Only the order changes in which the contributions of the steps to a weight are added."""
    scalar, point, _ = scalar_of_sequence(kind, lengths, reverse)
    wanted = tg.grad(scalar)(point)
    gates = SMOOTH[kind][1]
    monkeypatch.setattr(sequence, "STRETCH", steps * 2 * gates * 3 * 8)  # lanes, gates, units, bytes
    for found, whole in zip(tg.grad(scalar)(point), wanted, strict=True):
        roundings = 2 * 4 * (2 + 3 + 8)
        scale = max(1.0, float(np.abs(whole.numpy()).max()))
        assert np.abs(found.numpy() - whole.numpy()).max() <= roundings * EPS * scale
