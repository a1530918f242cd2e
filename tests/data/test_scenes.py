"""Scenes of figures, and the measure of a segmentation."""

import numpy as np
import pytest

from tinygrad_rnn.data import SCENE_CLASSES, intersection_over_union, scenes
from tinygrad_rnn.errors import ArgumentError, DataError


def test_a_seed_gives_the_same_scenes_and_all_classes_occur():
    images, labels = scenes(200, 20, seed=3)
    again, _ = scenes(200, 20, seed=3)
    np.testing.assert_array_equal(images, again)
    assert images.shape == (200, 1, 20, 20) and images.dtype == np.float32 and labels.dtype == np.int64
    assert set(np.unique(labels)) == set(range(len(SCENE_CLASSES)))


def test_without_noise_a_figure_and_the_background_have_one_brightness_each():
    images, labels = scenes(50, 20, noise=0, seed=0)
    for image, label in zip(images[:, 0], labels):
        assert 1 <= len(np.unique(image)) <= 4
        assert len(np.unique(image[label == 0])) == 1


def test_brightness_does_not_tell_the_class():
    """A pixel's brightness has the same mean and spread in every class, up to chance."""
    images, labels = scenes(2000, 16, noise=0, seed=0)
    for label in range(len(SCENE_CLASSES)):
        inside = images[:, 0][labels == label]
        assert abs(inside.mean()) < 0.1 and 0.45 < inside.std() < 0.75


def test_intersection_over_union():
    found = intersection_over_union([[0, 1], [2, 2]], [[0, 1], [2, 2]], 4)
    np.testing.assert_array_equal(found, [1, 1, 1, np.nan])
    assert intersection_over_union([0, 0], [1, 1], 2).tolist() == [0, 0]
    np.testing.assert_allclose(intersection_over_union([0, 0, 0, 1], [0, 0, 1, 1], 2), [2 / 3, 1 / 2])


def test_wrong_arguments_say_so():
    with pytest.raises(ArgumentError, match="at least 8"):
        scenes(1, 4)
    with pytest.raises(ArgumentError, match="noise"):
        scenes(1, noise=-1)
    with pytest.raises(DataError, match="one shape"):
        intersection_over_union([0, 1], [0], 2)
    with pytest.raises(DataError, match="from 0 to 1"):
        intersection_over_union([0, 2], [0, 1], 2)
