"""Laws of echo-state networks: of the reservoir's dynamics, of the readout's optimum, and of gradients through both."""

import numpy as np
import pytest
from helpers import EPS, STEP
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import esn

FORMS = {
    "dense": {"connectivity": 1.0},
    "sparse": {"connectivity": 0.4},
    "ring": {"topology": "ring"},
    "line": {"topology": "delay_line"},
}
sizes = st.integers(1, 12)
few = settings(max_examples=25, deadline=None)


@st.composite
def reservoirs(draw, **options):
    """A reservoir of any form, with 2 inputs, and a series (T, B, 2)."""
    units, steps, batch = draw(st.integers(2, 10)), draw(sizes), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**16))
    leak = draw(st.sampled_from([1.0, 0.3, "units"]))
    rng = np.random.default_rng(seed)
    reservoir = esn.Reservoir(
        2,
        units,
        spectral_radius=draw(st.sampled_from([0.3, 0.9, 1.2])),
        leak=rng.uniform(0.1, 1, units) if leak == "units" else leak,
        bias_scaling=0.3,
        rng=rng,
        dtype="float64",
        **FORMS[draw(st.sampled_from(list(FORMS)))],
        **options,
    )
    return reservoir, rng.normal(size=(steps, batch, 2))


def roundoff(reservoir, xs):
    """How far two orders of the same sums may take the states apart: each step adds some, and none is forgotten."""
    growth = max(1.0, np.linalg.norm(dense(reservoir), 2))
    return len(xs) * (reservoir.units + 20) * EPS * growth ** len(xs)


def dense(reservoir):
    w = reservoir.matrix()
    return w if isinstance(w, np.ndarray) else w.toarray()


@few
@given(reservoirs())
def test_states_of_two_starts_contract(case):
    """With f 1-Lipschitz, one step brings two states closer by 1 - a + a ‖W‖ (leak a, spectral norm). [Jaeger 2001]"""
    reservoir, xs = case
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-1, 1, (xs.shape[1], reservoir.units)) for _ in range(2))
    # with a leak for each unit the bound is the norm of diag(1 - a) + diag(a) |W|, taken entry by entry
    leak = np.broadcast_to(reservoir.leak.numpy(), (reservoir.units,))
    bound = np.linalg.norm(np.diag(1 - leak) + leak[:, None] * np.abs(dense(reservoir)), 2)
    if np.ptp(leak) == 0:
        bound = min(bound, 1 - leak[0] + leak[0] * np.linalg.norm(dense(reservoir), 2))
    for x in xs:
        before = np.linalg.norm(a - b, axis=1)
        a, b = (reservoir(tg.tensor(x), tg.tensor(h)).numpy() for h in (a, b))
        after = np.linalg.norm(a - b, axis=1)
        assert (after <= bound * before + 100 * reservoir.units * EPS).all()


@few
@given(reservoirs(), st.integers(0, 12))
def test_a_split_run_is_the_whole_run(case, cut):
    reservoir, xs = case
    cut = cut % len(xs)
    whole, end = reservoir.run(xs)
    state, parts = None, []
    for part in (xs[:cut], xs[cut:]):
        if len(part):
            states, state = reservoir.run(part, state)
            parts.append(states.numpy())
    assert np.abs(np.concatenate(parts) - whole.numpy()).max() <= roundoff(reservoir, xs)
    assert np.abs(state.numpy() - end.numpy()).max() <= roundoff(reservoir, xs)


@few
@given(reservoirs(), st.data())
def test_a_batch_is_its_series_one_by_one(case, data):
    reservoir, xs = case
    lengths = [data.draw(st.integers(1, len(xs))) for _ in range(xs.shape[1])]
    states, last = reservoir.run(xs, lengths=lengths)
    for b, length in enumerate(lengths):
        alone, end = reservoir.run(xs[:length, b])
        assert np.abs(states.numpy()[:length, b] - alone.numpy()).max() <= roundoff(reservoir, xs)
        assert np.abs(last.numpy()[b] - end.numpy()).max() <= roundoff(reservoir, xs)
        assert not states.numpy()[length:, b].any()


@few
@given(st.integers(0, 2**16), st.sampled_from(["svd", "qr", "normal"]), st.sampled_from([1e-6, 1e-2, 10.0]))
def test_the_gradient_of_the_ridge_loss_is_zero_at_the_fit(seed, solver, lam):
    rng = np.random.default_rng(seed)
    rows, features = int(rng.integers(3, 40)), int(rng.integers(1, 8))
    H, Y = rng.normal(size=(rows, features)) + 1, rng.normal(size=(rows, 2))
    found = esn.fit_ridge(H, Y, lam, solver)
    H, Y = tg.tensor(H), tg.tensor(Y)

    def loss(weights, intercept):
        return tg.sum((Y - H @ weights - intercept) ** 2) + lam * tg.sum(weights**2)

    for gradient in tg.grad(loss, (0, 1))(tg.tensor(found.weights), tg.tensor(found.intercept)):
        size = rows * float(np.abs(H.numpy()).max() * np.abs(Y.numpy()).max())
        allowed = 1000 * EPS * size * min(found.condition, 1e8)
        assert np.abs(gradient.numpy()).max() <= allowed


def readout_loss(reservoir, xs, ys, lam):
    """Validation error of the readout that the first half of the states fits: reservoir and ridge on one tape."""
    states, _ = tg.rnn.scan(reservoir, xs)
    half = xs.shape[0] // 2
    rows = tg.reshape(states[2:half], (-1, reservoir.units))
    weights, intercept = esn.ridge(rows, tg.reshape(ys[2:half], (-1, 1)), lam)
    return tg.mean((states[half:] @ weights + intercept - ys[half:]) ** 2)


TRAINED = ("leak", "spectral_radius", "input_scaling", "bias_scaling", "w", "w_in", "bias")


@pytest.mark.parametrize("form", FORMS)
def test_gradients_through_reservoir_and_ridge_are_finite_differences(form):
    rng = np.random.default_rng(3)
    reservoir = esn.Reservoir(
        1, 5, leak=0.6, bias_scaling=0.2, trainable=TRAINED, rng=2, dtype="float64", **FORMS[form]
    )
    xs = tg.tensor(rng.uniform(-1, 1, (40, 2, 1)))
    ys = tg.tensor(np.roll(xs.numpy(), 2, axis=0))
    parameters = dict(reservoir.named_parameters())
    with tg.Tape() as tape:
        loss = readout_loss(reservoir, xs, ys, 1e-2)
    gradients = tape.gradient(loss, list(parameters.values()))
    for parameter, gradient in zip(parameters.values(), gradients):
        start, direction = parameter.numpy().copy(), rng.normal(size=parameter.shape)
        values = {}
        for step in (-2, -1, 1, 2):
            parameter.assign(start + step * STEP * direction)
            values[step] = readout_loss(reservoir, xs, ys, 1e-2).item()
        parameter.assign(start)
        near, far = (values[1] - values[-1]) / (2 * STEP), (values[2] - values[-2]) / (4 * STEP)
        found = float(np.sum(gradient.numpy() * direction))
        # |far - near| is three times the truncation; the condition of the solve, below 1e4, multiplies the rounding
        assert abs(found - near) <= abs(far - near) + 1e4 * EPS * abs(loss.item()) / STEP


@pytest.mark.parametrize("form", FORMS)
def test_back_propagation_through_a_reservoir_is_the_sweep_of_one_tape(form):
    reservoir = esn.Reservoir(
        2, 5, leak=0.6, bias_scaling=0.2, trainable=TRAINED, rng=2, dtype="float64", **FORMS[form]
    )
    xs = tg.tensor(np.random.default_rng(0).normal(size=(12, 3, 2)))

    def loss(output, t):
        return tg.sum(output * output)

    found = tg.gradients.BPTT().gradient(reservoir, xs, loss)
    parameters = dict(reservoir.named_parameters())
    with tg.Tape() as tape:
        states, _ = reservoir.run(xs)
        total = tg.sum(states * states)
    assert found.gradients.keys() == parameters.keys()
    for (name, gradient), wanted in zip(found.gradients.items(), tape.gradient(total, list(parameters.values()))):
        assert np.allclose(gradient.numpy(), wanted.numpy(), rtol=1e-11, atol=1e-12), name


# those that are exact on any cell: online, with recomputation, in blocks, and two with windows as long as it takes
EXACT = {
    "RTRL": lambda: tg.gradients.RTRL(),
    "CheckpointedBPTT": lambda: tg.gradients.CheckpointedBPTT(3),
    "Hybrid": lambda: tg.gradients.Hybrid(4),
    "TruncatedBPTT": lambda: tg.gradients.TruncatedBPTT(12, 12),
    "SnAp": lambda: tg.gradients.SnAp(5),
}
OTHERS = {
    "ARTBP": lambda: tg.gradients.ARTBP(0.2, 0),
    "DNI": lambda: tg.gradients.DNI(),
    "KTP": lambda: tg.gradients.KTP(2, 0),
    "KroneckerRTRL": lambda: tg.gradients.KroneckerRTRL(0),
    "OptimalKronecker": lambda: tg.gradients.OptimalKronecker(2, 0),
    "SnAp": lambda: tg.gradients.SnAp(1),
    "UORO": lambda: tg.gradients.UORO(0),
}


def by_rule(rule, form):
    reservoir = esn.Reservoir(
        2, 5, leak=0.6, bias_scaling=0.2, trainable=TRAINED, rng=2, dtype="float64", **FORMS[form]
    )
    xs = tg.tensor(np.random.default_rng(0).normal(size=(12, 3, 2)))
    return rule.gradient(reservoir, xs, lambda output, t: tg.sum(output * output)).gradients, reservoir


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", EXACT)
def test_every_exact_rule_through_a_reservoir_is_back_propagation(name, form):
    by_time, _ = by_rule(tg.gradients.BPTT(), form)
    found, _ = by_rule(EXACT[name](), form)
    assert found.keys() == by_time.keys()
    for name, gradient in found.items():
        assert np.allclose(gradient.numpy(), by_time[name].numpy(), rtol=1e-10, atol=1e-11), name


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_rule_serves_a_dense_reservoir(name):
    found, reservoir = by_rule(OTHERS[name](), "dense")
    for name, parameter in reservoir.named_parameters():
        assert found[name].shape == parameter.shape
        assert np.isfinite(found[name].numpy()).all()
