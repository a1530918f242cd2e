"""Optimizer: parameter groups, state by parameter, and a step that either happens for all parameters or for none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, BackendMismatchError, DTypeError, ShapeError, StateDictError
from ..tape import user_line
from ..tensor import Parameter, Tensor

State = dict[str, Any]  # what an optimiser remembers about one parameter: arrays of its backend, and "step"


class Optimizer:
    """Base of the optimisers. A subclass gives the options' checks and the update of one parameter.

    parameters: a Module; or Parameters; or (name, Parameter) pairs as from ``named_parameters()``; or groups: dicts
        with "params" (any of those) and options that differ from the constructor's, as in torch.

    ``param_groups`` is the list of groups, each a dict of "params" and every option; options may be changed
    between steps. ``state`` is {Parameter: {name: array}}. Values change through `Parameter.assign`, so a
    tape that was recorded before a step keeps the values that it saw.
    """

    def __init__(self, parameters: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Parameter, State] = {}
        self.factors: list[float] = []  # of the schedules: the learning rate is base_lr times their product
        self._names: dict[str, Parameter] = {}
        given = parameters.named_parameters() if hasattr(parameters, "named_parameters") else parameters
        if isinstance(given, (Tensor, dict, str)) or not isinstance(given, Iterable):
            raise ArgumentError(
                f"{type(self).__name__} expected a Module, or a list of Parameters or of groups; "
                f"got a {type(given).__name__}. Write {type(self).__name__}(model.parameters(), ...)."
            )
        listed = list(given)
        groups = listed if listed and all(isinstance(each, dict) for each in listed) else [{"params": listed}]
        for group in groups:
            self.add_param_group(group)

    # ---- what a subclass gives

    def check(self, options: dict[str, Any]) -> None:
        """Raise ArgumentError for options that make no sense; subclasses add their own."""
        positive(options, "lr")
        not_negative(options, "weight_decay")

    def update(self, xp: Any, value: Any, gradient: Any, state: State, options: dict[str, Any]) -> tuple[Any, State]:
        """Return the new value and the new state of one parameter. A subclass defines it; nothing is written to.

        xp: the array namespace.  value, gradient: arrays of one shape and dtype.  state: {} at the first step.
        """
        raise TypeError(f"{type(self).__name__} must define update(xp, value, gradient, state, options)")

    def update_all(
        self, xp: Any, values: list[Any], gradients: list[Any], states: list[State], options: dict[str, Any]
    ) -> list[tuple[Any, State]]:
        """Return what `update` does for every parameter. A subclass that has a kernel defines this one in its place.

        values, gradients, states: of each parameter; all arrays of one dtype and backend.
        """
        return [self.update(xp, *each, options) for each in zip(values, gradients, states)]

    # ---- what a user calls

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own: a dict of "params" and options.

        Raises ArgumentError for no parameters, for unknown or impossible options, for what is not a
        Parameter, and for a Parameter that the optimiser already has.
        """
        kind = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise ArgumentError(f'{kind}: a group is a dict with "params" and options; got {group!r}')
        unknown = [key for key in group if key != "params" and key not in self.defaults]
        if unknown:
            raise ArgumentError(
                f"{kind} has no option {', '.join(map(repr, unknown))}; it has {', '.join(self.defaults)}"
            )
        given = group["params"]
        if hasattr(given, "named_parameters"):
            given = given.named_parameters()
        listed, names = _named_parameters(kind, [given] if isinstance(given, Tensor) else list(given))
        known = {id(parameter) for each in self.param_groups for parameter in each["params"]}
        for parameter in listed:
            if id(parameter) in known:
                raise ArgumentError(
                    f"{kind} got the same Parameter of shape {parameter.shape} twice; each belongs to one group, once"
                )
            known.add(id(parameter))
        options = {**self.defaults, **{key: value for key, value in group.items() if key != "params"}}
        self.check(options)
        for name in names:
            if name in self._names:
                raise _same_name(kind, name)
        self._names.update(names)
        self.param_groups.append({"params": listed, **options})

    def parameters(self) -> list[Parameter]:
        """Every parameter, in the order of the groups."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        """Set ``.grad`` of every parameter to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def step(self, gradients: Any = None) -> None:
        """Change every parameter once, by its ``.grad`` or by the gradients given.

        gradients: {Parameter: gradient}, or {name: gradient} if the optimiser was made of a Module or of named
            parameters, or a list in the order of `parameters`. None takes ``.grad``.
        Parameters without a gradient (None, or not in the dict) stay as they are, and so does their state.
        Raises ArgumentError for a key or a length that does not fit, ShapeError, DTypeError and BackendMismatchError
        for a gradient that does not; then nothing has changed.
        """
        found = self._matched(gradients)
        changed: list[tuple[Parameter, tuple[Any, State]]] = []
        for group in self.param_groups:
            options = {key: _plain(value) for key, value in group.items()}
            alike: dict[Any, list[tuple[Any, ...]]] = {}  # those that one kernel takes together
            for parameter in group["params"]:
                gradient = found.get(id(parameter))
                if gradient is None:
                    continue
                array = _array_for(parameter, gradient)
                state = _at_home(self.state.get(parameter, {}), parameter)
                kind = parameter._backend, parameter.dtype
                alike.setdefault(kind, []).append((parameter, parameter._array, array, state))
            for (backend, _), each in alike.items():
                parameters, values, arrays, states = map(list, zip(*each))
                changed += zip(parameters, self.update_all(backend.xp, values, arrays, states, options))
        for parameter, (value, state) in changed:
            parameter.assign(value)
            self.state[parameter] = state

    def _matched(self, gradients: Any) -> dict[int, Any]:
        parameters = self.parameters()
        if gradients is None:
            return {id(parameter): parameter.grad for parameter in parameters}
        if isinstance(gradients, Mapping):
            known = {id(parameter) for parameter in parameters}
            found = {}
            for key, gradient in gradients.items():
                parameter = self._names.get(key) if isinstance(key, str) else key
                if parameter is None or id(parameter) not in known:
                    shown = repr(key) if isinstance(key, str) else f"a {type(key).__name__}"
                    names = ", ".join(self._names) or "none: make the optimiser of model.named_parameters()"
                    raise ArgumentError(
                        f"step got a gradient for {shown}, which is no parameter of this optimiser. "
                        f"Names it knows: {names}        at {user_line()}"
                    )
                found[id(parameter)] = gradient
            return found
        if isinstance(gradients, (list, tuple)) and len(gradients) == len(parameters):
            return {id(parameter): gradient for parameter, gradient in zip(parameters, gradients)}
        got = f"{len(gradients)}" if isinstance(gradients, (list, tuple)) else f"a {type(gradients).__name__}"
        raise ArgumentError(
            f"step expected a dict of gradients, or a list of {len(parameters)}, one for each parameter; got {got}"
            f"        at {user_line()}"
        )

    # ---- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next steps depend on, apart from the parameters' values.

        {"kind": class name, "groups": [options and "params", the positions of its parameters],
        "state": {"position.name": NumPy array}}. The groups are plain numbers and strings; arrays are copies.
        """
        position = {id(parameter): i for i, parameter in enumerate(self.parameters())}
        groups = [
            {**_options(group), "params": [position[id(parameter)] for parameter in group["params"]]}
            for group in self.param_groups
        ]
        state = {
            f"{position[id(parameter)]}.{name}": np.array(
                array if isinstance(array, int) else parameter._backend.to_numpy(array)
            )
            for parameter, entries in self.state.items()
            for name, array in entries.items()
        }
        return {"kind": type(self).__name__, "groups": groups, "state": state}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken: the same steps follow, bit for bit.

        Raises StateDictError that lists every difference (kind, groups, shapes); then nothing has changed.
        """
        if not isinstance(saved, Mapping) or not {"kind", "groups", "state"} <= set(saved):
            raise StateDictError("expected the state_dict of an optimiser, with kind, groups and state")
        problems = []
        if saved["kind"] != type(self).__name__:
            problems.append(f"kind: expected {type(self).__name__}, got {saved['kind']}")
        mine, theirs = ([len(group["params"]) for group in groups] for groups in (self.param_groups, saved["groups"]))
        if mine != theirs:
            problems.append(f"parameters in each group: expected {mine}, got {theirs}")
        parameters = self.parameters()
        state: dict[Parameter, State] = {}
        for key, array in saved["state"].items():
            position, _, name = str(key).partition(".")
            if not position.isdigit() or int(position) >= len(parameters) or not name:
                problems.append(f"state {key!r}: there is no such parameter")
                continue
            parameter = parameters[int(position)]
            array = np.asarray(array)
            if name == "step":
                state.setdefault(parameter, {})[name] = int(array)
            elif array.shape != parameter.shape:
                problems.append(f"state {key!r}: expected shape {parameter.shape}, got {array.shape}")
            else:
                made = parameter._backend.asarray(array, dtype=parameter.dtype, copy=True)
                state.setdefault(parameter, {})[name] = made
        for i, group in enumerate(saved["groups"]):
            absent = [key for key in self.defaults if key not in group]
            if absent:
                problems.append(f"group {i}: missing {', '.join(absent)}")
        if problems:
            listed = "\n    ".join(problems)
            raise StateDictError(f"the state_dict does not fit this {type(self).__name__}:\n    {listed}")
        for group, options in zip(self.param_groups, saved["groups"]):
            group.update(_options(options))
        self.state = state

    def __repr__(self) -> str:
        groups = [
            f"{len(group['params'])} parameters, " + ", ".join(f"{k}={v}" for k, v in _options(group).items())
            for group in self.param_groups
        ]
        return f"{type(self).__name__}({'; '.join(groups)})"


# ---- checks of options


def positive(options: Mapping[str, Any], name: str) -> None:
    """Raise ArgumentError unless an option is a number above 0."""
    value = options[name]
    if not _is_number(value) or not 0 < value < float("inf"):
        raise ArgumentError(f"{name} must be a number above 0; got {value!r}")


def not_negative(options: Mapping[str, Any], name: str) -> None:
    """Raise ArgumentError unless an option is a number of at least 0."""
    value = options[name]
    if not _is_number(value) or not 0 <= value < float("inf"):
        raise ArgumentError(f"{name} must be a number of at least 0; got {value!r}")


def fraction(name: str, value: Any) -> None:
    """Raise ArgumentError unless a value is a number in [0, 1)."""
    if not _is_number(value) or not 0 <= value < 1:
        raise ArgumentError(f"{name} must be a number in [0, 1); got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


# ---- small parts


def _plain(value: Any) -> Any:
    """A NumPy scalar as a Python number: a float64 one would promote float32 arrays."""
    return value.item() if isinstance(value, np.generic) else value


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in group.items() if key != "params"}


def _named_parameters(kind: str, given: Sequence[Any]) -> tuple[list[Parameter], dict[str, Parameter]]:
    if not given:
        raise ArgumentError(
            f"{kind} got no parameters. An iterator such as model.parameters() is used up by the first loop over it."
        )
    listed: list[Parameter] = []
    names: dict[str, Parameter] = {}
    for each in given:
        name = None
        if isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str):
            name, each = each
        if not isinstance(each, Parameter):
            raise ArgumentError(
                f"{kind} changes Parameters; got a {type(each).__name__}. Make it one: nn.Parameter(data)"
            )
        listed.append(each)
        if name is not None and names.setdefault(name, each) is not each:
            raise _same_name(kind, name)
    return listed, names


def _same_name(kind: str, name: str) -> ArgumentError:
    return ArgumentError(f'{kind} got two Parameters named "{name}"; give one of them a prefix: ("loss.{name}", p)')


def _array_for(parameter: Parameter, gradient: Any) -> Any:
    """The gradient's array, checked against its parameter."""
    if not isinstance(gradient, Tensor) and not hasattr(gradient, "shape"):
        raise DTypeError(f"a gradient is a Tensor or an array; got a {type(gradient).__name__}        at {user_line()}")
    if tuple(gradient.shape) != parameter.shape:
        raise ShapeError(
            f"a parameter of shape {parameter.shape} got a gradient of shape {tuple(gradient.shape)}"
            f"        at {user_line()}"
        )
    if isinstance(gradient, Tensor):
        if gradient._backend is not parameter._backend:
            raise BackendMismatchError(
                f'a "{parameter.backend}" parameter got a "{gradient.backend}" gradient; '
                f'move it: gradient.to("{parameter.backend}")        at {user_line()}'
            )
        gradient = gradient._array
    return parameter._backend.asarray(gradient, dtype=parameter.dtype)


def _at_home(state: State, parameter: Parameter) -> State:
    """The state with arrays of the parameter's backend and dtype, should the model have been moved or cast since."""
    backend, dtype = parameter._backend, parameter.dtype
    moved: State = {}
    for name, entry in state.items():
        if name == "step" or (type(entry) in backend.array_types and entry.dtype == dtype):
            moved[name] = entry
        else:  # .get() is CuPy's way out
            moved[name] = backend.asarray(entry.get() if hasattr(entry, "get") else entry, dtype=dtype)
    return moved
