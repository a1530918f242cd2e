"""Recurrent matrices of reservoirs: their topologies, and their spectral radius.

A matrix is a NumPy array (N, N), a SciPy CSR array, or, for rings and delay lines, a `Ring`: its N weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, DataError, ShapeError
from ..random import Seed, as_generator
from ..tape import user_line

__all__ = [
    "Ring", "delay_line", "draw", "is_nilpotent", "orthogonal", "random", "ring", "scale_to_spectral_radius",
    "small_world", "spectral_radius",
]  # fmt: skip

FEEDBACK = 0.2  # backward weight over forward weight, of the topology "delay_line_feedback"
EXACT_UNITS = 512  # sparse matrices up to this size are solved as dense ones


class Ring(NamedTuple):
    """A ring as its N weights: unit i hears unit i - 1 with weights[i], and unit 0 the last one."""

    weights: Any

    @property
    def shape(self) -> tuple[int, int]:
        """(N, N), the shape of the matrix."""
        return (len(self.weights),) * 2

    def toarray(self) -> Any:
        """The same as a dense matrix (N, N)."""
        return np.roll(np.diag(self.weights), -1, axis=1)

    def tocsr(self) -> Any:
        """The same as a SciPy CSR array, which holds the weights that are not 0."""
        units = np.flatnonzero(self.weights)
        count = len(self.weights)
        return _csr(np.asarray(self.weights, dtype=np.float64)[units], units, (units - 1) % count, count)


# ---- topologies


def draw(
    topology: str | Callable[[int, np.random.Generator], Any],
    units: int,
    radius: float,
    *,
    connectivity: float = 0.1,
    rng: Seed = None,
) -> Any:
    """Draw a recurrent matrix of a topology by name, and scale it to a spectral radius.

    topology: "random", "orthogonal", "ring", "delay_line", "delay_line_feedback", "small_world", or a function
        ``(units, generator) -> matrix``.
    radius: the spectral radius. A delay line has none (all its eigenvalues are 0): there it is the weight.
    connectivity: share of entries that are not 0, for "random" and "small_world".
    rng: a generator or a seed.

    Raises ArgumentError for an unknown topology, and DataError when no draw of ten reaches the radius (so few
    connections that there is no cycle).

    >>> from tinygrad_rnn.esn import matrices
    >>> w = matrices.draw("random", 50, 0.9, rng=0)
    >>> w.shape, round(matrices.spectral_radius(w), 12)
    ((50, 50), 0.9)
    """
    rng = as_generator(rng)
    _check_units(units)
    _check_radius(radius)
    if topology == "delay_line":
        return delay_line(units, radius)
    if topology == "ring":
        return ring(units, radius)
    if topology == "delay_line_feedback":  # by its formula: it is so far from normal that eigenvalue solvers lose it
        if units == 1:
            raise DataError("a delay line of one unit has no connection; use more units")
        weight = radius / (2 * math.sqrt(FEEDBACK) * math.cos(math.pi / (units + 1)))
        return delay_line(units, weight, feedback=FEEDBACK * weight)
    make: Callable[[], Any]
    if callable(topology):
        make = lambda: topology(units, rng)
    elif topology == "random":
        make = lambda: random(units, connectivity, rng)
    elif topology == "orthogonal":
        make = lambda: orthogonal(units, rng)
    elif topology == "small_world":
        make = lambda: small_world(units, connectivity, rng=rng)
    else:
        raise ArgumentError(
            'topology is "random", "orthogonal", "ring", "delay_line", "delay_line_feedback", "small_world" or a '
            f"function (units, generator) -> matrix; got {topology!r}        at {user_line()}"
        )
    for attempt in range(10):
        w = make()
        try:
            return scale_to_spectral_radius(w, radius)
        except DataError:
            if attempt == 9 or callable(topology):
                raise
    raise AssertionError


def random(units: int, connectivity: float = 0.1, rng: Seed = None) -> Any:
    """Standard normal weights at random places; a dense array if connectivity is 1, else a SciPy CSR array.

    connectivity: share of entries that are not 0, in (0, 1]; their number is ``round(connectivity * units**2)``.
    """
    _check_units(units)
    rng = as_generator(rng)
    _check_share("connectivity", connectivity)
    if connectivity == 1:
        return rng.standard_normal((units, units))
    count = max(1, round(connectivity * units * units))
    places = np.sort(rng.choice(units * units, size=count, replace=False))
    return _csr(rng.standard_normal(count), places // units, places % units, units)


def orthogonal(units: int, rng: Seed = None) -> Any:
    """A matrix drawn uniformly (Haar) from the orthogonal group: every eigenvalue has modulus 1. [Mezzadri 2007]"""
    _check_units(units)
    q, r = np.linalg.qr(as_generator(rng).standard_normal((units, units)))
    return q * np.sign(np.diag(r))


def ring(units: int, weight: float = 1.0) -> Ring:
    """The simple cycle reservoir: one cycle through all units; eigenvalues of modulus `weight`. [Rodan & Tino 2011]

    >>> from tinygrad_rnn.esn import matrices
    >>> matrices.ring(3, 0.5).toarray()
    array([[0. , 0. , 0.5],
           [0.5, 0. , 0. ],
           [0. , 0.5, 0. ]])
    """
    _check_units(units)
    return Ring(np.full(units, float(weight)))


def delay_line(units: int, weight: float = 1.0, feedback: float = 0.0) -> Any:
    """The delay line reservoir: unit i hears unit i - 1; with `feedback`, also unit i + 1. [Rodan & Tino 2011]

    Without feedback all eigenvalues are 0. With it the spectral radius is 2 √(weight · feedback) cos(π / (N + 1)).
    Returns a Ring whose first weight is 0; with feedback, a SciPy CSR array.
    """
    _check_units(units)
    if feedback == 0:
        weights = np.full(units, float(weight))
        weights[0] = 0.0
        return Ring(weights)
    i = np.arange(units - 1)
    values = np.concatenate((np.full(units - 1, float(weight)), np.full(units - 1, float(feedback))))
    return _csr(values, np.concatenate((i + 1, i)), np.concatenate((i, i + 1)), units)


def small_world(units: int, connectivity: float = 0.1, rewiring: float = 0.1, rng: Seed = None) -> Any:
    """Neighbours on a circle, some connections moved to random places; normal weights. [Watts & Strogatz 1998]

    connectivity: each unit hears ``round(connectivity * units)`` neighbours (at least 1), half on each side.
    rewiring: probability that a connection comes from a unit drawn at random instead.
    Returns a SciPy CSR array.
    """
    _check_units(units)
    rng = as_generator(rng)
    _check_share("connectivity", connectivity)
    count = min(max(1, round(connectivity * units)), max(1, units - 1))
    steps = np.array([(k // 2 + 1) * (1 if k % 2 == 0 else -1) for k in range(count)])
    neighbours = (np.arange(units)[:, None] - steps) % units
    if units > 1:
        for i, row in enumerate(neighbours):
            moved = np.flatnonzero(rng.random(count) < rewiring)
            kept = np.delete(row, moved)
            free = np.setdiff1d(np.arange(units), np.append(kept, i))
            row[moved] = rng.choice(free, size=len(moved), replace=False)
    rows = np.repeat(np.arange(units), count)
    return _csr(rng.standard_normal(rows.size), rows, neighbours.ravel(), units)


# ---- spectral radius


def spectral_radius(w: Any, method: str = "auto", rng: Seed = 0) -> float:
    """The largest modulus of an eigenvalue.

    w: (N, N), a NumPy array, a SciPy sparse array, or a `Ring`.
    method: "dense" computes all eigenvalues; "arpack" the largest one, of a sparse matrix [Lehoucq, Sorensen & Yang
        1998]; "power" by power iteration with a block of vectors (about 4 digits, and products with w are all that it
        needs); "auto" is exact for rings, dense matrices and sparse ones up to 512 units, and ARPACK beyond, with
        power iteration where that does not converge.
    rng: seed of the start vectors of "arpack" and "power".

    Raises ShapeError unless w is square, DataError if it is not finite, ArgumentError for another method.

    >>> import numpy as np
    >>> from tinygrad_rnn.esn import matrices
    >>> matrices.spectral_radius(np.diag([0.5, -2.0]))
    2.0
    """
    if method not in ("auto", "dense", "arpack", "power"):
        raise ArgumentError(f'method is "auto", "dense", "arpack" or "power"; got {method!r}')
    if isinstance(w, Ring) and method == "auto":  # λ^N is the product of the weights
        weights = np.abs(np.asarray(w.weights, dtype=np.float64))
        return 0.0 if (weights == 0).any() else float(np.exp(np.log(weights).mean()))
    w = _checked(w.toarray() if isinstance(w, Ring) else w)
    sparse = not isinstance(w, np.ndarray)
    if method == "dense" or (method == "auto" and (not sparse or w.shape[0] <= EXACT_UNITS)):
        return _dense_radius(w)
    if method == "power":
        return _power_radius(w, as_generator(rng))
    return _arpack_radius(w, as_generator(rng), fall_back=method == "auto")


def scale_to_spectral_radius(w: Any, radius: float, method: str = "auto") -> Any:
    """Return w times the number that gives it a spectral radius.

    radius: at least 0.  method: as in `spectral_radius`.
    Raises DataError for a nilpotent matrix: all its eigenvalues are 0, and no multiple of it has another radius.
    """
    _check_radius(radius)
    if is_nilpotent(w):
        raise DataError(
            f"a spectral radius of {radius} cannot be reached: this matrix of shape {tuple(w.shape)} is nilpotent, all "
            "its eigenvalues are 0 (its connections form no cycle). Use more units or a higher connectivity, or "
            f'topology="ring".        at {user_line()}'
        )
    factor = radius / spectral_radius(w, method)
    return Ring(w.weights * factor) if isinstance(w, Ring) else w * factor


def is_nilpotent(w: Any) -> bool:
    """Whether all eigenvalues are 0: the connections form no cycle, or the powers of w vanish but for rounding.

    The second is looked at for up to 2048 units, and only where traces leave it open.

    >>> from tinygrad_rnn.esn import matrices
    >>> matrices.is_nilpotent(matrices.delay_line(4)), matrices.is_nilpotent([[1.0, -1.0], [1.0, -1.0]])
    (True, True)
    """
    if isinstance(w, Ring):
        return bool((np.asarray(w.weights) == 0).any())
    w = _checked(w)
    if _has_no_cycle(w):
        return True
    if w.shape[0] > 2048:
        return False
    power = (w if isinstance(w, np.ndarray) else w.toarray()).astype(np.float64)
    eps = error = w.shape[0] * float(np.finfo(np.float64).eps)
    probe = np.random.default_rng(0).standard_normal(w.shape[0])
    power /= _two_norm(power, probe)
    for _ in range(math.ceil(math.log2(w.shape[0])) if w.shape[0] > 1 else 0):
        # the sums of the eigenvalues and of their squares: rounding does not lift a zero this far
        if max(abs(np.trace(power)), abs(np.sum(power * power.T))) > 100 * w.shape[0] * error:
            return False
        power = power @ power
        norm = _two_norm(power, probe)
        if norm == 0:
            return True
        error = (2 * error + eps) / norm
        if error > 0.01:  # what is left of this power is rounding
            return True
        power /= norm
    return False


def _two_norm(a: Any, probe: Any) -> float:
    """Estimate the spectral norm from below, by a few power iterations with aᵀa."""
    x = probe / np.linalg.norm(probe)
    norm = 0.0
    for _ in range(8):
        y = a @ x
        norm = float(np.linalg.norm(y))
        x = a.T @ y
        length = float(np.linalg.norm(x))
        if length == 0:
            return 0.0
        x /= length
    return norm


def _has_no_cycle(w: Any) -> bool:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    if (w.diagonal() != 0).any():
        return False
    if isinstance(w, np.ndarray) and np.count_nonzero(w) == w.size - w.shape[0] and w.shape[0] > 1:
        return False
    pattern = csr_array(w)
    pattern.eliminate_zeros()
    count, _ = connected_components(pattern, directed=True, connection="strong")
    return bool(count == w.shape[0])


def _dense_radius(w: Any) -> float:
    dense = w if isinstance(w, np.ndarray) else w.toarray()
    return float(np.abs(np.linalg.eigvals(dense.astype(np.float64))).max())


def _arpack_radius(w: Any, rng: np.random.Generator, fall_back: bool) -> float:
    from scipy.sparse.linalg import ArpackError, eigs

    units = w.shape[0]
    if units <= 3:  # ARPACK needs room for its basis
        return _dense_radius(w)
    w = w.astype(np.float64)
    for k, basis in ((1, 20), (6, 60), (6, 150)):  # a complex pair, or a crowd at the edge, may need a wider basis
        try:
            values = eigs(
                w,
                k=min(k, units - 2),
                ncv=min(units, basis),
                which="LM",
                v0=rng.standard_normal(units),
                maxiter=20 * units,
                return_eigenvectors=False,
            )
        except ArpackError:
            continue
        return float(np.abs(values).max())
    if fall_back:
        return _power_radius(w, rng)
    raise DataError('ARPACK found no eigenvalue of this matrix; try method="power" or method="dense"')


def _power_radius(w: Any, rng: np.random.Generator, block: int = 24, steps: int = 2000) -> float:
    """Orthogonal iteration: a Ritz value of a block converges where one vector would turn for ever.

    Where none does, because too many eigenvalues have the largest modulus, the mean growth of the first vector is it.
    """
    units = w.shape[0]
    basis, _ = np.linalg.qr(rng.standard_normal((units, min(block, units))))
    growth, counted = 0.0, 0
    for step in range(1, steps + 1):
        moved = w @ basis
        length = float(np.linalg.norm(moved[:, 0]))
        if length == 0:
            return 0.0
        if step > 100:
            growth, counted = growth + math.log(length), counted + 1
        if step % 20 == 0:
            values, vectors = np.linalg.eig(basis.T @ moved)
            best = int(np.argmax(np.abs(values)))
            miss = np.linalg.norm(moved @ vectors[:, best] - values[best] * (basis @ vectors[:, best]))
            if miss <= 1e-5 * abs(values[best]):
                return float(abs(values[best]))
        basis, _ = np.linalg.qr(moved)
    return math.exp(growth / counted)


def _checked(w: Any) -> Any:
    """Return w as a float NumPy array or a SciPy sparse array, square and finite."""
    if not hasattr(w, "tocsr"):
        w = np.asarray(w)
    if w.ndim != 2 or w.shape[0] != w.shape[1] or w.shape[0] == 0:
        raise ShapeError(f"a recurrent matrix is square, (N, N); got shape {tuple(w.shape)}        at {user_line()}")
    values = w.tocsr().data if hasattr(w, "tocsr") else w
    if not np.isfinite(values).all():
        raise DataError(
            f"a recurrent matrix has finite entries; this one holds NaN or infinity        at {user_line()}"
        )
    return w if hasattr(w, "tocsr") else w.astype(np.result_type(w, np.float32), copy=False)


def _csr(values: Any, rows: Any, columns: Any, units: int) -> Any:
    from scipy.sparse import csr_array

    made = csr_array((values, (rows, columns)), shape=(units, units))
    made.sort_indices()
    return made


def _check_units(units: Any) -> None:
    if not isinstance(units, (int, np.integer)) or isinstance(units, bool) or units < 1:
        raise ArgumentError(f"units is an integer, at least 1; got {units!r}        at {user_line()}")


def _check_radius(radius: Any) -> None:
    if not (isinstance(radius, (int, float, np.floating, np.integer)) and 0 <= radius < math.inf):
        raise ArgumentError(f"a spectral radius is a finite number, at least 0; got {radius!r}        at {user_line()}")


def _check_share(name: str, value: Any) -> None:
    if not isinstance(value, (int, float, np.floating)) or not 0 < value <= 1:
        raise ArgumentError(f"{name} lies in (0, 1]; got {value!r}        at {user_line()}")
