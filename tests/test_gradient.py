"""Gradients, directional derivatives and backward on one tape: values, structures, aliasing and errors."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, GradientError, ShapeError, TapeError, UnusedSourceError


def test_a_second_sweep_gives_the_same_gradient():
    x = tg.tensor(np.linspace(0.5, 2, 7))
    with tg.Tape() as tape:
        y = tg.sum(tg.exp(x) * x + tg.sin(x) * x)
    first = tape.gradient(y, x).numpy().copy()
    tape.jvp(y, x, np.ones(7))
    assert np.array_equal(tape.gradient(y, x).numpy(), first)


def test_gradients_come_in_the_structure_of_their_sources():
    a, b = tg.tensor([1.0]), tg.tensor([2.0])
    with tg.Tape() as tape:
        y = tg.sum(a * b)
    assert tape.gradient(y, a).tolist() == [2.0]
    assert [g.tolist() for g in tape.gradient(y, [a, b])] == [[2.0], [1.0]]
    assert isinstance(tape.gradient(y, (a, b)), tuple)
    assert {k: g.tolist() for k, g in tape.gradient(y, {"b": b, "a": a}).items()} == {"b": [1.0], "a": [2.0]}


def test_gradient_is_also_given_for_intermediate_results_and_for_the_target_itself():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = x * x
        z = tg.sum(y * y)
    assert tape.gradient(z, [y, z])[0].tolist() == [2.0, 8.0]
    assert tape.gradient(z, z).item() == 1.0


def test_gradients_share_no_memory_with_the_tape_with_the_cotangent_or_with_each_other():
    a, b, c = (tg.tensor(np.ones((2, 3))) for _ in range(3))
    cotangent = tg.tensor(np.ones((2, 3)))
    with tg.Tape() as tape:
        y = tg.reshape(tg.permute_dims(a, (1, 0)), (6,))
        z = tg.reshape(y, (2, 3)) + b + (-c) + a * 1.0
    sources = [a, b, b, c, y, z]
    gradients = [g._array for g in tape.gradient(z, sources, cotangent=cotangent)]
    held = [cotangent._array] + [v for record in tape for v in (*record.values, record.result)]
    held = [v for v in held if isinstance(v, np.ndarray)]
    for i, gradient in enumerate(gradients):
        assert gradient.flags.writeable
        assert not any(np.shares_memory(gradient, other) for other in held + gradients[:i]), i
    again = [g.numpy() for g in tape.gradient(z, sources, cotangent=cotangent)]
    for gradient in gradients:
        gradient += 1000.0
    for before, now in zip(again, tape.gradient(z, sources, cotangent=cotangent)):
        assert np.array_equal(before, now.numpy())


def test_an_unused_source_raises_unless_zeros_are_asked_for():
    x, other = tg.tensor([1.0, 2.0]), tg.tensor([3.0], dtype="float64")
    with tg.Tape() as tape:
        y = tg.sum(x)
    with pytest.raises(UnusedSourceError, match=r"'w' of shape \(1,\) was never used.*unused=\"zeros\""):
        tape.gradient(y, {"x": x, "w": other})
    zeros = tape.gradient(y, other, unused="zeros")
    assert zeros.tolist() == [0.0]
    assert zeros.dtype == np.float64
    with pytest.raises(ArgumentError, match="unused must be"):
        tape.gradient(y, x, unused="zero")


def test_a_source_that_reaches_the_target_only_through_a_comparison_is_unused():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = tg.sum(tg.where(x > 1.5, 1.0, 0.0))
    with pytest.raises(UnusedSourceError, match="without a derivative"):
        tape.gradient(y, x)


def test_an_integer_source_raises_and_names_the_cast():
    index = tg.tensor([1, 2])
    with tg.Tape() as tape:
        y = tg.sum(index * 1.5)
    with pytest.raises(GradientError, match=r"int64.*x = x\.astype\(tg\.float32\)"):
        tape.gradient(y, index)


def test_a_target_that_is_not_a_scalar_raises_and_names_sum_and_cotangent():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = x * x
    with pytest.raises(GradientError, match=r"shape \(2,\).*tg\.sum\(loss\).*cotangent="):
        tape.gradient(y, x)
    with pytest.raises(ShapeError, match=r"cotangent must have shape \(2,\); got \(3,\)"):
        tape.gradient(y, x, cotangent=np.ones(3))
    assert tape.gradient(y, x, cotangent=[1.0, 10.0]).tolist() == [2.0, 40.0]


def test_a_target_from_another_tape_raises():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape():
        y = tg.sum(x * x)
    with tg.Tape() as other:
        tg.sum(x)
    with pytest.raises(TapeError, match="not recorded on this tape"):
        other.gradient(y, x)


def test_a_zero_cotangent_through_log_at_a_negative_number_is_exactly_zero():
    x = tg.tensor([-1.0, 0.0, 4.0], dtype="float64")
    with np.errstate(all="ignore"), tg.Tape() as tape:
        y = tg.sum(tg.where(x > 0, tg.log(x), 0.0))
    assert tape.gradient(y, x).tolist() == [0.0, 0.0, 0.25]
    assert tape.jvp(y, x, [-1.0, 1.0, 0.0]).item() == 0.0


def test_a_gradient_has_the_shape_and_dtype_of_its_source_under_broadcasting_and_promotion():
    a, b = tg.tensor(np.ones((3, 1), np.float32)), tg.tensor(np.ones((2, 1, 4)))
    with tg.Tape() as tape:
        y = tg.sum(a * b)
    ga, gb = tape.gradient(y, [a, b])
    assert (ga.shape, ga.dtype, gb.shape, gb.dtype) == ((3, 1), np.float32, (2, 1, 4), np.float64)
    assert ga.tolist() == [[8.0]] * 3
    assert gb.tolist() == [[[3.0] * 4]] * 2
    assert tape.jvp(y, a, np.ones((3, 1))).dtype == np.float64


# ---- jvp of a tape


def test_jvp_takes_several_sources_and_targets_and_keeps_the_targets_structure():
    a, b = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0])
    with tg.Tape() as tape:
        y = {"product": a * b, "unrelated": a * a}
    tangents = tape.jvp(y, [a, b], [[0.0, 0.0], [1.0, 10.0]])
    assert {k: t.tolist() for k, t in tangents.items()} == {"product": [1.0, 20.0], "unrelated": [0.0, 0.0]}


def test_jvp_pairs_tangents_with_sources_by_name():
    a, b = tg.tensor(2.0), tg.tensor(3.0)
    with tg.Tape() as tape:
        y = a * b
    assert tape.jvp(y, {"a": a, "b": b}, {"b": 1.0, "a": 0.0}).item() == 2.0
    with pytest.raises(ShapeError, match="'b'"):
        tape.jvp(y, {"a": a, "b": b}, {"a": 1.0, "c": 0.0})


def test_jvp_raises_for_a_wrong_number_or_shape_of_tangents():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = x * x
    with pytest.raises(ShapeError, match="1 sources and 2 tangents"):
        tape.jvp(y, [x], [np.ones(2), np.ones(2)])
    with pytest.raises(ShapeError, match=r"tangent must have shape \(2,\); got \(3,\)"):
        tape.jvp(y, x, np.ones(3))


# ---- backward


def test_backward_adds_to_grad_of_the_leaves_that_require_it_and_adds_again():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    plain = tg.tensor([3.0, 4.0])
    assert x.grad is None
    with tg.Tape():
        loss = tg.sum(x * x * plain)
        loss.backward()
        assert x.grad.tolist() == [6.0, 16.0]
        first = x.grad
        loss.backward()
    assert x.grad.tolist() == [12.0, 32.0]
    assert first.tolist() == [6.0, 16.0]  # the earlier Tensor was not written to
    assert plain.grad is None
    x.grad = None
    assert x.grad is None


def test_backward_takes_a_cotangent_and_raises_for_a_vector_without_one():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.Tape():
        y = x * x
        with pytest.raises(GradientError, match=r"gradient needs a scalar"):
            y.backward()
        y.backward(tg.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 40.0]


def test_backward_leaves_alone_what_the_target_never_used():
    x, other = tg.tensor([1.0], requires_grad=True), tg.tensor([1.0], requires_grad=True)
    with tg.Tape():
        tg.exp(other)
        tg.sum(x * 2.0).backward()
    assert x.grad.tolist() == [2.0]
    assert other.grad is None


def test_two_leaves_that_get_the_same_cotangent_do_not_share_their_grad():
    a, b = (tg.tensor(np.ones(3), requires_grad=True) for _ in range(2))
    with tg.Tape():
        (a + b).backward(np.ones(3))
    assert not np.shares_memory(a.grad._array, b.grad._array)


def test_backward_without_a_tape_raises_and_shows_what_to_write():
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(TapeError, match=r"was not recorded. Write:\n +with tg\.Tape\(\)(.|\n)*loss\.backward\(\)"):
        tg.sum(x * x).backward()


def test_backward_on_a_tape_that_is_gone_raises_and_says_so():
    x = tg.tensor([1.0], requires_grad=True)
    with tg.Tape():
        loss = tg.sum(x * x)
    with pytest.raises(TapeError, match="on a tape that is gone"):
        loss.backward()


def test_backward_with_no_leaf_that_requires_a_gradient_raises_and_names_the_ways_out():
    with tg.Tape():
        loss = tg.sum(tg.tensor([1.0]) * 2.0)
        with pytest.raises(GradientError, match=r"requires_grad=True.*tape\.gradient"):
            loss.backward()


def test_a_leaf_used_before_and_after_assign_gets_the_gradient_of_the_values_the_tape_saw():
    w = tg.Parameter([2.0, 3.0])
    with tg.Tape() as tape:
        loss = tg.sum(w * w)
    w.assign(np.array([100.0, 100.0]))
    assert tape.gradient(loss, w).tolist() == [4.0, 6.0]
    assert w.tolist() == [100.0, 100.0]
