"""One step of the influence of real-time recurrent learning: J <- D J + I. [Williams & Zipser 1989]

J = ds/dW, D = ds_t/ds_{t-1}, I what the weights do in step t alone. Lanes first: B of them, each with its own J.
For the built-in recurrences all weights and biases are one array, W_gjk: gate g, unit j, and column k of what that
gate reads, a = [x, h, 1], so that J is (B, H, G, H, m); that of an LSTM is two of them, of h and of c.

Every kernel changes J in place. `influence_update_dense` and `influence_update_diagonal` return it. Those of the
built-in recurrences take what `influence_pack` returned, J in the order in which their backend multiplies it fastest
(the axes before H stay: those of the parts of a state and of the lanes), and return the gradient of a loss of the new
h: q J, the sum over lanes, (G H, m). q: (B, H), the loss's derivative.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PANEL = 1 << 16  # entries of J that are multiplied at once


def influence_pack(influence: Any) -> Any:
    """J in the order in which the updates of the built-in recurrences take it.

    influence: (B, H, G, H, m), or one such for each part of the state.  Returns, here, influence itself.
    """
    return influence


def influence_unpack(packed: Any, shape: tuple[int, ...]) -> Any:
    """The influence that was packed.

    packed: as `influence_pack` returned it.  shape: that of the influence.  Returns it, maybe the same array.
    """
    return packed.reshape(shape)


def influence_update_dense(influence: Any, d: Any) -> Any:
    """J <- D J, panel by panel.

    influence: (B, N, P).  d: (B, N, N).  Returns influence.
    """
    lanes, units, size = influence.shape
    width = max(1, PANEL // max(1, lanes * units))
    for start in range(0, size, width):
        panel = influence[:, :, start : start + width]
        panel[...] = np.matmul(d, panel)
    return influence


def influence_update_diagonal(influence: Any, decay: Any, units: Any) -> Any:
    """E <- λ E for a recurrence without connections between units: each parameter has influence on one unit only.

    influence: (B, K, P): of each parameter on the K states of its unit.  decay: (B, K, K, H), D of each unit.
    units: (P,), the unit of each parameter.  Returns influence.
    """
    slopes = decay[:, :, :, units]
    if influence.shape[1] == 1:
        influence *= slopes[:, :, 0]
    else:
        influence[...] = np.multiply(slopes, influence[:, None]).sum(axis=2)
    return influence


def influence_update_elman(influence: Any, w_hh: Any, slope: Any, a: Any, q: Any) -> Any:
    """The influence of an Elman network, h' = f(W_ih x + W_hh h + b).

    influence: (B, H, 1, H, m).  w_hh: (H, H).  slope: (B, H), f' of the new state.  a: (B, m), [x, h, 1].
    Returns q J.
    """
    batch, size = slope.shape
    influence_update_dense(influence.reshape(batch, size, -1), slope[:, :, None] * w_hh)
    add_own(influence, own(slope, a)[:, None])
    return gradient(influence, q)


def influence_update_gru(
    influence: Any, w_hh: Any, h: Any, gates: Any, inner: Any, a: Any, q: Any, recurrent: int, reset_after: bool = True
) -> Any:
    """The influence of a GRU; names as in `gru_forward`, of one step.

    influence: (B, H, 3, H, m).  w_hh: (3H, H).  h: (B, H), the state before.  gates: (B, 3H).  inner: (B, H).
    a: (B, m), [x, 1, h, 1], the columns of W_ih, b_ih, W_hh and b_hh; without biases [x, h].
    recurrent: the first column of h.  Returns q J.
    """
    batch, size = h.shape
    d, slopes = gru_slopes(w_hh, h, gates, inner, reset_after)
    influence_update_dense(influence.reshape(batch, size, -1), d)
    if not reset_after:  # the r gate reaches every unit
        for j in range(size):
            influence[:, :, 0, j] += slopes[0][:, :, j, None] * a[:, None, :]
    add_own(influence, gru_own(slopes, gates, inner, a, recurrent, reset_after))
    return gradient(influence, q)


def gru_slopes(w_hh: Any, h: Any, gates: Any, inner: Any, reset_after: bool) -> tuple[Any, tuple[Any, ...]]:
    """Derivatives of h' by h (B, H, H); by the sum of r (of every unit where the reset comes before), of z, of n."""
    size = h.shape[1]
    r, z, n = (gates[:, k * size : (k + 1) * size] for k in range(3))
    w_r, w_z, w_n = (w_hh[k * size : (k + 1) * size] for k in range(3))
    slope_n = (1 - z) * (1 - n * n)
    slope_z = (h - n) * z * (1 - z)
    d = slope_z[:, :, None] * w_z
    if reset_after:
        slope_r = slope_n * inner * r * (1 - r)
        d += slope_r[:, :, None] * w_r
        d += (slope_n * r)[:, :, None] * w_n
    else:
        through = slope_n[:, :, None] * w_n  # of r h
        slope_r = through * (h * r * (1 - r))[:, None, :]
        d += through * r[:, None, :]
        d += np.matmul(slope_r, w_r)
    d[:, np.arange(size), np.arange(size)] += z
    return d, (slope_r, slope_z, slope_n)


def gru_own(slopes: tuple[Any, ...], gates: Any, inner: Any, a: Any, recurrent: int, reset_after: bool) -> Any:
    """What the weights of each unit do to that unit in this step alone, (B, 3, H, m)."""
    slope_r, slope_z, slope_n = slopes
    size = inner.shape[1]
    if reset_after:
        of_r = own(slope_r, a)
        read = np.repeat(a[:, None, :], size, axis=1)  # the n gate of unit j reads r_j h and r_j
        read[:, :, recurrent:] *= gates[:, :size, None]
    else:
        of_r = np.zeros((*inner.shape, a.shape[1]), a.dtype)  # it is in what reaches every unit
        read = a.copy()
        read[:, recurrent : recurrent + size] = inner
    return np.stack([of_r, own(slope_z, a), own(slope_n, read)], axis=1)


def influence_update_lstm(influence: Any, w_hh: Any, c: Any, c_new: Any, gates: Any, a: Any, q: Any) -> Any:
    """The influence of an LSTM; names as in `lstm_forward`, of one step.

    influence: (2, B, H, 4, H, m), on h and on c.  w_hh: (4H, H).  c, c_new: (B, H), before and after.
    gates: (B, 4H).  a: (B, m), [x, h, 1].  Returns q J, of the part on h.
    """
    batch, size = c.shape
    f = gates[:, size : 2 * size]
    d, d_o, through, slopes = lstm_slopes(w_hh, c, c_new, gates)
    on_h, on_c = influence.reshape(2, batch, size, -1)
    width = max(1, PANEL // (2 * batch * size))
    for start in range(0, on_h.shape[2], width):
        panel_h, panel_c = (each[:, :, start : start + width] for each in (on_h, on_c))
        panel_c *= f[:, :, None]
        panel_c += np.matmul(d, panel_h)
        panel_h[...] = np.matmul(d_o, panel_h)
        panel_h += through[:, :, None] * panel_c
    step = lstm_own(slopes, a)
    add_own(influence[1, :, :, :3], step[:, :3])
    step[:, :3] *= through[:, None, :, None]
    add_own(influence[0], step)
    return gradient(influence[0], q)


def lstm_slopes(w_hh: Any, c: Any, c_new: Any, gates: Any) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """Derivatives of c' by h (B, H, H); of h' by h, past c', and by c' (B, H); by the sums of i, f, g of c', of o."""
    size = c.shape[1]
    i, f, g, o = (gates[:, k * size : (k + 1) * size] for k in range(4))
    w_i, w_f, w_g, w_o = (w_hh[k * size : (k + 1) * size] for k in range(4))
    squashed = np.tanh(c_new)
    slopes = g * i * (1 - i), c * f * (1 - f), i * (1 - g * g)
    slope_o = squashed * o * (1 - o)
    d = sum(slope[:, :, None] * w for slope, w in zip(slopes, (w_i, w_f, w_g)))
    return d, slope_o[:, :, None] * w_o, o * (1 - squashed * squashed), (*slopes, slope_o)


def lstm_own(slopes: tuple[Any, ...], a: Any) -> Any:
    """What the weights of each unit do in this step alone, (B, 4, H, m): those of i, f, g to its c, of o to its h."""
    return np.stack([own(slope, a) for slope in slopes], axis=1)


def own(slope: Any, a: Any) -> Any:
    """What the weights of a gate do to its own unit, slope_j a_k: (B, H, m).

    slope: (B, H).  a: (B, m), or (B, H, m) where units read differently.
    """
    return slope[:, :, None] * (a[:, None, :] if a.ndim == 2 else a)


def add_own(influence: Any, step: Any) -> None:
    """Add to J what the weights of each unit do to that unit.

    influence: (B, H, G, H, m).  step: (B, G, H, m).
    """
    diagonal = np.einsum("bjgjk->bgjk", influence)  # a view
    diagonal += step


def gradient(influence: Any, q: Any) -> Any:
    """q J, (G H, m), of an influence (B, H, G, H, m) on h."""
    _, size, gates, _, columns = influence.shape
    return np.matmul(q.reshape(1, -1), influence.reshape(q.size, -1)).reshape(gates * size, columns)
