"""The command line as a whole: what each command says about itself, and that errors are one line and a status."""

import importlib.util
import os
import subprocess
import sys

import pytest

import tinygrad_rnn
from tinygrad_rnn import backends, cli
from tinygrad_rnn.backends import Availability
from tinygrad_rnn.backends.numpy_backend import NumpyBackend
from tinygrad_rnn.cli import console


def ended(capsys, *arguments):
    """Run arguments that argparse answers itself; returns the status and both outputs."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    return end.value.code, *capsys.readouterr()


def test_version(capsys):
    assert ended(capsys, "--version") == (0, f"tinygrad_rnn {tinygrad_rnn.__version__}\n", "")


def test_help_names_every_command(capsys):
    code, out, _ = ended(capsys, "--help")
    assert code == 0
    assert all(f"\n    {name}" in out for name in ("train", "generate", "check", "tape", "backends"))


@pytest.mark.parametrize("command", ["train", "generate", "check", "tape", "backends"])
def test_every_command_explains_itself(capsys, command):
    code, out, _ = ended(capsys, command, "--help")
    assert code == 0
    assert out.startswith(f"usage: tinygrad-rnn {command}")
    assert all(len(line) <= 120 for line in out.splitlines())


def test_help_gives_the_defaults(capsys):
    out = " ".join(ended(capsys, "train", "--help")[1].split())
    assert "training steps, one window each (1000)" in out
    assert "largest learning rate (0.004)" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "required: COMMAND"),
        (("tune",), "invalid choice: 'tune'"),
        (("train", "--step-size", "1"), "unrecognized arguments"),
        (("train", "--hidden", "large"), "invalid int value: 'large'"),
        (("generate",), "required: RUN"),
        (("generate", "run", "--temperature", "warm"), "invalid float value: 'warm'"),
    ],
)
def test_wrong_options_are_argparse_errors(capsys, arguments, message):
    code, out, err = ended(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_backends_lists_what_runs(capsys):
    assert cli.main(["backends", "--seconds", "0"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "Backends"
    assert any(line.split()[:2] == ["numpy", "yes"] for line in out.splitlines())


class Absent(NumpyBackend):
    """A backend that cannot run."""

    @classmethod
    def availability(cls):
        return Availability(False, "no device", 'pip install "tinygrad_rnn[cuda]"')


@pytest.mark.parametrize("terminal", [False, True])
def test_backends_says_why_one_cannot_run_and_what_to_install(capsys, monkeypatch, terminal):
    monkeypatch.setitem(backends._registry, "absent", Absent)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["backends", "--seconds", "0"]) == 0
    out = capsys.readouterr().out
    assert "no device" in out
    assert 'pip install "tinygrad_rnn[cuda]"' in out  # rich would take [cuda] for markup


def test_a_table_without_rich_is_aligned_text(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    console.show_table("Title", ("a", "bb"), [("long one", "x"), ("s", "y")])
    assert capsys.readouterr().out == "Title\n  a         bb\n  long one  x\n  s         y\n"


def test_lines_go_to_standard_output_when_only_the_bar_is_seen(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.LiveLine(10) as live:
        live.update(3, "2.00 bits/char")
        live.print("step 3 [bold]")
    assert capsys.readouterr().out == "step 3 [bold]\n"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (tinygrad_rnn.errors.DataError("no text"), 1, "error: no text\n"),
        (PermissionError(13, "Permission denied", "runs/x"), 1, "error: Permission denied: runs/x\n"),
        (OSError("odd"), 1, "error: odd: a file\n"),
        (MemoryError("8 GiB"), 1, "error: out of memory: 8 GiB. Smaller sizes need less of it.\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_an_error_is_a_line_and_a_status(capsys, monkeypatch, error, status, message):
    def fail(options):
        raise error

    monkeypatch.setattr("tinygrad_rnn.cli.backends.run", fail)
    assert cli.main(["backends"]) == status
    assert capsys.readouterr() == ("", message)


def test_an_error_of_the_program_is_not_hidden(monkeypatch):
    def fail(options):
        raise ZeroDivisionError

    monkeypatch.setattr("tinygrad_rnn.cli.backends.run", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["backends"])


def python(*arguments, **options):
    """Run this package's command line in a fresh interpreter."""
    path = os.path.dirname(os.path.dirname(importlib.util.find_spec("tinygrad_rnn").origin))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "tinygrad_rnn", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )


def test_a_reader_that_goes_away_is_no_traceback():
    with python("backends", "--seconds", "0") as process:
        process.stdout.close()
        err = process.stderr.read()
    assert err == b""
    assert process.returncode == 141


def test_an_unknown_backend_in_the_environment_is_an_error_line():
    with python("train", "--grammar", env={"TINYGRAD_RNN_BACKEND": "abacus"}) as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.startswith(b'error: the environment has TINYGRAD_RNN_BACKEND=abacus, but there is no backend "abacus".')
