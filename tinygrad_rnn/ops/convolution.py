"""Convolution over one and two axes: a bank of small filters that slides along a sequence or an image.

Written out, with stride s, dilation d and p zeros in front (the filter is not turned over, so this is, strictly,
a cross-correlation):

    y[b, o, n] = sum over c, k of  w[o, c, k] x[b, c, s n + d k - p]

This is linear in x and linear in w. With a cotangent g of y, ``<g, y>`` is linear in each of the three, and its
derivatives are the three primitives of this file: by g the convolution, by x the transposed convolution, by w the
gradient of the filters. Each is the derivative of the other two, so that derivatives of every order exist.

Sources: Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning" (shapes, the transpose);
Chellapilla, Puri & Simard 2006 (windows as the columns of one matrix product).
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor
from .reduction import _floats
from .shape import reshape

__all__ = ["conv1d", "conv2d"]

Padding = int | Sequence[int] | str


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Slide filters along the last axis, as `torch.nn.functional.conv1d`.

    y[b, o, n] = bias[o] + sum over c, k of  weight[o, c, k] x[b, c, stride n + dilation k - padding]

    Parameters
    ----------
    x : (B, C, L), floats.
    weight : (O, C / groups, K), floats.
    bias : (O,), or None.
    stride : steps between two positions of the filter.
    padding : zeros on either side of x; "valid" for none; "same" for as many as keep the length (stride 1 only;
        where that is an odd number, the additional zero comes last).
    dilation : steps between two entries under the filter.
    groups : number of parts into which the channels of x, and those of the result, are cut; part i of the result
        reads part i of x only. ``groups=C`` gives every channel filters of its own.

    Returns
    -------
    y : (B, O, N), N = floor((L + 2 padding - dilation (K - 1) - 1) / stride) + 1.

    Raises
    ------
    ShapeError
        If an operand has the wrong number of axes, channels do not fit, groups do not divide them, or the filter
        is longer than the padded input.
    ArgumentError
        If stride, dilation or groups is below 1, or padding is neither a number of at least 0 nor a known word.
    DTypeError
        If an operand does not hold floats.

    Examples
    --------
    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([[[1.0, 2.0, 4.0, 8.0]]])
    >>> difference = tg.tensor([[[-1.0, 1.0]]])
    >>> tg.conv1d(x, difference).tolist()
    [[[1.0, 2.0, 4.0]]]
    >>> tg.conv1d(x, difference, tg.tensor([0.5]), stride=2, padding=1).tolist()
    [[[1.5, 2.5, -7.5]]]
    """
    return _convolve("conv1d", 1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Slide filters over the last two axes, as `torch.nn.functional.conv2d`.

    y[b, o, n, m] = bias[o] + sum over c, k, l of  weight[o, c, k, l] x[b, c, s n + d k - p, s' m + d' l - p']

    The arguments are those of `conv1d`; stride, padding and dilation are one number for both axes, or a pair.

    Parameters
    ----------
    x : (B, C, H, W), floats.
    weight : (O, C / groups, K, L), floats.
    bias : (O,), or None.
    stride, padding, dilation, groups : as in `conv1d`.

    Returns
    -------
    y : (B, O, N, M), with N and M as the N of `conv1d`.

    Raises
    ------
    ShapeError, ArgumentError, DTypeError
        As `conv1d`.

    Examples
    --------
    >>> import tinygrad_rnn as tg
    >>> tg.conv2d(tg.ones((1, 1, 2, 3)), tg.ones((1, 1, 2, 2))).tolist()
    [[[[4.0, 4.0]]]]
    >>> tg.conv2d(tg.ones((8, 3, 28, 28)), tg.ones((16, 3, 5, 5)), stride=2, padding=(2, 0)).shape
    (8, 16, 14, 12)
    """
    return _convolve("conv2d", 2, x, weight, bias, stride, padding, dilation, groups)


def _convolve(
    name: str, axes: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Tensor:
    """Check the arguments, bring them to one form, and convolve over the last `axes` axes."""
    x, weight = _floats(name, x), _floats(name, weight)
    (groups,) = _whole(name, "groups", groups, 1, least=1)
    _check_channels(name, axes, x, weight, groups)
    strides = _whole(name, "stride", stride, axes, least=1)
    dilations = _whole(name, "dilation", dilation, axes, least=1)
    size, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations)]
    widths = _widths(name, padding, axes, strides, extents)
    for axis, (n, (before, after), extent) in enumerate(zip(size, widths, extents), start=2):
        if extent > n + before + after:
            raise ShapeError(
                f"{name}: the filter spans {extent} entries of axis {axis}, and x {tuple(x.shape)} has {n} there, "
                f"{n + before + after} with its padding. Give a longer x, more padding or a smaller dilation."
                f"        at {user_line()}"
            )
    y = _convolution(
        x, weight, size=size, kernel=kernel, stride=strides, padding=widths, dilation=dilations, groups=groups
    )
    if bias is None:
        return y
    bias = _floats(name, bias)
    if tuple(bias.shape) != (weight.shape[0],):
        raise ShapeError(
            f"{name}: bias needs one entry for each of the {weight.shape[0]} filters, shape ({weight.shape[0]},); "
            f"got shape {tuple(bias.shape)}        at {user_line()}"
        )
    return y + reshape(bias, (-1,) + (1,) * axes)


def _check_channels(name: str, axes: int, x: Any, weight: Any, groups: int) -> None:
    spatial = {1: "length", 2: "height, width"}[axes]
    if x.ndim != axes + 2:
        hint = " For one example, add the batch axis: tg.expand_dims(x)" if x.ndim == axes + 1 else ""
        raise ShapeError(
            f"{name}: x needs the axes (batch, channels, {spatial}); got shape {tuple(x.shape)}.{hint}"
            f"        at {user_line()}"
        )
    if weight.ndim != axes + 2 or min(weight.shape[2:]) < 1:
        raise ShapeError(
            f"{name}: weight needs the axes (filters, channels / groups, {spatial}), the last of at least 1; "
            f"got shape {tuple(weight.shape)}        at {user_line()}"
        )
    filters, channels = weight.shape[0], x.shape[1]
    if channels % groups or filters % groups:
        raise ShapeError(
            f"{name}: groups={groups} must divide the {channels} channels of x {tuple(x.shape)} and "
            f"the {filters} filters of weight {tuple(weight.shape)}        at {user_line()}"
        )
    if channels != weight.shape[1] * groups:
        raise ShapeError(
            f"{name}: x {tuple(x.shape)} has {channels} channels, and weight {tuple(weight.shape)} reads "
            f"{weight.shape[1]} in each of {groups} group(s); axis 1 of weight must be {channels // groups}"
            f"        at {user_line()}"
        )


def _whole(name: str, what: str, given: Any, axes: int, *, least: int) -> tuple[int, ...]:
    """One whole number for each axis, from a single one or a list of them."""
    listed = given if isinstance(given, (tuple, list)) else [given] * axes
    try:
        numbers = tuple([operator.index(n) for n in listed])
    except TypeError:
        numbers = ()
    if len(numbers) == axes and min(numbers) >= least:
        return numbers
    form = "a whole number" if axes == 1 else f"a whole number or {axes} of them"
    raise ArgumentError(f"{name}: {what} must be {form}, at least {least}; got {given!r}        at {user_line()}")


def _widths(
    name: str, padding: Any, axes: int, strides: Sequence[int], extents: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Zeros before and after, for each axis."""
    if padding == "valid":
        return ((0, 0),) * axes
    if padding == "same":
        if max(strides) > 1:
            raise ArgumentError(
                f'{name}: padding="same" keeps the length only with stride 1; got stride {tuple(strides)}. '
                f"Give padding as a number        at {user_line()}"
            )
        return tuple([((extent - 1) // 2, extent // 2) for extent in extents])
    if isinstance(padding, str):
        raise ArgumentError(
            f'{name}: padding must be "same", "valid" or whole numbers; got "{padding}"        at {user_line()}'
        )
    return tuple([(n, n) for n in _whole(name, "padding", padding, axes, least=0)])


# ---- the three primitives. All take the same parameters: size and kernel are the lengths of x and of the weight
# along the axes that are convolved; stride, padding (before, after) and dilation have an entry for each such axis.


def _columns(
    xp: Any,
    x: Any,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int,
) -> tuple[Any, tuple[int, ...]]:
    """All windows of x, one a column: (groups, channels * prod(kernel), B * prod(out)), and the lengths `out`."""
    batch, channels, axes = x.shape[0], x.shape[1], len(size)
    if any(before or after for before, after in padding):
        padded = xp.zeros((batch, channels, *_lengths(size, padding)), dtype=x.dtype)
        padded[_inside(size, padding)] = x
        x = padded
    extents = tuple([d * (k - 1) + 1 for k, d in zip(kernel, dilation)])
    windows = xp.lib.stride_tricks.sliding_window_view(x, extents, axis=tuple(range(2, 2 + axes)))
    windows = windows[(slice(None), slice(None), *[slice(None, None, step) for step in (*stride, *dilation)])]
    out = windows.shape[2 : 2 + axes]
    windows = xp.reshape(windows, (batch, groups, channels // groups, *out, *kernel))
    windows = xp.permute_dims(windows, (1, 2, *range(3 + axes, 3 + 2 * axes), 0, *range(3, 3 + axes)))
    return xp.reshape(windows, (groups, channels // groups * math.prod(kernel), batch * math.prod(out))), out


def _lengths(size: tuple[int, ...], padding: tuple[tuple[int, int], ...]) -> list[int]:
    return [before + n + after for n, (before, after) in zip(size, padding)]


def _inside(size: tuple[int, ...], padding: tuple[tuple[int, int], ...]) -> tuple[Any, ...]:
    """The index of x within its padded copy."""
    return (..., *[slice(before, before + n) for n, (before, _) in zip(size, padding)])


def _rows(xp: Any, g: Any, groups: int) -> Any:
    """(B, O, *out) as (groups, O / groups, B * prod(out)), in the order of the columns."""
    filters = g.shape[1]
    return xp.reshape(xp.moveaxis(g, 1, 0), (groups, filters // groups, g.shape[0] * math.prod(g.shape[2:])))


def _filters(xp: Any, weight: Any, groups: int) -> Any:
    """(O, C / groups, *kernel) as (groups, O / groups, C / groups * prod(kernel))."""
    return xp.reshape(weight, (groups, weight.shape[0] // groups, math.prod(weight.shape[1:])))


def _forward(xp: Any, x: Any, weight: Any, groups: int, **window: Any) -> Any:
    """The y of (x, weight)."""
    columns, out = _columns(xp, x, groups=groups, **window)
    y = xp.matmul(_filters(xp, weight, groups), columns)
    return xp.ascontiguousarray(xp.moveaxis(xp.reshape(y, (weight.shape[0], x.shape[0], *out)), 0, 1))


def _forward_transpose(
    xp: Any,
    g: Any,
    weight: Any,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Any:
    """The cotangent of x: every window takes its column back, and windows that overlap add up."""
    batch, out, channels = g.shape[0], g.shape[2:], weight.shape[1]
    columns = xp.matmul(xp.matrix_transpose(_filters(xp, weight, groups)), _rows(xp, g, groups))
    columns = xp.reshape(columns, (groups, channels, *kernel, batch, *out))
    padded = xp.zeros((batch, groups, channels, *_lengths(size, padding)), dtype=columns.dtype)
    for place in itertools.product(*[range(k) for k in kernel]):
        starts = [k * d for k, d in zip(place, dilation)]
        reached = tuple([slice(a, a + (n - 1) * step + 1, step) for a, n, step in zip(starts, out, stride)])
        padded[(..., *reached)] += xp.moveaxis(columns[(slice(None), slice(None), *place)], 2, 0)
    return xp.reshape(padded[_inside(size, padding)], (batch, groups * channels, *size))


def _forward_weight(xp: Any, x: Any, g: Any, groups: int, **window: Any) -> Any:
    """The cotangent of weight: each filter's cotangents times the windows that they belong to."""
    columns, _ = _columns(xp, x, groups=groups, **window)
    product = xp.matmul(_rows(xp, g, groups), xp.matrix_transpose(columns))
    return xp.reshape(product, (g.shape[1], x.shape[1] // groups, *window["kernel"]))


def _either(kind: Any, xp: Any, a: Any, b: Any, params: dict[str, Any]) -> Any:
    """One of the three inside a rule: recorded where the rule runs on Tensors, plain on arrays."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return kind(a, b, **params)
    return kind.forward(xp, a, b, **params)


def _of_x(xp: Any, g: Any, weight: Any, params: dict[str, Any]) -> Any:
    return _either(_convolution_transpose, xp, g, weight, params)


def _of_weight(xp: Any, x: Any, g: Any, params: dict[str, Any]) -> Any:
    return _either(_convolution_weight, xp, x, g, params)


def _of_g(xp: Any, x: Any, weight: Any, params: dict[str, Any]) -> Any:
    return _either(_convolution, xp, x, weight, params)


_convolution = primitive(
    "convolution",
    _forward,
    vjp=(
        lambda xp, g, y, x, weight, **params: _of_x(xp, g, weight, params),
        lambda xp, g, y, x, weight, **params: _of_weight(xp, x, g, params),
    ),
    jvp=(
        lambda xp, d, y, x, weight, **params: _of_g(xp, d, weight, params),
        lambda xp, d, y, x, weight, **params: _of_g(xp, x, d, params),
    ),
)

_convolution_transpose = primitive(
    "convolution_transpose",
    _forward_transpose,
    vjp=(
        lambda xp, c, y, g, weight, **params: _of_g(xp, c, weight, params),
        lambda xp, c, y, g, weight, **params: _of_weight(xp, c, g, params),
    ),
    jvp=(
        lambda xp, d, y, g, weight, **params: _of_x(xp, d, weight, params),
        lambda xp, d, y, g, weight, **params: _of_x(xp, g, d, params),
    ),
)

_convolution_weight = primitive(
    "convolution_weight",
    _forward_weight,
    vjp=(
        lambda xp, c, y, x, g, **params: _of_x(xp, g, c, params),
        lambda xp, c, y, x, g, **params: _of_g(xp, x, c, params),
    ),
    jvp=(
        lambda xp, d, y, x, g, **params: _of_weight(xp, d, g, params),
        lambda xp, d, y, x, g, **params: _of_weight(xp, x, d, params),
    ),
)
