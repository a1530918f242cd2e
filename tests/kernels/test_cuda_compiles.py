"""Every CUDA text compiles for three architectures, with no GPU there, and stays within its registers."""

import numpy as np
import pytest

from tinygrad_rnn.kernels.cuda import recurrence
from tinygrad_rnn.kernels.cuda.check import (
    ARCHITECTURES,
    SETTINGS,
    CompileError,
    compile_nvcc,
    compile_nvrtc,
    nvcc,
    nvrtc,
)
from tinygrad_rnn.kernels.cuda.emulator import Emulator, kernel_names
from tinygrad_rnn.kernels.cuda.machine import HERE, source

FILES = sorted(path.name for path in HERE.glob("*.cu"))
needs_nvrtc = pytest.mark.skipif(nvrtc() is None, reason="NVRTC is not here: pip install nvidia-cuda-nvrtc-cu12")
needs_nvcc = pytest.mark.skipif(nvcc() is None, reason="nvcc is not here: it comes with a CUDA toolkit")

# registers that a thread of each kernel may take; of 65,536 that a multiprocessor has
STEP_BUDGET = 64  # 1,024 threads: half of what a multiprocessor can hold
GATES = {"elman": 1, "lstm": 4, "gru": 3}


def defines(file, real="float"):
    return {"REAL": real, **SETTINGS.get(file, {})}


@needs_nvrtc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_a_text_compiles_as_cupy_compiles_it(file, architecture):
    code = compile_nvrtc(file, architecture, defines(file))
    assert [name for name in kernel_names(source(file)) if name.encode() not in code] == []


@needs_nvrtc
@pytest.mark.parametrize("file", FILES)
def test_a_text_compiles_in_double_precision_and_without_rows(file):
    compile_nvrtc(file, ARCHITECTURES[1], {"REAL": "double"})


@needs_nvrtc
def test_a_text_that_is_wrong_is_refused():
    with pytest.raises(CompileError, match="loss\\.cu.*error"):
        compile_nvrtc("loss.cu", ARCHITECTURES[1], {"REAL": "no_type"})


@needs_nvcc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_kernels_keep_to_their_registers(file, architecture):
    uses = compile_nvcc(file, architecture, defines(file))
    assert set(uses) == set(kernel_names(source(file)))
    for kernel, use in uses.items():
        assert use.spilled == 0, kernel
        budget = STEP_BUDGET
        if "_row_" in kernel:
            threads = GATES[file.removesuffix(".cu")] * int(SETTINGS[file]["UNITS"])
            budget = min(255, 65536 // (-(-threads // 128) * 128))
        assert use.registers <= budget, kernel


def test_the_row_kernels_are_checked_at_the_layout_that_is_chosen():
    for file, settings in SETTINGS.items():
        units = int(settings["UNITS"])
        plan = recurrence.row_plan(Emulator(), GATES[file.removesuffix(".cu")], units, 16, np.float32)
        assert plan.defines == {name: int(value) for name, value in settings.items()}
