"""A mini autodiff framework with tape-based BPTT, swappable array backends and property-tested gradients."""

import os

__version__ = "0.1.0"

# In a checkout the kernels lie beside this package, in an installation inside it.
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

from . import gradients, inspect, nn, optim, rnn  # isort: skip  (they stand on everything above)
