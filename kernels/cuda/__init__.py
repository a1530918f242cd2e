"""Kernels in CUDA C++: the same names, arguments and results as in `reference`.

The texts (``*.cu``) and their launchers. CuPy arrays run on their GPU; NumPy arrays run on the CPU, through the
emulator, which proves the texts where there is no GPU and serves for nothing else.
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
