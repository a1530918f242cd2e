"""Every primitive, cell and layer, and random programs: the Numba backend against NumPy, forward and backward.

How far they may differ follows from the class of each operation (`tinygrad_rnn.testing.bounds`).
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import backends
from tinygrad_rnn.primitive import registry
from tinygrad_rnn.testing import domains, module_cases, parity, programs

if not backends.available()["numba"].can_run:
    pytest.skip("numba cannot run here", allow_module_level=True)

PRIMITIVES = [name for name in domains.domain_names() if registry[name].builtin]
EXAMPLES = max(3, settings.default.max_examples // 16)
few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors, HealthCheck.data_too_large],
)


def value_and_gradients(case):
    """What a case returns, and the gradients of its sum, weighted so that entries do not cancel."""
    y, pull = tg.vjp(case.fn, *case.inputs)
    ones = tuple(map(tg.ones_like, y)) if isinstance(y, tuple) else tg.ones_like(y)
    return y, pull(ones)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_primitive_and_its_gradient(name, dtype):
    @parity("numpy", "numba")
    @few
    @given(st.integers(0, 2**16))
    def compare(seed):
        return value_and_gradients(domains.case(name, seed, dtype=dtype, allow_empty=True))

    compare()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", list(module_cases.MODULES))
def test_a_cell_or_layer_and_its_gradient(name, dtype):
    @parity("numpy", "numba")
    @few
    @given(st.integers(0, 2**16))
    def compare(seed):
        return value_and_gradients(module_cases.module_case(name, seed, dtype=dtype))

    compare()


@parity("numpy", "numba")
@few
@given(programs(nodes=(1, 8)))
def test_a_random_program_and_its_gradient(program):
    return program.value_and_grad()
