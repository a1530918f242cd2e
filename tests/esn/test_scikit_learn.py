"""The models keep scikit-learn's contract, without importing it."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from tinygrad_rnn import esn

RECURRENT = "a row's output depends on the rows before it: that is what a recurrent model is for"
EXPECTED = {
    "check_methods_sample_order_invariance": RECURRENT,
    "check_methods_subset_invariance": RECURRENT,
}


@pytest.mark.parametrize(
    "model",
    [
        esn.ESN(30, random_state=0),
        esn.ESN(20, dtype="float32", ridge=1e-3, random_state=0),
        esn.ESN(20, feedback=True, ridge=1e-2, random_state=0),
        esn.DeepESN(20, layers=2, random_state=0),
        esn.NVAR(delays=1),
    ],
    ids=["ESN", "ESN in float32", "ESN with feedback", "DeepESN", "NVAR"],
)
def test_check_estimator_passes(model):
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    expected = {} if isinstance(model, esn.NVAR) else dict(EXPECTED)
    if getattr(model, "dtype", "float64") == "float32":
        expected["check_regressor_multioutput"] = "it wants float64, and predictions have the dtype that was asked for"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tiny and constant data
        results = checks.check_estimator(model, expected_failed_checks=expected, on_fail=None, on_skip=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(expected)


def test_a_grid_search_over_a_pipeline():
    pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = 3 + np.sin(0.3 * np.arange(201.0))[:, None]
    pipeline = make_pipeline(StandardScaler(), esn.ESN(20, washout=10, random_state=0))
    search = GridSearchCV(pipeline, {"esn__leak": [0.5, 1.0], "esn__ridge": [1e-6, 1e6]}, cv=TimeSeriesSplit(2))
    search.fit(x[:-1], x[1:])
    assert search.best_params_["esn__ridge"] == 1e-6
    assert search.best_score_ > 0.5


def test_an_unfitted_model_says_so_in_both_languages():
    with pytest.raises(esn.NotFittedError, match=r"call fit"):
        esn.ESN().predict([[1.0]])
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.raises(exceptions.NotFittedError):
        esn.ESN().predict([[1.0]])


def test_parameters_are_read_set_and_shown():
    model = esn.ESN(units=7)
    assert model.get_params()["units"] == 7
    assert model.set_params(leak=0.5) is model
    assert repr(model) == "ESN(units=7, leak=0.5)"
    assert repr(esn.ESN(w=np.eye(2))) == "ESN(w=<(2, 2)>)"
    with pytest.raises(ValueError, match="no parameter 'leek'"):
        model.set_params(leek=1)


def test_neither_scikit_learn_nor_scipy_is_imported():
    code = "import sys; from tinygrad_rnn import esn; print([m for m in sys.modules if m in ('scipy', 'sklearn')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
