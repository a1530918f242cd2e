"""Compare claimed slopes with measured ones: accept, reject on self-consistent evidence, or leave open."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .numeric import EPS, FAMILIES, FINE, ROUNDINGS, Curve, bent, kinked, noise_level, richardson, taylor_order

POWER = 1e-4  # a slope known worse than this, relative to the largest, decides nothing
ENOUGH = 2.0**-30  # relative error at which refining stops
_ROUND = ROUNDINGS * EPS


@dataclass
class Claim:
    """A slope that a rule computed, and how to get it from the slopes of the function's results.

    got: what the rule gave.  scale: size of the terms that it summed, for its own round-off.
    lift, lift_abs: from the slopes of the results to what `got` should be (weights and sums), and the
        same with the weights' absolute values, for errors.
    """

    mode: str
    got: Any
    scale: Any
    lift: Callable[[Any], Any] = lambda a: a
    lift_abs: Callable[[Any], Any] = lambda a: a


@dataclass
class Finding:
    """What came of one claim. `flat` is its worst entry; expected and tolerance have the claim's shape.

    refused: mask of the entries that are wrong.  input, index, output: of the worst entry.
    values: expected derivative, the one given, and the tolerance.
    """

    claim: Claim
    verdict: str
    reason: str
    expected: Any
    tolerance: Any
    resolution: float
    flat: int = 0
    kink: bool = False
    refused: Any = False
    input: int = 0
    index: tuple[int, ...] | None = None
    output: tuple[int, ...] | None = None
    values: tuple[float, float, float] | tuple[None, None, None] = (None, None, None)

    def pardon(self, spread: Any) -> None:
        """Take back a refusal where the rule's own round-off, measured by replays of the tape, explains it.

        spread: by how much it moves `got`, entry by entry.
        """
        off = abs(self.claim.got - self.expected)
        allowed = self.tolerance + spread
        # a replay that overflows proves nothing, unless it is the rule's answer itself that is not finite
        left = self.refused & (~np.isfinite(self.claim.got) | (np.isfinite(spread) & ~(off <= allowed)))
        self.tolerance = np.where(self.refused, allowed, self.tolerance)
        if left.any():
            self.flat = _worst(np.where(left, off, 0.0), self.tolerance)
            return
        self.resolution = _ratio(
            float(np.nan_to_num(self.tolerance, nan=np.inf).max()), max(_peak(self.claim.scale), _peak(self.expected))
        )
        self.verdict = "pass" if self.resolution <= POWER else "inconclusive"
        self.reason = "" if self.verdict == "pass" else "the sweep's own round-off hides the slope"

    def settle(self, index: tuple[int, ...], unit: float) -> None:
        """Place the worst entry, and turn its numbers into derivatives by dividing by what it moved."""
        self.index = index
        at = self.flat
        parts = (np.reshape(self.expected, -1)[at], np.reshape(self.claim.got, -1)[at])
        self.values = (float(parts[0]) / unit, float(parts[1]) / unit,
                       float(np.reshape(self.tolerance, -1)[at]) / abs(unit))  # fmt: skip


def judge(
    at: Curve,
    value: Any,
    size: Any,
    coarse: Callable[[], Any],
    claims: list[Claim],
    *,
    method: str = "auto",
    kinks: str = "inconclusive",
    extra: tuple[float, float] | None = None,
    exact: Callable[[], Any] | None = None,
) -> list[Finding]:
    """Judge every claim about the slopes of ``at`` at 0.

    value: at(0).  size: bound of the terms summed in each entry.  coarse: gives a size for a function that loses
        more to round-off than `size` says.  extra: (rtol, atol) to allow beyond.  exact: gives slopes by
        complex step, or None.
    A claim passes where any of three families of steps accepts it. It fails only where the three agree with
    each other, the slopes on the two sides converge, and all three exclude it, with the coarse size.
    """
    at = functools.cache(at)  # a second look, at another size, takes the same steps
    for claim in claims:  # a claim that is not finite has no size; it is refused by its value
        claim.scale = _finite(claim.scale)
    size = np.fmax(_finite(size), abs(value))
    if method == "taylor":
        return [_by_taylor(at, value, coarse(), claim) for claim in claims]
    if method == "complex" and exact is not None:
        slope = exact()
        return [_by_complex_step(claim, slope, size, extra) for claim in claims]

    def widest() -> Any:
        return np.fmax(np.fmax(size, coarse()), noise_level(at) / EPS)

    largest = max(_peak(claim.scale) for claim in claims)
    slope, error, probes = richardson(at, size, step=FAMILIES[0][0], ratio=FAMILIES[0][1], target=ENOUGH * largest)
    findings = [_against(claim, slope, error, size, extra) for claim in claims]
    suspects = bent(probes, value, size, abs(slope))
    found: Any = None
    wide = size
    if suspects.any():
        found, *slopes = kinked(at, value, widest(), abs(slope))
        found = found & suspects
        found = found if found.any() else None
    if any(finding.verdict != "pass" for finding in findings):
        families = [(slope, error)] + [richardson(at, size, step=h, ratio=c)[:2] for h, c in FAMILIES[1:]]
        findings = [_any_of(claim, families, size, extra) for claim in claims]
    if any(finding.verdict != "pass" for finding in findings):
        wide = widest()
        families = [richardson(at, wide, step=h, ratio=c)[:2] for h, c in (*FAMILIES, FINE)]
        again = [_any_of(claim, families, wide, extra) for claim in claims]
        findings = [new if old.verdict != "pass" else old for old, new in zip(findings, again)]
        if any(finding.verdict == "fail" for finding in findings):
            _take_back_blurred(findings, noise_level(at), value, probes)
        if found is None and any(finding.verdict != "pass" for finding in findings):
            found, *slopes = kinked(at, value, wide, abs(slope), anywhere=True)
            found = found if found.any() else None
    if found is not None:
        findings = [_at_kink(finding, found, slopes, kinks, size) for finding in findings]
    elif exact is not None and any(finding.verdict == "inconclusive" for finding in findings):
        slope = exact()
        if slope is not None:
            findings = [_by_complex_step(claim, slope, wide, extra) for claim in claims]
    return findings


def _take_back_blurred(findings: list[Finding], noise: Any, value: Any, probes: list[Any]) -> None:
    """Take back refusals where round-off leaves nine digits of the values or fewer: sin(1e23) looks flat everywhere."""
    moved = np.maximum.reduce([abs(side - value) for _, *sides in probes for side in sides])
    blurred = noise > 1e-9 * (abs(value) + moved)
    for finding in findings:
        left = finding.refused & ~(finding.claim.lift_abs(blurred.astype(np.float64)) > 0)
        if finding.verdict == "fail" and not left.any():
            finding.verdict, finding.reason = "inconclusive", "round-off hides nearly all digits of the function"


def compare(mode: str, got: Any, expected: Any, *tolerances: Any) -> Finding:
    """Compare two slopes that should agree to rounding, such as those of the two sweeps.

    tolerances: from the strictest to the widest; the first that holds decides, and gives the resolution.
    """
    if not np.isfinite(got).all():  # infinities of one sign agree, and NaN is refused by the other modes
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        got, expected = np.where(same, 0.0, got), np.where(same, 0.0, expected)
        tolerances = tuple(np.where(same, 0.0, tolerance) for tolerance in tolerances)
    for tolerance in tolerances:
        finding = _against(Claim(mode, got, np.zeros(1)), expected, tolerance, 0.0, None)
        if finding.verdict != "fail":
            return finding
    finding.reason = "the two sweeps disagree: <v, J u> is not <J* v, u>"
    return finding


def _against(claim: Claim, slope: Any, error: Any, size: Any, extra: tuple[float, float] | None) -> Finding:
    """Accept or refuse a claim by one set of slopes with their error bounds."""
    expected = claim.lift(slope)
    known = allowed = claim.lift_abs(error + _ROUND * size) + _ROUND * claim.scale
    if extra is not None:
        allowed = known + (extra[0] * abs(expected) + extra[1])
    big = max(_peak(claim.scale), _peak(expected))
    resolution = _ratio(float(allowed.max()), big)
    off = abs(claim.got - expected)
    if not (off <= allowed).all():
        refused = ~(off <= allowed)
        return Finding(claim, "fail", "", expected, allowed, resolution, _worst(off, allowed), refused=refused)
    if resolution <= POWER or (extra is not None and known.max() < np.inf):
        return Finding(claim, "pass", "", expected, allowed, resolution)
    reason = "the slope is not known well enough: round-off or the edge of the domain hides it"
    return Finding(claim, "inconclusive", reason, expected, allowed, resolution, int(np.argmax(known)))


def _by_complex_step(claim: Claim, slope: Any, size: Any, extra: tuple[float, float] | None) -> Finding:
    """Judge by a slope that is free of round-off: strictly to accept, with the function's own to refuse."""
    finding = _against(claim, slope, _ROUND * abs(slope), 0.0, extra)
    if finding.verdict == "pass":
        return finding
    return _against(claim, slope, _ROUND * abs(slope), size, extra)


def _any_of(claim: Claim, families: list[tuple[Any, Any]], size: Any, extra: tuple[float, float] | None) -> Finding:
    """Accept where any family accepts; refuse where all three are sure, agree with each other, and refuse.

    A fourth family, of the finest steps, need not be sure, but must exclude the claim as well.
    """
    each = [_against(claim, slope, error, size, extra) for slope, error in families]
    big = max([_peak(claim.scale)] + [_peak(finding.expected) for finding in each])
    limit = np.inf if big == 0 or extra is not None else POWER * big
    best: Any = np.full(np.shape(claim.got), np.inf)
    expected: Any = np.full(np.shape(claim.got), np.nan)
    accepted: Any = np.zeros(np.shape(claim.got), bool)
    refused: Any = True
    for number, finding in enumerate(each):
        sure = np.isfinite(finding.tolerance) & (finding.tolerance <= limit)
        inside = abs(claim.got - finding.expected) <= finding.tolerance
        accepts = sure & inside
        better = (accepts & ~accepted) | ((accepts == accepted) & (finding.tolerance < best))
        best, expected = np.where(better, finding.tolerance, best), np.where(better, finding.expected, expected)
        accepted = accepted | accepts
        refused = refused & ~inside & (sure | (number >= len(FAMILIES)))
    for i, one in enumerate(each):
        for other in each[:i]:
            refused = refused & (abs(one.expected - other.expected) <= one.tolerance + other.tolerance)
    resolution = _ratio(float(best.max()), big)
    if refused.any():
        at = _worst(np.where(refused, abs(claim.got - expected), 0.0), best)
        return Finding(claim, "fail", "", expected, best, resolution, at, refused=refused)
    if accepted.all():
        return Finding(claim, "pass", "", expected, best, resolution)
    reason = "differences with several step sizes do not settle the slope (round-off, or a kink or a jump nearby)"
    return Finding(claim, "inconclusive", reason, expected, best, resolution, int(np.argmax(~accepted)))


def _at_kink(finding: Finding, kink: Any, slopes: Any, kinks: str, size: Any) -> Finding:
    """Decide a claim where the slopes on the two sides differ in some entries."""
    claim = finding.claim
    touched = claim.lift_abs(kink.astype(np.float64)) > 0
    if not touched.any():
        return finding
    ahead, behind = slopes
    middle = claim.lift(np.where(kink, 0.5 * (ahead + behind), 0.0))
    width = claim.lift_abs(np.where(kink, 0.5 * abs(ahead - behind), 0.0))
    only = (claim.lift_abs((~kink).astype(np.float64)) == 0) & touched  # every term of the entry is at a kink
    # one-sided slopes are known to the square root of a rounding, about
    slack = 1e-4 * (abs(middle) + width) + claim.lift_abs(np.where(kink, 1e-6 * size, 0.0))
    inside = abs(claim.got - middle) <= width + slack
    outside = only & ~inside
    at = int(np.argmax(outside if outside.any() else touched))
    result = Finding(claim, "inconclusive", "the function has a kink here: its slopes on the two sides differ",
                     np.where(touched, middle, finding.expected), np.where(touched, width + slack, finding.tolerance),
                     finding.resolution, at, kink=True)  # fmt: skip
    if kinks == "subgradient":
        rest = ~touched
        good = abs(claim.got - finding.expected) <= finding.tolerance
        if outside.any():
            result.verdict, result.reason = "fail", "the gradient at a kink lies outside the slopes of the two sides"
            result.refused = outside
        elif (inside & only | rest & good).all():
            result.verdict, result.reason = "pass", ""
        elif finding.verdict == "fail" and not touched.reshape(-1)[finding.flat]:
            return finding
    elif finding.verdict == "fail" and not touched.reshape(-1)[finding.flat]:
        return finding
    return result


def _by_taylor(at: Curve, value: Any, size: Any, claim: Claim) -> Finding:
    """Accept a slope whose Taylor remainder falls as the square of the step."""

    def lifted(t: float) -> Any:
        return claim.lift(at(t))

    got = claim.got
    order, wrong, visible = taylor_order(lifted, claim.lift(value), got, claim.lift_abs(size) + claim.scale)
    resolution = _ratio(float(visible.max()), _peak(claim.scale))
    found = Finding(claim, "pass", "", np.full(np.shape(got), np.nan), visible, resolution)
    if wrong.any():
        found.flat = int(np.argmax(wrong))
        lowest = float(order.reshape(-1)[found.flat])
        found.verdict, found.refused = "fail", wrong
        found.reason = f"the Taylor remainder falls with order {lowest:.2f}; with the right gradient it falls with 2"
    elif not resolution <= 100 * POWER:
        found.flat = int(np.argmax(visible))
        found.verdict, found.reason = "inconclusive", "the Taylor remainder does not fall far enough to tell"
    return found


def _peak(a: Any) -> float:
    """Largest absolute value, NaN and empty counting as 0."""
    top = float(np.abs(a).max(initial=0.0))
    return top if top == top else float(np.nan_to_num(np.abs(a), nan=0.0).max(initial=0.0))


def _finite(a: Any) -> Any:
    return a if np.isfinite(a).all() else np.where(np.isfinite(a), a, 0.0)


def _ratio(error: float, big: float) -> float:
    return error / big if big > 0 else 0.0 if error < np.inf else np.inf


def _worst(off: Any, tolerance: Any) -> int:
    excess = off / np.where(tolerance > 0, tolerance, 5e-324)
    return int(np.argmax(np.where(np.isnan(excess), np.inf, excess))) if np.size(excess) else 0
