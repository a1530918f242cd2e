"""Conceptors: soft projections onto the states that a pattern drives a reservoir through; their logic; recall.

Source: Jaeger 2014, "Controlling recurrent neural networks by conceptors", sections 3.2 (definition), 3.3 (loading),
3.5 (aperture) and 3.9 (logic).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, DataError, ShapeError
from ..tape import paused
from .reservoir import Reservoir
from .ridge import fit_ridge

__all__ = ["Memory", "adapt_aperture", "conceptor", "conjunction", "disjunction", "load", "negation"]


def conceptor(states: Any, aperture: float) -> Any:
    """``C = R (R + α⁻² I)⁻¹`` with R the states' correlation matrix: symmetric, singular values in [0, 1).

    states: (T, N), an array or a Tensor.  aperture: α > 0; small ones damp, large ones let through.  Returns (N, N).

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> C = esn.conceptor(np.array([[1.0, 0.0], [-1.0, 0.0]]), aperture=10.0)
    >>> C.round(3).tolist()
    [[0.99, 0.0], [0.0, 0.0]]
    """
    states = _matrix(states, "states")
    _check_positive("aperture", aperture)
    # from singular values, R's condition is not squared
    _, s, vt = np.linalg.svd(states / np.sqrt(len(states)), full_matrices=False)
    return (vt.T * (s * s / (s * s + aperture**-2))) @ vt


def negation(C: Any) -> Any:
    """NOT C = I - C: what C damps."""
    C = _matrix(C, "C", square=True)
    return np.eye(len(C)) - C


def conjunction(C: Any, B: Any) -> Any:
    """C AND B, also where they are singular: what both let through.

    ``P (Pᵀ (C⁺ + B⁺ - I) P)⁻¹ Pᵀ`` with the columns of P a basis of the intersection of their ranges.
    """
    C, B = _pair(C, B)
    beside = [_split(M)[1] for M in (C, B)]
    u, s, _ = np.linalg.svd(sum(N @ N.T for N in beside))
    P = u[:, s < 1e-10 * max(1.0, s[0])]
    if P.shape[1] == 0:
        return np.zeros_like(C)
    inner = P.T @ (_pseudo_inverse(C) + _pseudo_inverse(B) - np.eye(len(C))) @ P
    found = P @ np.linalg.solve(inner, P.T)
    return 0.5 * (found + found.T)


def disjunction(C: Any, B: Any) -> Any:
    """C OR B, by de Morgan's law: what either lets through.

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> a, b = np.diag([0.9, 0.0]), np.diag([0.0, 0.9])
    >>> esn.disjunction(a, b).round(6).tolist()
    [[0.9, 0.0], [0.0, 0.9]]
    """
    C, B = _pair(C, B)
    return negation(conjunction(negation(C), negation(B)))


def adapt_aperture(C: Any, factor: float) -> Any:
    """Multiply the aperture: ``C (C + γ⁻² (I - C))⁻¹``."""
    C = _matrix(C, "C", square=True)
    _check_positive("factor", factor)
    s, u = np.linalg.eigh(0.5 * (C + C.T))
    s = np.clip(s, 0, 1)
    return (u * (s / (s + factor**-2 * (1 - s)))) @ u.T


class Memory(NamedTuple):
    """A reservoir that reproduces patterns without input, and what it takes to choose one.

    w: (N, N), the recurrent matrix after loading.  bias: (N,).  leak: (N,).  weights, intercept: the readout, (N, O)
    and (O,).  conceptors: one (N, N) for each pattern.  states: for each pattern, one state (N,) on its orbit.
    """

    w: Any
    bias: Any
    leak: Any
    weights: Any
    intercept: Any
    conceptors: list[Any]
    states: list[Any]

    def recall(self, C: Any, steps: int, state: Any = None) -> Any:
        """Run without input under a conceptor: ``x = C ((1 - a) x + a tanh(W x + b))``; returns outputs (steps, O).

        C: the number of a pattern, or a conceptor (N, N), such as a blend of two.
        state: (N,) to start from; default: the pattern's own, or zeros for a conceptor that is given.
        """
        if isinstance(C, (int, np.integer)):
            x = self.states[C] if state is None else state
            C = self.conceptors[C]
        else:
            x = np.zeros(len(self.w)) if state is None else state
        made = np.empty((steps, self.weights.shape[1]))
        for t in range(steps):
            x = C @ ((1 - self.leak) * x + self.leak * np.tanh(self.w @ x + self.bias))
            made[t] = x @ self.weights + self.intercept
        return made


def load(
    reservoir: Reservoir,
    patterns: list[Any],
    aperture: float = 10.0,
    *,
    washout: int = 100,
    ridge: float = 1e-4,
    readout_ridge: float = 1e-4,
) -> Memory:
    """Store patterns in a reservoir, so that conceptors can recall them one at a time.

    reservoir: tanh, without feedback; it is not changed.  patterns: arrays (T, I), each longer than `washout`.
    ridge, readout_ridge: λ of the new recurrent matrix, times the number of rows, and of the readout.

    Raises ArgumentError for another reservoir, DataError for patterns too short.

    >>> import numpy as np
    >>> from tinygrad_rnn import esn
    >>> reservoir = esn.Reservoir(1, 80, spectral_radius=1.5, input_scaling=1.5, bias_scaling=0.2, rng=0)
    >>> t = np.arange(740.0)[:, None]
    >>> slow, fast = np.sin(0.41 * t), np.sin(0.88 * t)
    >>> memory = esn.load(reservoir, [slow[:700], fast[:700]])
    >>> [bool(np.abs(memory.recall(k, 40) - wave[700:]).max() < 0.1) for k, wave in enumerate((slow, fast))]
    [True, True]
    """
    if reservoir.nonlinearity != "tanh" or reservoir.feedback_size:
        raise ArgumentError("load needs a tanh reservoir without feedback")
    before, driven, shown, conceptors, ends = [], [], [], [], []
    bias = 0 if reservoir.bias is None else reservoir._scaled("bias", reservoir.bias.detach()).numpy()
    w = reservoir.matrix()
    w_in = reservoir._scaled("w_in", reservoir.w_in.detach()).numpy()
    for i, pattern in enumerate(patterns):
        pattern = np.asarray(pattern, dtype=np.float64)
        if pattern.ndim != 2 or len(pattern) <= washout + 1:
            raise DataError(
                f"pattern {i} has shape {pattern.shape}; it needs more than washout + 1 = {washout + 1} rows"
            )
        with paused():
            states = reservoir.run(pattern)[0].numpy().astype(np.float64)
        old = states[washout:-1]
        before.append(old)
        driven.append((w @ old.T).T + pattern[washout + 1 :] @ w_in.T)
        shown.append(pattern[washout:])
        conceptors.append(conceptor(states[washout:], aperture))
        ends.append(states[-1])
    H, net = np.concatenate(before), np.concatenate(driven)
    # the loaded matrix has no intercept: the bias stays the reservoir's own
    gram = H.T @ H + ridge * len(H) * np.eye(H.shape[1])
    loaded = np.linalg.solve(gram, H.T @ net).T
    seen = np.concatenate([np.concatenate((old, end[None])) for old, end in zip(before, ends)])
    readout = fit_ridge(seen, np.concatenate(shown), readout_ridge)
    leak = np.broadcast_to(reservoir.leak.numpy(), (reservoir.units,)).astype(np.float64)
    return Memory(loaded, bias, leak, readout.weights, readout.intercept, conceptors, ends)


def _matrix(x: Any, name: str, square: bool = False) -> Any:
    x = np.asarray(x.numpy() if hasattr(x, "numpy") else x, dtype=np.float64)
    if x.ndim != 2 or (square and x.shape[0] != x.shape[1]) or 0 in x.shape:
        raise ShapeError(f"{name} expects shape {'(N, N)' if square else '(T, N)'}; got {x.shape}")
    if not np.isfinite(x).all():
        raise DataError(f"{name} holds NaN or infinity")
    return x


def _pair(C: Any, B: Any) -> tuple[Any, Any]:
    C, B = _matrix(C, "C", square=True), _matrix(B, "B", square=True)
    if C.shape != B.shape:
        raise ShapeError(f"two conceptors need one shape; got {C.shape} and {B.shape}")
    return C, B


def _split(C: Any) -> tuple[Any, Any]:
    """Orthonormal bases of the range of a conceptor, and of what it sends to 0."""
    u, s, _ = np.linalg.svd(C)
    rank = int((s > 1e-14 * len(C)).sum())
    return u[:, :rank], u[:, rank:]


def _pseudo_inverse(C: Any) -> Any:
    return np.linalg.pinv(C, rcond=1e-14 * len(C), hermitian=True)


def _check_positive(name: str, value: Any) -> None:
    if not value > 0:
        raise ArgumentError(f"{name} is above 0; got {value!r}")
