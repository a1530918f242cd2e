"""print(tape), print(tape[i]), and derivative rules as text."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.inspect import describe, rule_text, table


def recurrence(steps, dtype="float64"):
    w, h = tg.tensor([0.5, -1.0], dtype=dtype), tg.tensor([1.0, 2.0], dtype=dtype)
    with tg.Tape() as tape:
        for t in range(steps):
            with tg.scope("cell", step=t):
                h = tg.tanh(w * h)
        loss = tg.sum(h**2)
    return tape, loss, w


def cells(line):
    return line.split()


def test_a_table_names_what_each_record_did():
    tape, _, _ = recurrence(1)
    header, first, *_, last = str(tape).splitlines()
    assert cells(header) == ["#", "step", "scope", "operation", "inputs", "output", "shape", "dtype", "bytes", "line"]
    line = tape[0].line
    assert cells(first) == [
        "0",
        "0",
        "cell",
        "multiply",
        "0",
        "1",
        "2",
        "(2,)",
        "float64",
        "16",
        f"test_table.py:{line}",
    ]
    assert last == "4 records, 2 leaves, 56 bytes of results"


def test_after_a_sweep_the_table_has_the_norm_of_each_gradient():
    tape, loss, w = recurrence(2)
    assert "‖g‖" not in str(tape)
    tape.gradient(loss, w)
    header, *rows, _ = str(tape).splitlines()
    at = header.index("‖g‖")
    shown = [float(row[at:].split()[0]) for row in rows]
    with_results = [tg.asarray(tape.sweep_backward({loss._slot: np.float64(1)}, [r.output])[r.output]) for r in tape]
    assert shown == [float(f"{np.linalg.norm(g.numpy()):.4g}") for g in with_results]


def test_a_target_can_be_named_without_a_sweep():
    tape, loss, _ = recurrence(1)
    assert "‖g‖" in table(tape, loss)
    assert tape.swept is None


@pytest.mark.parametrize("steps", [3, 4, 5, 9, 1000])
def test_a_long_sequence_shows_its_first_middle_and_last_step(steps):
    tape, _, _ = recurrence(steps)
    lines = str(tape).splitlines()[1:-1]
    shown = [int(line.split()[1]) for line in lines if "cell" in line]
    assert sorted(set(shown)) == sorted({0, steps // 2 if steps > 3 else 1, steps - 1})
    folded = sum(int(line.split("alike, ")[1].split()[0]) for line in lines if "alike" in line)
    assert folded + len(lines) - sum("alike" in line for line in lines) == len(tape)
    assert len(table(tape, fold=False).splitlines()) == len(tape) + 2


def test_records_of_many_slots_stay_narrow():
    with tg.Tape() as tape:
        tg.stack(tg.unstack(tg.zeros((500, 2)) + 1))
    assert max(map(len, str(tape).splitlines())) < 120


def test_an_empty_tape_prints():
    with tg.Tape() as tape:
        pass
    assert str(tape).endswith("0 records, 0 leaves, 0 bytes of results")


def test_a_record_prints_its_values_its_line_and_its_rule():
    tape, _, _ = recurrence(1)
    text = repr(tape[1])
    assert text == str(tape[1]) == describe(tape[1])
    assert text.startswith("tanh: 2 → 3\n  step 0, scope cell\n  recorded at ")
    assert "      h = tg.tanh(w * h)" in text
    assert "result    3  (2,) float64  [ 0.46211716 -0.96402758]" in text
    assert text.endswith("backward  x̄ = g · (1 - y * y)")


def test_an_index_is_written_as_python_writes_it():
    with tg.Tape() as tape:
        tg.zeros((4, 6, 2))[:, 1:5:2, ..., 0]
        tg.zeros((4,))[2]
    assert "options   index=[:, 1:5:2, ..., 0]" in repr(tape[0])


def test_rules_are_the_text_of_the_registry():
    cubed = tg.elementwise(
        "cubed_for_the_table", forward=lambda xp, x: x * x * x, derivative=lambda xp, y, x: 3 * x * x
    )
    try:
        assert rule_text(cubed) == "x̄ = g · (3 * x * x)"
    finally:
        del tg.registry["cubed_for_the_table"]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("add", ["ā = g", "b̄ = g"]),
        ("subtract", ["ā = g", "b̄ = -g"]),
        ("multiply", ["ā = g · b", "b̄ = g · a"]),
        ("divide", ["ā = g · (1 / b)", "b̄ = g · (-y / b)"]),
        ("unstack", ["x̄ = xp.stack(g, axis=axis)"]),
        ("equal", ["no derivative"]),
    ],
)
def test_two_rules_on_one_line_are_told_apart(name, lines):
    assert rule_text(tg.registry[name]).splitlines()[: len(lines)] == lines


def test_every_primitive_has_a_rule_in_words():
    for primitive in list(tg.registry.values()):
        text = rule_text(primitive)
        assert text and "<lambda>" not in text and "lambda xp" not in text, primitive


def test_a_tensor_prints_as_a_shaded_table():
    text = tg.tensor([[1.0, float("nan")], [-2.0, float("inf")]])._repr_html_()
    assert "(2, 2)" in text and "nan" in text and text.count("<tr>") == 2
    assert tg.zeros((20, 30))._repr_html_().count("<tr>") == 9
    for shape in ((), (0,), (3, 0), (2, 2, 2), (4,)):
        assert "float32" in tg.zeros(shape)._repr_html_()
    assert "True" in tg.tensor([True])._repr_html_()
    assert "requires_grad" in tg.nn.Parameter([1.0])._repr_html_()
