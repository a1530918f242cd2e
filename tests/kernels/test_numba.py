"""The Numba kernels beside the NumPy ones, on both levels: plain loops, and vectors with threads."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed: its kernels cannot run")

from tinygrad_rnn.kernels import numba as compiled
from tinygrad_rnn.kernels import reference
from tinygrad_rnn.kernels.numba import dispatch, elman, gru, lstm, product, threads, workspace
from tinygrad_rnn.kernels.numba import inputs as input_products
from tinygrad_rnn.kernels.numba.simd import HOST

KINDS = [("elman", ("tanh",)), ("elman", ("relu",)), ("lstm", ()), ("gru", (True,)), ("gru", (False,))]
GATES = {"elman": 1, "gru": 3, "lstm": 4}
SHAPES = [(1, 1, 1), (1, 5, 17), (5, 1, 33), (4, 3, 17), (3, 12, 40), (4, 7, 16), (3, 12, 32)]
every_kind = pytest.mark.parametrize(("kind", "options"), KINDS, ids=str)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(params=["plain", "fast"])
def level(request, monkeypatch):
    if request.param == "fast" and HOST is None:
        pytest.skip("this host has no fused multiply-add on vectors: there is no fast path")
    for module in (elman, gru, lstm):
        monkeypatch.setattr(module, "fast", lambda *shape: request.param == "fast")
    return request.param


def drawn(kind, shape, dtype="float64", inputs=None):
    """Arguments of a forward kernel, and the cotangents for its backward, with weights of a norm of about 1."""
    steps, batch, size = shape
    rng = np.random.default_rng(0)

    def draw(*shape, scale=1.0):
        return (scale * rng.normal(size=shape)).astype("float32").astype(dtype)

    whole = size % 16 == 0  # such a matrix may be a panel as it lies
    rows = GATES[kind] * size
    if inputs is None:
        inputs = size if whole else size // 2 + 3
    xs, w_ih, bias = draw(steps, batch, inputs), draw(rows, inputs, scale=1 / math.sqrt(max(1, inputs))), draw(rows)
    w_hh = draw(rows, size, scale=0.5 / math.sqrt(size))
    extra = [draw(size)] if kind == "gru" else []
    starts = [draw(batch, size) for _ in range(2 if kind == "lstm" else 1)]
    return [xs, w_ih, bias, w_hh, *extra, *starts], [draw(steps, batch, size), *[draw(batch, size) for _ in starts]]


def both_ways(kernels, kind, given, cotangents, *how):
    """Everything that the forward and the backward kernel return, and the cotangent of the inputs."""
    kept = getattr(kernels, f"{kind}_forward")(*given, *how)
    kept = kept if isinstance(kept, tuple) else (kept,)
    dx = np.full(given[0].shape, np.nan, given[0].dtype)
    return [*kept, *getattr(kernels, f"{kind}_backward")(*pulled(kind, given, cotangents, kept), dx, *how), dx]


def pulled(kind, given, cotangents, kept):
    """What goes into a backward kernel."""
    xs, w_ih, _, w_hh, *rest = given
    return [*cotangents, *kept, xs, w_ih, w_hh, *(rest[1:] if kind == "gru" else rest)]


def in_float64(arrays):
    return [array.astype("float64") for array in arrays]


def assert_close(found, wanted, shape, dtype):
    """A step is sums of H and I < 2 H + 3 terms and some twenty operations, a weight gradient one over all steps."""
    steps, batch, size = shape
    roundings = steps * (3 * size + batch + 20)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert one.dtype == dtype
        bound = roundings * np.finfo(dtype).eps * max(1.0, np.abs(other).max(initial=0))
        assert np.abs(one - other).max(initial=0) <= bound


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other)


@every_kind
@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "lengths"])
def test_results_are_those_of_the_reference(level, kind, options, dtype, shape, reverse, padded):
    given, cotangents = drawn(kind, shape, dtype)
    lengths = np.arange(shape[1]) % (shape[0] + 1) if padded else None
    found = both_ways(compiled, kind, given, cotangents, lengths, reverse, *options)
    wanted = both_ways(reference, kind, in_float64(given), in_float64(cotangents), lengths, reverse, *options)
    assert_close(found, wanted, shape, dtype)


@every_kind
def test_a_network_without_inputs_has_its_biases(level, kind, options):
    given, cotangents = drawn(kind, (5, 4, 17), inputs=0)
    found = both_ways(compiled, kind, given, cotangents, None, False, *options)
    assert_close(found, both_ways(reference, kind, given, cotangents, None, False, *options), (5, 4, 17), "float64")


@every_kind
def test_strided_and_read_only_inputs_give_the_same_numbers(level, kind, options):
    given, cotangents = drawn(kind, (4, 3, 17))
    wanted = both_ways(compiled, kind, given, cotangents, None, False, *options)

    def awkward(array):
        wide = np.repeat(array, 2, axis=-1)[..., ::2]
        wide.flags.writeable = False
        return wide

    def backward_laid_out(array):
        turned = np.asfortranarray(array)
        turned.flags.writeable = False
        return turned

    for change in (awkward, backward_laid_out):
        arrays = [change(array) for array in given + cotangents]
        copies = [array.copy() for array in arrays]
        kept = getattr(compiled, f"{kind}_forward")(*arrays[: len(given)], None, False, *options)
        kept = kept if isinstance(kept, tuple) else (kept,)
        inputs = pulled(kind, arrays[: len(given)], arrays[len(given) :], map(change, kept))
        dx = np.full(given[0].shape, np.nan)
        assert_same([*kept, *getattr(compiled, f"{kind}_backward")(*inputs, dx, None, False, *options), dx], wanted)
        assert_same(arrays, copies)


@every_kind
def test_a_backward_kernel_changes_no_input_and_returns_arrays_of_its_own(level, kind, options):
    given, cotangents = drawn(kind, (3, 12, 40))
    kept = getattr(compiled, f"{kind}_forward")(*given, None, False, *options)
    inputs = pulled(kind, given, cotangents, kept if isinstance(kept, tuple) else (kept,))
    copies = [array.copy() for array in inputs]
    dx = np.full_like(given[0], np.nan)
    results = [*getattr(compiled, f"{kind}_backward")(*inputs, dx, None, False, *options), dx]
    assert_same(inputs, copies)
    for k, result in enumerate(results):
        assert not any(np.shares_memory(result, other) for other in (*inputs, *results[:k]))
    assert_same(getattr(compiled, f"{kind}_backward")(*inputs, None, None, False, *options), results[:-1])


@every_kind
def test_a_nan_stays_in_its_lane(level, kind, options):
    given, cotangents = drawn(kind, (4, 12, 17))
    given[0][1, 5, 3] = np.nan
    h, *_ = both_ways(compiled, kind, given, cotangents, None, False, *options)
    assert np.isnan(h[1:, 5]).any()
    assert np.isfinite(np.delete(h, 5, axis=1)).all()


@every_kind
def test_denormals_count_as_zero_inside_and_not_after(level, kind, options):
    given, cotangents = drawn(kind, (3, 3, 17), "float32")
    tiny = [np.full_like(array, 1e-40) for array in cotangents]
    *_, at_the_start, at_the_inputs = both_ways(compiled, kind, given, tiny, None, False, *options)
    assert not at_the_start.any()
    assert not at_the_inputs.any()
    assert np.float32(1e-40) * np.float32(0.5) > 0


# ---- threads


SPLIT_SHAPES = {"by lanes": (16, 17, 72), "by units": (40, 2, 136)}


@pytest.fixture
def alone(monkeypatch):
    """A gang whose helpers never come."""
    gang = threads.Gang()
    monkeypatch.setattr(gang, "_call", lambda parts: 0)
    return gang


def set_threads(monkeypatch, count):
    for module in (dispatch, input_products, product):
        monkeypatch.setattr(module, "thread_count", lambda: count)


def use_gang(monkeypatch, gang):
    for name in ("elman_fast", "gru_fast", "lstm_fast"):
        monkeypatch.setattr(sys.modules[f"{compiled.__name__}.{name}"], "GANG", gang)
    monkeypatch.setattr(product, "GANG", gang)


@pytest.mark.skipif(HOST is None, reason="this host has no fused multiply-add on vectors: there is no fast path")
@pytest.mark.parametrize("how", SPLIT_SHAPES)
@pytest.mark.parametrize("kind", ["elman", "lstm", "gru"])
def test_threads_change_no_bit_from_run_to_run_and_a_stalled_one_neither(kind, how, alone, monkeypatch):
    shape = SPLIT_SHAPES[how]
    if kind == "elman":
        shape = (4 * shape[0], *shape[1:]) if how == "by lanes" else (shape[0], 5, shape[2])
    given, cotangents = drawn(kind, shape, "float32")
    wanted = both_ways(reference, kind, in_float64(given), in_float64(cotangents))
    for count in (1, 2):
        set_threads(monkeypatch, count)
        cut = dispatch.split(*shape, GATES[kind])
        assert cut == (count, how == "by units" and count > 1)
        use_gang(monkeypatch, threads.Gang())
        found = both_ways(compiled, kind, given, cotangents)
        assert_close(found, wanted, shape, "float32")
        for _ in range(3):
            assert_same(both_ways(compiled, kind, given, cotangents), found)
        use_gang(monkeypatch, alone)
        assert_same(both_ways(compiled, kind, given, cotangents), found)


@pytest.mark.skipif(HOST is None, reason="this host has no fused multiply-add on vectors: there is no fast path")
@pytest.mark.parametrize("kind", ["elman", "lstm", "gru"])
def test_a_recurrence_on_one_thread_may_have_products_on_several(kind, alone, monkeypatch):
    shape, inputs = (60, 17, 20), 600
    given, cotangents = drawn(kind, shape, "float32", inputs)
    wanted = both_ways(reference, kind, in_float64(given), in_float64(cotangents))
    results = []
    for count in (1, 2, 3):
        set_threads(monkeypatch, count)
        for name in ("elman_fast", "gru_fast", "lstm_fast"):
            module = sys.modules[f"{compiled.__name__}.{name}"]
            monkeypatch.setattr(module, "split", lambda *_: dispatch.Split(1, False))
        use_gang(monkeypatch, threads.Gang())
        results.append(both_ways(compiled, kind, given, cotangents))
        assert_close(results[-1], wanted, (shape[0], shape[1], inputs), "float32")
    use_gang(monkeypatch, alone)
    assert_same(both_ways(compiled, kind, given, cotangents), results[-1])
    assert product.shared_by((shape[0] * shape[1], inputs, GATES[kind] * shape[2]), 3) == 3


@pytest.mark.skipif(HOST is None, reason="this host has no fused multiply-add on vectors: there is no fast path")
@pytest.mark.parametrize("kind", ["elman", "lstm", "gru"])
def test_products_for_more_threads_than_a_recurrence_in_lockstep_run_by_themselves(kind, alone, monkeypatch):
    shape, inputs = (40, 2, 136), 300
    given, cotangents = drawn(kind, shape, "float32", inputs)
    set_threads(monkeypatch, 6)
    cut = dispatch.split(*shape, GATES[kind])
    assert cut == (4, True)
    assert product.shared_by((80, inputs, GATES[kind] * 136), 6) == 6
    use_gang(monkeypatch, threads.Gang())
    found = both_ways(compiled, kind, given, cotangents)
    wanted = both_ways(reference, kind, in_float64(given), in_float64(cotangents))
    assert_close(found, wanted, (shape[0], shape[1], inputs), "float32")
    use_gang(monkeypatch, alone)
    assert_same(both_ways(compiled, kind, given, cotangents), found)


# ---- products


@every_dtype
@pytest.mark.parametrize(
    "shape",
    [(13, 160, 129), (65, 257, 40), (250, 300, 33), (40, 70, 100), (600, 530, 70), (1, 300, 1100), (5, 149, 2100)],
    ids=str,
)
@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_matmul_is_numpys(shape, layout, dtype, monkeypatch):
    m, inner, n = shape
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, inner)).astype(dtype), rng.normal(size=(inner, n)).astype(dtype)
    a = np.asfortranarray(a) if layout[0] == "t" else a
    b = np.asfortranarray(b) if layout[1] == "t" else b
    wanted = a.astype("float64") @ b.astype("float64")
    size = np.abs(a).astype("float64") @ np.abs(b).astype("float64")
    for count in (1, 2):
        set_threads(monkeypatch, count)
        found = product.matmul(a, b)
        assert found.dtype == dtype
        assert (np.abs(found - wanted) <= (inner + 1) * np.finfo(dtype).eps * size).all()
        assert np.array_equal(product.matmul(a, b), found)
        room = np.full((m, n), np.nan, dtype)
        assert product.matmul(a, b, out=room) is room
        assert np.array_equal(room, found)


@pytest.mark.parametrize("shapes", [((4, 50, 90), (90, 70)), ((2, 3, 4), (2, 4, 5)), ((5,), (5, 6)), ((6, 5), (5,))])
def test_matmul_takes_stacks_and_vectors(shapes):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape) for shape in shapes)
    wanted = np.matmul(a, b)
    assert product.matmul(a, b).shape == wanted.shape
    assert np.allclose(product.matmul(a, b), wanted, rtol=1e-12, atol=1e-12)


def test_matmul_refuses_what_numpy_refuses():
    with pytest.raises(ValueError, match="matmul"):
        product.matmul(np.ones((80, 80)), np.ones((79, 80)))


# ---- memory


def test_large_arrays_come_back_from_the_pool():
    shape = (workspace.POOLED // 4,)
    first = workspace.empty(shape, "float32")
    place = first.ctypes.data
    del first
    second = workspace.empty(shape, "float32")
    assert second.ctypes.data == place
    assert workspace.empty(shape, "float32").ctypes.data != place


def test_scratch_arrays_start_on_a_cache_line_and_do_not_overlap():
    arrays = workspace.scratch("float32", 3, 17, 0, 100)
    assert [array.shape for array in arrays] == [(3,), (17,), (0,), (100,)]
    assert all(array.ctypes.data % workspace.ALIGNMENT == 0 for array in arrays if array.size)
    for value, array in enumerate(arrays):
        array[:] = value
    assert all((array == value).all() for value, array in enumerate(arrays))


def test_states_of_another_precision_are_cast(level):
    for kind, options in KINDS:
        given, cotangents = drawn(kind, (3, 2, 17))
        mixed = [given[0], *[array.astype("float32") for array in given[1:]]]  # drawn so that float32 holds them
        wanted = both_ways(compiled, kind, given, cotangents, None, False, *options)
        assert_same(both_ways(compiled, kind, mixed, cotangents, None, False, *options), wanted)


# ---- hosts


NARROW = """
import numpy as np
from tinygrad_rnn.kernels import numba, reference
from tinygrad_rnn.kernels.numba.simd import HOST
assert HOST.bits == 256, HOST
rng = np.random.default_rng(0)
given = [rng.normal(size=shape).astype("f4") / 4 for shape in ((5, 9, 7), (20, 7), 20, (20, 20), (9, 20))]
found = numba.elman_forward(*given)
assert np.allclose(found, reference.elman_forward(*given), atol=1e-5)
print("agrees")
"""


@pytest.mark.skipif(HOST is None or HOST.bits < 512, reason="needs a host with AVX-512, to be taken for one without")
def test_the_fast_path_runs_with_half_as_wide_vectors(tmp_path):
    features = "+avx2,+fma,+avx,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,+sse,+popcnt,+cx16,+bmi,+bmi2"
    environment = {**os.environ, "NUMBA_CPU_FEATURES": features, "TINYGRAD_RNN_CACHE": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", NARROW], env=environment, capture_output=True, text=True)
    assert found.stdout == "agrees\n", found.stderr


def test_a_cache_that_cannot_be_written_is_said_and_compiles_anyway(monkeypatch):
    import numba as package

    from tinygrad_rnn.kernels.numba import compiling

    kept = package.njit
    kept(lambda x: x)(1)  # brings in what compiling needs, which uses njit itself

    def njit(**options):
        if options.get("cache"):

            def refuse(function):
                raise RuntimeError("cannot cache function: no locator available")

            return refuse
        return kept(**options)

    monkeypatch.setattr(compiling.numba, "njit", njit)
    compiling._say_uncached.cache_clear()
    with pytest.warns(UserWarning, match="TINYGRAD_RNN_CACHE"):
        made = compiling.jit(lambda x: x + 1)
    assert made(2) == 3
