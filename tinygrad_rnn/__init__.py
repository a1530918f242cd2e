"""A mini autodiff framework with tape-based BPTT, swappable array backends and property-tested gradients."""

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Kernels and examples are installed inside this package. In a checkout they lie beside it, and links lead there, which
# not every file system keeps.
_here = os.path.dirname(os.path.abspath(__file__))
if not os.path.isfile(os.path.join(_here, "kernels", "__init__.py")):
    __path__.append(os.path.dirname(_here))

from . import backends, errors, ops
from .backends import backend, set_backend
from .errors import *
from .ops import *
from .primitive import Primitive, elementwise, primitive, registry
from .tape import Record, Tape, scope
from .tensor import Parameter, Tensor, asarray, set_default_dtype, tensor
from .transforms import checkpoint, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

from . import inspect, nn, optim, rnn  # isort: skip  (they stand on everything above)

if TYPE_CHECKING:
    from . import data, esn, gradients, testing, training

__all__ = [
    "Parameter", "Primitive", "Record", "Tape", "Tensor", "asarray", "backend", "backends", "checkpoint", "data",
    "elementwise", "errors", "esn", "grad", "gradients", "hessian", "hvp", "inspect", "jacobian", "jvp", "nn", "ops",
    "optim", "primitive", "registry", "rnn", "scope", "set_backend", "set_default_dtype", "tensor", "testing",
    "training", "value_and_grad", "vjp",
]  # fmt: skip
__all__ += errors.__all__
__all__ += ops.__all__

LATER = ("data", "esn", "gradients", "testing", "training")  # loaded when first asked for: the import stays quick


def __getattr__(name: str) -> Any:
    if name in LATER:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *LATER})
