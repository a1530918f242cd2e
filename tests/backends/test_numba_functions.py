"""The JIT loops of the Numba backend against NumPy: all functions, dtypes, layouts, special values, and round-off."""

import math

import numpy as np
import pytest

from tinygrad_rnn import backends

if not backends.available()["numba"].can_run:
    pytest.skip("numba cannot run here", allow_module_level=True)

from tinygrad_rnn.backends.numba_loops import loops
from tinygrad_rnn.backends.numba_reductions import REDUCTIONS
from tinygrad_rnn.backends.scalar_rules import RULES

DTYPES = ("bool", "int32", "int64", "float32", "float64")
FLOATS = ("float32", "float64")
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-30, -1e-3, 80.0, -80.0, math.inf, -math.inf, math.nan, 1e30]
WHOLE = [0, 1, -1, 2, -3, 7, 31, 32, 40, -40, 1000, 2**31 - 1, -(2**31)]
# in ulps of the result, where the loop has an algorithm of its own; NumPy's own error (up to 4) comes on top
OWN = {"exp": 2, "expm1": 3, "log": 2, "log1p": 3, "tanh": 4, "sigmoid": 4, "softplus": 4}
MATHEMATICAL = {**OWN, "erf": 2, "hypot": 2, "logaddexp": 4}


@pytest.fixture(scope="module")
def xp():
    return backends.get("numba").xp


def numpy_function(name):
    found = backends.get("numpy").xp
    return getattr(found, name)


def entries(dtype, size=16):
    """Special values first, then ordinary ones."""
    rng = np.random.default_rng(0)
    if dtype == "bool":
        return rng.random(size) < 0.5
    if dtype.startswith("int"):
        extremes = [np.iinfo(dtype).min, np.iinfo(dtype).max]
        return np.array([*extremes, *WHOLE, *rng.integers(-50, 50, size)], dtype)
    tiny = [np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).tiny, np.finfo(dtype).max]
    return np.array([*tiny, *SPECIAL, *rng.normal(scale=3.0, size=size)], dtype)


def operands(name, dtype):
    """Arrays for a function: all pairs of values where it takes two."""
    count = RULES[name].types[0].index("-")
    x = entries(dtype, size=8)
    return (x,) if count == 1 else tuple(np.broadcast_to(part, (len(x), len(x))) for part in (x[:, None], x))


def outcome(function, arguments):
    """What a function does: its result, or that there is none for these dtypes."""
    with np.errstate(all="ignore"):
        try:
            return function(*arguments)
        except TypeError:
            return None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(RULES))
def test_a_function_has_numpys_values_and_dtypes(xp, name, dtype):
    """Exactly, or within the round-off of both where it is a mathematical one; nan, infinity and overflow included."""
    arguments = operands(name, dtype)
    got, want = outcome(getattr(xp, name), arguments), outcome(numpy_function(name), arguments)
    if dtype == "bool" and (name in MATHEMATICAL or (want is not None and want.dtype.itemsize in (1, 2))):
        kind = "float32" if name in MATHEMATICAL else got.dtype  # NumPy has int8 or float16, which no tensor has
        want = outcome(numpy_function(name), [x.astype(kind) for x in arguments]).astype(got.dtype)
    if want is None:
        assert got is None
        return
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    with np.errstate(all="ignore"):
        if name in ("softplus", "sigmoid"):  # NumPy's compositions lose digits in the tails
            want = outcome(numpy_function(name), [x.astype("float64") for x in arguments]).astype(got.dtype)
        allowed = 0.0
        if name == "logaddexp":
            largest = np.maximum(abs(arguments[0]), abs(arguments[1])).astype("float64")
            allowed = 8 * np.finfo(got.dtype).eps * np.maximum(largest, 1.0)
        elif name in MATHEMATICAL:
            allowed = (MATHEMATICAL[name] + 4) * np.spacing(abs(want)).astype("float64")
        same = (got == want) | ((got != got) & (want != want))
        near = abs(got.astype("float64") - want.astype("float64")) <= allowed
    bad = ~(same | near)
    assert not bad.any(), [(*(float(x[bad][0]) for x in arguments), got[bad][0], want[bad][0])]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", sorted(OWN))
def test_the_error_of_an_algorithm_is_within_its_bound(xp, name, dtype):
    """In units in the last place, against a format with more digits."""
    wide = np.dtype("float64") if dtype == "float32" else np.dtype(np.longdouble)
    if np.finfo(wide).nmant <= np.finfo(dtype).nmant + 8:
        pytest.skip("this machine has no wider format")
    rng = np.random.default_rng(1)
    sizes = np.concatenate(
        [rng.normal(size=20_000), rng.normal(scale=20.0, size=20_000), 10 ** rng.uniform(-30, 2, 9_999)]
    )
    x = np.concatenate([sizes, -sizes]).astype(dtype)
    if name == "log":
        x = abs(x[x != 0])
    elif name == "log1p":
        x = x[x > -1]
    exact = x.astype(wide)
    small = np.exp(-abs(exact))
    want = {
        "sigmoid": lambda: np.where(exact < 0, small, 1) / (1 + small),
        "softplus": lambda: np.maximum(exact, 0) + np.log1p(small),
    }.get(name, lambda: getattr(np, name)(exact))()
    with np.errstate(all="ignore"):
        ulp = np.spacing(abs(want).astype(dtype)).astype(wide)
        error = abs(getattr(xp, name)(x).astype(wide) - want) / ulp
    kept = np.isfinite(want) & (abs(want) < np.finfo(dtype).max)
    assert error[kept].max() <= OWN[name], (x[kept][error[kept].argmax()], error[kept].max())


def layouts(x):
    """The same entries in other places: strided, backwards, read-only, at an odd offset, one number for all."""
    wide = np.repeat(x, 3)
    yield "strided", wide[::3]
    yield "backwards", x[::-1].copy()[::-1]
    fixed = x.copy()
    fixed.flags.writeable = False
    yield "read-only", fixed
    shifted = np.empty(len(x) + 1, x.dtype)
    shifted[1:] = x
    yield "offset", shifted[1:]


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
@pytest.mark.parametrize("name", ["add", "exp", "tanh", "maximum", "less", "square"])
def test_layout_changes_no_bit(xp, name, dtype):
    function = getattr(xp, name)
    x = entries(dtype, size=50)
    others = [x[::-1].copy()] if name in ("add", "maximum", "less") else []
    want = function(x, *others)
    for layout, moved in layouts(x):
        got = function(moved, *others)
        assert got.dtype == want.dtype
        assert got.tobytes() == want.tobytes(), layout
    if others:
        assert function(x[0], others[0]).tobytes() == function(np.full_like(x, x[0]), others[0]).tobytes()
        assert function(others[0], x[0]).tobytes() == function(others[0], np.full_like(x, x[0])).tobytes()


def test_no_entries_no_axes_and_unaligned_arrays(xp):
    for shape in ((0,), (0, 3), (2, 0, 1)):
        assert xp.tanh(np.zeros(shape, "float32")).shape == shape
    assert xp.tanh(np.float32(0.5)) == xp.tanh(np.full(1, 0.5, "float32"))[0]
    assert xp.add(np.array(2.0), np.array(3.0)).shape == ()
    unaligned = np.frombuffer(b"." + np.arange(5.0).tobytes(), offset=1)
    np.testing.assert_array_equal(xp.add(unaligned, unaligned), 2 * np.arange(5.0))
    swapped = np.arange(5.0).astype(">f8")
    np.testing.assert_array_equal(xp.add(swapped, 1.0), np.arange(1.0, 6.0))


def test_python_numbers_stay_weak(xp):
    x = np.ones(3, "float32")
    assert xp.multiply(x, 0.1).dtype == np.float32
    assert xp.add(np.ones(3, "int32"), 1).dtype == np.int32
    assert xp.add(np.ones(3, "int32"), np.ones(3, "float32")).dtype == np.float64
    with pytest.raises(OverflowError):
        xp.add(np.ones(3, "int32"), 2**40)


def test_the_table_says_what_runs_how(xp):
    xp.floor(np.ones(3))
    rows = {(row.name, row.signature): row for row in loops()}
    assert rows["floor", "d->d"][2:] == ("jit", "compiled")
    assert all(row.by in ("jit", "numpy") for row in rows.values())
    assert rows["pow", "dd"].by == "numpy" and "no scalar rule" in rows["pow", "dd"].state


# ---- reductions

NUMBER = ("sum", "prod", "mean", "var", "std")
CHOICE = ("max", "min", "argmax", "argmin")
SIZES = (1, 2, 15, 16, 17, 31, 33, 511, 512, 513, 1025, 5000)


def reduced(name, x, **options):
    """NumPy's result, with the dtypes of the array API standard: sums of integers are int64."""
    if name in ("sum", "prod") and x.dtype.kind in "bi":
        options["dtype"] = "int64"
    with np.errstate(all="ignore"):
        return getattr(np, name)(x, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(set(REDUCTIONS) - {"cumulative_sum", "cumulative_prod", *NUMBER}))
def test_a_reduction_that_chooses_or_counts_is_numpys(xp, name, dtype):
    rng = np.random.default_rng(2)
    for n in SIZES:
        x = rng.integers(-3, 4, (n, 3)).astype(dtype)
        if dtype in FLOATS and n > 2:
            x[rng.integers(n), 1], x[rng.integers(n), 2] = np.nan, -np.inf
        one_axis = name.startswith("arg")
        for axis in (0, 1, None) if one_axis else (0, 1, None, (0, 1)):
            for array in (x, x[::-1], np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
                got, want = getattr(xp, name)(array, axis=axis), reduced(name, array, axis=axis)
                assert np.asarray(got).dtype == np.asarray(want).dtype
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sum", "prod", "mean"])
def test_a_sum_is_numpys_within_the_bound_of_its_tree(xp, name, dtype):
    """Integers exactly, and with wrap-around; floats within the depth of the tree, in roundings of the terms' sum."""
    rng = np.random.default_rng(3)
    for n in SIZES:
        x = rng.integers(-9, 10, (n, 2)).astype(dtype) if dtype not in FLOATS else rng.normal(size=(n, 2)).astype(dtype)
        if name == "prod" and dtype in FLOATS:
            x = 1 + x / 50
        for axis in (0, 1, None):
            got, want = getattr(xp, name)(x, axis=axis), reduced(name, x, axis=axis)
            assert np.asarray(got).dtype == np.asarray(want).dtype
            if np.asarray(want).dtype.kind != "f" or dtype not in FLOATS:
                np.testing.assert_array_equal(got, want)
                continue
            exact = getattr(np, name)(x.astype(np.longdouble), axis=axis)
            terms = getattr(np, name)(abs(x).astype(np.longdouble), axis=axis)
            count = x.size if axis is None else x.shape[axis]
            depth = 31 + 4 + math.ceil(math.log2(max(1, count / 512))) + 2
            depth = count if name == "prod" else depth
            assert (abs(got - exact) <= depth * np.finfo(dtype).eps / 2 * terms).all()


def test_a_sum_depends_on_the_entries_alone(xp):
    """Not on how they lie in memory, nor on which axis they are summed over."""
    x = np.random.default_rng(4).normal(size=(1500, 7)).astype("float32")
    want = np.array([xp.sum(column.copy()) for column in x.T])
    for array, axis in ((x, 0), (np.asfortranarray(x), 0), (x.T, 1), (x.T.copy(), 1), (np.repeat(x, 2, 1)[:, ::2], 0)):
        assert xp.sum(array, axis=axis).tobytes() == want.tobytes()


def test_reductions_of_nothing_are_numpys(xp):
    nothing = np.zeros((0, 3), "float32")
    for name in ("sum", "prod", "any", "all", "count_nonzero"):
        np.testing.assert_array_equal(getattr(xp, name)(nothing, axis=0), getattr(np, name)(nothing, axis=0))
    assert np.isnan(xp.mean(nothing, axis=0)).all()
    for name in CHOICE:
        with pytest.raises(ValueError, match="empty|zero-size"):
            getattr(xp, name)(nothing, axis=0)
    assert xp.sum(np.float64(3.0)) == 3.0


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1, 2), (2, 0), ()])
def test_axes_and_kept_dimensions(xp, axis, keepdims):
    x = np.random.default_rng(5).integers(-5, 6, (3, 4, 5)).astype("float64")
    for name in ("sum", "max"):
        got, want = (getattr(space, name)(x, axis=axis, keepdims=keepdims) for space in (xp, np))
        assert got.shape == want.shape
        np.testing.assert_array_equal(got, want)


def test_axes_that_do_not_exist_raise(xp):
    x = np.ones((2, 3))
    for axis in (2, (0, 2)):
        with pytest.raises(np.exceptions.AxisError):
            xp.sum(x, axis=axis)
    with pytest.raises(ValueError, match="duplicate"):
        xp.sum(x, axis=(0, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_running_sums_and_products(xp, name, dtype):
    x = np.random.default_rng(6).integers(-2, 3, (40, 3)).astype(dtype)
    for axis in (0, 1):
        got, want = (getattr(space, name)(x, axis=axis) for space in (xp, np))
        np.testing.assert_array_equal(got, want)
        assert got.dtype == (np.dtype("int64") if dtype in ("bool", "int32", "int64") else dtype)
