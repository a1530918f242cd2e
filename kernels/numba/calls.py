"""Calling a compiled kernel from a thread that waits in compiled code.

A thread that goes back to the interpreter between two kernels must have its lock to fetch the next one, while the
caller holds it and runs Python: it comes some 50 µs late, which is as long as a small kernel takes. So a helper stays
in compiled code, and finds in its mailbox what to call: the address of the kernel, a copy of its arguments, and the
address of a trampoline, a function that is compiled for the types of the arguments, takes them from the mailbox and
calls the kernel with them.
"""

from __future__ import annotations

import hashlib
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import intrinsic

from .atomics import compare_and_set, load_acquire, reached, store_release, ticks
from .compiling import allocating, jit
from .simd import LONG, element_pointer

MAIL = 512  # int64s of a mailbox: its state, the kernel's address, the trampoline's, and from HEAD on the arguments
HEAD = 16
EMPTY, POSTED, TAKEN = 0, 1, 2  # states of a mailbox
PARTING = 10_000  # looks, some microseconds, that a helper is given to leave a kernel that is done, with its arrays
BYTES = ir.IntType(8).as_pointer()
TRAMPOLINE = ir.FunctionType(ir.VoidType(), [LONG, LONG, BYTES])  # the kernel's address, who calls it, the arguments


@intrinsic
def write(typing: Any, mail: Any, start: Any, address: Any, board: Any, arguments: Any) -> Any:
    """Put the kernel at `address` and (board, *arguments) into the mailbox that begins at mail[start].

    The mailbox owns a reference to each array, since its helper may come when the caller has gone on.
    """
    kinds = (board, *arguments.types)

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        values = [given[3], *cgutils.unpack_tuple(builder, given[4], len(arguments))]
        kept = ir.LiteralStructType([value.type for value in values])
        if context.get_abi_sizeof(kept) > 8 * (MAIL - HEAD):
            raise ValueError(f"the arguments of a kernel take more than {MAIL - HEAD} words: {kinds}")
        box = element_pointer(context, builder, mail, given[0], given[1])
        room = builder.bitcast(builder.gep(box, [LONG(HEAD)]), kept.as_pointer())
        for k, (kind, value) in enumerate(zip(kinds, values)):
            context.nrt.incref(builder, kind, value)
            builder.store(value, cgutils.gep_inbounds(builder, room, 0, k))
        trampoline = _trampoline(context, builder.module, kinds, kept)
        builder.store(given[2], builder.gep(box, [LONG(1)]))
        builder.store(builder.ptrtoint(trampoline, LONG), builder.gep(box, [LONG(2)]))
        return context.get_dummy_value()

    return signature(types.void, mail, types.intp, types.int64, board, arguments), generate


def _trampoline(context: Any, module: Any, kinds: Any, kept: Any) -> Any:
    """The function of a module that calls a kernel with arguments of these types from memory."""
    name = f"tinygrad_rnn.trampoline.{hashlib.sha256(str(kinds).encode()).hexdigest()[:16]}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, TRAMPOLINE, name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    address, me, memory = function.args
    room = builder.bitcast(memory, kept.as_pointer())
    values = [builder.load(cgutils.gep_inbounds(builder, room, 0, k)) for k in range(len(kinds))]
    _call(context, builder, address, (types.int64, *kinds), [me, *values])
    for kind, value in zip(kinds, values):
        context.nrt.decref(builder, kind, value)
    builder.ret_void()
    return function


@intrinsic
def forget(typing: Any, board: Any, arguments: Any) -> Any:
    """Give up the references of a mailbox that nobody has opened."""
    kinds = (board, *arguments.types)

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        for kind, value in zip(kinds, [given[0], *cgutils.unpack_tuple(builder, given[1], len(arguments))]):
            context.nrt.decref(builder, kind, value)
        return context.get_dummy_value()

    return signature(types.void, board, arguments), generate


def _call(context: Any, builder: Any, address: Any, kinds: Any, values: Any) -> None:
    """Call a kernel of Numba's, which returns None, by its address."""
    convention = context.call_conv
    kind = convention.get_function_type(types.none, kinds)
    convention.call_function(builder, builder.inttoptr(address, kind.as_pointer()), types.none, kinds, values)


@intrinsic
def call(typing: Any, address: Any, board: Any, arguments: Any) -> Any:
    """Call the kernel at `address` as thread 0."""
    kinds = (types.int64, board, *arguments.types)

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        values = cgutils.unpack_tuple(builder, given[2], len(arguments))
        _call(context, builder, given[0], kinds, [LONG(0), given[1], *values])
        return context.get_dummy_value()

    return signature(types.void, types.int64, board, arguments), generate


@intrinsic
def answer(typing: Any, mail: Any, start: Any, me: Any) -> Any:
    """Call what the mailbox that begins at mail[start] holds, as thread `me`."""

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        box = element_pointer(context, builder, mail, *given[:2])
        address, place = (builder.load(builder.gep(box, [LONG(k)])) for k in (1, 2))
        room = builder.bitcast(builder.gep(box, [LONG(HEAD)]), BYTES)
        builder.call(builder.inttoptr(place, TRAMPOLINE.as_pointer()), [address, given[2], room])
        return context.get_dummy_value()

    return signature(types.void, mail, types.intp, types.int64), generate


@jit
def lost_ticks(board):
    """How long thread 0 has waited or done the parts of others, of which the last is over.

    The board has two places for it at its end: since when thread 0 does another's part, and the sum.
    """
    since = board[board.size - 2]
    if since != 0:
        board[board.size - 1] += ticks() - since
        board[board.size - 2] = 0
    return board[board.size - 1]


@allocating
def launch(mail, helpers, address, board, *arguments):
    """Call a kernel on this thread, and on as many helpers as come before it is done.

    A helper that is still in it then finds nothing more to do, and leaves it on its own time.
    Returns the share of the time that thread 0 has lost (`lost_ticks`).
    """
    for k in range(helpers):
        if load_acquire(mail, k * MAIL) == EMPTY:
            write(mail, k * MAIL, address, board, arguments)
            store_release(mail, k * MAIL, POSTED)
    begun = ticks()
    call(address, board, arguments)
    taken = ticks() - begun
    for k in range(helpers):
        if compare_and_set(mail, k * MAIL, POSTED, EMPTY):
            forget(board, arguments)
        looks = 0
        while looks < PARTING and load_acquire(mail, k * MAIL) != EMPTY:
            looks += 1
    return lost_ticks(board) / max(1, taken)


@allocating
def serve(mail, k, idle):
    """Call what comes into mailbox k, as thread k + 1, until so many looks in a row have found nothing."""
    waited = 0
    while waited < idle:
        waited += 1
        if reached(mail, k * MAIL, POSTED) and compare_and_set(mail, k * MAIL, POSTED, TAKEN):
            answer(mail, k * MAIL, k + 1)
            store_release(mail, k * MAIL, EMPTY)
            waited = 0


def address_of(kernel: Any, *arguments: Any) -> int:
    """Where a kernel's machine code for these arguments lies; compiled if it has not been."""
    from numba import typeof

    kinds = tuple(typeof(each) for each in arguments)
    kernel.compile(kinds)
    compiled = kernel.overloads[kinds]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))
