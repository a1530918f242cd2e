"""One step of the influence of real-time recurrent learning: J <- D J + I. [Williams & Zipser 1989]

J = ds/dW, D = ds_t/ds_{t-1}, I what the weights do in step t alone. Lanes first: B of them, each with its own J.
For the built-in recurrences all weights and biases are one array, W_gjk: gate g, unit j, and column k of what that
gate reads, a = [x, h, 1], so that J is (B, H, G, H, m). Every kernel changes J in place, and
returns it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PANEL = 1 << 16  # entries of J that are multiplied at once


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


def influence_update_elman(influence: Any, w_hh: Any, slope: Any, a: Any) -> Any:
    """The influence of an Elman network, h' = f(W_ih x + W_hh h + b).

    influence: (B, H, 1, H, m).  w_hh: (H, H).  slope: (B, H), f' of the new state.  a: (B, m), [x, h, 1].
    Returns influence.
    """
    batch, size = slope.shape
    influence_update_dense(influence.reshape(batch, size, -1), slope[:, :, None] * w_hh)
    add_own(influence[:, :, 0], slope, a)
    return influence


def influence_update_gru(
    influence: Any, w_hh: Any, h: Any, gates: Any, inner: Any, a: Any, recurrent: int, reset_after: bool = True
) -> Any:
    """The influence of a GRU; names as in `gru_forward`, of one step.

    influence: (B, H, 3, H, m).  w_hh: (3H, H).  h: (B, H), the state before.  gates: (B, 3H).  inner: (B, H).
    a: (B, m), [x, 1, h, 1], the columns of W_ih, b_ih, W_hh and b_hh; without biases [x, h].
    recurrent: the first column of h.  Returns influence.
    """
    d, slopes = gru_slopes(w_hh, h, gates, inner, reset_after)
    influence_update_dense(influence.reshape(*h.shape, -1), d)
    add_gru_own(influence, slopes, gates, inner, a, recurrent, reset_after)
    return influence


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


def add_gru_own(
    influence: Any, slopes: tuple[Any, ...], gates: Any, inner: Any, a: Any, recurrent: int, reset_after: bool
) -> None:
    """Add what the weights of a GRU do in this step alone."""
    slope_r, slope_z, slope_n = slopes
    size = inner.shape[1]
    add_own(influence[:, :, 1], slope_z, a)
    if reset_after:
        add_own(influence[:, :, 0], slope_r, a)
        read = np.repeat(a[:, None, :], size, axis=1)  # the n gate of unit j reads r_j h and r_j
        read[:, :, recurrent:] *= gates[:, :size, None]
        add_own(influence[:, :, 2], slope_n, read)
    else:
        for j in range(size):
            influence[:, :, 0, j] += slope_r[:, :, j, None] * a[:, None, :]
        read = a.copy()
        read[:, recurrent : recurrent + size] = inner
        add_own(influence[:, :, 2], slope_n, read)


def influence_update_lstm(influence: Any, w_hh: Any, c: Any, c_new: Any, gates: Any, a: Any) -> Any:
    """The influence of an LSTM; names as in `lstm_forward`, of one step.

    influence: (2, B, H, 4, H, m), on h and on c.  w_hh: (4H, H).  c, c_new: (B, H), before and after.
    gates: (B, 4H).  a: (B, m), [x, h, 1].  Returns influence.
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
    add_lstm_own(influence, through, slopes, a)
    return influence


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


def add_lstm_own(influence: Any, through: Any, slopes: tuple[Any, ...], a: Any) -> None:
    """Add what the weights of an LSTM do in this step alone."""
    *of_c, slope_o = slopes
    for k, slope in enumerate(of_c):
        add_own(influence[1, :, :, k], slope, a)
        add_own(influence[0, :, :, k], through * slope, a)
    add_own(influence[0, :, :, 3], slope_o, a)


def add_own(influence: Any, slope: Any, a: Any) -> None:
    """Add what the weights of each unit do to that unit: slope_j a_k where i = j.

    influence: (B, H, H, m).  slope: (B, H).  a: (B, m), or (B, H, m) where units read differently.
    """
    own = np.einsum("bjjk->bjk", influence)  # a view
    own += slope[:, :, None] * (a[:, None, :] if a.ndim == 2 else a)
