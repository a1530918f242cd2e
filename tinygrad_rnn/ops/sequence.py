"""A whole recurrence as one record: the fused forms of the Elman network, the LSTM and the GRU.

Forward: one product of all inputs with W_ih, then a kernel that runs over time. Backward: a kernel that runs back over
time, then one product over all steps for each weight. The composed form, which serves under an outer tape and in
forward mode, is `rnn.scan` with the step functions below: the equations, written in Tensor operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    biases = _check("elman_sequence", 1, xs, (h0,), w_ih, w_hh, b_ih, b_hh)
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
    biases = _check("lstm_sequence", 4, xs, (h0, c0), w_ih, w_hh, b_ih, b_hh)
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
    biases = _check("gru_sequence", 3, xs, (h0,), w_ih, w_hh, b_ih, b_hh)
    params = {"lengths": lengths, "reverse": reverse, "reset_after": reset_after}
    return _gru(xs, h0, w_ih, w_hh, *biases, **params)


def _check(
    name: str, gates: int, xs: Any, state: tuple[Any, ...], w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any
) -> tuple[Any, ...]:
    """Raise unless shapes and dtypes fit; return the biases there are (both or none)."""
    shape, dtype = w_hh.shape, w_hh.dtype
    size = shape[-1]
    if (b_ih is None) != (b_hh is None):
        raise ShapeError(f"{name} takes both biases or neither")
    biases = () if b_ih is None else (b_ih, b_hh)
    inputs, rows, columns = xs.shape, gates * size, w_ih.shape[-1]
    wanted = [("xs", xs, (*inputs[:2], columns)), ("w_ih", w_ih, (rows, columns)), ("w_hh", w_hh, (rows, size))]
    wanted += [(f"state {k}", part, (*inputs[1:2], size)) for k, part in enumerate(state)]
    wanted += [(label, bias, (rows,)) for label, bias in zip(("b_ih", "b_hh"), biases)]
    for label, given, fitting in wanted:
        if given.shape != fitting or given.dtype != dtype or (label == "xs" and len(fitting) != 3):
            raise _misfit(name, label, given, fitting, dtype)
    return biases


def _misfit(name: str, label: str, given: Any, shape: tuple[int, ...], dtype: Any) -> Exception:
    if given.dtype == dtype or given.shape != shape:
        expected = f"(T, B, {shape[-1]})" if label == "xs" else f"{shape}"
        return ShapeError(f"{name} expected {label} of shape {expected}; got {given.shape}        at {user_line()}")
    return DTypeError(
        f"{name} got {label} of {given.dtype} and weights of {dtype}. "
        f"Cast one of them: .astype(tg.{dtype})        at {user_line()}"
    )


# ---- forward and backward, around the kernels


def _input_products(xp: Any, xs: Any, w_ih: Any, *biases: Any) -> Any:
    """(T, B, I) -> (T, B, G): W_ih x and the biases, for all steps in one product."""
    steps, batch, size = xs.shape
    products = xp.matmul(xs.reshape(steps * batch, size), w_ih.T)
    if len(biases) == 2:
        products += biases[0] + biases[1]  # the sum of the small first: one pass over the large
    elif biases:
        products += biases[0]
    return products.reshape(steps, batch, -1)


STRETCH = 16 << 20  # bytes: the cotangents of the input products, the largest arrays of a sweep, exist up to this size


def _stretches(products: Any, reverse: bool) -> Iterator[tuple[slice, int | None]]:
    """Cut time into stretches, the one that ran last first; with each the step that ran before it, None for the start.

    A kernel sweeps back over a stretch as it would over a whole sequence. What it hands on is one state, so the
    cotangents of the input products need not exist for all steps at once.
    """
    steps = len(products)
    count = max(1, min(steps, STRETCH * steps // max(1, products.nbytes)))
    if reverse:
        for first in range(0, steps, count):
            last = min(first + count, steps)
            yield slice(first, last), last if last < steps else None
    else:
        for last in range(steps, 0, -count):
            first = max(0, last - count)
            yield slice(first, last), first - 1 if first else None


class _InputGradients:
    """Cotangents of xs (if needed), of W_ih, of W_hh and of the biases, added up over stretches of time."""

    def __init__(self, xp: Any, xs: Any, w_ih: Any, needs: Any, biased: bool) -> None:
        self._xp, self._xs, self._w_ih, self._needs, self._biased = xp, xs, w_ih, needs[0], biased
        self.dx: Any = None
        self.dw_ih: Any = None
        self.dw_hh: Any = None
        self.db: Any = None

    def add(self, part: slice, d_xw: Any, dw_hh: Any) -> None:
        """Add what the sweep over a stretch has found."""
        xp, xs = self._xp, self._xs[part]
        flat = d_xw.reshape(-1, d_xw.shape[2])
        if self._needs:
            self.dx = xp.empty(self._xs.shape, dtype=self._xs.dtype) if self.dx is None else self.dx
            xp.matmul(flat, self._w_ih, out=self.dx[part].reshape(-1, xs.shape[2]))
        dw_ih = xp.matmul(flat.T, xs.reshape(-1, xs.shape[2]))
        db = xp.sum(flat, axis=0) if self._biased else None
        if self.dw_ih is None:
            self.dw_ih, self.dw_hh, self.db = dw_ih, dw_hh, db
        else:
            self.dw_ih += dw_ih
            self.dw_hh += dw_hh
            if self._biased:
                self.db += db


def _counted_from(lengths: Any, first: int) -> Any:
    """Lengths that remain at step `first`."""
    return lengths if lengths is None or not first else lengths - first


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
    xw = _input_products(xp, xs, w_ih, *biases)
    hs = xp.kernel("elman_forward")(xw, w_hh, h0, lengths, reverse, nonlinearity)
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
    dys, dh = _within(xp, g[0], lengths), g[1][0]
    found = _InputGradients(xp, xs, w_ih, needs, bool(biases))
    for part, before in _stretches(residual, reverse):
        start, ends = h0 if before is None else residual[before], _counted_from(lengths, part.start)
        d_xw, dw_hh, dh = xp.kernel("elman_backward")(
            dys[part], dh, residual[part], w_hh, start, ends, reverse, nonlinearity
        )
        found.add(part, d_xw, dw_hh)
    return found.dx, dh, found.dw_ih, found.dw_hh, *[found.db] * len(biases)


def _lstm_forward(
    xp: Any, xs: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, *biases: Any, lengths: Any, reverse: bool
) -> Any:
    xw = _input_products(xp, xs, w_ih, *biases)
    hs, cs, gates = xp.kernel("lstm_forward")(xw, w_hh, h0, c0, lengths, reverse)
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
    found = _InputGradients(xp, xs, w_ih, needs, bool(biases))
    for part, before in _stretches(gates, reverse):
        start = (h0, c0) if before is None else (hs[before], cs[before])
        given = dys[part], dh, dc, hs[part], cs[part], gates[part], w_hh, *start, _counted_from(lengths, part.start)
        d_xw, dw_hh, dh, dc = xp.kernel("lstm_backward")(*given, reverse)
        found.add(part, d_xw, dw_hh)
    return found.dx, dh, dc, found.dw_ih, found.dw_hh, *[found.db] * len(biases)


def _gru_forward(
    xp: Any, xs: Any, h0: Any, w_ih: Any, w_hh: Any, *biases: Any, lengths: Any, reverse: bool, reset_after: bool
) -> Any:
    size = h0.shape[1]
    xw = _input_products(xp, xs, w_ih, *biases[:1])
    if biases:
        xw[:, :, : 2 * size] += biases[1][: 2 * size]
        b_hn = biases[1][2 * size :]
    else:
        b_hn = xp.zeros_like(h0[0])
    hs, gates, inner = xp.kernel("gru_forward")(xw, w_hh, b_hn, h0, lengths, reverse, reset_after)
    return (_within(xp, hs, lengths), _last(hs, reverse)), (hs, gates, inner)


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
    dys, dh, db_hn = _within(xp, g[0], lengths), g[1][0], None
    found = _InputGradients(xp, xs, w_ih, needs, bool(biases))
    for part, before in _stretches(gates, reverse):
        start, ends = h0 if before is None else hs[before], _counted_from(lengths, part.start)
        given = dys[part], dh, hs[part], gates[part], inner[part], w_hh, start, ends
        d_xw, dw_hh, db, dh = xp.kernel("gru_backward")(*given, reverse, reset_after)
        db_hn = db if db_hn is None else db_hn + db
        found.add(part, d_xw, dw_hh)
    if not biases:
        return found.dx, dh, found.dw_ih, found.dw_hh
    db_hh = xp.concat([found.db[: 2 * h0.shape[1]], db_hn])
    return found.dx, dh, found.dw_ih, found.dw_hh, found.db, db_hh


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
