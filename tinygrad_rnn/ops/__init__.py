"""The operations, by family. The module reads as an array namespace of the Python array API standard (2024.12)."""

from ..apply import use_tensors
from . import (
    activation,
    conversion,
    convolution,
    creation,
    elementwise,
    indexing,
    inspection,
    linalg,
    loss,
    operators,
    pooling,
    reduction,
    sequence,
    shape,
    sorting,
)
from .activation import *
from .conversion import *
from .convolution import *
from .creation import *
from .elementwise import *
from .indexing import *
from .inspection import *
from .linalg import *
from .loss import *
from .pooling import *
from .reduction import *
from .shape import *
from .sorting import *

__all__: list[str] = []
__all__ += activation.__all__
__all__ += conversion.__all__
__all__ += convolution.__all__
__all__ += creation.__all__
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += inspection.__all__
__all__ += linalg.__all__
__all__ += loss.__all__
__all__ += pooling.__all__
__all__ += reduction.__all__
__all__ += shape.__all__
__all__ += sorting.__all__

import sys as _sys

use_tensors(namespace=_sys.modules[__name__])
operators.install()
