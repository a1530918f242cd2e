"""Augmentations: what each does to an image or a series, and errors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_rnn.data.augmentation import Compose, Flip, Jitter, Noise, Rotate, Scale, Shift, TimeWarp, Warp
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError


def images(*shape, dtype="float64"):
    return np.random.default_rng(0).random(shape).astype(dtype)


def test_a_shift_moves_whole_pixels_and_lets_zeros_in():
    x = images(50, 1, 4, 5)
    padded = np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)])
    y = Shift(2)(x, 0)
    moves = set()
    for example, whole in zip(y, padded):
        found = [(i, j) for i in range(5) for j in range(5) if np.array_equal(example, whole[:, i : i + 4, j : j + 5])]
        assert found
        moves.add(found[0])
    assert len(moves) > 15  # of 25
    assert_array_equal(Shift(0)(x, 0), x)


def test_a_flip_mirrors_the_share_p():
    x = images(400, 2, 3, 4)
    for axis in (-1, -2):
        y = Flip(0.25, axis)(x, 0)
        turned = np.array([np.array_equal(a, np.flip(b, axis)) for a, b in zip(y, x)])
        same = np.array([np.array_equal(a, b) for a, b in zip(y, x)])
        assert (turned ^ same).all()
        assert abs(turned.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 400)


def test_a_rotation_turns_around_the_middle():
    """By a quarter turn, which interpolation hits exactly; the angle is drawn, so the generator is a stand-in."""

    class Quarter(np.random.Generator):
        def uniform(self, low, high, shape):
            return np.full(shape, 90.0)

    x = images(3, 2, 5, 5)
    y = Rotate(90)(x, Quarter(np.random.PCG64(0)))
    assert_allclose(y, np.rot90(x, -1, axes=(-2, -1)), atol=1e-12)
    assert_array_equal(Rotate(0)(x, 0), x)
    small = Rotate(10)(x, 0)
    assert_allclose(small[..., 2, 2], x[..., 2, 2], atol=1e-12)
    assert np.abs(small - x).max() > 0.01


def test_a_warp_moves_neighbours_together_and_by_as_much_as_it_says():
    rows, columns = np.meshgrid(np.arange(40.0), np.arange(40.0), indexing="ij")
    x = np.stack([rows, columns])[None]  # an image of the places: what comes out is where it came from
    y = Warp(strength=1.0, smoothness=4.0)(x, 0)
    moved = (y - x)[0, :, 6:-6, 6:-6]  # inside, where no zeros come in
    assert 0.5 < np.sqrt((moved**2).mean()) < 1.5
    assert np.abs(np.diff(moved, axis=-1)).max() < 1  # no pixel passes its neighbour
    assert_allclose(Warp(0.0)(x, 0), x)


def test_noise_has_its_standard_deviation_and_keeps_the_dtype():
    for kind in (Noise, Jitter):
        y = kind(0.5)(np.zeros((100, 100), np.float32), 0)
        assert y.dtype == np.float32
        assert abs(y.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * 10_000)


def test_scale_multiplies_each_series_by_one_factor_a_feature():
    x = 1 + images(200, 6, 3)
    factor = Scale(0.1)(x, 0) / x
    assert_allclose(factor, np.broadcast_to(factor[:, :1], factor.shape), rtol=1e-12)
    assert abs(factor[:, 0].std() - 0.1) < 5 * 0.1 / np.sqrt(2 * 600)
    assert_allclose(Scale(0.1, batch_first=False)(x.swapaxes(0, 1), 0).swapaxes(0, 1), factor * x)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_time_warp_keeps_the_ends_and_the_order_of_events(batch_first):
    time = np.broadcast_to(np.arange(30.0)[:, None], (20, 30, 1)).copy()
    given = time if batch_first else time.swapaxes(0, 1)
    y = TimeWarp(0.5, batch_first=batch_first)(given, 0)
    y = y if batch_first else y.swapaxes(0, 1)
    assert_allclose(y[:, 0], 0, atol=1e-12)
    assert_allclose(y[:, -1], 29, rtol=1e-12)
    assert (np.diff(y[:, :, 0]) > 0).all()
    assert np.abs(y - time).max() > 1
    assert_allclose(TimeWarp(0.0)(time, 0), time, atol=1e-12)
    assert TimeWarp()(time[:, :1, 0], 0).shape == (20, 1)


def test_compose_runs_all_with_one_generator():
    x = images(5, 1, 6, 6)
    steps = [Shift(1), Flip(), Noise(0.1)]
    rng = np.random.default_rng(7)
    expected = x
    for each in steps:
        expected = each(expected, rng)
    assert_array_equal(Compose(steps)(x, 7), expected)
    assert Compose([])(x, 0) is not x


def test_images_may_have_no_channels_or_several_axes_of_them():
    for shape in ((4, 6, 6), (4, 3, 6, 6), (4, 2, 3, 6, 6)):
        for each in (Shift(1), Flip(), Rotate(10), Warp()):
            assert each(images(*shape), 0).shape == shape
    one, many = Rotate(30)(images(4, 1, 6, 6), 0), Rotate(30)(np.repeat(images(4, 1, 6, 6), 3, axis=1), 0)
    assert_array_equal(many, np.repeat(one, 3, axis=1))  # all channels of an example turn alike


def test_augmentations_name_what_is_wrong():
    with pytest.raises(DTypeError, match="uint8.*astype"):
        Shift(1)(np.zeros((1, 3, 3), np.uint8))
    with pytest.raises(ShapeError, match=r"\(N, \.\.\., H, W\); got shape \(3, 3\)"):
        Rotate(1)(np.zeros((3, 3)))
    with pytest.raises(ShapeError, match=r"\(T, N\) or \(T, N, F\)"):
        Scale(0.1, batch_first=False)(np.zeros(3))
    for make in (
        lambda: Shift(-1),
        lambda: Shift(1.5),
        lambda: Flip(2.0),
        lambda: Flip(0.5, axis=0),
        lambda: Rotate(-1),
        lambda: Warp(-1),
        lambda: Warp(1, 0),
        lambda: Noise(-0.1),
        lambda: Jitter(float("nan")),
        lambda: Scale(-0.1),
        lambda: TimeWarp(-0.1),
        lambda: TimeWarp(0.1, knots=1),
        lambda: Compose([3]),
    ):
        with pytest.raises(ArgumentError, match="got"):
            make()
