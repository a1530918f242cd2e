"""Operations that move entries and leave their values alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, AxisError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor, asarray
from .conversion import astype
from .reduction import axes_of, one_axis

__all__ = [
    "broadcast_arrays", "broadcast_shapes", "broadcast_to", "concat", "expand_dims", "flip", "moveaxis",
    "pad", "permute_dims", "repeat", "reshape", "roll", "split", "squeeze", "stack", "swapaxes", "tile", "unstack",
]  # fmt: skip


def _tensor(x: Any) -> Any:
    return x if isinstance(x, Tensor) else asarray(x)


def _linear(name: str, forward: Any, transpose: Any) -> Any:
    """A linear primitive of one input: its jvp is itself, its vjp the transpose."""
    return primitive(
        name,
        forward,
        linear=True,
        vjp=(transpose,),
        jvp=(lambda xp, d, y, x, **params: forward(xp, d, **params),),
    )


_reshape = _linear(
    "reshape",
    lambda xp, x, shape: xp.reshape(x, shape),
    lambda xp, g, y, x, shape: xp.reshape(g, x.shape),
)


def reshape(x: Any, /, shape: Sequence[int] | int, *, copy: bool | None = None) -> Tensor:
    """The same entries, in row-major order, under another shape; one length may be -1.

    Raises ShapeError if the number of entries differs. Tensors are immutable, so `copy` changes nothing.

    >>> import tinygrad_rnn as tg
    >>> tg.reshape(tg.arange(4), (2, -1)).tolist()
    [[0, 1], [2, 3]]
    """
    x = _tensor(x)
    target = [shape] if hasattr(shape, "__index__") else list(shape)
    target = [int(n.__index__()) for n in target]
    known = math.prod([n for n in target if n != -1])
    if target.count(-1) == 1 and known > 0 and x.size % known == 0:
        target[target.index(-1)] = x.size // known
    if min(target, default=0) < 0 or math.prod(target) != x.size:
        raise ShapeError(
            f"reshape: {tuple(x.shape)} has {x.size} entries and cannot become {tuple(target)}        at {user_line()}"
        )
    return _reshape(x, shape=tuple(target))


_permute = _linear(
    "permute_dims",
    lambda xp, x, axes: xp.permute_dims(x, axes),
    lambda xp, g, y, x, axes: xp.permute_dims(g, tuple([axes.index(i) for i in range(len(axes))])),
)


def permute_dims(x: Any, /, axes: Sequence[int]) -> Tensor:
    """The axes in another order: axis i of the result is axis ``axes[i]`` of x.

    >>> import tinygrad_rnn as tg
    >>> tg.permute_dims(tg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = _tensor(x)
    order = tuple([one_axis("permute_dims", x, a) for a in axes])
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"permute_dims: {tuple(axes)} is not an order of the {x.ndim} axes of {tuple(x.shape)}")
    return _permute(x, axes=order)


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int], /) -> Tensor:
    """Move axes to new places; the others keep their order.

    >>> import tinygrad_rnn as tg
    >>> tg.moveaxis(tg.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = _tensor(x)
    sources: list[Any] = [source] if hasattr(source, "__index__") else list(source)
    targets: list[Any] = [destination] if hasattr(destination, "__index__") else list(destination)
    if len(sources) != len(targets):
        raise ShapeError(f"moveaxis: {len(sources)} source axes and {len(targets)} destinations")
    sources = [one_axis("moveaxis", x, a) for a in sources]
    targets = [one_axis("moveaxis", x, a) for a in targets]
    axes_of("moveaxis", x, tuple(sources)), axes_of("moveaxis", x, tuple(targets))
    order = [i for i in range(x.ndim) if i not in sources]
    for target, axis in sorted(zip(targets, sources)):
        order.insert(target, axis)
    return permute_dims(x, order)


def swapaxes(x: Any, axis1: int, axis2: int, /) -> Tensor:
    """Exchange two axes.

    >>> import tinygrad_rnn as tg
    >>> tg.swapaxes(tg.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    x = _tensor(x)
    order = list(range(x.ndim))
    a, b = one_axis("swapaxes", x, axis1), one_axis("swapaxes", x, axis2)
    order[a], order[b] = b, a
    return permute_dims(x, order)


def expand_dims(x: Any, /, axis: int = 0) -> Tensor:
    """Insert an axis of length 1 at `axis` of the result. Raises AxisError if the result has no such axis.

    >>> import tinygrad_rnn as tg
    >>> tg.expand_dims(tg.zeros((2, 3)), axis=1).shape
    (2, 1, 3)
    """
    x = _tensor(x)
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise AxisError(f"expand_dims: axis {axis} is out of range for a tensor of shape {tuple(x.shape)}")
    at = axis % (x.ndim + 1)
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


def squeeze(x: Any, /, axis: int | Sequence[int] | None = None) -> Tensor:
    """Remove axes of length 1: those given, or all of them. Raises ShapeError if a given one is longer.

    >>> import tinygrad_rnn as tg
    >>> tg.squeeze(tg.zeros((1, 2, 1)), 0).shape
    (2, 1)
    """
    x = _tensor(x)
    axes = tuple([i for i, n in enumerate(x.shape) if n == 1]) if axis is None else axes_of("squeeze", x, axis)
    for a in axes:
        if x.shape[a] != 1:
            raise ShapeError(f"squeeze: axis {a} of shape {tuple(x.shape)} has length {x.shape[a]}, not 1")
    return reshape(x, tuple([n for i, n in enumerate(x.shape) if i not in axes]))


def _sum_to(xp: Any, g: Any, shape: tuple[int, ...]) -> Any:
    extra = g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple([i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1])
    return xp.reshape(xp.sum(g, axis=axes), shape) if axes else g


_broadcast = _linear(
    "broadcast_to",
    lambda xp, x, shape: xp.broadcast_to(x, shape),
    lambda xp, g, y, x, shape: _sum_to(xp, g, x.shape),
)


def broadcast_to(x: Any, /, shape: Sequence[int]) -> Tensor:
    """Repeat x along new axes and along axes of length 1. Raises ShapeError if that does not give `shape`.

    >>> import tinygrad_rnn as tg
    >>> tg.broadcast_to(tg.tensor([1.0, 2.0]), (2, 2)).tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """
    x = _tensor(x)
    target = tuple([int(n) for n in shape])
    if broadcast_shapes(x.shape, target) != target:
        raise ShapeError(f"broadcast_to: {tuple(x.shape)} does not broadcast to {target}        at {user_line()}")
    return _broadcast(x, shape=target)


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that arrays of these shapes have in common after broadcasting. Raises ShapeError if there is none.

    >>> import tinygrad_rnn as tg
    >>> tg.broadcast_shapes((3, 1), (2,))
    (3, 2)
    """
    try:
        return np.broadcast_shapes(*[tuple(shape) for shape in shapes])
    except ValueError as error:
        listed = " and ".join(str(tuple(shape)) for shape in shapes)
        raise ShapeError(f"shapes {listed} do not broadcast        at {user_line()}") from error


def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """Broadcast tensors against one another.

    >>> import tinygrad_rnn as tg
    >>> [x.shape for x in tg.broadcast_arrays(tg.zeros((2, 1)), tg.zeros(3))]
    [(2, 3), (2, 3)]
    """
    tensors = [_tensor(x) for x in arrays]
    shape = broadcast_shapes(*[x.shape for x in tensors])
    return [broadcast_to(x, shape) for x in tensors]


# ---- joining and cutting


def _pieces(xp: Any, g: Any, arrays: Sequence[Any], axis: int) -> tuple[Any, ...]:
    parts, at = [], 0
    for x in arrays:
        parts.append(g[(slice(None),) * axis + (slice(at, at + x.shape[axis]),)])
        at += x.shape[axis]
    return tuple(parts)


_concat = primitive(
    "concat",
    lambda xp, *arrays, axis: xp.concat(arrays, axis=axis),
    linear=True,
    vjp=lambda xp, g, y, *arrays, axis: _pieces(xp, g, arrays, axis),
    jvp=lambda xp, *inputs, axis: xp.concat(inputs[: len(inputs) // 2], axis=axis),
)


def _listed(name: str, arrays: Any) -> list[Any]:
    if isinstance(arrays, Tensor):
        return list(unstack(arrays))
    tensors = [_tensor(x) for x in arrays]
    if not tensors:
        raise ShapeError(f"{name} needs at least one tensor")
    return tensors


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Tensor:
    """Join tensors along an axis that they have; ``axis=None`` joins them flattened.

    Raises ShapeError if another axis differs in length.

    >>> import tinygrad_rnn as tg
    >>> tg.concat([tg.tensor([1.0]), tg.tensor([2.0, 3.0])]).tolist()
    [1.0, 2.0, 3.0]
    """
    tensors = _listed("concat", arrays)
    if axis is None:
        tensors, axis = [reshape(x, (-1,)) for x in tensors], 0
    at = one_axis("concat", tensors[0], axis)
    for i, x in enumerate(tensors):
        fits = x.ndim == tensors[0].ndim and all(
            n == m for j, (n, m) in enumerate(zip(x.shape, tensors[0].shape)) if j != at
        )
        if not fits:
            raise ShapeError(
                f"concat: tensor {i} has shape {tuple(x.shape)}, which does not fit {tuple(tensors[0].shape)} "
                f"beside axis {at}        at {user_line()}"
            )
    return _concat(*_promoted(tensors), axis=at)


def _promoted(tensors: list[Any]) -> list[Any]:
    dtype = np.result_type(*[x.dtype for x in tensors])
    return [x if x.dtype == dtype else astype(x, dtype) for x in tensors]


_stack = primitive(
    "stack",
    lambda xp, *arrays, axis: xp.stack(arrays, axis=axis),
    linear=True,
    vjp=lambda xp, g, y, *arrays, axis: tuple([g[(slice(None),) * axis + (i,)] for i in range(len(arrays))]),
    jvp=lambda xp, *inputs, axis: xp.stack(inputs[: len(inputs) // 2], axis=axis),
)


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis. Raises ShapeError if shapes differ.

    >>> import tinygrad_rnn as tg
    >>> tg.stack([tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0])]).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    tensors = _listed("stack", arrays)
    for i, x in enumerate(tensors):
        if x.shape != tensors[0].shape:
            raise ShapeError(
                f"stack: tensor {i} has shape {tuple(x.shape)}; the first one has {tuple(tensors[0].shape)}"
                f"        at {user_line()}"
            )
    ndim = tensors[0].ndim
    if not -ndim - 1 <= axis <= ndim:
        raise AxisError(f"stack: axis {axis} is out of range for tensors of shape {tuple(tensors[0].shape)}")
    return _stack(*_promoted(tensors), axis=axis % (ndim + 1))


_unstack = primitive(
    "unstack",
    lambda xp, x, axis: tuple(xp.unstack(x, axis=axis)),
    linear=True,
    outputs=0,  # as many as the axis is long
    vjp=(lambda xp, g, y, x, axis: xp.stack(g, axis=axis),),
    jvp=(lambda xp, d, y, x, axis: tuple(xp.unstack(d, axis=axis)),),
)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut a tensor into its slices along an axis.

    >>> import tinygrad_rnn as tg
    >>> [part.tolist() for part in tg.unstack(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))]
    [[1.0, 2.0], [3.0, 4.0]]
    """
    x = _tensor(x)
    at = one_axis("unstack", x, axis)
    return () if x.shape[at] == 0 else _unstack(x, axis=at)


def split(x: Any, parts: int | Sequence[int], /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut a tensor along an axis: into `parts` equal pieces, or before each index of a list.

    >>> import tinygrad_rnn as tg
    >>> [part.tolist() for part in tg.split(tg.arange(5), [2, 3])]
    [[0, 1], [2], [3, 4]]
    """
    x = _tensor(x)
    at = one_axis("split", x, axis)
    n = x.shape[at]
    if hasattr(parts, "__index__"):
        count = int(parts)
        if count < 1 or n % count:
            raise ShapeError(f"split: axis {at} of shape {tuple(x.shape)} does not divide into {count} equal parts")
        cuts = [n // count * i for i in range(1, count)]
    else:
        cuts = [int(i) for i in parts]
    ends = [0, *cuts, n]
    return tuple([x[(slice(None),) * at + (slice(a, b),)] for a, b in itertools.pairwise(ends)])


# ---- turning and repeating

_flip = _linear(
    "flip",
    lambda xp, x, axis: xp.flip(x, axis=axis),
    lambda xp, g, y, x, axis: xp.flip(g, axis=axis),
)


def flip(x: Any, /, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """Reverse the order of the entries along axes (all of them by default).

    >>> import tinygrad_rnn as tg
    >>> tg.flip(tg.arange(3)).tolist()
    [2, 1, 0]
    """
    x = _tensor(x)
    return _flip(x, axis=axes_of("flip", x, axis))


_roll = _linear(
    "roll",
    lambda xp, x, shift, axis: xp.roll(x, shift, axis=axis),
    lambda xp, g, y, x, shift, axis: xp.roll(g, tuple([-s for s in shift]), axis=axis),
)


def roll(x: Any, /, shift: int | Sequence[int], *, axis: int | Sequence[int] | None = None) -> Tensor:
    """Move entries along axes; what leaves at one end enters at the other. Without axes, the flattened tensor rolls.

    >>> import tinygrad_rnn as tg
    >>> tg.roll(tg.arange(4), 1).tolist()
    [3, 0, 1, 2]
    """
    x = _tensor(x)
    if axis is None:
        return reshape(roll(reshape(x, (-1,)), shift, axis=0), x.shape)
    axes: list[Any] = [axis] if hasattr(axis, "__index__") else list(axis)
    shifts = [shift] * len(axes) if hasattr(shift, "__index__") else list(shift)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    places = tuple([one_axis("roll", x, a) for a in axes])
    if not places:
        return x
    return _roll(x, shift=tuple([int(s) for s in shifts]), axis=places)


def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Repeat each entry (or each slice along an axis) a number of times, one number for all or one for each.

    >>> import tinygrad_rnn as tg
    >>> tg.repeat(tg.tensor([1.0, 2.0]), 2).tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    from .indexing import take

    x = _tensor(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    at = one_axis("repeat", x, axis)
    counts = np.asarray(repeats.numpy() if isinstance(repeats, Tensor) else repeats)
    if counts.dtype.kind not in "iu" or counts.min(initial=0) < 0:
        raise ArgumentError(f"repeat: repeats must be whole numbers of at least 0; got {repeats!r}")
    if counts.ndim > 1 or (counts.ndim == 1 and counts.size not in (1, x.shape[at])):
        raise ShapeError(f"repeat: {counts.shape} repeats for {x.shape[at]} slices along axis {at}")
    index = np.repeat(np.arange(x.shape[at]), counts)
    return take(x, asarray(index, backend=x.backend), axis=at)


def tile(x: Any, repetitions: Sequence[int] | int, /) -> Tensor:
    """Repeat the whole tensor along its axes; missing axes are put in front.

    >>> import tinygrad_rnn as tg
    >>> tg.tile(tg.tensor([1.0, 2.0]), (2,)).tolist()
    [1.0, 2.0, 1.0, 2.0]
    """
    x = _tensor(x)
    given = [repetitions] if hasattr(repetitions, "__index__") else list(repetitions)
    counts = [1] * (x.ndim - len(given)) + [int(n) for n in given]
    if min(counts, default=1) < 0:
        raise ArgumentError(f"tile: repetitions must be at least 0; got {repetitions!r}")
    shape = (1,) * (len(counts) - x.ndim) + tuple(x.shape)
    between = tuple([n for size in shape for n in (1, size)])
    spread = tuple([n for count, size in zip(counts, shape) for n in (count, size)])
    return reshape(
        broadcast_to(reshape(x, between), spread), tuple([count * size for count, size in zip(counts, shape)])
    )


def _padded(xp: Any, x: Any, widths: tuple[tuple[int, int], ...], value: float) -> Any:
    for axis, (before, after) in enumerate(widths):
        parts = [x]
        for i, width in enumerate((before, after)):
            if width:
                shape = tuple([width if j == axis else n for j, n in enumerate(x.shape)])
                filler = xp.full(shape, value, dtype=x.dtype)
                parts.insert(0 if i == 0 else len(parts), filler)
        if len(parts) > 1:
            x = xp.concat(parts, axis=axis)
    return x


_pad = primitive(
    "pad",
    lambda xp, x, widths, value: _padded(xp, x, widths, value),
    vjp=(
        lambda xp, g, y, x, widths, value: g[
            tuple([slice(before, before + n) for (before, _), n in zip(widths, x.shape)])
        ],
    ),
    jvp=(lambda xp, d, y, x, widths, value: _padded(xp, d, widths, 0),),
)


def pad(x: Any, widths: Sequence[tuple[int, int]], /, *, value: float = 0) -> Tensor:
    """Put a constant around x. widths: (before, after) for each axis.

    >>> import tinygrad_rnn as tg
    >>> tg.pad(tg.tensor([1.0, 2.0]), [(1, 2)]).tolist()
    [0.0, 1.0, 2.0, 0.0, 0.0]
    """
    x = _tensor(x)
    pairs = tuple([(int(a), int(b)) for a, b in widths])
    if len(pairs) != x.ndim or any(a < 0 or b < 0 for a, b in pairs):
        raise ShapeError(f"pad: expected {x.ndim} pairs of widths of at least 0; got {widths!r}")
    return _pad(x, widths=pairs, value=value)
