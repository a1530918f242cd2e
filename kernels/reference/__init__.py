"""Kernels in NumPy: the specification that every other implementation is tested against.

Shapes and letters: T time, B batch, H hidden. Sequences are (T, B, ...). A kernel that runs a recurrence takes

lengths: (B,) integers, or None for T everywhere. Past its length a lane keeps its state, in both directions.
reverse: whether time runs from T - 1 down to 0.

and returns the states of all steps; zeroing what lies past a length is left to the caller. Other kernels take rows,
(N, ...), or a list with an array for each parameter.
"""

from .cross_entropy import softmax_cross_entropy
from .elman import elman_backward, elman_forward
from .embedding import embedding_gradient
from .gru import gru_backward, gru_forward
from .influence import (
    influence_pack,
    influence_unpack,
    influence_update_dense,
    influence_update_diagonal,
    influence_update_elman,
    influence_update_gru,
    influence_update_lstm,
)
from .layer_norm import layer_norm_backward, layer_norm_forward
from .lstm import lstm_backward, lstm_forward
from .optimizers import adam_step, global_norm, sgd_step
from .reservoir import reservoir_run

__all__ = [
    "adam_step", "elman_backward", "elman_forward", "embedding_gradient", "global_norm", "gru_backward",
    "gru_forward", "influence_pack", "influence_unpack", "influence_update_dense", "influence_update_diagonal",
    "influence_update_elman", "influence_update_gru", "influence_update_lstm", "layer_norm_backward",
    "layer_norm_forward", "lstm_backward", "lstm_forward", "reservoir_run", "sgd_step", "softmax_cross_entropy",
]  # fmt: skip
