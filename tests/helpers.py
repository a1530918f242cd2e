"""What many tests share: a gradient checker that recurses on the order, and comparisons bounded by eps."""

import numpy as np

import tinygrad_rnn as tg

EPS = float(np.finfo(np.float64).eps)
STEP = EPS ** (1 / 3)  # where truncation (h**2) and rounding (eps / h) of a central difference are of one size


def close(a, b, factor=8):
    """Assert that two results differ by at most `factor` roundings of their largest entry.

    eps is that of the coarser of the two dtypes; `factor` is what the caller derives from the
    number of operations (1 for one rounding, n for a sum of n terms).
    """
    a, b = _array(a), _array(b)
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    if not a.size:
        return
    eps = max(float(np.finfo(x.dtype).eps) if x.dtype.kind == "f" else 0.0 for x in (a, b))
    a, b = a.astype(np.float64), b.astype(np.float64)
    bound = factor * eps * max(np.abs(a).max(), np.abs(b).max())
    error = np.abs(a - b).max()
    assert error <= bound, f"differ by {error:.3e}, allowed {bound:.3e}\n{a}\n{b}"


def assert_gradients(fn, *inputs, order=2, factor=64, seed=0):
    """Assert that reverse mode, forward mode and central differences agree for `fn`, up to a given order.

    fn: float64 Tensors (as many as `inputs`) to one float64 Tensor, smooth around the inputs.
    inputs: arrays or Tensors; entries of moderate size.
    order: 2 also checks the gradient function itself, as a function of the inputs and the cotangent.
    factor: how many roundings one evaluation of `fn` may be off.

    For a random cotangent v and random direction u of each input:
    reverse mode:  <J^T v, u> = d/dt <v, fn(x + t u)>, by central differences.
    forward mode:  <v, J u> = <J^T v, u>, which holds to rounding.
    """
    rng = np.random.default_rng(seed)
    points = [np.array(_array(x), dtype=np.float64) for x in inputs]
    y, pull = tg.vjp(fn, *_tensors(points))
    v = rng.standard_normal(y.shape)
    pulled = pull(tg.tensor(v))
    assert len(pulled) == len(points)
    for i, (point, gradient) in enumerate(zip(points, pulled)):
        assert gradient.shape == point.shape, f"input {i}: {gradient!r}"
        assert gradient.dtype == np.float64, f"input {i}: {gradient!r}"
        u = np.asarray(rng.standard_normal(point.shape))
        expected, slack = _difference(fn, points, i, u, v, factor)
        by_reverse = float(np.sum(gradient.numpy() * u))
        assert abs(by_reverse - expected) <= slack, (
            f"order {order}, input {i}: reverse mode {by_reverse!r}, differences {expected!r} ± {slack:.1e}"
        )
        directions = [np.zeros_like(x) for x in points]
        directions[i] = u
        pushed = tg.jvp(fn, _tensors(points), _tensors(directions))[1].numpy()
        by_forward = float(np.sum(v * pushed))
        size = np.sum(np.abs(gradient.numpy() * u)) + np.sum(np.abs(v * pushed))
        assert abs(by_forward - by_reverse) <= factor * EPS * size + np.finfo(np.float64).tiny, (
            f"order {order}, input {i}: forward mode {by_forward!r}, reverse mode {by_reverse!r}"
        )
    if order > 1:

        def gradients(*args):
            parts = tg.vjp(fn, *args[:-1])[1](args[-1])
            return tg.concat([tg.reshape(part, (-1,)) for part in parts])

        assert_gradients(gradients, *points, v, order=order - 1, factor=8 * factor, seed=seed + 1)


def _difference(fn, points, i, u, v, factor):
    """Derivative of <v, fn> along u in input i, and how far it may be off.

    Two steps, h and 2h, show the truncation: D(2h) - D(h) is three times the error of D(h).
    """
    scale = max(1.0, float(np.abs(points[i]).max(initial=0)))
    length = max(1.0, float(np.abs(u).max(initial=0)))
    h = STEP * scale / length

    def at(t):
        moved = [x + t * u if j == i else x for j, x in enumerate(points)]
        terms = v * fn(*_tensors(moved)).numpy()
        return float(np.sum(terms)), float(np.sum(np.abs(terms)))

    (plus, size), (minus, _) = at(h), at(-h)
    near = (plus - minus) / (2 * h)
    far = (at(2 * h)[0] - at(-2 * h)[0]) / (4 * h)
    # moving x rounds too: an error of eps * scale in x is eps * scale * slope in the result
    rounding = factor * EPS * (size + scale * abs(near)) / h
    return near, abs(far - near) + rounding


def _tensors(arrays):
    return [tg.tensor(x) for x in arrays]


def _array(x):
    return np.asarray(x.numpy() if isinstance(x, tg.Tensor) else x)
