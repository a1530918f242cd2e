"""What unbiased rules compute, as laws: the mean over all of their draws is RTRL, and one draw is not."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_cells import (
    CELLS,
    Readout,
    TwoSpeeds,
    WeightInWeight,
    assert_same,
    cells,
    difference,
    sequence,
    stream,
)

import tinygrad_rnn as tg
from tinygrad_rnn import gradients, rnn
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.gradients import (
    ARTBP,
    BPTT,
    KTP,
    RTRL,
    UORO,
    KroneckerRTRL,
    OptimalKronecker,
)
from tinygrad_rnn.gradients.jacobian import StepTape
from tinygrad_rnn.gradients.optimal_kronecker import mixture
from tinygrad_rnn.gradients.rule import add_gradients

law = settings(max_examples=20, deadline=None)
few = settings(max_examples=6, deadline=None)
lengths, lanes, seeds = st.integers(1, 7), st.integers(1, 3), st.integers(0, 99)
RANDOM = [UORO(seed=3), KroneckerRTRL(seed=3), OptimalKronecker(1, seed=3), OptimalKronecker(2, seed=3), KTP(2, seed=3)]


def gradient(rule, cell, xs, loss=None):
    return rule.gradient(cell, xs, loss or Readout()).gradients


def squared(y, t):
    return tg.sum(y * y * (1 + t))


# ---- 5, 6, 7: the mean over all draws


class Scripted:
    """Stands for a generator: gives the bits of a table, one row a step, to whatever draws in that step."""

    def __init__(self, table, learner):
        self.table, self.learner = table, learner

    def integers(self, low, high, size):
        row = np.asarray(self.table[self.learner.t])
        return np.broadcast_to(row[-1] if len(size) == 1 else row[: size[1]], size)


def mean_over_tables(rule, cell, xs, loss, bits, first):
    """The mean gradient over all tables of bits from a step on, zeros before; and the last one alone."""
    total, count = None, 0
    steps = xs.shape[0] - 1 - first  # the noise of the last step is never read
    for flat in itertools.product([0, 1], repeat=bits * steps):
        table = np.array([*[0] * bits * first, *flat, *[0] * bits]).reshape(-1, bits)
        learner = rule.start(cell, xs.shape[1])
        learner.rng = Scripted(table, learner)
        one = None
        for x in xs:
            one = add_gradients(one, learner.step(x, loss).gradients)
        total, count = add_gradients(total, one), count + 1
    return {name: g * (1 / count) for name, g in total.items()}, one


class Small(TwoSpeeds):
    """Two parts of one unit each, a learned initial state."""

    hidden = 1


TINY = {
    "elman": lambda seed: rnn.ElmanCell(1, 2, rng=seed, dtype="float64"),
    "gru": lambda seed: rnn.GRUCell(1, 2, rng=seed, dtype="float64"),
    "gru, reset before": lambda seed: rnn.GRUCell(1, 2, reset_after=False, rng=seed, dtype="float64"),
    "lstm": lambda seed: rnn.LSTMCell(1, 1, rng=seed, dtype="float64"),
    "stack": lambda seed: rnn.StackedCell(
        [rnn.ElmanCell(1, 1, rng=seed, dtype="float64"), rnn.GRUCell(1, 1, rng=seed, dtype="float64")]
    ),
}
tiny = st.builds(lambda kind, seed: TINY[kind](seed), st.sampled_from(list(TINY)), seeds)


def assert_unbiased(rule, cell, batch, bits, seed=0, steps=3, first=0):
    """Assert the mean over all signs; return how far one draw is off."""
    xs = sequence(steps, batch, getattr(cell, "input_size", 1), seed=seed)
    wanted = gradient(RTRL(), cell, xs, squared)
    mean, one = mean_over_tables(rule, cell, xs, squared, bits, first)
    assert_same(mean, wanted)
    return difference(one, wanted)


@given(cell=tiny | st.builds(Small, seeds), batch=st.integers(1, 2), seed=seeds)
@few
def test_uoro_is_right_on_average_over_all_signs(cell, batch, seed):
    assert assert_unbiased(UORO(), cell, batch, 2, seed) > 1e-9


def test_signs_in_pairs_are_enough_and_half_of_them_are_not():
    """Rows of a Hadamard matrix with both signs: 2n tables a step for 2ⁿ. Without the negatives the mean is off."""
    cell, xs = rnn.ElmanCell(1, 4, rng=2, dtype="float64"), sequence(3, 1, 1)
    half = np.kron([[1, 1], [1, -1]], [[1.0, 1], [1, -1]])
    wanted = gradient(RTRL(), cell, xs, squared)

    def mean(rows):
        tables = [np.array([a, b, a])[:, None] for a in rows for b in rows]
        runs = [gradient(UORO(nu=nu), cell, xs, squared) for nu in tables]
        return {name: sum((g[name] for g in runs[1:]), runs[0][name]) * (1 / len(runs)) for name in wanted}

    assert_same(mean([*half, *-half]), wanted)
    assert difference(mean(half), wanted) > 1e-3


@given(cell=tiny, batch=st.integers(1, 2), seed=seeds)
@few
def test_kronecker_factors_are_right_on_average_over_all_signs(cell, batch, seed):
    assert assert_unbiased(KroneckerRTRL(), cell, batch, 1, seed, steps=4) > 1e-9


@given(
    kind=st.sampled_from([kind for kind in TINY if kind != "stack"]),
    shape=st.sampled_from([(1, 4), (2, 4)]),
    seed=seeds,
)
@few
def test_an_optimal_kronecker_sum_is_right_on_average_over_all_signs(kind, shape, seed):
    """The first r steps fill the r products without noise."""
    (rank, steps), cell = shape, TINY[kind](seed)
    off = assert_unbiased(OptimalKronecker(rank), cell, 1, rank + 1, seed, steps, first=rank)
    assert off > 1e-9 or (rank > 1 and kind != "elman")  # blocks of gates read too few numbers to need a third product


@given(values=st.lists(st.floats(0, 5), min_size=1, max_size=4))
@law
def test_a_diagonal_of_singular_values_is_approximated_without_bias_and_least_noise(values):
    """E[M Mᵀ] is the diagonal, and the variance is at most that of any fixed choice of what to mix."""
    values = np.sort(values)[::-1].copy()
    rank = max(1, values.size - 1)
    each = [mixture(values, rank, np.array(s)) for s in itertools.product([-1.0, 1.0], repeat=values.size)]
    products = np.array([m @ m.T for m in each])
    assert all(m.shape == (values.size, rank) for m in each)
    assert np.abs(products.mean(axis=0) - np.diag(values)).max() <= 1e-13 * max(values.max(), 1)
    variance = ((products - np.diag(values)) ** 2).sum(axis=(1, 2)).mean()
    if values.size > 1:  # mixing the two smallest alone is one choice: variance 2 a b
        assert variance <= 2 * values[-1] * values[-2] * (1 + 1e-9) + 1e-12


@given(cell=tiny, rank=st.integers(1, 2), seed=seeds)
@few
def test_triple_products_are_right_on_average_over_all_signs(cell, rank, seed):
    assert assert_unbiased(KTP(rank), cell, 1, 3, seed) > 1e-9


@given(kind=st.sampled_from(["elman", "gru", "gru, reset before", "lstm", "stack"]), steps=lengths, batch=lanes)
@law
def test_a_kronecker_sum_of_full_rank_is_rtrl(kind, steps, batch):
    cell, xs = CELLS[kind](1), sequence(steps, batch)
    full = OptimalKronecker(7, seed=0)  # 2 inputs, 3 units, 2 biases
    assert set(full.coverage(cell).values()) == {"exact"}
    assert_same(gradient(full, cell, xs), gradient(RTRL(), cell, xs), factor=1e5)  # a QR and an SVD in each step
    low = OptimalKronecker(1, seed=0)
    assert low.coverage(cell)["weight_hh" if kind != "stack" else "cells.1.weight_hh"] == "approximate"
    if steps > 3:
        assert difference(gradient(low, cell, xs), gradient(RTRL(), cell, xs)) > 1e-9


def test_noise_falls_with_the_rank_and_the_direct_form():
    """The order that the papers give: OK below KF, KF below UORO; more terms, less noise."""
    cell, xs = rnn.ElmanCell(2, 4, rng=0, dtype="float64"), sequence(5, 1)
    rules = [UORO(0), KTP(1, 0), KTP(4, 0), KroneckerRTRL(0), OptimalKronecker(1, 0), OptimalKronecker(3, 0)]
    wanted = gradient(RTRL(), cell, xs, squared)
    scale = sum(np.sum(g.numpy() ** 2) for g in wanted.values())

    def error(rule):
        runs = []
        for rule.seed in range(30):
            got = gradient(rule, cell, xs, squared)
            runs.append(sum(np.sum((got[name].numpy() - wanted[name].numpy()) ** 2) for name in wanted))
        return np.mean(runs) / scale

    uoro, one, four, kf, ok, ok3 = map(error, rules)
    assert ok3 < ok < kf < uoro and four < one
    assert ok3 > 1e-9


# ---- 10: the mean over all ways to cut


class Cuts:
    """Stands for a generator: cuts between steps where it is told."""

    def __init__(self, cuts):
        self.cuts = list(cuts)

    def random(self):
        return 0.0 if self.cuts.pop(0) else 1.0


@given(
    cell=cells(),
    steps=st.integers(2, 5),
    batch=st.integers(1, 2),
    cut=st.sampled_from([lambda length: 0.3, lambda length: 1 - 1 / (1 + length)]),
)
@few
def test_random_truncation_is_right_on_average_over_all_cuts(cell, steps, batch, cut):
    """Weighted by the probability of each way to cut, also where that depends on the cuts before."""
    xs, loss = sequence(steps, batch), Readout()
    wanted, total, mass, one = gradient(BPTT(), cell, xs, loss), None, 0.0, None
    for cuts in itertools.product([False, True], repeat=steps - 1):
        weight, length = 1.0, 1
        for is_cut in cuts:
            weight *= cut(length) if is_cut else 1 - cut(length)
            length = 1 if is_cut else length + 1
        learner = ARTBP(cut).start(cell, batch)
        learner.rng, one = Cuts(cuts), None
        for x in xs:
            one = add_gradients(one, learner.step(x, loss).gradients)
        one = add_gradients(one, learner.flush())
        total, mass = add_gradients(total, {name: weight * g for name, g in one.items()}), mass + weight
    assert mass == pytest.approx(1.0, abs=1e-14)
    assert_same(total, wanted)
    assert difference(one, wanted) > 1e-9  # cut everywhere


# ---- noise and lanes


@given(cell=cells(["elman", "gru", "two speeds", "stack with a user's cell"]), cut=st.integers(1, 4), seed=seeds)
@law
def test_lanes_have_noise_of_their_own_and_a_reset_forgets_it(cell, cut, seed):
    n = StepTape.start(cell, 1).layout.size
    nu = 2.0 * np.random.default_rng(seed).integers(0, 2, size=(5, 2, n)) - 1
    xs = sequence(5, 2)
    got, _ = stream(UORO(nu=nu), cell, xs, squared, {cut: np.array([True, False])})
    total = gradient(UORO(nu=nu[:cut, :1]), cell, xs[:cut, :1], squared)
    later = gradient(UORO(nu=nu[cut:, :1]), cell, xs[cut:, :1], lambda y, t: squared(y, t + cut))
    total = add_gradients(add_gradients(total, later), gradient(UORO(nu=nu[:, 1:]), cell, xs[:, 1:], squared))
    assert_same(got, total)


@given(rule=st.sampled_from(RANDOM), cell=cells(["elman", "gru", "lstm"]), batch=lanes)
@law
def test_the_first_step_after_a_reset_of_all_lanes_is_exact(rule, cell, batch):
    """Noise is read off one step late, and forgotten with its lane."""
    xs, resets = sequence(4, batch), {2: np.ones(batch, dtype=bool)}
    _, steps = stream(rule, cell, xs, squared, resets)
    _, exact = stream(RTRL(), cell, xs, squared, resets)
    assert_same(steps[2].gradients, exact[2].gradients)


# ---- what these rules say of themselves


@pytest.mark.parametrize("rule", [KroneckerRTRL(0), OptimalKronecker(2, 0), KTP(2, 0)], ids=repr)
@pytest.mark.parametrize("cell", [WeightInWeight(), CELLS["masked"](0), CELLS["transposed"](0)], ids=lambda c: type(c))
def test_kronecker_rules_refuse_weights_that_act_otherwise(rule, cell):
    for meet in (lambda: rule.start(cell, 2), lambda: rule.coverage(cell), lambda: gradient(rule, cell, sequence(2))):
        with pytest.raises(ArgumentError, match=r"one product of matrices each.*Use UORO"):
            meet()


@pytest.mark.parametrize("kind", TINY)
def test_what_is_unbiased_says_so(kind):
    assert {rule.exactness for rule in RANDOM} == {"unbiased"}
    assert set(gradients.UORO().coverage(TINY[kind](0)).values()) == {"approximate"}
