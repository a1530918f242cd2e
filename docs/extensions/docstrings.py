"""From the library's docstrings, which are plain text for ``help()``, to reStructuredText.

A line ``name: what it is`` begins an item of a list; lines set in by four columns with nothing else in their paragraph
are a formula; ``>>>`` begins an example; a word underlined with hyphens begins one of numpydoc's sections.
Everything else is a paragraph, and no character in it has a special meaning but backticks.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

ITEM = re.compile(r"^(- )?([\w.*·, ()|-]{1,60}?): +(?=\S)")
ENTRIES = ("Parameters", "Attributes", "Raises", "Returns", "Yields")
CODE = re.compile(r"(`+)(.+?)\1")


def converted(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    found: list[str] = []
    begun = [i for i in range(len(lines) - 1) if re.fullmatch("-{3,}", lines[i + 1]) and lines[i].strip()]
    for title, part in _sections(lines, begun):
        if title:
            found += [f"**{_escaped(title)}**", ""]
        for i, block in enumerate(_blocks(part)):
            summary = not title and i == 0 and not block[0].startswith((" ", ">>>"))
            if summary:
                found += [_inline(" ".join(line.strip() for line in block)), ""]
            else:
                found += [*(_entries(block) if title in ENTRIES else _block(block)), ""]
    return found


def _sections(lines: list[str], begun: list[int]) -> Iterator[tuple[str, list[str]]]:
    """(title, lines) of the sections; that before the first has no title."""
    yield "", lines[: begun[0]] if begun else lines
    for i, after in zip(begun, [*begun[1:], len(lines)]):
        yield lines[i].strip(), lines[i + 2 : after]


def _entries(block: list[str]) -> list[str]:
    """Entries of a section: a name (and a type after a colon), and what it is, set in."""
    found: list[str] = []
    for line in block:
        if line.startswith(" "):
            found[-1:] = [f"{found[-1] if found else '*'} {_inline(line.strip())}"]
        else:
            name, _, kind = line.partition(" : ")
            found.append(f"* **{_escaped(name.strip())}**" + (f" ({_inline(kind.strip())}):" if kind else ":"))
    return found


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Paragraphs, and examples as paragraphs of their own."""
    for blank, group in groupby(lines, key=lambda line: not line.strip()):
        if blank:
            continue
        block = list(group)
        begin = next((i for i, line in enumerate(block) if line.lstrip().startswith(">>>")), len(block))
        yield from (part for part in (block[:begin], block[begin:]) if part)


def _block(block: list[str]) -> list[str]:
    first = block[0]
    if first.lstrip().startswith(">>>"):
        margin = len(first) - len(first.lstrip())
        return [line[margin:] for line in block]
    if all(line.startswith("    ") for line in block):
        return ["::", "", *block]
    parts: list[tuple[str, str]] = []  # (name, text) of each item; "" for a paragraph
    for line in block:
        match = None if line.startswith(" ") else ITEM.match(line)
        if match:
            parts.append((match[2], line[match.end() :].strip()))
        elif line.startswith("- "):
            parts.append((" ", line[2:].strip()))
        elif parts and (line.startswith(" ") or not parts[-1][0] or parts[-1][0] == " "):
            parts[-1] = parts[-1][0], f"{parts[-1][1]} {line.strip()}"
        else:
            parts.append(("", line.strip()))
    lines: list[str] = []
    for name, text in parts:
        bullet = "* " if name else ""
        label = f"**{_escaped(name)}**: " if name.strip() else ""
        lines += [*([] if name and lines and lines[-1].startswith("* ") else [""]), f"{bullet}{label}{_inline(text)}"]
    return lines


def _inline(text: str) -> str:
    """Text with its code kept as code, and nothing else special."""
    parts, at = [], 0
    for match in CODE.finditer(text):
        parts += [_escaped(text[at : match.start()]), f"``{match[2].strip()}``\\ "]
        at = match.end()
    parts.append(_escaped(text[at:]))
    whole = "".join(parts)
    return whole[:-1] if whole.endswith("::") else whole


def _escaped(text: str) -> str:
    return re.sub(r"([\\*|_`])", r"\\\1", text)


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = converted(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Convert every docstring that autodoc finds."""
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
