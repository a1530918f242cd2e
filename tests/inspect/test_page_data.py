"""What the explorer's page knows is what the tape computes: values, gradients, contributions, norms through time."""

import json

import numpy as np
import pytest
from helpers import close
from hypothesis import given

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, TapeError
from tinygrad_rnn.inspect import contributions
from tinygrad_rnn.inspect.contributions import outputs_of, results_of
from tinygrad_rnn.inspect.page_data import DIGITS, number, page_data
from tinygrad_rnn.inspect.page_layout import CHUNK, layout
from tinygrad_rnn.inspect.page_time import MOST, states
from tinygrad_rnn.testing import programs

HALF_A_DIGIT = 0.51 * 10.0 ** (1 - DIGITS)  # what rounding to DIGITS digits may change, relatively


def assert_described(data, place, array):
    """Assert that an entry of the pool describes an array: shape, dtype, first entries, norm, range and mean."""
    entry = data["pool"][place]
    kind, norm, shown, *rest = entry
    array = np.asarray(array)
    assert data["kinds"][kind] == [str(array.dtype), list(array.shape)]
    flat = array.reshape(-1)
    assert shown == [number(each) for each in flat[: len(shown)]]
    if np.isfinite(flat).all():
        assert norm == pytest.approx(np.linalg.norm(flat.astype(np.float64)), rel=HALF_A_DIGIT, abs=1e-300)
        if rest:
            wide = flat.astype(np.float64)
            assert rest[:2] == [number(wide.min()), number(wide.max())]
            assert rest[2] == pytest.approx(wide.mean(), rel=HALF_A_DIGIT, abs=1e-12 * np.abs(wide).max())
    assert len(shown) == flat.size or rest


def recorded(program):
    with tg.Tape() as tape:
        boxes = [tape.watch(x) for x in program.inputs]
        y = program(*boxes)
    return tape, boxes, y


@given(program=programs())
def test_the_page_of_a_random_program_has_the_gradients_of_the_tape(program):
    tape, boxes, y = recorded(program)
    cotangent = program.cotangent(y)
    data = json.loads(json.dumps(page_data(tape, y, cotangent=cotangent), allow_nan=False))
    for box, gradient in zip(boxes, tape.gradient(y, boxes, cotangent=cotangent, unused="zeros")):
        assert_described(data, data["values"][box._slot], box.numpy())
        assert_described(data, data["cotangents"][box._slot], gradient.numpy())
    seed = {y._slot: cotangent.numpy()}
    for record in tape:
        for slot, value in zip(outputs_of(record), results_of(record)):
            assert_described(data, data["values"][slot], value)
            reached = tape.sweep_backward(seed, [slot])
            place = data["cotangents"][slot]
            assert (place < 0) == (slot not in reached)
            if place >= 0:
                assert_described(data, place, reached[slot])


@given(program=programs(nodes=(1, 8)))
def test_each_contribution_of_a_random_program_is_the_vjp_of_its_record_alone(program):
    tape, _, y = recorded(program)
    cotangent = program.cotangent(y)
    data = page_data(tape, y, cotangent=cotangent)
    pulls = contributions(tape, y, cotangent)
    flat = [(pull, each) for pull in pulls for each in pull.contributions]
    assert [pull.number for pull in pulls] == data["reached"] == sorted(data["reached"], reverse=True)
    assert len(flat) == len(data["contributions"])
    sums = {y._slot: cotangent.numpy()}
    for (pull, given_), (index, position, raw, part, total) in zip(flat, data["contributions"]):
        record = tape[index]
        assert (index, position) == (pull.number, given_.position)
        places = [i for i, slot in enumerate(record.inputs) if slot >= 0 and record.values[i].dtype.kind == "f"]

        def alone(*found, record=record, places=places):
            filled = list(record.values)
            for i, x in zip(places, found):
                filled[i] = x
            return record.primitive(*filled, **record.params)

        _, pull_back = tg.vjp(alone, *[tg.tensor(record.values[i]) for i in places])
        known = [
            tg.tensor(np.zeros_like(value) if g is None else g) for value, g in zip(results_of(record), pull.cotangents)
        ]
        expected = pull_back(tuple(known) if record.primitive.outputs != 1 else known[0])[
            places.index(position)
        ].numpy()
        close(given_.part, expected, factor=64)
        assert_described(data, raw, given_.raw)
        assert_described(data, part, given_.part)
        slot = record.inputs[position]
        sums[slot] = given_.part if slot not in sums else sums[slot] + given_.part
        np.testing.assert_array_equal(given_.total, sums[slot])
        assert_described(data, total, sums[slot])


def test_contributions_show_accumulation_and_unbroadcasting():
    x, b = tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([0.5, 0.25])
    with tg.Tape() as tape:
        y = tg.sum((x + b) * b)
    slot = tape.leaves[id(b)][0]
    first, second = [each for pull in contributions(tape, y) for each in pull.contributions if each.slot == slot]
    assert first.raw.tolist() == [[1.5, 2.25], [3.5, 4.25]]  # what b is multiplied with
    assert first.part.tolist() == [5.0, 6.5] and first.before is None
    assert second.part.tolist() == [1.0, 0.5] and second.before.tolist() == [5.0, 6.5]
    assert second.total.tolist() == tape.gradient(y, b).tolist() == [6.0, 7.0]


def test_contributions_of_records_with_several_results_fused_ones_and_mixed_dtypes():
    rng = np.random.default_rng(0)
    layer = tg.rnn.LSTM(2, 3, rng=1)
    x = tg.tensor(rng.normal(size=(4, 2, 2)), dtype="float32")
    with tg.Tape() as tape:
        ys, (h, c) = layer(x)
        loss = tg.sum(ys * ys) + tg.sum(h) + tg.sum(c.astype("float64"))
    leaves = [*layer.parameters(), x]
    totals = {each.slot: each.total for pull in contributions(tape, loss) for each in pull.contributions}
    for leaf, gradient in zip(leaves, tape.gradient(loss, leaves)):
        np.testing.assert_array_equal(totals[tape.leaves[id(leaf)][0]], gradient.numpy())


def test_a_target_that_is_used_further_keeps_its_seed():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = tg.sum(x * x)
        tg.exp(y)
    data = page_data(tape, y)
    ((slot, place),) = data["seeds"]
    assert slot == y._slot and data["pool"][place][2] == [1]
    assert data["reached"] == [1, 0]


def test_the_default_target_is_what_was_swept_last_or_the_last_scalar():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        first = tg.sum(x * x)
        second = tg.mean(x)
    assert page_data(tape)["seeds"][0][0] == second._slot
    tape.gradient(first, x)
    assert page_data(tape)["seeds"][0][0] == first._slot
    assert contributions(tape)[0].number == 1


def test_looking_changes_nothing():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.Tape() as tape, tg.Tape() as inner:
        y = tg.sum(x * x)
        before = len(tape), len(inner)
        page_data(inner, y)
        str(inner)
        contributions(inner, y)
        assert (len(tape), len(inner)) == before
    assert x.grad is None and tape.swept is None and inner.swept is None


def test_a_nested_tape_shows_numbers():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape(), tg.Tape() as inner:
        y = tg.sum(x * x)
    data = page_data(inner, y)
    assert_described(data, data["cotangents"][inner.leaves[id(x)][0]], np.array([2, 4], np.float32))


def test_an_ordinary_sweep_keeps_its_seeds_alone():
    x = tg.tensor(np.ones(1000))
    with tg.Tape() as tape:
        y = tg.sum(tg.exp(x) * x)
    tape.gradient(y, x)
    assert {slot: np.size(seed) for slot, seed in tape.swept.items()} == {y._slot: 1}


def test_a_target_of_another_tape_raises():
    x = tg.tensor([1.0])
    with tg.Tape() as tape:
        tg.exp(x)
    with tg.Tape():
        y = tg.sum(x * 2)
    with pytest.raises(TapeError, match="not recorded on this tape"):
        page_data(tape, y)


# ---- numbers that JSON has no words for, and shapes without entries


def test_nan_infinity_scalars_and_empty_arrays_are_carried():
    x = tg.tensor([1.0, 0.0, -1.0], dtype="float64")
    with np.errstate(all="ignore"), tg.Tape() as tape:
        y = tg.log(x)  # 0, -inf, nan
        tg.divide(tg.tensor([1.0, -1.0]), tg.tensor([0.0, 0.0]))
        tg.sum(tg.zeros((0, 3)) * 2.0, axis=0)
        tg.sum(y)
    data = json.loads(json.dumps(page_data(tape), allow_nan=False))
    assert data["pool"][data["values"][tape[0].output]][2] == [0, "-Infinity", "NaN"]
    assert data["pool"][data["values"][tape[1].output]][2] == ["Infinity", "-Infinity"]
    empty = data["pool"][data["values"][tape[2].output]]
    assert data["kinds"][empty[0]] == ["float32", [0, 3]] and empty[1:] == [0, []]
    assert data["kinds"][data["pool"][data["values"][tape[4].output]][0]][1] == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.1234567, 0.12346), (-1e-30, -1e-30), (2.0, 2), (1e300, 1e300), (123456.0, 123460), (True, 1), (-0.0, 0)],
)
def test_numbers_have_five_digits(value, shown):
    assert number(value) == shown


def test_an_empty_tape_has_a_page():
    with tg.Tape() as tape:
        pass
    data = page_data(tape)
    assert data["records"] == data["contributions"] == data["reached"] == []


def test_longer_tapes_show_fewer_entries():
    x = tg.zeros((100,))
    lengths = []
    for count in (10, 300, 1000, 2000):
        with tg.Tape() as tape:
            y = x
            for _ in range(count):
                y = y + 1.0
        data = page_data(tape)
        lengths.append(len(data["pool"][data["values"][y._slot]][2]))
    assert lengths == [24, 12, 5, 3]
    assert len(page_data(tape, entries=7)["pool"][0][2]) == 7


# ---- names


def test_names_are_those_of_variables_modules_and_lists():
    cell = tg.rnn.ElmanCell(2, 3, rng=0)
    batches = [tg.ones((1, 2)), tg.zeros((1, 2))]
    with tg.Tape() as tape:
        h = cell(batches[0], cell.initial_state(1))
        loss = tg.sum(h)
    found = page_data(tape, loss, names={"cell": cell, "batches": batches, "h": h, "loss": loss, "_": h, "n": 3})
    assert {"cell.weight_ih", "cell.bias_hh", "batches[0]", "h", "loss"} == set(found["names"].values()) - {
        "cell.weight_hh", "cell.bias_ih",
    }  # fmt: skip


# ---- time


CELLS = [("ElmanCell", ["tanh"]), ("GRUCell", None), ("LSTMCell", ["multiply", "add"])]


@pytest.mark.parametrize(("kind", "operations"), CELLS, ids=[name for name, _ in CELLS])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_the_states_of_a_recurrence_are_found_and_their_norms_are_the_gradients(kind, operations, reverse):
    cell = getattr(tg.rnn, kind)(2, 3, rng=0, dtype="float64")
    xs = tg.tensor(np.random.default_rng(1).normal(size=(5, 2, 2)))
    with tg.Tape() as tape:
        ys, _ = tg.rnn.scan(cell, xs, reverse=reverse)
        loss = tg.sum(ys**2)
    found = states(tape)
    order = [4, 3, 2, 1, 0] if reverse else [0, 1, 2, 3, 4]
    assert [state.steps for state in found] == [order] * (2 if kind == "LSTMCell" else 1)
    if operations:
        assert [state.operation for state in found] == operations
    for state, shown in zip(found, page_data(tape, loss)["time"]["states"]):
        gradients = tape.sweep_backward({loss._slot: np.float64(1)}, state.slots)
        expected = [np.linalg.norm(gradients[slot]) for slot in state.slots]
        assert shown["norms"] == pytest.approx(expected, rel=HALF_A_DIGIT)


def test_a_loop_written_by_hand_has_a_state_and_losses_by_step():
    w, h = tg.tensor([[0.9, 0.1], [-0.2, 0.8]], dtype="float64"), tg.ones((2,), dtype="float64")
    kept, losses = [], []
    with tg.Tape() as tape:
        for t in range(4):
            with tg.scope(step=t):
                h = tg.tanh(w @ h)
                kept.append(h)
                losses.append(tg.sum(h * h))
        loss = tg.sum(tg.stack(losses))
    data = page_data(tape, loss)
    assert data["time"]["states"][0]["slots"] == [each._slot for each in kept]
    heat = data["time"]["heat"]
    assert heat["s"] == heat["t"] == [0, 1, 2, 3]
    for s, each in enumerate(losses):
        gradients = tape.gradient(each, kept, unused="zeros")
        assert heat["norms"][s] == [number(np.linalg.norm(g.numpy()), 3) for g in gradients]
    assert heat["norms"][0][1:] == [0, 0, 0]
    assert page_data(tape, loss, losses=losses)["time"]["heat"] == heat


def test_losses_can_be_one_tensor_and_long_sequences_are_sampled():
    cell = tg.rnn.ElmanCell(1, 2, rng=0)
    with tg.Tape() as tape:
        ys, _ = tg.rnn.scan(cell, tg.ones((100, 1, 1)))
        losses = tg.mean(ys**2, axis=(1, 2))
        loss = tg.sum(losses)
    heat = page_data(tape, loss, losses=losses)["time"]["heat"]
    assert len(heat["s"]) == len(heat["t"]) == MOST
    assert heat["s"][0] == 0 and heat["t"][-1] == 99
    assert "heat" not in page_data(tape, loss)["time"]


def test_wrong_losses_raise():
    x = tg.tensor([1.0, 2.0])
    h = x
    with tg.Tape() as tape:
        for t in range(3):
            with tg.scope(step=t):
                h = tg.tanh(h)
        loss = tg.sum(h)
    with pytest.raises(ArgumentError, match=r"expected a Tensor of shape \(T,\)"):
        page_data(tape, loss, losses=loss)
    with pytest.raises(ArgumentError, match=r"losses\[0\]: expected a scalar"):
        page_data(tape, loss, losses=[h])


# ---- layout


@given(program=programs())
def test_every_record_stands_below_what_it_reads_and_no_two_share_a_place(program):
    tape, _, _ = recorded(program)
    placed = layout(tape)
    places = list(zip(placed.column, placed.lane, placed.rank))
    assert len(set(places)) == len(places)
    for node, record in enumerate(tape):
        for slot in record.inputs:
            if slot >= 0:
                start = placed.producer[slot]
                above = placed.column[start], placed.rank[start]
                assert above[0] < placed.column[node] or above < (placed.column[node], placed.rank[node])


def test_a_long_tape_outside_time_goes_on_in_the_next_column():
    x = tg.tensor([1.0])
    with tg.Tape() as tape:
        for _ in range(3 * CHUNK):
            x = x + 1.0
    assert [len(column.nodes) for column in layout(tape).columns] == [1, CHUNK, CHUNK, CHUNK]
