"""The CuPy backend: what it says where it cannot run, and what it does where it can.

Without a GPU the driver is played, NumPy stands for CuPy in what is the same in both, and the kernels run in the
emulator. Tests that need a device are skipped with the reason that the backend itself gives.
"""

import sys
import types

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import backends
from tinygrad_rnn.backends import cupy_backend
from tinygrad_rnn.backends.cupy_backend import CupyBackend, CupyNamespace
from tinygrad_rnn.backends.numpy_backend import NumpyBackend
from tinygrad_rnn.errors import BackendMismatchError, BackendUnavailableError
from tinygrad_rnn.kernels import cuda, reference
from tinygrad_rnn.kernels.cuda.emulator import compiler

STATUS = backends.available()["cupy"]
needs_device = pytest.mark.skipif(not STATUS.can_run, reason=f"cupy cannot run here: {STATUS.reason}")
needs_compiler = pytest.mark.skipif(compiler() is None, reason="the CUDA emulator needs a C++ compiler, and found none")


# ---- what it says


@pytest.fixture
def machine(monkeypatch):
    """Play a machine: whether CuPy is there, for which CUDA it was built, and what the driver answers."""

    def play(installed=True, built_for=12, driver=(12040, 0, 1)):
        monkeypatch.setattr(cupy_backend, "find_spec", lambda name: object() if installed else None)
        monkeypatch.setattr(cupy_backend, "_cuda_of_cupy", lambda: built_for)
        monkeypatch.setattr(cupy_backend, "_driver", lambda: driver)
        return CupyBackend.availability()

    return play


def test_without_cupy_it_says_what_to_install(machine):
    status = machine(installed=False)
    assert status[:2] == (False, "CuPy is not installed")
    assert "pip install cupy-cuda12x" in status.fix


def test_without_a_driver_it_says_so(machine):
    status = machine(driver=(None, 0, 0))
    assert status[:2] == (False, "there is no NVIDIA driver")
    assert "Install the driver" in status.fix


@pytest.mark.parametrize("driver", [(12040, 100, 0), (12040, 0, 0)])
def test_without_a_device_it_says_so(machine, driver, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine(driver=driver)[:2] == (False, "the driver finds no device")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES=-1 may hide it" in machine(driver=driver).reason


def test_a_driver_that_does_not_start_is_reported_with_its_error(machine):
    status = machine(driver=(12040, 803, 0))
    assert "cuInit gives error 803" in status.reason and "nvidia-smi" in status.fix


def test_a_driver_that_is_too_old_for_this_cupy_is_reported(machine):
    status = machine(built_for=13)
    assert status.reason == "CuPy is built for CUDA 13, and the driver serves CUDA 12.4"
    assert "pip install cupy-cuda12x" in status.fix


def test_where_all_is_there_it_serves_every_kernel_itself(machine):
    status = machine()
    assert status.can_run and set(status.kernels) == set(reference.__all__)
    assert set(status.kernels.values()) == {"cuda"}


def test_asking_never_raises(monkeypatch):
    def broken(name):
        raise RuntimeError("half removed")

    monkeypatch.setattr(cupy_backend, "find_spec", broken)
    status = CupyBackend.availability()
    assert not status.can_run and "RuntimeError: half removed" in status.reason


def test_the_driver_of_this_machine_answers_without_raising():
    version, status, devices = cupy_backend._driver()
    assert version is None or version > 1000
    assert isinstance(status, int) and devices >= 0


def test_choosing_it_where_it_cannot_run_says_why_and_what_to_do(machine, monkeypatch):
    machine(driver=(None, 0, 0))
    monkeypatch.setattr(backends, "_instances", {})
    with pytest.raises(BackendUnavailableError, match=r'"cupy" cannot run here: there is no NVIDIA driver. Install'):
        tg.tensor([1.0], backend="cupy")


def test_a_cupy_that_does_not_load_is_an_error_with_a_way_out(machine, monkeypatch):
    machine()
    monkeypatch.setattr(backends, "_instances", {})
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendUnavailableError, match="using CuPy raised .*force-reinstall"):
        backends.get("cupy")


# ---- what it does, with NumPy in CuPy's place


class Played:
    """NumPy as CuPy: arrays that lie on a device."""

    class Array(np.ndarray):
        place = 0

        @property
        def device(self):
            return types.SimpleNamespace(id=self.place)

    ndarray = Array

    def __init__(self):
        pool = types.SimpleNamespace(used_bytes=lambda: 3 * 2**30)
        self.get_default_memory_pool = lambda: pool
        runtime = types.SimpleNamespace(getDevice=lambda: 0, memGetInfo=lambda: (2**30, 4 * 2**30))
        stream = types.SimpleNamespace(synchronize=lambda: None)
        self.allocator = [None]
        self.cuda = types.SimpleNamespace(
            runtime=runtime,
            get_allocator=lambda: self.full,
            set_allocator=lambda allocate: self.allocator.__setitem__(0, allocate),
            get_current_stream=lambda: stream,
        )

    @staticmethod
    def full(size):
        raise MemoryError("Out of memory")

    @staticmethod
    def array(data, dtype=None):
        return np.array(data, dtype).view(Played.Array)

    @staticmethod
    def from_dlpack(data):
        return np.from_dlpack(data.host).view(Played.Array)

    @staticmethod
    def asnumpy(array):
        return np.array(array)


@pytest.fixture
def played(monkeypatch):
    cupy = Played()
    monkeypatch.setattr(cupy_backend, "_import_cupy", lambda: cupy)
    return CupyBackend()


def test_an_array_on_another_device_is_refused_with_the_copy_to_write(played):
    array = Played.array([1.0])
    array.place = 1
    with pytest.raises(BackendMismatchError, match=r"works on device 0.*lies on device 1.*cupy\.cuda\.Device\(0\)"):
        played.asarray(array)


def test_arrays_come_in_and_go_out(played):
    array = played.asarray(np.arange(3), dtype="float32")
    assert isinstance(array, Played.Array) and array.dtype == np.float32
    assert played.asarray(array).dtype == np.float32
    assert played.asarray(array, dtype="float64").dtype == np.float64
    assert type(played.to_numpy(array)) is np.ndarray
    played.synchronize()


def test_what_lies_on_a_device_comes_in_by_dlpack_and_the_rest_by_the_host(played):
    theirs = types.SimpleNamespace(host=np.ones(2), __dlpack__=None, __dlpack_device__=lambda: (2, 0))
    assert isinstance(played.from_device(theirs), Played.Array)
    assert played.from_device(np.ones(2)) is None
    assert played.from_device([1.0]) is None


def test_no_memory_on_the_device_says_who_holds_it_and_what_to_do(played):
    allocate = played._cupy.allocator[0]
    with pytest.raises(MemoryError, match=r"no room for 2 GiB: of its 4 GiB .* hold 3, and 1 are free.*smaller batch"):
        allocate(2 * 2**30)


def test_tf32_is_off_until_it_is_allowed(played, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "0")
    import os

    played.allow_tf32(True)
    assert os.environ["CUPY_TF32"] == "1"
    played.allow_tf32(False)
    assert os.environ["CUPY_TF32"] == "0"


def test_graphs_are_switched_on_the_machine_of_the_device(played, monkeypatch):
    machine = types.SimpleNamespace(graphs=False)
    monkeypatch.setattr("tinygrad_rnn.kernels.cuda.machine.machine_for", lambda array: machine)
    played._cupy.empty = np.empty
    played.use_graphs(True)
    assert machine.graphs is True


def test_kernels_are_the_cuda_ones(played):
    assert played.kernel("lstm_forward") is cuda.lstm_forward
    assert set(played.kernels().values()) == {"cuda"}


@pytest.fixture
def both(monkeypatch):
    """NumPy's namespace, and CuPy's with NumPy in its place."""
    module = types.ModuleType("cupyx")
    module.scatter_add = np.add.at
    special = types.ModuleType("cupyx.scipy.special")
    special.erf = __import__("scipy.special", fromlist=["erf"]).erf
    for name, each in {
        "cupyx": module,
        "cupyx.scipy": types.ModuleType("cupyx.scipy"),
        special.__name__: special,
    }.items():
        monkeypatch.setitem(sys.modules, name, each)
    return NumpyBackend().xp, CupyNamespace(np, lambda name: getattr(cuda, name))


def test_functions_beyond_cupys_namespace_agree_with_numpys(both):
    x = np.linspace(-40.0, 40.0, 7)
    for name in ("sigmoid", "softplus", "erf"):
        ours, theirs = (getattr(xp, name)(x) for xp in both)
        np.testing.assert_allclose(theirs, ours, rtol=1e-14)
    ours, theirs = (xp.astype(x, "int32") for xp in both)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(both[1].unstack(np.eye(3), axis=1), np.unstack(np.eye(3), axis=1))
    assert both[1].exp(0.0) == 1.0


@needs_compiler
@pytest.mark.parametrize(
    "index", [np.array([0, 2, 0]), np.array([-1, 1, -1]), 1, slice(0, 2), (np.array([0, 0]), np.array([1, 1]))]
)
def test_scatter_add_and_put_agree_with_numpys(both, index):
    x = np.arange(9.0).reshape(3, 3)
    values = np.ones_like(x[index]) * 0.5
    ours, theirs = (xp.scatter_add(x, index, values) for xp in both)
    np.testing.assert_allclose(theirs, ours, rtol=1e-15)
    ours, theirs = (xp.put(x, index, values) for xp in both)
    np.testing.assert_array_equal(theirs, ours)
    assert x[0, 0] == 0.0


# ---- on a device


@needs_device
def test_a_training_step_never_copies_to_the_host(monkeypatch):
    import cupy

    with tg.backend("cupy"):
        layer = tg.rnn.LSTM(4, 8)
        x = tg.ones((5, 2, 4))
        monkeypatch.setattr(cupy, "asnumpy", lambda *given, **options: pytest.fail("an array went to the host"))
        with tg.Tape() as tape:
            loss = tg.sum(layer(x)[0])
        tape.gradient(loss, list(layer.parameters()))


@needs_device
def test_torch_shares_the_devices_memory_in_both_directions():
    torch = pytest.importorskip("torch")
    theirs = torch.arange(4.0, device="cuda")
    ours = tg.asarray(theirs, backend="cupy")
    assert ours._array.data.ptr == theirs.data_ptr()
    assert torch.from_dlpack(ours).data_ptr() == theirs.data_ptr()
