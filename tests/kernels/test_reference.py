"""The NumPy kernels: the equations of their docstrings, written once more one number at a time."""

import inspect
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn
from tinygrad_rnn.kernels import reference

EPS = float(np.finfo(np.float64).eps)
STEPS, BATCH, INPUTS, HIDDEN = 3, 2, 3, 2
# a step is products of INPUTS and HIDDEN terms and some ten operations; errors pass through the slopes (below 1) of
# the next
ROUNDINGS = STEPS * (INPUTS + HIDDEN + 10)
every_way = pytest.mark.parametrize(
    ("lengths", "reverse"),
    [(None, False), (None, True), (np.array([3, 1]), False), (np.array([2, 3]), True)],
    ids=["forward", "reverse", "forward with lengths", "reverse with lengths"],
)


def sigmoid(a):
    return 1 / (1 + math.exp(-a))


def product(weight, rows, h):
    """The given rows of weight @ h, one number at a time."""
    return [sum(float(weight[row, k]) * h[k] for k in range(HIDDEN)) for row in rows]


def gate(k):
    return range(k * HIDDEN, (k + 1) * HIDDEN)


def elman_element(xw, w_hh, h, j, nonlinearity):
    a = xw[j] + product(w_hh, [j], h)[0]
    return math.tanh(a) if nonlinearity == "tanh" else max(a, 0.0)


def lstm_element(xw, w_hh, h, c, j):
    a = [xw[gate(k)[j]] + product(w_hh, [gate(k)[j]], h)[0] for k in range(4)]
    i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), math.tanh(a[2]), sigmoid(a[3])
    after = f * c[j] + i * g
    return o * math.tanh(after), after


def gru_element(xw, w_hh, b_hn, h, j, reset_after):
    r = [sigmoid(xw[row] + product(w_hh, [row], h)[0]) for row in gate(0)]
    z = sigmoid(xw[gate(1)[j]] + product(w_hh, [gate(1)[j]], h)[0])
    row = gate(2)[j]
    if reset_after:
        n = math.tanh(xw[row] + r[j] * (product(w_hh, [row], h)[0] + b_hn[j]))
    else:
        n = math.tanh(xw[row] + product(w_hh, [row], [r[k] * h[k] for k in range(HIDDEN)])[0] + b_hn[j])
    return (1 - z) * n + z * h[j]


def by_loops(step, xw, starts, lengths, reverse):
    """Run ``step(inputs, *parts, j) -> parts of element j`` over every step, lane and element."""
    results = [np.empty((STEPS, BATCH, HIDDEN)) for _ in starts]
    for b in range(BATCH):
        parts = [[float(value) for value in start[b]] for start in starts]
        for t in range(STEPS)[:: -1 if reverse else 1]:
            if lengths is None or t < lengths[b]:
                elements = [step([float(value) for value in xw[t, b]], *parts, j) for j in range(HIDDEN)]
                parts = [list(part) for part in zip(*elements)]
            for result, part in zip(results, parts):
                result[t, b] = part
    return results


def arrays(gates, parts=1, dtype="float64"):
    """The inputs and their weights and bias, the recurrent weights, and states."""
    rng = np.random.default_rng(gates)

    def draw(*shape):
        return rng.normal(size=shape).astype(dtype)

    rows = gates * HIDDEN
    inputs = draw(STEPS, BATCH, INPUTS), draw(rows, INPUTS), draw(rows)
    return inputs, draw(rows, HIDDEN), [draw(BATCH, HIDDEN) for _ in range(parts)]


def input_products(xs, w_ih, bias):
    """W_ih x + bias of every step and lane, one number at a time."""
    found = np.empty((*xs.shape[:2], len(w_ih)))
    for t, b, row in np.ndindex(found.shape):
        found[t, b, row] = sum(float(w) * float(x) for w, x in zip(w_ih[row], xs[t, b]))
        found[t, b, row] += 0.0 if bias is None else float(bias[row])
    return found


def assert_close(found, wanted):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= ROUNDINGS * EPS * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("name", reference.__all__)
def test_every_kernel_says_what_it_takes_and_returns(name):
    text = inspect.getdoc(getattr(reference, name))
    assert text
    assert "Returns" in text
    if name.split("_")[0] in ("elman", "gru", "lstm", "reservoir"):
        assert name.endswith("_backward") or "(T, B, " in text


@every_way
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_elman_forward_is_its_equation(nonlinearity, lengths, reverse):
    inputs, w_hh, (h0,) = arrays(1)

    def step(x, h, j):
        return (elman_element(x, w_hh, h, j, nonlinearity),)

    for given in (inputs, (*inputs[:2], None)):
        (wanted,) = by_loops(step, input_products(*given), [h0], lengths, reverse)
        assert_close(reference.elman_forward(*given, w_hh, h0, lengths, reverse, nonlinearity), wanted)


@every_way
def test_lstm_forward_is_its_equations(lengths, reverse):
    inputs, w_hh, (h0, c0) = arrays(4, parts=2)
    xw = input_products(*inputs)
    wanted_h, wanted_c = by_loops(lambda x, h, c, j: lstm_element(x, w_hh, h, c, j), xw, [h0, c0], lengths, reverse)
    h, c, gates = reference.lstm_forward(*inputs, w_hh, h0, c0, lengths, reverse)
    assert_close(h, wanted_h)
    assert_close(c, wanted_c)
    assert gates.shape == (STEPS, BATCH, 4 * HIDDEN)


@every_way
@pytest.mark.parametrize("reset_after", [True, False], ids=["reset after", "reset before"])
def test_gru_forward_is_its_equations(reset_after, lengths, reverse):
    inputs, w_hh, (h0,) = arrays(3)
    b_hn = np.array([0.3, -0.7])

    def step(x, h, j):
        return (gru_element(x, w_hh, b_hn, h, j, reset_after),)

    (wanted,) = by_loops(step, input_products(*inputs), [h0], lengths, reverse)
    h, gates, inner = reference.gru_forward(*inputs, w_hh, b_hn, h0, lengths, reverse, reset_after)
    assert_close(h, wanted)
    assert gates.shape == (STEPS, BATCH, 3 * HIDDEN)
    assert inner.shape == h.shape


def forward_and_backward(kind, dtype, lengths, reverse, options):
    """What goes into a backward kernel, and a function that runs it; its results end with the cotangent of xs."""
    forward, backward = getattr(reference, f"{kind}_forward"), getattr(reference, f"{kind}_backward")
    gates, parts = {"elman": (1, 1), "lstm": (4, 2), "gru": (3, 1)}[kind]
    (xs, w_ih, bias), w_hh, starts = arrays(gates, parts, dtype)
    extra = [np.array([0.3, -0.7], dtype)] if kind == "gru" else []
    kept = forward(xs, w_ih, bias, w_hh, *extra, *starts, lengths, reverse, *options)
    kept = list(kept) if isinstance(kept, tuple) else [kept]
    rng = np.random.default_rng(9)
    cotangents = [rng.normal(size=(STEPS, BATCH, HIDDEN)).astype(dtype)]
    cotangents += [rng.normal(size=(BATCH, HIDDEN)).astype(dtype) for _ in range(parts)]
    given = [*cotangents, *kept, xs, w_ih, w_hh, *starts]

    def run():
        dx = np.full_like(xs, np.nan)
        return [*backward(*given, dx, lengths, reverse, *options), dx]

    return given, run


EVERY_KERNEL = [("elman", ["tanh"]), ("elman", ["relu"]), ("lstm", []), ("gru", [True]), ("gru", [False])]


@every_way
@pytest.mark.parametrize(("kind", "options"), EVERY_KERNEL, ids=str)
def test_a_backward_kernel_does_not_change_its_inputs(kind, options, lengths, reverse):
    given, run = forward_and_backward(kind, "float64", lengths, reverse, options)
    before = [array.copy() for array in given]
    first = [array.copy() for array in run()]
    for array, copy in zip(given, before, strict=True):
        assert np.array_equal(array, copy)
    for array, copy in zip(run(), first, strict=True):
        assert np.array_equal(array, copy)


@every_way
@pytest.mark.parametrize(("kind", "options"), EVERY_KERNEL, ids=str)
def test_what_a_backward_kernel_returns_is_its_own(kind, options, lengths, reverse):
    """No result shares memory with an input or with another result, so that a sweep may add to it in place."""
    given, run = forward_and_backward(kind, "float64", lengths, reverse, options)
    results = run()
    for k, result in enumerate(results):
        assert not any(np.shares_memory(result, other) for other in (*given, *results[:k]))


@pytest.mark.parametrize(("kind", "options"), EVERY_KERNEL, ids=str)
def test_kernels_stay_in_float32(kind, options):
    given, run = forward_and_backward(kind, "float32", np.array([3, 1]), False, options)
    assert {array.dtype for array in (*given, *run())} == {np.dtype("float32")}


def test_an_import_from_the_root_of_the_repository_says_what_to_import():
    root = Path(tinygrad_rnn.__file__).resolve().parents[1]
    if not (root / "kernels").is_dir():
        pytest.skip("the package is installed: there is no folder kernels beside it")
    command = [sys.executable, "-c", "import kernels"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    found = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert found.returncode != 0
    assert "ImportError" in found.stderr
    assert "`import tinygrad_rnn.kernels`" in found.stderr
