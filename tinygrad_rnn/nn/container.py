"""Sequential: modules and functions, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import ArgumentError
from .module import Module


class Sequential(Module):
    """Feed the input through the layers in order. A layer is a Module or any function of one Tensor.

    layers: Modules, or functions such as ``tg.tanh``; or one dict of name to layer.
    Parameters are named by position (``0.weight``), as in torch, or by the dict's keys.
    Raises ArgumentError for a layer that cannot be called.

    >>> import tinygrad_rnn as tg
    >>> model = tg.nn.Sequential(tg.nn.Linear(2, 3, rng=0), tg.tanh, tg.nn.Linear(3, 1, rng=1))
    >>> model(tg.ones((4, 2))).shape
    (4, 1)
    >>> [name for name, _ in model.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: Module | Callable[[Any], Any] | dict[str, Any]) -> None:
        if len(layers) == 1 and isinstance(layers[0], dict):
            named = dict(layers[0])
        else:
            named = {str(i): layer for i, layer in enumerate(layers)}
        for name, layer in named.items():
            if not callable(layer):
                raise ArgumentError(
                    f"Sequential layer {name} must be a Module or a function; got a {type(layer).__name__}"
                )
            if name in _RESERVED:
                raise ArgumentError(f'Sequential cannot name a layer "{name}"; choose another key')
            setattr(self, name, layer)
        self._names = tuple(named)

    def forward(self, x: Any) -> Any:
        """x → the last layer's result."""
        for layer in self:
            x = layer(x)
        return x

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, name) for name in self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Any:
        return getattr(self, self._names[index])

    def extra_repr(self) -> str:
        plain = {name: getattr(self, name) for name in self._names}
        return ", ".join(
            f"{name}: {getattr(layer, '__name__', layer)}"
            for name, layer in plain.items()
            if not isinstance(layer, Module)
        )


_RESERVED = frozenset(dir(Sequential)) | {"_names"}
