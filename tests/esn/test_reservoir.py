"""A reservoir is a cell; its run is the scan of it; matrices that are given are used as they are."""

import numpy as np
import pytest
from helpers import close
from scipy.sparse import coo_array, csr_array

import tinygrad_rnn as tg
from tinygrad_rnn import esn
from tinygrad_rnn.esn import matrices

TOPOLOGIES = ["random", "orthogonal", "ring", "delay_line", "delay_line_feedback", "small_world"]
T, B, I, N = 9, 3, 2, 12
# a step is a product of N terms and some ten operations; an error grows by at most the norm of W, below 3, a step
ROUNDINGS = T * (N + 10) * 3


def series(dtype="float64"):
    return np.random.default_rng(5).normal(size=(T, B, I)).astype(dtype)


def made(**options):
    return esn.Reservoir(I, N, **({"rng": 0, "dtype": "float64", "connectivity": 0.3, "bias_scaling": 0.2} | options))


def scanned(reservoir, xs, **options):
    states, last = tg.rnn.scan(reservoir, tg.asarray(xs), **options)
    return states.numpy(), last.numpy()


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("options", [{}, {"leak": 0.3}, {"leak": np.linspace(0.1, 1, N)}], ids=["1", "scalar", "unit"])
@pytest.mark.parametrize(("lengths", "reverse"), [(None, False), (None, True), ([9, 4, 1], False), ([9, 4, 1], True)])
def test_run_is_scan(topology, options, lengths, reverse):
    reservoir = made(topology=topology, **options)
    states, last = reservoir.run(series(), lengths=lengths, reverse=reverse)
    wanted, wanted_last = scanned(reservoir, series(), lengths=lengths, reverse=reverse)
    close(states, wanted, ROUNDINGS)
    close(last, wanted_last, ROUNDINGS)


@pytest.mark.parametrize("nonlinearity", ["tanh", "identity", "relu", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_run_scan_and_stepper_agree_for_every_nonlinearity_and_dtype(nonlinearity, dtype):
    for options in ({"connectivity": 1.0}, {"topology": "ring"}, {"feedback_size": 1}):
        reservoir = made(nonlinearity=nonlinearity, dtype=dtype, leak=0.7, **options)
        xs = np.random.default_rng(5).normal(size=(T, B, I + reservoir.feedback_size)).astype(dtype)
        states, _ = reservoir.run(xs)
        assert states.dtype == np.dtype(dtype)
        close(states, scanned(reservoir, xs)[0], ROUNDINGS)
        step, h = reservoir.stepper(), np.zeros(N, dtype)
        for t in range(T):
            h = step(xs[t, 0], h)
            close(states.numpy()[t, 0], h, ROUNDINGS)


def test_the_equation_with_leak_outside_the_nonlinearity():
    w, w_in, bias = np.array([[0.0, 0.5], [-0.5, 0.1]]), np.array([[1.0], [2.0]]), np.array([0.1, 0.2])
    reservoir = esn.Reservoir(1, w=w, w_in=w_in, bias=bias, leak=[0.3, 0.9], dtype="float64")
    h, u = np.array([0.2, -0.4]), np.array([0.7])
    wanted = (1 - np.array([0.3, 0.9])) * h + np.array([0.3, 0.9]) * np.tanh(w @ h + w_in @ u + bias)
    close(reservoir(tg.tensor(u[None]), tg.tensor(h[None])), wanted[None])


@pytest.mark.parametrize("kind", [np.array, csr_array, coo_array, tg.tensor], ids=["array", "csr", "coo", "tensor"])
def test_matrices_are_used_as_given(kind):
    w = np.random.default_rng(0).normal(size=(4, 4)) * 3
    w[0, 1] = w[2] = 0
    w_in, bias = np.ones((4, 2)), np.arange(4.0)
    reservoir = esn.Reservoir(
        2, w=kind(w), w_in=w_in, bias=bias, spectral_radius=0.1, input_scaling=0.1, dtype="float64"
    )
    matrix = reservoir.matrix()
    assert np.array_equal(matrix if isinstance(matrix, np.ndarray) else matrix.toarray(), w)
    assert np.array_equal(reservoir.w_in.numpy(), w_in)
    assert np.array_equal(reservoir.bias.numpy(), bias)
    assert reservoir.units == 4


def test_a_ring_is_stored_as_its_weights():
    reservoir = made(topology="ring", spectral_radius=0.7)
    assert reservoir.w.shape == (N,)
    close(reservoir.matrix(), matrices.ring(N, 0.7).toarray())


def test_one_series_runs_without_the_batch_axis():
    reservoir = made()
    states, last = reservoir.run(series()[:, 0])
    assert (states.shape, last.shape) == ((T, N), (N,))
    close(states, reservoir.run(series())[0].numpy()[:, 0], ROUNDINGS)
    again, _ = reservoir.run(series()[:, 0], last)
    assert again.shape == (T, N)


def test_nothing_carries_over_from_a_run():
    reservoir = made()
    first, _ = reservoir.run(series())
    second, _ = reservoir.run(series())
    assert np.array_equal(first.numpy(), second.numpy())


def test_noise_is_drawn_in_training_only_and_is_the_same_for_run_and_scan():
    run, scan = made(noise=0.1), made(noise=0.1)
    noisy, _ = run.run(series())
    close(noisy, scanned(scan, series())[0], ROUNDINGS)
    assert np.abs(noisy.numpy() - made().run(series())[0].numpy()).max() > 0.01
    assert np.array_equal(run.eval().run(series())[0].numpy(), made().run(series())[0].numpy())


def test_only_what_is_trainable_is_a_parameter_and_the_rest_is_saved_beside_it():
    reservoir = made(trainable=("leak", "spectral_radius"))
    assert sorted(name for name, _ in reservoir.named_parameters()) == ["leak", "spectral_radius"]
    assert set(reservoir.state_dict()) == {
        "leak", "spectral_radius", "w", "w_in", "bias", "w_indptr", "w_indices",
    }  # fmt: skip
    other = made(trainable=("leak", "spectral_radius"), rng=1, leak=0.5)
    other.load_state_dict(reservoir.state_dict())
    assert np.array_equal(other.run(series())[0].numpy(), reservoir.run(series())[0].numpy())
    assert np.array_equal(reservoir.copy().run(series())[0].numpy(), reservoir.run(series())[0].numpy())


ALL = ("leak", "spectral_radius", "input_scaling", "bias_scaling", "w", "w_in", "bias")


def test_a_trainable_reservoir_starts_as_the_same_reservoir():
    assert np.array_equal(made(trainable=ALL).run(series())[0].numpy(), made().run(series())[0].numpy())


@pytest.mark.parametrize("name", ["spectral_radius", "input_scaling", "bias_scaling"])
def test_a_scale_scales_its_matrix(name):
    reservoir = made(trainable=name)
    parameter = getattr(reservoir, name)
    parameter.assign(np.array(2 * parameter.item()))
    other = made(**{name: parameter.item()})
    close(reservoir.run(series())[0], other.run(series())[0], ROUNDINGS)


def test_the_spectral_radius_of_a_given_matrix_is_where_it_starts():
    w = np.diag([0.5, -1.5])
    reservoir = esn.Reservoir(1, w=w, trainable="spectral_radius", dtype="float64")
    assert reservoir.spectral_radius.item() == 1.5
    assert np.array_equal(reservoir.matrix(), w)


@pytest.mark.parametrize("topology", ["random", "delay_line", "small_world"])
def test_training_the_matrix_keeps_its_zeros(topology):
    reservoir = made(topology=topology, trainable="w")

    def dense():
        matrix = reservoir.matrix()
        return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()

    before = dense()
    optimiser = tg.optim.SGD(reservoir.parameters(), lr=0.1)
    with tg.Tape():
        states, _ = reservoir.run(series())
        (states * states).sum().backward()
    optimiser.step()
    after = dense()
    assert np.array_equal(before == 0, after == 0)
    assert (before[before != 0] != after[before != 0]).all()


BAD = {
    "columns": (lambda: made().run(np.ones((T, B, 5))), r"input of shape \(\.\.\., 2\); got \(9, 3, 5\)"),
    "axes": (lambda: made().run(np.ones(T)), r"\(T, B, I\) or \(T, I\)"),
    "no steps": (lambda: made().run(np.ones((0, I))), "at least one time step"),
    "NaN": (lambda: made().run(np.where(np.arange(T)[:, None] == 4, np.nan, np.ones((T, I)))), "time step 4"),
    "state": (lambda: made().run(series(), np.zeros((B, 3))), r"state of shape \(3, 12\)"),
    "state of a step": (lambda: made()(tg.ones((1, I)), tg.zeros((1, 3))), r"state of shape \(1, 12\)"),
    "leak of 0": (lambda: made(leak=0), r"leak lies in \(0, 1\]"),
    "leak of 2": (lambda: made(leak=2.0), r"leak lies in \(0, 1\]"),
    "leaks": (lambda: made(leak=[0.5, 0.5]), "each of the 12 units"),
    "units": (lambda: made(w=np.eye(3)), r"units is 12, and w has shape \(3, 3\)"),
    "w": (lambda: esn.Reservoir(1, w=np.ones((2, 3))), "square"),
    "w_in": (lambda: made(w_in=np.ones((N, 3))), r"w_in expects shape \(12, 2\)"),
    "w_in of NaN": (lambda: made(w_in=np.full((N, I), np.nan)), "w_in holds NaN"),
    "w_feedback": (lambda: made(w_feedback=np.ones((N, 1))), "feedback_size"),
    "nonlinearity": (lambda: made(nonlinearity="cube"), "nonlinearity is one of"),
    "noise": (lambda: made(noise=-1.0), "noise is a finite number"),
    "trainable": (lambda: made(trainable="weights"), "trainable names are"),
    "no bias": (lambda: made(bias_scaling=0.0, trainable="bias"), "has no bias"),
    "no scale": (lambda: made(input_scaling=0.0, trainable="input_scaling"), "start above 0"),
    "nilpotent": (
        lambda: esn.Reservoir(1, 5, topology=lambda units, rng: np.eye(units, k=1)),
        "cannot be reached.*nilpotent",
    ),
    "nilpotent and trainable": (
        lambda: esn.Reservoir(1, w=np.eye(5, k=1), trainable="spectral_radius"),
        "start above 0",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("topology", ["random", "orthogonal", "ring"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(topology, dtype):
    options = {"topology": topology, "leak": 0.7, "noise": 0.01, "feedback_size": 1, "dtype": dtype}
    here, there = (made(**options, backend=name) for name in ("numpy", "numba"))
    xs = np.random.default_rng(5).normal(size=(T, B, I + 1)).astype(dtype)
    for lengths in (None, [9, 4, 1]):
        states, last = there.run(xs, lengths=lengths)
        assert (states.backend, states.dtype) == ("numba", np.dtype(dtype))
        wanted, wanted_last = here.run(xs, lengths=lengths)
        close(states.numpy(), wanted.numpy(), ROUNDINGS)
        close(last.numpy(), wanted_last.numpy(), ROUNDINGS)


def test_input_products_are_computed_in_pieces_of_any_size(monkeypatch):
    reservoir = made(feedback_size=1, leak=0.5)
    xs = np.random.default_rng(5).normal(size=(T, B, I + 1))
    whole, _ = reservoir.run(xs)
    monkeypatch.setattr("tinygrad_rnn.esn.reservoir.PIECE", 5 * 8 * N)
    close(reservoir.run(xs)[0].numpy(), whole.numpy(), ROUNDINGS)
