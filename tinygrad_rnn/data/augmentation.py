"""Data augmentation: small random changes of training examples that leave their meaning alone. NumPy, and seeded.

An augmentation is an object that is called with a batch and a generator, and returns a new batch; what it was given is
never written to. Use them on training batches only: validation and test data stay as they are.

>>> import numpy as np
>>> from tinygrad_rnn.data import augmentation
>>> augment = augmentation.Compose([augmentation.Shift(1), augmentation.Flip(), augmentation.Noise(0.1)])
>>> images = np.zeros((32, 1, 8, 8), np.float32)
>>> augment(images, np.random.default_rng(0)).shape
(32, 1, 8, 8)

Images are (N, ..., H, W), floats: each example gets a change of its own, the same for all its channels. Series
are (N, T) or (N, T, F), floats, or (T, N) and (T, N, F) with ``batch_first=False``.
Sources: Simard, Steinkraus & Platt 2003 (smooth warps); Um et al. 2017 (series).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..random import Seed, as_generator

__all__ = ["Compose", "Flip", "Jitter", "Noise", "Rotate", "Scale", "Shift", "TimeWarp", "Warp"]


class Compose:
    """Several augmentations, one after the other.

    augmentations: functions of a batch and a generator, such as the classes here.
    Raises ArgumentError for what cannot be called.
    """

    def __init__(self, augmentations: Sequence[Callable[[Any, Any], Any]]) -> None:
        self.augmentations = list(augmentations)
        for each in self.augmentations:
            if not callable(each):
                raise ArgumentError(f"an augmentation is a function of (batch, rng); got a {type(each).__name__}")

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.augmentations))})"

    def __call__(self, batch: Any, rng: Seed = None) -> Any:
        """Return a new batch. rng: a generator or an integer seed."""
        rng = as_generator(rng)
        batch = np.array(batch)
        for each in self.augmentations:
            batch = each(batch, rng)
        return batch


# ---- images


@dataclass(frozen=True)
class Shift:
    """Move each image by whole pixels, up to `pixels` either way along both axes; zeros come in.

    >>> import numpy as np
    >>> from tinygrad_rnn.data.augmentation import Shift
    >>> image = np.array([[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    >>> Shift(1)(image, 3).tolist()
    [[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]
    """

    pixels: int

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, int) or self.pixels < 0:
            raise ArgumentError(f"Shift pixels is a whole number of at least 0; got {self.pixels!r}")

    def __call__(self, images: Any, rng: Seed = None) -> Any:
        """images (N, ..., H, W) → the same shape and dtype."""
        images = _images("Shift", images)
        height, width = images.shape[-2:]
        moves = as_generator(rng).integers(-self.pixels, self.pixels, (len(images), 2), endpoint=True)
        down = np.arange(height) - moves[:, :1]  # (N, H): the row that comes to each place
        right = np.arange(width) - moves[:, 1:]
        return _picked(images, down[:, :, None], right[:, None, :])


@dataclass(frozen=True)
class Flip:
    """Mirror each image with probability `p`: left to right (axis -1), or top to bottom (axis -2).

    Only for images whose mirror image means the same: not for digits or letters.
    """

    p: float = 0.5
    axis: int = -1

    def __post_init__(self) -> None:
        _fraction("Flip p", self.p)
        if self.axis not in (-1, -2):
            raise ArgumentError(f"Flip axis is -1 (left to right) or -2 (top to bottom); got {self.axis!r}")

    def __call__(self, images: Any, rng: Seed = None) -> Any:
        """images (N, ..., H, W) → the same shape and dtype."""
        images = _images("Flip", images)
        turned = as_generator(rng).random(len(images)) < self.p
        return np.where(turned.reshape(-1, *[1] * (images.ndim - 1)), np.flip(images, self.axis), images)


@dataclass(frozen=True)
class Rotate:
    """Turn each image around its middle by up to `degrees` either way, with linear interpolation; zeros come in."""

    degrees: float

    def __post_init__(self) -> None:
        _not_negative("Rotate degrees", self.degrees)

    def __call__(self, images: Any, rng: Seed = None) -> Any:
        """images (N, ..., H, W) → the same shape and dtype."""
        images = _images("Rotate", images)
        angle = np.radians(as_generator(rng).uniform(-self.degrees, self.degrees, (len(images), 1, 1)))
        rows, columns = _grid(images)
        middle_row, middle_column = (images.shape[-2] - 1) / 2, (images.shape[-1] - 1) / 2
        y, x = rows - middle_row, columns - middle_column
        return _interpolated(
            images,
            middle_row + np.cos(angle) * y - np.sin(angle) * x,
            middle_column + np.sin(angle) * y + np.cos(angle) * x,
        )


@dataclass(frozen=True)
class Warp:
    """Bend each image smoothly: every pixel moves by a random field that is smoothed with a Gaussian. [Simard 2003]

    strength: root mean square of the moves along each axis, in pixels.  smoothness: standard deviation of the
    Gaussian, in pixels; small values crumple, large ones shift the image as a whole.
    """

    strength: float = 1.0
    smoothness: float = 3.0

    def __post_init__(self) -> None:
        _not_negative("Warp strength", self.strength)
        if not self.smoothness > 0:
            raise ArgumentError(f"Warp smoothness must be above 0; got {self.smoothness!r}")

    def __call__(self, images: Any, rng: Seed = None) -> Any:
        """images (N, ..., H, W) → the same shape and dtype."""
        from scipy.ndimage import gaussian_filter

        images = _images("Warp", images)
        height, width = images.shape[-2:]
        noise = as_generator(rng).standard_normal((2, len(images), height, width))
        field = gaussian_filter(noise, (0, 0, self.smoothness, self.smoothness), mode="wrap")
        size = np.sqrt(np.mean(field**2, axis=(-2, -1), keepdims=True))
        down, right = self.strength * field / np.maximum(size, np.finfo(float).tiny)
        rows, columns = _grid(images)
        return _interpolated(images, rows + down, columns + right)


@dataclass(frozen=True)
class Noise:
    """Add normal noise of standard deviation `std` to every entry; for images and for anything else.

    >>> import numpy as np
    >>> from tinygrad_rnn.data.augmentation import Noise
    >>> Noise(0.0)(np.ones((1, 2)), 0).tolist()
    [[1.0, 1.0]]
    """

    std: float

    def __post_init__(self) -> None:
        _not_negative(f"{type(self).__name__} std", self.std)

    def __call__(self, batch: Any, rng: Seed = None) -> Any:
        """batch (N, ...) → the same shape and dtype."""
        batch = _floats(type(self).__name__, batch)
        return batch + (self.std * as_generator(rng).standard_normal(batch.shape)).astype(batch.dtype)


# ---- series


class Jitter(Noise):
    """Add normal noise of standard deviation `std` to every entry of a series, as a sensor does."""


@dataclass(frozen=True)
class Scale:
    """Multiply each series, feature by feature, with a factor that is normal around 1 with standard deviation `std`."""

    std: float
    batch_first: bool = True

    def __post_init__(self) -> None:
        _not_negative("Scale std", self.std)

    def __call__(self, series: Any, rng: Seed = None) -> Any:
        """series (N, T) or (N, T, F) → the same shape and dtype."""
        series = _series("Scale", series, self.batch_first)
        factor = 1 + self.std * as_generator(rng).standard_normal((len(series), 1, *series.shape[2:]))
        return _as_given(series * factor.astype(series.dtype), self.batch_first)


@dataclass(frozen=True)
class TimeWarp:
    """Let time run faster here and slower there: both ends stay, and the order of events too. [Um et al. 2017]

    strength: standard deviation of the logarithm of time's speed at the knots.
    knots: places at equal distances between which the speed changes linearly, at least 2.
    """

    strength: float = 0.2
    knots: int = 4
    batch_first: bool = True

    def __post_init__(self) -> None:
        _not_negative("TimeWarp strength", self.strength)
        if not isinstance(self.knots, int) or self.knots < 2:
            raise ArgumentError(f"TimeWarp knots is a whole number of at least 2; got {self.knots!r}")

    def __call__(self, series: Any, rng: Seed = None) -> Any:
        """series (N, T) or (N, T, F) → the same shape and dtype."""
        series = _series("TimeWarp", series, self.batch_first)
        steps = series.shape[1]
        logs = self.strength * as_generator(rng).standard_normal((len(series), self.knots))
        if steps < 2:
            return _as_given(series.copy(), self.batch_first)
        between = np.linspace(0, self.knots - 1, steps - 1)  # the knots' places, in units of their distance
        low = np.minimum(between.astype(int), self.knots - 2)
        part = between - low
        speed = np.exp((1 - part) * logs[:, low] + part * logs[:, low + 1])
        time = np.concatenate([np.zeros((len(series), 1)), np.cumsum(speed, axis=1)], axis=1)
        time *= (steps - 1) / time[:, -1:]
        before = np.minimum(time.astype(int), steps - 2)
        part = (time - before).astype(series.dtype)
        example = np.arange(len(series))[:, None]
        if series.ndim == 3:
            part = part[:, :, None]
        warped = (1 - part) * series[example, before] + part * series[example, before + 1]
        return _as_given(warped, self.batch_first)


# ---- shared


def _floats(name: str, batch: Any) -> Any:
    batch = np.asarray(batch)
    if batch.dtype.kind != "f":
        raise DTypeError(f"{name} expects floats; got {batch.dtype}. Cast it: batch.astype(numpy.float32)")
    return batch


def _images(name: str, images: Any) -> Any:
    images = _floats(name, images)
    if images.ndim < 3:
        raise ShapeError(f"{name} expects images (N, ..., H, W); got shape {images.shape}")
    return images


def _series(name: str, series: Any, batch_first: bool) -> Any:
    """The series as (N, T) or (N, T, F)."""
    series = _floats(name, series)
    if series.ndim not in (2, 3):
        form = "(N, T) or (N, T, F)" if batch_first else "(T, N) or (T, N, F)"
        raise ShapeError(f"{name} expects series {form}; got shape {series.shape}")
    return series if batch_first else series.swapaxes(0, 1)


def _as_given(series: Any, batch_first: bool) -> Any:
    return series if batch_first else np.ascontiguousarray(series.swapaxes(0, 1))


def _grid(images: Any) -> tuple[Any, Any]:
    """The row and the column of every pixel: (1, H, 1) and (1, 1, W)."""
    height, width = images.shape[-2:]
    return np.arange(height)[None, :, None], np.arange(width)[None, None, :]


def _picked(images: Any, rows: Any, columns: Any) -> Any:
    """images (N, ..., H, W) at whole rows and columns that broadcast to (N, H, W); zeros outside."""
    height, width = images.shape[-2:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    example = np.arange(len(images))[:, None, None]
    channels_last = np.moveaxis(images.reshape(len(images), -1, height, width), 1, -1)
    found = channels_last[example, np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    found = found * inside[..., None].astype(images.dtype)
    return np.ascontiguousarray(np.moveaxis(found, -1, 1)).reshape(images.shape)


def _interpolated(images: Any, rows: Any, columns: Any) -> Any:
    """images (N, ..., H, W) between pixels, by their distances from the four around."""
    shape = (len(images), *images.shape[-2:])
    rows, columns = np.broadcast_to(rows, shape), np.broadcast_to(columns, shape)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    form = (len(images), *[1] * (images.ndim - 3), *images.shape[-2:])
    down = (rows - top).astype(images.dtype).reshape(form)
    right = (columns - left).astype(images.dtype).reshape(form)
    upper = (1 - right) * _picked(images, top, left) + right * _picked(images, top, left + 1)
    lower = (1 - right) * _picked(images, top + 1, left) + right * _picked(images, top + 1, left + 1)
    return (1 - down) * upper + down * lower


def _not_negative(what: str, number: Any) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < np.inf:
        raise ArgumentError(f"{what} must be a number of at least 0; got {number!r}")


def _fraction(what: str, p: Any) -> None:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise ArgumentError(f"{what} is a probability, from 0 to 1; got {p!r}")
