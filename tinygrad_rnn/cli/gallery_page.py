"""The gallery's page: every example's numbers and pictures in one file beside the pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #212529; --soft: #5c636a; --ground: #f8f9fa; --card: #fff; --line: #dee2e6;
  --good: #2b8a3e; --bad: #c92a2a }
@media (prefers-color-scheme: dark) { :root { --ink: #e9ecef; --soft: #adb5bd; --ground: #16181b; --card: #212529;
  --line: #343a40; --good: #69db7c; --bad: #ff8787 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.25rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { margin: 0 0 .25rem; font-size: 1.7rem } h2 { margin: 0; font-size: 1.15rem } p { margin: .25rem 0 }
.soft { color: var(--soft) }
nav { margin: 1rem 0 2rem; columns: 14rem } nav a { display: block; color: inherit }
section { margin: 0 0 1.25rem; padding: 1.1rem 1.25rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem }
img { max-width: 100%; background: #fff; border-radius: .35rem; margin-top: .75rem }
table { border-collapse: collapse; margin: .75rem 0; font-size: .92rem }
td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
.good { color: var(--good) } .bad { color: var(--bad) } details { margin-top: .5rem } pre { overflow-x: auto }
"""


def write_page(folder: Path, examples: Mapping[str, tuple[str, Path]], states: Mapping[str, int]) -> Path:
    """Write ``index.html`` into `folder` from each example's JSON file, and return its path."""
    parts = [_section(folder, name, title, path, states[name]) for name, (title, path) in examples.items()]
    links = "".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in examples)
    wrong = sum(state != 0 for state in states.values())
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>tinygrad_rnn: the gallery</title><style>{STYLE}</style><h1>The gallery</h1>"
        f'<p class="soft">{len(states)} systems, {wrong} of them missed a number that their source states.</p>'
        f"<nav>{links}</nav>{''.join(parts)}</html>"
    )
    target = folder / "index.html"
    target.write_text(page, encoding="utf-8")
    return target


def _section(folder: Path, name: str, title: str, path: Path, state: int) -> str:
    kept = folder / f"{name}.json"
    shown: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    word, kind = ("as expected", "good") if state == 0 else (f"missed (exit status {state})", "bad")
    seconds = f", {shown['seconds']:g} s" if shown else ""
    rows = "".join(
        f"<tr><td>{escape(check['what'])}<td>{escape(check['expected'])}"
        f'<td class="{"good" if check["ok"] else "bad"}">{escape(check["got"])}'
        for check in shown.get("checks", ())
    )
    table = f"<table><tr><th>number<th>expected<th>got{rows}</table>" if rows else ""
    pictures = "".join(
        f'<img src="{escape(picture)}" alt="{escape(title)}" loading="lazy">' for picture in shown.get("pictures", ())
    )
    said = escape("\n".join(shown.get("said", ())))
    told = f"<details><summary>All that it printed</summary><pre>{said}</pre></details>" if said else ""
    return (
        f'<section id="{escape(name)}"><h2>{escape(name)}</h2><p>{escape(title)}</p>'
        f'<p class="soft"><span class="{kind}">{word}</span>{seconds} · {escape(path.name)}</p>'
        f"{table}{pictures}{told}</section>"
    )
