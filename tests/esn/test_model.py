"""ESN: what it learns, what it carries over (nothing, unless asked), and what it refuses."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array

import tinygrad_rnn as tg
from tinygrad_rnn import esn


def wave(steps, phase=0.0):
    t = np.arange(float(steps))[:, None] + phase
    return np.sin(0.3 * t) * np.cos(0.11 * t)


def model(units=40, **options):
    return esn.ESN(units, **({"random_state": 0, "washout": 20, "ridge": 1e-8} | options))


X, Y = wave(300)[:-1], wave(300)[1:]


@pytest.mark.parametrize("solver", ["svd", "qr", "normal"])
@pytest.mark.parametrize("topology", ["random", "orthogonal", "ring", "delay_line", "small_world"])
def test_it_learns_to_predict(solver, topology):
    fitted = model(solver=solver, topology=topology, washout=60).fit(X, Y)
    assert np.abs(fitted.predict(X)[60:] - Y[60:]).max() < 0.05
    assert fitted.score(X, Y) > 0.9


def test_generation_follows_the_series():
    whole = wave(360)
    fitted = model(150, washout=60).fit(whole[:299], whole[1:300])
    made = fitted.generate(60, prime=whole[:300])
    assert np.abs(made - whole[300:]).max() < 0.05
    assert np.abs(made - fitted.generate(60)).max() < 1e-6  # without a prime: after the last target of fit
    assert made.shape == (60, 1)
    assert model().fit(X, Y[:, 0]).generate(5).shape == (5,)


def test_generation_goes_on_from_a_state():
    fitted = model().fit(X, Y)
    whole = fitted.generate(30, prime=X)
    _, state = fitted.run(X[:200])
    assert np.allclose(fitted.generate(30, prime=X[200:], state=state), whole, rtol=0, atol=1e-9)
    _, state = fitted.run(X)
    assert np.allclose(fitted.generate(29, state=state), whole[1:], rtol=0, atol=1e-9)


def test_generation_with_feedback():
    """A model without a signal from outside: a constant input, and its own output fed back."""
    y = wave(460)
    ones = np.ones((460, 1))
    fitted = model(120, feedback=True, noise=1e-5, ridge=1e-10, washout=50).fit(ones[:400], y[:400])
    free = fitted.generate(40, prime=ones[:400], targets=y[:400], inputs=ones[400:440])
    assert np.abs(free - y[400:440]).max() < 0.1
    after_fit = fitted.generate(40, inputs=ones[400:440])
    assert np.abs(after_fit - y[400:440]).max() < 0.1


def test_fit_forgets_and_starts_anew():
    fitted = model().fit(X, Y)
    first = fitted.predict(X)
    assert np.array_equal(fitted.fit(X, Y).predict(X), first)
    fitted.fit(wave(200, 5.0)[:-1], wave(200, 5.0)[1:])
    assert np.array_equal(fitted.fit(X, Y).predict(X), first)


def test_predict_and_run_change_nothing():
    fitted = model(noise=0.01).fit(X, Y)
    before = pickle.dumps(fitted)
    fitted.predict(X)
    fitted.run(X)
    fitted.generate(3, prime=X)
    assert pickle.dumps(fitted) == before


def test_pickling_keeps_the_predictions():
    fitted = model().fit(X, Y)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))


@pytest.mark.parametrize("feedback", [False, True])
def test_a_split_run_is_the_whole_run(feedback):
    fitted = model(feedback=feedback, ridge=1e-4).fit(X, Y)
    whole, end = fitted.run(X)
    first, state = fitted.run(X[:100])
    second, state = fitted.run(X[100:], state)
    assert np.allclose(np.concatenate([first, second]), whole, rtol=0, atol=1e-10)
    assert np.allclose(state.reservoir, end.reservoir, rtol=0, atol=1e-10)


def test_the_next_piece_of_a_series_by_partial_fit():
    whole = model().fit(X, Y)
    pieces = model().partial_fit(X[:100], Y[:100], solve=False)
    pieces.partial_fit(X[100:130], Y[100:130], state=pieces.state_, solve=False)
    pieces.partial_fit(X[130:], Y[130:], state=pieces.state_)
    assert np.abs(pieces.predict(X) - whole.predict(X)).max() < 1e-6
    assert np.allclose(pieces.generate(5), whole.generate(5), atol=1e-5)


def test_statistics_of_two_models_merge():
    series = [wave(150, 10.0 * k) for k in range(4)]
    pairs = [(s[:-1], s[1:]) for s in series]
    whole = model().fit([x for x, _ in pairs], [y for _, y in pairs])
    a = model().fit([x for x, _ in pairs[:2]], [y for _, y in pairs[:2]])
    b = model().fit([x for x, _ in pairs[2:]], [y for _, y in pairs[2:]])
    a.statistics_ = a.statistics_ + b.statistics_
    assert np.abs(a.solve().predict(X) - whole.predict(X)).max() < 1e-6


def test_series_of_unequal_length_are_each_their_own():
    series = [wave(n, 3.0 * n) for n in (90, 40, 61)]
    x, y = [s[:-1] for s in series], [s[1:] for s in series]
    fitted = model().fit(x, y)
    together = fitted.predict(x)
    assert [len(each) for each in together] == [89, 39, 60]
    for each, alone in zip(together, x):
        assert np.allclose(each, fitted.predict(alone), rtol=0, atol=1e-10)
    _, states = fitted.run(x)
    more, _ = fitted.run(x, states)
    assert np.allclose(more[1], fitted.run(x[1], states[1])[0], rtol=0, atol=1e-10)
    assert fitted.score(x, y) > 0.5


def test_an_array_of_series_has_time_first():
    stacked = np.stack([wave(80, k)[:, 0] for k in range(3)], axis=1)[..., None]
    fitted = model().fit(stacked[:-1], stacked[1:])
    assert fitted.predict(stacked).shape == (80, 3, 1)
    assert np.allclose(fitted.predict(stacked)[:, 1], fitted.predict(stacked[:, 1]), rtol=0, atol=1e-10)


def test_many_series_run_in_parts_that_fit_the_memory(monkeypatch):
    series = [wave(50, k) for k in range(7)]
    x, y = [s[:-1] for s in series], [s[1:] for s in series]
    whole = model().fit(x, y).predict(x)
    monkeypatch.setattr("tinygrad_rnn.esn.model.MEMORY", 2 * 8 * 49 * 40)
    assert np.abs(np.array(model().fit(x, y).predict(x)) - whole).max() < 1e-6


def test_the_input_as_a_feature_of_the_readout():
    fitted = model(input_to_readout=True).fit(X, 3 * X)
    assert fitted.readout_.weights.shape == (41, 1)
    assert np.abs(fitted.predict(X) - 3 * X).max() < 1e-3


def test_sizes_of_outputs_and_dtypes():
    two = model(dtype="float32", ridge=1e-4).fit(X, np.hstack((Y, X)))
    assert two.predict(X).shape == (299, 2)
    assert two.predict(X).dtype == np.float32
    assert model().fit(X, Y[:, 0]).predict(X).shape == (299,)


def test_a_tape_around_it_records_nothing():
    with tg.Tape() as tape:
        model().fit(X, Y).predict(X)
    assert len(tape) == 0


def test_given_matrices_are_used():
    w = csr_array(np.diag([0.5, 0.25], k=1))
    fitted = esn.ESN(w=w, w_in=np.ones((3, 1)), bias=np.zeros(3), ridge=1e-3).fit(X, Y)
    assert np.array_equal(fitted.reservoir_.matrix().toarray(), w.toarray())


@pytest.mark.parametrize("seed", [0, np.random.RandomState(0), np.random.default_rng(0), None], ids=str)
def test_random_states_of_every_kind(seed):
    assert model(random_state=seed).fit(X, Y).score(X, Y) > 0.5


def test_a_constant_series_warns_and_predicts_the_mean():
    flat = np.full((60, 1), 0.5)
    with pytest.warns(esn.ConstantInputWarning, match="constant in every series"):
        fitted = model().fit(flat, flat)
    assert np.allclose(fitted.predict(flat), 0.5)


def test_an_ill_conditioned_solve_warns():
    with pytest.warns(esn.IllConditionedWarning, match="condition number"):
        model(200, solver="normal", ridge=1e-14, leak=0.2).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(200, solver="svd", ridge=1e-14, leak=0.2).fit(X, Y)


def spoiled(row):
    x = X.copy()
    x[row] = np.nan
    return x


BAD = {
    "NaN in X": (lambda: model().fit(spoiled(7), Y), "Input X contains NaN or infinity, first at time step 7"),
    "NaN in y": (lambda: model().fit(X, spoiled(7)), "Input y contains NaN"),
    "NaN in predict": (lambda: model().fit(X, Y).predict(spoiled(3)), "time step 3"),
    "washout": (lambda: model(washout=299).fit(X, Y), "washout is 299, and series 0 has 299"),
    "a short series": (lambda: model().fit([X, X[:20]], [Y, Y[:20]]), "series 1 has 20"),
    "washout of no steps": (lambda: model(washout=-1).fit(X, Y), "washout is a number of steps"),
    "features": (lambda: model().fit(X, Y).predict(np.ones((5, 2))), "X has 2 features, but ESN is expecting 1"),
    "features of series": (lambda: model().fit([X, np.ones((50, 2))], [Y, Y[:50]]), "one number of features"),
    "rows": (lambda: model().fit(X, Y[:-1]), "one row for each of the 299 rows"),
    "one axis": (lambda: model().fit(X[:, 0], Y), "Expected 2D array, got 1D"),
    "no rows": (lambda: model().fit(X[:0], Y[:0]), "0 sample"),
    "series and targets": (lambda: model().fit([X, X], [Y]), "X holds 2 series, and y 1"),
    "no target": (lambda: model().fit(X, None), "target y is None"),
    "complex": (lambda: model().fit(X * 1j, Y), "Complex data not supported"),
    "text": (lambda: model().fit([["a"], ["b"]], [0.0, 1.0]), "must hold numbers"),
    "solver": (lambda: model(solver="magic").fit(X, Y), "solver is"),
    "ridge": (lambda: model(ridge=-1.0).fit(X, Y), "ridge is a finite number"),
    "generation": (lambda: model().fit(X, np.hstack((Y, Y))).generate(3, prime=X), "1 inputs and 2 outputs"),
    "steps": (lambda: model().fit(X, Y).generate(0), "steps is an integer"),
    "needless inputs": (lambda: model().fit(X, Y).generate(2, inputs=X[:2]), "belong to a model with feedback"),
    "missing inputs": (lambda: model(feedback=True, ridge=1.0).fit(X, Y).generate(2), r"inputs \(2, I\)"),
    "states": (lambda: model().fit(X, Y).run([X, X], [None]), "2 series, and state 1"),
    "outputs": (lambda: model().fit(X, Y).partial_fit(X, np.hstack((Y, Y))), "2 outputs, and the pieces before had 1"),
    "nilpotent": (
        lambda: model(topology=lambda units, rng: np.eye(units, k=1)).fit(X, Y),
        "cannot be reached.*nilpotent",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_a_sparse_series_is_refused():
    with pytest.raises(TypeError, match=r"X is sparse.*toarray"):
        model().fit(csr_array(X), Y)
