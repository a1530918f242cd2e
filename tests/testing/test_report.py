"""GradReport: readable, true for a pass, and able to print a program that repeats the check."""

import contextlib
import io

import numpy as np
import pytest
from testing.planted import planted, wrong_square

import tinygrad_rnn as tg
from tinygrad_rnn.errors import TinygradRNNError
from tinygrad_rnn.testing import GradientCheckError, GradReport, autograd_function, check_gradients

A = np.array([[0.3, -1.2, 2.5], [4.1, 0.7, -0.9]])


def detached(x):
    """A module-level function with a wrong gradient."""
    return x * x.detach()


def run(program):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, "pasted", "exec"), {"__name__": "pasted"})
    return out.getvalue()


def test_a_pass_is_true_and_says_what_would_have_shown():
    report = check_gradients(tg.tanh, A)
    assert report and report.check() is report
    assert str(report).startswith("pass: the gradient of tanh is right; an error of")


def test_a_failure_names_entry_numbers_primitive_and_line():
    with wrong_square(1.5) as wrong:
        report = check_gradients(lambda x: tg.sum(wrong(x)), A)  # the line that made the record
    assert not report and report.verdict == "fail"
    assert report.got == pytest.approx(1.5 * report.expected)
    assert report.expected == pytest.approx(2 * A[report.index])
    assert report.primitive == "planted_square" and "test_report.py:" in report.where
    text = str(report)
    for part in (
        "reverse mode",
        f"input 0, index {list(report.index)}",
        "planted_square",
        report.where,
        "to reproduce",
    ):
        assert part in text


def test_the_guilty_one_at_a_kink_is_found():
    wrong = tg.elementwise("planted_kink", lambda xp, x: xp.maximum(x, 0.0), derivative=lambda xp, y, x: 1.5 * (x >= 0))
    try:
        report = check_gradients(lambda x: tg.sum(wrong(x)), np.zeros(2), kinks="subgradient")
    finally:
        del tg.registry["planted_kink"]
    assert report.verdict == "fail" and report.primitive == "planted_kink"
    assert 'registers "planted_kink"' in report.reproduce() or 'register "planted_kink"' in report.reproduce()


def test_a_foreign_function_is_reproduced_with_its_wrapper():
    anp = pytest.importorskip("autograd.numpy")

    def halved(x):
        return anp.tanh(x) / 2

    report = check_gradients(autograd_function(halved), A)
    assert "the gradient of" in str(report) and "halved is right" in str(report)
    assert "fn = autograd_function(inner)" in report.reproduce()
    compile(report.reproduce(), "program", "exec")


def test_check_raises_with_the_report():
    with wrong_square(2.0) as wrong, pytest.raises(AssertionError, match="is wrong") as caught:
        check_gradients(wrong, A).check()
    assert isinstance(caught.value, GradientCheckError) and isinstance(caught.value, TinygradRNNError)
    assert isinstance(caught.value.report, GradReport) and caught.value.report.verdict == "fail"


def test_inconclusive_is_false_and_does_not_raise():
    report = check_gradients(tg.abs, np.zeros(2))
    assert not report and report.check() is report
    assert "could not be judged" in str(report) and "slopes between" in str(report)


def test_a_closure_is_reproduced_with_what_it_closes_over():
    scale = 3.0
    weights = np.arange(3.0)

    def wrong(x):
        return scale * tg.tanh(x) * x.detach() + weights

    program = check_gradients(wrong, A).reproduce()
    assert "scale = 3.0" in program and "def wrong(x):" in program
    assert run(program).startswith("fail")


def test_a_lambda_is_reproduced():
    report = check_gradients(
        lambda x: tg.exp(x) * x.detach(),
        A,
        seed=5,
        modes=("rev",),
    )
    program = report.reproduce()
    assert "seed=5" in program and "modes=('rev',)" in program
    assert run(program).startswith("fail")


def test_a_function_of_a_module_is_imported_or_copied():
    assert run(check_gradients(detached, A).reproduce()).startswith("fail")


def test_a_function_without_source_is_reproduced_from_its_tape():
    with wrong_square(1.5) as wrong:
        fn = eval("lambda x: tg.sum(tg.sin(x) * wrong(x), axis=0)", {"tg": tg, "wrong": wrong})
        program = check_gradients(fn, A).reproduce()
        assert 'tg.registry["sin"]' in program and "axis=(0,)" in program
        assert run(program).startswith("fail")


def test_what_cannot_be_reproduced_is_said():
    fn = eval("lambda x: x * x.detach()", {})
    assert "fn = ...  # <lambda>: its source is not to be had" in check_gradients(fn, A).reproduce()


def test_a_passing_check_can_be_repeated_too():
    big = np.linspace(-1, 1, 200)
    program = check_gradients(tg.sinh, big, order=2).reproduce()
    assert "order=2" in program and "b85decode" in program
    assert run(program).startswith("pass")


def test_float32_inputs_are_reproduced_in_float32():
    report = check_gradients(tg.exp, A.astype(np.float32))
    assert "np.float32" in report.reproduce() and run(report.reproduce()).startswith("pass")


def test_the_guilty_one_of_many_records_is_found():
    def program(x, wrong):
        y = tg.tanh(tg.matmul(x, tg.permute_dims(x, (1, 0))))
        return tg.softmax(wrong(y) + y, axis=-1)

    with planted("late", lambda xp, x: xp.exp(x), derivative=lambda xp, y, x: y * 1.001) as wrong:
        assert check_gradients(lambda x: program(x, wrong), A).primitive == "planted_late"
