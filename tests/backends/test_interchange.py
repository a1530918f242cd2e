"""Arrays of other libraries come in and go out by DLPack and ``__array__``, and nothing is copied on the way."""

import numpy as np
import pytest

import tinygrad_rnn as tg

HOSTS = [name for name, status in tg.backends.available().items() if status.can_run and name in ("numpy", "numba")]


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture(params=HOSTS)
def host(request):
    """A backend whose arrays lie in the host's memory, as the default."""
    with tg.backend(request.param):
        yield request.param


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float32", "float64"])
def test_asarray_of_an_array_shares_its_memory_in_both_directions(host, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)[:, ::2]
    x = tg.asarray(array)
    assert x.backend == host
    assert address(np.asarray(x)) == address(array) and np.asarray(x).strides == array.strides
    assert address(np.from_dlpack(x)) == address(array)
    assert not x.numpy().flags.writeable
    np.testing.assert_array_equal(np.asarray(x), array)


def test_tensor_copies_and_asarray_does_not(host):
    array = np.ones(3)
    copied, shared = tg.tensor(array), tg.asarray(array)
    array[0] = 7
    assert copied.tolist() == [1.0, 1.0, 1.0]
    assert shared.tolist() == [7.0, 1.0, 1.0]


def test_anything_that_speaks_dlpack_comes_in_without_a_copy(host):
    class Foreign:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **asked):
            return self.array.__dlpack__(**asked)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    array = np.arange(4.0)
    assert address(np.asarray(tg.asarray(Foreign(array)))) == address(array)
    assert address(np.asarray(tg.from_dlpack(Foreign(array)))) == address(array)


def test_torch_shares_memory_in_both_directions(host):
    torch = pytest.importorskip("torch")
    theirs = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    ours = tg.asarray(theirs)
    assert ours.backend == host and address(np.asarray(ours)) == theirs.data_ptr()
    array = np.arange(3.0)  # which may be written to; a Tensor's own memory is copied for a protocol without a flag
    back = torch.from_dlpack(tg.asarray(array))
    assert back.data_ptr() == address(array)


def test_moving_between_backends_in_host_memory_copies_nothing():
    if "numba" not in HOSTS:
        pytest.skip("numba cannot run here")
    x = tg.tensor([1.0, 2.0], backend="numpy")
    moved = x.to("numba")
    assert moved.backend == "numba" and address(moved.numpy()) == address(x.numpy())
    assert moved.to("numpy").backend == "numpy"
