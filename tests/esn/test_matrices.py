"""Topologies have the connections that their names say, and the spectral radius that was asked for."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from tinygrad_rnn.esn import matrices

DRAWN = ["random", "orthogonal", "ring", "small_world"]


def dense(w):
    return w if isinstance(w, np.ndarray) else w.toarray()


@pytest.mark.parametrize("topology", DRAWN)
@pytest.mark.parametrize("connectivity", [0.1, 1.0])
def test_the_spectral_radius_is_set_exactly(topology, connectivity):
    w = dense(matrices.draw(topology, 60, 0.8, connectivity=connectivity, rng=0))
    assert w.shape == (60, 60)
    assert abs(np.abs(np.linalg.eigvals(w)).max() - 0.8) < 1e-12


def test_a_delay_line_with_feedback_has_the_radius_of_its_formula():
    w = dense(matrices.draw("delay_line_feedback", 12, 0.8))
    assert abs(np.abs(np.linalg.eigvals(w)).max() - 0.8) < 1e-10
    assert np.allclose(np.diag(w, -1) * matrices.FEEDBACK, np.diag(w, 1))
    assert np.count_nonzero(w) == 2 * 11


def test_a_delay_line_has_one_chain_and_the_radius_is_its_weight():
    w = matrices.draw("delay_line", 4, 0.5)
    assert np.array_equal(w.toarray(), 0.5 * np.eye(4, k=-1))
    assert np.array_equal(w.tocsr().toarray(), w.toarray())
    assert matrices.spectral_radius(w) == 0


def test_a_random_matrix_has_the_connectivity_that_was_asked_for():
    assert matrices.random(50, 0.1, rng=0).nnz == 250
    assert isinstance(matrices.random(50, 1.0, rng=0), np.ndarray)


def test_orthogonal_columns():
    q = matrices.orthogonal(20, rng=0)
    assert np.abs(q.T @ q - np.eye(20)).max() < 1e-13


def test_a_small_world_has_as_many_inputs_for_each_unit_and_none_twice():
    w = matrices.small_world(40, 0.1, rewiring=0.5, rng=0)
    assert set(np.diff(w.indptr)) == {4}
    assert (w.diagonal() == 0).all()
    neighbours = dense(matrices.small_world(40, 0.1, rewiring=0.0, rng=0))
    distance = (np.subtract.outer(np.arange(40), np.arange(40)) + 20) % 40 - 20
    assert set(distance[neighbours != 0]) == {-2, -1, 1, 2}


def test_a_function_is_a_topology_too():
    w = matrices.draw(lambda units, rng: np.diag(rng.uniform(1, 2, units)), 5, 0.7, rng=0)
    assert abs(np.abs(np.diag(w)).max() - 0.7) < 1e-15


@pytest.mark.parametrize("topology", DRAWN)
def test_one_seed_gives_one_matrix(topology):
    one, other = (dense(matrices.draw(topology, 30, 0.9, rng=3)) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("topology", DRAWN)
@pytest.mark.parametrize(("method", "error"), [("arpack", 1e-9), ("power", 1e-4)])
def test_the_methods_find_one_spectral_radius(topology, method, error):
    w = matrices.draw(topology, 80, 0.9, rng=1)
    assert abs(matrices.spectral_radius(w, method) / 0.9 - 1) < error


def test_a_large_sparse_matrix_goes_through_arpack():
    w = matrices.random(matrices.EXACT_UNITS + 100, 0.02, rng=0)
    exact = matrices.spectral_radius(w, "dense")
    assert abs(matrices.spectral_radius(w) / exact - 1) < 1e-9


def hidden(w, rng):
    """The same matrix in another orthonormal basis."""
    q = matrices.orthogonal(len(w), rng)
    return q @ w @ q.T


NILPOTENT = {
    "zero": np.zeros((3, 3)),
    "one unit": np.zeros((1, 1)),
    "no cycle": np.triu(np.ones((5, 5)), 1),
    "cancelling": np.array([[1.0, -1.0], [1.0, -1.0]]),
    "sparse": csr_array(np.eye(6, k=2)),
    "a delay line": matrices.delay_line(30),
    "a hidden delay line": hidden(np.eye(50, k=1), 0),
    "a hidden triangle": hidden(np.triu(np.random.default_rng(0).normal(size=(30, 30)), 1), 1),
}


@pytest.mark.parametrize("name", NILPOTENT)
def test_the_radius_of_a_nilpotent_matrix_cannot_be_set(name):
    assert matrices.is_nilpotent(NILPOTENT[name])
    with pytest.raises(ValueError, match=r"cannot be reached.*nilpotent"):
        matrices.scale_to_spectral_radius(NILPOTENT[name], 0.9)


@pytest.mark.parametrize(
    "w",
    [
        np.eye(3),
        matrices.ring(50),
        matrices.ring(50).toarray(),
        hidden(matrices.ring(60).toarray(), 0),
        np.array([[1e-9, 1.0], [0.0, 1e-9]]),
        matrices.random(40, 1.0, rng=0),
    ],
    ids=["eye", "ring", "dense ring", "hidden ring", "far from normal", "random"],
)
def test_other_matrices_are_not_nilpotent(w):
    assert not matrices.is_nilpotent(w)


def test_a_matrix_with_too_few_connections_for_a_cycle_says_so():
    with pytest.raises(ValueError, match=r"higher connectivity"):
        matrices.draw("random", 50, 0.9, connectivity=1e-6, rng=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: matrices.draw("star", 5, 0.9), "topology is"),
        (lambda: matrices.draw("random", 0, 0.9), "units is an integer"),
        (lambda: matrices.draw("random", 5, 0.9, connectivity=0.0), r"connectivity lies in \(0, 1\]"),
        (lambda: matrices.draw("orthogonal", 5, -1.0), "at least 0"),
        (lambda: matrices.draw("orthogonal", 5, float("nan")), "finite number"),
        (lambda: matrices.spectral_radius(np.ones((2, 3))), r"square.*\(2, 3\)"),
        (lambda: matrices.spectral_radius([[np.nan]]), "NaN"),
        (lambda: matrices.spectral_radius(np.eye(2), "magic"), "method is"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
