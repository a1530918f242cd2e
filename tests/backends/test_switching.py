"""Choosing a backend: by argument, by context, for the process, by the environment; and what mixing two does."""

import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import backends
from tinygrad_rnn.backends.numpy_backend import NumpyBackend
from tinygrad_rnn.errors import BackendMismatchError, BackendUnavailableError

ROOT = Path(__file__).resolve().parents[2]


class Twin(NumpyBackend):
    """NumPy under another name."""

    name = "twin"


class Missing(NumpyBackend):
    name = "missing"

    @classmethod
    def availability(cls):
        return backends.Availability(False, "its library is not installed", "Install it: pip install missing")


@pytest.fixture(autouse=True)
def two_more_backends(monkeypatch):
    """Register a twin of NumPy and one that cannot run; afterwards the registry is what it was."""
    monkeypatch.setattr(backends, "_registry", dict(backends._registry))
    monkeypatch.setattr(backends, "_instances", dict(backends._instances))
    monkeypatch.delenv("TINYGRAD_RNN_BACKEND", raising=False)
    tg.set_backend(None)
    backends.register("twin", Twin)
    backends.register("missing", Missing)
    yield
    tg.set_backend(None)


# ---- which backend a new tensor gets


def test_without_a_choice_tensors_are_numpys():
    assert tg.tensor([1.0]).backend == "numpy"


def test_the_argument_beats_the_context_which_beats_the_process_which_beats_the_environment(monkeypatch):
    monkeypatch.setenv("TINYGRAD_RNN_BACKEND", "twin")
    assert tg.tensor([1.0]).backend == "twin"
    tg.set_backend("numpy")
    assert tg.tensor([1.0]).backend == "numpy"
    with tg.backend("twin"):
        assert tg.tensor([1.0]).backend == "twin"
        assert tg.tensor([1.0], backend="numpy").backend == "numpy"
        with tg.backend("numpy"):
            assert tg.zeros(2).backend == "numpy"
        assert tg.zeros(2).backend == "twin"
    assert tg.tensor([1.0]).backend == "numpy"
    tg.set_backend(None)
    assert tg.tensor([1.0]).backend == "twin"


def test_a_context_left_by_an_exception_is_closed():
    with pytest.raises(KeyError), tg.backend("twin"):
        raise KeyError
    assert tg.tensor([1.0]).backend == "numpy"


def test_a_context_counts_in_its_own_thread_only():
    seen = []
    with tg.backend("twin"):
        thread = threading.Thread(target=lambda: seen.append(tg.tensor([1.0]).backend))
        thread.start()
        thread.join()
    assert seen == ["numpy"]


def test_an_existing_tensor_keeps_its_backend_whatever_is_chosen():
    x = tg.tensor([1.0, 2.0])
    with tg.backend("twin"):
        y = x * 2.0
        z = tg.asarray(x)
    assert y.backend == "numpy"
    assert z is x


def test_an_unknown_backend_raises_and_lists_the_known_ones():
    for choose in (lambda: tg.tensor([1.0], backend="nupmy"), lambda: tg.set_backend("nupmy")):
        with pytest.raises(BackendUnavailableError, match=r'no backend "nupmy".*"numpy".*"twin"'):
            choose()
    with pytest.raises(BackendUnavailableError), tg.backend("nupmy"):
        pass
    assert tg.tensor([1.0]).backend == "numpy"


def test_a_backend_that_cannot_run_raises_with_its_reason_and_what_to_install():
    with pytest.raises(BackendUnavailableError, match=r"library is not installed\. Install it: pip install missing"):
        tg.set_backend("missing")
    status = backends.available()["missing"]
    assert status[:3] == (False, "its library is not installed", "Install it: pip install missing")
    assert not status.kernels
    assert backends.available()["numpy"].can_run


def test_an_unknown_backend_in_the_environment_raises_and_names_the_variable(monkeypatch):
    monkeypatch.setenv("TINYGRAD_RNN_BACKEND", "nupmy")
    with pytest.raises(BackendUnavailableError, match=r'TINYGRAD_RNN_BACKEND=nupmy, but there is no backend "nupmy"'):
        tg.tensor([1.0])
    monkeypatch.setenv("TINYGRAD_RNN_BACKEND", "missing")
    with pytest.raises(BackendUnavailableError, match="TINYGRAD_RNN_BACKEND=missing, but .*pip install missing"):
        tg.tensor([1.0])
    assert tg.tensor([1.0], backend="numpy").backend == "numpy"


def test_asking_what_is_available_never_raises():
    class Broken(NumpyBackend):
        @classmethod
        def availability(cls):
            raise OSError("no driver")

    backends.register("broken", Broken)
    assert backends.available()["broken"][:2] == (False, "asking it raised OSError: no driver")


def test_available_says_which_kernels_a_backend_has_without_loading_them():
    program = """
import sys, tinygrad_rnn as tg
status = tg.backends.available()
assert status["numpy"].kernels["lstm_forward"] == "reference"
assert set(status["numba"].kernels) >= set(status["numpy"].kernels)
assert "numba" not in sys.modules and "cupy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    for name in ("numpy", "numba"):
        if backends.available()[name].can_run:
            assert dict(backends.available()[name].kernels) == backends.get(name).kernels()


def test_the_fastest_is_one_that_can_run(monkeypatch):
    known = {name: backends.Availability(name != "cupy") for name in ("numpy", "numba", "cupy")}
    monkeypatch.setattr(backends, "available", lambda: known)
    assert backends.fastest() == "numba"
    known["numba"] = backends.Availability(False)
    assert backends.fastest() == "numpy"


def test_a_program_may_choose_what_comes_after_the_environment(monkeypatch):
    assert backends.resolve(None, otherwise="twin").name == "twin"
    monkeypatch.setenv("TINYGRAD_RNN_BACKEND", "numpy")
    assert backends.resolve(None, otherwise="twin").name == "numpy"


def test_numba_that_does_not_load_is_an_error_with_a_way_out(monkeypatch):
    if not backends.available()["numba"].can_run:
        pytest.skip("numba is not installed")
    monkeypatch.setattr(backends, "_instances", {})
    monkeypatch.setattr("tinygrad_rnn.backends.numba_backend.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(BackendUnavailableError, match=r"importing Numba raised .*pip install --upgrade numba numpy"):
        tg.set_backend("numba")


def test_numba_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr("tinygrad_rnn.backends.numba_backend.find_spec", lambda name: None)
    assert backends.available()["numba"][:3] == (False, "Numba is not installed", "Install it: pip install numba")


# ---- tensors of two backends


@pytest.mark.parametrize("recorded", [False, True])
def test_mixing_two_backends_raises_and_names_both_and_the_moves(recorded):
    x, y = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.0], backend="twin")
    pattern = r'add got a "numpy" tensor \(2,\) and a "twin" tensor \(2,\).*\.to\("numpy"\).*\.to\("twin"\).*\.py:\d+'
    with tg.Tape() if recorded else tg.scope(), pytest.raises(BackendMismatchError, match=pattern):
        x + y


def test_a_cotangent_of_another_backend_raises_and_names_the_move():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = x * x
    with pytest.raises(BackendMismatchError, match=r'cotangent is a "twin" tensor.*\.to\("numpy"\)'):
        tape.gradient(y, x, cotangent=tg.tensor([1.0, 1.0], backend="twin"))


def test_moving_a_tensor_makes_the_operation_possible():
    x, y = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0], backend="twin")
    z = x.to("twin") + y
    assert z.backend == "twin"
    assert z.tolist() == [4.0, 6.0]


def test_gradients_live_where_their_sources_live():
    x = tg.tensor([1.0, 2.0], backend="twin")
    with tg.Tape() as tape:
        y = tg.sum(tg.exp(x) * 2.0)
    unused = tg.tensor([1.0], backend="twin")
    assert tape.gradient(y, x).backend == "twin"
    assert tape.gradient(y, unused, unused="zeros").backend == "twin"
    assert tape.jvp(y, x, np.ones(2)).backend == "twin"
    assert tg.hessian(lambda x: tg.sum(tg.exp(x)))(x).backend == "twin"


def test_a_tensor_of_another_backend_says_so_and_comes_back_from_a_pickle_to_it():
    x = tg.tensor([1.0], backend="twin")
    assert repr(x) == 'Tensor([1.], dtype=float32, backend="twin")'
    assert pickle.loads(pickle.dumps(x)).backend == "twin"
    assert repr(backends.get("twin")) == '<backend "twin">'
    assert pickle.loads(pickle.dumps(backends.get("twin"))) is backends.get("twin")


def test_registering_a_name_again_replaces_the_backend():
    first = backends.get("twin")
    backends.register("twin", type("Other", (Twin,), {}))
    assert backends.get("twin") is not first


def test_gradients_move_back_to_the_backend_that_a_tensor_came_from():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        moved = (x * x).to("twin")
        loss = tg.sum(tg.exp(moved))
    gradient = tape.gradient(loss, x)
    assert moved.backend == "twin" and gradient.backend == "numpy"
    np.testing.assert_allclose(gradient.numpy(), 2 * x.numpy() * np.exp(x.numpy() ** 2), rtol=1e-6)
    assert tape[1].primitive.name == "to_backend" and tape[1].file == __file__
    tangent = tape.jvp(loss, [x], [tg.tensor([1.0, 0.0])])
    assert tangent.item() == pytest.approx(gradient.numpy()[0], rel=1e-6)


def test_second_derivatives_pass_through_a_move():
    x = tg.tensor([0.5, 2.0], dtype="float64")
    moved = tg.hessian(lambda x: tg.sum(x.to("twin") ** 3).to("numpy"))(x)
    np.testing.assert_allclose(moved.numpy(), np.diag(6 * x.numpy()), rtol=1e-14)
