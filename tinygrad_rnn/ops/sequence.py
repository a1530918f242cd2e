"""A whole recurrence as one record: the fused forms of the Elman network, the LSTM and the GRU.

Each is a kernel. Forward: one product of all inputs with W_ih, then a loop over time. Backward: a loop back over time,
then one product over all steps for each weight. The composed form, which serves under an outer tape and in
forward mode, is `rnn.scan` with the step functions below: the equations, written in Tensor operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..errors import DTypeError, ShapeError
from ..primitive import primitive
from ..tape import user_line
from ..tensor import Tensor
from .activation import relu, sigmoid
from .elementwise import tanh
from .linalg import matrix_transpose
from .shape import expand_dims, split

__all__ = ["elman_sequence", "elman_step", "gru_sequence", "gru_step", "lstm_sequence", "lstm_step"]


# ---- one step, in Tensor operations


def elman_step(
    x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, *, nonlinearity: str = "tanh"
) -> Any:
    """``h' = f(W_ih x + b_ih + W_hh h + b_hh)`` with f tanh or relu. [Elman 1990]

    x: (B, I).  h: (B, H).  w_ih: (H, I).  w_hh: (H, H).  Biases: (H,) or None.  Returns (B, H).
    """
    a = _affine(x, w_ih, b_ih) + _affine(h, w_hh, b_hh)
    return tanh(a) if nonlinearity == "tanh" else relu(a)


def lstm_step(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> tuple[Any, Any]:
    """One step of long short-term memory, gate order i f g o. [Hochreiter & Schmidhuber 1997; Gers et al. 2000]

    ``i, f, o = σ(·), g = tanh(·)`` of ``W_ih x + b_ih + W_hh h + b_hh``; ``c' = f c + i g``; ``h' = o tanh(c')``.
    x: (B, I).  h, c: (B, H).  w_ih: (4H, I).  w_hh: (4H, H).  Biases: (4H,) or None.  Returns h', c'.
    """
    i, f, g, o = split(_affine(x, w_ih, b_ih) + _affine(h, w_hh, b_hh), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru_step(
    x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, *, reset_after: bool = True
) -> Any:
    """One step of the gated recurrent unit, gate order r z n. [Cho et al. 2014]

    ``r, z = σ(·)`` of ``W_ih x + b_ih + W_hh h + b_hh``; ``h' = (1 - z) n + z h`` with
    ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))`` if the reset comes after the product (torch, cuDNN), or
    ``n = tanh(W_in x + b_in + W_hn (r h) + b_hn)`` if it comes before (Cho).
    x: (B, I).  h: (B, H).  w_ih: (3H, I).  w_hh: (3H, H).  Biases: (3H,) or None.  Returns (B, H).
    """
    size = h.shape[-1]
    x_r, x_z, x_n = split(_affine(x, w_ih, b_ih), 3, axis=-1)
    if reset_after:
        h_r, h_z, h_n = split(_affine(h, w_hh, b_hh), 3, axis=-1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = tanh(x_n + r * h_n)
    else:
        gates = _affine(h, w_hh[: 2 * size], None if b_hh is None else b_hh[: 2 * size])
        h_r, h_z = split(gates, 2, axis=-1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = tanh(x_n + _affine(r * h, w_hh[2 * size :], None if b_hh is None else b_hh[2 * size :]))
    return n + z * (h - n)


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    product = x @ matrix_transpose(weight)
    return product if bias is None else product + bias


# ---- a whole sequence


def elman_sequence(
    xs: Tensor,
    h0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
    nonlinearity: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """Run `elman_step` over a sequence, as one record.

    xs: (T, B, I).  h0: (B, H).  Weights as in `elman_step`.  lengths: (B,) NumPy integers, or None for T.
    reverse: run from the last step (of each length) to the first.
    Returns outputs (T, B, H), zero past a length, and the state after the last step, (1, B, H).

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.ops.sequence import elman_sequence
    >>> xs, h0 = tg.ones((3, 1, 2)), tg.zeros((1, 1))
    >>> with tg.Tape() as tape:
    ...     ys, h = elman_sequence(xs, h0, tg.ones((1, 2)), tg.ones((1, 1)))
    >>> len(tape), ys.shape
    (1, (3, 1, 1))
    """
    biases = _biases("elman_sequence", b_ih, b_hh)
    params = {"lengths": lengths, "reverse": reverse, "nonlinearity": nonlinearity}
    return _elman(xs, h0, w_ih, w_hh, *biases, **params)


def lstm_sequence(
    xs: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run `lstm_step` over a sequence, as one record.

    xs: (T, B, I).  h0, c0: (B, H).  The rest as in `elman_sequence` and `lstm_step`.
    Returns outputs (T, B, H), zero past a length, and h and c after the last step, (1, B, H).
    """
    biases = _biases("lstm_sequence", b_ih, b_hh)
    return _lstm(xs, h0, c0, w_ih, w_hh, *biases, lengths=lengths, reverse=reverse)


def gru_sequence(
    xs: Tensor,
    h0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
    reset_after: bool = True,
) -> tuple[Tensor, Tensor]:
    """Run `gru_step` over a sequence, as one record.

    xs: (T, B, I).  h0: (B, H).  The rest as in `elman_sequence` and `gru_step`.
    Returns outputs (T, B, H), zero past a length, and the state after the last step, (1, B, H).
    """
    biases = _biases("gru_sequence", b_ih, b_hh)
    params = {"lengths": lengths, "reverse": reverse, "reset_after": reset_after}
    return _gru(xs, h0, w_ih, w_hh, *biases, **params)


def _biases(name: str, b_ih: Any, b_hh: Any) -> tuple[Any, ...]:
    """The biases there are: both or none."""
    if b_ih is None and b_hh is None:
        return ()
    if b_ih is None or b_hh is None:
        raise ShapeError(f"{name} takes both biases or neither")
    return b_ih, b_hh


def _check(
    name: str, gates: int, xs: Any, state: tuple[Any, ...], w_ih: Any, w_hh: Any, biases: tuple[Any, ...]
) -> None:
    """Raise unless shapes and dtypes of these arrays fit."""
    inputs, size, columns, dtype = xs.shape, w_hh.shape[-1], w_ih.shape[-1], w_hh.dtype
    rows, one = gates * size, (*inputs[1:2], size)
    given = (xs, w_ih, w_hh, *state, *biases)
    shapes = [(*inputs[:2], columns), (rows, columns), (rows, size), *[one] * len(state), *[(rows,)] * len(biases)]
    if len(inputs) == 3 and [x.shape for x in given] == shapes and [x.dtype for x in given] == [dtype] * len(given):
        return
    labels = "xs", "w_ih", "w_hh", *[f"state {k}" for k in range(len(state))], "b_ih", "b_hh"
    for label, x, shape in zip(labels, given, shapes):
        if x.shape != shape or x.dtype != dtype or len(inputs) != 3:
            raise _misfit(name, label, x, shape, dtype)


def _misfit(name: str, label: str, given: Any, shape: tuple[int, ...], dtype: Any) -> Exception:
    if given.dtype == dtype or given.shape != shape:
        expected = f"(T, B, {shape[-1]})" if label == "xs" else f"{shape}"
        return ShapeError(f"{name} expected {label} of shape {expected}; got {given.shape}        at {user_line()}")
    return DTypeError(
        f"{name} got {label} of {given.dtype} and weights of {dtype}. "
        f"Cast one of them: .astype(tg.{dtype})        at {user_line()}"
    )


# ---- forward and backward, around the kernels


STRETCH = 16 << 20  # bytes: the cotangents of the input products, the largest arrays of a sweep, exist up to this size


class _Stretch(NamedTuple):
    """Steps that a kernel sweeps back over at once."""

    steps: slice | None  # None for all of them
    before: int | None  # the step that ran before them, None for the start
    lengths: Any  # what remains of them at the first of these steps

    def of(self, *arrays: Any) -> tuple[Any, ...]:
        """The part of each that belongs to these steps."""
        if self.steps is None:
            return arrays
        return tuple([None if array is None else array[self.steps] for array in arrays])


def _stretches(products: Any, lengths: Any, reverse: bool) -> Iterable[_Stretch]:
    """Cut time into stretches, the one that ran last first.

    A kernel sweeps back over a stretch as it would over a whole sequence. What it hands on is one state, so the
    cotangents of the input products need not exist for all steps at once.
    """
    if products.nbytes <= STRETCH:
        return (_Stretch(None, None, lengths),)
    return _cut(len(products), max(1, STRETCH * len(products) // products.nbytes), lengths, reverse)


def _cut(steps: int, count: int, lengths: Any, reverse: bool) -> Iterator[_Stretch]:
    if reverse:
        for first in range(0, steps, count):
            last = min(first + count, steps)
            yield _Stretch(slice(first, last), last if last < steps else None, _counted_from(lengths, first))
    else:
        for last in range(steps, 0, -count):
            first = max(0, last - count)
            yield _Stretch(slice(first, last), first - 1 if first else None, _counted_from(lengths, first))


def _counted_from(lengths: Any, first: int) -> Any:
    """Lengths that remain at step `first`."""
    return lengths if lengths is None or not first else lengths - first


def _added(totals: list[Any] | None, found: list[Any]) -> list[Any]:
    """Add the gradients of the weights that a stretch has given to those of the stretches after it."""
    if totals is None:
        return found
    for total, part in zip(totals, found):
        total += part
    return totals


def _within(xp: Any, hs: Any, lengths: Any) -> Any:
    """States, with those past a lane's length set to zero."""
    if lengths is None:
        return hs
    alive = xp.arange(hs.shape[0])[:, None] < xp.asarray(lengths)[None, :]
    return xp.where(alive[:, :, None], hs, xp.zeros_like(hs))


def _last(hs: Any, reverse: bool) -> Any:
    """The state after the step that runs last, (1, B, H), as an array of its own."""
    return (hs[:1] if reverse else hs[-1:]).copy()


def _elman_forward(
    xp: Any, xs: Any, h0: Any, w_ih: Any, w_hh: Any, *biases: Any, lengths: Any, reverse: bool, nonlinearity: str
) -> Any:
    _check("elman_sequence", 1, xs, (h0,), w_ih, w_hh, biases)
    bias = biases[0] + biases[1] if biases else None
    hs = xp.kernel("elman_forward")(xs, w_ih, bias, w_hh, h0, lengths, reverse, nonlinearity)
    return (_within(xp, hs, lengths), _last(hs, reverse)), hs


def _elman_vjp(
    xp: Any,
    g: Any,
    y: Any,
    xs: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    *biases: Any,
    lengths: Any,
    reverse: bool,
    nonlinearity: str,
    needs: Any,
    residual: Any,
) -> tuple[Any, ...]:
    hs, dys, dh = residual, _within(xp, g[0], lengths), g[1][0]
    totals: Any = None
    dxs = xp.empty(xs.shape, dtype=xs.dtype) if needs[0] else None
    for part in _stretches(hs, lengths, reverse):
        dy, h, x, dx = part.of(dys, hs, xs, dxs)
        start = h0 if part.before is None else hs[part.before]
        *found, dh = xp.kernel("elman_backward")(
            dy, dh, h, x, w_ih, w_hh, start, dx, part.lengths, reverse, nonlinearity
        )
        totals = _added(totals, found)
    dw_ih, db, dw_hh = totals
    return dxs, dh, dw_ih, dw_hh, *[db] * len(biases)


def _lstm_forward(
    xp: Any, xs: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, *biases: Any, lengths: Any, reverse: bool
) -> Any:
    _check("lstm_sequence", 4, xs, (h0, c0), w_ih, w_hh, biases)
    bias = biases[0] + biases[1] if biases else None
    hs, cs, gates = xp.kernel("lstm_forward")(xs, w_ih, bias, w_hh, h0, c0, lengths, reverse)
    return (_within(xp, hs, lengths), _last(hs, reverse), _last(cs, reverse)), (hs, cs, gates)


def _lstm_vjp(
    xp: Any,
    g: Any,
    y: Any,
    xs: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    *biases: Any,
    lengths: Any,
    reverse: bool,
    needs: Any,
    residual: Any,
) -> tuple[Any, ...]:
    hs, cs, gates = residual
    dys, dh, dc = _within(xp, g[0], lengths), g[1][0], g[2][0]
    totals: Any = None
    dxs = xp.empty(xs.shape, dtype=xs.dtype) if needs[0] else None
    for part in _stretches(gates, lengths, reverse):
        dy, h, c, a, x, dx = part.of(dys, hs, cs, gates, xs, dxs)
        start = (h0, c0) if part.before is None else (hs[part.before], cs[part.before])
        *found, dh, dc = xp.kernel("lstm_backward")(
            dy, dh, dc, h, c, a, x, w_ih, w_hh, *start, dx, part.lengths, reverse
        )
        totals = _added(totals, found)
    dw_ih, db, dw_hh = totals
    return dxs, dh, dc, dw_ih, dw_hh, *[db] * len(biases)


def _gru_forward(
    xp: Any, xs: Any, h0: Any, w_ih: Any, w_hh: Any, *biases: Any, lengths: Any, reverse: bool, reset_after: bool
) -> Any:
    _check("gru_sequence", 3, xs, (h0,), w_ih, w_hh, biases)
    bias, b_hn = gru_biases(xp, h0, *biases)
    hs, gates, inner = xp.kernel("gru_forward")(xs, w_ih, bias, w_hh, b_hn, h0, lengths, reverse, reset_after)
    return (_within(xp, hs, lengths), _last(hs, reverse)), (hs, gates, inner)


def gru_biases(xp: Any, h0: Any, b_ih: Any = None, b_hh: Any = None) -> tuple[Any, Any]:
    """The biases of a GRU as its kernel takes them: the sum of all but b_hn, (3H,) or None, and b_hn, (H,)."""
    if b_ih is None:
        return None, xp.zeros_like(h0[0])
    cut = 2 * h0.shape[1]
    return xp.concat([b_ih[:cut] + b_hh[:cut], b_ih[cut:]]), b_hh[cut:]


def _gru_vjp(
    xp: Any,
    g: Any,
    y: Any,
    xs: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    *biases: Any,
    lengths: Any,
    reverse: bool,
    reset_after: bool,
    needs: Any,
    residual: Any,
) -> tuple[Any, ...]:
    hs, gates, inner = residual
    dys, dh = _within(xp, g[0], lengths), g[1][0]
    totals: Any = None
    dxs = xp.empty(xs.shape, dtype=xs.dtype) if needs[0] else None
    for part in _stretches(gates, lengths, reverse):
        dy, h, a, product, x, dx = part.of(dys, hs, gates, inner, xs, dxs)
        start = h0 if part.before is None else hs[part.before]
        *found, dh = xp.kernel("gru_backward")(
            dy, dh, h, a, product, x, w_ih, w_hh, start, dx, part.lengths, reverse, reset_after
        )
        totals = _added(totals, found)
    dw_ih, db, dw_hh, db_hn = totals
    if not biases:
        return dxs, dh, dw_ih, dw_hh
    return dxs, dh, dw_ih, dw_hh, db, xp.concat([db[: 2 * h0.shape[1]], db_hn])


# ---- the composed forms: the only loop over time is rnn.scan


def _scanned(step: Any, xs: Any, state: Any, lengths: Any, reverse: bool) -> tuple[Any, ...]:
    from ..rnn.scan import scan

    ys, last = scan(step, xs, state, lengths=lengths, reverse=reverse)
    return ys, *[expand_dims(part, 0) for part in (last if isinstance(last, tuple) else (last,))]


def _elman_composed(xs: Any, h0: Any, *weights: Any, lengths: Any, reverse: bool, nonlinearity: str) -> tuple[Any, ...]:
    def step(x: Any, h: Any) -> Any:
        return elman_step(x, h, *weights, nonlinearity=nonlinearity)

    return _scanned(step, xs, h0, lengths, reverse)


def _lstm_composed(xs: Any, h0: Any, c0: Any, *weights: Any, lengths: Any, reverse: bool) -> tuple[Any, ...]:
    def step(x: Any, state: Any) -> Any:
        return lstm_step(x, *state, *weights)

    return _scanned(step, xs, (h0, c0), lengths, reverse)


def _gru_composed(xs: Any, h0: Any, *weights: Any, lengths: Any, reverse: bool, reset_after: bool) -> tuple[Any, ...]:
    def step(x: Any, h: Any) -> Any:
        return gru_step(x, h, *weights, reset_after=reset_after)

    return _scanned(step, xs, h0, lengths, reverse)


_elman = primitive(
    "elman_sequence",
    forward=_elman_forward,
    vjp=_elman_vjp,
    composed=_elman_composed,
    residual=True,
    outputs=2,
)
_lstm = primitive(
    "lstm_sequence",
    forward=_lstm_forward,
    vjp=_lstm_vjp,
    composed=_lstm_composed,
    residual=True,
    outputs=3,
)
_gru = primitive(
    "gru_sequence",
    forward=_gru_forward,
    vjp=_gru_vjp,
    composed=_gru_composed,
    residual=True,
    outputs=2,
)
