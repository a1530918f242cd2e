"""check_gradients: is the gradient of this function right?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tape import paused
from ..transforms import vjp as tape_vjp
from .examine import MODES, Examination, signed
from .foreign import Foreign
from .ledger import note
from .report import GradientCheckError, GradReport, listing
from .subjects import TensorSubject, make_subject

__all__ = ["check_gradients"]

_CHOICES: dict[str, tuple[Any, ...]] = {
    "method": ("auto", "fd", "complex", "taylor"),
    "exhaustive": ("auto", True, False),
    "kinks": ("inconclusive", "subgradient", "raise"),
    "order": (1, 2),
}


def check_gradients(
    fn: Callable[..., Any],
    *inputs: Any,
    wrt: int | Sequence[int] | None = None,
    modes: Sequence[str] = MODES,
    order: int = 1,
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    method: str = "auto",
    exhaustive: bool | str = "auto",
    directions: int = 2,
    kinks: str = "inconclusive",
    determinism: bool = True,
    aliasing: bool = True,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
) -> GradReport:
    """Check the gradient of a function against its values, at one point.

    fn: a function of Tensors that returns a Tensor, or a tuple of them, of any shapes. With `vjp` or
        `jvp`, a function of NumPy arrays in any other framework (see `torch_function` and its like).
    inputs: Tensors, arrays or numbers. Floating ones are differentiated, in float64. Where an input is float32,
        the gradient in float32 is judged too, against the one in float64 (see `roundoff`).
    wrt: numbers of the inputs to differentiate; None for all floating ones.
    modes: which of reverse mode ("rev"), forward mode ("fwd") and their agreement ("dot") to check.
    order: 2 also checks the gradient function's own gradient.
    vjp: ``vjp(v, *inputs)`` -> cotangents, one for each input.  jvp: ``jvp(tangents, *inputs)`` -> tangent.
    method: "fd" extrapolates central differences; "complex" takes a complex step along the tape (analytic
        primitives only); "taylor" watches how fast the Taylor remainder falls. "auto" is "fd", with a complex step
        where round-off hides the differences and every primitive is analytic.
    exhaustive: look at every entry of the Jacobian; "auto" does for Jacobians up to 64 x 64, and for functions
        that act entry by entry. Larger ones are seen through `directions` random directions, each entry of which
        is between 1/2 and 1 of the input's own, with either sign.
    kinks: where the slopes on two sides differ: "inconclusive"; "subgradient" accepts what lies between them;
        "raise" raises.
    determinism, aliasing: check that two calls agree, and that gradients share no memory with anything else.
    seed: of the random directions.
    rtol, atol: allow an error of ``atol + rtol |expected|`` beyond what the numeric side needs; for
        rules that are approximate on purpose.

    Returns a GradReport, whose truth is whether the check passed. Tolerances follow from a model of the
    differences' own error, never from a constant; what they allowed is in ``report.resolution``.
    Raises GradientCheckError for a function that is not deterministic, writes to its inputs, changes its result's
    shape, or whose gradients share memory; DTypeError for results that are not floating Tensors;
    DataError for NaN or infinity in the inputs and NaN in the result; ArgumentError for unknown options.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.testing import check_gradients
    >>> a, b = tg.tensor([[1.0, 2.0]], dtype="float64"), tg.tensor([[3.0], [4.0]], dtype="float64")
    >>> check_gradients(tg.matmul, a, b, order=2).verdict
    'pass'
    >>> check_gradients(lambda x: x * x.detach(), a).verdict
    'fail'
    >>> check_gradients(tg.abs, tg.tensor([0.0], dtype="float64")).verdict
    'inconclusive'
    """
    given_fn: Any = fn
    if isinstance(given_fn, Foreign):
        fn, vjp, jvp = given_fn.fn, vjp or given_fn.vjp, jvp or given_fn.jvp
    options = {
        "wrt": wrt, "modes": tuple(modes), "order": order, "method": method, "exhaustive": exhaustive,
        "directions": directions, "kinks": kinks, "seed": seed, "rtol": rtol, "atol": atol,
    }  # fmt: skip
    chosen = _validated(options, vjp, jvp)
    with paused(), np.errstate(all="ignore"):
        subject, given = make_subject(fn, inputs, wrt, vjp, jvp)
        check = Examination(subject, chosen, options)
        report = check.run(determinism, aliasing)
        if report and vjp is None and jvp is None:
            report = _further(check, report, given)
        report.fn, report.inputs = fn, given
        report.options = {key: value for key, value in options.items() if value != _DEFAULTS[key]}
        if report.verdict == "fail" and isinstance(subject, TensorSubject):
            from .blame import suspect

            record = suspect(subject.tape, report)
            if record is not None:  # what left the tape would be missing from a listing of it
                report.primitive, report.where = record.primitive.name, record.where
                report.listing = lambda: listing(subject.tape, subject.boxes, subject.outs)
            elif subject.tape.records:
                report.where = subject.tape.records[0].where
    note(report)
    if kinks == "raise" and report.kink:
        raise GradientCheckError(f"{report.reason}\n{report}")
    return report


_DEFAULTS: dict[str, Any] = {
    "wrt": None, "modes": MODES, "order": 1, "method": "auto", "exhaustive": "auto", "directions": 2,
    "kinks": "inconclusive", "seed": 0, "rtol": None, "atol": None,
}  # fmt: skip


def _validated(options: dict[str, Any], vjp: Any, jvp: Any) -> tuple[str, ...]:
    """Check the options' values; return the modes that can run."""
    for key, allowed in _CHOICES.items():
        if options[key] not in allowed:
            raise ArgumentError(f"{key} must be one of {', '.join(map(repr, allowed))}; got {options[key]!r}")
    modes = options["modes"]
    if not modes or any(mode not in MODES for mode in modes):
        raise ArgumentError(f'modes must be some of "rev", "fwd" and "dot"; got {modes!r}')
    if not isinstance(options["directions"], int) or options["directions"] < 1:
        raise ArgumentError(f"directions must be a whole number of at least 1; got {options['directions']!r}")
    for key in ("rtol", "atol"):
        if options[key] is not None and not options[key] >= 0:
            raise ArgumentError(f"{key} must be None or at least 0; got {options[key]!r}")
    if vjp is None and jvp is None:
        return tuple(modes)
    if options["order"] == 2:
        raise ArgumentError(
            "order=2 needs a function of Tensors; check a foreign gradient function by a vjp of its own"
        )
    if options["method"] == "complex":
        raise ArgumentError('method="complex" needs a function of Tensors; use "fd" or "taylor" with vjp= and jvp=')
    needs = {"rev": vjp is not None, "fwd": jvp is not None, "dot": vjp is not None and jvp is not None}
    left = tuple(mode for mode in modes if needs[mode])
    if not left:
        raise ArgumentError(f"modes {modes} need {'jvp=' if vjp is not None else 'vjp='}")
    return left


def _further(check: Examination, report: GradReport, given: list[Any]) -> GradReport:
    """The gradient's gradient, and float32: what is checked beyond the first order in float64."""
    subject, options = check.subject, check.options
    if options["order"] == 2:
        deeper = Examination(second(subject), check.modes, options).run(False, False)
        deeper.order = 2
        deeper.evaluations += report.evaluations
        report = _worse(report, deeper)
    if any(x.dtype == np.float32 for x in given) and "rev" in check.modes and report.verdict != "fail":
        from .roundoff import check_float32

        report = _worse(report, check_float32(subject, given, options["seed"]))
    return report


def second(subject: Any) -> Any:
    """The gradient function as a subject: of the inputs and of the cotangents of the results."""
    count, wrt, fn = len(subject.points), subject.wrt, subject.fn
    rng = np.random.default_rng(1)

    def gradient(*args: Any) -> tuple[Any, ...]:
        def on_wrt(*moving: Any) -> Any:
            call = list(args[:count])
            for k, x in zip(wrt, moving):
                call[k] = x
            out = fn(*call)
            return tuple(out) if isinstance(out, (tuple, list)) else (out,)

        return tuple(tape_vjp(on_wrt, *[args[k] for k in wrt])[1](tuple(args[count:])))

    seeds = [signed(rng, shape) for shape in subject.shapes]
    backends = subject._backends + [y._backend for y in subject.outs]
    return TensorSubject(gradient, [*subject.points, *seeds], [*wrt, *range(count, count + len(seeds))], backends)


def _worse(one: GradReport, other: GradReport) -> GradReport:
    rank = ("pass", "inconclusive", "fail")
    worse = other if rank.index(other.verdict) > rank.index(one.verdict) else one
    worse.resolution = max(one.resolution, other.resolution)
    worse.evaluations = max(one.evaluations, other.evaluations)
    return worse
