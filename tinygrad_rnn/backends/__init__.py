"""Array backends, and the one place that decides which of them a new tensor gets."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import BackendUnavailableError
from .cupy_backend import CupyBackend
from .numba_backend import NumbaBackend
from .numpy_backend import NumpyBackend
from .protocol import Availability, Backend

__all__ = ["Availability", "Backend", "available", "backend", "fastest", "get", "register", "resolve", "set_backend"]

_registry: dict[str, type[Backend]] = {"numpy": NumpyBackend, "numba": NumbaBackend, "cupy": CupyBackend}
_instances: dict[str, Backend] = {}
_default: list[str] = []  # what set_backend chose; empty until then


class _Chosen(threading.local):
    stack: tuple[str, ...] = ()


_chosen = _Chosen()


def register(name: str, kind: type[Backend]) -> None:
    """Add a backend under a name; `kind()` is called when it is first used."""
    _registry[name] = kind
    _instances.pop(name, None)


def get(name: str) -> Backend:
    """Return the backend of that name.

    Raises BackendUnavailableError if the name is unknown, or if the backend cannot run here.
    """
    found = _instances.get(name)
    if found is not None:
        return found
    if name not in _registry:
        known = ", ".join(f'"{each}"' for each in _registry)
        raise BackendUnavailableError(f'there is no backend "{name}". Choose one of {known}.')
    kind = _registry[name]
    status = kind.availability()
    if not status.can_run:
        raise BackendUnavailableError(f'backend "{name}" cannot run here: {status.reason}. {status.fix}')
    return _instances.setdefault(name, kind())  # of two threads that are first, both get the one that is kept


def available() -> dict[str, Availability]:
    """Say for every backend whether it can run here, why not, what to install, and which kernels it has. Never raises.

    Nothing large is imported to find out: Numba and CuPy are looked for, and loaded when they are first used.

    >>> import tinygrad_rnn as tg
    >>> status = tg.backends.available()["numpy"]
    >>> status.can_run, status.kernels["lstm_forward"]
    (True, 'reference')
    """
    return {name: _asked(kind) for name, kind in _registry.items()}


def _asked(kind: type[Backend]) -> Availability:
    try:
        return kind.availability()
    except Exception as error:  # a backend from elsewhere may forget that asking never raises
        return Availability(False, f"asking it raised {type(error).__name__}: {error}", "Report it to its author.")


def fastest() -> str:
    """The name of the fastest backend that can run here: "cupy", else "numba", else "numpy".

    >>> import tinygrad_rnn as tg
    >>> tg.backends.fastest() in tg.backends.available()
    True
    """
    known = available()
    return next(name for name in ("cupy", "numba", "numpy") if name in known and known[name].can_run)


def resolve(choice: Any = None, otherwise: str = "numpy") -> Backend:
    """Return the backend for a new tensor: `choice`, else the context, else the default, else the
    environment's TINYGRAD_RNN_BACKEND, else `otherwise`.

    Raises BackendUnavailableError as `get` does; it says so where the name came from the environment.
    """
    if isinstance(choice, Backend):
        return choice
    if choice is not None:
        return get(choice)
    if _chosen.stack:
        return get(_chosen.stack[-1])
    if _default:
        return get(_default[-1])
    name = os.environ.get("TINYGRAD_RNN_BACKEND") or otherwise
    return _instances.get(name) or _from_environment(name)


def _from_environment(name: str) -> Backend:
    try:
        return get(name)
    except BackendUnavailableError as error:
        if os.environ.get("TINYGRAD_RNN_BACKEND") != name:
            raise
        raise BackendUnavailableError(f"the environment has TINYGRAD_RNN_BACKEND={name}, but {error}") from None


def set_backend(name: str | None) -> None:
    """Choose the backend of new tensors for the whole process; None returns to the environment's.

    >>> import tinygrad_rnn as tg
    >>> tg.set_backend("numpy"); tg.tensor([1.0]).backend
    'numpy'
    >>> tg.set_backend(None)
    """
    if name is not None:
        get(name)
    _default[:] = [] if name is None else [name]


@contextmanager
def backend(name: str) -> Iterator[Backend]:
    """Choose the backend of tensors that are made inside the ``with`` block, in this thread.

    >>> import tinygrad_rnn as tg
    >>> with tg.backend("numpy"):
    ...     tg.tensor([1.0]).backend
    'numpy'
    """
    found = get(name)
    before = _chosen.stack
    _chosen.stack = (*before, name)
    try:
        yield found
    finally:
        _chosen.stack = before
