"""NumPy on the CPU: the reference that every other backend is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import array_functions
from .protocol import Availability, Backend


class NumpyNamespace:
    """NumPy's array namespace with the few functions that rules need beyond the standard."""

    def __init__(self, kernel: Callable[[str], Callable[..., Any]]) -> None:
        self.kernel = kernel  # so that a fused rule finds the kernels where it finds everything else
        self.__dict__.update({name: getattr(array_functions, name) for name in array_functions.__all__})

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        self.__dict__[name] = found  # found directly the next time
        return found

    def zeros_like(self, x: Any, **options: Any) -> Any:
        """NumPy's, which takes four times as long as `numpy.zeros` where nothing is asked for beyond it."""
        plain = x.__class__ is np.ndarray and not options
        return np.zeros(x.shape, dtype=x.dtype) if plain else np.zeros_like(x, **options)


class NumpyBackend(Backend):
    """Arrays are `numpy.ndarray`; kernels are those of `tinygrad_rnn.kernels.reference`."""

    name = "numpy"
    array_type = np.ndarray
    array_types = (np.ndarray, np.generic)

    def __init__(self) -> None:
        self.xp = NumpyNamespace(self.kernel)

    @classmethod
    def availability(cls) -> Availability:
        return Availability(True, kernels=reference_kernels())

    def asarray(self, data: Any, dtype: Any = None, copy: bool = False) -> Any:
        return np.array(data, dtype=dtype, copy=True if copy else None)

    def to_numpy(self, array: Any) -> Any:
        return np.asarray(array)

    def synchronize(self) -> None:
        """NumPy has finished when it returns."""

    def kernel(self, name: str) -> Callable[..., Any]:
        from ..kernels import reference

        return getattr(reference, name)

    def kernels(self) -> dict[str, str]:
        return reference_kernels()


def reference_kernels() -> dict[str, str]:
    """{kernel: "reference"} for all kernels that there are."""
    from ..kernels import reference

    return dict.fromkeys(reference.__all__, "reference")
