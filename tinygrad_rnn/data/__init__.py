"""Data: text for character language models, time series, synthetic tasks, and what to measure on them.

Everything here stands on NumPy and plain Python; nothing needs a Tensor.

Text: corpora, vocabulary, baselines, and lanes for truncated BPTT.

>>> from tinygrad_rnn.data import Lanes, Vocabulary, arithmetic, unigram_bits, uniform_bits
>>> text = arithmetic(5_000)
>>> vocabulary = Vocabulary.from_text(text.train)
>>> train, validation = vocabulary.encode(text.train), vocabulary.encode(text.validation)
>>> unigram_bits(train, validation, len(vocabulary)) < uniform_bits(len(vocabulary))
True
>>> Lanes(train, batch=8, steps=16).window(0).x.shape
(16, 8)

Series for forecasts, with their measures; here the forecast that everything stays as it is.

>>> from tinygrad_rnn.data import LORENZ_EXPONENT, lorenz, mackey_glass, nrmse, valid_prediction_time
>>> x = mackey_glass(1000)
>>> nrmse(x[1:], x[:-1]) < 0.2
True
>>> series = lorenz(500, dt=0.02)
>>> still = series[:1].repeat(500, axis=0)
>>> valid_prediction_time(series, still, dt=0.02, exponent=LORENZ_EXPONENT) < 0.2
True

Tasks for a long memory.

>>> from tinygrad_rnn.data import adding_problem
>>> inputs, targets = adding_problem(steps=100, batch=8)
>>> inputs.shape, targets.shape
((100, 8, 2), (8, 1))
"""

from .baselines import bigram_bits, uniform_bits, unigram_bits
from .chaos import HENON_EXPONENT, LORENZ_EXPONENT, ROSSLER_EXPONENT, henon, logistic_map, lorenz, rossler
from .corpus import Text
from .grammar import arithmetic
from .lanes import Lanes, Window
from .lyapunov import largest_lyapunov_exponent
from .measures import (
    echo_state_property_index,
    memory_capacity,
    memory_curve,
    nmse,
    nrmse,
    nrmse84,
    valid_prediction_time,
)
from .series import MSO_FREQUENCIES, mackey_glass, memory_capacity_task, multiple_superimposed_oscillators, narma
from .tasks import adding_problem, copy_memory, delayed_parity
from .text import read_files, standard_library
from .vocabulary import UNKNOWN, Vocabulary

__all__ = [
    "HENON_EXPONENT",
    "LORENZ_EXPONENT",
    "MSO_FREQUENCIES",
    "ROSSLER_EXPONENT",
    "UNKNOWN",
    "Lanes",
    "Text",
    "Vocabulary",
    "Window",
    "adding_problem",
    "arithmetic",
    "bigram_bits",
    "copy_memory",
    "delayed_parity",
    "echo_state_property_index",
    "henon",
    "largest_lyapunov_exponent",
    "logistic_map",
    "lorenz",
    "mackey_glass",
    "memory_capacity",
    "memory_capacity_task",
    "memory_curve",
    "multiple_superimposed_oscillators",
    "narma",
    "nmse",
    "nrmse",
    "nrmse84",
    "read_files",
    "rossler",
    "standard_library",
    "uniform_bits",
    "unigram_bits",
    "valid_prediction_time",
]
