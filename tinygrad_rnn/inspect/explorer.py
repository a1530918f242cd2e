"""The explorer: one HTML file that steps through a tape, forward and backward, with every value and cotangent in view.

The file loads nothing: its style, script and data lie in it, and its content security policy forbids the rest.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..tape import Tape, user_frame
from .page_data import page_data
from .page_names import variables_of_caller

SCRIPTS = ("model.js", "graph.js", "panel.js", "time.js", "main.js")
FRAME_HEIGHT = 720  # of the explorer in a notebook, in pixels


def to_html(
    tape: Tape,
    path: str | Path,
    target: Any = None,
    *,
    cotangent: Any = None,
    losses: Any = None,
    names: Mapping[str, Any] | None = None,
    title: str | None = None,
    entries: int | None = None,
) -> Path:
    """Write the explorer of a tape: one self-contained HTML file. Returns its path.

    target: the Tensor whose gradients it shows, a scalar unless `cotangent` (of its shape) is given. Default: what
        was swept last on the tape, or else its last floating scalar.
    losses: of single time steps, for the heat map ‖∂L_s/∂h_t‖: a Tensor (T,), or T scalar Tensors of the tape.
        Default: the scalar that each time step records at the same place, if there is one.
    names: variables whose names the page shows; default: the caller's.
    title: default: the name of the caller's file.
    entries: how many entries of each array the file carries; default: 24 on short tapes down to 3 on long ones.

    Raises TapeError, GradientError and ShapeError for a wrong target, ArgumentError for wrong losses, OSError.

    >>> import tempfile, tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0])
    >>> with tg.Tape() as tape:
    ...     y = tg.sum(x * x)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = tape.to_html(f"{folder}/tape.html", y).read_text(encoding="utf-8")
    >>> page.count("<html"), "default-src 'none'" in page
    (1, True)
    """
    if names is None:
        names = variables_of_caller()
    if title is None:
        title = Path(user_frame(2).f_code.co_filename).name.strip("<>") or "tape"
    data = page_data(tape, target, cotangent=cotangent, losses=losses, names=names, title=title, entries=entries)
    path = Path(path)
    path.write_text(page(data), encoding="utf-8")
    return path


def page(data: Mapping[str, Any]) -> str:
    """The page of what `page_data` returned, as HTML text.

    The data cannot end their script element or begin another: ``<`` is escaped. Names reach the page as text only.
    """
    style = _asset("explorer.css")
    script = "(() => {\n" + "".join(_asset(name) for name in SCRIPTS) + "})();\n"
    parts = {
        "policy": f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'",
        "title": html.escape(str(data["title"])),
        "style": style,
        "script": script,
        "data": json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("explorer.html"))


def embedded(tape: Tape) -> str:
    """The explorer in a frame that may run its own script and nothing else, for notebooks."""
    data = page_data(tape, names=_notebook_variables(), title="tape")
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(page(data))}" title="Tape explorer" loading="lazy" '
        f'style="width:100%;height:{FRAME_HEIGHT}px;border:1px solid #8886;border-radius:8px"></iframe>'
    )


def _notebook_variables() -> dict[str, Any]:
    """The variables of the program's top level, which in a notebook are the reader's."""
    import __main__

    return dict(vars(__main__))


def _asset(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    import hashlib

    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
