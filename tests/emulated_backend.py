"""A backend of NumPy arrays whose kernels are the CUDA texts, run by the emulator through the GPU's launchers.

`pytest -p emulated_backend --backend=emulated tests/rnn` runs any tests of the library that way.
"""

import pytest

from tinygrad_rnn import backends
from tinygrad_rnn.backends.numpy_backend import NumpyBackend, reference_kernels
from tinygrad_rnn.backends.protocol import Availability


class EmulatedBackend(NumpyBackend):
    """NumPy, with the kernels of CuPy."""

    name = "emulated"

    @classmethod
    def availability(cls):
        from tinygrad_rnn.kernels.cuda.emulator import compiler

        if compiler() is None:
            return Availability(False, "there is no C++ compiler", "Install g++")
        return Availability(True, kernels=dict.fromkeys(reference_kernels(), "cuda"))

    def kernel(self, name):
        from tinygrad_rnn.kernels import cuda

        return getattr(cuda, name)

    def kernels(self):
        return dict.fromkeys(reference_kernels(), "cuda")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Add it to the backends that there are."""
    backends.register("emulated", EmulatedBackend)
