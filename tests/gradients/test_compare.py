"""Rules side by side."""

import sys

import numpy as np
import pytest
from recurrent_cells import Readout, TwoSpeeds, sequence

from tinygrad_rnn import gradients
from tinygrad_rnn.errors import ArgumentError


def found():
    rules = [gradients.RTRL(), gradients.TruncatedBPTT(1, 1), gradients.ARTBP(0.5, seed=0)]
    return gradients.compare(rules, TwoSpeeds(), sequence(5), Readout(), repeats=8)


def test_an_exact_rule_has_no_bias_and_a_truncated_one_has():
    exact, truncated, random = found().rules
    assert np.abs(exact.cosine - 1).max() < 1e-14 and exact.relative_bias.max() < 1e-13 and not exact.variance.any()
    assert truncated.relative_bias[0] < 1e-14  # one step has nothing to cut off
    assert truncated.relative_bias[-1] > 1e-3 and not truncated.variance.any()
    assert random.variance[0] < 1e-30 and random.variance[-1] > 1e-3


def test_the_numbers_are_their_definitions():
    cell, xs, loss = TwoSpeeds(), sequence(4), Readout()
    seen = gradients.compare([gradients.ARTBP(0.5, seed=3)], cell, xs, loss, repeats=4)[0]

    def vector(rule):
        result = rule.gradient(cell, xs, loss).gradients
        return np.concatenate([result[name].numpy().ravel() for name in sorted(result)])

    exact = vector(gradients.BPTT())
    runs = np.stack([vector(gradients.ARTBP(0.5, seed=3 + k)) for k in range(4)])
    mean, size = runs.mean(axis=0), np.sqrt((exact**2).sum())
    assert seen.cosine[-1] == pytest.approx(mean @ exact / np.sqrt((mean**2).sum()) / size, rel=1e-12)
    assert seen.relative_bias[-1] == pytest.approx(np.sqrt(((mean - exact) ** 2).sum()) / size, rel=1e-12)
    assert seen.variance[-1] == pytest.approx(((runs - mean) ** 2).sum(axis=1).mean() / size**2, rel=1e-12)


def test_a_comparison_prints_a_row_a_rule():
    lines = str(found()).splitlines()
    assert len(lines) == 4 and lines[1].startswith("RTRL()") and "cosine" in lines[0]


def test_the_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "rules.svg"
    found().picture(path)
    assert "<svg" in path.read_text(encoding="utf-8")


def test_comparing_loads_no_matplotlib():
    before = "matplotlib" in sys.modules
    found()
    assert ("matplotlib" in sys.modules) == before


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ArgumentError, match="list"):
        gradients.compare([], TwoSpeeds(), sequence(2), Readout())
    with pytest.raises(ArgumentError, match="list"):
        gradients.compare(["RTRL"], TwoSpeeds(), sequence(2), Readout())
