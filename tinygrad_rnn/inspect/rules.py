"""Derivative rules as text, read from the registry: what is shown is what runs."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import textwrap
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..primitive import MINUS_ONE, Elementwise, Primitive
from ..tape import CONSTANT, ONE, Record
from .contributions import outputs_of, plain, results_of


def rule_text(primitive: Primitive) -> str:
    """Return the backward rule of a primitive as text, one line (or one function) for each input.

    ``g`` is the cotangent of the result ``y``; a bar marks the cotangent of an input. The text is the source of the
    rule in the registry.

    >>> import tinygrad_rnn as tg
    >>> print(tg.inspect.rule_text(tg.registry["multiply"]))
    ā = g · b
    b̄ = g · a
    >>> print(tg.inspect.rule_text(tg.registry["tanh"]))
    x̄ = g · (1 - y * y)
    """
    if not primitive.differentiable:
        return "no derivative"
    if isinstance(primitive, Elementwise):
        names = _input_names(primitive.derivatives, skipped=2)
        lines = [f"{barred(name)} = {_factor(rule)}" for name, rule in zip(names, primitive.derivatives)]
        if primitive.singular:
            lines.append("0 where g is 0, also where the slope is infinite")
        return "\n".join(lines)
    vjp = primitive.vjp
    if vjp is None and primitive.composed is not None:
        return f"the derivative of its composed form:\n{source_text(primitive.composed)}"
    if callable(vjp):
        text = source_text(vjp)
        return f"cotangents of all inputs = {text.partition(': ')[2]}" if text.startswith("lambda") else text
    rules = tuple(vjp or ())
    names = _input_names(rules, skipped=3)
    return "\n".join(f"{barred(name)} = {_body(rule)}" for name, rule in zip(names, rules))


def describe(record: Record) -> str:
    """Return one record as text: operation, place in the user's code, inputs, results and derivative rule.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0])
    >>> with tg.Tape() as tape:
    ...     y = x * 3.0
    >>> print(tape[0])  # doctest: +ELLIPSIS
    multiply: 0 · → 1
      recorded at ...
      input     0  (2,) float32  [1. 2.]
      input     ·  3.0
      result    1  (2,) float32  [3. 6.]
      backward  ā = g · b
                b̄ = g · a
    """
    slots = " ".join(_slot(slot) for slot in record.inputs)
    lines = [f"{record.primitive.name}: {slots} → {' '.join(map(str, outputs_of(record)))}"]
    if record.step is not None or record.scope:
        step = None if record.step is None else f"step {record.step}"
        scope = f"scope {record.scope}" if record.scope else None
        lines.append("  " + ", ".join(filter(None, (step, scope))))
    lines.append(f"  recorded at {record.where}")
    if code := source_line(record):
        lines.append(f"      {code}")
    for slot, value in zip(record.inputs, record.values):
        lines.append(f"  input     {_slot(slot)}  {_shown(value)}")
    for slot, value in zip(outputs_of(record), results_of(record)):
        lines.append(f"  result    {slot}  {_shown(value)}")
    if record.params:
        lines.append("  options   " + params_text(record))
    rule = rule_text(record.primitive).splitlines()
    lines += [f"  {'backward' if not i else '':<8}  {line}" for i, line in enumerate(rule)]
    return "\n".join(line.rstrip() for line in lines)


def params_text(record: Record) -> str:
    """The parameters of a record as ``name=value``; long ones are cut."""
    return ", ".join(f"{name}={_index_text(value) or _short(value)}" for name, value in record.params.items())


def _index_text(value: Any) -> str:
    """An index that holds slices as it is written, ``[:, 1:3]``; "" for everything else."""
    parts = value if isinstance(value, tuple) else (value,)
    if not any(isinstance(part, slice) for part in parts):
        return ""
    return f"[{', '.join(_slice_text(part) for part in parts)}]"


def _slice_text(part: Any) -> str:
    if not isinstance(part, slice):
        return "..." if part is Ellipsis else _short(part)
    ends = ":".join("" if end is None else _short(end) for end in (part.start, part.stop))
    return ends if part.step is None else f"{ends}:{_short(part.step)}"


def source_line(record: Record) -> str:
    """The user's line that made a record, or "" where its file cannot be read."""
    if record.file.startswith("<frozen"):
        return ""
    return linecache.getline(record.file, record.line).strip()


def place_of(record: Record) -> str:
    """The user's file and line: the path from the working directory where the file lies below it, else its name."""
    if record.file.startswith("<frozen"):  # a command ran it
        return ""
    path = Path(record.file)
    try:
        shown = path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        shown = path.name
    return f"{shown}:{record.line}"


def barred(name: str) -> str:
    """The cotangent of what has this name: a letter gets a bar, a word ∂L/∂ before it."""
    return unicodedata.normalize("NFC", f"{name}\u0304") if len(name) == 1 else f"∂L/∂{name}"


def _slot(slot: int) -> str:
    return "·" if slot == CONSTANT else str(slot)


def _shown(value: Any) -> str:
    array = plain(value)
    if not hasattr(array, "shape"):
        return _short(array)
    text = " ".join(str(array).split()) if array.size <= 24 else f"{array.size} entries"
    return f"{tuple(array.shape)} {array.dtype}  {text if len(text) <= 90 else text[:88] + ' …'}"


def _short(value: Any, length: int = 60) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}"
    try:
        text = repr(value)
    except Exception:  # a user's object may have a repr that fails; the picture goes on
        text = f"<{type(value).__name__}>"
    return text if len(text) <= length else text[: length - 1] + "…"


def _factor(derivative: Any) -> str:
    """The chain rule with an elementwise derivative filled in."""
    if derivative is None:
        return "none"
    if derivative is ONE:
        return "g"
    if derivative is MINUS_ONE:
        return "-g"
    slope = _body(derivative)
    return f"g · {slope}" if slope.isidentifier() else f"g · ({slope})"


def _input_names(rules: tuple[Any, ...], skipped: int) -> list[str]:
    """What the rules call the primitive's inputs; `skipped` arguments come before them."""
    names: list[str] = []
    for rule in rules:
        if callable(rule):
            arguments = list(inspect.signature(rule).parameters.values())[skipped:]
            plain_names = [each.name for each in arguments if each.kind is each.POSITIONAL_OR_KEYWORD]
            if len(plain_names) > len(names):
                names = plain_names
    if len(rules) == 1 and not names:
        return ["x"]
    return names[: len(rules)] + ["abcdefghijklmnopqrstuvwxyz"[i % 26] for i in range(len(names), len(rules))]


def _body(rule: Any) -> str:
    """The expression that a lambda or a one-line function returns; the name and text of a longer function."""
    if rule is None:
        return "none"
    text = source_text(rule)
    if text.startswith("lambda"):
        return text.partition(": ")[2]
    try:
        (function,) = ast.parse(text).body
    except (SyntaxError, ValueError):
        return text
    if isinstance(function, ast.FunctionDef) and len(function.body) == 1:
        only = function.body[0]
        if isinstance(only, ast.Return) and only.value is not None:
            return " ".join((ast.get_source_segment(text, only.value) or text).split())
    return f"{getattr(rule, '__name__', 'rule')}(…)\n{textwrap.indent(text, '    ')}"


def source_text(function: Callable[..., Any]) -> str:
    """The source of a function or a lambda, without decorators and docstring; its name where there is no source."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        return getattr(function, "__name__", type(function).__name__)
    return _code_text(code) or getattr(function, "__name__", "a rule")


@functools.cache
def _code_text(code: Any) -> str:
    """Find the node that a code object was compiled from; two lambdas of one line differ in their columns."""
    found = _functions(code.co_filename)
    places = [place for place in code.co_positions() if place[0] and place[2] is not None and place[3] != place[2]]
    for node, text in found.get(code.co_firstlineno, ()):
        if code.co_name == "<lambda>":
            inside = [p for p in places if p[0] > code.co_firstlineno or p[2] >= node.body.col_offset]
            last = (node.end_lineno, node.end_col_offset)
            if (
                isinstance(node, ast.Lambda)
                and len(inside) == len(places)
                and all((p[1], p[3]) <= last for p in inside)
            ):
                return text
        elif isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            return text
    return ""


@functools.lru_cache(maxsize=64)
def _functions(filename: str) -> dict[int, list[tuple[Any, str]]]:
    """All functions and lambdas of a file by their first line, innermost last."""
    source = "".join(linecache.getlines(filename))
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return {}
    lines = source.splitlines(keepends=True)
    found: dict[int, list[tuple[Any, str]]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            text = " ".join((ast.get_source_segment(source, node) or "").split())
            text = text.replace("( ", "(").replace(" )", ")")
            found.setdefault(node.lineno, []).append((node, text))
        elif isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *[each.lineno for each in node.decorator_list]])
            body = lines[node.lineno - 1 : node.end_lineno]
            if ast.get_docstring(node) is not None and len(node.body) > 1:
                documented = node.body[0]
                end = documented.end_lineno or documented.lineno
                body = lines[node.lineno - 1 : documented.lineno - 1] + lines[end : node.end_lineno]
            found.setdefault(first, []).append((node, textwrap.dedent("".join(body)).rstrip()))
    return found
