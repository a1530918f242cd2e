"""Recurrent networks: cells (one step), `scan` (the loop over time), and layers (whole sequences)."""

from .attention import Attention
from .cells import ElmanCell, GRUCell, LSTMCell
from .decoding import Hypothesis, beam_search, draw
from .directions import FourDirections
from .dropout import VariationalDropoutCell, ZoneoutCell
from .encoder_decoder import EncoderDecoder
from .hopfield import HopfieldNetwork
from .independent import FocusedCell, IndRNNCell
from .layers import GRU, LSTM, RNN
from .pixel import DiagonalBiLSTM, DiagonalLSTM, MaskedConv2d, RowLSTM
from .residual import ResidualCell
from .scan import scan
from .stacked import StackedCell
from .tree import Forest, Tree, TreeLSTM, TreeRNN, forest
from .unitary import UnitaryCell

__all__ = [
    "GRU", "LSTM", "RNN", "Attention", "DiagonalBiLSTM", "DiagonalLSTM", "ElmanCell", "EncoderDecoder", "FocusedCell",
    "Forest", "FourDirections", "GRUCell", "HopfieldNetwork", "Hypothesis", "IndRNNCell", "LSTMCell", "MaskedConv2d",
    "ResidualCell", "RowLSTM", "StackedCell", "Tree", "TreeLSTM", "TreeRNN", "UnitaryCell", "VariationalDropoutCell",
    "ZoneoutCell", "beam_search", "draw", "forest", "scan",
]  # fmt: skip
