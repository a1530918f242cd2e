"""checkpoint: the derivatives of the function it wraps, from a tape that keeps its inputs alone."""

import numpy as np
import pytest
from helpers import assert_gradients, close

import tinygrad_rnn as tg
from tinygrad_rnn.errors import GradientError


def steps(x, w, count=5):
    for _ in range(count):
        x = tg.tanh(tg.matmul(x, w)) + x
    return x


def case(seed=0):
    rng = np.random.default_rng(seed)
    return tg.tensor(rng.standard_normal((2, 3))), tg.tensor(rng.standard_normal((3, 3)))


def identical(a, b):
    """The same operations in the same order on the same values: not one bit differs."""
    assert np.array_equal(a.numpy(), b.numpy())
    assert a.dtype == b.dtype


def test_a_checkpointed_function_has_the_same_value_and_gradient_from_fewer_records():
    x, w = case()
    with tg.Tape() as plain:
        y = steps(x, w)
    with tg.Tape() as short:
        z = tg.checkpoint(steps)(x, w)
    assert (len(plain), len(short)) == (15, 1)
    identical(y, z)
    g = np.random.default_rng(1).standard_normal((2, 3))
    for expected, found in zip(plain.gradient(y, [x, w], cotangent=g), short.gradient(z, [x, w], cotangent=g)):
        # the cotangents of w meet in the same order, so that nothing is rounded otherwise
        identical(expected, found)


def test_a_checkpointed_function_keeps_no_intermediate_array():
    x, w = case()
    with tg.Tape() as tape:
        tg.checkpoint(steps)(x, w)
    kept = [value for value in (*tape[0].values, tape[0].result) if isinstance(value, np.ndarray)]
    assert len(kept) == 3


def test_tensors_that_a_checkpointed_function_closes_over_get_their_gradients():
    x, w = case()
    p = tg.Parameter(w)
    with tg.Tape() as plain:
        y = tg.sum(steps(x, p))
    with tg.Tape() as tape:
        z = tg.sum(tg.checkpoint(lambda x: steps(x, p))(x))
        z.backward()
    identical(p.grad, plain.gradient(y, p))
    identical(tape.gradient(z, x), plain.gradient(y, x))


def test_a_closed_over_result_of_the_same_tape_passes_its_gradient_on():
    x, w = case()
    with tg.Tape() as tape:
        scaled = w * 2.0
        z = tg.sum(tg.checkpoint(lambda x: tg.matmul(x, scaled) + scaled[0])(x))
    expected = 2 * (np.sum(x.numpy(), 0)[:, None] + np.array([[2.0], [0.0], [0.0]])) * np.ones((3, 3))
    close(tape.gradient(z, w), expected, 8)


def test_a_checkpoint_runs_again_with_the_values_that_the_tape_saw():
    x, w = case()
    p = tg.Parameter(w)
    with tg.Tape() as plain:
        y = tg.sum(steps(x, p))
    expected = plain.gradient(y, p)
    with tg.Tape() as tape:
        z = tg.sum(tg.checkpoint(lambda x: steps(x, p))(x))
    p.assign(np.zeros((3, 3)))
    identical(tape.gradient(z, p), expected)
    assert not p.numpy().any()  # and leaves the new values in place


# BUG: as for nested tapes in test_transforms.py: primitive.locate keeps the leaf itself as its value.
def test_a_checkpoint_on_nested_tapes_runs_again_with_the_values_that_they_saw():
    p = tg.Parameter(np.array([2.0]))
    with tg.Tape() as outer:
        with tg.Tape() as inner:
            loss = tg.checkpoint(lambda: tg.sum(p * p * p))()
        p.assign(np.array([5.0]))
        slope = inner.gradient(loss, p)
    assert slope.tolist() == [12.0]
    assert outer.gradient(slope, p, cotangent=[1.0]).tolist() == [12.0]
    assert p.tolist() == [5.0]


@pytest.mark.parametrize("fn", [tg.checkpoint(steps), lambda x, w: tg.checkpoint(lambda x: steps(x, w))(x)])
def test_a_checkpointed_function_differentiates_twice_and_in_forward_mode(fn):
    x, w = case()
    assert_gradients(fn, x * 0.3, w * 0.3)


def test_checkpoints_nest():
    x, w = case()
    inner = tg.checkpoint(lambda x, w: steps(x, w, 2))
    nested = tg.checkpoint(lambda x, w: inner(inner(x, w), w))
    assert_gradients(nested, x * 0.3, w * 0.3)


def test_a_checkpointed_function_may_return_a_structure():
    x, w = case()

    def fn(x, w):
        return {"a": tg.matmul(x, w), "b": tg.exp(x), "c": x * 1.0}

    with tg.Tape() as tape:
        out = tg.checkpoint(fn)(x, w)
        loss = tg.sum(out["a"] * out["b"])  # c is never used
    with tg.Tape() as plain:
        out = fn(x, w)
        expected = tg.sum(out["a"] * out["b"])
    assert len(tape) == 3
    for found, wanted in zip(tape.gradient(loss, [x, w]), plain.gradient(expected, [x, w])):
        close(found, wanted, 8)
    close(tape.jvp(loss, [x, w], [x, w]), plain.jvp(expected, [x, w], [x, w]), 32)


def test_keyword_arguments_and_plain_numbers_go_through_a_checkpoint():
    x = case()[0]
    with tg.Tape() as tape:
        y = tg.sum(tg.checkpoint(lambda scale, x, *, power: scale * x**power)(3.0, x, power=2))
    close(tape.gradient(y, x), 6 * x.numpy(), 2)


def test_outside_a_tape_a_checkpoint_is_a_plain_call():
    calls = []
    fn = tg.checkpoint(lambda x: calls.append(1) or x * 2.0)
    assert fn(tg.tensor(1.0)).item() == 2.0
    assert len(calls) == 1


def test_a_checkpointed_function_that_returns_no_tensor_raises():
    with pytest.raises(GradientError, match="returns Tensors"), tg.Tape():
        tg.checkpoint(lambda x: 1.0)(tg.tensor(1.0))
