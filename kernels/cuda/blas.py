"""Matrix products by cuBLAS's C interface, which a CUDA graph can capture; CuPy's own refuses to be captured."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import cupy
import numpy as np

__all__ = ["Blas"]

WORKSPACE = 32 * 1024 * 1024  # bytes; without one of its own cuBLAS would allocate while it is captured
FLOAT32, FLOAT64 = 0, 1  # cudaDataType_t
COMPUTE_32F, COMPUTE_32F_TF32, COMPUTE_64F = 68, 77, 70  # cublasComputeType_t
NORMAL, TRANSPOSED = 0, 1
DEFAULT_ALGORITHM = -1


class Blas:
    """A handle with a workspace of its own.

    Raises OSError if the library is not found.
    """

    def __init__(self) -> None:
        self.library = _library()
        self.handle = ctypes.c_void_p()
        self._checked("cublasCreate_v2", ctypes.byref(self.handle))
        self.workspace = cupy.empty(WORKSPACE, np.uint8)

    def matmul(self, a: Any, b: Any, out: Any) -> None:
        """out <- a @ b on the current stream. Each of a and b is C-contiguous, or the transpose of what is.

        cuBLAS counts columns first, where a C-contiguous matrix is its own transpose; so it is asked for
        outᵀ = bᵀ aᵀ.
        """
        self._checked("cublasSetStream_v2", self.handle, ctypes.c_void_p(cupy.cuda.get_current_stream().ptr))
        workspace = ctypes.c_void_p(self.workspace.data.ptr)
        self._checked("cublasSetWorkspace_v2", self.handle, workspace, ctypes.c_size_t(WORKSPACE))
        rows, columns = out.shape
        kind, compute, one, zero = _types(out.dtype)
        first, second = _laid_out(b), _laid_out(a)
        self._checked(
            "cublasGemmEx", self.handle, first[0], second[0], columns, rows, a.shape[1],
            ctypes.byref(one), ctypes.c_void_p(b.data.ptr), kind, first[1],
            ctypes.c_void_p(a.data.ptr), kind, second[1],
            ctypes.byref(zero), ctypes.c_void_p(out.data.ptr), kind, columns,
            compute, DEFAULT_ALGORITHM,
        )  # fmt: skip

    def _checked(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, name)(*arguments)
        if status:
            raise RuntimeError(f"cuBLAS: {name} returned status {status}")


def _laid_out(matrix: Any) -> tuple[int, int]:
    """How cuBLAS reads a matrix's transpose: as it lies, or transposed; and the distance of its rows in memory."""
    if matrix.flags.c_contiguous:
        return NORMAL, max(1, matrix.shape[1])
    if matrix.flags.f_contiguous:
        return TRANSPOSED, max(1, matrix.shape[0])
    raise ValueError("cuBLAS takes matrices that are contiguous, or whose transposes are")


def _types(dtype: Any) -> tuple[int, int, Any, Any]:
    if dtype == np.float64:
        return FLOAT64, COMPUTE_64F, ctypes.c_double(1), ctypes.c_double(0)
    tensor_cores = os.environ.get("CUPY_TF32", "0") not in ("", "0")
    return FLOAT32, COMPUTE_32F_TF32 if tensor_cores else COMPUTE_32F, ctypes.c_float(1), ctypes.c_float(0)


def _library() -> Any:
    major = runtime_major()
    tried = [f"libcublas.so.{major}", f"cublas64_{major}.dll", "libcublas.so"]
    for name in tried:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError(f"cuBLAS is not found under {', '.join(tried)}. Install it: pip install nvidia-cublas-cu{major}")


def runtime_major() -> int:
    """The major version of the CUDA that CuPy was built for."""
    return int(cupy.cuda.runtime.runtimeGetVersion()) // 1000
