"""The tape: what it records, how it is swept, what it keeps, and how it is entered and left."""

import gc
import inspect
import threading
import tracemalloc
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
from helpers import close

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ShapeError, TapeError, UnusedSourceError

LONG = 100_000


@contextmanager
def no_garbage_collector():
    """Reference counts alone must free everything: a cycle would stay."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def chain(x, length):
    """Iterate y / 2 + x, which tends to 2 x, in `length` records."""
    y = x
    for _ in range(length // 2):
        y = 0.5 * y
        y = y + x
    return y


# ---- length and memory


def test_a_tape_of_a_hundred_thousand_records_is_swept_backward_and_forward():
    x = tg.tensor(1.0, dtype="float64")
    with tg.Tape() as tape:
        y = chain(x, LONG)
    assert len(tape) == LONG
    # y_n = y_(n-1) / 2 + x: the slope is the geometric series 1 + 1/2 + ..., which in float64 ends at 2
    assert tape.gradient(y, x).item() == 2.0
    assert tape.jvp(y, x, 1.0).item() == 2.0


def test_a_long_chain_differentiates_twice_without_recursion():
    slope = tg.grad(tg.grad(lambda x: chain(x, 4_000) ** 2))(tg.tensor(3.0, dtype="float64"))
    assert slope.item() == 8.0  # y = 2 x, hence y**2 = 4 x**2


def test_memory_returns_to_where_it_was_when_a_long_tape_is_dropped():
    x = tg.tensor(np.ones(8))

    def run(length):
        with tg.Tape() as tape:
            y = chain(x, length)
        return tape, tape.gradient(y, x, cotangent=np.ones(8))

    with no_garbage_collector():
        tracemalloc.start()
        try:
            run(6_000)  # fills the interpreter's free lists of tuples, which tracemalloc counts
            before = tracemalloc.get_traced_memory()[0]
            kept = run(LONG)
            during = tracemalloc.get_traced_memory()[0]
            del kept
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert during - before > LONG * 8 * 8  # the tape did hold its arrays
    assert after - before < 10_000  # less than 0.1 byte for each record


def test_an_intermediate_array_dies_with_its_tape():
    x = tg.tensor(np.ones(8))
    with no_garbage_collector():
        with tg.Tape() as tape:
            y = tg.exp(x)
            watched = weakref.ref(y._array)
            z = tg.sum(y * y)
        tape.gradient(z, x)
        tape.jvp(z, x, np.ones(8))
        del y
        assert watched() is not None  # the rule of exp needs it
        del tape
        assert watched() is None
    assert z.item() > 0  # the result itself stays


def test_nested_tapes_and_transforms_leave_no_reference_cycles():
    x = tg.tensor(np.ones(8))

    def loss(x):
        y = tg.exp(x)
        seen.append(weakref.ref(y._array))
        return tg.sum(y * y)

    seen: list = []
    tg.hessian(loss)(x)  # binds forwards
    seen.clear()
    with no_garbage_collector():
        tg.hessian(loss)(x)
        tg.hvp(loss, x, x)
        tg.grad(tg.checkpoint(loss))(x)
        assert len(seen) >= 3
        assert [ref() for ref in seen] == [None] * len(seen)


# ---- what is recorded


def test_nothing_is_recorded_outside_a_tape():
    x = tg.tensor([1.0, 2.0])
    before = tg.exp(x)
    with tg.Tape() as tape:
        pass
    after = tg.exp(x)
    assert len(tape) == 0
    assert before._tape is None
    assert after._tape is None


def test_a_tensor_made_before_the_tape_is_a_leaf_and_has_no_history():
    x = tg.tensor([1.0, 2.0])
    y = tg.exp(x)
    with tg.Tape() as tape:
        z = tg.sum(y)
    assert [record.primitive.name for record in tape] == ["sum"]
    with pytest.raises(UnusedSourceError, match="never used while this tape recorded"):
        tape.gradient(z, x)


def test_records_carry_the_file_and_line_of_the_users_code():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        line = inspect.currentframe().f_lineno
        y = tg.exp(x)
        z = y * (
            x
        )  # fmt: skip
        tg.sum(z)
    assert [record.file for record in tape] == [__file__] * 3
    assert [record.line for record in tape] == [line + 1, line + 2, line + 5]
    assert tape[0].where == f"{__file__}:{line + 1}"


def test_records_carry_the_line_inside_a_function_that_a_transform_calls():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        tg.value_and_grad(lambda x: tg.sum(tg.exp(x)))(x)
    assert {record.file for record in tape} == {__file__}


def test_records_carry_scope_and_step_and_scopes_nest():
    x = tg.tensor([1.0])
    with tg.Tape() as tape:
        tg.exp(x)
        with tg.scope("encoder", step=3):
            tg.exp(x)
            with tg.scope("gate"):
                tg.exp(x)
            with tg.scope(step=4):
                tg.exp(x)
        tg.exp(x)
    places = [(record.scope, record.step) for record in tape]
    assert places == [("", None), ("encoder", 3), ("encoder/gate", 3), ("encoder", 4), ("", None)]


def test_a_scope_entered_before_the_tape_counts_and_one_left_by_an_exception_is_closed():
    x = tg.tensor([1.0])
    with tg.scope("outside"), tg.Tape() as tape:
        tg.exp(x)
        with pytest.raises(KeyError), tg.scope("broken"):
            raise KeyError
        tg.exp(x)
    assert [record.scope for record in tape] == ["outside", "outside"]


def test_a_record_shows_its_values_and_its_place_in_the_order_of_the_program():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = tg.sum(x * x)
    product, total = tape
    assert product.output == total.inputs[0]
    assert len(set(product.inputs)) == 1
    assert product.values[0] is x._array
    assert total.result is y._array
    assert repr(tape) == "Tape(2 records, 1 leaves)"


# ---- entering and leaving


def test_a_tape_cannot_be_entered_twice():
    tape = tg.Tape()
    with tape, pytest.raises(TapeError, match="already entered"), tape:
        pass
    with pytest.raises(TapeError, match=r"Make a new tg\.Tape\(\)"), tape:
        pass


def test_tapes_must_be_left_in_the_reverse_order_of_entering():
    outer, inner = tg.Tape(), tg.Tape()
    outer.__enter__()
    inner.__enter__()
    try:
        with pytest.raises(TapeError, match="reverse order"):
            outer.__exit__(None, None, None)
    finally:
        inner.__exit__(None, None, None)
        outer.__exit__(None, None, None)


def test_an_exception_inside_the_block_closes_the_tape():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(ShapeError), tg.Tape():
        tg.matmul(x, tg.tensor([1.0]))
    with tg.Tape() as tape:
        y = tg.sum(x * x)
    close(tape.gradient(y, x), 2 * x.numpy(), 1)
    assert not tape.nested


def test_the_active_tape_belongs_to_its_thread():
    x = tg.tensor([1.0, 2.0])
    met = threading.Barrier(2, timeout=20)
    tapes: dict[str, tg.Tape] = {}

    def work(name, operation, times):
        with tg.Tape() as tape, tg.scope(name):
            met.wait()  # both tapes are active from here
            for _ in range(times):
                operation(x)
            met.wait()
        tapes[name] = tape

    threads = [threading.Thread(target=work, args=args) for args in (("a", tg.exp, 30), ("b", tg.sin, 20))]
    with tg.Tape() as here:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [(r.primitive.name, r.scope) for r in tapes["a"]] == [("exp", "a")] * 30
    assert [(r.primitive.name, r.scope) for r in tapes["b"]] == [("sin", "b")] * 20
    assert len(here) == 0
    assert not tapes["a"].nested
