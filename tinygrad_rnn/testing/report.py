"""GradReport: what a check found, in words, and as a program that repeats it."""

from __future__ import annotations

import ast
import base64
import inspect
import sys
import textwrap
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import TinygradRNNError
from ..primitive import Primitive, registry
from ..tensor import Tensor

_MODES = {
    "rev": "reverse mode",
    "fwd": "forward mode",
    "dot": "reverse mode against forward mode",
    "float32": "reverse mode in float32",
}


class GradientCheckError(TinygradRNNError, AssertionError):
    """A gradient is wrong, or the function under test cannot be checked. `report` is the GradReport, or None."""

    report: GradReport | None = None


@dataclass
class GradReport:
    """The result of `check_gradients`. True where the verdict is "pass"; printed, it says what was found.

    verdict: "pass", "fail", or "inconclusive" (nothing wrong was proved, nor right).
    reason: in words, for the other two.
    mode: "rev", "fwd", "dot" or "float32", the one that is worst.  order: 1, or 2 for the gradient's gradient.
    input, index: number of the worst input, and index of its worst entry.
    output: index of the output entry that the numbers are about; None where outputs were weighted and summed.
    expected, got: the derivative measured, and the one that the rule gave.
    tolerance: by how much they may differ.
    resolution: the smallest error that the check could have seen, relative to the largest derivative of the input.
    primitive, where: the record whose own rule is wrong, and the user's line that made it ("" if not found).
    kink, at_kink: whether the slopes on two sides differ somewhere, and at the worst entry.
    evaluations: calls of the function.
    structure: how the Jacobian was looked at ("elementwise": all of it in one direction; "full": column by
        column; "projection": in random directions).

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.testing import check_gradients
    >>> report = check_gradients(tg.tanh, tg.tensor([0.5, -1.5], dtype="float64"))
    >>> bool(report), report.verdict, report.resolution < 1e-7
    (True, 'pass', True)
    """

    verdict: str = "pass"
    reason: str = ""
    mode: str = ""
    order: int = 1
    input: int | None = None
    index: tuple[int, ...] | None = None
    output: tuple[int, ...] | None = None
    expected: float | None = None
    got: float | None = None
    tolerance: float | None = None
    resolution: float = 0.0
    primitive: str = ""
    where: str = ""
    evaluations: int = 0
    structure: str = ""
    kink: bool = False
    at_kink: bool = False
    fn: Any = field(default=None, repr=False)
    inputs: list[Any] = field(default_factory=list, repr=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    listing: Callable[[], str | None] | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.verdict == "pass"

    def __str__(self) -> str:
        gradient = "gradient" if self.order == 1 else "gradient of the gradient"
        name = _name(self.fn)
        if self.verdict == "pass":
            return (
                f"pass: the {gradient} of {name} is right; an error of {self.resolution:.1e} of it "
                f"would have shown ({self.structure}, {self.evaluations} evaluations)"
            )
        verb = "is wrong" if self.verdict == "fail" else "could not be judged"
        lines = [f"{self.verdict}: the {gradient} of {name} {verb} ({_MODES.get(self.mode, self.mode)})"]
        if self.reason:
            lines.append(f"  {self.reason}")
        if self.input is not None:
            of = "" if self.output is None else f", output {list(self.output)}"
            lines.append(f"  worst: input {self.input}, index {list(self.index or ())}{of}")
            if self.at_kink and self.expected is not None and self.tolerance is not None:
                low, high = self.expected - self.tolerance, self.expected + self.tolerance
                lines.append(f"  slopes between {low:.4g} and {high:.4g}, got {_number(self.got)}")
            else:
                lines.append(f"  expected {_number(self.expected)}, got {_number(self.got)}{self._ratio()}")
                lines.append(f"  tolerance {_number(self.tolerance)}, resolution {self.resolution:.1e}")
        if self.primitive:
            lines.append(f'  the rule of "{self.primitive}" is wrong on its own        recorded at {self.where}')
        elif self.verdict == "fail" and self.where:
            lines.append(
                "  no single primitive is wrong on its own: look for a value that left the tape "
                f"(.numpy(), .detach(), a Python float)        first record at {self.where}"
            )
        if self.verdict == "fail":
            lines += ["  to reproduce:", textwrap.indent(self.reproduce(), "    ")]
        return "\n".join(lines)

    def check(self) -> GradReport:
        """Return the report if it passed or is inconclusive; raise GradientCheckError if it failed.

        >>> import tinygrad_rnn as tg
        >>> from tinygrad_rnn.testing import check_gradients
        >>> check_gradients(tg.exp, tg.tensor([1.0], dtype="float64")).check().verdict
        'pass'
        """
        if self.verdict == "fail":
            error = GradientCheckError(str(self))
            error.report = self
            raise error
        return self

    def reproduce(self) -> str:
        """A Python program that repeats the check: paste it into a file, and run it.

        Where the function's source cannot be had, its records on the tape take its place.
        """
        lines = [
            "import numpy as np",
            "import tinygrad_rnn as tg",
            "from tinygrad_rnn.testing import check_gradients",
            "",
        ]
        lines += [f"x{k} = {_literal(x)}" for k, x in enumerate(self.inputs)]
        lines += self._function().splitlines()
        options = "".join(f", {key}={_literal(value)}" for key, value in self.options.items())
        arguments = ", ".join(["fn", *(f"x{k}" for k in range(len(self.inputs)))])
        lines += ["", f"print(check_gradients({arguments}{options}))"]
        return "\n".join(lines)

    def _ratio(self) -> str:
        if not self.expected or self.got is None or not np.isfinite([self.expected, self.got]).all():
            return ""
        return f" (off by {abs(self.got - self.expected) / abs(self.expected):.2g} of it)"

    def _function(self) -> str:
        if (wrapped := getattr(self.fn, "wrapped_by", None)) is not None:
            wrapper, inner = wrapped
            text = source(inner, "inner") or f"inner = ...  # {_name(inner)}: put it here"
            return f"from tinygrad_rnn.testing import {wrapper}\n{text}\nfn = {wrapper}(inner)"
        if (lines := source(self.fn, "fn")) is not None:
            return lines
        if self.listing is not None and (listed := self.listing()) is not None:
            return listed
        return f"fn = ...  # {_name(self.fn)}: its source is not to be had; put it here"


def source(fn: Any, name: str) -> str | None:
    """Python text that binds a function to a name: an import, or its source with what it closes over."""
    if isinstance(fn, Primitive):
        return f'{name} = tg.registry["{fn.name}"]' if fn.builtin and registry.get(fn.name) is fn else None
    module, path = getattr(fn, "__module__", None), getattr(fn, "__qualname__", "")
    if module and module != "__main__" and path.isidentifier() and getattr(sys.modules.get(module), path, None) is fn:
        return f"from {module} import {path}\n{name} = {path}"
    if not inspect.isfunction(fn):
        return None
    try:
        text = _cut(textwrap.dedent(inspect.getsource(fn)), fn)
        closed = inspect.getclosurevars(fn)
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    if text is None:
        return None
    before = []
    for key, value in {**closed.globals, **closed.nonlocals}.items():
        if key in ("np", "tg"):
            continue
        bound = _bound(key, value)
        if bound is None:
            return None
        before.append(bound)
    return "\n".join([*before, text if text.startswith("def ") else f"{name} = {text}"]) + (
        f"\n{name} = {fn.__name__}" if text.startswith("def ") and fn.__name__ != name else ""
    )


def listing(tape: Any, boxes: list[Any], outs: list[Any]) -> str | None:
    """A function of straight-line calls of primitives, read off a tape; None if something has no literal."""
    names = {box._slot: f"x{k}" for k, box in enumerate(boxes) if isinstance(box, Tensor) and box._tape is tape.ref}
    for k, box in enumerate(boxes):
        if isinstance(box, Tensor) and id(box) in tape.leaves:
            names[tape.leaves[id(box)][0]] = f"x{k}"
    own = {record.primitive.name: record.primitive for record in tape if not record.primitive.builtin}
    lines = [_registration(primitive) for primitive in own.values()]
    lines.append(f"def fn({', '.join(f'x{k}' for k in range(len(boxes)))}):")
    for record in tape:
        arguments = []
        for slot, value in zip(record.inputs, record.values):
            literal = names.get(slot) or _literal(value)
            if literal is None:
                return None
            arguments.append(literal)
        for key, value in record.params.items():
            literal = _literal(value)
            if literal is None:
                return None
            arguments.append(f"{key}={literal}")
        outputs = record.output if isinstance(record.output, tuple) else (record.output,)
        names.update({slot: f"t{slot}" for slot in outputs})
        targets = ", ".join(names[slot] for slot in outputs)
        lines.append(f'    {targets} = tg.registry["{record.primitive.name}"]({", ".join(arguments)})')
    results = [names.get(y._slot) if y._tape is tape.ref else _literal(y.numpy()) for y in outs]
    if any(each is None for each in results):
        return None
    return "\n".join([*lines, f"    return {', '.join(str(each) for each in results)}"])


def _registration(primitive: Primitive) -> str:
    """The line that registers a primitive of the user's, or a comment that asks for it."""
    module = getattr(primitive.forward, "__module__", None)
    if module in sys.modules and module not in ("__main__", "builtins"):
        return f'import {module}  # registers "{primitive.name}"'
    return f'# register "{primitive.name}" here'


def _cut(text: str, fn: Any) -> str | None:
    """The function alone, out of the statement that its source lines hold."""
    if fn.__name__ != "<lambda>":
        lines = text.splitlines()
        while lines and not lines[0].startswith("def "):
            lines.pop(0)
        return "\n".join(lines) or None
    tree = None
    for candidate in (text, text.strip().rstrip(","), f"({text.strip().rstrip(',')})"):
        try:
            tree, text = ast.parse(candidate), candidate
            break
        except SyntaxError:
            continue
    if tree is None:
        return None
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    matching = [
        node for node in found if tuple(a.arg for a in node.args.args) == fn.__code__.co_varnames[: len(node.args.args)]
    ]
    return ast.get_source_segment(text, matching[0]) if len(matching) == 1 else None


def _bound(name: str, value: Any) -> str | None:
    if inspect.ismodule(value):
        return f"import {value.__name__} as {name}"
    if inspect.isroutine(value) or isinstance(value, (Primitive, type)):
        if isinstance(value, Primitive):
            return source(value, name)
        module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
        return (
            f"from {module} import {path} as {name}"
            if module and module != "__main__" and path.isidentifier()
            else None
        )
    literal = _literal(value)
    return None if literal is None else f"{name} = {literal}"


def _literal(value: Any) -> Any:
    """A Python expression for a value; None where there is none."""
    if isinstance(value, Tensor):
        inner = _literal(value.numpy())
        return f"tg.asarray({inner})"
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub":
            return None
        kind = f"np.{value.dtype.name}" if value.dtype.name != "bool" else "np.bool_"
        if value.size <= 64:
            return f"np.array({value.tolist()!r}, {kind})" + ("" if value.size else f".reshape({value.shape})")
        packed = base64.b85encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 9)).decode()
        return (
            f"np.frombuffer(__import__('zlib').decompress(__import__('base64').b85decode({packed!r})), {kind})"
            f".reshape({value.shape})"
        )
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, np.dtype):
        return f"np.dtype({value.name!r})"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value) if value == value and value not in (float("inf"), float("-inf")) else f"float('{value}')"
    if isinstance(value, slice):
        return f"slice({value.start!r}, {value.stop!r}, {value.step!r})"
    if value is Ellipsis:
        return "..."
    if isinstance(value, (tuple, list)):
        parts = [_literal(each) for each in value]
        if any(part is None for part in parts):
            return None
        inner = ", ".join(parts)
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if parts else "()"
    return None


def _name(fn: Any) -> str:
    return getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__name__


def _number(x: float | None) -> str:
    return "unknown" if x is None else f"{x:.10g}"
