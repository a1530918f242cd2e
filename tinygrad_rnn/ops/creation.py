"""Making tensors, as the array API standard (2024.12) names and defines it; `backend=` is ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..primitive import primitive
from ..tensor import Tensor, as_dtype, asarray, check_device, default_dtype

__all__ = [
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "meshgrid",
    "ones", "ones_like", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip

Shape = int | Sequence[int]


def _shape(shape: Shape) -> tuple[int, ...]:
    sizes = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    found = tuple([int(n.__index__()) for n in sizes])
    if min(found, default=0) < 0:
        raise ShapeError(f"a shape has lengths of at least 0; got {found}")
    return found


def _made(array: Any, device: Any, backend: Any) -> Tensor:
    check_device(device)
    return asarray(array, backend=backend)


def _float(dtype: Any) -> Any:
    return default_dtype() if dtype is None else as_dtype(dtype)


def zeros(shape: Shape, *, dtype: Any = None, device: Any = None, backend: Any = None) -> Tensor:
    """A tensor of zeros; float32 by default (see `set_default_dtype`).

    >>> import tinygrad_rnn as tg
    >>> tg.zeros((2, 2)).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return _made(np.zeros(_shape(shape), _float(dtype)), device, backend)


def ones(shape: Shape, *, dtype: Any = None, device: Any = None, backend: Any = None) -> Tensor:
    """A tensor of ones; float32 by default.

    >>> import tinygrad_rnn as tg
    >>> tg.ones(2).tolist()
    [1.0, 1.0]
    """
    return _made(np.ones(_shape(shape), _float(dtype)), device, backend)


def empty(shape: Shape, *, dtype: Any = None, device: Any = None, backend: Any = None) -> Tensor:
    """The same as `zeros`: a Tensor is immutable, so there is nothing to fill in later."""
    return zeros(shape, dtype=dtype, device=device, backend=backend)


def full(shape: Shape, fill_value: Any, *, dtype: Any = None, device: Any = None, backend: Any = None) -> Tensor:
    """A tensor of one value. The dtype follows the value: bool, int64, or the default float.

    >>> import tinygrad_rnn as tg
    >>> tg.full(2, 7).tolist()
    [7, 7]
    """
    if dtype is None:
        value = np.asarray(fill_value.numpy() if isinstance(fill_value, Tensor) else fill_value)
        dtype = default_dtype() if value.dtype == np.float64 and isinstance(fill_value, float) else value.dtype
    filled = np.full(_shape(shape), np.asarray(fill_value), as_dtype(dtype))
    return _made(filled, device, backend)


def _like(x: Any, value: Any, dtype: Any, device: Any) -> Tensor:
    x = x if isinstance(x, Tensor) else asarray(x)
    check_device(device)
    array = np.full(x.shape, value, x.dtype if dtype is None else as_dtype(dtype))
    return asarray(array, backend=x.backend)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros of the shape, dtype and backend of x."""
    return _like(x, 0, dtype, device)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones of the shape, dtype and backend of x."""
    return _like(x, 1, dtype, device)


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The same as `zeros_like`."""
    return _like(x, 0, dtype, device)


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """One value in the shape, dtype and backend of x."""
    return _like(x, fill_value, dtype, device)


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None, device: Any = None,
    backend: Any = None,
) -> Tensor:  # fmt: skip
    """Numbers from start (0 if only one is given) up to but not including stop. Ints give int64.

    >>> import tinygrad_rnn as tg
    >>> tg.arange(2, 8, 3).tolist()
    [2, 5]
    """
    if step == 0:
        raise ArgumentError("arange: step must not be 0")
    if stop is None:
        start, stop = 0, start
    if dtype is None:
        whole = all(isinstance(each, int) for each in (start, stop, step))
        dtype = "int64" if whole else default_dtype()
    return _made(np.arange(start, stop, step).astype(as_dtype(dtype)), device, backend)


def linspace(
    start: float, stop: float, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True,
    backend: Any = None,
) -> Tensor:  # fmt: skip
    """`num` numbers at equal distances from start to stop, both included unless ``endpoint=False``.

    >>> import tinygrad_rnn as tg
    >>> tg.linspace(0.0, 1.0, 3).tolist()
    [0.0, 0.5, 1.0]
    """
    return _made(np.linspace(start, stop, num, endpoint=endpoint, dtype=_float(dtype)), device, backend)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None,
    backend: Any = None,
) -> Tensor:  # fmt: skip
    """Ones on the k-th diagonal, zeros elsewhere.

    >>> import tinygrad_rnn as tg
    >>> tg.eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    near = _near(k, n_rows, n_rows if n_cols is None else n_cols)
    return _made(np.eye(n_rows, n_cols, k=near, dtype=_float(dtype)), device, backend)


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinate tensors of a grid, from its 1-d axes. indexing: "xy" (Cartesian) or "ij" (matrix).

    >>> import tinygrad_rnn as tg
    >>> [x.shape for x in tg.meshgrid(tg.zeros(2), tg.zeros(3), indexing="ij")]
    [(2, 3), (2, 3)]
    """
    from .shape import broadcast_to, reshape

    if indexing not in ("xy", "ij"):
        raise ArgumentError(f'meshgrid: indexing must be "xy" or "ij"; got {indexing!r}')
    tensors = [x if isinstance(x, Tensor) else asarray(x) for x in arrays]
    if any(x.ndim > 1 for x in tensors):
        raise ShapeError(f"meshgrid takes 1-d tensors; got shapes {[tuple(x.shape) for x in tensors]}")
    order = list(range(len(tensors)))
    if indexing == "xy" and len(order) > 1:
        order[0], order[1] = 1, 0
    shape = [0] * len(tensors)
    for i, place in enumerate(order):
        shape[place] = tensors[i].size
    grids = []
    for i, place in enumerate(order):
        along = tuple([tensors[i].size if j == place else 1 for j in range(len(tensors))])
        grids.append(broadcast_to(reshape(tensors[i], along), shape))
    return tuple(grids)


_tril = primitive(
    "tril",
    lambda xp, x, k: xp.tril(x, k=k),
    linear=True,
    vjp=(lambda xp, g, y, x, k: xp.tril(g, k=k),),
    jvp=(lambda xp, d, y, x, k: xp.tril(d, k=k),),
)
_triu = primitive(
    "triu",
    lambda xp, x, k: xp.triu(x, k=k),
    linear=True,
    vjp=(lambda xp, g, y, x, k: xp.triu(g, k=k),),
    jvp=(lambda xp, d, y, x, k: xp.triu(d, k=k),),
)


def _matrix(name: str, x: Any) -> Any:
    x = x if isinstance(x, Tensor) else asarray(x)
    if x.ndim < 2:
        raise ShapeError(f"{name} needs a matrix or a stack of them; got shape {tuple(x.shape)}")
    return x


def _near(k: int, rows: int, columns: int) -> int:
    """A diagonal's number, moved to the matrix's edge if it lies far outside: NumPy's arithmetic has 64 bits."""
    return max(-rows - 1, min(int(k), columns + 1))


def tril(x: Any, /, *, k: int = 0) -> Tensor:
    """The lower triangle of the last two axes, zeros above the k-th diagonal.

    >>> import tinygrad_rnn as tg
    >>> tg.tril(tg.ones((2, 2))).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    x = _matrix("tril", x)
    return _tril(x, k=_near(k, *x.shape[-2:]))


def triu(x: Any, /, *, k: int = 0) -> Tensor:
    """The upper triangle of the last two axes, zeros below the k-th diagonal.

    >>> import tinygrad_rnn as tg
    >>> tg.triu(tg.ones((2, 2))).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    x = _matrix("triu", x)
    return _triu(x, k=_near(k, *x.shape[-2:]))


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None, backend: Any = None) -> Tensor:
    """Take an array of another library by DLPack, without a copy where both live on the same device.

    copy: True always copies; False raises ValueError or BufferError where a copy would be needed.

    >>> import numpy as np, tinygrad_rnn as tg
    >>> tg.from_dlpack(np.ones(2)).tolist()
    [1.0, 1.0]
    """
    check_device(device)
    if isinstance(x, Tensor):  # immutable, hence safe to share, and its own array may be read-only
        return asarray(x, copy=copy, backend=backend)
    return asarray(np.from_dlpack(x, copy=copy), backend=backend)
