"""What a backend is: an array namespace, a way in, a way out, and kernels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Availability(NamedTuple):
    """Whether a backend can run on this machine, and with which kernels."""

    can_run: bool
    reason: str = ""  # why not
    fix: str = ""  # what to install
    kernels: Mapping[str, str] = MappingProxyType({})  # {kernel: "reference", or the implementation that serves it}


class Backend(ABC):
    """One way to hold and compute arrays.

    ``xp`` is an array namespace: the functions of the Python array API standard under their standard
    names, and those of `tinygrad_rnn.ops` that rules need beyond it (``scatter_add``, ``einsum``, …).
    """

    name: str
    xp: Any
    array_type: type  # what its functions return
    array_types: tuple[type, ...]  # what its functions take

    @classmethod
    @abstractmethod
    def availability(cls) -> Availability:
        """Say whether this backend can run here. Never raises."""

    @abstractmethod
    def asarray(self, data: Any, dtype: Any = None, copy: bool = False) -> Any:
        """Return `data` (a NumPy array or one of this backend's) as an array of this backend."""

    @abstractmethod
    def to_numpy(self, array: Any) -> Any:
        """Return an array of this backend as a NumPy array, without a copy where none is needed."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything that was started has finished."""

    @abstractmethod
    def kernel(self, name: str) -> Callable[..., Any]:
        """Return the kernel of that name (see `tinygrad_rnn.kernels.reference`)."""

    @abstractmethod
    def kernels(self) -> dict[str, str]:
        """Return {kernel name: which implementation serves it here}."""

    def __repr__(self) -> str:
        return f'<backend "{self.name}">'

    def __reduce__(self) -> tuple[Any, ...]:
        from . import get

        return get, (self.name,)
