"""The CUDA kernels, executed on the CPU by the emulator through the launchers of the GPU, against the reference."""

import inspect

import numpy as np
import pytest
from cuda_cases import OTHERS, RECURRENCES, STEPS, draw, recurrent, run

from tinygrad_rnn.kernels import cuda, reference
from tinygrad_rnn.kernels.cuda import emulator, recurrence
from tinygrad_rnn.kernels.cuda.emulator import H200, SCHEDULES, Emulator, EmulatorError, compiler
from tinygrad_rnn.kernels.cuda.machine import emulated_by, machine_for, source

pytestmark = pytest.mark.skipif(compiler() is None, reason="the CUDA emulator needs a C++ compiler, and found none")

# few registers: a thread of a row kernel keeps 4 weights of 8 bytes, or 8 of 4, and the others in shared memory
SMALL = H200._replace(registers=128 * (recurrence.OVERHEAD + 8))


def by_all_schedules(case, dtype, units, properties=SMALL):
    """The results of a case; asserts that every schedule gives the same bits."""
    found = []
    for schedule in SCHEDULES:
        with emulated_by(Emulator(schedule, seed=7, properties=properties)):
            found.append(run(case, cuda, dtype, units))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert a.tobytes() == b.tobytes(), "two schedules disagree"
    return found[0]


def bound(dtype, units, wanted):
    """How far a result may be from the exact one, in units of its largest entry.

    A step is a product of `units` terms and some twenty operations, and the errors of a step are carried on through
    the slopes of the others: matrices of norm 2 at most (Gaussian entries of variance 1/units), times slopes below 1.
    Optimiser steps and norms add far fewer terms in blocks.
    """
    roundings = 2**STEPS * STEPS * (units + 20)
    return roundings * float(np.finfo(dtype).eps) * max(1.0, np.abs(wanted).max(initial=0.0))


def assert_parity(case, dtype, units, properties=SMALL):
    found = by_all_schedules(case, dtype, units, properties)
    wanted = run(case, reference, "float64", units)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max(initial=0.0) <= bound(dtype, units, b)
        if dtype == "float64":
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.fixture
def steps_only(monkeypatch):
    """One product and one launch for each step, as for many units."""
    monkeypatch.setattr(recurrence, "row_plan", lambda *given: None)


@pytest.mark.parametrize("units", [1, 5, 33])
@pytest.mark.parametrize("name", RECURRENCES)
def test_a_row_kernel_computes_what_the_reference_does(name, units):
    assert_parity(RECURRENCES[name], "float64", units)


@pytest.mark.parametrize("name", RECURRENCES)
def test_a_row_kernel_computes_in_float32_within_its_bound(name):
    assert_parity(RECURRENCES[name], "float32", 33)


@pytest.mark.parametrize("units", [1, 5, 33])
@pytest.mark.parametrize("name", RECURRENCES)
@pytest.mark.usefixtures("steps_only")
def test_a_step_kernel_computes_what_the_reference_does(name, units):
    assert_parity(RECURRENCES[name], "float64", units)


@pytest.mark.parametrize("name", RECURRENCES)
@pytest.mark.usefixtures("steps_only")
def test_a_step_kernel_computes_in_float32_within_its_bound(name):
    assert_parity(RECURRENCES[name], "float32", 17)


@pytest.mark.parametrize("name", ["elman tanh plain", "lstm plain", "gru reset after plain", "gru reset before plain"])
def test_a_row_kernel_may_keep_all_weights_in_registers(name):
    assert_parity(RECURRENCES[name], "float64", 5, H200)


@pytest.mark.parametrize("units", [1, 5, 33])
@pytest.mark.parametrize("name", OTHERS)
def test_the_other_kernels_compute_what_the_reference_does(name, units):
    assert_parity(OTHERS[name], "float64", units)


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_kernels_compute_in_float32_within_their_bounds(name):
    assert_parity(OTHERS[name], "float32", 17)


@pytest.mark.parametrize("name", [name for name in OTHERS if name.startswith("influence")])
def test_many_units_are_multiplied_by_the_matrix_product(name, monkeypatch):
    monkeypatch.setattr("tinygrad_rnn.kernels.cuda.influence.LARGEST", 0)
    monkeypatch.setattr("tinygrad_rnn.kernels.cuda.influence.SCRATCH", 64)
    assert_parity(OTHERS[name], "float64", 5)


def test_rows_longer_than_a_block_are_read_in_turns():
    x = draw(np.random.default_rng(0), "float64", 1, 1100)
    np.testing.assert_allclose(cuda.layer_norm_forward(x, 0.1)[0], reference.layer_norm_forward(x, 0.1)[0], atol=1e-12)


@pytest.mark.parametrize("entry", [1e200, np.inf, np.nan])
def test_the_norm_neither_overflows_nor_hides(entry):
    arrays = [np.array([1.0, entry]), np.array([3.0])]
    np.testing.assert_allclose(cuda.global_norm(arrays), reference.global_norm(arrays), rtol=1e-14)


def test_there_is_a_kernel_for_every_reference_with_its_signature():
    assert set(cuda.__all__) == set(reference.__all__)
    for name in reference.__all__:
        ours, theirs = (inspect.signature(getattr(module, name)) for module in (cuda, reference))
        assert list(ours.parameters) == list(theirs.parameters)
        for a, b in zip(ours.parameters.values(), theirs.parameters.values()):
            assert a.default == b.default


# ---- graphs


@pytest.mark.parametrize("name", [name for name in RECURRENCES if "lengths" not in name])
@pytest.mark.usefixtures("steps_only")
def test_a_captured_loop_computes_on_other_arrays_what_it_would_have(name):
    """Nothing may run while a loop is captured, and its replay may use no address but those of its own buffers."""
    machine = Emulator(graphs=True)
    with emulated_by(machine):
        for seed in (0, 1, 2):
            rng = np.random.default_rng(seed)
            found = RECURRENCES[name](cuda, rng, np.dtype("float64"), 5)
            wanted = RECURRENCES[name](reference, np.random.default_rng(seed), np.dtype("float64"), 5)
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    assert len(machine._captured) == 2  # forward and backward, each captured once


def test_old_graphs_go(monkeypatch):
    monkeypatch.setattr("tinygrad_rnn.kernels.cuda.machine.GRAPHS", 2)
    monkeypatch.setattr(recurrence, "row_plan", lambda *given: None)
    machine = Emulator(graphs=True)
    with emulated_by(machine):
        for steps in (1, 2, 3, 1):
            cuda.elman_forward(np.ones((steps, 1, 2)), np.eye(2), None, np.eye(2), np.ones((1, 2)))
    assert len(machine._captured) == 2


# ---- the layouts


def test_rows_are_chosen_for_few_units_and_few_lanes():
    machine = Emulator()

    def serves(*shape, dtype="float32"):
        return recurrence.row_plan(machine, *shape, dtype) is not None

    assert serves(4, 128, 16) and serves(3, 128, 16) and serves(1, 192, 16)
    assert not serves(4, 257, 16), "more threads than a block may have"
    assert not serves(4, 256, 16), "more weights than one multiprocessor holds"
    assert not serves(4, 64, 1000), "lanes enough for a matrix product"
    assert not serves(4, 128, 16, dtype="float64")
    plan = recurrence.row_plan(machine, 4, 128, 16, "float32")
    assert plan.defines == {"UNITS": 128, "KEPT": 64}
    assert plan.shared == (64 * 512 + 8 * 128) * 4


def test_rows_run_in_one_launch_and_steps_in_one_each(monkeypatch):
    inputs, w_hh, (h0,) = recurrent(np.random.default_rng(0), "float64", 1, 5, 1)
    machine = Emulator(properties=SMALL)
    with emulated_by(machine):
        cuda.elman_forward(*inputs, w_hh, h0)
        assert machine.launched == ["elman_row_forward"]
        monkeypatch.setattr(recurrence, "row_plan", lambda *given: None)
        cuda.elman_forward(*inputs, w_hh, h0)
    assert machine.launched[1:] == ["elman_step_forward"] * STEPS


def test_no_lanes_and_no_entries_launch_nothing():
    machine = Emulator()
    with emulated_by(machine):
        h = cuda.reservoir_run(np.zeros((3, 0, 2)), np.eye(2), np.zeros((0, 2)), np.ones(2))
        assert h.shape == (3, 0, 2)
        assert cuda.elman_forward(np.zeros((2, 0, 3)), np.eye(3), None, np.eye(3), np.zeros((0, 3))).shape == (2, 0, 3)
        assert cuda.global_norm([np.zeros((0, 2))]) == 0
    assert machine.launched == []


# ---- what the launchers and the emulator refuse


def test_arrays_of_two_dtypes_are_refused():
    with pytest.raises(TypeError, match="one dtype; got float32, float64"):
        cuda.elman_forward(np.zeros((1, 1, 2), np.float32), np.eye(2), None, np.eye(2), np.zeros((1, 2)))


def test_integers_are_refused():
    with pytest.raises(TypeError, match="float32 and float64; got int64"):
        cuda.layer_norm_forward(np.ones((2, 2), np.int64), 0.1)


def test_something_that_is_no_array_is_refused():
    class Foreign:
        pass

    with pytest.raises(TypeError, match="NumPy's or CuPy's; got"):
        machine_for(np.ones(1), Foreign())


def launch(*arguments, block=32, kernel="elman_step_forward", **options):
    Emulator().launch("elman.cu", kernel, 1, block, *arguments, real=np.float64, **options)


def step_arguments():
    return [np.ones((1, 1, 2)), np.ones((1, 2)), np.ones((1, 2)), None, 0, -1, 1, 2, False]


def test_an_array_with_strides_is_refused():
    arguments = step_arguments()
    arguments[1] = np.ones((2, 2)).T
    with pytest.raises(ValueError, match="argument 1, of shape \\(2, 2\\), has strides"):
        launch(*arguments)


def test_a_number_beyond_32_bits_is_refused():
    arguments = step_arguments()
    arguments[6] = 2**31
    with pytest.raises(ValueError, match="counts in 32 bits"):
        launch(*arguments)


def test_an_argument_of_another_type_than_the_kernel_declares_is_refused():
    arguments = step_arguments()
    arguments[2] = np.ones((1, 2), np.float32)
    with pytest.raises(EmulatorError, match="declares .*\\*f8.* passes .*\\*f4"):
        launch(*arguments)
    with pytest.raises(EmulatorError, match="declares"):
        launch(*step_arguments()[:-1])


def test_limits_of_the_device_are_kept():
    with pytest.raises(EmulatorError, match="over 1024 threads"):
        launch(*step_arguments(), block=1025)
    with pytest.raises(EmulatorError, match="bytes of shared memory; a block has 232448"):
        launch(*step_arguments(), shared=232449)
    few = Emulator(properties=H200._replace(multiprocessors=2))
    with pytest.raises(EmulatorError, match="blocks at once, and 2 multiprocessors"):
        few.launch("elman.cu", "elman_step_forward", 3, 32, *step_arguments(), real=np.float64, cooperative=True)


def test_launch_bounds_are_kept():
    arguments = np.ones((1, 1, 2)), np.eye(2), np.ones((1, 2)), None, 1, False, False
    with pytest.raises(EmulatorError, match="__launch_bounds__ of 2"):
        launch(*arguments, block=3, kernel="elman_row_forward", defines={"UNITS": 2, "KEPT": 0}, shared=400)


TRIALS = r"""
extern "C" __global__ void outside(REAL* x, int n) { x[n] = 1; }
extern "C" __global__ void hangs(REAL* x) {
  if (threadIdx.x == 0) return;
  __syncthreads();
}
extern "C" __global__ void parted(REAL* x) {
  if (threadIdx.x < 16) { __syncthreads(); } else { __syncthreads(); }
}
extern "C" __global__ void waits(unsigned* x) {
  while (atomicAdd(x, 0u) == 0u) __nanosleep(1);
}
extern "C" __global__ void shuffles(REAL* x) {
  REAL mine = threadIdx.x;
  x[threadIdx.x] = __shfl_down_sync(0xffffffffu, mine, 3) * 100 + __shfl_sync(0xffffffffu, mine, 5);
}
extern "C" __global__ void races(REAL* x) {
  __shared__ REAL part[32];
  part[threadIdx.x] = threadIdx.x;
  x[threadIdx.x] = part[31 - threadIdx.x];
}
"""


def trial(kernel, *arguments, schedule="forward"):
    machine = Emulator(schedule)
    machine.run(TRIALS, kernel, (1,), (32,), list(arguments), {"REAL": "double"}, 0, False)


@pytest.mark.parametrize("place", [-1, 4])
def test_a_write_outside_an_array_is_reported(place):
    with pytest.raises(EmulatorError, match="outside wrote outside an array of 32 bytes"):
        trial("outside", np.zeros(4), np.int32(place))


def test_a_barrier_that_not_all_threads_reach_is_reported():
    with pytest.raises(EmulatorError, match="deadlock: 31 threads wait at a barrier .*and 1 have returned"):
        trial("hangs", np.zeros(1))


def test_threads_at_different_barriers_are_reported():
    with pytest.raises(EmulatorError, match="wait at different barriers, in lines"):
        trial("parted", np.zeros(1))


def test_a_wait_for_what_never_happens_is_reported():
    with pytest.raises(EmulatorError, match="32 for another block"):
        trial("waits", np.zeros(1, np.uint32))


def test_shuffles_move_numbers_between_the_lanes_of_a_warp():
    x = np.zeros(32)
    trial("shuffles", x)
    lanes = np.arange(32)
    np.testing.assert_array_equal(x, np.where(lanes + 3 < 32, lanes + 3, lanes) * 100 + 5)


def test_a_race_gives_different_results_under_different_schedules():
    first, second = np.zeros(32), np.zeros(32)
    trial("races", first, schedule="forward")
    trial("races", second, schedule="reverse")
    rubbish = np.full(16, np.nan)  # what shared memory begins as
    np.testing.assert_array_equal(first, np.concatenate([rubbish, np.arange(15, -1, -1)]))
    np.testing.assert_array_equal(second, np.concatenate([np.arange(31, 15, -1), rubbish]))


def test_what_a_compiler_refuses_is_shown():
    with pytest.raises(EmulatorError, match="refused a CUDA text"):
        emulator.build("this is no program;", ())


def test_a_schedule_has_a_name():
    with pytest.raises(ValueError, match="forward, reverse, shuffled"):
        Emulator("sideways")


def test_without_a_compiler_the_message_names_one(monkeypatch):
    monkeypatch.setattr("tinygrad_rnn.kernels.cuda.emulator.building.compiler", lambda: None)
    with pytest.raises(EmulatorError, match="Install g\\+\\+"):
        emulator.build("// nothing", ())


def test_headers_are_written_into_the_text():
    text = source("lstm.cu")
    assert "#include" not in text
    assert "sigmoid(REAL x)" in text and "struct RowWeights" in text
