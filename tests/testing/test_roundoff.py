"""float32 gradients are judged against float64 by replays with perturbed round-off."""

import numpy as np
import pytest
from testing.planted import planted

import tinygrad_rnn as tg
from tinygrad_rnn.testing import check_gradients, roundoff

X = np.array([[0.3, -1.2, 2.5], [4.1, 0.7, -0.9]], np.float32)
W = np.array([[0.5, -0.1], [1.5, 0.4], [-0.7, 0.9]], np.float32)


def recorded(fn, *arrays):
    with tg.Tape() as tape:
        boxes = [tape.watch(tg.tensor(x, dtype="float64")) for x in arrays]
        y = fn(*boxes)
    return tape, y, [box._slot for box in boxes]


def spread(fn, *arrays, eps=roundoff.EPS32, seed=0):
    tape, y, slots = recorded(fn, *arrays)
    return roundoff.gradient_spread(tape, [y._slot], [np.ones(y.shape)], slots, np.random.default_rng(seed), eps)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, w: tg.matmul(x, w),
        lambda x, w: tg.softmax(tg.tanh(tg.matmul(x, w)), axis=-1),
        lambda x, w: tg.max(tg.matmul(x, w), axis=1),
        lambda x, w: tg.logsumexp(x, axis=1) + tg.sum(w),
        lambda x, w: tg.checkpoint(lambda a: tg.exp(a) * a)(tg.matmul(x, w)),
        lambda x, w: (tg.relu(x), tg.sqrt(1 + w * w)),
    ],
)
def test_right_gradients_pass_in_float32(fn):
    report = check_gradients(fn, X, W)
    assert report, str(report)
    assert 1e-7 < report.resolution < 1e-3


def test_ill_conditioned_gradients_pass_where_a_fixed_tolerance_would_not():
    x = np.array([100.1, 101.3, 98.7], np.float32)

    def fn(x):
        return tg.exp(tg.sin(x * x))

    g64 = tg.grad(lambda x: tg.sum(fn(x)))(tg.tensor(x, dtype="float64")).numpy()
    g32 = tg.grad(lambda x: tg.sum(fn(x)))(tg.tensor(x)).numpy()
    assert abs(g32 - g64).max() > 1e-4 * abs(g64).max()
    assert check_gradients(fn, x)


def test_a_gradient_that_is_coarse_in_float32_fails():
    def coarse(xp, g, y, x):
        return 2 * g * xp.astype(xp.astype(x * 1024, "int32"), x.dtype) / 1024 if x.dtype == np.float32 else 2 * g * x

    with planted("coarse", lambda xp, x: x * x, vjp=coarse, jvp=lambda xp, d, y, x: 2 * d * x) as wrong:
        assert check_gradients(wrong, X.astype(np.float64))
        report = check_gradients(wrong, X)
    assert report.verdict == "fail" and report.mode == "float32" and report.input == 0
    assert "float32" in str(report)


def test_overflow_of_float32_is_inconclusive():
    assert check_gradients(lambda x: tg.exp(x) * 1e-10, np.array([80.0, 100.0], np.float32)).verdict == "inconclusive"


def test_the_spread_grows_with_the_condition():
    x = np.array([1.0, 2.0])
    near, far = (float(np.max(spread(lambda x, s=s: tg.sin(s * x), x)[0])) for s in (1.0, 1e3))
    assert far > 1e4 * near  # the phase rounds to 1e3 eps, and the slope is 1e3


def test_the_spread_is_proportional_to_eps():
    x = np.array([[1.0, 2.0], [0.5, -1.0]])
    fn = lambda x: tg.softmax(tg.matmul(x, x), axis=-1)
    one, less = (spread(fn, x, eps=eps)[0] for eps in (2.0**-20, 2.0**-30))
    assert np.allclose(one, 1024 * less, rtol=1e-2)  # up to terms of second order in eps, here 1e-6 times the condition


def test_operations_that_only_move_numbers_do_not_spread():
    x = np.array([[1.0, 2.0], [0.5, -1.0]])
    moves = lambda x: tg.flip(tg.reshape(tg.max(tg.stack([x, x]), axis=0), (4,)), axis=0)
    tape, y, _ = recorded(moves, x)
    assert np.max(roundoff.value_spread(tape, [y._slot], np.random.default_rng(0), 0.1)[0]) == 0


def test_values_spread_by_what_is_lost_inside():
    x = np.array([1.0, 2.0])
    tape, y, _ = recorded(lambda x: (x + 1e6) - 1e6, x)
    found = roundoff.value_spread(tape, [y._slot], np.random.default_rng(0), 2.0**-52)[0]
    assert np.all(found > 1e-11) and np.all(found < 1e-9)
