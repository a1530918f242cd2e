"""Numba on the CPU: NumPy's arrays; elementwise functions and reductions are JIT loops.

Numba is imported when the backend is first used, and a loop is compiled when it is first entered.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import BackendUnavailableError
from .numpy_backend import NumpyBackend, NumpyNamespace, reference_kernels
from .protocol import Availability

__all__ = ["NumbaBackend", "NumbaNamespace"]


class NumbaNamespace(NumpyNamespace):
    """NumPy's namespace with JIT loops in place of the functions that have a scalar rule, and of the reductions.

    What has none stays NumPy's: shapes, sorting, small products, and the functions that NumPy computes with SIMD
    instructions and the C library does not, such as sin and pow. `tinygrad_rnn.backends.numba_loops.loops` has the
    table.
    """

    def __init__(self, kernel: Callable[[str], Callable[..., Any]]) -> None:
        super().__init__(kernel)
        from ..kernels.numba.product import matmul
        from ..kernels.numba.workspace import empty
        from .numba_reductions import REDUCTIONS
        from .scalar_rules import RULES

        for name in ("sigmoid", "softplus", "erf"):  # found by __getattr__ below, like the rest
            del self.__dict__[name]
        self._rules = RULES
        self.matmul = matmul
        self.empty = empty
        self.__dict__.update(REDUCTIONS)

    def __getattr__(self, name: str) -> Any:
        if name not in self._rules:
            return super().__getattr__(name)
        from .numba_loops import elementwise_function

        found = self.__dict__[name] = elementwise_function(name)
        return found


class NumbaBackend(NumpyBackend):
    """Arrays are `numpy.ndarray`; kernels are those of `tinygrad_rnn.kernels.numba`, else the reference.

    The loops give no floating-point warnings: ``log(0)`` is -inf, and no RuntimeWarning.

    >>> import tinygrad_rnn as tg
    >>> tg.exp(tg.tensor([0.0], backend="numba"))
    Tensor([1.], dtype=float32, backend="numba")
    """

    name = "numba"

    def __init__(self) -> None:
        _import_numba()
        from ..kernels import numba as compiled

        self._compiled = compiled
        self._found: dict[str, Callable[..., Any]] = {}
        self.xp = NumbaNamespace(self.kernel)
        self._fuse()

    @classmethod
    def availability(cls) -> Availability:
        try:
            found = find_spec("numba") is not None
        except (ImportError, ValueError):  # a broken or half-removed installation
            found = False
        if not found:
            return Availability(False, "Numba is not installed", "Install it: pip install numba")
        return Availability(True, kernels={**reference_kernels(), **dict.fromkeys(_kernel_names(), "numba")})

    def kernel(self, name: str) -> Callable[..., Any]:
        found = self._found.get(name)
        if found is None:
            found = getattr(self._compiled, name) if name in self._compiled.__all__ else super().kernel(name)
            self._found[name] = found
        return found

    def kernels(self) -> dict[str, str]:
        return {**super().kernels(), **dict.fromkeys(self._compiled.__all__, "numba")}

    def _fuse(self) -> None:
        """Give each elementwise primitive whose forward is a composition one loop for all of it."""
        from ..primitive import Elementwise, registry  # the table stands above this floor
        from .numba_loops import fused_ufunc

        plain = NumpyNamespace(super().kernel)
        for primitive in list(registry.values()):
            if isinstance(primitive, Elementwise) and primitive.forward is not None:
                made = fused_ufunc(primitive.name, primitive.forward, plain)
                if made is not None:
                    primitive._forwards[self] = made


def _import_numba() -> None:
    try:
        import numba  # noqa: F401 - here, so that it fails here, and not inside an operation
    except Exception as error:  # its own check of NumPy's version, a missing llvmlite, a broken library
        raise BackendUnavailableError(
            f'backend "numba" cannot run here: importing Numba raised {type(error).__name__}: {error}. '
            f"Install versions that go together: pip install --upgrade numba numpy"
        ) from error


@cache
def _kernel_names() -> tuple[str, ...]:
    """The names in ``__all__`` of `tinygrad_rnn.kernels.numba`, read from its text: importing it imports Numba."""
    from .. import kernels

    path = Path(next(iter(kernels.__path__)), "numba", "__init__.py")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):  # packed in an archive, or damaged
        return ()
    for line in tree.body:
        if isinstance(line, ast.Assign) and [ast.unparse(each) for each in line.targets] == ["__all__"]:
            return tuple(ast.literal_eval(line.value))
    return ()
