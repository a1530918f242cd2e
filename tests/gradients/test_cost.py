"""What a rule says it costs, against multiplications that were counted and bytes that were measured."""

import tracemalloc

import numpy as np
import pytest
from recurrent_cells import ELEMENTWISE, TwoSpeeds, sequence

import tinygrad_rnn as tg
from tinygrad_rnn import backends, gradients, nn, rnn
from tinygrad_rnn.gradients import checkpointed
from tinygrad_rnn.gradients.counting import one_step


class Counted(np.ndarray):
    """An array that counts the multiplications of whatever is computed from it."""

    total = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        if out is not None:
            options["out"] = tuple(x.view(np.ndarray) if isinstance(x, Counted) else x for x in out)
        result = getattr(ufunc, method)(*plain, **options)
        if method == "__call__" and ufunc is np.multiply:
            Counted.total += result.size
        if ufunc is np.matmul:
            Counted.total += result.size * plain[0].shape[-1]
        if out is not None:
            return out[0]
        return result.view(Counted) if isinstance(result, np.ndarray) and result.dtype.kind == "f" else result


@pytest.fixture
def counting(monkeypatch):
    """Let every array that a sweep starts from be one that counts."""
    xp = backends.resolve("numpy").xp
    for name in ("eye", "zeros"):
        plain = getattr(np, name)
        monkeypatch.setattr(xp, name, lambda *a, plain=plain, **k: plain(*a, **k).view(Counted), raising=False)
    monkeypatch.setattr(xp, "broadcast_to", lambda x, s: np.broadcast_to(x, s, subok=True), raising=False)
    qr = np.linalg.qr

    def counted_qr(matrix):
        rows, columns = matrix.shape[-2:]
        Counted.total += 2 * rows * columns**2 * (matrix.size // (rows * columns))  # of which LAPACK says nothing
        return tuple(part.view(Counted) for part in qr(np.asarray(matrix)))

    monkeypatch.setattr(np.linalg, "qr", counted_qr)
    Counted.total = 0
    with backends.backend("numpy"):
        yield xp


class IndRNN(ELEMENTWISE["independent"]):
    input_size, hidden = 16, 12


class Wide(TwoSpeeds):
    input_size, hidden = 5, 10


CASES = {
    "elman": (gradients.RTRL(), lambda: rnn.ElmanCell(6, 12, rng=0, dtype="float64")),
    "gru": (gradients.RTRL(), lambda: rnn.GRUCell(6, 10, rng=0, dtype="float64")),
    "gru, reset before": (gradients.RTRL(), lambda: rnn.GRUCell(6, 10, reset_after=False, rng=0, dtype="float64")),
    "lstm": (gradients.RTRL(), lambda: rnn.LSTMCell(6, 10, rng=0, dtype="float64")),
    "elman, tape": (gradients.RTRL(kernels=False), lambda: rnn.ElmanCell(6, 12, rng=0, dtype="float64")),
    "gru, tape": (gradients.RTRL(kernels=False), lambda: rnn.GRUCell(6, 10, rng=0, dtype="float64")),
    "lstm, tape": (gradients.RTRL(kernels=False), lambda: rnn.LSTMCell(6, 10, rng=0, dtype="float64")),
    "user": (gradients.RTRL(), Wide),
    "diagonal": (gradients.DiagonalRTRL(), IndRNN),
    "snap 1": (gradients.SnAp(1), lambda: rnn.GRUCell(6, 10, rng=0, dtype="float64")),
    "snap 2": (gradients.SnAp(2), Wide),
    "uoro": (gradients.UORO(0), lambda: rnn.GRUCell(6, 10, rng=0, dtype="float64")),
    "uoro, user": (gradients.UORO(0), Wide),
    "kronecker": (gradients.KroneckerRTRL(0), lambda: rnn.ElmanCell(6, 12, rng=0, dtype="float64")),
    "kronecker, gru": (gradients.KroneckerRTRL(0), lambda: rnn.GRUCell(6, 10, rng=0, dtype="float64")),
    "optimal kronecker": (gradients.OptimalKronecker(2, 0), lambda: rnn.ElmanCell(6, 12, rng=0, dtype="float64")),
    "optimal kronecker, lstm": (gradients.OptimalKronecker(1, 0), lambda: rnn.LSTMCell(6, 8, rng=0, dtype="float64")),
    "triple": (gradients.KTP(3, 0), lambda: rnn.GRUCell(6, 10, rng=0, dtype="float64")),
    "rflo": (gradients.RFLO(), lambda: rnn.ElmanCell(6, 12, rng=0, dtype="float64")),
    "eprop": (gradients.EProp(), lambda: rnn.LSTMCell(6, 10, rng=0, dtype="float64")),
    "dni": (gradients.DNI(0.1), lambda: rnn.LSTMCell(6, 10, rng=0, dtype="float64")),
    "blocks, user": (gradients.Hybrid(4), Wide),
    "blocks, gru": (gradients.Hybrid(3), lambda: rnn.GRUCell(6, 10, rng=0, dtype="float64")),
}


@pytest.mark.parametrize("case", CASES)
def test_multiplications_are_those_that_are_counted(case, counting):
    rule, build = CASES[case]
    cell, batch = build(), 2
    steps = getattr(rule, "block", 1)
    wanted = rule.cost(cell, batch, steps).multiplications
    learner = rule.start(cell, batch)
    xs = sequence(2 * steps, batch, cell.input_size)
    for t in range(2 * steps):
        if t == steps:  # the first time, lanes start, which costs more
            Counted.total = 0
        learner.step(xs[t], lambda y, t: tg.sum(y * y))
    forward = one_step(cell, batch).multiplications() * steps
    assert Counted.total > 0
    assert Counted.total + forward == pytest.approx(wanted, rel=0.2)


@pytest.mark.parametrize("slots", [None, 1, 2, 4])
def test_a_checkpointed_sweep_runs_as_many_steps_as_it_says(slots, monkeypatch):
    ran = []
    plain, record = checkpointed.run_step, checkpointed.StepRecord
    monkeypatch.setattr(checkpointed, "run_step", lambda *a: ran.append(1) or plain(*a))
    monkeypatch.setattr(checkpointed, "StepRecord", lambda *a: ran.append(1) or record(*a))
    cell, steps = rnn.ElmanCell(2, 3, rng=0, dtype="float64"), 20
    rule = gradients.CheckpointedBPTT(slots)
    wanted = rule.cost(cell, 1, steps).multiplications
    ran.clear()
    rule.gradient(cell, sequence(steps, 1), lambda y, t: tg.sum(y))
    one = one_step(cell, 1).multiplications()
    assert (len(ran) + 2 * steps) * one == pytest.approx(wanted, rel=0.2)


def held(rule, cell, batch, steps, monkeypatch, at):
    """Bytes that are alive at the last call of a method of the learner, over those before the stream."""
    xs = sequence(steps, batch, cell.input_size)
    learner_type = type(rule.start(cell, batch))
    plain, seen = getattr(learner_type, at), []

    def noted(self, *args):
        seen.append(tracemalloc.get_traced_memory()[0])
        return plain(self, *args)

    monkeypatch.setattr(learner_type, at, noted)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        learner = rule.start(cell, batch)
        for t in range(steps):
            learner.step(xs[t], lambda y, t: tg.sum(y))
        learner.flush()
    finally:
        tracemalloc.stop()
    return seen[-1] - before


@pytest.mark.parametrize(
    "rule, build, steps, at",
    [
        (gradients.RTRL(), lambda: rnn.GRUCell(8, 32, rng=0), 2, "learn"),
        (gradients.RTRL(kernels=False), lambda: rnn.GRUCell(8, 32, rng=0), 2, "learn"),
        (gradients.DiagonalRTRL(), lambda: big_indrnn(), 2, "learn"),
        (gradients.Hybrid(4), lambda: rnn.ElmanCell(8, 40, rng=0), 8, "_close"),
        (gradients.SnAp(1), lambda: rnn.ElmanCell(64, 64, rng=0), 2, "learn"),
        (gradients.UORO(0), lambda: rnn.GRUCell(64, 64, rng=0), 2, "learn"),
        (gradients.KroneckerRTRL(0), lambda: rnn.LSTMCell(8, 64, rng=0), 2, "learn"),
        (gradients.OptimalKronecker(2, 0), lambda: rnn.LSTMCell(8, 64, rng=0), 2, "learn"),
        (gradients.KTP(16, 0), lambda: rnn.ElmanCell(8, 512, rng=0), 2, "learn"),
        (gradients.RFLO(), lambda: rnn.ElmanCell(64, 128, rng=0), 2, "learn"),
        (gradients.EProp(), lambda: rnn.LSTMCell(64, 64, rng=0), 2, "learn"),
        (gradients.DNI(), lambda: rnn.ElmanCell(8, 256, rng=0), 2, "learn"),
    ],
    ids=["kernels", "tape", "diagonal", "blocks", "snap", "uoro", "kf", "ok", "ktp", "rflo", "eprop", "dni"],
)
@backends.backend("numpy")  # a compiler, and room that it keeps, would be counted too
def test_bytes_are_those_that_are_held(rule, build, steps, at, monkeypatch):
    cell = build()
    wanted = rule.cost(cell, 2, steps).bytes
    assert held(rule, cell, 2, steps, monkeypatch, at) == pytest.approx(wanted, rel=0.2)


def big_indrnn():
    class Big(IndRNN):
        input_size, hidden = 128, 128

    return Big()


def test_the_costs_of_the_table():
    """RTRL of an Elman network: n⁴ multiplications and n³ numbers; element-wise: p and p; blocks: 1/h."""
    cost = {n: gradients.RTRL().cost(rnn.ElmanCell(1, n, bias=False, rng=0), 1, 1) for n in (32, 64)}
    assert cost[64].multiplications / cost[32].multiplications == pytest.approx(16, rel=0.1)
    assert cost[64].bytes / cost[32].bytes == pytest.approx(8, rel=0.1)
    cell = rnn.ElmanCell(1, 64, bias=False, rng=0)
    blocks = gradients.Hybrid(64).cost(cell, 1, 640)
    assert blocks.multiplications < gradients.RTRL().cost(cell, 1, 640).multiplications / 10
    assert gradients.ARTBP(0.5).cost(cell, 1, 100).bytes == pytest.approx(2 * gradients.BPTT().cost(cell, 1, 1).bytes)


def test_a_cost_needs_an_input_size():
    class Silent(nn.Module):
        def initial_state(self, batch):
            return tg.zeros((batch, 1))

        def forward(self, x, h):
            return h + x

    rules = [gradients.RTRL(), gradients.Hybrid(2), gradients.DiagonalRTRL(), gradients.SnAp(1), gradients.UORO()]
    rules += [gradients.KroneckerRTRL(), gradients.OptimalKronecker(1), gradients.KTP(1), gradients.RFLO()]
    for rule in [*rules, gradients.EProp(), gradients.DNI()]:
        with pytest.raises(tg.errors.ArgumentError, match="input_size"):
            rule.cost(Silent(), 1, 1)
