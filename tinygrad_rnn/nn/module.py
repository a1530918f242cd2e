"""Module: parameters, submodules and buffers found by name; saved, moved, cast and copied together."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .. import backends
from ..errors import ArgumentError, DTypeError, StateDictError
from ..random import Seed as Seed  # re-exported: layers take it from here
from ..tape import is_library_file, noting_user, scope, state
from ..tensor import Parameter, Tensor, as_dtype, asarray

Self = TypeVar("Self", bound="Module")


class LoadReport(NamedTuple):
    """What `Module.load_state_dict` with ``strict=False`` passed over."""

    missing: list[str]
    unexpected: list[str]


class Module:
    """A function with parameters. A subclass defines ``forward``; attributes are found by themselves.

    A Parameter or a Module that is an attribute, or that stands in a list, tuple or dict which is one, belongs
    to the module under its dotted name (``layers.0.weight``). One that is reachable by several names is
    listed once, under the first: a shared (tied) parameter is counted, saved and updated once. Modules may
    refer to each other in circles.

    >>> import tinygrad_rnn as tg
    >>> class Scale(tg.nn.Module):
    ...     def __init__(self):
    ...         self.factor = tg.nn.Parameter([2.0])
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> scale = Scale()
    >>> scale(tg.tensor([1.0, 3.0]))
    Tensor([2., 6.], dtype=float32)
    >>> [name for name, _ in scale.named_parameters()]
    ['factor']
    """

    training = True  # set by train() and eval(); Dropout and the like look at it
    _buffer_names: tuple[str, ...] = ()
    _scope_name: str | None = None
    _runs_library_code = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        code = getattr(inspect.unwrap(cls.forward), "__code__", None)
        cls._runs_library_code = code is not None and is_library_file(code.co_filename)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Module):
            _name_scope(value, name)
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Module):
            for i, each in enumerate(value):
                _name_scope(each, f"{name}.{i}")
        object.__setattr__(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; every subclass defines it. Call the module itself, not this method."""
        raise TypeError(f"{type(self).__name__} has no forward. Define `def forward(self, x): ...` in the class.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward``. On a tape its records carry the module's name as scope, and the user's line."""
        if state.tape is None:
            return self.forward(*args, **kwargs)
        with noting_user(self._runs_library_code), scope(self._scope_name or type(self).__name__):
            return self.forward(*args, **kwargs)

    # ---- what belongs to it

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield (dotted name, module) for this module, named "", and all below it, each once, parents first."""
        seen = {id(self)}
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            name, module = stack.pop()
            yield name, module
            below = []
            for key, child in module.named_children():
                if id(child) not in seen:
                    seen.add(id(child))
                    below.append((f"{name}.{key}" if name else key, child))
            stack.extend(reversed(below))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) for the modules directly in this one, each once."""
        seen = set()
        for name, value in _members(self):
            if isinstance(value, Module) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Module]:
        """Yield the modules directly in this one."""
        return (module for _, module in self.named_children())

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, Parameter) for every parameter, each once, a module's own before its children's."""
        return self._named(Parameter)

    def parameters(self) -> Iterator[Parameter]:
        """Yield every Parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        """Yield (dotted name, generator) for the random generators inside (those of Dropout), each once.

        A run that is to continue bit for bit saves them: see `tinygrad_rnn.random.generator_state`.
        """
        return self._named(np.random.Generator)

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (dotted name, Tensor) for every buffer (see `register_buffer`)."""
        for prefix, module in self.named_modules():
            for name in module._buffer_names:
                yield (f"{prefix}.{name}" if prefix else name), getattr(module, name)

    def register_buffer(self, name: str, value: Any) -> None:
        """Make `value` an attribute that is saved, moved and cast with the module and has no gradient.

        value: a Tensor or an array. To change it later, assign to the attribute: ``self.mean = new``.
        """
        if not name.isidentifier():
            raise ArgumentError(f"a buffer is an attribute, and {name!r} is not a name for one")
        setattr(self, name, asarray(value))
        if name not in self._buffer_names:
            self._buffer_names = (*self._buffer_names, name)

    def _named(self, kind: type) -> Iterator[tuple[str, Any]]:
        seen = set()
        for prefix, module in self.named_modules():
            for name, value in _members(module):
                if isinstance(value, kind) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    # ---- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Return {dotted name: NumPy array} of all parameters and buffers; the arrays are copies.

        >>> import tinygrad_rnn as tg
        >>> {name: a.shape for name, a in tg.nn.Linear(3, 2, rng=0).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        found: dict[str, Any] = {}
        for name, value in self._slots_to_save():
            if name in found:
                raise StateDictError(f'two parameters or buffers have the name "{name}"; rename one of them')
            found[name] = value.numpy().copy()
        return found

    def _slots_to_save(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        yield from self.named_buffers()

    def load_state_dict(self, values: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Set parameters and buffers from {dotted name: array}, cast to the dtype that each has.

        values: as from `state_dict`; arrays or Tensors.
        strict: whether missing and unexpected names are errors; False skips them, and the report names them.

        Raises StateDictError that lists every missing and unexpected name and every wrong shape or
        kind of value; then nothing has changed.
        """
        if not isinstance(values, Mapping):
            raise StateDictError(f"load_state_dict expected a dict of name to array; got {type(values).__name__}")
        mine = dict(self._slots_to_save())
        missing = [name for name in mine if name not in values]
        unexpected = [name for name in values if name not in mine]
        problems = []
        if strict and missing:
            problems.append(f"missing: {', '.join(missing)}")
        if strict and unexpected:
            problems.append(f"unexpected: {', '.join(map(str, unexpected))}")
        arrays = {}
        for name, slot in mine.items():
            if name not in values:
                continue
            value = values[name]
            array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
            if array.dtype.kind not in "biuf":
                problems.append(f"{name}: expected numbers, got {array.dtype}")
            elif array.shape != slot.shape:
                problems.append(f"{name}: expected shape {slot.shape}, got {array.shape}")
            else:
                arrays[name] = slot._backend.asarray(array, dtype=slot.dtype, copy=True)
        if problems:
            if strict and (missing or unexpected):
                problems.append("Pass strict=False to load the names that both have.")
            raise StateDictError(f"the state_dict does not fit {type(self).__name__}:\n    " + "\n    ".join(problems))
        for name, array in arrays.items():
            slot = mine[name]
            if isinstance(slot, Parameter):
                slot.assign(array)
        for prefix, module in self.named_modules():
            for key in module._buffer_names:
                name = f"{prefix}.{key}" if prefix else key
                if name in arrays:
                    setattr(module, key, asarray(arrays[name], backend=mine[name].backend))
        return LoadReport(missing, unexpected)

    # ---- changing all of it

    def train(self: Self, mode: bool = True) -> Self:
        """Set ``training`` here and below: Dropout drops. Returns the module."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: Self) -> Self:
        """Set ``training = False`` here and below: Dropout passes through. Returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set ``.grad`` of every parameter to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self: Self, backend: str) -> Self:
        """Move parameters, gradients and buffers to a backend, in place. Returns the module.

        Raises BackendUnavailableError if the backend cannot run here; then nothing has moved.
        """
        target = backends.resolve(backend)
        self._rebind(lambda t: asarray(t.numpy(), backend=target, copy=True))
        return self

    def astype(self: Self, dtype: Any) -> Self:
        """Cast parameters, gradients and floating buffers to float32 or float64, in place. Returns the module."""
        wanted = as_dtype(dtype)
        if wanted.kind != "f":
            raise DTypeError(f"parameters are float32 or float64; got {wanted}. Write module.astype(tg.float32).")

        def cast(t: Tensor) -> Tensor:
            return asarray(t.detach(), dtype=wanted) if t.dtype.kind == "f" else t

        self._rebind(cast)
        return self

    def _rebind(self, change: Any) -> None:
        for parameter in list(self.parameters()):
            made = change(parameter)
            gradient = None if parameter.grad is None else change(parameter.grad)
            parameter._value, parameter._backend = made._array, made._backend
            parameter.grad = gradient
        for module in self.modules():
            for name in module._buffer_names:
                setattr(module, name, change(getattr(module, name)))

    def copy(self: Self) -> Self:
        """Return a deep copy that shares nothing; what is shared inside (tied parameters) stays shared inside.

        Gradients are not copied.
        """
        return copy.deepcopy(self)

    # ---- showing it

    def extra_repr(self) -> str:
        """What stands between the parentheses in the picture of this module; a subclass may say it."""
        own = [f"{n}: {p.dtype} {p.shape}" for n, p in _members(self) if isinstance(p, Parameter)]
        return ", ".join(own)

    def __repr__(self) -> str:
        lines: list[str] = []
        seen = {id(self)}
        stack: list[tuple[int, str, Module]] = [(0, "", self)]
        while stack:
            depth, label, module = stack.pop()
            lines.append(f"{'  ' * depth}{label}{type(module).__name__}({module.extra_repr()})")
            below = [(name, child) for name, child in module.named_children() if id(child) not in seen]
            seen.update(id(child) for _, child in below)
            stack.extend(reversed([(depth + 1, f"{name}: ", child) for name, child in below]))
        total = sum(parameter.size for parameter in self.parameters())
        return "\n".join([f"{lines[0]}  [{total:,} parameters]", *lines[1:]])


def _name_scope(module: Any, name: str) -> None:
    """Let the records of a module be found under the attribute that held it first."""
    if isinstance(module, Module) and module._scope_name is None:
        object.__setattr__(module, "_scope_name", name)


def _members(module: Module) -> Iterator[tuple[str, Any]]:
    """The Parameters, Modules and generators in a module's attributes, and in lists, tuples and dicts there."""
    stack = list(reversed(vars(module).items()))
    opened = set()
    while stack:
        name, value = stack.pop()
        if isinstance(value, (Parameter, Module, np.random.Generator)):
            yield name, value
        elif isinstance(value, (list, tuple, dict)) and id(value) not in opened:
            opened.add(id(value))
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            stack.extend(reversed([(f"{name}.{key}", each) for key, each in inside]))
