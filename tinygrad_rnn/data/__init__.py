"""Text for a character language model: corpora, vocabulary, baselines, and lanes for truncated BPTT.

Everything here stands on NumPy and plain Python; nothing needs a Tensor.

>>> from tinygrad_rnn.data import Lanes, Vocabulary, arithmetic, unigram_bits, uniform_bits
>>> text = arithmetic(5_000)
>>> vocabulary = Vocabulary.from_text(text.train)
>>> train, validation = vocabulary.encode(text.train), vocabulary.encode(text.validation)
>>> unigram_bits(train, validation, len(vocabulary)) < uniform_bits(len(vocabulary))
True
>>> Lanes(train, batch=8, steps=16).window(0).x.shape
(16, 8)
"""

from .baselines import bigram_bits, uniform_bits, unigram_bits
from .corpus import Text
from .grammar import arithmetic
from .lanes import Lanes, Window
from .text import read_files, standard_library
from .vocabulary import UNKNOWN, Vocabulary

__all__ = [
    "UNKNOWN",
    "Lanes",
    "Text",
    "Vocabulary",
    "Window",
    "arithmetic",
    "bigram_bits",
    "read_files",
    "standard_library",
    "uniform_bits",
    "unigram_bits",
]
