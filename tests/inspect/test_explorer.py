"""The explorer's file, the pictures, and what a notebook shows; without a browser."""

import base64
import configparser
import hashlib
import html
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.inspect.explorer import page

EVIL = "</script><script>alert(1)</script><!--<b>&\"'{{data}}"
SVG = "{http://www.w3.org/2000/svg}"


def lstm(steps, hidden=8):
    cell = tg.rnn.LSTMCell(4, hidden, rng=0)
    xs = tg.tensor(np.random.default_rng(0).normal(size=(steps, 2, 4)), dtype="float32")
    with tg.Tape() as tape:
        ys, _ = tg.rnn.scan(cell, xs)
        losses = tg.mean(ys * ys, axis=(1, 2))
        loss = tg.mean(losses)
    return tape, loss, losses, cell


def data_of(text):
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S)[1])


def test_an_lstm_of_fifty_steps_fits_in_450_kilobytes(tmp_path):
    tape, loss, losses, cell = lstm(50)
    path = tape.to_html(tmp_path / "lstm.html", loss, losses=losses, names={"cell": cell})
    assert path.stat().st_size < 450_000


def test_the_page_is_one_document_that_loads_nothing(tmp_path):
    tape, loss, *_ = lstm(3)
    text = tape.to_html(tmp_path / "lstm.html", loss).read_text(encoding="utf-8")
    assert not re.search(
        r"<(img|link|iframe|base)\b|\b(src|href)\s*=|@import|url\(|\bfetch\(|XMLHttpRequest|localStorage|innerHTML|eval\(",
        text,
    )
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "{{" not in text


def test_the_parts_of_the_page_are_installed():
    root = Path(tg.__file__).resolve().parent
    options = configparser.ConfigParser()
    options.read(root.parent / "setup.cfg", encoding="utf-8")
    patterns = options["options.package_data"]["tinygrad_rnn.inspect"].split()
    listed = {path.name for pattern in patterns for path in (root / "inspect").glob(pattern)}
    assert listed == {path.name for path in (root / "inspect" / "page").iterdir()}


def test_hostile_names_stay_text(tmp_path):
    x = tg.tensor([1.0, 2.0])
    operation = tg.elementwise(EVIL, forward=lambda xp, x: x + 0, derivative=1)
    try:
        with tg.Tape() as tape, tg.scope(EVIL):
            y = tg.sum(operation(x))
    finally:
        del tg.registry[EVIL]
    text = tape.to_html(tmp_path / "evil.html", y, names={EVIL: x}, title=EVIL).read_text(encoding="utf-8")
    assert "alert(1)" in text and "<script>alert" not in text and text.count("</script>") == 2
    data = data_of(text)
    assert data["title"] == data["operations"][0]["name"] == data["scopes"][0] == data["names"]["0"] == EVIL
    picture = tape.to_svg(tmp_path / "evil.svg", y, names={EVIL: x}).read_text(encoding="utf-8")
    assert not ET.fromstring(picture).findall(f".//{SVG}script")
    assert EVIL.replace('"', '\\"') in tape.to_dot(names={EVIL: x})


def test_names_come_from_the_callers_variables(tmp_path):
    weight = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        loss = tg.sum(weight * weight)
    data = data_of(tape.to_html(tmp_path / "tape.html", loss).read_text(encoding="utf-8"))
    assert data["names"] == {"0": "weight", "2": "loss"}
    assert data["title"] == "test_explorer.py"
    assert data["sites"][0][1] == "loss = tg.sum(weight * weight)"
    assert data["sites"][0][0].endswith(f"test_explorer.py:{tape[0].line}")
    assert 'label="weight' in tape.to_dot()


def test_a_notebook_shows_the_page_in_a_sandbox():
    tape, *_ = lstm(2)
    shown = tape._repr_html_()
    assert shown.startswith('<iframe sandbox="allow-scripts" srcdoc="')
    inside = html.unescape(re.search(r'srcdoc="([^"]*)"', shown)[1])
    assert inside.startswith("<!doctype html>") and len(data_of(inside)["records"]) == len(tape)


def test_a_value_that_no_json_can_carry_is_refused():
    with pytest.raises(ValueError, match="JSON compliant"):
        page({"title": "", "number": float("nan")})


@pytest.mark.parametrize("steps", [2, 3, 4, 30])
def test_the_svg_shows_the_first_middle_and_last_step(tmp_path, steps):
    tape, loss, _, cell = lstm(steps)
    root = ET.fromstring(tape.to_svg(tmp_path / "t.svg", loss, names={"cell": cell}).read_text(encoding="utf-8"))
    words = [text.text or "" for text in root.iter(f"{SVG}text")]
    shown = [int(word.removeprefix("t = ")) for word in words if word.startswith("t = ")]
    assert shown == sorted({0, (steps - 1) // 2, steps - 1})
    assert words.count("cell.weight_hh") == 1
    assert any(word.startswith("‖g‖ = ") for word in words)
    everything = ET.fromstring(tape.to_svg(tmp_path / "all.svg", loss, fold=False).read_text(encoding="utf-8"))
    assert sum((text.text or "").startswith("t = ") for text in everything.iter(f"{SVG}text")) == steps


def test_no_box_of_the_svg_covers_another(tmp_path):
    tape, loss, *_ = lstm(3)
    root = ET.fromstring(tape.to_svg(tmp_path / "t.svg", loss).read_text(encoding="utf-8"))
    boxes = [
        tuple(float(r.get(k)) for k in ("x", "y", "width", "height"))
        for r in root.iter(f"{SVG}rect")
        if r.get("stroke")
    ]
    assert len(boxes) == len(tape) + len(tape.leaves)
    for i, (x, y, w, h) in enumerate(boxes):
        assert all(x + w <= a or a + c <= x or y + h <= b or b + d <= y for a, b, c, d in boxes[:i])


def test_dot_has_a_node_for_each_record_and_an_edge_for_each_input():
    tape, loss, *_ = lstm(3)
    text = tape.to_dot(loss)
    assert text.count("[label=") == len(tape) + len(tape.leaves)
    assert text.count(" -> ") == sum(len({slot for slot in record.inputs if slot >= 0}) for record in tape)
    assert text.count("subgraph cluster_") == 3
    assert text.count("{") == text.count("}")


def test_empty_tapes_can_be_drawn(tmp_path):
    with tg.Tape() as tape:
        pass
    assert ET.fromstring(tape.to_svg(tmp_path / "t.svg").read_text(encoding="utf-8")).tag == f"{SVG}svg"
    assert "<html" in tape.to_html(tmp_path / "t.html").read_text(encoding="utf-8")
    assert tape.to_dot().startswith("digraph")
