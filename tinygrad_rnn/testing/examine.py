"""One examination of one function: repeats, memory, and the three ways to look at its Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from .conduct import check_memory, check_repeats
from .judge import Claim, Finding, compare, judge
from .numeric import (
    ANALYTIC,
    EPS,
    FAMILIES,
    ROUNDINGS,
    Curve,
    acts_by_entry,
    admits_complex,
    complex_step,
    richardson,
)
from .report import GradReport
from .roundoff import FACTOR, gradient_spread, peak, value_spread
from .subjects import Subject

MODES = ("rev", "fwd", "dot")
SMALL = 64  # a Jacobian of at most 64 x 64 is looked at in full
_ROUND = ROUNDINGS * EPS
# The widest tolerance between the two sweeps. A gate f near 1 loses the digits of 1 - f in each of them, in its own way
# and at every step; in 400,000 checks of right gradients the worst was 7 times what one sweep is granted.
_BOTH = 16.0
LARGE = 1e150  # its square is near the end of float64's range, and rules square their inputs


class Examination:
    """Draws the directions, looks at every input, and gathers what was found into a report.

    subject: see `subjects`.  modes: those that can run.  options: of `check_gradients`, by name.
    """

    def __init__(self, subject: Subject, modes: tuple[str, ...], options: dict[str, Any]) -> None:
        self.subject: Any = subject
        self.modes = modes
        self.options = options
        self.rng = np.random.default_rng(options["seed"])
        self.y = subject.first
        self.reverse = "rev" in modes or "dot" in modes
        self.forward = "fwd" in modes or "dot" in modes
        self._wide: Any = None

    def run(self, determinism: bool, aliasing: bool) -> GradReport:
        """Examine the function; the arguments say whether to check repeated calls and shared memory."""
        subject, y = self.subject, self.y
        subject.check_untouched()
        if determinism:
            check_repeats(subject)
        if not np.isfinite(y).all():
            at = subject.output_index(int(np.flatnonzero(~np.isfinite(y))[0]))
            return GradReport("inconclusive", f"the result is not finite at output index {at}")
        if self.options["method"] == "complex" and not admits_complex(subject.tape):
            name = next((r.primitive.name for r in subject.tape if r.primitive.name not in ANALYTIC), "another backend")
            raise ArgumentError(f'method="complex" needs analytic primitives, and fn uses {name}; use method="fd"')
        if aliasing and self.reverse:
            check_memory(subject, signed(self.rng, y.shape))
        moving = [k for k in subject.wrt if subject.points[k].size and y.size]
        structure = self._structure(moving)
        look = {"elementwise": self._elementwise, "full": self._full, "projection": self._projection}[structure]
        findings = look(moving)
        subject.check_untouched()
        return self._report(findings, structure)

    def _structure(self, moving: list[int]) -> str:
        subject, exhaustive = self.subject, self.options["exhaustive"]
        if exhaustive is not False and subject.tape is not None and len(subject.shapes) == 1:
            shape = subject.shapes[0]
            if acts_by_entry(subject.tape) and all(_stretches(subject.points[k].shape, shape) for k in moving):
                return "elementwise"
        entries = sum(subject.points[k].size for k in moving)
        small = entries <= SMALL and self.y.size <= SMALL
        return "full" if exhaustive is True or (exhaustive == "auto" and small) else "projection"

    # ---- three ways to look at a Jacobian

    def _elementwise(self, moving: list[int]) -> list[Finding]:
        """Each result depends on one entry of each input: moving all entries at once shows every derivative."""
        subject, shape = self.subject, self.subject.shapes[0]
        y = self.y.reshape(shape)
        v = signed(self.rng, shape)
        weights = abs(v)
        steps = {k: self._direction(k) for k in moving}
        pulled: dict[int, Any] = {}
        pushed: dict[int, Any] = {}
        size = abs(y)
        if self.reverse:
            pulled = dict(zip(subject.wrt, subject.pull(v.reshape(-1))))
        if self.forward:
            pushed = {k: subject.push(k, steps[k]).reshape(shape) for k in moving}
        unit = np.zeros(shape)
        for k in moving:  # |x| is at most four times |u|
            unit = unit + abs(subject.points[k])
            size = size + (abs(pulled[k] * subject.points[k]) / weights if self.reverse else 4 * abs(pushed[k]))
        findings: list[Finding] = []
        for k in moving:
            u, x = steps[k], subject.points[k]

            def lift(a: Any, w: Any = v, shape: Any = x.shape) -> Any:
                return _shrunk(w * a, shape)

            def lift_abs(a: Any, w: Any = weights, shape: Any = x.shape) -> Any:
                return _shrunk(w * a, shape)

            def at(t: float, k: int = k, x: Any = x, u: Any = u) -> Any:
                return subject.at(k, x + t * u).reshape(shape)

            def exact(k: int = k, u: Any = u) -> Any:
                return self._complex(k, u, lambda slope: slope.reshape(shape))

            claims = []
            if self.reverse:
                got = pulled[k] * u
            if "rev" in self.modes:
                claims.append(Claim("rev", got, abs(got), lift, lift_abs))
            if "fwd" in self.modes:
                claims.append(Claim("fwd", pushed[k], abs(pushed[k])))
            found = self._judge(at, y, size, lambda: self._coarse(unit.reshape(-1)).reshape(shape), claims, exact)
            if "dot" in self.modes:
                strict = _ROUND * (lift_abs(abs(pushed[k])) + abs(got))
                sizes = (_ROUND * lift_abs(each) for each in (size, _BOTH * (size + unit)))
                found.append(compare("dot", got, lift(pushed[k]), strict, *(strict + each for each in sizes)))
            for finding in found:
                finding.input = k
                if (
                    finding.verdict == "fail"
                    and (spread := self._spread(k, v.reshape(-1), finding.claim.mode)) is not None
                ):
                    by_entry = finding.claim.mode == "fwd"
                    finding.pardon(np.broadcast_to(spread * abs(u), shape) / weights if by_entry else spread * abs(u))
                if finding.verdict != "pass":
                    self._place_by_entry(finding, u, v, shape)
            findings += found
        return findings

    def _place_by_entry(self, finding: Finding, u: Any, v: Any, shape: tuple[int, ...]) -> None:
        """Name the worst entry; a forward finding is about an entry of the result, the others about the input's."""
        if finding.claim.mode == "fwd":
            output = np.unravel_index(finding.flat, shape)
            inner = output[len(shape) - u.ndim :]
            index = tuple(0 if n == 1 else int(i) for i, n in zip(inner, u.shape))
            finding.output, unit = tuple(int(i) for i in output), float(u[index])
        else:
            index = tuple(int(i) for i in np.unravel_index(finding.flat, u.shape))
            unit = float(u[index])
            if u.shape == shape:
                finding.output, unit = index, unit * float(v[index])
        finding.settle(index, unit)

    def _full(self, moving: list[int]) -> list[Finding]:
        """Column by column: move one entry of one input at a time."""
        subject, y = self.subject, self.y
        rows: dict[int, Any] = {}
        columns: dict[int, Any] = {}
        if self.reverse:
            signs = self._halves(y.size)
            pulled = [subject.pull(sign * one) for sign, one in zip(signs, np.eye(y.size))]
            for place, k in enumerate(subject.wrt):
                rows[k] = np.stack([row[place].reshape(-1) for row in pulled], axis=1) / signs if k in moving else None
        if self.forward:
            for k in moving:
                x = subject.points[k]
                signs = self._halves(x.size)
                steps = [(sign * one).reshape(x.shape) for sign, one in zip(signs, np.eye(x.size))]
                columns[k] = np.stack([subject.push(k, one) for one in steps]) / signs[:, None]
        known = rows or columns
        size = abs(y) + sum(abs(subject.points[k].reshape(-1)) @ abs(known[k]) for k in moving)
        findings: list[Finding] = []
        for k in moving:
            x, u = subject.points[k], self._direction(k).reshape(-1)

            def at(t: float, k: int = k, x: Any = x, u: Any = u) -> Any:
                return np.stack([subject.at(k, x + t * one) for one in _each(u, x.shape)])

            def exact(k: int = k, u: Any = u, x: Any = x) -> Any:
                slopes = [self._complex(k, one, lambda slope: slope) for one in _each(u, x.shape)]
                return None if any(slope is None for slope in slopes) else np.stack(slopes)

            whole = (u.size, y.size)
            back: Any = rows[k] * u[:, None] if rows else None
            forth: Any = columns[k] * u[:, None] if columns else None
            claims = []
            if "rev" in self.modes:
                claims.append(Claim("rev", back, abs(back)))
            if "fwd" in self.modes:
                claims.append(Claim("fwd", forth, abs(forth)))
            unit = np.full(y.size, max(float(abs(subject.points[other]).max()) for other in moving))

            def coarse(unit: Any = unit, whole: tuple[int, int] = whole) -> Any:
                return np.broadcast_to(self._coarse(unit), whole)

            found = self._judge(at, np.broadcast_to(y, whole), np.broadcast_to(size, whole), coarse, claims, exact)
            if "dot" in self.modes:
                sizes = (0.0, size, _BOTH * (size + unit))
                found.append(compare("dot", back, forth, *(_ROUND * (abs(back) + abs(forth) + each) for each in sizes)))
            for finding in found:
                if finding.verdict == "fail" and subject.tape is not None:
                    spread = np.zeros(whole)
                    for i in np.flatnonzero(finding.refused.any(axis=0)):
                        spread[:, i] = (
                            self._spread(k, np.eye(y.size)[i], finding.claim.mode) * abs(u.reshape(x.shape))
                        ).reshape(-1)
                    finding.pardon(spread)
                entry, output = divmod(finding.flat, y.size)
                finding.input, finding.output = k, subject.output_index(output)
                finding.settle(tuple(int(i) for i in np.unravel_index(entry, x.shape)), float(u[entry]))
            findings += found
        return findings

    def _projection(self, moving: list[int]) -> list[Finding]:
        """Random weights of the results, random directions of the inputs."""
        subject, y = self.subject, self.y
        findings: list[Finding] = []
        for _ in range(self.options["directions"]):
            v = signed(self.rng, y.shape)
            pulled: dict[int, Any] = {}
            size = np.array([abs(v) @ abs(y)])
            if self.reverse:
                pulled = dict(zip(subject.wrt, subject.pull(v)))
                size = size + sum(np.sum(abs(pulled[k] * subject.points[k])) for k in moving)
            for k in moving:
                x, u = subject.points[k], self._direction(k)

                def at(t: float, k: int = k, x: Any = x, u: Any = u, v: Any = v) -> Any:
                    return np.array([v @ subject.at(k, x + t * u)])

                def exact(k: int = k, u: Any = u, v: Any = v) -> Any:
                    return self._complex(k, u, lambda slope: np.array([v @ slope]))

                claims = []
                unit = np.array([abs(x).sum()])
                if self.reverse:
                    got, terms = np.array([np.sum(pulled[k] * u)]), np.array([np.sum(abs(pulled[k] * u))])
                if self.forward:
                    tangent = subject.push(k, u)
                    forward, parts = np.array([v @ tangent]), np.array([abs(v) @ abs(tangent)])
                if "rev" in self.modes:
                    claims.append(Claim("rev", got, terms))
                if "fwd" in self.modes:
                    claims.append(Claim("fwd", forward, parts))
                whole = size if self.reverse else size + 4 * parts  # |x| is at most four times |u|

                def coarse(v: Any = v, unit: Any = unit) -> Any:
                    return np.fmax(abs(v) @ self._coarse(np.zeros(1)), unit / 8)

                found = self._judge(at, np.array([v @ y]), whole, coarse, claims, exact)
                if "dot" in self.modes:
                    sizes = (0.0, whole, _BOTH * (whole + unit))
                    found.append(compare("dot", got, forward, *(_ROUND * (terms + parts + each) for each in sizes)))
                for finding in found:
                    finding.input = k
                    if finding.verdict == "fail" and (spread := self._spread(k, v, finding.claim.mode)) is not None:
                        finding.pardon(np.array([np.sum(spread * abs(u))]))
                    if finding.verdict == "fail" and finding.claim.mode != "fwd" and self.reverse:
                        self._narrow(finding, u, v, pulled[k])
                    elif finding.verdict != "pass":
                        finding.settle((), 1.0)
                findings += found
        return findings

    def _narrow(self, finding: Finding, u: Any, v: Any, gradient: Any) -> None:
        """Halve the direction again and again, toward the entry whose derivative is off."""
        k, subject = finding.input, self.subject
        x = subject.points[k]
        chosen = np.arange(x.size)
        enough = 0.01 * float(abs(finding.claim.got - finding.expected)[0])
        while True:
            halves = [chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]] if len(chosen) > 1 else [chosen]
            errors = []
            for half in halves:
                part = np.zeros(x.size)
                part[half] = u.reshape(-1)[half]
                part = part.reshape(x.shape)
                slope, _, _ = richardson(
                    lambda t, d=part: np.array([v @ subject.at(k, x + t * d)]),  # type: ignore[misc]
                    np.array([abs(v) @ abs(self.y)]), step=FAMILIES[1][0], ratio=FAMILIES[1][1], target=enough,
                )  # fmt: skip
                errors.append((abs(float(np.sum(gradient * part)) - float(slope[0])), float(slope[0])))
            worst = int(len(halves) == 2 and not errors[0][0] >= errors[1][0])
            chosen = halves[worst]
            if len(chosen) == 1:
                j = int(chosen[0])
                step = float(u.reshape(-1)[j])
                finding.index = tuple(int(i) for i in np.unravel_index(j, x.shape))
                finding.values = (errors[worst][1] / step, float(gradient.reshape(-1)[j]),
                                  float(finding.tolerance[0]) / abs(step))  # fmt: skip
                return

    # ---- parts

    def _judge(
        self,
        at: Curve,
        value: Any,
        size: Any,
        coarse: Callable[[], Any],
        claims: list[Claim],
        exact: Callable[[], Any],
    ) -> list[Finding]:
        if not claims:
            return []
        options = self.options
        extra = None
        if options["rtol"] is not None or options["atol"] is not None:
            extra = (options["rtol"] or 0.0, options["atol"] or 0.0)
        steps = self.subject.tape is not None and options["method"] in ("auto", "complex")
        return judge(at, value, size, coarse, claims, method=options["method"], kinks=options["kinks"],
                     extra=extra, exact=exact if steps else None)  # fmt: skip

    def _coarse(self, unit: Any) -> Any:
        """Size of the round-off in the flat result when the function loses more than its values show.

        The tape's own numbers are given round-off and the result is watched; a primitive, inside, may pass
        through numbers near 1 on its way to a tiny result (1 + erf(x) in the tail of a gelu), so two roundings
        of `unit`, the size that the result would have with derivatives of 1, are granted in any case.
        """
        subject = self.subject
        if self._wide is None:
            parts = [np.zeros(shape) for shape in subject.shapes]
            if subject.tape is not None:
                spread = value_spread(subject.tape, subject.slots(), self.rng, EPS)
                parts = [np.broadcast_to(part, shape) for part, shape in zip(spread, subject.shapes)]
            self._wide = np.concatenate([part.reshape(-1) for part in parts]) / EPS
        return np.fmax(self._wide, unit / 8)

    def _spread(self, k: int, v: Any, mode: str) -> Any:
        """What round-off may do to the gradient of input k, by replays of the tape; None without a tape."""
        subject = self.subject
        if subject.tape is None:
            return None
        seeds, slot = subject.split(v), subject.boxes[k]._slot
        one, more = (
            gradient_spread(subject.tape, subject.slots(), seeds, [slot], self.rng, eps)[0] for eps in (EPS, 16 * EPS)
        )
        # Round-off grows with eps. A rule that jumps (a comparison that no longer holds) does not, and is not
        # excused, unless nothing but the other sweep speaks against it.
        return FACTOR * np.where((more >= 4 * one) | (mode == "dot"), one, 0.0)

    def _complex(self, k: int, u: Any, shaped: Callable[[Any], Any]) -> Any:
        """Slopes of the results along u by a complex step, or None where the tape is not analytic."""
        subject = self.subject
        if not admits_complex(subject.tape):
            return None
        slopes = []
        for step in (1e-30, 1e-90):
            found = complex_step(subject.tape, subject.boxes[k]._slot, u, subject.slots(), step=step)
            parts = [
                np.zeros(shape) if part is None else np.broadcast_to(part, shape)
                for part, shape in zip(found, subject.shapes)
            ]
            slopes.append(np.concatenate([part.reshape(-1) for part in parts]))
        # at a branch point (sqrt at 0) the two differ
        return shaped(slopes[0]) if np.allclose(slopes[0], slopes[1], rtol=1e-12, atol=0.0) else None

    def _halves(self, count: int) -> Any:
        """1/2 with random signs: exact to divide by, and unlike 1 not the cotangent that a rule may forget."""
        return np.copysign(0.5, self.rng.random(count) - 0.5)

    def _direction(self, k: int) -> Any:
        """A random direction of input k, each entry in proportion to the one that it moves."""
        x = self.subject.points[k]
        length = abs(x)
        top = float(length.max())
        scale = 0.5 * length
        if float(length.min()) == 0.0:  # zero has no scale of its own: it takes the others', at most 1
            scale = np.where(length == 0, 0.5 * min(top, 1.0) if top else 0.5, scale)
        return signed(self.rng, x.shape) * (scale + (2.0**-30 * top + 2.0**-40))

    def _overflows(self) -> bool:
        return self.subject.tape is not None and peak(self.subject.tape) > LARGE

    def _report(self, findings: list[Finding], structure: str) -> GradReport:
        report = GradReport(structure=structure, evaluations=self.subject.evaluations)
        report.resolution = max([0.0, *(finding.resolution for finding in findings)])
        rank = {"fail": 2, "inconclusive": 1, "pass": 0}
        worst = max(findings, key=lambda finding: rank[finding.verdict], default=None)
        if worst is None or worst.verdict == "pass":
            return report
        report.verdict, report.reason, report.mode = worst.verdict, worst.reason, worst.claim.mode
        if worst.verdict == "fail" and not _all_finite(worst) and self._overflows():
            report.verdict, report.reason = "inconclusive", "a number on the tape, or its square, overflows"
        report.input, report.index, report.output = worst.input, worst.index, worst.output
        report.expected, report.got, report.tolerance = worst.values
        report.resolution = worst.resolution
        report.kink, report.at_kink = any(finding.kink for finding in findings), worst.kink
        if report.verdict == "inconclusive" and self.subject.failure is not None:
            report.reason += f"; fn raised near the inputs: {self.subject.failure}"
        return report


def _all_finite(finding: Finding) -> bool:
    return bool(np.isfinite(finding.claim.got).all() and np.isfinite(finding.expected).all())


def signed(rng: np.random.Generator, shape: Any) -> Any:
    """Numbers between 1/2 and 1 with random signs: no entry is too small to be seen, no sum of them vanishes."""
    r = rng.random(shape) - 0.5
    return np.copysign(0.5 + abs(r), r)


def _each(u: Any, shape: tuple[int, ...]) -> Any:
    """The directions that move one entry each."""
    for j in range(u.size):
        one = np.zeros(u.size)
        one[j] = u[j]
        yield one.reshape(shape)


def _shrunk(a: Any, shape: tuple[int, ...]) -> Any:
    """Sum over the axes along which `shape` was broadcast."""
    if a.shape == shape:
        return a
    a = a.sum(axis=tuple(range(a.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and a.shape[i] != 1)
    return np.asarray(a.sum(axis=axes, keepdims=True) if axes else a)


def _stretches(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    if shape == to:
        return True
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
