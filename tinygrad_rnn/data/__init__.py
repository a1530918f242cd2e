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

from .baselines import backoff_bits, bigram_bits, uniform_bits, unigram_bits
from .chaos import HENON_EXPONENT, LORENZ_EXPONENT, ROSSLER_EXPONENT, henon, logistic_map, lorenz, rossler
from .corpus import Text
from .dates import Pair, date_forms, date_pairs, number_pairs, spelled
from .elman import ELMAN_CATEGORIES, ELMAN_NOUNS, ELMAN_TEMPLATES, ELMAN_WORDS, elman_likelihoods, elman_sentences
from .expressions import EXPRESSION_SYMBOLS, Expression, expressions
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
from .melodies import (
    BEAT,
    DURATIONS,
    PITCHES,
    REST,
    Note,
    duration_vectors,
    melodies,
    pitch_vectors,
    write_midi,
)
from .ngrams import ngram_bits
from .padding import padded
from .programs import (
    CURRICULA,
    Program,
    curriculum,
    program,
    program_batch,
    program_vocabulary,
    scrambled,
)
from .reber import REBER_SYMBOLS, reber_batch, reber_right, reber_strings, reber_successors
from .reviews import Review, review_twins, reviews
from .scenes import SCENE_CLASSES, intersection_over_union, scenes
from .series import MSO_FREQUENCIES, mackey_glass, memory_capacity_task, multiple_superimposed_oscillators, narma
from .tasks import adding_problem, copy_memory, delayed_parity
from .text import read_files, standard_library
from .vocabulary import UNKNOWN, Vocabulary
from .words import UNKNOWN_WORD, WordVocabulary, split_words

__all__ = [
    "BEAT",
    "CURRICULA",
    "DURATIONS",
    "ELMAN_CATEGORIES",
    "ELMAN_NOUNS",
    "ELMAN_TEMPLATES",
    "ELMAN_WORDS",
    "EXPRESSION_SYMBOLS",
    "HENON_EXPONENT",
    "LORENZ_EXPONENT",
    "MSO_FREQUENCIES",
    "PITCHES",
    "REBER_SYMBOLS",
    "REST",
    "ROSSLER_EXPONENT",
    "SCENE_CLASSES",
    "UNKNOWN",
    "UNKNOWN_WORD",
    "Expression",
    "Lanes",
    "Note",
    "Pair",
    "Program",
    "Review",
    "Text",
    "Vocabulary",
    "Window",
    "WordVocabulary",
    "adding_problem",
    "arithmetic",
    "backoff_bits",
    "bigram_bits",
    "copy_memory",
    "curriculum",
    "date_forms",
    "date_pairs",
    "delayed_parity",
    "duration_vectors",
    "echo_state_property_index",
    "elman_likelihoods",
    "elman_sentences",
    "expressions",
    "henon",
    "intersection_over_union",
    "largest_lyapunov_exponent",
    "logistic_map",
    "lorenz",
    "mackey_glass",
    "melodies",
    "memory_capacity",
    "memory_capacity_task",
    "memory_curve",
    "multiple_superimposed_oscillators",
    "narma",
    "ngram_bits",
    "nmse",
    "nrmse",
    "nrmse84",
    "number_pairs",
    "padded",
    "pitch_vectors",
    "program",
    "program_batch",
    "program_vocabulary",
    "read_files",
    "reber_batch",
    "reber_right",
    "reber_strings",
    "reber_successors",
    "review_twins",
    "reviews",
    "rossler",
    "scenes",
    "scrambled",
    "spelled",
    "split_words",
    "standard_library",
    "uniform_bits",
    "unigram_bits",
    "valid_prediction_time",
    "write_midi",
]
