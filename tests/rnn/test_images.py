"""Layers over images: what a pixel can see, the equations pixel by pixel, and the four directions."""

import numpy as np
import pytest
from helpers import assert_gradients, close

import tinygrad_rnn as tg
from tinygrad_rnn import rnn
from tinygrad_rnn.errors import ArgumentError, DTypeError, ShapeError

F64 = {"dtype": "float64"}
ROWS, COLUMNS = 4, 5
LAYERS = {
    "masked convolution": lambda mask: rnn.MaskedConv2d(1, 3, (5, 3), mask, rng=1, **F64),
    "rows": lambda mask: rnn.RowLSTM(1, 3, 3, mask, rng=1, **F64),
    "diagonal": lambda mask: rnn.DiagonalLSTM(1, 3, 3, mask, rng=1, **F64),
    "both diagonals": lambda mask: rnn.DiagonalBiLSTM(1, 3, 3, mask, rng=1, **F64),
}


def image(channels=1, rows=ROWS, columns=COLUMNS, batch=2):
    return np.random.default_rng(0).normal(size=(batch, channels, rows, columns))


def seen(layer, row, column):
    """Which pixels the output of a pixel has a derivative by that is not exactly zero."""
    with tg.Tape() as tape:
        x = tg.tensor(image())
        tape.watch(x)
        loss = tg.sum(layer(x)[:, :, row, column])
    return np.any(tape.gradient(loss, x).numpy() != 0, axis=(0, 1))


@pytest.mark.parametrize("mask", ["A", "B"])
@pytest.mark.parametrize("name", LAYERS)
def test_no_pixel_sees_a_later_one(name, mask):
    """The derivative is exactly 0, by the pixel itself too under mask A, which an input layer has."""
    layer = LAYERS[name](mask)
    for row in range(ROWS):
        for column in range(COLUMNS):
            later = np.arange(ROWS * COLUMNS) >= row * COLUMNS + column + (mask == "B")
            found = seen(layer, row, column)
            assert not np.any(found.ravel() & later), (row, column)
            assert found[row, column] == (mask == "B")


def test_both_diagonals_see_all_that_came_before():
    found = seen(rnn.DiagonalBiLSTM(1, 3, rng=1, **F64), 2, 2)
    np.testing.assert_array_equal(found.ravel(), np.arange(ROWS * COLUMNS) <= 2 * COLUMNS + 2)


def test_one_diagonal_does_not_see_to_the_right_and_the_rows_see_a_triangle():
    np.testing.assert_array_equal(
        seen(rnn.DiagonalLSTM(1, 3, rng=1, **F64), 2, 2).astype(int),
        [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]],
    )
    np.testing.assert_array_equal(
        seen(rnn.RowLSTM(1, 3, rng=1, **F64), 3, 2).astype(int),
        [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [0, 1, 1, 0, 0]],
    )


def test_two_layers_see_exactly_the_pixels_before():
    first, second = rnn.MaskedConv2d(1, 3, 5, "A", rng=0, **F64), rnn.DiagonalBiLSTM(3, 2, rng=0, **F64)
    found = seen(lambda x: second(first(x)), 2, 2)
    np.testing.assert_array_equal(found.ravel(), np.arange(ROWS * COLUMNS) < 2 * COLUMNS + 2)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def step(a, c):
    i, f, g, o = np.split(a, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@pytest.mark.parametrize("name", ["rows", "diagonal", "both diagonals"])
def test_the_layer_is_its_equation_pixel_by_pixel(name):
    layer, x = LAYERS[name]("A"), image()

    def run(part, x):
        """One image (1, rows, columns), in plain NumPy loops; beyond the image all is zero."""
        w, b, u = (p.numpy() for p in (part.input_to_state.weight, part.input_to_state.bias, part.weight_hh))
        h, c = np.zeros((2, 3, ROWS + 1, COLUMNS + 2))  # with a border: above, left and right
        for row in range(ROWS):
            for column in range(COLUMNS):
                a = b + (w[:, 0, 0, 0] * x[0, row, column - 1] if column else 0)
                above = h[:, row, column : column + 3]
                if isinstance(part, rnn.RowLSTM):
                    before, a = c[:, row, column + 1], a + np.einsum("ghk,hk->g", u, above)
                    made = step(a, before)
                else:
                    a = a + u[:, :, 0] @ above[:, 1] + u[:, :, 1] @ h[:, row + 1, column]
                    made = step(a, c[:, row + 1, column])  # the cell comes from the left
                h[:, row + 1, column + 1], c[:, row + 1, column + 1] = made
        return h[:, 1:, 1:-1]

    found = layer(tg.tensor(x)).numpy()
    for mine, one in zip(found, x):
        if name == "both diagonals":
            expected, right = run(layer.left, one), run(layer.right, one[:, :, ::-1])[:, :, ::-1]
            expected[:, 1:] += right[:, :-1]
        else:
            expected = run(layer, one)
        close(mine, expected, factor=200)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_first_and_second_order(name):
    assert_gradients(LAYERS[name]("B"), image(batch=1, rows=3, columns=2))


def test_a_mask_leaves_its_weights_without_gradient():
    layer = rnn.MaskedConv2d(2, 3, 3, "A", rng=0, **F64)
    with tg.Tape() as tape:
        loss = tg.sum(layer(tg.tensor(image(2))))
    found = np.any(tape.gradient(loss, layer.weight).numpy() != 0, axis=(0, 1))
    np.testing.assert_array_equal(found, [[True] * 3, [True, False, False], [False] * 3])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_four_directions_are_two_bidirectional_sweeps(kind):
    layer, x = rnn.FourDirections(2, 3, kind, patch=2, rng=0, **F64), image(2, 6, 4)
    found = layer(tg.tensor(x)).numpy()
    assert found.shape == (2, 6, 3, 2)
    columns = []
    for column in range(2):  # each column of patches by itself
        cut = [x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].reshape(2, -1) for row in range(3)]
        columns.append(layer.vertical(tg.tensor(np.stack(cut)))[0].numpy())
    for row in range(3):
        swept = layer.horizontal(tg.tensor(np.stack([column[row] for column in columns])))[0].numpy()
        close(found[:, :, row], swept.transpose(1, 2, 0), factor=50)


def test_every_place_sees_the_whole_image():
    layer, x = rnn.FourDirections(1, 2, rng=0, **F64), tg.tensor(image(1))
    with tg.Tape() as tape:
        tape.watch(x)
        loss = tg.sum(layer(x)[:, :, 1, 1])
    assert np.all(tape.gradient(loss, x).numpy() != 0)
    assert_gradients(layer, image(1, 2, 2, batch=1))


def test_wrong_arguments_and_images_say_so():
    with pytest.raises(ArgumentError, match='"A", without the pixel itself'):
        rnn.RowLSTM(1, 2, mask="C")
    with pytest.raises(ArgumentError, match="is odd"):
        rnn.MaskedConv2d(1, 2, (2, 3))
    with pytest.raises(ArgumentError, match="lets nothing through"):
        rnn.DiagonalLSTM(1, 2, mask="A")
    with pytest.raises(ArgumentError, match="RNN, GRU, LSTM"):
        rnn.FourDirections(1, 2, "Elman")
    with pytest.raises(ShapeError, match="patches of 2 by 2; got 3 by 4"):
        rnn.FourDirections(1, 2, patch=2)(tg.zeros((1, 1, 3, 4)))
    with pytest.raises(ShapeError, match=r"\(batch, 1, height, width\)"):
        rnn.RowLSTM(1, 2)(tg.zeros((1, 3, 4, 4)))
    with pytest.raises(DTypeError, match="floating"):
        rnn.DiagonalBiLSTM(1, 2)(tg.zeros((1, 1, 4, 4), dtype="int64"))
