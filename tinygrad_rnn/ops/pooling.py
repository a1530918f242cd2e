"""Pooling over one and two axes: the largest or the average entry under a window that slides.

Two linear primitives carry it, each the transpose of the other: `windows` lays every position of the window out,

    w[k, b, c, n] = x[b, c, s n + k - p]

and `windows_transpose` adds all of them back where they came from. Pooling is a maximum or a mean over
k; its derivatives of every order follow from theirs. Ties of a maximum share its gradient equally, as in `max`.

Sources: LeCun et al. 1998 (average pooling); Ranzato et al. 2007 (max pooling); Lin, Chen & Yan 2014 (global average).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor
from .convolution import _whole
from .reduction import _floats, max, mean
from .shape import pad

__all__ = ["avg_pool1d", "avg_pool2d", "global_avg_pool", "max_pool1d", "max_pool2d"]

Lengths = int | Sequence[int]


def max_pool1d(x: Any, kernel_size: Lengths, stride: Lengths | None = None, padding: Lengths = 0) -> Tensor:
    """The largest entry under a window that slides along the last axis, as `torch.nn.functional.max_pool1d`.

    x: (B, C, L), floats → (B, C, N). The arguments, N and the errors are those of `max_pool2d`.

    >>> import tinygrad_rnn as tg
    >>> tg.max_pool1d(tg.tensor([[[1.0, 5.0, 2.0, 4.0]]]), 2).tolist()
    [[[5.0, 4.0]]]
    """
    return _pooled("max_pool1d", 1, x, kernel_size, stride, padding)


def max_pool2d(x: Any, kernel_size: Lengths, stride: Lengths | None = None, padding: Lengths = 0) -> Tensor:
    """The largest entry under a window that slides over the last two axes, as `torch.nn.functional.max_pool2d`.

    y[b, c, n, m] = max over k, l of  x[b, c, s n + k - p, s' m + l - p']

    Parameters
    ----------
    x : (B, C, H, W), floats.
    kernel_size : lengths of the window, one number for both axes or a pair.
    stride : steps between two positions of the window; None for the window's own lengths, so that none overlap.
    padding : entries of -inf on either side of x, at most half a window, so that every window has an entry of x.

    Returns
    -------
    y : (B, C, N, M), N = floor((H + 2 padding - kernel_size) / stride) + 1.

    Raises
    ------
    ShapeError
        If x has another number of axes, or the window is longer than the padded input.
    ArgumentError
        If kernel_size or stride is below 1, or padding is below 0 or more than half a window.
    DTypeError
        If x does not hold floats.

    Examples
    --------
    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([[[[1.0, 2.0, 0.0, 1.0], [4.0, 3.0, 0.0, 7.0]]]])
    >>> tg.max_pool2d(x, 2).tolist()
    [[[[4.0, 7.0]]]]
    """
    return _pooled("max_pool2d", 2, x, kernel_size, stride, padding)


def avg_pool1d(x: Any, kernel_size: Lengths, stride: Lengths | None = None, padding: Lengths = 0) -> Tensor:
    """The mean of the entries under a window that slides along the last axis, as `torch.nn.functional.avg_pool1d`.

    x: (B, C, L), floats → (B, C, N). The arguments, N and the errors are those of `avg_pool2d`.

    >>> import tinygrad_rnn as tg
    >>> tg.avg_pool1d(tg.tensor([[[1.0, 5.0, 2.0, 4.0]]]), 2).tolist()
    [[[3.0, 3.0]]]
    """
    return _pooled("avg_pool1d", 1, x, kernel_size, stride, padding)


def avg_pool2d(x: Any, kernel_size: Lengths, stride: Lengths | None = None, padding: Lengths = 0) -> Tensor:
    """The mean of the entries under a window that slides over the last two axes, as torch's `avg_pool2d`.

    The arguments and errors are those of `max_pool2d`, but for the padding, which is zeros that count, as torch has it.

    >>> import tinygrad_rnn as tg
    >>> tg.avg_pool2d(tg.tensor([[[[1.0, 2.0], [4.0, 5.0]]]]), 2).tolist()
    [[[[3.0]]]]
    """
    return _pooled("avg_pool2d", 2, x, kernel_size, stride, padding)


def global_avg_pool(x: Any) -> Tensor:
    """The mean of each channel: (B, C, ...) → (B, C). [Lin, Chen & Yan 2014, sec. 3.2]

    Raises ShapeError for fewer than three axes or for nothing to average, DTypeError for integers.

    >>> import tinygrad_rnn as tg
    >>> tg.global_avg_pool(tg.ones((2, 3, 8, 8))).shape
    (2, 3)
    """
    x = _floats("global_avg_pool", x)
    if x.ndim < 3 or math.prod(x.shape[2:]) == 0:
        raise ShapeError(
            f"global_avg_pool: x needs the axes (batch, channels, ...), with something to average in the last; "
            f"got shape {tuple(x.shape)}        at {user_line()}"
        )
    return mean(x, axis=tuple(range(2, x.ndim)))


def _pooled(name: str, axes: int, x: Any, kernel_size: Any, stride: Any, padding: Any) -> Tensor:
    """Check the arguments, lay the windows out, and reduce them."""
    x = _floats(name, x)
    if x.ndim != axes + 2:
        spatial = {1: "length", 2: "height, width"}[axes]
        hint = " For one example, add the batch axis: tg.expand_dims(x)" if x.ndim == axes + 1 else ""
        raise ShapeError(
            f"{name}: x needs the axes (batch, channels, {spatial}); got shape {tuple(x.shape)}.{hint}"
            f"        at {user_line()}"
        )
    kernel = _whole(name, "kernel_size", kernel_size, axes, least=1)
    steps = kernel if stride is None else _whole(name, "stride", stride, axes, least=1)
    widths = _whole(name, "padding", padding, axes, least=0)
    if any(2 * p > k for p, k in zip(widths, kernel)):
        raise ArgumentError(
            f"{name}: padding may be half a window at most, here {tuple([k // 2 for k in kernel])}; got {widths}, and "
            f"some window would hold nothing of x        at {user_line()}"
        )
    for axis, (n, p, k) in enumerate(zip(x.shape[2:], widths, kernel), start=2):
        if k > n + 2 * p:
            raise ShapeError(
                f"{name}: the window has {k} entries along axis {axis}, and x {tuple(x.shape)} has {n} there, "
                f"{n + 2 * p} with its padding. Take a smaller kernel_size.        at {user_line()}"
            )
    largest = name.startswith("max")
    if any(widths):
        x = pad(x, [(0, 0), (0, 0), *[(p, p) for p in widths]], value=-math.inf if largest else 0.0)
    spread = _windows(x, size=tuple(x.shape[2:]), kernel=kernel, stride=steps)
    return (max if largest else mean)(spread, axis=tuple(range(axes)))


def _lay_out(xp: Any, x: Any, size: Any, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    """(B, C, *size) → (*kernel, B, C, *out): every window of x."""
    axes = len(kernel)
    windows = xp.lib.stride_tricks.sliding_window_view(x, kernel, axis=tuple(range(2, 2 + axes)))
    windows = windows[(slice(None), slice(None), *[slice(None, None, step) for step in stride])]
    return xp.ascontiguousarray(xp.moveaxis(windows, tuple(range(-axes, 0)), tuple(range(axes))))


def _add_back(xp: Any, w: Any, size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    """(*kernel, B, C, *out) → (B, C, *size): entries of windows that overlap add up."""
    axes = len(kernel)
    x = xp.zeros((*w.shape[axes : axes + 2], *size), dtype=w.dtype)
    for place in itertools.product(*[range(k) for k in kernel]):
        reached = [slice(k, k + (n - 1) * s + 1, s) for k, n, s in zip(place, w.shape[axes + 2 :], stride)]
        x[(..., *reached)] += w[place]
    return x


def _run(kind: Any, xp: Any, a: Any, params: dict[str, Any]) -> Any:
    """One of the two inside a rule: recorded where the rule runs on Tensors, plain on arrays."""
    return kind(a, **params) if isinstance(a, Tensor) else kind.forward(xp, a, **params)


_windows: Any = primitive(
    "windows",
    _lay_out,
    linear=True,
    vjp=(lambda xp, g, y, x, **params: _run(_windows_transpose, xp, g, params),),
    jvp=(lambda xp, d, y, x, **params: _run(_windows, xp, d, params),),
)

_windows_transpose: Any = primitive(
    "windows_transpose",
    _add_back,
    linear=True,
    vjp=(lambda xp, g, y, w, **params: _run(_windows, xp, g, params),),
    jvp=(lambda xp, d, y, w, **params: _run(_windows_transpose, xp, d, params),),
)
