"""`tinygrad-rnn tape SCRIPT.py`: the last tape of a script, as a page."""

import json
import re
import webbrowser

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import cli

SCRIPT = """
import sys
import tinygrad_rnn as tg
w = tg.tensor([1.0, 2.0], requires_grad=True)
for number in range(3):
    with tg.Tape() as tape:
        loss = tg.sum(w**number) * float(sys.argv[2])
    tape.backward(loss)
with tg.Tape():
    pass
assert sys.argv[1] == "--factor" and __name__ == "__main__"
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "training.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S)[1])


def test_the_last_tape_of_a_script_becomes_a_page(script, capsys):
    assert cli.main(["tape", str(script), "--output", "page.html", "--factor", "2.0"]) == 0
    data = data_of(script.parent / "page.html")
    assert [data["operations"][record[0]]["name"] for record in data["records"]] == ["power", "sum", "multiply"]
    assert data["records"][0][8] == "exponent=2"  # of the third loop
    assert data["seeds"] and set(data["names"].values()) == {"w", "loss"}
    assert "3 records" in capsys.readouterr().out


def test_without_an_output_the_page_is_opened(script, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    assert cli.main(["tape", str(script), "--table", "--factor", "1.0"]) == 0
    assert opened == [(script.parent / "training.tape.html").as_uri()]
    assert "power" in capsys.readouterr().out


def test_tapes_made_by_a_sweep_do_not_count(script):
    script.write_text(
        "import tinygrad_rnn as tg\n"
        "x = tg.tensor([1.0])\n"
        "with tg.Tape() as tape:\n"
        "    y = tg.sum(tg.checkpoint(lambda v: tg.exp(v) * v)(x))\n"
        "tape.gradient(y, x)\n"
    )
    assert cli.main(["tape", str(script), "--output", "page.html"]) == 0
    assert len(data_of(script.parent / "page.html")["records"]) == 2


@pytest.mark.parametrize(
    ("text", "message"), [("x = 1", "recorded nothing"), (None, "there is no script")], ids=["no tape", "no script"]
)
def test_what_cannot_be_shown_is_an_error(script, capsys, text, message):
    if text is None:
        script.unlink()
    else:
        script.write_text(text)
    assert cli.main(["tape", str(script)]) == 1
    assert message in capsys.readouterr().err


def test_the_exit_status_is_the_scripts(script):
    script.write_text(SCRIPT + "sys.exit(3)\n")
    assert cli.main(["tape", str(script), "--output", "page.html", "--factor", "1.0"]) == 3


def test_the_tape_is_left_as_it_was(script):
    leave = tg.Tape.__exit__
    cli.main(["tape", str(script), "--output", "page.html", "--factor", "1.0"])
    assert tg.Tape.__exit__ is leave
