"""Tensor: an array, its backend, and its place on a tape. Tensors are immutable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import backends
from .apply import placed, use_tensors
from .errors import ArgumentError, DTypeError, GradientError, ImmutableError, ShapeError, TapeError
from .tape import state, user_line

DTYPES = {name: np.dtype(name) for name in ("bool", "int32", "int64", "float32", "float64")}
_SUPPORTED = {dtype: dtype for dtype in DTYPES.values()}
_default_dtype = DTYPES["float32"]


class Tensor:
    """An immutable array that a tape can follow.

    Make one with `tinygrad_rnn.tensor` (copies) or `tinygrad_rnn.asarray`. Every operation of
    `tinygrad_rnn.ops` takes Tensors, NumPy arrays and Python numbers; the usual ones are methods too.
    """

    __slots__ = ("__weakref__", "_backend", "_grad", "_requires_grad", "_slot", "_tape", "_value")

    _value: Any
    _backend: backends.Backend
    _tape: Any
    _slot: int
    _grad: Tensor | None
    _requires_grad: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        if cls is Tensor:
            raise TypeError("make a Tensor with tg.tensor(data) or tg.asarray(data)")
        return object.__new__(cls)

    @staticmethod
    def default_backend() -> backends.Backend:
        """The backend of operations whose inputs are all plain arrays or numbers."""
        return backends.resolve()

    # ---- what it is

    @property
    def _array(self) -> Any:
        """The array itself, writable where its backend's arrays are; for the library's own use."""
        value = self._value
        while isinstance(value, Tensor):
            value = value._value
        return value

    @property
    def data(self) -> Any:
        """The backend's array, as a read-only view where the backend has such views (CuPy has none)."""
        array = self._array
        if isinstance(array, np.ndarray):
            array = array.view()
            array.flags.writeable = False
        return array

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._value.shape

    @property
    def dtype(self) -> Any:
        """One of bool, int32, int64, float32, float64 (`numpy.dtype`)."""
        return self._value.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._value.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._value.size

    @property
    def device(self) -> str:
        """The array API standard's device: "cpu", or the backend's own."""
        return str(getattr(self._array, "device", "cpu"))

    @property
    def backend(self) -> str:
        """Name of the backend that holds the array."""
        return self._backend.name

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` adds to ``.grad`` of this leaf."""
        return getattr(self, "_requires_grad", False)

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has added up for this leaf; None before the first."""
        return getattr(self, "_grad", None)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and (not isinstance(value, Tensor) or value.shape != self.shape):
            raise ShapeError(
                f"grad must be None or a Tensor of shape {self.shape}; got {getattr(value, 'shape', type(value))}"
            )
        self._grad = value

    # ---- reading values

    def numpy(self) -> Any:
        """The values as a read-only NumPy array: a view on the CPU, a copy from a device."""
        array = self._backend.to_numpy(self._array).view()
        array.flags.writeable = False
        return array

    def item(self) -> Any:
        """The single entry as a Python number. Raises ShapeError if there are more."""
        if self.size != 1:
            raise ShapeError(f"item() needs a tensor of one entry; this one has shape {self.shape}")
        return self.numpy().item()

    def tolist(self) -> Any:
        """The values as (nested) Python lists."""
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if _is_recorded(self):
            raise TapeError(
                "NumPy asked for the values of a recorded Tensor, and the gradient would be lost. "
                f"Write x.numpy() if that is meant, or use the function of tinygrad_rnn.        at {user_line()}"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The namespace of the Python array API standard (2024.12): `tinygrad_rnn.ops`."""
        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ArgumentError(f"array API version {api_version!r} is not supported; this is 2024.12")
        from . import ops

        return ops

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Send ``np.exp(x)`` and ``np.ones(3) * x`` to the operation of the same name."""
        from . import ops

        name = _UFUNC_NAMES.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or kwargs or name not in ops.__all__:
            raise DTypeError(
                f"numpy.{ufunc.__name__}{'' if method == '__call__' else '.' + method} does not take Tensors"
                f"{' with ' + ', '.join(kwargs) if kwargs else ''}. Use tinygrad_rnn's function, or x.numpy()."
            )
        return getattr(ops, name)(*inputs)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Tensor:
        """The same tensor: it has one device, its backend's (``x.to("cupy")`` changes the backend).

        Raises ArgumentError for another device, or for a stream.
        """
        if device != self.device or stream is not None:
            raise ArgumentError(
                f'to_device: this tensor lives on "{self.device}", without streams; got {device!r}, stream={stream!r}. '
                f'Change its backend instead: x.to("cupy")'
            )
        return self

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        array = self._array
        old = max_version is None or max_version < (1, 0)  # such a protocol cannot say that an array is read-only
        if old and copy is not False and isinstance(array, np.ndarray) and not array.flags.writeable:
            array = array.copy()
        asked = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        return array.__dlpack__(**{name: value for name, value in asked.items() if value is not None})

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def __repr__(self) -> str:
        body = np.array2string(self.numpy(), separator=", ", prefix="Tensor(")
        extra = f', backend="{self.backend}"' if self.backend != "numpy" else ""
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"{type(self).__name__}({body}, dtype={self.dtype}{extra}{grad})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __len__(self) -> int:
        if not self.shape:
            raise DTypeError("a 0-d tensor has no length")
        return self.shape[0]

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"the truth of a tensor of shape {self.shape} is ambiguous; use tg.any(x) or tg.all(x)")
        return bool(self.numpy().item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.ndim != 0:
            raise DTypeError(f"only a 0-d integer tensor is an index; this is {self.dtype} of shape {self.shape}")
        return int(self.item())

    # ---- what stays impossible

    def __setitem__(self, index: Any, value: Any) -> None:
        raise ImmutableError(
            "a Tensor cannot be written to. Instead of x[i] = v: x = tg.put(x, i, v) sets entries, "
            "x = tg.scatter_add(x, i, v) adds to them, x = tg.where(mask, v, x) chooses by a mask.        "
            f"at {user_line()}"
        )

    # ---- copies

    def detach(self) -> Tensor:
        """The same values with no history: gradients stop here."""
        return placed(self._array, self._backend)

    def __copy__(self) -> Tensor:
        return _remake(type(self), self._array, self._backend, self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return _remake(type(self), self._array.copy(), self._backend, self.requires_grad)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self.numpy(), self.backend, self.requires_grad)

    # ---- sugar over the tape

    def backward(self, cotangent: Any = None) -> None:
        """Add the gradients of this scalar to ``.grad`` of the leaves that require it.

        Works while the tape that recorded the tensor is alive. See `Tape.backward`.
        """
        tape = self._tape() if self._tape is not None else None
        if tape is None:
            why = "was not recorded" if self._tape is None else "was recorded on a tape that is gone"
            raise TapeError(
                f"backward needs a live tape, and this tensor {why}. Write:\n"
                "    with tg.Tape():\n        loss = ...\n        loss.backward()"
            )
        tape.backward(self, cotangent)

    # Operators and methods are installed by ops/operators.py; here they are declared for type checkers.
    if TYPE_CHECKING:

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lshift__(self, other: Any) -> Tensor: ...
        def __rshift__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __getitem__(self, index: Any) -> Tensor: ...
        def __iter__(self) -> Any: ...
        def __getattr__(self, name: str) -> Any: ...

    __hash__ = object.__hash__


_UFUNC_NAMES = {
    "absolute": "abs",
    "arccos": "acos",
    "arcsin": "asin",
    "arctan": "atan",
    "arctan2": "atan2",
    "arccosh": "acosh",
    "arcsinh": "asinh",
    "arctanh": "atanh",
    "power": "pow",
    "true_divide": "divide",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
}


class Parameter(Tensor):
    """A leaf that a model owns. It requires gradients, and changes only by `assign`."""

    __slots__ = ()

    def __new__(cls, data: Any, *, dtype: Any = None, backend: Any = None, requires_grad: bool = True) -> Parameter:
        made = tensor(data, dtype=dtype, backend=backend, requires_grad=requires_grad)
        return _remake(cls, made._value, made._backend, made.requires_grad)  # type: ignore[return-value]

    def assign(self, array: Any) -> None:
        """Rebind the parameter to new values of the same shape.

        array: a Tensor, an array of the parameter's backend, or a NumPy array; cast to the
            parameter's dtype. The parameter keeps it without a copy: don't write to it afterwards.
        What was recorded before keeps the array that it saw, so no sweep uses a newer value.
        """
        if isinstance(array, Tensor):
            array = array._array if array._backend is self._backend else array.numpy()
        array = self._backend.asarray(array, dtype=self.dtype)
        if array.shape != self.shape:
            raise ShapeError(f"assign expected shape {self.shape}; got {array.shape}")
        self._value = array


use_tensors(kind=Tensor)


def _remake(kind: type, array: Any, backend: backends.Backend, requires_grad: bool) -> Tensor:
    made: Any = object.__new__(kind)
    made._value, made._backend, made._tape, made._slot = array, backend, None, -1
    if requires_grad:
        made._requires_grad = True
    return made


def _unpickle(kind: type, array: Any, backend: str, requires_grad: bool) -> Tensor:
    found = backends.get(backend)
    return _remake(kind, found.asarray(array, copy=True), found, requires_grad)


def set_default_dtype(dtype: Any) -> None:
    """Choose the dtype of tensors made from lists of floats: float32 (at first) or float64."""
    global _default_dtype
    chosen = as_dtype(dtype)
    if chosen.kind != "f":
        raise DTypeError(f"the default dtype must be float32 or float64; got {chosen}")
    _default_dtype = chosen


def default_dtype() -> Any:
    """The dtype of tensors made from lists of floats."""
    return _default_dtype


def as_dtype(dtype: Any) -> Any:
    """Return one of the five supported dtypes. Raises DTypeError for others."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    known = _SUPPORTED.get(found) or DTYPES.get(getattr(found, "name", ""))  # by name those of the other byte order
    if known is None:
        raise DTypeError(f"dtypes are bool, int32, int64, float32 and float64; got {dtype!r}")
    return known


def tensor(data: Any, *, dtype: Any = None, backend: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor from a copy of `data`.

    data: numbers, (nested) lists of them, a NumPy array, a Tensor, or anything that speaks DLPack or ``__array__``.
    dtype: default for lists: float32 for floats (see `set_default_dtype`), int64 for ints, bool for
        bools; arrays keep theirs.
    backend: its name; default: the ``with tg.backend(...)`` around, else `set_backend`, else the
        environment's TINYGRAD_RNN_BACKEND, else "numpy".
    requires_grad: `backward` adds to ``.grad`` of this tensor.

    Raises DTypeError for ragged lists, for dtypes other than the five, and for an integer that requires a gradient.

    >>> import tinygrad_rnn as tg
    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    Tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    return _make(data, dtype, backend, True, requires_grad)


def asarray(
    data: Any,
    /,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    backend: Any = None,
) -> Tensor:
    """Make a Tensor of `data`, without a copy where none is needed.

    An array that is not copied is shared: don't write to it afterwards.
    copy: True always copies; False raises ArgumentError where a copy would be needed; None copies where needed.

    >>> import numpy as np, tinygrad_rnn as tg
    >>> tg.asarray(np.arange(3))
    Tensor([0, 1, 2], dtype=int64)
    """
    check_device(device)
    # not `dtype in (None, ...)`: NumPy finds np.dtype("float64") == None true
    if isinstance(data, Tensor) and not copy and backend is None and (dtype is None or as_dtype(dtype) == data.dtype):
        return data
    if copy is False and not isinstance(data, (Tensor, np.ndarray)):
        raise ArgumentError(f"asarray(copy=False): a {type(data).__name__} cannot be used without a copy")
    if copy is False and dtype is not None and as_dtype(dtype) != data.dtype:
        raise ArgumentError(f"asarray(copy=False): {data.dtype} cannot become {as_dtype(dtype)} without a copy")
    return _make(data, dtype, backend, bool(copy), False)


def check_device(device: Any) -> None:
    """Raise ArgumentError unless the device is None or "cpu"; where arrays live is the backend's."""
    if device not in (None, "cpu"):
        raise ArgumentError(f'device must be None or "cpu", got {device!r}; choose a backend instead: backend="cupy"')


def _make(data: Any, dtype: Any, backend: Any, copy: bool, requires_grad: bool) -> Tensor:
    if dtype is not None:
        dtype = as_dtype(dtype)
    if isinstance(data, Tensor):
        if _is_recorded(data):
            raise TapeError(
                "this copy of a recorded Tensor would lose its gradient. Write x.astype(dtype) to keep the gradient, "
                f"x.detach() to stop it here.        at {user_line()}"
            )
        target = backends.resolve(backend) if backend is not None else data._backend
        array: Any = data._array if target is data._backend else data.numpy()
    else:
        target = backends.resolve(backend)
        array = data
    if not isinstance(array, target.array_types):
        from_device = getattr(target, "from_device", None)  # of a backend whose arrays lie on a device
        there = from_device(array) if from_device is not None else None
        array = _host_array(array) if there is None else there
        plain = not hasattr(data, "dtype") and not hasattr(data, "__dlpack__")  # numbers and lists of them
        if dtype is None and plain and array.dtype == np.float64:
            dtype = _default_dtype
    name = str(np.dtype(array.dtype) if dtype is None else dtype)
    if name not in DTYPES:
        raise DTypeError(
            f'dtypes are bool, int32, int64, float32 and float64; got {name}. Cast it first: data.astype("float32")'
        )
    if requires_grad and not name.startswith("float"):
        raise GradientError(
            f"a gradient needs a floating dtype, and this tensor is {name}. "
            f'Write tg.tensor(data, dtype="float32", requires_grad=True).'
        )
    made = placed(target.asarray(array, dtype=dtype, copy=copy), target)
    if requires_grad:
        made._requires_grad = True
    return made


def _is_recorded(x: Tensor) -> bool:
    """Whether an active tape of this thread, the innermost or one around it, has recorded the Tensor."""
    if state.tape is None:
        return False
    active = []
    tape: Any = state.tape
    while tape is not None:
        active.append(tape.ref)
        tape = tape.outer
    layer: Any = x
    while isinstance(layer, Tensor):
        if layer._tape in active:
            return True
        layer = layer._value
    return False


def _host_array(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        data = _unwrapped(data)
    elif not isinstance(data, np.ndarray) and not hasattr(data, "__array__") and hasattr(data, "__dlpack__"):
        data = np.from_dlpack(data)
    try:
        array = np.asarray(data)
    except (ValueError, TypeError) as error:
        raise DTypeError(f"cannot make a tensor of this {type(data).__name__}: {error}") from error
    if array.dtype == object:
        raise DTypeError(f"cannot make a tensor of a {type(data).__name__} that holds objects or ragged lists")
    return array


def _unwrapped(data: Any) -> Any:
    """Nested lists with Tensors replaced by their values. Depth is that of the user's own nesting."""
    if isinstance(data, Tensor):
        if _is_recorded(data):
            raise TapeError("a list holds recorded Tensors, and their gradients would be lost. Use tg.stack([...]).")
        return data.numpy()
    if isinstance(data, (list, tuple)):
        return [_unwrapped(each) for each in data]
    return data
