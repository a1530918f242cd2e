"""A recurrence whose matrix stays orthogonal, or unitary, through training."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..nn import init
from ..nn.linear import check_features, check_size
from ..nn.module import Module
from ..random import Seed
from ..tape import state as thread
from ..tensor import Parameter, Tensor

PARAMETRIZATIONS = ("cayley", "exponential")
SQUARINGS = 6  # of the exponential: with entries of A up to about 10 the series' argument has a norm near 1
TERMS = 18  # of its series: 1 / 18! is below the round-off of float64

# The matrix that belongs to the tapes that are active now. It is the same at every step, so it is made once a tape.
_kept: weakref.WeakKeyDictionary[Module, tuple[Any, Tensor]] = weakref.WeakKeyDictionary()


class UnitaryCell(Module):
    """``h' = modReLU(W h + V x)`` with W orthogonal or unitary whatever its parameters are.

    All eigenvalues of W have modulus 1, so W neither shrinks nor stretches a gradient. W comes from a skew-symmetric
    (complex: skew-Hermitian) A by the Cayley transform (I + A)⁻¹ (I − A) [Helfrich, Willmott & Ye 2018,
    arXiv:1707.09520, eq. 3] or the exponential e^A [Lezcano-Casado & Martínez-Rubio 2019, arXiv:1901.08428].
    modReLU(z) = relu(|z| + b) z / |z| [Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, eq. 8]; with b = 0 it is linear.

    input_size, hidden_size: I and H.  kind: "real" or "complex".  parametrization: "cayley" or "exponential".
    rng: a generator or a seed.  dtype: float32 (the default) or float64.  backend: where the parameters live.

    Parameters: ``weight_ih`` (S, I), ``skew`` (H, H), for complex cells also ``symmetric`` (H, H), the imaginary part
    of A before it is made symmetric, and ``bias`` (H,).
    Call: x (B, I), h (B, S) → h' (B, S); S = H, or 2H for complex cells: real parts, then imaginary parts.

    Raises ArgumentError for another kind or parametrization.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.rnn.UnitaryCell(2, 4, kind="complex", rng=0, dtype="float64")
    >>> cell(tg.ones((5, 2), dtype="float64"), cell.initial_state(5)).shape
    (5, 8)
    >>> W = cell.recurrent_matrix()
    >>> bool(tg.max(tg.abs(W @ tg.matrix_transpose(W) - tg.eye(8, dtype="float64"))) < 1e-14)
    True
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        kind: str = "real",
        parametrization: str = "cayley",
        *,
        rng: Seed = None,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        if kind not in ("real", "complex"):
            raise ArgumentError(f'kind is "real" or "complex"; got {kind!r}')
        if parametrization not in PARAMETRIZATIONS:
            raise ArgumentError(f'parametrization is "cayley" or "exponential"; got {parametrization!r}')
        self.input_size, self.hidden_size, self.kind, self.parametrization = (
            input_size, hidden_size, kind, parametrization,
        )  # fmt: skip
        rng = init.as_generator(rng)
        size = hidden_size * (2 if kind == "complex" else 1)
        bound = 1 / math.sqrt(input_size)
        self.weight_ih = Parameter(init.uniform((size, input_size), rng, low=-bound, high=bound, dtype=dtype),
                                   backend=backend)  # fmt: skip
        self.skew = Parameter(_turns(hidden_size, parametrization, rng, self.weight_ih.dtype), backend=backend)
        if kind == "complex":
            angles = rng.uniform(-1.0, 1.0, hidden_size)
            self.symmetric = Parameter(np.diag(angles).astype(self.weight_ih.dtype), backend=backend)
        self.bias = Parameter(init.uniform((hidden_size,), rng, low=-0.01, high=0.01, dtype=dtype), backend=backend)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, (batch, S)."""
        weight = self.weight_ih
        return ops.zeros((batch, weight.shape[0]), dtype=weight.dtype, backend=weight.backend)

    def recurrent_matrix(self) -> Tensor:
        """W, (S, S); for a complex cell [[Re, −Im], [Im, Re]], which is orthogonal where W is unitary."""
        a = self.skew - ops.matrix_transpose(self.skew)
        if self.kind == "complex":
            b = self.symmetric + ops.matrix_transpose(self.symmetric)
            a = ops.concat([ops.concat([a, -b], axis=1), ops.concat([b, a], axis=1)], axis=0)
        one = ops.eye(a.shape[0], dtype=a.dtype, backend=a.backend)
        return ops.solve(one + a, one - a) if self.parametrization == "cayley" else _exponential(a, one)

    def forward(self, x: Any, h: Any) -> Tensor:
        """x (B, I), h (B, S) → h' (B, S)."""
        check_features("UnitaryCell", x, self.input_size, self.weight_ih)
        z = h @ ops.matrix_transpose(self._matrix()) + x @ ops.matrix_transpose(self.weight_ih)
        if self.kind == "real":
            return ops.sign(z) * ops.relu(ops.abs(z) + self.bias)
        re, im = ops.split(z, 2, axis=-1)
        modulus = ops.sqrt(re * re + im * im + 1e-12)  # its derivative at 0 stays finite
        scale = ops.relu(modulus + self.bias) / modulus
        return ops.concat([re * scale, im * scale], axis=-1)

    def _matrix(self) -> Tensor:
        """`recurrent_matrix`, once for all the steps that the same tapes record."""
        tapes, tape = [], thread.tape
        while tape is not None:
            tapes.append(tape.ref)
            tape = tape.outer
        seen = [
            parameter._array for parameter in (self.skew, getattr(self, "symmetric", None)) if parameter is not None
        ]
        kept = _kept.get(self)
        if kept is not None and kept[0][0] == tapes and all(a is b for a, b in zip(kept[0][1], seen)):
            return kept[1]
        made = self.recurrent_matrix()
        _kept[self] = (tapes, seen), made
        return made

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, {self.kind!r}, {self.parametrization!r}"


def _turns(size: int, parametrization: str, rng: np.random.Generator, dtype: Any) -> Any:
    """Rotations of pairs of units by angles uniform in 0 to π/2, as the paper of the Cayley transform begins."""
    angles = rng.uniform(0, math.pi / 2, size // 2)
    made = np.zeros((size, size), dtype)
    rows = np.arange(size // 2) * 2
    made[rows, rows + 1] = np.tan(angles / 2) if parametrization == "cayley" else angles
    return made


def _exponential(a: Any, one: Any) -> Any:
    """e^A by its series at A / 2^k and k squarings. [Moler & Van Loan 2003, method 3]"""
    small = a * 2.0**-SQUARINGS
    total = one
    for k in range(TERMS, 0, -1):  # Horner's form
        total = one + (small @ total) * (1.0 / k)
    for _ in range(SQUARINGS):
        total = total @ total
    return total
