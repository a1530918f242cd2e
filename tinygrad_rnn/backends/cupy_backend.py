"""CuPy on an NVIDIA GPU: arrays stay on the device, and come to the host only where a value is read.

CuPy is imported when the backend is first used. Whether it can be used is asked of the driver alone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..errors import BackendMismatchError, BackendUnavailableError
from .numpy_backend import reference_kernels
from .protocol import Availability, Backend

__all__ = ["CupyBackend", "CupyNamespace"]

DRIVERS = ("libcuda.so.1", "nvcuda.dll")
CUDA_DEVICES = (2, 13)  # in DLPack: memory of a device, and managed memory


# ---- what the rules need beyond CuPy's namespace


class CupyNamespace:
    """CuPy's array namespace with the few functions that rules need beyond it."""

    def __init__(self, cupy: Any, kernel: Callable[[str], Callable[..., Any]]) -> None:
        self.kernel = kernel
        self._cupy = cupy

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cupy, name)
        self.__dict__[name] = found
        return found

    def astype(self, x: Any, dtype: Any, /, *, copy: bool = True) -> Any:
        """Cast an array, or a scalar."""
        return self._cupy.asarray(x).astype(dtype, copy=copy)

    def scatter_add(self, x: Any, index: Any, values: Any) -> Any:
        """Return a copy of x with values added at an index; repeated indices add up."""
        parts = index if isinstance(index, tuple) else (index,)
        rows = parts[0]
        by_rows = len(parts) == 1 and x.ndim == 2 and getattr(rows, "dtype", np.dtype(bool)).kind == "i"
        if by_rows and x.dtype.kind == "f":
            values = self._cupy.broadcast_to(self._cupy.asarray(values, x.dtype), (*rows.shape, x.shape[1]))
            return x + self.kernel("embedding_gradient")(values, rows, x.shape[0])  # in one order, every time
        out = x.copy()
        if any(hasattr(part, "dtype") or isinstance(part, list) for part in parts):
            from cupyx import scatter_add

            scatter_add(out, index, values)
        else:  # numbers and slices name no entry twice
            out[index] += values
        return out

    def put(self, x: Any, index: Any, values: Any) -> Any:
        """Return a copy of x with values set at an index."""
        out = x.copy()
        out[index] = values
        return out

    def sigmoid(self, x: Any) -> Any:
        """1 / (1 + exp(-x)), without overflow, and exact to a few ulp in both tails."""
        small = self._cupy.exp(-abs(x))
        return self._cupy.where(x >= 0, self._cupy.ones_like(small), small) / (1 + small)

    def softplus(self, x: Any) -> Any:
        """log(1 + exp(x)), without overflow."""
        return self._cupy.logaddexp(x, self._cupy.zeros_like(x))

    def erf(self, x: Any) -> Any:
        """Error function."""
        from cupyx.scipy.special import erf

        return erf(x)

    def unstack(self, x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
        """The slices along an axis."""
        return tuple(self._cupy.moveaxis(x, axis, 0))


# ---- the backend


class CupyBackend(Backend):
    """Arrays are `cupy.ndarray` on the device that was current when the backend was first used.

    Kernels are those of `tinygrad_rnn.kernels.cuda`. Products of float32 matrices are exact to float32; `allow_tf32`
    lets tensor cores round their factors to 10 bits.

    Raises BackendUnavailableError if CuPy does not load, or finds no device.
    """

    name = "cupy"

    def __init__(self) -> None:
        cupy = self._cupy = _import_cupy()
        self.array_type = cupy.ndarray
        self.array_types = (cupy.ndarray,)
        self.device = int(cupy.cuda.runtime.getDevice())
        self.xp = CupyNamespace(cupy, self.kernel)
        previous = cupy.cuda.get_allocator()
        cupy.cuda.set_allocator(lambda size: _allocated(cupy, previous, size))

    @classmethod
    def availability(cls) -> Availability:
        """Look for CuPy, then for a driver, then for a device."""
        try:
            return _availability()
        except Exception as error:  # a broken installation: asking never raises
            return Availability(False, f"looking for it raised {type(error).__name__}: {error}", _REINSTALL)

    def asarray(self, data: Any, dtype: Any = None, copy: bool = False) -> Any:
        """Return data as an array on this backend's device.

        Raises BackendMismatchError for an array on another device.
        """
        if isinstance(data, self._cupy.ndarray):
            if data.device.id != self.device:
                raise BackendMismatchError(
                    f'the backend "cupy" works on device {self.device}, and this array lies on device '
                    f"{data.device.id}. Copy it: with cupy.cuda.Device({self.device}): x = cupy.asarray(x)"
                )
            return data.astype(data.dtype if dtype is None else dtype, copy=copy)
        return self._cupy.array(data, dtype=dtype)

    def from_device(self, data: Any) -> Any:
        """An array of another library that lies on a CUDA device, without a copy; None for any other object."""
        if not hasattr(data, "__dlpack__") or not hasattr(data, "__dlpack_device__"):
            return None
        return self._cupy.from_dlpack(data) if int(data.__dlpack_device__()[0]) in CUDA_DEVICES else None

    def to_numpy(self, array: Any) -> Any:
        """Copy an array to the host; waits for what computes it."""
        return self._cupy.asnumpy(array)

    def synchronize(self) -> None:
        """Wait for the current stream."""
        self._cupy.cuda.get_current_stream().synchronize()

    def kernel(self, name: str) -> Callable[..., Any]:
        from ..kernels import cuda, reference

        return getattr(cuda if name in cuda.__all__ else reference, name)

    def kernels(self) -> dict[str, str]:
        return _kernels()

    def allow_tf32(self, allowed: bool) -> None:
        """Whether products of float32 matrices may use TF32, for the whole process; at first they may not.

        It is 3 to 8 times faster on large matrices, and rounds their entries to 10 bits: an error of 5e-4, in one
        direction over a long recurrence.
        """
        os.environ["CUPY_TF32"] = "1" if allowed else "0"  # CuPy reads it at every product

    def use_graphs(self, wanted: bool) -> None:
        """Whether a loop over time is captured once as a CUDA graph, and then launched as one; at first it is not.

        It saves the launches of the steps where a recurrence is too large for one block a lane, and has no lengths.
        """
        from ..kernels.cuda.machine import machine_for

        machine_for(self._cupy.empty(0)).graphs = bool(wanted)


def _allocated(cupy: Any, allocate: Callable[[int], Any], size: int) -> Any:
    """Memory of the device; where there is no more, an error that says what holds it and what to do."""
    try:
        return allocate(size)
    except MemoryError as error:
        free, total = (number / 2**30 for number in cupy.cuda.runtime.memGetInfo())
        held = cupy.get_default_memory_pool().used_bytes() / 2**30
        raise MemoryError(
            f"the device has no room for {size / 2**30:.3g} GiB: of its {total:.3g} GiB this process's arrays hold "
            f"{held:.3g}, and {free:.3g} are free. Take a smaller batch or shorter windows, or save memory with "
            f"scan(..., checkpoint=...); a tape holds its arrays until it is dropped."
        ) from error


# ---- whether it can run


_INSTALL = "Install it for your CUDA: pip install cupy-cuda12x (or cupy-cuda13x)"
_REINSTALL = "Install it again: pip install --force-reinstall cupy-cuda12x"
_NEEDS_DRIVER = "Install the driver of the GPU; in a container pass the GPU in (--gpus all)"
_NO_DEVICE, _STUB = 100, 34  # what cuInit returns


def _availability() -> Availability:
    try:
        found = find_spec("cupy") is not None
    except (ImportError, ValueError):  # half removed
        found = False
    if not found:
        return Availability(False, "CuPy is not installed", _INSTALL)
    version, status, devices = _driver()
    if version is None:
        return Availability(False, "there is no NVIDIA driver", _NEEDS_DRIVER)
    if status in (_NO_DEVICE, 0) and not devices:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = f" (CUDA_VISIBLE_DEVICES={hidden} may hide it)" if hidden is not None else ""
        return Availability(False, f"the driver finds no device{hint}", "Run on a machine with an NVIDIA GPU")
    if status:
        reason = f"the driver does not start: cuInit gives error {status}"
        return Availability(False, reason, "Restart the machine, or install the driver again: nvidia-smi says more")
    wanted = _cuda_of_cupy()
    if wanted > version // 1000:
        reason = f"CuPy is built for CUDA {wanted}, and the driver serves CUDA {version // 1000}.{version % 1000 // 10}"
        return Availability(False, reason, f"Update the driver, or: pip install cupy-cuda{version // 1000}x")
    return Availability(True, kernels=_kernels())


def _kernels() -> dict[str, str]:
    from ..kernels import cuda

    return {**reference_kernels(), **dict.fromkeys(cuda.__all__, "cuda")}


@cache
def _driver() -> tuple[int | None, int, int]:
    """The CUDA version that the driver serves (1000 major + 10 minor; None without a driver), its status, and the
    number of devices.
    """
    library: Any = None
    for name in DRIVERS:
        try:
            library = ctypes.CDLL(name)
            break
        except OSError:
            continue
    if library is None:
        return None, 0, 0
    version, devices = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    status = int(library.cuInit(0))
    if status == _STUB:  # a toolkit's stand-in for a driver
        return None, status, 0
    if status == 0:
        library.cuDeviceGetCount(ctypes.byref(devices))
    return version.value, status, devices.value


@cache
def _cuda_of_cupy() -> int:
    """The major version of CUDA that the installed CuPy is built for; 0 if its name does not say."""
    from importlib import metadata  # 20 ms, which a start without CuPy need not take

    for name in ("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return int(name[len("cupy-cuda") : -1])
    return 0


def _import_cupy() -> Any:
    try:
        import cupy

        cupy.cuda.runtime.getDevice()
    except Exception as error:  # a broken library, or a CUDA that does not fit the driver
        raise BackendUnavailableError(
            f'backend "cupy" cannot run here: using CuPy raised {type(error).__name__}: {error}. {_REINSTALL}'
        ) from error
    return cupy
