"""Changes of dtype and of backend."""

from __future__ import annotations

from typing import Any

from .. import backends
from ..apply import locate, placed
from ..primitive import Primitive, primitive
from ..tape import Record, outside, state, user_frame
from ..tensor import Tensor, as_dtype, asarray, check_device

__all__ = ["astype"]

_astype = primitive(
    "astype",
    lambda xp, x, dtype: xp.astype(x, dtype),
    linear=True,
    vjp=(lambda xp, g, y, x, dtype: xp.astype(g, x.dtype),),
    jvp=(lambda xp, d, y, x, dtype: xp.astype(d, dtype),),
)
_as_discrete = primitive("as_discrete", lambda xp, x, dtype: xp.astype(x, dtype), differentiable=False)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """Cast to another dtype. A cast between floats is differentiable; one to bool or an integer has no gradient.

    >>> import tinygrad_rnn as tg
    >>> tg.astype(tg.tensor([1.5, 2.5]), tg.int64).tolist()
    [1, 2]
    """
    check_device(device)
    x = x if isinstance(x, Tensor) else asarray(x)
    target = as_dtype(dtype)
    if target == x.dtype and not copy:
        return x
    if target.kind == "f" and x.dtype.kind == "f":
        return _astype(x, dtype=target)
    return _as_discrete(x, dtype=target)


class _Move(Primitive):
    """From one backend to another: linear, and the one operation whose result is of another backend than its inputs."""

    def pullback(self, xp: Any, g: Any, record: Record, needed: Any) -> list[Any]:
        return [_moved(g, record.params["target"], record.backend)]

    def pushforward(self, xp: Any, tangents: Any, record: Record) -> Any:
        return _moved(tangents[0], record.backend, record.params["target"])


_move = _Move("to_backend", composed=lambda x, target: to_backend(x, target.name), linear=True)


def to_backend(x: Tensor, name: str) -> Tensor:
    """Move a tensor to another backend; the same tensor if it is there. Gradients move back.

    Raises BackendUnavailableError if the backend is unknown or cannot run here.

    >>> import tinygrad_rnn as tg
    >>> tg.tensor([1.0, 2.0]).to("numpy").backend
    'numpy'
    """
    target = backends.resolve(name)
    if x._backend is target:
        return x
    tape = state.tape
    if tape is None:
        return placed(target.asarray(x._backend.to_numpy(x._array)), target)
    slot, value = locate(tape, x)
    with outside(tape):
        result = _moved(value, x._backend, target)
    frame = user_frame(1)
    code, lasti = tape.noted or (frame.f_code, frame.f_lasti)
    output = tape.slots
    tape.slots = output + 1
    params = {"target": target}
    tape.append(Record(_move, (slot,), output, (value,), result, None, params, x._backend, *tape.place, code, lasti))
    return placed(result, target, tape.ref, output)


def _moved(value: Any, source: Any, target: Any) -> Any:
    """A Tensor or an array of `source` on `target`."""
    if isinstance(value, Tensor):
        return to_backend(value, target)
    return target.asarray(source.to_numpy(value))
