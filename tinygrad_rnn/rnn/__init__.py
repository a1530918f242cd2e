"""Recurrent networks: cells (one step), `scan` (the loop over time), and layers (whole sequences)."""

from .cells import ElmanCell, GRUCell, LSTMCell
from .layers import GRU, LSTM, RNN
from .scan import scan
from .stacked import StackedCell

__all__ = ["GRU", "LSTM", "RNN", "ElmanCell", "GRUCell", "LSTMCell", "StackedCell", "scan"]
