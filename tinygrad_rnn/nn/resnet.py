"""Whole networks of residual blocks, each with a plain twin without shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..errors import ArgumentError
from . import init
from .batch_norm import BatchNorm
from .container import Sequential
from .dropout import check_probability
from .linear import Linear, check_size
from .module import Module, Seed
from .residual import ResidualConvBlock, ResidualMLPBlock, he_convolution

Function = Callable[[Any], Any]


class Plain(Module):
    """A residual block's branch without its shortcut: the same layers and parameters, y = F(x)."""

    def __init__(self, block: Any) -> None:
        block.shortcut = None
        self.block = block

    def forward(self, x: Any) -> Any:
        """x → F(x)."""
        return self.block.branch(x)


class ResidualMLP(Sequential):
    """A deep network of `ResidualMLPBlock`: an affine map to `width` features, the blocks, an affine map to the result.

    in_features, out_features: lengths of the last axis before and after.
    width: features between the blocks.  blocks: how many; two layers each.
    hidden: features within a block; None for `width`.  activation, normalize, zero_init: as in `ResidualMLPBlock`.
    drop: of the last block; that of the others grows in equal steps from 0 (see `StochasticDepth`).
    residual: False removes the shortcuts, and gives the plain network to compare with. Its last layers of a block
        cannot start at zero, so zero_init is ignored.
    rng: a generator or an integer seed.  dtype: float32 (the default) or float64.  backend: where parameters live.

    It is a `Sequential` of "first", "block0", ..., "last". Call: x (..., in_features) → (..., out_features).
    Raises ArgumentError for sizes below 1 and probabilities outside [0, 1].

    >>> import tinygrad_rnn as tg
    >>> model = tg.nn.ResidualMLP(2, 3, width=8, blocks=50, rng=0)
    >>> model(tg.ones((5, 2))).shape, len(model)
    ((5, 3), 52)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        width: int = 64,
        blocks: int = 8,
        hidden: int | None = None,
        activation: Function = ops.relu,
        normalize: bool = False,
        zero_init: bool = True,
        drop: float = 0.0,
        residual: bool = True,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_size("blocks", blocks)
        rng = init.as_generator(rng)
        made = {"dtype": dtype, "backend": backend, "rng": rng}
        layers: dict[str, Any] = {"first": Linear(in_features, width, **made)}
        for i, p in enumerate(growing(drop, blocks)):
            block = ResidualMLPBlock(
                width, hidden, activation=activation, normalize=normalize, zero_init=zero_init and residual,
                drop=p if residual else 0.0, **made,
            )  # fmt: skip
            layers[f"block{i}"] = block if residual else Plain(block)
        layers["last"] = Linear(width, out_features, **made)
        super().__init__(layers)


class ResNet(Sequential):
    """A residual network for small images: a 3×3 convolution, stages of blocks, the mean of each channel, a Linear.
    [He et al. 2016a, sec. 4.2: three stages of n blocks, 6n + 2 layers]

    in_channels: C, 1 for grey images, 3 for colour.  out_features: number of classes.
    widths: channels of each stage; from the second on, a stage halves the image.
    blocks: how many in a stage, one number for all or one for each.
    kind, preactivation, shortcut, activation, normalize, zero_init: as in `ResidualConvBlock`.
    drop: of the last block; that of the others grows in equal steps from 0 (see `StochasticDepth`).
    residual: False removes the shortcuts, and gives the plain network to compare with.
    rng: a generator or an integer seed.  dtype: float32 (the default) or float64.  backend: where parameters live.

    It is a `Sequential` of "first", "stage0_block0", ..., "last". Call: x (B, C, H, W) → logits (B, out_features).
    Raises ArgumentError for no stages, sizes below 1 and unknown words, ShapeError for another x.

    >>> import tinygrad_rnn as tg
    >>> model = tg.nn.ResNet(1, 10, widths=(4, 8), blocks=1, rng=0)
    >>> model(tg.ones((2, 1, 8, 8))).shape
    (2, 10)
    """

    def __init__(
        self,
        in_channels: int,
        out_features: int,
        *,
        widths: Sequence[int] = (16, 32, 64),
        blocks: int | Sequence[int] = 3,
        kind: str = "basic",
        preactivation: bool = True,
        shortcut: str = "projection",
        activation: Function = ops.relu,
        normalize: bool = True,
        zero_init: bool = True,
        drop: float = 0.0,
        residual: bool = True,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        counts = [blocks] * len(widths) if isinstance(blocks, int) else list(blocks)
        if not widths or len(counts) != len(widths):
            raise ArgumentError(f"ResNet needs widths, and as many blocks; got widths={widths!r}, blocks={blocks!r}")
        for count in counts:
            check_size("blocks", count)
        for width in widths:
            check_size("widths", width)
        rng = init.as_generator(rng)
        made = {"dtype": dtype, "backend": backend}
        first = he_convolution(in_channels, widths[0], 3, 1, bias=not normalize, rng=rng, **made)
        layers: dict[str, Any] = {"first": first}
        if not preactivation:  # a pre-activation block begins with both
            layers |= {"first_norm": BatchNorm(widths[0], **made)} if normalize else {}
            layers["first_activation"] = activation
        chances = iter(growing(drop, sum(counts)))
        before = widths[0]
        for stage, (width, count) in enumerate(zip(widths, counts)):
            for i in range(count):
                p = next(chances)
                block = ResidualConvBlock(
                    before, width, stride=2 if stage and not i else 1, kind=kind, preactivation=preactivation,
                    shortcut=shortcut, activation=activation, normalize=normalize, zero_init=zero_init and residual,
                    drop=p if residual else 0.0, rng=rng, **made,
                )  # fmt: skip
                layers[f"stage{stage}_block{i}"] = block if residual else Plain(block)
                before = width
        if preactivation:
            layers |= {"last_norm": BatchNorm(before, **made)} if normalize else {}
            layers["last_activation"] = activation
        layers["pool"] = ops.global_avg_pool
        layers["last"] = Linear(before, out_features, rng=rng, **made)
        super().__init__(layers)


def growing(drop: float, blocks: int) -> list[float]:
    """Probabilities of leaving a block out, in equal steps up to that of the last. [Huang et al. 2016, eq. 4]

    >>> growing(0.5, 2)
    [0.25, 0.5]
    """
    drop = check_probability("drop is the probability of leaving out the last block,", drop)
    return [drop * (i + 1) / blocks for i in range(blocks)]
