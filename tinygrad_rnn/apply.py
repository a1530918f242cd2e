"""How an operation runs: on arrays, and onto the tape.

`apply` is the whole story. `unary` and `binary` tell it once more for the commonest case, without loops.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import (
    BackendMismatchError,
    DTypeError,
    IndexingError,
    LinAlgError,
    ShapeError,
    TinygradRNNError,
)
from .tape import CONSTANT, Record, Tape, make_record, state, user_line
from .tape import is_library_file as _is_library

if TYPE_CHECKING:
    from .primitive import Primitive

_new = object.__new__
_getframe = sys._getframe


class _Tensors:
    """What the floors above install: the Tensor class (tensor.py) and the ops namespace (ops)."""

    kind: Any = None
    namespace: Any = None


_tensors = _Tensors()


def use_tensors(kind: Any = None, namespace: Any = None) -> None:
    """Install the Tensor class and the namespace in which rules run on Tensors."""
    if kind is not None:
        _tensors.kind = kind
    if namespace is not None:
        _tensors.namespace = namespace


_FOREIGN_ERRORS = (ValueError, TypeError, IndexError, MemoryError)


def apply(primitive: Primitive, inputs: tuple[Any, ...], params: dict[str, Any], tape: Tape | None) -> Any:
    """Run a primitive on Tensors, arrays and Python scalars, and record it on the active tapes."""
    if tape is None:
        return _unrecorded(primitive, inputs, params)
    Tensor = _tensors.kind
    ref, leaves = tape.ref, tape.leaves
    backend: Any = None
    plain: Any = None  # the class of the values of leaves that need no search
    slots = []
    values = []
    for x in inputs:
        if not isinstance(x, Tensor):
            slots.append(CONSTANT)
            values.append(x)
            continue
        if x._backend is not backend:
            if backend is not None:
                raise _mismatch(primitive, inputs)
            backend = x._backend
            plain = None if tape.nested else backend.array_type
        value = x._value
        if x._tape is ref:
            slot = x._slot
        elif value.__class__ is plain:
            key = id(x)
            leaf = leaves.get(key)
            if leaf is None:
                leaves[key] = leaf = (tape.slots, x)
                tape.slots += 1
            slot = leaf[0]
        else:
            slot, value = locate(tape, x)
        slots.append(slot)
        values.append(value)
    if backend is None:
        backend = Tensor.default_backend()
    if CONSTANT in slots:
        _check_constants(primitive, inputs, values, backend)
    saved = tuple(values)
    residual = None
    if tape.nested:
        result = apply(primitive, saved, params, tape.outer)
    else:
        try:
            result = primitive._forwards[backend](*saved, **params)
        except _FOREIGN_ERRORS as error:
            raise _explained(primitive, saved, params, error) from error
        if primitive.residual:
            result, residual = result
        if primitive.outputs != 1:
            kind = backend.array_type
            result = tuple([part if part.__class__ is kind else backend.asarray(part) for part in result])
        elif result.__class__ is not backend.array_type:
            result = backend.asarray(result)
    noted = tape.noted
    if noted is None:
        code, lasti = _user(tape, _getframe(2))
    else:
        code, lasti = noted
    slot = tape.slots
    if primitive.outputs == 1:
        output: Any = slot
        tape.slots = slot + 1
        answer = _new(Tensor)
        answer._value = result
        answer._backend = backend
        answer._tape = ref
        answer._slot = slot
    else:
        output = tuple(range(slot, slot + len(result)))
        tape.slots = slot + len(result)
        answer = tuple([placed(part, backend, ref, at) for part, at in zip(result, output)])
    fields = (primitive, tuple(slots), output, saved, result, residual, params, backend, *tape.place, code, lasti)
    tape.append(make_record(Record, fields))
    return answer


def _user(tape: Tape, frame: Any) -> tuple[Any, int]:
    """Code and offset of the innermost frame that is the user's."""
    code = frame.f_code
    while code is not tape.code:
        if not _is_library(code.co_filename) or frame.f_back is None:
            tape.code = code
            break
        frame = frame.f_back
        code = frame.f_code
    return code, frame.f_lasti


def unary(primitive: Primitive) -> Callable[[Any], Any]:
    """Make the function that `apply` is for a primitive of one input, one result and no parameters."""
    forwards = primitive._forwards

    def run(x: Any) -> Any:
        tape = state.tape
        if tape is None or tape.nested or not isinstance(x, _tensors.kind):
            return apply(primitive, (x,), _NO_PARAMS, tape)
        backend = x._backend
        ref = tape.ref
        if x._tape is ref:
            slot, value = x._slot, x._value
        else:
            slot, value = locate(tape, x)
        try:
            result = forwards[backend](value)
        except _FOREIGN_ERRORS as error:
            raise _explained(primitive, (value,), _NO_PARAMS, error) from error
        if result.__class__ is not backend.array_type:
            result = backend.asarray(result)
        code, lasti = tape.noted or _user(tape, _getframe(2))
        answer = _new(_tensors.kind)
        answer._value = result
        answer._backend = backend
        answer._tape = ref
        answer._slot = output = tape.slots
        tape.slots = output + 1
        scope, step = tape.place
        tape.append(
            make_record(
                Record,
                (primitive, (slot,), output, (value,), result, None, _NO_PARAMS, backend, scope, step, code, lasti),
            )
        )
        return answer

    return run


def binary(primitive: Primitive, otherwise: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Make the operator of a primitive: what `apply` is for two Tensors, one result and no parameters.

    otherwise: takes all other cases.
    """
    forwards = primitive._forwards
    kind = _tensors.kind

    def run(x: Any, y: Any) -> Any:
        tape = state.tape
        if tape is None or tape.nested or not isinstance(y, kind):
            return otherwise(x, y)
        backend = x._backend
        if y._backend is not backend:
            raise _mismatch(primitive, (x, y))
        ref = tape.ref
        leaves = tape.leaves
        array_type = backend.array_type
        a = x._value
        if x._tape is ref:
            i = x._slot
        elif (leaf := leaves.get(id(x))) is not None and a.__class__ is array_type:
            i = leaf[0]
        else:
            i, a = locate(tape, x)
        b = y._value
        if y._tape is ref:
            j = y._slot
        elif (leaf := leaves.get(id(y))) is not None and b.__class__ is array_type:
            j = leaf[0]
        else:
            j, b = locate(tape, y)
        try:
            result = forwards[backend](a, b)
        except _FOREIGN_ERRORS as error:
            raise _explained(primitive, (a, b), _NO_PARAMS, error) from error
        if result.__class__ is not array_type:
            result = backend.asarray(result)
        if tape.noted is None:
            frame = _getframe(1)
            code = frame.f_code
            if code is tape.code:
                lasti = frame.f_lasti
            else:
                code, lasti = _user(tape, frame)
        else:
            code, lasti = tape.noted
        answer = _new(kind)
        answer._value = result
        answer._backend = backend
        answer._tape = ref
        answer._slot = output = tape.slots
        tape.slots = output + 1
        scope, step = tape.place
        tape.append(
            make_record(
                Record,
                (primitive, (i, j), output, (a, b), result, None, _NO_PARAMS, backend, scope, step, code, lasti),
            )
        )
        return answer

    return run


_NO_PARAMS: dict[str, Any] = {}  # one for all records without parameters; nobody writes to it


def _unrecorded(primitive: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Run a primitive with no tape active."""
    Tensor = _tensors.kind
    backend = None
    values = []
    plain = False
    for x in inputs:
        if isinstance(x, Tensor):
            if x._backend is not backend:
                if backend is not None:
                    raise _mismatch(primitive, inputs)
                backend = x._backend
            values.append(x._array)
        else:
            plain = True
            values.append(x)
    if backend is None:
        backend = Tensor.default_backend()
    if plain:
        _check_constants(primitive, inputs, values, backend)
    try:
        result = primitive._forwards[backend](*values, **params)
    except _FOREIGN_ERRORS as error:
        raise _explained(primitive, values, params, error) from error
    if primitive.residual:
        result = result[0]
    if primitive.outputs == 1:
        return placed(backend.asarray(result), backend)
    return tuple([placed(backend.asarray(part), backend) for part in result])


def placed(value: Any, backend: Any, ref: Any = None, slot: int = CONSTANT) -> Any:
    """Make a Tensor of a value: an array, or (on a nested tape) a Tensor of the outer tape."""
    tensor = _new(_tensors.kind)
    tensor._value = value
    tensor._backend = backend
    tensor._tape = ref
    tensor._slot = slot
    return tensor


def locate(tape: Tape, x: Any) -> tuple[int, Any]:
    """Slot and value on `tape` of a Tensor; a Tensor from outside becomes a leaf of the tape."""
    kind, ref, value = _tensors.kind, tape.ref, x._value
    inner = x
    while inner._tape is not ref and isinstance(value, kind):
        inner = value  # recorded on a tape inside this one, which is no longer active
        value = inner._value
    if inner._tape is ref:
        return inner._slot, value
    leaves = tape.leaves
    known = leaves.get(id(x))
    if known is None:
        slot = tape.slots
        tape.slots = slot + 1
        leaves[id(x)] = (slot, x)
    else:
        slot = known[0]
    if not tape.nested:
        return slot, value
    outer: Any = tape.outer  # the value is a Tensor of that tape, placed now: a Parameter may be assigned to later
    at, value = locate(outer, x)
    return slot, placed(value, x._backend, outer.ref, at)


def watch(tape: Tape, x: Any) -> Any:
    """Return a new Tensor on `tape` with the value of `x`, as a source of its own."""
    slot = tape.slots
    tape.slots = slot + 1
    value = x
    if not tape.nested:
        while isinstance(value, _tensors.kind):
            value = value._value
    return placed(value, x._backend, tape.ref, slot)


def sweep_namespace(tape: Tape) -> Any:
    """The namespace for the rules of a tape: None where they run on raw arrays."""
    return _tensors.namespace if tape.nested else None


def _check_constants(primitive: Primitive, inputs: Sequence[Any], values: Sequence[Any], backend: Any) -> None:
    """Check the inputs that are not Tensors: Python scalars, None, and arrays of the same backend."""
    for x in values:
        if x.__class__ is float or x.__class__ is int:
            continue
        if isinstance(x, (list, set, dict, str, bytes, complex)):
            raise DTypeError(
                f"{primitive.name} got a {type(x).__name__}, not a Tensor, an array or a real number. "
                f"Wrap it: tg.tensor(...)        at {user_line()}"
            )
        if isinstance(x, (np.ndarray, np.generic)) and not isinstance(x, backend.array_types):
            raise _mismatch(primitive, inputs)


def _describe(x: Any) -> str:
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype} {tuple(x.shape)}"
    return type(x).__name__ if not isinstance(x, (int, float, tuple, str)) else repr(x)


def _mismatch(primitive: Primitive, inputs: Sequence[Any]) -> BackendMismatchError:
    kind = _tensors.kind
    shown, names = [], []
    for x in inputs:
        if isinstance(x, (kind, np.ndarray)):
            name = x.backend if isinstance(x, kind) else "numpy"
            shown.append(f'a "{name}" tensor {tuple(x.shape)}')
            names.append(name)
    fixes = " or ".join(dict.fromkeys(f'.to("{name}")' for name in names))
    return BackendMismatchError(
        f"{primitive.name} got {' and '.join(shown)}. Move one of them: {fixes}        recorded at {user_line()}"
    )


def _explained(primitive: Primitive, values: Sequence[Any], params: dict[str, Any], error: Exception) -> Exception:
    """Turn an array library's error into ours: which operation, which shapes, which line."""
    if isinstance(error, TinygradRNNError):
        return error
    kind: type[Exception] = DTypeError
    if isinstance(error, IndexError) and not isinstance(error, ValueError):
        kind = IndexingError
    elif type(error).__name__ == "LinAlgError":
        kind = LinAlgError
    elif isinstance(error, ValueError):
        kind = ShapeError
    elif isinstance(error, MemoryError):
        kind = TinygradRNNError
    given = ", ".join(_describe(x) for x in values)
    options = "".join(f", {key}={value!r}" for key, value in params.items() if not hasattr(value, "shape"))
    return kind(f"{primitive.name}({given}{options}): {error}        recorded at {user_line()}")
