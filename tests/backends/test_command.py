"""The command ``backends``: what runs, what does not and why, which kernels there are, and how fast each backend is."""

import argparse

import pytest

from tinygrad_rnn import backends, cli
from tinygrad_rnn.backends.numpy_backend import NumpyBackend
from tinygrad_rnn.cli import backends as command
from tinygrad_rnn.errors import BackendUnavailableError


class Broken(NumpyBackend):
    """One that is installed and does not load."""

    name = "broken"

    def __init__(self):
        raise BackendUnavailableError("its library is damaged. Install it again")


@pytest.fixture
def numpy_and_broken(monkeypatch):
    monkeypatch.setattr(backends, "_registry", {"numpy": NumpyBackend, "broken": Broken})
    monkeypatch.setattr(backends, "_instances", {})


def test_it_prints_backends_kernels_and_times(numpy_and_broken, capsys):
    assert cli.main(["backends", "--seconds", "0.05"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["numpy", "yes"] in lines
    assert ["lstm_forward", "reference"] in lines
    assert "its library is damaged. Install it again" in out
    assert all(any(line.strip().startswith(work.title) for line in out.splitlines()) for work in command.WORKS)


def test_zero_seconds_measure_nothing(numpy_and_broken, capsys):
    assert cli.main(["backends", "--seconds", "0"]) == 0
    assert "Times" not in capsys.readouterr().out


@pytest.mark.parametrize("text", ["-1", "nan", "inf"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="no number of seconds"):
        command._seconds(text)


def test_times_are_positive_and_one_for_each_work():
    times = command.measure("numpy", 0.01)
    assert len(times) == len(command.WORKS)
    assert all(time > 0 for time in times)


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.00123, "1.23 ms"), (4.56e-5, "45.6 us"), (7.89e-7, "789 ns")]
)
def test_times_have_three_digits_and_a_unit(seconds, text):
    assert command._readable(seconds) == text
