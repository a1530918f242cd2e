"""Threads that share a kernel, and go on without one that stalls.

A kernel is a row of phases, each cut into parts by shape alone. Part k belongs to thread k; before phase n + 1
begins, every part of phase n is done. Who does a part changes nothing in the result, so that a thread need not wait
for one that does not run: each part is claimed before it is begun, and a part that nobody has claimed is done by
whoever waits for it. A thread that comes late finds its parts claimed and catches up without computing. So another
process on one of the cores costs a moment, and not a time slice at every barrier.

The threads wait in compiled code for a short while, for the next kernel comes soon, and then sleep.
"""

from __future__ import annotations

import functools
import os
import queue
import threading
from collections.abc import Callable
from time import get_clock_info, perf_counter, thread_time
from typing import Any

import numpy as np
from numba import config

from .atomics import compare_and_set, give_way, load_acquire, reached, store_release, ticks
from .calls import EMPTY, MAIL, address_of, launch, lost_ticks, serve
from .compiling import jit

LINE = 16  # int64s: two cache lines, since processors fetch lines in pairs
SPINS = 150  # looks, about 8 µs, before a waiting thread gives way
# A thread has stalled if thread 0 waited for it, or did its parts, for more than a share of the kernel. From a half on,
# two threads are no faster than one.
LOST_IN_STEP = 0.25  # in lockstep
LOST = 0.4  # where phases are long, and parts may differ in length
IDLE = 5_000  # looks, about a quarter of a millisecond, before a thread without work goes to sleep
PASS = 1 << 18  # numbers of one pass over memory from which on threads share it
ALONE = 8  # for how many times the span that was lost kernels run on one thread; twice as long at each stall in a row
LONGEST = 0.25  # s, the longest such time
EXACT = get_clock_info("thread_time").resolution < 1e-6  # whether it tells the time that a kernel took
ROUSING = 2e-4  # s that a helper which has slept may come late; that says nothing of the next kernel
FORGOTTEN = 0.9  # what each kernel without a stall leaves of it


@jit
def take(board, part, phase, turn):
    """Whether the caller shall do this part of this phase now; if not, the part is done by the time of the return.

    board: for each part three lines: the last phase claimed, the last phase done, and whether its thread is there;
    at the end what `lost_ticks` says.  turn: 0 for the caller's own part.
    """
    claimed, done, there = 3 * part * LINE, (3 * part + 1) * LINE, (3 * part + 2) * LINE
    leads = part == turn  # the caller is thread 0
    if leads:
        lost_ticks(board)
    if (turn == 0 or load_acquire(board, there) == 0) and compare_and_set(board, claimed, phase - 1, phase):
        if turn == 0 and board[there] == 0:
            store_release(board, there, 1)
        if turn > 0 and leads:
            board[board.size - 2] = ticks()
        return True
    waited = 0
    begun = 0
    mine = False
    while not reached(board, done, phase):
        waited += 1
        if waited <= SPINS:
            continue
        if begun == 0:
            begun = ticks()
        if compare_and_set(board, claimed, phase - 1, phase):
            store_release(board, there, 0)
            mine = True
            break
        give_way()
    if begun != 0 and leads:
        now = ticks()
        board[board.size - 1] += now - begun
        if mine:
            board[board.size - 2] = now
    return mine


@jit
def finish(board, part, phase):
    """Say that a part is done."""
    store_release(board, (3 * part + 1) * LINE, phase)


def thread_count() -> int:
    """Threads that a kernel may use: NUMBA_NUM_THREADS, by default the cores of this process."""
    return int(config.NUMBA_NUM_THREADS)


def share(rows: int, size: int) -> int:
    """Threads for one pass over `size` numbers in so many rows; one where a thread that has slept comes too late."""
    return max(1, min(thread_count(), rows)) if size >= PASS else 1


class Gang:
    """The threads beside the caller's."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._busy = threading.Lock()
        self._helpers: list[_Helper] = []
        self._mail = np.zeros(MAIL * max(1, thread_count() - 1), dtype=np.int64)
        self._alone_until = 0.0  # kernels run on one thread before this time
        self._alone_for = 0.0
        self._roused = False  # whether a helper slept, or was not there yet, when they were called last

    def run(self, kernel: Callable[..., Any], parts: int, lockstep: bool, *arguments: Any, kind: Any = None) -> None:
        """Run ``kernel(me, board, *arguments)`` on up to `parts` threads; done when every part is.

        lockstep: whether the kernel's phases are so short that a thread that stalls holds up the others.
        kind: what decides the types of all arguments, if something does, so that they need not be looked at.
        """
        board = _blank_board(parts).copy()
        if parts == 1:
            kernel(0, board, *arguments)
            return
        begun = perf_counter()
        if begun < self._alone_until or not self._busy.acquire(False):
            kernel(0, board, *arguments)
            return
        try:
            address = _address(kernel, board, arguments, kind)
            worked = thread_time()
            share = launch(self._mail, self._call(parts), address, board, *arguments)
            now, worked = perf_counter(), thread_time() - worked
            taken = now - begun
            lost = share * taken
            if EXACT and taken > worked:  # another process had this thread's core
                lost += taken - worked
            if self._roused:
                lost -= ROUSING
            if lost <= taken * (LOST_IN_STEP if lockstep else LOST):
                self._alone_for *= FORGOTTEN
            else:
                self._stalled(now, lost)
        finally:
            self._busy.release()

    def _stalled(self, now: float, lost: float) -> None:
        """Run on one thread for a while, after a kernel that lost much of its time, for whatever reason."""
        self._alone_for = min(LONGEST, max(2 * self._alone_for, ALONE * lost))
        self._alone_until = now + self._alone_for

    def _call(self, parts: int) -> int:
        """Wake the helpers that a kernel wants; how many there are."""
        if self._process != os.getpid():  # a fork has one thread: its parent's helpers are not in it
            self._process, self._helpers = os.getpid(), []
            self._mail = np.zeros_like(self._mail)
        wanted = min(parts - 1, self._mail.size // MAIL)
        self._roused = len(self._helpers) < wanted
        for helper in self._helpers[:wanted]:
            if helper.asleep:
                helper.wake()
                self._roused = True
        while len(self._helpers) < wanted:
            self._helpers.append(_Helper(self._mail, len(self._helpers)))
        return wanted


@functools.cache
def _blank_board(parts: int) -> Any:
    """What `take` expects before the first phase."""
    board = np.full(3 * parts * LINE + 2, -1, dtype=np.int64)
    board[2 * LINE : -2 : 3 * LINE] = 0
    board[-2:] = 0
    return board


_addresses: dict[Any, int] = {}


def _address(kernel: Any, board: Any, arguments: tuple[Any, ...], kind: Any) -> int:
    """The machine code of a kernel for arguments of these kinds; compiled if there is none."""
    key = kernel, _kinds(arguments) if kind is None else kind
    found = _addresses.get(key)
    if found is None:
        found = _addresses[key] = address_of(kernel, 0, board, *arguments)
    return found


def _kinds(arguments: tuple[Any, ...], array: Any = np.ndarray) -> tuple[Any, ...]:
    """What decides the machine code: of an array its dtype, since all are contiguous; of a tuple what is in it."""
    kinds = []
    for x in arguments:
        kind = x.__class__
        if kind is array:
            kinds.append(x.dtype)
        elif kind is int or kind is bool or not isinstance(x, tuple):
            kinds.append(kind)
        else:
            kinds.append((kind, _kinds(x)))
    return tuple(kinds)


class _Helper:
    """A thread, and the way to wake it."""

    def __init__(self, mail: Any, number: int) -> None:
        self._mail = mail
        self._number = number
        self.asleep = False
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._live, name=f"tinygrad_rnn-{number + 1}", daemon=True).start()

    def wake(self) -> None:
        """End the helper's sleep."""
        self.asleep = False
        self._calls.put(None)

    def _live(self) -> None:
        """Serve, and sleep until woken; a call too many only ends the next sleep early."""
        while True:
            serve(self._mail, self._number, IDLE)
            self.asleep = True
            if self._mail[self._number * MAIL] == EMPTY:  # else a kernel has come just before
                self._calls.get()
            self.asleep = False


GANG = Gang()
