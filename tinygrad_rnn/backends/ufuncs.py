"""NumPy ufuncs whose loops are compiled when they are first entered.

A ufunc made here is an ordinary `numpy.ufunc`: NumPy broadcasts, promotes, allocates and finds the loop for the
dtypes. Its table of loops first points to `_enter`, which compiles the loop that was asked for, writes
its address into the table, and jumps there; from the next call on nothing stands between NumPy and machine code.
Made with NumPy's C API through ctypes: PyUFunc_FromFuncAndData and ...AndSignature, whose tables NumPy
reads at every call and never copies. [NumPy C API reference, "UFunc API"]
"""

from __future__ import annotations

import _thread
import ctypes
import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["make_ufunc"]

_LOOP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_UNARY, _GENERALISED = 1, 31  # places in the table of NumPy's ufunc API, fixed since NumPy 1.0 and 1.5
_NO_IDENTITY = -1


class _Slot(NamedTuple):
    """One loop of one ufunc, which may not be compiled yet."""

    functions: Any  # the ufunc's table of addresses
    place: int  # of this loop in it
    signature: str
    core: str
    compiled: Callable[[str], int | None]  # the address for a signature, or None
    stand_in: Callable[..., Any]  # the same on NumPy arrays, for signatures without a loop


_slots: list[_Slot] = []
_kept: list[Any] = []  # tables and names that NumPy points to for the life of the process


def make_ufunc(
    name: str,
    signatures: Sequence[str],
    compiled: Callable[[str], int | None],
    stand_in: Callable[..., Any],
    core: str = "",
    doc: str = "",
) -> np.ufunc:
    """Make a ufunc of loops that are compiled when they are first entered.

    signatures: such as "ff->f", in the order in which NumPy tries them.
    compiled: address of the loop for a signature; None where NumPy's function is to do the work.
    stand_in: does that work, ``(*arrays) -> array`` of one signature's dtypes.
    core: "" for entry by entry, "(n)->()" for a reduction, "(n)->(n)" for a running one.
    """
    inputs, outputs = signatures[0].split("->")
    count = len(signatures)
    functions = (ctypes.c_void_p * count)(*[_entrance] * count)
    first = len(_slots)
    data = (ctypes.c_void_p * count)(*range(first, first + count))
    _slots.extend(_Slot(functions, i, each, core, compiled, stand_in) for i, each in enumerate(signatures))
    numbers = [np.dtype(character).num for each in signatures for character in each.replace("->", "")]
    types = (ctypes.c_ubyte * len(numbers))(*numbers)
    texts = [name.encode(), doc.encode(), core.encode()]
    _kept.extend((functions, data, types, *texts))
    arguments = [functions, data, types, count, len(inputs), len(outputs), _NO_IDENTITY, *texts[:2], 0]
    if core:
        return _api(_GENERALISED, ctypes.c_char_p)(*arguments, texts[2])
    return _api(_UNARY)(*arguments)


def _api(place: int, *more: Any) -> Any:
    """A function of NumPy's ufunc C API."""
    pointer = ctypes.c_void_p
    capsule = ctypes.pythonapi.PyCapsule_GetPointer
    capsule.restype, capsule.argtypes = pointer, [ctypes.py_object, ctypes.c_char_p]
    umath = importlib.import_module("numpy._core._multiarray_umath")  # where NumPy's own header looks, too
    table = ctypes.cast(capsule(umath._UFUNC_API, None), ctypes.POINTER(pointer))
    kinds = [pointer] * 3 + [ctypes.c_int] * 4 + [ctypes.c_char_p] * 2 + [ctypes.c_int]
    return ctypes.PYFUNCTYPE(ctypes.py_object, *kinds, *more)(table[place])


def _enter(args: int, dims: int, steps: int, data: int) -> None:
    """The loop of every signature at first: compile it, put it into the table, run it."""
    slot = _slots[data or 0]
    try:
        address = slot.compiled(slot.signature)
    except KeyboardInterrupt:  # a loop cannot raise: finish this call, and let the interpreter raise afterwards
        address = None
        _thread.interrupt_main()
    if address is None:
        _stand_in(slot, args, dims, steps)
        return
    slot.functions[slot.place] = address
    _LOOP(address)(args, dims, steps, 0)


_callback = _LOOP(_enter)
_entrance = ctypes.cast(_callback, ctypes.c_void_p).value


class _View:
    """Memory that NumPy handed to a loop, as an array."""

    def __init__(self, address: int, character: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        kind = np.dtype(character).str
        self.__array_interface__ = {
            "data": (address, False), "typestr": kind, "shape": shape, "strides": strides, "version": 3
        }  # fmt: skip


def _stand_in(slot: _Slot, args: int, dims: int, steps: int) -> None:
    """Run NumPy's function on the arrays that the arguments of a loop describe."""
    inputs, outputs = slot.signature.split("->")
    characters = inputs + outputs
    cores = [part.count("n") for part in slot.core.split("->")] if slot.core else [0, 0]
    depths = [cores[0]] * len(inputs) + [cores[1]] * len(outputs)
    sizes = (ctypes.c_ssize_t * (1 + max(depths))).from_address(dims)
    strides = list((ctypes.c_ssize_t * (len(characters) + sum(depths))).from_address(steps))
    addresses = (ctypes.c_void_p * len(characters)).from_address(args)
    inner = iter(strides[len(characters) :])
    arrays = []
    for i, (character, depth) in enumerate(zip(characters, depths)):
        shape = (sizes[0], *sizes[1 : 1 + depth])
        by = (strides[i], *[next(inner) for _ in range(depth)])
        arrays.append(np.asarray(_View(addresses[i] or 0, character, shape, by)))
    with np.errstate(all="ignore"):
        arrays[-1][...] = slot.stand_in(*arrays[:-1])
        np.negative(0.0)  # starts with clearing the floating-point flags, which ignoring alone does not
