"""Every script of the gallery runs, and gets the numbers that its source states."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_rnn.cli import main
from tinygrad_rnn.cli.examples import found

LENGTH = 165  # lines of a script that is still read at one go


@pytest.mark.parametrize("name", found())
def test_the_script_gets_the_numbers_of_its_source(name, tmp_path):
    made = subprocess.run(
        [sys.executable, "-m", f"tinygrad_rnn.examples.{name}", "--quick", "--output", str(tmp_path)],
        capture_output=True, text=True, timeout=120, env={"OMP_NUM_THREADS": "1", **os.environ},
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    assert "expected" in made.stdout and "got" in made.stdout
    assert list(tmp_path.glob(f"{name}*.png")), made.stdout


@pytest.mark.parametrize("name", found())
def test_the_script_is_short_and_says_what_it_shows(name):
    title, path = found()[name]
    assert title and len(title) < 120
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LENGTH


def test_the_list_names_every_script(capsys):
    assert main(["examples"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in found())


def test_an_unknown_name_says_which_is_meant(capsys):
    assert main(["examples", "hand_wird"]) == 1
    assert "did you mean hand_wired?" in capsys.readouterr().err


def test_running_all_writes_a_page(tmp_path, monkeypatch, capsys):
    only = {"hand_wired": found()["hand_wired"]}
    monkeypatch.setattr("tinygrad_rnn.cli.examples.found", lambda: only)
    assert main(["examples", "--all", "--quick", "--output", str(tmp_path)]) == 0
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "hand_wired.png" in page and "1.00, 0.92, 0.03" in page and Path(tmp_path / "hand_wired.png").exists()
    assert "0 missed a number" in capsys.readouterr().out
