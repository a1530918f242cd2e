"""The cases of the emulator once more, on a GPU; skipped, with the reason, where there is none."""

import types

import numpy as np
import pytest
from cuda_cases import OTHERS, RECURRENCES, run

from tinygrad_rnn import backends
from tinygrad_rnn.kernels import cuda, reference

STATUS = backends.available()["cupy"]
needs_device = pytest.mark.skipif(not STATUS.can_run, reason=f"cupy cannot run here: {STATUS.reason}")
ALL = {**RECURRENCES, **OTHERS}


def moved(to, back, kernels=cuda):
    """The CUDA kernels for NumPy arrays: what goes in is moved by `to`, what comes out by `back`.

    Arrays that a kernel changes in place are changed here too.
    """

    def wrapped(kernel):
        def call(*given):
            pairs = []

            def there(value):
                if isinstance(value, (list, tuple)):
                    return type(value)(there(each) for each in value)
                if not isinstance(value, np.ndarray):
                    return value
                pairs.append((value, to(value)))
                return pairs[-1][1]

            def here(value):
                if isinstance(value, (list, tuple)):
                    return type(value)(here(each) for each in value)
                return value if isinstance(value, float) else back(value)

            result = here(kernel(*[there(each) for each in given]))
            for array, device in pairs:
                array[...] = back(device)
            return result

        return call

    return types.SimpleNamespace(**{name: wrapped(getattr(kernels, name)) for name in kernels.__all__})


@pytest.mark.parametrize("name", ["lstm lengths", "influence lstm", "influence dense of a view", "adam", "norm"])
def test_moving_arrays_changes_no_result(name):
    """Of the reference: so that what is compared on a device is the kernels."""
    copied = moved(np.array, np.asarray, reference)
    found, wanted = (run(ALL[name], kernels, "float64", 5) for kernels in (copied, reference))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True))


@needs_device
@pytest.mark.parametrize("units", [1, 5, 33, 200])
@pytest.mark.parametrize("name", ALL)
def test_a_kernel_computes_on_the_device_what_the_reference_does(name, units):
    import cupy

    found = run(ALL[name], moved(cupy.asarray, cupy.asnumpy), "float64", units)
    wanted = run(ALL[name], reference, "float64", units)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@needs_device
@pytest.mark.parametrize("name", [name for name in RECURRENCES if "lengths" not in name])
def test_a_graph_computes_on_the_device_what_the_steps_do(name, monkeypatch):
    import cupy

    from tinygrad_rnn.kernels.cuda import machine, recurrence

    monkeypatch.setattr(recurrence, "row_plan", lambda *given: None)
    monkeypatch.setattr(machine.machine_for(cupy.empty(0)), "graphs", True)
    on_device = moved(cupy.asarray, cupy.asnumpy)
    for seed in (0, 1):
        found, wanted = (
            ALL[name](kernels, np.random.default_rng(seed), np.dtype("float64"), 17)
            for kernels in (on_device, reference)
        )
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
