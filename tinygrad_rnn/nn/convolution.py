"""Conv1d, Conv2d and the pooling layers: `ops.conv2d` and its relatives with parameters of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tape import user_line
from ..tensor import Parameter, Tensor
from . import init
from .linear import check_size
from .module import Module, Seed

Lengths = int | Sequence[int]


class Convolution(Module):
    """What Conv1d and Conv2d share; a subclass says over how many ``axes`` the filters slide."""

    axes: int
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Lengths,
        stride: Lengths = 1,
        padding: Lengths | str = 0,
        dilation: Lengths = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        for name, size in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            check_size(name, size)
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"groups must divide in_channels and out_channels; got groups={groups}, "
                f"in_channels={in_channels}, out_channels={out_channels}"
            )
        kernel: tuple[Any, ...] = (
            tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size,) * self.axes
        )
        if len(kernel) != self.axes:
            raise ArgumentError(f"kernel_size is one length or {self.axes} of them; got {kernel_size!r}")
        for length in kernel:
            check_size("kernel_size", length)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        rng = init.as_generator(rng)
        bound = 1 / math.sqrt(in_channels // groups * math.prod(kernel))
        weight = init.uniform((out_channels, in_channels // groups, *kernel), rng, low=-bound, high=bound, dtype=dtype)
        self.weight = Parameter(weight, backend=backend)
        self.bias = None
        if bias:
            offset = init.uniform((out_channels,), rng, low=-bound, high=bound, dtype=dtype)
            self.bias = Parameter(offset, backend=backend)

    def forward(self, x: Any) -> Tensor:
        """x (B, in_channels, *lengths) → (B, out_channels, *lengths after the filters)."""
        check_channels(type(self).__name__, x, self.in_channels, self.axes)
        convolve = ops.conv1d if self.axes == 1 else ops.conv2d
        return convolve(
            x, self.weight, self.bias,
            stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups,
        )  # fmt: skip

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)!r}"
        return text + ("" if self.bias is not None else ", bias=False")


class Conv1d(Convolution):
    """Filters that slide along a sequence: see `ops.conv1d` for the equation.

    in_channels, out_channels: C and O, at least 1.  kernel_size: K.  stride, padding ("same", "valid" or a number),
    dilation, groups: as in `ops.conv1d`.  bias: whether each filter has an offset.
    rng: a generator or an integer seed for the initial values, uniform in ±1/√(K C / groups) as in torch.
    dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters: ``weight`` (O, C / groups, K), ``bias`` (O,), torch's names and shapes.
    Call: x (B, C, L), floating → (B, O, N).
    Raises ArgumentError for sizes below 1 and groups that don't divide, ShapeError for another number of axes or
    channels and for an x that is shorter than a filter, DTypeError for integers.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Conv1d(2, 5, 3, padding="same", rng=0)(tg.ones((4, 2, 10))).shape
    (4, 5, 10)
    """

    axes = 1


class Conv2d(Convolution):
    """Filters that slide over an image: see `ops.conv2d` for the equation.

    The arguments and errors are those of `Conv1d`; kernel_size, stride, padding and dilation are one number for both
    axes, or a pair.

    Parameters: ``weight`` (O, C / groups, K, L), ``bias`` (O,), torch's names and shapes.
    Call: x (B, C, H, W), floating → (B, O, N, M).

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Conv2d(3, 8, 3, stride=2, padding=1, rng=0)(tg.ones((4, 3, 8, 8))).shape
    (4, 8, 4, 4)
    """

    axes = 2


class MaxPool2d(Module):
    """`ops.max_pool2d` as a layer: x (B, C, H, W) → (B, C, N, M). It has no parameters.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.MaxPool2d(2)(tg.ones((4, 3, 8, 8))).shape
    (4, 3, 4, 4)
    """

    pool = staticmethod(ops.max_pool2d)

    def __init__(self, kernel_size: Lengths, stride: Lengths | None = None, padding: Lengths = 0) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Any) -> Tensor:
        """x (B, C, H, W) → (B, C, N, M)."""
        return self.pool(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride or self.kernel_size}, padding={self.padding}"


class AvgPool2d(MaxPool2d):
    """`ops.avg_pool2d` as a layer: x (B, C, H, W) → (B, C, N, M). It has no parameters.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.AvgPool2d(2)(tg.ones((4, 3, 8, 8))).shape
    (4, 3, 4, 4)
    """

    pool = staticmethod(ops.avg_pool2d)


def check_channels(layer: str, x: Any, channels: int, axes: int | None) -> None:
    """Raise unless x is floating, and (B, channels, ...) with `axes` further axes (None: any number)."""
    shape = getattr(x, "shape", None)
    if shape is None:
        raise DTypeError(
            f"{layer} got a {type(x).__name__}, not a Tensor. Wrap it: tg.tensor(...)        at {user_line()}"
        )
    if not str(x.dtype).startswith("float"):
        raise DTypeError(
            f"{layer} expected a floating input; got {x.dtype}. Cast it: x.astype(tg.float32)        at {user_line()}"
        )
    if len(shape) < 2 or shape[1] != channels or (axes is not None and len(shape) != axes + 2):
        form = {None: ", ...", 0: "", 1: ", length", 2: ", height, width"}[axes]
        hint = ""
        if axes is not None and len(shape) == axes + 1 and shape[0] == channels:
            hint = " For one example, add the batch axis: tg.expand_dims(x)."
        raise ShapeError(
            f"{layer} expected an input of shape (batch, {channels}{form}); got {tuple(shape)}.{hint}"
            f"        at {user_line()}"
        )
