"""Reading, adding to and setting entries by index. Tensors are immutable: the last two return new ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, IndexingError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor, asarray
from .reduction import one_axis

__all__ = ["getitem", "put", "scatter_add", "take", "take_along_axis"]


def _plain(index: Any) -> Any:
    """One part of an index as a slice, an int, None, Ellipsis, or an array of ints or bools."""
    if isinstance(index, Tensor):
        index = index.numpy()
    if index is None or index is Ellipsis or index.__class__ is int:
        return index
    if isinstance(index, slice):
        return slice(*[None if part is None else _whole(part) for part in (index.start, index.stop, index.step)])
    if isinstance(index, (list, np.ndarray)):
        array = np.asarray(index)
        if array.size == 0 and array.dtype == np.float64:
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise DTypeError(
                f"an index must hold integers or bools; got {array.dtype}. Cast it: index.astype(tg.int64)"
                f"        at {user_line()}"
            )
        return array if array.ndim or array.dtype.kind == "b" else int(array)
    if isinstance(index, (bool, np.bool_)):
        return np.asarray(bool(index))
    return _whole(index)


def _whole(part: Any) -> int:
    if not hasattr(part, "__index__"):
        raise DTypeError(
            f"an index must be an int, a slice, None, ..., or a tensor of ints or bools; got {part!r}"
            f"        at {user_line()}"
        )
    return int(part.__index__())


def _normal(x: Any, index: Any) -> tuple[Any, ...]:
    """The index as a tuple of plain parts, checked against the shape of x."""
    parts = [_plain(part) for part in (index if isinstance(index, tuple) else (index,))]
    used = sum([_width(part) for part in parts])
    if used > x.ndim:
        raise IndexingError(f"{used} indices for a tensor of shape {tuple(x.shape)}        at {user_line()}")
    if sum([part is Ellipsis for part in parts]) > 1:
        raise IndexingError(f"an index has one ... at most        at {user_line()}")
    axis = 0
    for i, part in enumerate(parts):
        if part is Ellipsis:
            axis += x.ndim - used
            continue
        if isinstance(part, int):
            _in_range(x, part, part, axis)
        elif isinstance(part, np.ndarray) and part.dtype != bool and part.size:
            _in_range(x, int(part.min()), int(part.max()), axis)
        elif isinstance(part, np.ndarray) and part.dtype == bool:
            sizes = x.shape[axis : axis + part.ndim]
            if any(n not in (m, 0) for n, m in zip(part.shape, sizes)):  # a mask of length 0 chooses nothing
                raise IndexingError(
                    f"a mask of shape {part.shape} does not fit axes {tuple(sizes)} of a tensor of shape "
                    f"{tuple(x.shape)}        at {user_line()}"
                )
            if part.shape != tuple(sizes):
                parts[i] = np.zeros(sizes, dtype=bool)
        axis += _width(part)
    return tuple(parts)


def _width(part: Any) -> int:
    """How many axes of the tensor a part of an index uses up."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == bool else 1


def _in_range(x: Any, low: int, high: int, axis: int) -> None:
    size = x.shape[axis]
    for value in (low, high):
        if not -size <= value < size:
            raise IndexingError(
                f"index {value} is out of range for axis {axis} of length {size} (shape {tuple(x.shape)})"
                f"        at {user_line()}"
            )


def _is_basic(index: tuple[Any, ...]) -> bool:
    return not any(isinstance(part, np.ndarray) for part in index)


def _add_at(xp: Any, g: Any, y: Any, x: Any, index: tuple[Any, ...]) -> Any:
    """The cotangent of x: zeros, and g added at the index."""
    rows = index[0] if len(index) == 1 else None
    looked_up = isinstance(rows, np.ndarray) and rows.dtype.kind in "iu" and x.ndim == 2
    if looked_up and hasattr(xp, "kernel"):  # not under an outer tape, where xp is ops
        return xp.kernel("embedding_gradient")(g, rows, x.shape[0])
    return xp.scatter_add(xp.zeros_like(x), index, g)


_getitem = primitive(
    "getitem",
    lambda xp, x, index: x[index],
    linear=True,
    vjp=(_add_at,),
    jvp=(lambda xp, d, y, x, index: d[index],),
)


def getitem(x: Any, index: Any, /) -> Tensor:
    """``x[index]``: ints, slices, None, ..., masks, and integer tensors, as in NumPy.

    Raises IndexingError (an IndexError) for an index out of range, DTypeError for a float index.

    >>> import tinygrad_rnn as tg
    >>> tg.tensor([10.0, 20.0, 30.0])[[2, 0, 2]].tolist()
    [30.0, 10.0, 30.0]
    """
    x = x if isinstance(x, Tensor) else asarray(x)
    return _getitem(x, index=_normal(x, index))


_scatter_add = primitive(
    "scatter_add",
    lambda xp, x, values, index: xp.scatter_add(x, index, values),
    linear=True,
    vjp=(
        lambda xp, g, y, x, values, index: g,
        lambda xp, g, y, x, values, index: g[index],
    ),
    jvp=(
        lambda xp, d, y, x, values, index: d,
        lambda xp, d, y, x, values, index: xp.scatter_add(xp.zeros_like(y), index, d),
    ),
)


def scatter_add(x: Any, index: Any, values: Any, /) -> Tensor:
    """A copy of x with values added at an index; what an index repeats adds up.

    index: as in ``x[index]``.  values: broadcast to the shape of ``x[index]``.

    >>> import tinygrad_rnn as tg
    >>> tg.scatter_add(tg.zeros(3), [0, 0, 2], tg.tensor([1.0, 2.0, 4.0])).tolist()
    [3.0, 0.0, 4.0]
    """
    x = x if isinstance(x, Tensor) else asarray(x)
    parts = _normal(x, index)
    return _scatter_add(x, _fitting("scatter_add", x, parts, values), index=parts)


_put = primitive(
    "put",
    lambda xp, x, values, index: xp.put(x, index, values),
    linear=True,
    vjp=(
        lambda xp, g, y, x, values, index: xp.put(g, index, xp.zeros_like(values)),
        lambda xp, g, y, x, values, index: g[index],
    ),
    jvp=(
        lambda xp, d, y, x, values, index: xp.put(d, index, xp.zeros_like(values)),
        lambda xp, d, y, x, values, index: xp.put(xp.zeros_like(y), index, d),
    ),
)


def put(x: Any, index: Any, values: Any, /) -> Tensor:
    """A copy of x with values set at an index, ``x[index] = values``.

    index: as in ``x[index]``, without repeated entries (IndexingError): which value would win is not defined.

    >>> import tinygrad_rnn as tg
    >>> tg.put(tg.zeros(3), 1, 5.0).tolist()
    [0.0, 5.0, 0.0]
    """
    x = x if isinstance(x, Tensor) else asarray(x)
    parts = _normal(x, index)
    if not _is_basic(parts):
        places = np.arange(x.size).reshape(x.shape)[parts]
        if np.unique(places).size != places.size:
            raise IndexingError(
                "put: the index names an entry twice, and which value would win is not defined. "
                f"Use scatter_add, or make the index unique.        at {user_line()}"
            )
    return _put(x, _fitting("put", x, parts, values), index=parts)


def _fitting(name: str, x: Any, index: tuple[Any, ...], values: Any) -> Any:
    """The values broadcast to the shape of x[index], in the dtype and backend of x."""
    from .conversion import astype
    from .shape import broadcast_shapes, broadcast_to

    shape = np.empty(x.shape, dtype=bool)[index].shape
    if not isinstance(values, Tensor):
        values = asarray(np.asarray(values, dtype=x.dtype), backend=x.backend)
    if broadcast_shapes(values.shape, shape) != shape:
        raise ShapeError(f"{name}: values of shape {tuple(values.shape)} do not fit x[index] of shape {shape}")
    if values.dtype != x.dtype:
        values = astype(values, x.dtype)
    return values if values.shape == shape else broadcast_to(values, shape)


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Tensor:
    """Slices of x along an axis, at a tensor of indices of any shape; an index may repeat.

    >>> import tinygrad_rnn as tg
    >>> tg.take(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([1, 1]), axis=0).tolist()
    [[3.0, 4.0], [3.0, 4.0]]
    """
    x = x if isinstance(x, Tensor) else asarray(x)
    if axis is None:
        if x.ndim != 1:
            raise ShapeError(f"take: name the axis; the tensor has shape {tuple(x.shape)}")
        axis = 0
    at = one_axis("take", x, axis)
    index = _plain(indices if isinstance(indices, Tensor) else np.asarray(indices))
    return getitem(x, (slice(None),) * at + (index,))


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Tensor:
    """Entries of x along an axis, one index for each place of the result.

    indices: integers, of x's number of axes; the other axes broadcast.

    >>> import tinygrad_rnn as tg
    >>> tg.take_along_axis(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([[1], [0]]), axis=1).tolist()
    [[2.0], [3.0]]
    """
    from .shape import broadcast_shapes

    x = x if isinstance(x, Tensor) else asarray(x)
    at = one_axis("take_along_axis", x, axis)
    index = np.asarray(indices.numpy() if isinstance(indices, Tensor) else indices)
    if index.dtype.kind not in "iu":
        raise DTypeError(f"take_along_axis needs integer indices; got {index.dtype}")
    if index.ndim != x.ndim:
        raise ShapeError(f"take_along_axis: indices of shape {index.shape} for a tensor of shape {tuple(x.shape)}")
    rest = broadcast_shapes(*[tuple([1 if i == at else n for i, n in enumerate(s)]) for s in (x.shape, index.shape)])
    shape = tuple([index.shape[at] if i == at else n for i, n in enumerate(rest)])
    if any(n != m for i, (n, m) in enumerate(zip(shape, x.shape)) if i != at):
        from .shape import broadcast_to

        x = broadcast_to(x, tuple([x.shape[at] if i == at else n for i, n in enumerate(shape)]))
    grid = list(np.ogrid[tuple([slice(n) for n in shape])])
    grid[at] = np.broadcast_to(index, shape)
    return getitem(x, tuple(grid))
