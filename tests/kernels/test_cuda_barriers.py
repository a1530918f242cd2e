"""Every barrier of every CUDA text is needed: without it some schedule gives another result, or does not end."""

import re

import numpy as np
import pytest
from cuda_cases import OTHERS, RECURRENCES, run

from tinygrad_rnn.kernels import cuda, reference
from tinygrad_rnn.kernels.cuda import machine, recurrence
from tinygrad_rnn.kernels.cuda.emulator import H200, SCHEDULES, Emulator, EmulatorError, barriers, build, compiler
from tinygrad_rnn.kernels.cuda.machine import HERE, emulated_by, source

pytestmark = pytest.mark.skipif(compiler() is None, reason="the CUDA emulator needs a C++ compiler, and found none")

SMALL = H200._replace(registers=128 * (recurrence.OVERHEAD + 8))
UNITS = 33  # more than a warp

# the cases that run each text
CASES = {
    "elman.cu": ["elman tanh plain"],
    "lstm.cu": ["lstm plain"],
    "gru.cu": ["gru reset after plain", "gru reset before plain"],
    "influence.cu": ["influence dense", "influence lstm"],
    "loss.cu": ["layer norm"],
    "parameters.cu": ["norm"],
    "reservoir.cu": ["reservoir dense"],
    "embedding.cu": [],
}
ALL = {**RECURRENCES, **OTHERS}


def places():
    """{(function, which of its barriers): [(text, number)]}; a header's barrier stands in several texts."""
    found = {}
    for file in sorted(path.name for path in HERE.glob("*.cu")):
        counts = {}
        for barrier in barriers(source(file)):
            count = counts[barrier.function] = counts.get(barrier.function, -1) + 1
            found.setdefault((barrier.function, count), []).append((file, barrier.number))
    return found


PLACES = places()


def test_every_text_has_cases_and_every_barrier_is_found():
    assert set(CASES) == {path.name for path in HERE.glob("*.cu")}
    written = sum(path.read_text(encoding="utf-8").count("__syncthreads()") for path in HERE.glob("*.cu*"))
    assert len(PLACES) == written


def notices(file, number):
    """Whether some case of a text shows that this barrier is missing."""
    for name in CASES[file]:
        wanted = run(ALL[name], reference, "float64", UNITS)
        for schedule in SCHEDULES:
            silent = Emulator(schedule, seed=3, silenced={source(file): number}, properties=SMALL)
            try:
                with emulated_by(silent):
                    found = run(ALL[name], cuda, "float64", UNITS)
            except EmulatorError:
                return True
            if not all(np.allclose(a, b, rtol=1e-10, atol=1e-10) for a, b in zip(found, wanted)):
                return True
    return False


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]} {place[1]}")
def test_a_barrier_that_is_removed_is_missed(place):
    assert any(notices(file, number) for file, number in PLACES[place])


def test_silencing_a_barrier_is_removing_it_from_the_text(monkeypatch):
    """The tests above let a barrier do nothing; one without its text computes the same wrong numbers."""
    name, number = "elman tanh plain", 1
    with emulated_by(Emulator(silenced={source("elman.cu"): number}, properties=SMALL)):
        silenced = run(ALL[name], cuda, "float64", UNITS)
    text = source("elman.cu")
    start = [match.start() for match in re.finditer(r"__syncthreads\(\);", text)][number]
    removed = text[:start] + text[start:].replace("__syncthreads();", "", 1)
    monkeypatch.setattr(machine, "source", lambda file: removed)
    with emulated_by(Emulator(properties=SMALL)):
        found = run(ALL[name], cuda, "float64", UNITS)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found, silenced))
    assert build.cache_info().currsize > 0
