"""Residual blocks: y = x + F(x), so that the derivative passes through unchanged where F has none.

With a cotangent v of y, that of x is ``v + vjp_F(v)``; a stack of blocks multiplies factors I + ∂F/∂x, which stay near
the identity while ∂F/∂x is small. [He et al. 2016a, "Deep residual learning for image recognition"; He et al. 2016b,
"Identity mappings in deep residual networks"; Srivastava, Greff & Schmidhuber 2015, "Highway networks"]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..tape import user_line
from ..tensor import Parameter, Tensor
from . import init
from .batch_norm import BatchNorm
from .container import Sequential
from .convolution import Conv2d, check_channels
from .dropout import StochasticDepth
from .linear import Linear, check_features, check_size
from .module import Module, Seed
from .normalization import LayerNorm

Function = Callable[[Any], Any]


class Residual(Module):
    """Add a module's input to its output: ``y = shortcut(x) + f(x)``.

    f: a Module, or a function of one Tensor.
    shortcut: how x reaches the sum; None for x as it is. A Module or a function where shapes change, such as a
        Linear, a Conv2d with kernel_size 1, or a `PaddedShortcut`.
    drop: probability of leaving f out for an example while training (see `StochasticDepth`).
    rng: a generator or an integer seed, for `drop` alone.

    Call: x → y, of the shape of f(x). Where f(x) = 0, y is x to the last bit (but for the sign of zero), and so is the
    gradient.
    Raises ShapeError if the two shapes differ (they are not broadcast: that would hide a mistake), ArgumentError for
    what cannot be called and for a `drop` outside [0, 1].

    >>> import tinygrad_rnn as tg
    >>> block = tg.nn.Residual(lambda x: 0.5 * x)
    >>> block(tg.tensor([1.0, 2.0])).tolist()
    [1.5, 3.0]
    """

    def __init__(self, f: Function, shortcut: Function | None = None, *, drop: float = 0.0, rng: Seed = None) -> None:
        for name, each in (("f", f), ("shortcut", shortcut)):
            if not callable(each) and not (name == "shortcut" and each is None):
                raise ArgumentError(f"Residual {name} must be a Module or a function; got a {type(each).__name__}")
        self.f = f
        self.shortcut = shortcut
        self.drop = StochasticDepth(drop, rng=rng) if drop else None

    def forward(self, x: Any) -> Any:
        """x → shortcut(x) + f(x)."""
        return join(type(self).__name__, x if self.shortcut is None else self.shortcut(x), self.f(x), self.drop)


def join(block: str, kept: Any, branch: Any, drop: StochasticDepth | None = None) -> Any:
    """Add a branch to its shortcut. Raises ShapeError unless they have one shape."""
    if tuple(kept.shape) != tuple(branch.shape):
        raise ShapeError(
            f"{block} cannot join a shortcut of shape {tuple(kept.shape)} and a branch of shape "
            f"{tuple(branch.shape)}. Let the branch keep its input's shape, or give a shortcut that changes "
            f"it: nn.Linear, nn.Conv2d with kernel_size 1, or nn.PaddedShortcut.        at {user_line()}"
        )
    return kept + (branch if drop is None else drop(branch))


class PaddedShortcut(Module):
    """A shortcut without parameters: every stride-th entry, and zeros for the new channels. [He et al. 2016a, option A]

    in_channels, out_channels: lengths of axis 1 before and after; the second at least as large.
    stride: steps along the axes after it; 1 takes every entry.

    Call: x (B, C, ...) → (B, O, ...). Raises ArgumentError for fewer channels than before, ShapeError for another x.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.PaddedShortcut(1, 3)(tg.tensor([[5.0]])).tolist()
    [[5.0, 0.0, 0.0]]
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        for name, size in (("in_channels", in_channels), ("out_channels", out_channels), ("stride", stride)):
            check_size(name, size)
        if out_channels < in_channels:
            raise ArgumentError(
                f"PaddedShortcut adds channels, and cannot join {in_channels} to {out_channels}; use a projection"
            )
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride

    def forward(self, x: Any) -> Tensor:
        """x (B, in_channels, ...) → (B, out_channels, ...)."""
        check_channels("PaddedShortcut", x, self.in_channels, None)
        if self.stride > 1:
            x = x[(slice(None), slice(None), *[slice(None, None, self.stride)] * (x.ndim - 2))]
        more = self.out_channels - self.in_channels
        return ops.pad(x, [(0, 0), (0, more), *[(0, 0)] * (x.ndim - 2)]) if more else x

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"


class ResidualMLPBlock(Module):
    """Two affine maps around a nonlinearity, added to their input: z = W₁x + b₁, h = φ(z), y = shortcut(x) + W₂h + b₂.

    features: length of the last axis of x.  hidden: length of h; None for `features`.
    out_features: length of the last axis of y; None for `features`.
    activation: φ.
    normalize: whether F reads a normalised x, through the LayerNorm ``norm``; the shortcut is of x itself.
    shortcut: what joins where out_features differs from features: "projection" (a Linear without bias) or "padded"
        (zeros behind). Where they are equal, the shortcut is x itself.
    zero_init: whether W₂ and b₂ start at zero, so that the block starts as its shortcut. [Goyal et al. 2017, sec. 5.1]
    drop: probability of leaving the branch out for an example while training (see `StochasticDepth`).
    rng: a generator or an integer seed, for the initial values and for `drop`.
    dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters: those of the Linear layers ``first`` (W₁, b₁) and ``second`` (W₂, b₂), of ``norm`` and ``shortcut``.
    Call: x (..., features) → (..., out_features). Raises ShapeError for another last axis, ArgumentError for
    impossible sizes and for fewer features behind a padded shortcut.

    >>> import tinygrad_rnn as tg
    >>> block = tg.nn.ResidualMLPBlock(4, rng=0)
    >>> block(tg.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist()  # W₂ is still zero
    [[1.0, 2.0, 3.0, 4.0]]
    """

    def __init__(
        self,
        features: int,
        hidden: int | None = None,
        out_features: int | None = None,
        *,
        activation: Function = ops.relu,
        normalize: bool = False,
        shortcut: str = "projection",
        zero_init: bool = True,
        drop: float = 0.0,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_size("features", features)
        hidden = features if hidden is None else hidden
        out = features if out_features is None else out_features
        rng = init.as_generator(rng)
        made = {"dtype": dtype, "backend": backend}
        check_shortcut(shortcut)
        self.features, self.activation = features, activation
        self.norm = LayerNorm(features, **made) if normalize else None
        self.first = Linear(features, hidden, rng=rng, **made)
        self.second = Linear(hidden, out, rng=rng, **made)
        self.shortcut: Module | None = None
        if out != features:
            if shortcut == "projection":
                self.shortcut = Linear(features, out, bias=False, rng=rng, **made)
            else:
                self.shortcut = PaddedFeatures(features, out)
        if zero_init:
            zero(self.second.weight, self.second.bias)
        self.drop = StochasticDepth(drop, rng=rng) if drop else None

    def branch(self, x: Any) -> Tensor:
        """F(x) = W₂ φ(W₁ x + b₁) + b₂, without the shortcut."""
        h = x if self.norm is None else self.norm(x)
        return self.second(self.activation(self.first(h)))

    def forward(self, x: Any) -> Tensor:
        """x (..., features) → (..., out_features)."""
        check_features("ResidualMLPBlock", x, self.features, self.first.weight)
        kept = x if self.shortcut is None else self.shortcut(x)
        return join("ResidualMLPBlock", kept, self.branch(x), self.drop)

    def extra_repr(self) -> str:
        return f"activation={getattr(self.activation, '__name__', self.activation)}"


class PaddedFeatures(Module):
    """`PaddedShortcut` of the last axis: x (..., in_features) → (..., out_features), with zeros behind."""

    def __init__(self, in_features: int, out_features: int) -> None:
        if out_features < in_features:
            raise ArgumentError(
                f"a padded shortcut adds features, and cannot join {in_features} to {out_features}; "
                f'use shortcut="projection"'
            )
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Any) -> Tensor:
        """x (..., in_features) → (..., out_features)."""
        return ops.pad(x, [*[(0, 0)] * (x.ndim - 1), (0, self.out_features - self.in_features)])


class ResidualConvBlock(Module):
    """A residual block of convolutions for images.

    Basic: two filters of 3×3. Bottleneck: 1×1 to a quarter of the channels, 3×3, and 1×1 back.

    Original order [He et al. 2016a]: convolution, BatchNorm, φ; the last φ after the sum:
        y = φ(shortcut(x) + BN(W₂ * φ(BN(W₁ * x))))
    Pre-activation [He et al. 2016b]: BatchNorm, φ, convolution; nothing after the sum, so that x goes through:
        y = shortcut(x) + W₂ * φ(BN(W₁ * φ(BN(x))))

    Parameters
    ----------
    in_channels, out_channels : C and O; O None for C.
    stride : of the first 3×3 convolution; above 1 makes the image smaller.
    kind : "basic" or "bottleneck".
    preactivation : which of the two orders.
    shortcut : what joins where channels or size change: "projection" (a 1×1 convolution, with BatchNorm in the original
        order) or "padded" (`PaddedShortcut`). Otherwise the shortcut is x itself.
    activation : φ.
    normalize : whether there is BatchNorm; without it the convolutions have biases.
    zero_init : whether the branch starts at zero: the last BatchNorm's weight (original order), or the last
        convolution. [Goyal et al. 2017, sec. 5.1]
    drop : probability of leaving the branch out for an example while training (see `StochasticDepth`).
    rng : a generator or an integer seed. Convolutions start normal with variance 2 / fan_in [He et al. 2015].
    dtype, backend : of the parameters.

    Call: x (B, C, H, W) → (B, O, ⌈H / stride⌉, ⌈W / stride⌉).
    Raises ShapeError for another x, ArgumentError for unknown words, impossible sizes, a bottleneck whose channels four
    does not divide, and a padded shortcut to fewer channels.

    >>> import tinygrad_rnn as tg
    >>> block = tg.nn.ResidualConvBlock(4, 8, stride=2, rng=0)
    >>> block(tg.ones((2, 4, 8, 8))).shape
    (2, 8, 4, 4)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        *,
        stride: int = 1,
        kind: str = "basic",
        preactivation: bool = True,
        shortcut: str = "projection",
        activation: Function = ops.relu,
        normalize: bool = True,
        zero_init: bool = True,
        drop: float = 0.0,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        out = in_channels if out_channels is None else out_channels
        for name, size in (("in_channels", in_channels), ("out_channels", out), ("stride", stride)):
            check_size(name, size)
        if kind not in ("basic", "bottleneck"):
            raise ArgumentError(f'kind must be "basic" or "bottleneck"; got {kind!r}')
        if kind == "bottleneck" and out % 4:
            raise ArgumentError(f"a bottleneck has a quarter of out_channels inside; 4 does not divide {out}")
        check_shortcut(shortcut)
        rng = init.as_generator(rng)
        made = {"dtype": dtype, "backend": backend}
        self.in_channels, self.kind, self.preactivation = in_channels, kind, bool(preactivation)
        self.activation = activation

        inner = out // 4
        plan = {
            "basic": [(in_channels, out, 3, stride), (out, out, 3, 1)],
            "bottleneck": [(in_channels, inner, 1, 1), (inner, inner, 3, stride), (inner, out, 1, 1)],
        }[kind]
        self.convolutions = [
            he_convolution(a, b, size, step, bias=not normalize, rng=rng, **made) for a, b, size, step in plan
        ]
        self.norms = []
        if normalize:
            self.norms = [BatchNorm(a if preactivation else b, **made) for a, b, _, _ in plan]
        self.shortcut: Function | None = None
        if out != in_channels or stride > 1:
            if shortcut == "padded":
                self.shortcut = PaddedShortcut(in_channels, out, stride)
            else:
                project = he_convolution(in_channels, out, 1, stride, bias=False, rng=rng, **made)
                normed = normalize and not preactivation
                self.shortcut = Sequential(project, BatchNorm(out, **made)) if normed else project
        if zero_init:
            if normalize and not preactivation:
                zero(self.norms[-1].weight)
            else:
                zero(self.convolutions[-1].weight, self.convolutions[-1].bias)
        self.drop = StochasticDepth(drop, rng=rng) if drop else None

    def branch(self, x: Any) -> Any:
        """F(x): the convolutions, without the shortcut and without what follows the sum."""
        last = len(self.convolutions) - 1
        for i, convolution in enumerate(self.convolutions):
            if self.preactivation:
                x = convolution(self.activation(self._normed(i, x)))
            else:
                x = self._normed(i, convolution(x))
                x = x if i == last else self.activation(x)
        return x

    def _normed(self, i: int, x: Any) -> Any:
        return self.norms[i](x) if self.norms else x

    def forward(self, x: Any) -> Any:
        """x (B, in_channels, H, W) → (B, out_channels, ⌈H / stride⌉, ⌈W / stride⌉)."""
        check_channels("ResidualConvBlock", x, self.in_channels, 2)
        kept = x if self.shortcut is None else self.shortcut(x)
        y = join("ResidualConvBlock", kept, self.branch(x), self.drop)
        return y if self.preactivation else self.activation(y)

    def extra_repr(self) -> str:
        return f"{self.kind}, preactivation={self.preactivation}"


class HighwayBlock(Module):
    """The gated relative of the residual block: y = T(x) H(x) + (1 - T(x)) x, with H = φ(W x + b), T = σ(W_T x + b_T).
    [Srivastava, Greff & Schmidhuber 2015, eq. 3]

    features: length of the last axis.  activation: φ.
    gate_bias: b_T at the start; negative values let x through at first (sec. 2.2 of the paper).
    rng: a generator or an integer seed.  dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters: those of the Linear layers ``transform`` and ``gate``.
    Call: x (..., features) → the same shape. Raises ShapeError for another last axis.

    >>> import tinygrad_rnn as tg
    >>> block = tg.nn.HighwayBlock(3, gate_bias=-100.0, rng=0)
    >>> block(tg.tensor([1.0, 2.0, 3.0])).tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(
        self,
        features: int,
        *,
        activation: Function = ops.relu,
        gate_bias: float = -2.0,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        rng = init.as_generator(rng)
        self.activation = activation
        self.transform = Linear(features, features, rng=rng, dtype=dtype, backend=backend)
        self.gate = Linear(features, features, rng=rng, dtype=dtype, backend=backend)
        bias = self.gate.bias
        assert bias is not None
        bias.assign(init.constant(bias.shape, value=gate_bias, dtype=bias.dtype))

    def forward(self, x: Any) -> Any:
        """x (..., features) → (..., features)."""
        t = ops.sigmoid(self.gate(x))
        return x + t * (self.activation(self.transform(x)) - x)

    def extra_repr(self) -> str:
        return f"activation={getattr(self.activation, '__name__', self.activation)}"


def he_convolution(
    in_channels: int, out_channels: int, size: int, stride: int, *, bias: bool, rng: Any, dtype: Any, backend: Any
) -> Conv2d:
    """A convolution that keeps the image's size but for the stride, its weight normal with variance 2 / fan_in."""
    made = Conv2d(in_channels, out_channels, size, stride, size // 2, bias=bias, rng=rng, dtype=dtype, backend=backend)
    made.weight.assign(init.he_normal(made.weight.shape, rng, dtype=made.weight.dtype))
    zero(made.bias)
    return made


def zero(*parameters: Parameter | None) -> None:
    """Set parameters to zero; None is passed over."""
    for parameter in parameters:
        if parameter is not None:
            parameter.assign(init.zeros(parameter.shape, dtype=parameter.dtype))


def check_shortcut(shortcut: Any) -> None:
    """Raise ArgumentError unless a shortcut is one of the two words."""
    if shortcut not in ("projection", "padded"):
        raise ArgumentError(f'shortcut must be "projection" or "padded"; got {shortcut!r}')
