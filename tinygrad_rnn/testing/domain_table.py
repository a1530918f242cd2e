"""The table of domains, one row for each primitive, grouped as the operations are in `ops`.

A row says how to draw inputs at which the primitive is smooth: a range for each input of an elementwise one, a builder
of `domain_builders` for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import ops
from ..primitive import registry
from . import domain_builders as builders
from .domain_builders import Build
from .draws import COARSE, POSITIVE, REAL, UNIT, Range


@dataclass(frozen=True)
class Domain:
    """Where a primitive can be checked.

    build: from `Draws` to the function and its inputs.  kinks, order: the arguments of `check_gradients`.
    empty: whether tensors with an axis of length 0 belong to it.
    """

    build: Build
    kinks: str = "inconclusive"
    order: int = 2
    empty: bool = False


def _rows(builder: Callable[[str], Build], names: str, empty: bool = True) -> dict[str, Domain]:
    return {name: Domain(builder(name), empty=empty) for name in names.split()}


TABLE: dict[str, Domain] = {
    # elementwise, one input: where they are smooth. No value of the lattice is a whole number
    **_rows(
        lambda name: builders.entrywise(name, REAL),
        "negative positive real imag conj square exp expm1 sin cos sinh cosh tanh atan asinh "
        "abs sign floor ceil trunc round sigmoid softplus relu silu erf gelu",
    ),
    **_rows(lambda name: builders.entrywise(name, POSITIVE), "sqrt log log2 log10"),
    **_rows(lambda name: builders.entrywise(name, UNIT), "asin acos atanh"),
    "reciprocal": Domain(builders.entrywise("reciprocal", COARSE), empty=True),
    "log1p": Domain(builders.entrywise("log1p", Range(-1, 4)), empty=True),
    "acosh": Domain(builders.entrywise("acosh", Range(1, 4)), empty=True),
    "tan": Domain(builders.entrywise("tan", Range(-1.5, 1.5)), empty=True),
    "power": Domain(builders.power, empty=True),
    # elementwise, several inputs
    **_rows(lambda name: builders.entrywise(name, REAL, REAL), "add subtract multiply hypot logaddexp atan2 copysign"),
    "divide": Domain(builders.entrywise("divide", REAL, COARSE), empty=True),
    "pow": Domain(builders.entrywise("pow", Range(0, 2, 0.25), Range(-2, 2)), empty=True),
    **_rows(builders.compared, "maximum minimum"),
    **_rows(builders.divided, "floor_divide remainder"),
    "clip": Domain(builders.limited("clip", True, True), empty=True),
    "clip_below": Domain(builders.limited("clip_below", True, False), empty=True),
    "clip_above": Domain(builders.limited("clip_above", False, True), empty=True),
    "where": Domain(builders.chosen, empty=True),
    # reductions
    "sum": Domain(builders.reduced("sum"), empty=True),
    "mean": Domain(builders.reduced("mean", least=1)),
    "prod": Domain(builders.reduced("prod", Range(-2, 2)), empty=True),
    "var": Domain(builders.variance),
    "max": Domain(builders.reduced("max", unique=True, least=1)),
    "min": Domain(builders.reduced("min", unique=True, least=1)),
    "logsumexp": Domain(builders.reduced("logsumexp", least=1)),
    "cumulative_sum": Domain(builders.along("cumulative_sum"), empty=True),
    "cumulative_prod": Domain(builders.along("cumulative_prod", Range(-2, 2)), empty=True),
    "softmax": Domain(builders.along("softmax", least=1)),
    "log_softmax": Domain(builders.along("log_softmax", least=1)),
    "normalise": Domain(builders.normalise),
    # moving entries
    "reshape": Domain(builders.reshape, empty=True),
    "permute_dims": Domain(builders.permute, empty=True),
    "broadcast_to": Domain(builders.broadcast, empty=True),
    "concat": Domain(builders.concat, empty=True),
    "stack": Domain(builders.stack, empty=True),
    "unstack": Domain(builders.along("unstack", least=1)),
    "flip": Domain(builders.flip, empty=True),
    "roll": Domain(builders.roll, empty=True),
    "pad": Domain(builders.pad, empty=True),
    "astype": Domain(
        lambda draws: (builders.bound("astype", dtype=draws.dtype), [draws.tensor(draws.shape())]), empty=True
    ),
    "to_backend": Domain(builders.moved, empty=True),
    **_rows(builders.triangle, "tril triu"),
    # indexing
    "getitem": Domain(builders.getitem, empty=True),
    "scatter_add": Domain(builders.written("scatter_add", repeats=True), empty=True),
    "put": Domain(builders.written("put", repeats=False), empty=True),
    # matrices
    "matmul": Domain(builders.matmul, empty=True),
    "inv": Domain(builders.of(builders.square, lambda: registry["inv"])),
    "det": Domain(builders.of(builders.square, lambda: registry["det"])),
    "slogdet": Domain(builders.of(builders.square, lambda: registry["slogdet"])),
    "solve": Domain(builders.solve),
    "cholesky": Domain(builders.of(builders.symmetric, lambda: ops.cholesky)),
    "qr": Domain(builders.of(builders.tall, lambda: registry["qr"])),
    "complement": Domain(builders.complement_case),
    "svd": Domain(builders.svd_case),
    "eigh": Domain(builders.eigh_case),
    "pinv": Domain(builders.of(builders.rectangular, lambda: builders.bound("pinv", rtol=1e-10))),
    "sparse_product": Domain(builders.sparse),
    # windows and filters
    **_rows(builders.convolved, "convolution convolution_transpose convolution_weight", empty=False),
    **_rows(builders.windows, "windows windows_transpose", empty=False),
    # losses
    "cross_entropy": Domain(builders.cross_entropy),
    "class_cross_entropy": Domain(builders.class_cross_entropy),
    # whole sequences
    "elman_sequence": Domain(builders.sequence("elman_sequence", 1, 1, nonlinearity=("tanh", "relu"))),
    "gru_sequence": Domain(builders.sequence("gru_sequence", 3, 1, reset_after=(True, False))),
    "lstm_sequence": Domain(builders.sequence("lstm_sequence", 4, 2)),
    # checkpoints
    "checkpoint": Domain(builders.checkpointed, empty=True),
    "checkpoint_many": Domain(builders.checkpointed_many, empty=True),
}
