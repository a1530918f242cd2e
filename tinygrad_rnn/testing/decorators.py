"""`gradcheck` and `parity`: one line above a function makes it a test."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backends
from ..apply import watch
from ..errors import ArgumentError
from ..tape import Tape
from ..tensor import Tensor, asarray
from . import bounds
from .check import check_gradients
from .report import GradientCheckError

__all__ = ["ParityError", "gradcheck", "parity"]


class ParityError(GradientCheckError):
    """Two backends differ by more than their round-off can explain."""


def gradcheck(*, inputs: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a Hypothesis test of a function: its gradient is checked at drawn inputs.

    inputs: a Hypothesis strategy of a Tensor, or of a tuple of Tensors (`broadcastable`); or a tuple of strategies,
        one for each argument.
    options: those of `check_gradients`.

    The function takes Tensors and returns what is to be differentiated. Keyword-only parameters are pytest
    fixtures; one called ``backend`` is also where the inputs are put.

    The test fails with the report of the smallest failing inputs. An inconclusive check counts for nothing
    (``assume(False)``), and is listed among Hypothesis's statistics.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.testing import broadcastable, gradcheck
    >>> @gradcheck(inputs=broadcastable(2), order=2)
    ... def test_mul(a, b):
    ...     return a * b
    >>> test_mul()
    """
    from hypothesis import assume, event, given
    from hypothesis import strategies as st

    strategy = st.tuples(*inputs) if isinstance(inputs, (tuple, list)) else inputs
    if not isinstance(strategy, st.SearchStrategy):
        raise ArgumentError(f"gradcheck needs inputs=<a Hypothesis strategy>; got {type(inputs).__name__}")

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        def test(drawn: Any, **fixtures: Any) -> None:
            tensors = drawn if isinstance(drawn, (tuple, list)) else (drawn,)
            if "backend" in fixtures:
                tensors = _moved(tensors, backends.get(fixtures["backend"]))
            report = check_gradients(functools.partial(fn, **fixtures) if fixtures else fn, *tensors, **options)
            if report.verdict == "fail":
                raise _failure(report)
            if report.verdict == "inconclusive":
                event(f"inconclusive: {report.reason}")
                assume(False)

        _dress(test, fn, drawn=strategy)
        return given(drawn=strategy)(test)

    return decorate


def _dress(test: Any, fn: Any, **own: Any) -> None:
    """Give a wrapper the name, place and marks of a function, and a signature with its fixtures alone."""
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(test, name, getattr(fn, name, None))
    test.__dict__.update(getattr(fn, "__dict__", {}))
    fixtures = [
        p for p in inspect.signature(fn).parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    ]
    given = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in own]
    test.__signature__ = inspect.Signature([*given, *fixtures])


def _failure(report: Any) -> GradientCheckError:
    error = GradientCheckError(str(report))
    error.report = report
    return error


# ---- parity


def parity(*names: str, ulps: int | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test function on every backend named, and compare what it returns with what it returns on the first.

    names: of backends, at least two; one that cannot run here is left out, and if none is left to compare with, the
        test is skipped with the reason.
    ulps: how far two libraries' exp, sin, tanh, … may differ, in place of 4.

    The function returns Tensors, alone or in tuples, lists and dicts. It runs with the backend as the default,
    and with its Tensor arguments (and those inside a `Program`) moved there. Put `parity` above `given`, or below.

    Two comparisons are made. Every primitive that ran on the first backend is repeated on the others with the very
    same inputs, and held to the bound of its class (`bounds`). Then the results of the whole function are compared,
    which may differ by what those bounds make of each other on the way.

    Raises ParityError, with the primitive and the line where backends part, or with the result that differs;
    ArgumentError for fewer than two names.

    >>> import tinygrad_rnn as tg
    >>> from hypothesis import given
    >>> from tinygrad_rnn.testing import parity, programs
    >>> @parity("numpy", "numpy")
    ... @given(programs(nodes=(1, 3)))
    ... def test_programs(program):
    ...     return program.value_and_grad()
    >>> test_programs()
    """
    if len(names) < 2:
        raise ArgumentError(f'parity compares backends: parity("numpy", "numba"); got {names}')

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        hypothesis = getattr(test, "hypothesis", None)
        inner = test if hypothesis is None else hypothesis.inner_test

        @functools.wraps(inner)
        def compared(*args: Any, **kwargs: Any) -> None:
            first, others = _usable(names)
            _compare(inner, args, kwargs, first, others, ulps)

        if hypothesis is None:
            return compared
        hypothesis.inner_test = compared
        return test

    return decorate


def _usable(names: tuple[str, ...]) -> tuple[Any, list[Any]]:
    """The backends that can run; skips the test where there are not two."""
    known = backends.available()
    reasons = []
    for name in names:
        status = known.get(name)
        if status is None:
            reasons.append(f'"{name}": there is no such backend')
        elif not status.can_run:
            reasons.append(f'"{name}": {status.reason}')
    left = [name for name in names if name in known and known[name].can_run]
    if len(left) < 2 or left[0] != names[0]:
        import pytest

        pytest.skip(f"nothing to compare: {'; '.join(reasons)}")
    return backends.get(left[0]), [backends.get(name) for name in left[1:]]


def _compare(fn: Any, args: Any, kwargs: Any, first: Any, others: list[Any], ulps: int | None) -> None:
    expected, tape = _run(fn, args, kwargs, first, recorded=True)
    plain, _ = _run(fn, args, kwargs, first)
    records = list(tape)
    if first.name == "numpy":
        for other in others:
            for record in records:
                _repeat(record, first, other, ulps)
    allowed = _propagated(records, expected, ulps)
    for other in others:
        found, _ = _run(fn, args, kwargs, other)
        if len(found) != len(plain):
            raise ParityError(f"{len(plain)} results on {first.name} and {len(found)} on {other.name}")
        for number, (one, two, most) in enumerate(zip(plain, found, allowed)):
            over = bounds.excess(one.numpy(), two.numpy(), most)
            if over is not None:
                raise ParityError(_told(f"result {number}", one.numpy(), two.numpy(), over, most, first, other))


def _run(fn: Any, args: Any, kwargs: Any, backend: Any, recorded: bool = False) -> tuple[list[Tensor], Any]:
    """The Tensors that a function returns on a backend, and the tape of how it got there."""
    with backends.backend(backend.name):
        moved, named = _moved(args, backend), _moved(kwargs, backend)
        if not recorded:
            return _tensors(fn(*moved, **named)), ()
        with Tape() as tape:
            return _tensors(fn(*_moved(moved, backend, tape), **_moved(named, backend, tape))), tape


def _moved(x: Any, backend: Any, tape: Any = None) -> Any:
    """The same with all Tensors on a backend; on a tape, if one is given."""
    if isinstance(x, Tensor):
        there = x if x.backend == backend.name else asarray(x.numpy(), backend=backend.name)
        return there if tape is None else watch(tape, there)
    if isinstance(x, dict):
        return {key: _moved(value, backend, tape) for key, value in x.items()}
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
        return type(x)(_moved(each, backend, tape) for each in x)
    if dataclasses.is_dataclass(x) and not isinstance(x, type) and hasattr(x, "inputs"):  # a Program, a Case
        return dataclasses.replace(x, inputs=_moved(x.inputs, backend, tape))
    return x


def _tensors(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, dict):
        out = list(out.values())
    if isinstance(out, (tuple, list)):
        return [each for part in out for each in _tensors(part)]
    raise ArgumentError(f"a function under parity returns Tensors, alone or in tuples; got a {type(out).__name__}")


def _repeat(record: Any, first: Any, other: Any, ulps: int | None) -> None:
    """Run one primitive on another backend at the inputs that it saw on the first."""
    if record.params.keys() & {"run", "closed_over", "target"}:
        return  # a checkpoint, whose function is compared by its result; or a move, which computes nothing
    values = tuple(other.asarray(x, copy=True) if isinstance(x, np.ndarray) else x for x in record.values)
    with np.errstate(all="ignore"):
        found = [np.asarray(other.to_numpy(y)) for y in _results(record.primitive, other, values, record.params)]
    wanted = record.result if isinstance(record.result, tuple) else (record.result,)
    for one, two, most in zip(wanted, found, bounds.bounds_of(record, ulps)):
        over = bounds.excess(one, two, most)
        if over is not None:
            what = f"{record.primitive.name} (recorded at {record.where})"
            raise ParityError(_told(what, one, two, over, most, first, other))


def _results(primitive: Any, backend: Any, values: tuple[Any, ...], params: dict[str, Any]) -> list[Any]:
    result = primitive._forwards[backend](*values, **params)
    if primitive.residual:
        result = result[0]
    return [backend.asarray(part) for part in (result if isinstance(result, tuple) else (result,))]


def _propagated(records: list[Any], results: list[Tensor], ulps: int | None) -> list[Any]:
    """How far the results may differ: by 32 times what errors of the size of each record's bound do, in 4 replays."""
    arrays = [np.asarray(y.numpy()) for y in results]
    if not records or records[0].backend.name != "numpy":
        return [0.0] * len(arrays)
    products = {r.output for r in records if r.primitive.name == "multiply"}
    own = [_own_bounds(record, products, ulps) for record in records]
    slots = [y._slot for y in results]
    if len(records) == 1:
        alone = dict(zip(_slots(records[0]), own[0]))
        return [alone.get(slot, 0.0) for slot in slots]
    rng = np.random.default_rng(0)
    spread: list[Any] = [0.0] * len(arrays)
    with np.errstate(all="ignore"):
        for _ in range(bounds.REPLAYS):
            moved: dict[int, Any] = {}
            for record, allowed in zip(records, own):
                changed = any(slot in moved for slot in record.inputs)
                if not changed and not any(np.any(most) for most in allowed):
                    continue
                values = tuple(moved.get(slot, x) for slot, x in zip(record.inputs, record.values))
                parts = bounds.run(record, values) if changed else _listed(record.result)
                for slot, part, most in zip(_slots(record), parts, allowed):
                    if part.dtype.kind == "f":
                        part = np.asarray(part + most * rng.uniform(-1, 1, part.shape)).astype(part.dtype)
                    moved[slot] = part
            for i, (slot, y) in enumerate(zip(slots, arrays)):
                if slot in moved and y.dtype.kind == "f":
                    spread[i] = np.fmax(spread[i], abs(moved[slot] - y))
    return [bounds.FACTOR * part for part in spread]


def _own_bounds(record: Any, products: set[int], ulps: int | None) -> list[Any]:
    own = bounds.bounds_of(record, ulps)
    with np.errstate(all="ignore"):
        fused = bounds.fused_bound(record, products)
    return [most + fused for most in own] if np.any(fused) else own


def _slots(record: Any) -> tuple[int, ...]:
    return record.output if isinstance(record.output, tuple) else (record.output,)


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def _told(what: str, one: Any, two: Any, over: tuple[float, Any], most: Any, first: Any, other: Any) -> str:
    off, index = over
    if one.shape != two.shape or one.dtype != two.dtype:
        return f"{what}: {one.dtype} {one.shape} on {first.name}, {two.dtype} {two.shape} on {other.name}"
    allowed = float(np.broadcast_to(most, one.shape)[index])
    return (
        f"{what}: {one[index]!r} on {first.name} and {two[index]!r} on {other.name} at index {list(index)}; "
        f"they differ by {off:.3g}, and round-off explains {allowed:.3g}"
    )
