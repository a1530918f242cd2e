"""Rules side by side: how far the gradient of each is from that of BPTT, on average and in spread."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..rnn.state import check_sequence
from .bptt import BPTT
from .rule import Gradients, Loss, Rule


@dataclass(frozen=True)
class RuleComparison:
    """One rule against BPTT, with g the gradient of the rule and g* that of BPTT, all parameters in one vector.

    Each is an array (T,): of the losses of the first 1, 2, ..., T steps.
    cosine: of the angle between the mean of g and g*.  relative_bias: |mean g - g*| / |g*|; of a rule that is unbiased
    what is left is its standard error, about the root of variance / repeats.
    variance: mean |g - mean g|² / |g*|², over runs that differ in the seed; 0 for a rule without one.
    """

    rule: Rule
    cosine: Any
    relative_bias: Any
    variance: Any


@dataclass(frozen=True)
class Comparison:
    """What `compare` found: one `RuleComparison` for each rule, in order."""

    rules: tuple[RuleComparison, ...]

    def __getitem__(self, index: int) -> RuleComparison:
        return self.rules[index]

    def __str__(self) -> str:
        width = max(len(repr(each.rule)) for each in self.rules)
        lines = [f"{'rule':{width}}  {'cosine':>8}  {'rel. bias':>9}  {'variance':>9}"]
        lines += [
            f"{each.rule!r:{width}}  {each.cosine[-1]:8.4f}  {each.relative_bias[-1]:9.2e}  {each.variance[-1]:9.2e}"
            for each in self.rules
        ]
        return "\n".join(lines)

    def picture(self, path: str | Path) -> None:
        """Draw the three measures over time into a file; its ending says the format. Needs matplotlib."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        titles = ("cosine with BPTT", "relative bias", "variance / |g*|²")
        for axes, name, title in zip(figure.subplots(1, 3), ("cosine", "relative_bias", "variance"), titles):
            for k, each in enumerate(self.rules):
                values = getattr(each, name)
                style = {"linestyle": ("-", "--", "-.", ":")[k % 4], "marker": "osv^Dx+*"[k % 8], "markersize": 3}
                axes.plot(np.arange(1, len(values) + 1), values, label=repr(each.rule), **style)
            axes.set_title(title)
            axes.set_xlabel("steps T")
            if name != "cosine":
                axes.set_yscale("symlog", linthresh=1e-6)  # round-off and zero are one line at the bottom
        lines, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside lower center", ncols=4, fontsize="small")
        figure.savefig(path)


def compare(
    rules: Sequence[Rule], cell: Any, xs: Any, loss: Loss, state: Any = None, *, repeats: int = 20
) -> Comparison:
    """Compare the gradients of rules with that of BPTT, over time.

    rules: any number.  cell, xs, loss, state: as in `Rule.gradient`.
    repeats: runs of each rule that has a `seed`, which is then seed, seed + 1, ... (0, 1, ... where it is None).

    Takes T runs of lengths 1 to T, so keep T small: at most some tens of steps.

    >>> import tinygrad_rnn as tg
    >>> cell, xs = tg.rnn.ElmanCell(2, 3, rng=0), tg.ones((4, 1, 2))
    >>> rules = [tg.gradients.RTRL(), tg.gradients.TruncatedBPTT(1, 1)]
    >>> found = tg.gradients.compare(rules, cell, xs, lambda y, t: tg.sum(y * y))
    >>> [round(float(each.cosine[-1]), 2) for each in found.rules]
    [1.0, 0.98]
    """
    rules = list(rules)
    if not rules or not all(isinstance(rule, Rule) for rule in rules):
        raise ArgumentError("compare takes a list of at least one rule: compare([gradients.RTRL()], cell, xs, loss)")
    xs = check_sequence(xs)
    table: list[list[tuple[float, float, float]]] = [[] for _ in rules]
    for steps in range(1, xs.shape[0] + 1):
        exact = _vector(BPTT().gradient(cell, xs[:steps], loss, state).gradients)
        for row, rule in zip(table, rules):
            runs = [_vector(each.gradient(cell, xs[:steps], loss, state).gradients) for each in _seeded(rule, repeats)]
            row.append(_measured(np.stack(runs), exact))
    return Comparison(tuple([RuleComparison(rule, *np.array(row).T) for rule, row in zip(rules, table)]))


def _seeded(rule: Rule, repeats: int) -> list[Rule]:
    """The rule once, or as many copies with seeds of their own as there are repeats."""
    if not hasattr(rule, "seed"):
        return [rule]
    first = rule.seed if isinstance(rule.seed, int) else 0
    copies = [copy.copy(rule) for _ in range(repeats)]
    for k, each in enumerate(copies):
        each.seed = first + k
    return copies


def _vector(gradients: Gradients) -> Any:
    return np.concatenate([gradients[name].numpy().reshape(-1).astype(np.float64) for name in sorted(gradients)])


def _measured(runs: Any, exact: Any) -> tuple[float, float, float]:
    mean = runs.mean(axis=0)
    size, length = np.linalg.norm(exact), np.linalg.norm(mean)
    if size == 0:
        return (1.0, 0.0, 0.0) if not runs.any() else (0.0, np.inf, np.inf)
    cosine = 0.0 if length == 0 else float(np.dot(mean / length, exact / size))
    spread = np.mean(np.sum((runs - mean) ** 2, axis=1)) / size**2
    return cosine, float(np.linalg.norm(mean - exact) / size), float(spread)
