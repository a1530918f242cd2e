"""tape.profile and tape.memory: time and bytes of a recorded tape."""

import json

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.inspect.footprint import record_bytes

T, B, H = 30, 2, 8


def recurrence(checkpoint=None, **where):
    cell = tg.rnn.LSTMCell(3, H, rng=0, **where)
    xs = tg.asarray(np.random.default_rng(0).normal(size=(T, B, 3)).astype("f"), **where)
    with tg.Tape() as tape:
        ys, _ = tg.rnn.scan(cell, xs, checkpoint=checkpoint)
        loss = tg.sum(ys * ys)
    return tape, loss, cell


def test_every_record_is_in_every_grouping_once():
    tape, loss, _ = recurrence()
    found = tape.profile(loss, repeats=1)
    assert [each.operation for each in found.records] == [record.primitive.name for record in tape]
    for group in ("operation", "scope", "step", "line"):
        totals = found.by(group)
        assert sum(each.records for each in totals.values()) == len(tape)
        assert sum(each.bytes for each in totals.values()) == found.total.bytes
        assert sum(each.seconds for each in totals.values()) == pytest.approx(found.total.seconds)
    assert list(found.by("step")) == [None, *range(T)]
    assert found.by("operation")["sigmoid"].records == 3 * T
    assert all(each.forward > 0 for each in found.records)
    with pytest.raises(tg.errors.ArgumentError, match="groups by"):
        found.by("colour")


def test_records_that_no_gradient_passes_cost_nothing_backward():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = tg.sum(tg.exp(x))
        tg.log(x)  # leads nowhere
    backward = [each.backward for each in tape.profile(y).records]
    assert backward[0] > 0 and backward[1] > 0 and backward[2] == 0


def test_profiling_changes_neither_tape_nor_gradients():
    tape, loss, cell = recurrence()
    before = [g.numpy() for g in tape.gradient(loss, list(cell.parameters()))]
    count, swept = len(tape), dict(tape.swept)
    tape.profile(repeats=2)
    tape.memory()
    assert len(tape) == count and tape.swept == swept
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, tape.gradient(loss, list(cell.parameters()))))


def test_the_tables_fold_time():
    tape, loss, _ = recurrence()
    text = str(tape.profile(loss, repeats=1))
    assert text.count("all ") == 3 and f"{T - 3} others" in text
    assert text.splitlines()[0].split() == ["operation", "records", "forward", "backward", "share", "bytes"]


def test_the_trace_is_chromes_format(tmp_path):
    tape, loss, _ = recurrence()
    found = tape.profile(loss, repeats=1)
    events = json.loads(found.to_chrome(tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    for event in spans:
        assert event["dur"] >= 0 and {"name", "cat", "ts", "pid", "tid"} <= set(event)
    operations = [event for event in spans if event["tid"] == 2]
    assert [e["name"] for e in operations if e["cat"] == "forward"] == [r.primitive.name for r in tape]
    steps = [event["name"] for event in spans if event["tid"] == 1]
    assert steps == [f"step {t}" for t in [*range(T), *reversed(range(T))]]
    total = found.total.seconds * 1e6
    assert max(e["ts"] + e["dur"] for e in spans) == pytest.approx(total, abs=0.01 * len(spans))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_fused_and_checkpointed_records_can_be_profiled(kind):
    layer = getattr(tg.rnn, kind)(3, H, rng=0)
    with tg.Tape() as tape:
        loss = tg.sum(layer(tg.ones((4, 2, 3)))[0])
    assert tape.profile(loss, repeats=1).by("operation")[f"{tape[0].primitive.name}"].backward >= 0
    tape, loss, _ = recurrence(checkpoint=5)
    assert tape.profile(loss, repeats=1).by("operation")["checkpoint_many"].backward > 0


def test_a_nested_tape_can_be_profiled():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape(), tg.Tape() as tape:
        y = tg.sum(tg.exp(x))
    assert tape.profile(y, repeats=1).total.bytes == tape.memory().kinds["results"] == 12


def test_views_are_counted_with_what_they_show():
    x = tg.zeros((10, 10))
    with tg.Tape() as tape:
        y = tg.exp(x)
        tg.reshape(y, (100,))
        tg.permute_dims(y, (1, 0))
        y[2:5]
    assert record_bytes(tape) == [400, 0, 0, 0]
    assert tape.memory().kinds == {"leaves": 400, "constants": 0, "results": 400, "residuals": 0, "options": 0}
    assert tape.memory().arrays == 2


def test_a_view_of_an_input_adds_nothing():
    x = tg.zeros((10,))
    with tg.Tape() as tape:
        x[2:5]
    assert tape.memory().total == 40 and record_bytes(tape) == [0]


def test_residuals_of_fused_rules_are_counted():
    layer = tg.rnn.LSTM(3, H, rng=0)
    with tg.Tape() as tape:
        layer(tg.ones((T, B, 3)))
    found = tape.memory()
    assert found.kinds["residuals"] + found.kinds["results"] >= T * B * 6 * H * 4  # h, c and four gates
    assert found.total == sum(found.kinds.values())
    assert f"{found.total:,} bytes in" in str(found)


def test_the_saving_is_what_checkpointing_really_holds():
    plain, _, _ = recurrence()
    (saving,) = plain.memory().savings
    assert saving.steps == T and saving.checkpointed < saving.held
    assert f"checkpoint={saving.segment}" in str(plain.memory())
    kept = recurrence(checkpoint=saving.segment)[0].memory()
    one_segment = saving.held // T * saving.segment  # what the sweep makes again, a segment at a time
    assert kept.operations["checkpoint_many"] + one_segment == saving.checkpointed


def test_nothing_is_saved_where_nothing_repeats():
    with tg.Tape() as tape:
        tg.exp(tg.tensor([1.0]))
    assert tape.memory().savings == [] and tg.Tape().memory().total == 0
    assert str(tg.Tape().memory()) == "0 bytes in 0 arrays: nothing"


def test_arguments_are_checked():
    tape, loss, _ = recurrence()
    with pytest.raises(tg.errors.ArgumentError, match="repeats"):
        tape.profile(loss, repeats=0)
    with pytest.raises(tg.errors.TapeError):
        tape.profile(tg.tensor(1.0))
