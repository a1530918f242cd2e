"""Kernels in Numba: the same names, arguments and results as in `reference`.

Two levels. The plain loops (`elman.py`, `gru.py`, `lstm.py`) read like `reference`, and run anywhere. The fast paths
(`*_fast.py`) run the same equations with vectors written down (`simd.py`), products on packed weights (`gemm.py`,
`pack.py`) and threads that do not wait for a stalled one (`threads.py`). `dispatch.py` chooses by size. What is not
chosen is not compiled.
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
