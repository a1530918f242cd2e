"""A GPU, through CuPy: compiles the texts with NVRTC, launches kernels, multiplies matrices with cuBLAS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cupy
import numpy as np
from cupy.cuda import runtime

from .blas import Blas
from .machine import Machine, Properties

__all__ = ["Gpu"]

STATIC_SHARED = 48 * 1024  # bytes; more has to be asked for


class Gpu(Machine):
    """One device.

    device: its number.  Sizes come from the device's own attributes.
    """

    xp = cupy

    def __init__(self, device: int) -> None:
        self.device = cupy.cuda.Device(device)
        self.properties = Properties(
            multiprocessors=self._attribute(runtime.cudaDevAttrMultiProcessorCount),
            shared_per_block=self._attribute(runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin),
            registers=self._attribute(runtime.cudaDevAttrMaxRegistersPerMultiprocessor),
            threads_per_block=self._attribute(runtime.cudaDevAttrMaxThreadsPerBlock),
        )
        self._kernels: dict[Any, Any] = {}
        self._blas: Blas | None = None
        self.capturing = False

    def _attribute(self, which: int) -> int:
        return int(runtime.deviceGetAttribute(which, self.device.id))

    def run(
        self,
        text: str,
        kernel: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Any],
        defines: Mapping[str, str],
        shared: int,
        cooperative: bool,
    ) -> None:
        with self.device:
            function = self._function(text, kernel, tuple(defines.items()), shared, cooperative)
            function(grid, block, tuple(arguments), shared_mem=shared)

    def _function(
        self, text: str, kernel: str, defines: tuple[tuple[str, str], ...], shared: int, cooperative: bool
    ) -> Any:
        key = text, kernel, defines, shared, cooperative
        found = self._kernels.get(key)
        if found is None:
            options = ("-std=c++17", *[f"-D{name}={value}" for name, value in defines])
            module = cupy.RawModule(code=text, options=options, enable_cooperative_groups=cooperative)
            found = module.get_function(kernel)
            if shared > STATIC_SHARED:
                found.max_dynamic_shared_size_bytes = shared
            self._kernels[key] = found
        return found

    def matmul(self, a: Any, b: Any, out: Any) -> None:
        if self.capturing:  # CuPy's own way to cuBLAS refuses to be captured
            self.blas().matmul(a, b, out)
        else:
            cupy.matmul(a, b, out=out)

    def blas(self) -> Blas:
        """cuBLAS through its C interface, made when it is first asked for, and not while a graph is captured."""
        if self._blas is None:
            with self.device:
                self._blas = Blas()
        return self._blas

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        self.blas()  # a library cannot be loaded during a capture
        with self.device:
            stream = cupy.cuda.Stream(non_blocking=True)
            cupy.cuda.get_current_stream().synchronize()
            with stream:
                self.capturing = True
                stream.begin_capture()
                try:
                    function()
                finally:
                    self.capturing = False
                    graph = stream.end_capture()

        def replay() -> None:
            graph.launch(cupy.cuda.get_current_stream())

        return replay

    def empty(self, shape: Sequence[int], dtype: Any) -> Any:
        return cupy.empty(tuple(shape), dtype)

    def addresses(self, arrays: Sequence[Any]) -> Any:
        return cupy.asarray(np.array([each.data.ptr for each in arrays], np.int64))
