"""What the checks of a run came to, for whoever wants a summary: the pytest plugin does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Ledger:
    """Counts of the checks that were made while it was open.

    checks: how many.  verdicts: of each kind.  reasons: why checks were inconclusive, with counts.
    worst: largest resolution of a check that passed (the weakest of them).  worst_at: the `place` where that was.
    place: where the run is now; whoever opens the ledger sets it.
    """

    checks: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0
    worst_at: str = ""
    place: str = ""

    def note(self, report: Any) -> None:
        """Count one report."""
        self.checks += 1
        self.verdicts[report.verdict] += 1
        if report.verdict == "inconclusive":
            self.reasons[report.reason.partition(";")[0]] += 1
        if report.verdict == "pass" and report.resolution > self.worst:
            self.worst, self.worst_at = float(report.resolution), self.place

    def add(self, other: dict[str, Any]) -> None:
        """Add the counts of another process, as its `as_dict` gave them."""
        self.checks += other["checks"]
        self.verdicts.update(other["verdicts"])
        self.reasons.update(other["reasons"])
        if other["worst"] > self.worst:
            self.worst, self.worst_at = other["worst"], other["worst_at"]

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain numbers, dicts and words."""
        return {
            "checks": self.checks,
            "verdicts": dict(self.verdicts),
            "reasons": dict(self.reasons),
            "worst": self.worst,
            "worst_at": self.worst_at,
        }


open_ledgers: list[Ledger] = []


def note(report: Any) -> None:
    """Count a report in every open ledger.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.testing import check_gradients
    >>> ledger = Ledger()
    >>> open_ledgers.append(ledger)
    >>> report = check_gradients(tg.sin, tg.tensor([0.5], dtype="float64"))
    >>> open_ledgers.remove(ledger)
    >>> ledger.checks, ledger.worst == report.resolution
    (1, True)
    """
    for ledger in open_ledgers:
        ledger.note(report)
