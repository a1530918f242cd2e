"""inspect.watch and find_anomaly: the first NaN or infinity, forward and backward."""

import gc
import weakref

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.inspect import AnomalyError, find_anomaly, watch

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


def test_the_forward_error_leads_to_the_operation_its_step_and_its_line():
    tape = watch(tg.Tape())

    def program(x):
        with tape:
            for t in range(5):
                with tg.scope("loop", step=t):
                    x = tg.log(x)

    with pytest.raises(AnomalyError) as caught:
        program(tg.tensor([3.0, 1.0, 0.0]))  # log(0) is -inf at once
    anomaly = caught.value.anomaly
    assert len(tape) == 1  # it stopped where it happened
    assert (anomaly.direction, anomaly.operation, anomaly.number) == ("forward", "log", 0)
    assert (anomaly.step, anomaly.scope, anomaly.kind, anomaly.entry) == (0, "loop", "infinity", (2,))
    assert (anomaly.count, anomaly.size, anomaly.outside) == (1, 3, False)
    text = str(caught.value)
    assert "test_watch.py" in text and "x = tg.log(x)" in text
    assert "(3,) float32  from 0 to 3" in text and "1 infinite" in text
    assert isinstance(caught.value, tg.errors.DataError)


def test_what_comes_from_outside_is_not_blamed_on_the_operation():
    x = tg.tensor([1.0, float("nan")])
    with pytest.raises(AnomalyError, match="outside the tape, first met by exp"), watch(tg.Tape()):
        tg.exp(x)


def test_the_backward_error_names_the_rule_that_made_it():
    x = tg.tensor([4.0, 0.0])
    with watch(tg.Tape()) as tape:
        y = tg.sum(tg.sqrt(x) * 2.0)
    with pytest.raises(AnomalyError) as caught:
        tape.gradient(y, x)
    anomaly = caught.value.anomaly
    assert (anomaly.direction, anomaly.operation, anomaly.kind, anomaly.entry) == ("backward", "sqrt", "infinity", (1,))
    assert "x̄ = g · (0.5 / y)" in str(caught.value)


def test_backward_and_grad_accumulation_are_watched_too():
    x = tg.tensor([0.0], requires_grad=True)
    with watch(tg.Tape()) as tape:
        y = tg.sum(tg.sqrt(x))
    with pytest.raises(AnomalyError):
        tape.backward(y)
    assert x.grad is None


def test_a_gradient_that_nobody_wants_raises_nothing():
    x, w = tg.tensor([0.0]), tg.tensor([2.0])
    with watch(tg.Tape()) as tape:
        y = tg.sum(tg.sqrt(x) * w)
    assert tape.gradient(y, w).tolist() == [0.0]


def test_forward_mode_is_watched():
    x = tg.tensor([0.0])
    with watch(tg.Tape()) as tape:
        y = tg.sqrt(x)
    with pytest.raises(AnomalyError, match="infinity in the tangent of sqrt"):
        tape.jvp(y, x, tg.tensor([1.0]))


def test_a_bad_cotangent_is_said_to_come_with_the_sweep():
    x = tg.tensor([1.0])
    with watch(tg.Tape()) as tape:
        y = x * 2.0
    with pytest.raises(AnomalyError, match="NaN in what the sweep began with"):
        tape.gradient(y, x, cotangent=tg.tensor([float("nan")]))


def test_infinities_may_pass():
    x = tg.tensor([1.0, 0.0])
    with watch(tg.Tape(), infinity=False) as tape:
        y = tg.sum(tg.where(x > 0, tg.log(x), 0.0))
    assert tape.gradient(y, x).tolist() == [1.0, 0.0]
    with pytest.raises(AnomalyError, match="NaN in the result of multiply"), watch(tg.Tape(), infinity=False):
        tg.log(x) * 0.0


def test_a_recorded_tape_is_looked_at_at_once():
    x = tg.tensor([1.0, 0.0])
    with tg.Tape() as tape:
        tg.log(x)
    with pytest.raises(AnomalyError, match="result of log"):
        watch(tape)


def test_finite_programs_give_what_they_give_unwatched():
    cell, xs = tg.rnn.LSTMCell(2, 3, rng=0), tg.ones((5, 2, 2))
    parameters = list(cell.parameters())
    found = []
    for make in (tg.Tape, lambda: watch(tg.Tape())):
        with make() as tape:
            y = tg.sum(tg.rnn.scan(cell, xs)[0] ** 2)
        found.append([g.numpy() for g in tape.gradient(y, parameters)])
    assert all(np.array_equal(a, b) for a, b in zip(*found))


def test_a_watched_tape_inside_another_can_be_differentiated_again():
    x = tg.tensor([2.0])
    with tg.Tape() as outer:
        with watch(tg.Tape()) as inner:
            y = tg.sum(x**3)
        slope = inner.gradient(y, x)
    assert outer.gradient(slope, x, cotangent=tg.ones((1,))).tolist() == [12.0]


def test_an_unwatched_tape_is_untouched():
    before = tg.Tape.sweep_backward, tg.Tape.sweep_forward
    watch(tg.Tape())
    assert (tg.Tape.sweep_backward, tg.Tape.sweep_forward) == before
    tape = tg.Tape()
    assert type(tape) is tg.Tape and tape.append == tape.records.append


def test_a_watched_tape_is_freed_without_the_collector():
    gc.disable()
    try:
        with watch(tg.Tape()) as tape:
            tg.exp(tg.tensor([1.0]))
        ref = weakref.ref(tape)
        del tape
        assert ref() is None
    finally:
        gc.enable()


def test_find_anomaly_looks_at_values_then_at_gradients():
    with tg.Tape() as tape:
        tg.sum(tg.exp(tg.tensor([1.0])))
    assert find_anomaly(tape) is None
    with tg.Tape() as tape:
        y = tg.sum(tg.sqrt(tg.tensor([[1.0, 0.0]])))
    found = find_anomaly(tape, y)
    assert (found.direction, found.entry) == ("backward", (0, 1))
    assert find_anomaly(tape, y, infinity=False) is None


def test_a_fused_record_says_where_in_time():
    layer = tg.rnn.RNN(1, 2, nonlinearity="relu", rng=0)
    xs = np.ones((6, 1, 1), "f")
    xs[3] = np.nan
    with tg.Tape() as tape:
        layer(tg.tensor(xs))
    assert find_anomaly(tape).entry == (3, 0, 0)


def test_only_tapes_are_watched():
    with pytest.raises(tg.errors.TapeError, match=r"takes a tg\.Tape"):
        watch(3)
