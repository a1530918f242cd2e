"""Looking inside: what a tape recorded, and how derivatives pass through the layers of a model.

Most of it is loaded when it is first asked for, so that `import tinygrad_rnn` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..tape import Record, Tape
from ..tensor import Tensor
from .contributions import Contribution, Pull, contributions
from .jacobian import GradientFlow, JacobianSpectrum, gradient_flow, jacobian_spectrum
from .table import table

if TYPE_CHECKING:
    from .anomaly import Anomaly, AnomalyError, find_anomaly, watch
    from .diagnosis import Diagnosis, diagnose
    from .dot import to_dot
    from .explorer import to_html
    from .footprint import Footprint, memory
    from .profiling import Profile, profile
    from .rules import describe, rule_text
    from .svg import to_svg

__all__ = [
    "Anomaly",
    "AnomalyError",
    "Contribution",
    "Diagnosis",
    "Footprint",
    "GradientFlow",
    "JacobianSpectrum",
    "Profile",
    "Pull",
    "contributions",
    "describe",
    "diagnose",
    "find_anomaly",
    "gradient_flow",
    "jacobian_spectrum",
    "memory",
    "profile",
    "rule_text",
    "table",
    "to_dot",
    "to_html",
    "to_svg",
    "watch",
]

_LATER = {
    "anomaly": ("Anomaly", "AnomalyError", "find_anomaly", "watch"),
    "diagnosis": ("Diagnosis", "diagnose"),
    "dot": ("to_dot",),
    "explorer": ("to_html",),
    "footprint": ("Footprint", "memory"),
    "profiling": ("Profile", "profile"),
    "rules": ("describe", "rule_text"),
    "svg": ("to_svg",),
}
_MODULES = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


class _Later:
    """A method that is loaded when it is first looked up, and then takes this object's place in its class."""

    def __init__(self, home: type, attribute: str, module: str, name: str) -> None:
        self._home, self._attribute, self._module, self._name = home, attribute, module, name

    def __get__(self, instance: Any, owner: type) -> Any:
        function = getattr(importlib.import_module(f".{self._module}", __name__), self._name)
        setattr(self._home, self._attribute, function)
        return function if instance is None else function.__get__(instance, owner)


def _install(home: type, attribute: str, module: str, name: str) -> None:
    setattr(home, attribute, _Later(home, attribute, module, name))


_install(Tape, "to_html", "explorer", "to_html")
_install(Tape, "to_svg", "svg", "to_svg")
_install(Tape, "to_dot", "dot", "to_dot")
_install(Tape, "_repr_html_", "explorer", "embedded")
_install(Tape, "profile", "profiling", "profile")
_install(Tape, "memory", "footprint", "memory")
_install(Tensor, "_repr_html_", "page_tensor", "tensor_html")
_install(Record, "__repr__", "rules", "describe")
_install(Record, "__str__", "rules", "describe")
