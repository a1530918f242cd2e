"""Recurrent networks: cells (one step), `scan` (the loop over time), and layers (whole sequences)."""

from .cells import ElmanCell, GRUCell, LSTMCell
from .dropout import VariationalDropoutCell, ZoneoutCell
from .layers import GRU, LSTM, RNN
from .residual import ResidualCell
from .scan import scan
from .stacked import StackedCell

__all__ = [
    "GRU", "LSTM", "RNN", "ElmanCell", "GRUCell", "LSTMCell", "ResidualCell", "StackedCell", "VariationalDropoutCell",
    "ZoneoutCell", "scan",
]  # fmt: skip
