"""Initial values of weights. Every function takes a shape and a generator, and returns a NumPy array.

Numbers are drawn in float64 and then cast, so float32 and float64 models start from the same values.
A weight has shape (out, in) or, for a convolution, (out, in, *kernel), as in torch.

>>> from tinygrad_rnn.nn import init
>>> init.xavier_uniform((2, 3), 0).shape
(2, 3)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..random import Seed, as_generator
from ..tensor import as_dtype, default_dtype
from .module import Module

__all__ = [
    "as_generator", "constant", "forget_gate_bias", "forget_gate_bias_", "he_normal", "he_uniform", "identity",
    "irnn_", "kaiming_normal", "kaiming_uniform", "normal", "orthogonal", "uniform", "xavier_normal", "xavier_uniform",
    "zeros",
]  # fmt: skip

Shape = tuple[int, ...]


def xavier_uniform(shape: Shape, rng: Seed = None, *, gain: float = 1.0, dtype: Any = None) -> Any:
    """Uniform in ±gain·√(6 / (fan_in + fan_out)). [Glorot & Bengio 2010, eq. 16]

    shape: (out, in, ...).  rng: a generator, an integer seed, or None.  dtype: float32 by default.
    Raises ShapeError for fewer than two axes.

    >>> from tinygrad_rnn.nn import init
    >>> bool(abs(init.xavier_uniform((50, 100), 0)).max() <= 0.2)
    True
    """
    fan_in, fan_out = _fans("xavier_uniform", shape)
    bound = gain * math.sqrt(6 / max(1, fan_in + fan_out))
    return uniform(shape, rng, low=-bound, high=bound, dtype=dtype)


def xavier_normal(shape: Shape, rng: Seed = None, *, gain: float = 1.0, dtype: Any = None) -> Any:
    """Normal with standard deviation gain·√(2 / (fan_in + fan_out)). [Glorot & Bengio 2010]

    Arguments and errors as in `xavier_uniform`.
    """
    fan_in, fan_out = _fans("xavier_normal", shape)
    return normal(shape, rng, std=gain * math.sqrt(2 / max(1, fan_in + fan_out)), dtype=dtype)


def he_uniform(shape: Shape, rng: Seed = None, *, gain: float = math.sqrt(2), dtype: Any = None) -> Any:
    """Uniform in ±gain·√(3 / fan_in); the gain √2 is that of relu. [He et al. 2015]

    Arguments and errors as in `xavier_uniform`.
    """
    bound = gain * math.sqrt(3 / max(1, _fans("he_uniform", shape)[0]))
    return uniform(shape, rng, low=-bound, high=bound, dtype=dtype)


def he_normal(shape: Shape, rng: Seed = None, *, gain: float = math.sqrt(2), dtype: Any = None) -> Any:
    """Normal with standard deviation gain / √fan_in; the gain √2 is that of relu. [He et al. 2015, eq. 10]

    Arguments and errors as in `xavier_uniform`.
    """
    return normal(shape, rng, std=gain / math.sqrt(max(1, _fans("he_normal", shape)[0])), dtype=dtype)


kaiming_uniform = he_uniform  # torch's names
kaiming_normal = he_normal


def orthogonal(shape: Shape, rng: Seed = None, *, gain: float = 1.0, dtype: Any = None) -> Any:
    """A random matrix whose rows (or columns, if there are more rows) are orthonormal, times `gain`. [Saxe et al. 2014]

    Drawn uniformly (Haar): the QR decomposition of a normal matrix, with the signs of R's diagonal
    made positive [Mezzadri 2007]. More than two axes are taken as (out, everything else).
    Raises ShapeError for fewer than two axes.

    >>> import numpy as np
    >>> from tinygrad_rnn.nn import init
    >>> w = init.orthogonal((3, 5), 0, dtype="float64")
    >>> bool(np.allclose(w @ w.T, np.eye(3)))
    True
    """
    _fans("orthogonal", shape)
    rows, columns = shape[0], math.prod(shape[1:])
    drawn = as_generator(rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return _cast(gain * (q if rows >= columns else q.T).reshape(shape), dtype)


def identity(shape: Shape, rng: Seed = None, *, scale: float = 1.0, dtype: Any = None) -> Any:
    """`scale` on the diagonal, zero elsewhere: the recurrent weight of an IRNN. [Le, Jaitly & Hinton 2015]

    Draws nothing; `rng` is taken so that every initialiser is called alike.
    Raises ShapeError unless there are two axes.

    >>> from tinygrad_rnn.nn import init
    >>> init.identity((2, 2), scale=0.5).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    if len(shape) != 2:
        raise ShapeError(f"identity needs a shape (out, in); got {tuple(shape)}")
    return _cast(scale * np.eye(*shape), dtype)


def uniform(shape: Shape, rng: Seed = None, *, low: float = 0.0, high: float = 1.0, dtype: Any = None) -> Any:
    """Uniform between `low` and `high`. Raises ArgumentError unless low <= high.

    >>> from tinygrad_rnn.nn import init
    >>> init.uniform((2,), 0, low=1.0, high=1.0).tolist()
    [1.0, 1.0]
    """
    if not low <= high:
        raise ArgumentError(f"uniform needs low <= high; got low={low}, high={high}")
    return _cast(as_generator(rng).uniform(low, high, shape), dtype)


def normal(shape: Shape, rng: Seed = None, *, mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Any:
    """Normal with the given mean and standard deviation. Raises ArgumentError if std is negative.

    >>> from tinygrad_rnn.nn import init
    >>> init.normal((2,), 0, mean=3.0, std=0.0).tolist()
    [3.0, 3.0]
    """
    if not std >= 0:
        raise ArgumentError(f"normal needs std >= 0; got {std}")
    return _cast(mean + std * as_generator(rng).standard_normal(shape), dtype)


def constant(shape: Shape, rng: Seed = None, *, value: float, dtype: Any = None) -> Any:
    """`value` everywhere. Draws nothing.

    >>> from tinygrad_rnn.nn import init
    >>> init.constant((2,), value=1.5).tolist()
    [1.5, 1.5]
    """
    return _cast(np.full(shape, float(value)), dtype)


def zeros(shape: Shape, rng: Seed = None, *, dtype: Any = None) -> Any:
    """Zeros. Draws nothing.

    >>> from tinygrad_rnn.nn import init
    >>> init.zeros((2,)).tolist()
    [0.0, 0.0]
    """
    return _cast(np.zeros(shape), dtype)


def forget_gate_bias(bias: Any, value: float = 1.0) -> Any:
    """Return a copy of an LSTM's bias (4H,), gates in torch's order i f g o, with the forget gate's part set.

    A positive value lets the cell remember from the start. [Gers et al. 2000; Jozefowicz et al. 2015]
    Raises ShapeError unless the bias has one axis of a length that 4 divides.

    >>> import numpy as np
    >>> from tinygrad_rnn.nn import init
    >>> init.forget_gate_bias(np.zeros(8)).tolist()
    [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    array = np.array(bias)
    if array.ndim != 1 or array.shape[0] % 4:
        raise ShapeError(f"the bias of an LSTM has shape (4 * hidden_size,); got {array.shape}")
    hidden = array.shape[0] // 4
    array[hidden : 2 * hidden] = value
    return array


def forget_gate_bias_(module: Module, value: float = 1.0) -> None:
    """Set the forget gate's bias of every LSTM inside `module`, in place, layers and cells alike.

    An LSTM is known by its ``weight_hh`` of shape (4H, H). Where it has two biases, which are added,
    ``bias_ih`` gets the value and ``bias_hh`` zero.  Raises ArgumentError if there is no LSTM with a bias inside.
    """
    parameters = dict(module.named_parameters())
    done = 0
    for name, weight in parameters.items():
        prefix, _, last = name.rpartition(".")
        if not last.startswith("weight_hh") or weight.ndim != 2 or weight.shape[0] != 4 * weight.shape[1]:
            continue
        for kind, part in (("bias_ih", value), ("bias_hh", 0.0)):
            bias = parameters.get(f"{prefix}.{last.replace('weight_hh', kind)}".lstrip("."))
            if bias is not None:
                bias.assign(forget_gate_bias(bias.numpy(), part))
                done += 1
    if not done:
        raise ArgumentError(
            f"{type(module).__name__} holds no LSTM with a bias: no weight_hh of shape (4H, H) beside a bias_ih. "
            f"Pass an rnn.LSTM or rnn.LSTMCell, made with bias=True."
        )


def irnn_(module: Module, rng: Seed = None, *, std: float = 0.001) -> None:
    """Make every Elman network inside `module` an IRNN, in place: W_hh = I, biases zero, W_ih normal.

    With ReLU and no input, the state and its gradient then stay as they are. [Le, Jaitly & Hinton 2015, section 2]
    An Elman network is known by its ``weight_hh`` of shape (H, H).  std: of ``weight_ih``; 0.001 is the paper's.
    Raises ArgumentError if there is no Elman network inside.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.rnn.RNN(2, 3, nonlinearity="relu", rng=0)
    >>> tg.nn.init.irnn_(layer, rng=0)
    >>> layer.weight_hh_l0.numpy().tolist(), layer.bias_ih_l0.numpy().tolist()
    ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0, 0.0])
    """
    rng = as_generator(rng)
    parameters = dict(module.named_parameters())
    done = 0
    for name, weight in parameters.items():
        prefix, _, last = name.rpartition(".")
        if not last.startswith("weight_hh") or weight.ndim != 2 or weight.shape[0] != weight.shape[1]:
            continue
        weight.assign(identity(weight.shape, dtype=weight.dtype))
        inputs = parameters[f"{prefix}.{last.replace('weight_hh', 'weight_ih')}".lstrip(".")]
        inputs.assign(normal(inputs.shape, rng, std=std, dtype=inputs.dtype))
        for kind in ("bias_ih", "bias_hh"):
            bias = parameters.get(f"{prefix}.{last.replace('weight_hh', kind)}".lstrip("."))
            if bias is not None:
                bias.assign(zeros(bias.shape, dtype=bias.dtype))
        done += 1
    if not done:
        raise ArgumentError(
            f"{type(module).__name__} holds no Elman network: no weight_hh of shape (H, H). Pass an rnn.RNN with "
            f'nonlinearity="relu", or an rnn.ElmanCell.'
        )


def _fans(name: str, shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of a unit: axis 1 and axis 0, times the kernel's size."""
    if len(shape) < 2:
        raise ShapeError(f"{name} needs a shape (out, in, ...) of at least two axes; got {tuple(shape)}")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def _cast(array: Any, dtype: Any) -> Any:
    return array.astype(default_dtype() if dtype is None else as_dtype(dtype))
