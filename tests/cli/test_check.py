"""The command that checks every gradient."""

import subprocess
import sys

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.cli import main
from tinygrad_rnn.primitive import registry
from tinygrad_rnn.testing import domains
from tinygrad_rnn.testing.domain_table import TABLE
from tinygrad_rnn.testing.module_cases import MODULES


@pytest.fixture
def wrong():
    """A primitive whose derivative has the wrong sign, with a domain."""
    fn = tg.elementwise("wrong", lambda xp, x: xp.cos(x), derivative=lambda xp, y, x: xp.sin(x))
    domains.register_domain("wrong", (-2, 2))
    yield fn
    del registry["wrong"], TABLE["wrong"]


def test_everything_passes_and_is_counted(capsys):
    assert main(["check", "--cases", "1"]) == 0
    text = capsys.readouterr().out
    total = len(domains.domain_names()) + len(MODULES)
    assert f"{total} gradients, {total} cases" in text
    assert " 0 fail" in text
    for name in ("matmul", "svd", "lstm_sequence", "ElmanCell(relu)", "GRUCell(before)", "StackedCell", "LSTM"):
        assert f"  {name} " in text


def test_a_wrong_derivative_is_shown_and_fails_the_command(wrong, capsys):
    assert main(["check", "--only", "wrong", "sin"]) == 1
    text = capsys.readouterr().out
    assert "1 pass, 0 inconclusive, 1 fail" in text
    assert 'the rule of "wrong" is wrong on its own' in text


def test_a_primitive_that_raises_fails_the_command(capsys):
    def forward(xp, x):
        raise tg.errors.ShapeError("never fits")

    tg.elementwise("raising", forward, derivative=lambda xp, y, x: y)
    domains.register_domain("raising", (-2, 2))
    try:
        assert main(["check", "--only", "raising"]) == 1
    finally:
        del registry["raising"], TABLE["raising"]
    assert "never fits" in capsys.readouterr().out


def test_an_inconclusive_check_is_shown_and_does_not_fail_the_command(capsys):
    tg.elementwise("kinky", lambda xp, x: xp.abs(x), derivative=lambda xp, y, x: xp.sign(x))
    domains.register_domain("kinky", lambda draws: (registry["kinky"], [draws.tensor((2,)) * 0]))
    try:
        assert main(["check", "--only", "kinky"]) == 0
    finally:
        del registry["kinky"], TABLE["kinky"]
    assert "0 pass, 1 inconclusive, 0 fail" in capsys.readouterr().out


def test_the_seed_and_the_order_are_used(capsys):
    assert main(["check", "--only", "pow", "svd", "inv", "--seed", "3", "--order", "2"]) == 0
    first = capsys.readouterr().out
    assert main(["check", "--only", "pow", "svd", "inv", "--seed", "3", "--order", "2"]) == 0
    assert capsys.readouterr().out == first
    assert main(["check", "--only", "pow", "svd", "inv", "--seed", "4", "--order", "2"]) == 0
    assert capsys.readouterr().out != first


def test_a_name_that_is_not_there_gets_one_that_is_near(capsys):
    assert main(["check", "--only", "tahn"]) == 1
    assert "tanh" in capsys.readouterr().err


def test_a_backend_that_is_not_there_is_an_error(capsys):
    assert main(["check", "--only", "tanh", "--backend", "abacus"]) == 1
    assert "abacus" in capsys.readouterr().err


def test_it_runs_without_hypothesis():
    code = (
        "import sys; sys.modules['hypothesis'] = None; "
        "from tinygrad_rnn.cli import main; raise SystemExit(main(['check', '--only', 'matmul', 'LSTMCell']))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "2 pass" in found.stdout
