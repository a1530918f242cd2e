"""Pictures of simple figures with the class of every pixel, and how well a segmentation hits them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DataError
from ..random import Seed, as_generator
from .arguments import count, real

__all__ = ["SCENE_CLASSES", "intersection_over_union", "scenes"]

SCENE_CLASSES = ("background", "disk", "square", "triangle")


def scenes(
    number: int, size: int = 24, *, noise: float = 0.1, seed: Seed = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gray pictures with up to three filled figures, the later in front of the earlier.

    All figures and backgrounds draw their brightness from one distribution, so that a pixel inside a figure looks
    like any other: only the outline, which may be far away, tells what it belongs to.

    Parameters
    ----------
    number : int
        How many pictures, N.
    size : int
        Height and width in pixels, S, at least 8. A figure is between a third and two thirds of it wide.
    noise : float
        Standard deviation of what is added to each pixel, at least 0; brightness itself lies in -1 to 1.
    seed : int, numpy.random.Generator or None
        The same number gives the same pictures.

    Returns
    -------
    images : float32, shape (N, 1, S, S)
    labels : int64, shape (N, S, S)
        For each pixel the index of its class in `SCENE_CLASSES`.

    Raises
    ------
    ArgumentError
        If a number is below 1, a size below 8, or the noise below 0.

    Examples
    --------
    >>> images, labels = scenes(2, 12, seed=2)
    >>> images.shape, labels.shape
    ((2, 1, 12, 12), (2, 12, 12))
    >>> for row in labels[0]:
    ...     print("".join("_o#^"[label] for label in row))
    ____________
    ____________
    _____o______
    ___o^ooo____
    ___^^oooo___
    __o^^^ooo___
    __^^^^ooo___
    __^^^^^o____
    _^^^^^^_____
    ____________
    ____________
    ____________
    """
    count("number", number)
    count("size", size, 8)
    if real("noise", noise) < 0:
        raise ArgumentError(f"noise is {noise}; it must be at least 0.")
    draw = as_generator(seed)
    labels = np.zeros((number, size, size), np.int64)
    background, *brightness = draw.uniform(-1, 1, (4, number, 1, 1))
    images = np.broadcast_to(background, labels.shape).copy()
    places = np.arange(size) + 0.5
    figures = draw.integers(1, 4, number)
    for figure, level in enumerate(brightness):
        kind = draw.integers(1, len(SCENE_CLASSES), (number, 1, 1))
        radius = draw.uniform(size / 6, size / 3, (number, 1, 1))
        x = places - draw.uniform(radius, size - radius)
        y = places[:, None] - draw.uniform(radius, size - radius)
        disk = x * x + y * y <= radius * radius
        square = np.maximum(abs(x), abs(y)) <= radius
        triangle = (abs(y) <= radius) & (abs(x) <= (y + radius) / 2)
        inside = np.choose(kind - 1, (disk, square, triangle)) & (figure < figures)[:, None, None]
        # at least a quarter of the range away from what is behind the figure's middle, so that it can be seen
        level = np.where(abs(level - background) < 0.5, np.where(background > 0, level - 1, level + 1), level)
        images = np.where(inside, np.clip(level, -1, 1), images)
        labels = np.where(inside, kind, labels)
    images += noise * draw.standard_normal(images.shape)
    return images[:, None].astype(np.float32), labels


def intersection_over_union(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.float64]:
    """For each class: how many pixels are in it in both, over how many are in either.

    The mean over the classes is the usual measure. [Everingham et al. 2010, "The Pascal visual object classes (VOC)
    challenge", sec. 4.3]

    Parameters
    ----------
    labels, predicted : integer array_like of one shape
        The class of each pixel, from 0 to ``classes - 1``.
    classes : int
        How many there are.

    Returns
    -------
    float64, shape (classes,)
        From 0 to 1; NaN for a class that neither has.

    Raises
    ------
    DataError
        If the shapes differ, nothing is given, or an index is not of a class.
    ArgumentError
        If `classes` is below 1.

    Examples
    --------
    >>> intersection_over_union([0, 0, 1, 1], [0, 1, 1, 1], 2).round(3).tolist()
    [0.5, 0.667]
    """
    count("classes", classes)
    true, found = np.asarray(labels), np.asarray(predicted)
    if true.shape != found.shape or true.size == 0:
        raise DataError(f"labels of shape {true.shape} and predictions of shape {found.shape}; expected one shape.")
    for name, array in (("labels", true), ("predicted", found)):
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= classes:
            held = f"{array.dtype} from {array.min()} to {array.max()}"
            raise DataError(f"{name} has {held}; expected integers from 0 to {classes - 1}.")
    pairs = np.bincount(true.ravel() * classes + found.ravel(), minlength=classes * classes).reshape(classes, classes)
    both, either = np.diag(pairs), pairs.sum(axis=0) + pairs.sum(axis=1) - np.diag(pairs)
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)
