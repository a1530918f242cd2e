"""The threads that share a Numba kernel: every part is done once, and one that stalls costs a moment."""

import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed: its kernels cannot run")

from tinygrad_rnn.kernels.numba import threads
from tinygrad_rnn.kernels.numba.compiling import jit


@jit
def _count(me, board, parts, phases, done):
    for phase in range(phases):
        for turn in range(parts):
            part = (me + turn) % parts
            if threads.take(board, part, phase, turn):
                done[part, phase] += 1
                threads.finish(board, part, phase)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_every_part_of_every_phase_is_done_once(parts):
    gang = threads.Gang()
    for _ in range(20):
        done = np.zeros((parts, 50), dtype=np.int64)
        gang.run(_count, parts, True, parts, 50, done)
        assert (done == 1).all()


def test_a_kernel_that_is_done_holds_none_of_its_arguments():
    gang = threads.Gang()
    done = np.zeros((2, 5), dtype=np.int64)
    before = sys.getrefcount(done)
    for _ in range(500):
        gang.run(_count, 2, True, 2, 5, done)
    for _ in range(500):  # a helper that lost its processor in the last kernel leaves it when it gets it back
        if sys.getrefcount(done) == before:
            break
        time.sleep(0.01)
    assert sys.getrefcount(done) == before


@jit
def _first(me, board, parts, pair, found):
    for part in range(parts):
        if me == 0 and threads.take(board, part, 0, part):
            found[part] = pair[0][0] + pair[1][0]
            threads.finish(board, part, 0)


def test_what_is_in_a_tuple_decides_the_machine_code_too():
    gang = threads.Gang()
    for narrow in ("uint16", "int32", "uint16", "int64"):
        found = np.zeros(2)
        gang.run(_first, 2, False, 2, (np.array([0.5]), np.array([7, 1], dtype=narrow)), found)
        assert (found == 7.5).all()


@jit
def _late(me, board, parts, given, taken):
    """Thread 1 comes when thread 0 has done everything, and looks at what it was given."""
    if me == 1:
        while threads.load_acquire(board, 4 * threads.LINE) < 0:
            pass
        for _ in range(200_000):  # thread 0 has gone on by then
            other = given if taken[0] >= 0 else taken
            taken[0] += other[0]
    begun = threads.ticks()
    while threads.ticks() - begun < 300_000:  # 0.1 ms, for thread 1 to come
        pass
    for part in range(parts):
        if me == 0 and threads.take(board, part, 0, part):
            threads.finish(board, part, 0)


def test_a_helper_that_comes_late_finds_its_arrays_alive(monkeypatch):
    gang = threads.Gang()
    monkeypatch.setattr(gang, "_stalled", lambda *_: None)  # on a busy machine too, it is to be called
    taken = np.zeros(1, dtype=np.int64)
    for k in range(20_000):
        if taken[0] >= 20 * 200_000:
            break
        gang.run(_late, 2, False, 2, np.ones(40 + k % 7, dtype=np.int64), taken)
        del_me = [np.full(40 + j % 7, -(10**9), dtype=np.int64) for j in range(50)]  # takes up what has been freed
    del del_me
    for _ in range(500):
        if (gang._mail[:: threads.MAIL] == threads.EMPTY).all():
            break
        time.sleep(0.01)
    assert taken[0] > 0
    assert taken[0] % 200_000 == 0


def test_after_a_stall_kernels_run_on_one_thread_for_a_while(monkeypatch):
    gang, calls, clock = threads.Gang(), [], [0.0]

    def claim_and_stall(mail, helpers, address, board, *arguments):
        """A helper that claims its part of every phase, and is done with them 5 ms later."""
        calls.append(helpers)
        line = threads.LINE
        board[3 * line], board[5 * line] = 5, 1
        threading.Timer(0.005, lambda: board.__setitem__(4 * line, 5)).start()
        clock[0] += length[0]
        return launch(mail, 0, address, board, *arguments)

    launch, length = threads.launch, [1e-4]
    monkeypatch.setattr(threads, "launch", claim_and_stall)
    for name in ("perf_counter", "thread_time"):
        monkeypatch.setattr(threads, name, lambda: clock[0])
    slept = [False]
    asleep = property(lambda self: slept[0], lambda self, value: None)
    monkeypatch.setattr(threads._Helper, "asleep", asleep, raising=False)
    monkeypatch.setattr(threads._Helper, "wake", lambda self: None)
    done = np.zeros((2, 5), dtype=np.int64)
    gang.run(_count, 2, True, 2, 5, done)
    assert gang._alone_until == 0  # a thread that begins comes late
    slept[0] = True
    gang.run(_count, 2, True, 2, 5, done)
    assert gang._alone_until == 0  # as one that has slept does
    slept[0], length[0] = False, 1e-3
    calls.clear()
    gang.run(_count, 2, True, 2, 5, done)
    assert len(calls) == 1
    first = gang._alone_until - clock[0]
    assert threads.ALONE * 1e-3 * threads.LOST < first <= threads.ALONE * 1e-3  # most of the kernel was waiting
    for lockstep in (True, False):
        gang.run(_count, 2, lockstep, 2, 5, done)
    assert len(calls) == 1
    assert (done == [[5] * 5, [2] * 5]).all()  # all of it by this thread
    clock[0] = gang._alone_until
    gang.run(_count, 2, False, 2, 5, done)
    assert len(calls) == 2
    assert gang._alone_until - clock[0] >= 2 * first - 1e-9  # the second stall in a row
    clock[0], slept[0] = gang._alone_until, True
    gang.run(_count, 2, False, 2, 5, done)
    assert gang._alone_until > clock[0]  # no sleep takes so long to end


@jit
def _work(me, board, parts, loops, done):
    """Part 1 has three times as much to do as part 0."""
    for turn in range(parts):
        part = (me + turn) % parts
        if threads.take(board, part, 0, turn):
            for n in range(loops * (1 + 2 * part)):
                done[part] = done[part] * 3 + n
            threads.finish(board, part, 0)


def test_a_thread_that_never_comes_has_stalled_though_nobody_waited_for_it(monkeypatch):
    alone = threads.Gang()
    monkeypatch.setattr(alone, "_call", lambda parts: 0)
    done = np.zeros(2, dtype=np.int64)
    alone.run(_work, 2, False, 2, 2, done)  # compiled
    alone._alone_until = alone._alone_for = 0.0
    alone.run(_work, 2, False, 2, 1_000_000, done)
    assert alone._alone_for >= threads.ALONE * threads.LOST * 1e-3
