"""All ways to a ridge regression lead to one solution; the default one keeps more digits; statistics merge."""

import warnings

import numpy as np
import pytest
from helpers import assert_gradients, close

import tinygrad_rnn as tg
from tinygrad_rnn import esn

SOLVERS = ["svd", "qr", "normal"]


def rows(count=60, features=5, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    H = rng.normal(size=(count, features)) + 3
    return H, H @ rng.normal(size=(features, outputs)) + rng.normal(size=(count, outputs))


def by_hand(H, Y, lam):
    centred = H - H.mean(axis=0)
    weights = np.linalg.solve(centred.T @ centred + lam * np.eye(H.shape[1]), centred.T @ (Y - Y.mean(axis=0)))
    return weights, Y.mean(axis=0) - H.mean(axis=0) @ weights


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("lam", [0.0, 1e-3, 100.0])
def test_every_solver_gives_the_solution(solver, lam):
    H, Y = rows()
    weights, intercept = by_hand(H, Y, lam)
    found = esn.fit_ridge(H, Y, lam, solver)
    assert np.abs(found.weights - weights).max() < 1e-12
    assert np.abs(found.intercept - intercept).max() < 1e-12


@pytest.mark.parametrize("lam", [0.0, 1e-3, 100.0])
def test_the_form_for_tapes_gives_the_solution(lam):
    H, Y = rows()
    weights, intercept = by_hand(H, Y, lam)
    found = esn.ridge(tg.tensor(H), tg.tensor(Y), lam)
    assert np.abs(found[0].numpy() - weights).max() < 1e-12
    assert np.abs(found[1].numpy() - intercept).max() < 1e-12
    flat = esn.ridge(tg.tensor(H), tg.tensor(Y[:, 0]), lam)
    assert (flat[0].shape, flat[1].shape) == ((5,), ())
    close(flat[0], found[0].numpy()[:, 0], 100)


@pytest.mark.parametrize("solver", SOLVERS)
def test_statistics_of_parts_merge(solver):
    H, Y = rows(70)
    whole = esn.RidgeStatistics(5, 2, solver).update(H, Y).solve(0.1)
    parts = []
    for start, end in ((0, 1), (1, 3), (3, 40), (40, 40), (40, 70)):  # one row, fewer than features, none
        parts.append(esn.RidgeStatistics(5, 2, solver).update(H[start:end], Y[start:end]))
    for found in (sum(parts), parts[4] + (parts[1] + parts[0]) + (parts[3] + parts[2])):
        assert found.count == 70
        solution = found.solve(0.1)
        assert np.abs(solution.weights - whole.weights).max() < 1e-12
        assert np.abs(solution.intercept - whole.intercept).max() < 1e-12
    assert parts[2].count == 37  # merging changes no part


@pytest.mark.parametrize("solver", SOLVERS)
def test_fewer_rows_than_features(solver):
    H, Y = rows(3, 6, 1)
    weights, intercept = by_hand(H, Y, 0.5)
    found = esn.fit_ridge(H, Y, 0.5, solver)
    assert np.abs(found.weights - weights).max() < 1e-12
    assert np.abs(found.intercept - intercept).max() < 1e-12


def test_singular_values_keep_digits_that_normal_equations_lose():
    rng = np.random.default_rng(0)
    u, _ = np.linalg.qr(rng.normal(size=(200, 8)))
    u, _ = np.linalg.qr(u - u.mean(axis=0))
    v, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    H = (u * np.logspace(0, -7, 8)) @ v.T
    weights = v @ np.ones((8, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        error = {s: np.abs(esn.fit_ridge(H, H @ weights, 1e-30, s).weights - weights).max() for s in SOLVERS}
    assert max(error["svd"], error["qr"]) < 1e-7
    assert error["normal"] > 100 * max(error["svd"], error["qr"])


@pytest.mark.parametrize(("solver", "scale"), [("svd", 1e-15), ("qr", 1e-15), ("normal", 1e-8)])
def test_an_ill_conditioned_solve_warns_with_the_condition_number(solver, scale):
    H, Y = rows(50, 3)
    H[:, 2] = H[:, 0] + H[:, 1] + scale * np.random.default_rng(1).normal(size=50) * 30
    with pytest.warns(esn.IllConditionedWarning, match=r"condition number is \d\.\de\+1[3-9]"):
        esn.fit_ridge(H, Y, 1e-30, solver)


def test_without_a_ridge_singular_values_give_the_solution_of_least_norm():
    H, Y = rows(50, 3)
    H = np.hstack((H, H[:, :1]))
    with pytest.warns(esn.IllConditionedWarning):
        found = esn.fit_ridge(H, Y, 0.0)
    centred = H - H.mean(axis=0)
    assert np.abs(found.weights - np.linalg.pinv(centred) @ (Y - Y.mean(axis=0))).max() < 1e-12


def test_a_constant_feature_gets_no_weight():
    H, Y = rows()
    H[:, 1] = 7.0
    for solver in SOLVERS:
        found = esn.fit_ridge(H, Y, 1e-3, solver)
        assert np.abs(found.weights[1]).max() < 1e-10


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_the_form_for_tapes_differentiates_to_second_order(lam):
    H, Y = rows(9, 3)

    def solution(h, y):
        return tg.concat([tg.reshape(part, (-1,)) for part in esn.ridge(h, y, lam)])

    assert_gradients(solution, H, Y, factor=256)


def test_the_form_for_tapes_differentiates_with_respect_to_the_regularization():
    H, Y = rows(9, 3)
    assert_gradients(lambda lam: esn.ridge(tg.tensor(H), tg.tensor(Y), lam)[0], np.array(0.7), factor=256)


BAD = {
    "solver": (lambda: esn.RidgeStatistics(1, 1, "magic"), "the solver is"),
    "no rows": (lambda: esn.RidgeStatistics(1, 1).solve(1.0), "at least one row"),
    "ridge": (lambda: esn.fit_ridge(*rows(), -1.0), "finite number, at least 0; got -1.0"),
    "widths": (lambda: esn.RidgeStatistics(5, 2).update(np.ones((3, 4)), np.ones((3, 2))), r"H \(T, 5\)"),
    "lengths": (lambda: esn.fit_ridge(np.ones((3, 2)), np.ones((4, 1)), 1.0), r"\(3, 2\) and \(4, 1\)"),
    "NaN": (lambda: esn.fit_ridge(np.full((3, 2), np.nan), np.ones((3, 1)), 1.0), "H holds NaN"),
    "kinds": (lambda: esn.RidgeStatistics(1, 1) + esn.RidgeStatistics(1, 1, "qr"), "only statistics of one kind"),
    "dependent": (lambda: esn.fit_ridge(np.ones((5, 2)), np.ones((5, 1)), 0.0, "qr"), "linearly dependent"),
    "singular": (lambda: esn.fit_ridge(np.ones((5, 2)), np.ones((5, 1)), 0.0, "normal"), "singular"),
    "tape lengths": (lambda: esn.ridge(np.ones((3, 2)), np.ones((4, 1)), 1.0), r"\(3, 2\) and \(4, 1\)"),
    "tape ridge": (lambda: esn.ridge(np.ones((3, 2)), np.ones(3), -1.0), "at least 0"),
    "tape rows": (lambda: esn.ridge(np.ones((2, 2)), np.ones(2), 0.0), "more rows than columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_one_decomposition_serves_every_regularization_until_more_rows_come(monkeypatch):
    rng = np.random.default_rng(0)
    H, Y = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    statistics = esn.RidgeStatistics(5, 2).update(H[:30], Y[:30])
    calls, svd = [], np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda *args, **options: calls.append(1) or svd(*args, **options))
    for lam in (0.0, 1e-3, 1.0):
        again = esn.RidgeStatistics(5, 2, solver="qr").update(H[:30], Y[:30]).solve(lam)
        assert np.allclose(statistics.solve(lam).weights, again.weights, rtol=1e-10, atol=1e-12)
    assert len(calls) == 1
    statistics.update(H[30:], Y[30:])
    assert np.allclose(statistics.solve(1.0).weights, esn.fit_ridge(H, Y, 1.0, "qr").weights, rtol=1e-10, atol=1e-12)
    assert len(calls) == 2
