"""train --tape: one window of the run as an explorer page."""

import json
import re

from tinygrad_rnn.cli import main

SIZES = {"steps": 2, "every": 1, "batch": 3, "window": 5, "embedding": 4, "hidden": 6}
SMALL = ["--grammar", *(word for name, size in SIZES.items() for word in (f"--{name}", str(size)))]


def test_a_run_keeps_a_window_when_it_is_asked_to(tmp_path, capsys):
    assert main(["train", *SMALL, "--runs", str(tmp_path), "--name", "kept", "--tape"]) == 0
    page = tmp_path / "kept" / "tape.html"
    assert str(page) in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert len(text) < 450_000
    data = json.loads(re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    assert data["title"] == "kept, step 2: one window"
    assert "model.lstm.weight_hh_l0" in text or "weight_hh" in text


def test_a_run_that_is_not_asked_keeps_none(tmp_path):
    assert main(["train", *SMALL, "--runs", str(tmp_path), "--name", "plain"]) == 0
    assert not (tmp_path / "plain" / "tape.html").exists()


def test_a_resumed_run_may_ask_for_it(tmp_path):
    assert main(["train", *SMALL, "--runs", str(tmp_path), "--name", "again"]) == 0
    assert main(["train", "--resume", str(tmp_path / "again"), "--steps", "3", "--tape"]) == 0
    assert (tmp_path / "again" / "tape.html").exists()
