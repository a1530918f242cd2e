"""`tinygrad_rnn.ops` against the Python array API standard 2024.12: names, signatures, dtypes, special cases, values.

These tests need no network. The consortium's own suite (https://github.com/data-apis/array-api-tests) asks more.
From a clone of it, with its submodules and requirements installed:

    export ARRAY_API_TESTS_MODULE=tinygrad_rnn.ops ARRAY_API_TESTS_VERSION=2024.12
    export ARRAY_API_TESTS_SKIP_DTYPES=int8,int16,uint8,uint16,uint32,uint64,complex64,complex128
    pytest array_api_tests/ --skips-file path/to/tests/ops/array_api_skips.txt --disable-extension fft

The skips are what the design excludes, each with its reason: writing into a Tensor, and dtypes that are not there.
"""

import inspect
import itertools
import math

import numpy as np
import pytest
from helpers import assert_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tg
from tinygrad_rnn import ops

FUNCTIONS = """
__array_namespace_info__()
abs(x, /)
acos(x, /)
acosh(x, /)
add(x1, x2, /)
all(x, /, *, axis=None, keepdims=False)
any(x, /, *, axis=None, keepdims=False)
arange(start, /, stop=None, step=1, *, dtype=None, device=None)
argmax(x, /, *, axis=None, keepdims=False)
argmin(x, /, *, axis=None, keepdims=False)
argsort(x, /, *, axis=-1, descending=False, stable=True)
asarray(obj, /, *, dtype=None, device=None, copy=None)
asin(x, /)
asinh(x, /)
astype(x, dtype, /, *, copy=True, device=None)
atan(x, /)
atan2(x1, x2, /)
atanh(x, /)
bitwise_and(x1, x2, /)
bitwise_invert(x, /)
bitwise_left_shift(x1, x2, /)
bitwise_or(x1, x2, /)
bitwise_right_shift(x1, x2, /)
bitwise_xor(x1, x2, /)
broadcast_arrays(*arrays)
broadcast_to(x, /, shape)
can_cast(from_, to, /)
ceil(x, /)
clip(x, /, min=None, max=None)
concat(arrays, /, *, axis=0)
conj(x, /)
copysign(x1, x2, /)
cos(x, /)
cosh(x, /)
count_nonzero(x, /, *, axis=None, keepdims=False)
cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False)
cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)
diff(x, /, *, axis=-1, n=1, prepend=None, append=None)
divide(x1, x2, /)
empty(shape, *, dtype=None, device=None)
empty_like(x, /, *, dtype=None, device=None)
equal(x1, x2, /)
exp(x, /)
expand_dims(x, /, *, axis=0)
expm1(x, /)
eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None)
finfo(type, /)
flip(x, /, *, axis=None)
floor(x, /)
floor_divide(x1, x2, /)
from_dlpack(x, /, *, device=None, copy=None)
full(shape, fill_value, *, dtype=None, device=None)
full_like(x, /, fill_value, *, dtype=None, device=None)
greater(x1, x2, /)
greater_equal(x1, x2, /)
hypot(x1, x2, /)
iinfo(type, /)
imag(x, /)
isdtype(dtype, kind)
isfinite(x, /)
isinf(x, /)
isnan(x, /)
less(x1, x2, /)
less_equal(x1, x2, /)
linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True)
log(x, /)
log10(x, /)
log1p(x, /)
log2(x, /)
logaddexp(x1, x2, /)
logical_and(x1, x2, /)
logical_not(x, /)
logical_or(x1, x2, /)
logical_xor(x1, x2, /)
matmul(x1, x2, /)
matrix_transpose(x, /)
max(x, /, *, axis=None, keepdims=False)
maximum(x1, x2, /)
mean(x, /, *, axis=None, keepdims=False)
meshgrid(*arrays, indexing="xy")
min(x, /, *, axis=None, keepdims=False)
minimum(x1, x2, /)
moveaxis(x, source, destination, /)
multiply(x1, x2, /)
negative(x, /)
nextafter(x1, x2, /)
nonzero(x, /)
not_equal(x1, x2, /)
ones(shape, *, dtype=None, device=None)
ones_like(x, /, *, dtype=None, device=None)
permute_dims(x, /, axes)
positive(x, /)
pow(x1, x2, /)
prod(x, /, *, axis=None, dtype=None, keepdims=False)
real(x, /)
reciprocal(x, /)
remainder(x1, x2, /)
repeat(x, repeats, /, *, axis=None)
reshape(x, /, shape, *, copy=None)
result_type(*arrays_and_dtypes)
roll(x, /, shift, *, axis=None)
round(x, /)
searchsorted(x1, x2, /, *, side="left", sorter=None)
sign(x, /)
signbit(x, /)
sin(x, /)
sinh(x, /)
sort(x, /, *, axis=-1, descending=False, stable=True)
sqrt(x, /)
square(x, /)
squeeze(x, /, axis)
stack(arrays, /, *, axis=0)
std(x, /, *, axis=None, correction=0.0, keepdims=False)
subtract(x1, x2, /)
sum(x, /, *, axis=None, dtype=None, keepdims=False)
take(x, indices, /, *, axis=None)
take_along_axis(x, indices, /, *, axis=-1)
tan(x, /)
tanh(x, /)
tensordot(x1, x2, /, *, axes=2)
tile(x, repetitions, /)
tril(x, /, *, k=0)
triu(x, /, *, k=0)
trunc(x, /)
unique_all(x, /)
unique_counts(x, /)
unique_inverse(x, /)
unique_values(x, /)
unstack(x, /, *, axis=0)
var(x, /, *, axis=None, correction=0.0, keepdims=False)
vecdot(x1, x2, /, *, axis=-1)
where(condition, x1, x2, /)
zeros(shape, *, dtype=None, device=None)
zeros_like(x, /, *, dtype=None, device=None)
"""

LINALG = """
cholesky(x, /, *, upper=False)
cross(x1, x2, /, *, axis=-1)
det(x, /)
diagonal(x, /, *, offset=0)
eigh(x, /)
eigvalsh(x, /)
inv(x, /)
matmul(x1, x2, /)
matrix_norm(x, /, *, keepdims=False, ord="fro")
matrix_power(x, n, /)
matrix_rank(x, /, *, rtol=None)
matrix_transpose(x, /)
outer(x1, x2, /)
pinv(x, /, *, rtol=None)
qr(x, /, *, mode="reduced")
slogdet(x, /)
solve(x1, x2, /)
svd(x, /, *, full_matrices=True)
svdvals(x, /)
tensordot(x1, x2, /, *, axes=2)
trace(x, /, *, offset=0, dtype=None)
vecdot(x1, x2, /, *, axis=-1)
vector_norm(x, /, *, axis=None, keepdims=False, ord=2)
"""

METHODS = """
__abs__(self, /)
__add__(self, other, /)
__and__(self, other, /)
__array_namespace__(self, /, *, api_version=None)
__bool__(self, /)
__complex__(self, /)
__dlpack__(self, /, *, stream=None, max_version=None, dl_device=None, copy=None)
__dlpack_device__(self, /)
__eq__(self, other, /)
__float__(self, /)
__floordiv__(self, other, /)
__ge__(self, other, /)
__getitem__(self, key, /)
__gt__(self, other, /)
__index__(self, /)
__int__(self, /)
__invert__(self, /)
__le__(self, other, /)
__lshift__(self, other, /)
__lt__(self, other, /)
__matmul__(self, other, /)
__mod__(self, other, /)
__mul__(self, other, /)
__ne__(self, other, /)
__neg__(self, /)
__or__(self, other, /)
__pos__(self, /)
__pow__(self, other, /)
__rshift__(self, other, /)
__setitem__(self, key, value, /)
__sub__(self, other, /)
__truediv__(self, other, /)
__xor__(self, other, /)
to_device(self, device, /, *, stream=None)
"""

INFO = """
capabilities(self)
default_device(self)
default_dtypes(self, *, device=None)
devices(self)
dtypes(self, *, device=None, kind=None)
"""

FLOATS, INTEGERS = ("float32", "float64"), ("int32", "int64")
DTYPES = (*FLOATS, *INTEGERS, "bool")
UNARY = {
    "abs acos acosh asin asinh atan atanh ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan log log10 log1p "
    "log2 negative positive real reciprocal round sign signbit sin sinh sqrt square tan tanh trunc": FLOATS,
    "abs ceil conj floor imag isfinite isinf isnan negative positive real round sign square trunc": INTEGERS,
    "bitwise_invert": (*INTEGERS, "bool"),
    "logical_not": ("bool",),
}
BINARY = {
    "add atan2 copysign divide equal greater greater_equal hypot less less_equal logaddexp maximum minimum multiply "
    "nextafter not_equal remainder subtract": FLOATS,
    "add equal greater greater_equal less less_equal maximum minimum multiply not_equal subtract": INTEGERS,
    "bitwise_and bitwise_or bitwise_xor equal not_equal": (*INTEGERS, "bool"),
    "logical_and logical_or logical_xor": ("bool",),
}
RETURN_BOOL = {"equal", "greater", "greater_equal", "less", "less_equal", "not_equal"}
MODERATE = settings(max_examples=40, deadline=None, database=None)


@pytest.fixture(autouse=True)
def quiet():
    """Infinities and NaNs are part of the test; NumPy need not warn of them."""
    with np.errstate(all="ignore"):
        yield


def pairs(table):
    return sorted({(name, dtype) for names, dtypes in table.items() for name in names.split() for dtype in dtypes})


def parsed(listing):
    """(name, Signature) of each line of a listing."""
    found = []
    for line in listing.split("\n"):
        if line:
            scope = {}
            exec(f"def {line}: ...", scope)
            name = line.partition("(")[0]
            found.append((name, inspect.signature(scope[name])))
    return found


def assert_takes(function, wanted):
    """Assert that each call which `wanted` allows binds to `function` with the same meaning and defaults."""
    have = list(inspect.signature(function).parameters.values())
    by_name = {p.name: p for p in have}
    for place, want in enumerate(wanted.parameters.values()):
        if want.kind is want.KEYWORD_ONLY:
            assert want.name in by_name, f"no keyword {want.name}"
            found = by_name[want.name]
            assert found.kind in (want.KEYWORD_ONLY, want.POSITIONAL_OR_KEYWORD)
        else:
            found = have[place]
            if want.kind is want.VAR_POSITIONAL:
                assert found.kind is want.VAR_POSITIONAL
            elif want.kind is want.POSITIONAL_ONLY:
                assert found.kind in (want.POSITIONAL_ONLY, want.POSITIONAL_OR_KEYWORD)
            else:
                assert (found.kind, found.name) == (want.POSITIONAL_OR_KEYWORD, want.name)
        if want.default is not want.empty:
            assert found.default == want.default, f"{want.name} is {found.default!r} by default"
    extra = [p for p in have if p.name not in wanted.parameters and p.kind is p.KEYWORD_ONLY]
    assert all(p.default is not p.empty for p in extra)


def assert_same(got, want, allowed=0.0, signs=True):
    """Assert that a Tensor has the dtype, the shape and the values of an array, signs of zero and NaN included.

    allowed: how far values may differ.  signs: whether a zero's sign counts.
    """
    want = np.asarray(want)
    assert isinstance(got, tg.Tensor)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if np.any(allowed):
        finite = np.isfinite(want)
        assert (abs(got.numpy() - want) <= allowed)[finite].all()
        got, want = tg.asarray(np.where(finite, want, got.numpy())), np.asarray(want)
    np.testing.assert_array_equal(got.numpy(), want)
    if signs and want.dtype.kind == "f":
        known = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got.numpy())[known], np.signbit(want)[known])


def elements(dtype, whole=False):
    if dtype == "bool":
        return st.booleans()
    if dtype in INTEGERS or whole:
        return st.integers(-50, 50).map(int if dtype in INTEGERS else float)
    return st.floats(width=32 if dtype == "float32" else 64)


def arrays(dtype, shape, whole=False):
    return hnp.arrays(dtype, shape, elements=elements(dtype, whole))


# ---- names and signatures


@pytest.mark.parametrize(("name", "wanted"), parsed(FUNCTIONS), ids=lambda x: x if isinstance(x, str) else "")
def test_every_function_of_the_standard_is_there_and_takes_its_arguments(name, wanted):
    assert name in ops.__all__
    assert_takes(getattr(ops, name), wanted)


@pytest.mark.parametrize(("name", "wanted"), parsed(LINALG), ids=lambda x: x if isinstance(x, str) else "")
def test_every_function_of_the_linear_algebra_extension_is_there(name, wanted):
    assert_takes(getattr(ops.linalg, name), wanted)


@pytest.mark.parametrize(("name", "wanted"), parsed(METHODS), ids=lambda x: x if isinstance(x, str) else "")
def test_every_method_of_an_array_is_there(name, wanted):
    assert_takes(getattr(tg.Tensor, name), wanted)


@pytest.mark.parametrize(("name", "wanted"), parsed(INFO), ids=lambda x: x if isinstance(x, str) else "")
def test_every_method_of_the_inspection_object_is_there(name, wanted):
    assert_takes(getattr(type(ops.__array_namespace_info__()), name), wanted)


def test_attributes_and_constants():
    x = tg.ones((2, 3))
    assert (x.shape, x.ndim, x.size, x.device) == ((2, 3), 2, 6, "cpu")
    assert x.T.shape == x.mT.shape == (3, 2)
    assert x.to_device(x.device) is x
    assert (ops.e, ops.pi, ops.inf) == (math.e, math.pi, math.inf)
    assert math.isnan(ops.nan)
    assert ops.newaxis is None
    with pytest.raises(tg.errors.ArgumentError, match="cupy"):
        x.to_device("gpu")


def test_a_tensor_names_the_namespace_and_its_version():
    assert tg.ones(2).__array_namespace__() is ops
    assert tg.ones(2).__array_namespace__(api_version="2024.12") is ops
    assert ops.__array_api_version__ == "2024.12"
    with pytest.raises(ValueError, match=r"2099\.12"):
        tg.ones(2).__array_namespace__(api_version="2099.12")


def test_inspection():
    info = ops.__array_namespace_info__()
    assert set(info.dtypes()) == set(DTYPES)
    assert set(info.dtypes(kind=("bool", "real floating"))) == {"bool", *FLOATS}
    assert info.dtypes(kind="complex floating") == {}
    assert info.default_device() in info.devices()
    assert info.default_dtypes() == {"real floating": ops.float32, "integral": ops.int64, "indexing": ops.int64}
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}


def test_limits_are_python_numbers():
    for dtype in FLOATS:
        limits = ops.finfo(getattr(ops, dtype))
        assert all(type(value) is float for value in (limits.eps, limits.max, limits.min, limits.smallest_normal))
        assert (limits.bits, limits.dtype) == (int(dtype[5:]), dtype)
        assert ops.finfo(tg.ones(1, dtype=dtype)) == limits
    for dtype in INTEGERS:
        limits = ops.iinfo(getattr(ops, dtype))
        assert (limits.max, limits.min, limits.dtype) == (2 ** (limits.bits - 1) - 1, -(2 ** (limits.bits - 1)), dtype)


# ---- dtypes


def promoted(a, b):
    """The standard's table: within a kind, the wider of the two."""
    return a if a == b else max(a, b, key=lambda dtype: int(dtype[-2:]))


SAME_KIND = [*itertools.product(FLOATS, repeat=2), *itertools.product(INTEGERS, repeat=2), ("bool", "bool")]


@pytest.mark.parametrize(("a", "b"), SAME_KIND)
def test_promotion(a, b):
    x1, x2 = tg.ones(2, dtype=a), tg.ones((3, 1), dtype=b)
    expected = promoted(a, b)
    assert ops.result_type(x1, x2) == ops.result_type(x1.dtype, x2.dtype) == expected
    for name, dtype in pairs(BINARY):
        if dtype == a:
            y = getattr(ops, name)(x1, x2)
            assert (y.dtype, y.shape) == ("bool" if name in RETURN_BOOL else expected, (3, 2)), name
    for y in (ops.where(ops.asarray(True), x1, x2), ops.concat([x1, x2], axis=None)):
        assert y.dtype == expected
    if a != "bool":
        assert ops.matmul(x1, ops.reshape(tg.ones((2, 2), dtype=b), (2, 2))).dtype == expected
        assert ops.vecdot(x1, x1.astype(b)).dtype == ops.tensordot(x1, x1.astype(b), axes=1).dtype == expected
        assert (x1 + x2).dtype == (x1 % x2).dtype == (x1**x2).dtype == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_python_numbers_take_the_dtype_of_the_tensor(dtype):
    x = tg.ones(2, dtype=dtype)
    for number in {"f": (2, 0.5), "i": (2,), "b": (True,)}[x.dtype.kind]:
        for name in ("maximum", "minimum") if dtype != "bool" else ("logical_and", "bitwise_or"):
            assert getattr(ops, name)(x, number).dtype == getattr(ops, name)(number, x).dtype == dtype
        assert ops.where(x == 1, x, number).dtype == dtype
        if dtype != "bool":
            found = [x + number, number - x, x * number, x // number, number % x, x**number, number**x]
            assert {y.dtype.name for y in found} == {dtype}


def test_sums_keep_floats_and_widen_integers_unless_told_a_dtype():
    for name in ("sum", "prod", "cumulative_sum", "cumulative_prod"):
        for dtype in (*FLOATS, *INTEGERS):
            x = tg.ones(3, dtype=dtype)
            assert getattr(ops, name)(x).dtype == ("int64" if dtype in INTEGERS else dtype)
            for wanted in FLOATS if dtype in FLOATS else INTEGERS:
                assert getattr(ops, name)(x, dtype=wanted).dtype == wanted


@pytest.mark.parametrize("kind", ["bool", "signed integer", "unsigned integer", "integral", "real floating", "numeric"])
def test_isdtype(kind):
    for dtype in DTYPES:
        expected = np.isdtype(np.dtype(dtype), kind)
        assert ops.isdtype(getattr(ops, dtype), kind) is bool(expected)
        assert ops.isdtype(getattr(ops, dtype), (kind, getattr(ops, dtype)))


# ---- values, against NumPy


@pytest.mark.parametrize(("name", "dtype"), pairs(UNARY))
@settings(MODERATE, max_examples=8)
@given(data=st.data())
def test_functions_of_one_array(name, dtype, data):
    x = data.draw(arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)))
    want = getattr(np, name)(x)
    assert_same(getattr(ops, name)(tg.asarray(x)), want, roundings(name, want))


def roundings(name, want, *terms):
    """How far two libraries may differ: 8 ulps of the largest term in a mathematical function, none elsewhere.

    The backend "numpy" is NumPy, and has no excuse.
    """
    mathematical = "exp expm1 hypot log log1p logaddexp tanh"
    if tg.zeros(()).backend == "numpy" or name not in mathematical.split() or not np.size(want):
        return 0.0
    largest = max((np.max(abs(x), where=np.isfinite(x), initial=0.0) for x in terms), default=0.0)
    with np.errstate(all="ignore"):
        return 8 * np.spacing(np.maximum(abs(want), largest).astype(want.dtype))


@pytest.mark.parametrize(("name", "dtype"), pairs(BINARY))
@settings(MODERATE, max_examples=8)
@given(data=st.data())
def test_functions_of_two_arrays(name, dtype, data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=0, max_side=3))
    other = data.draw(st.sampled_from([b for a, b in SAME_KIND if a == dtype]))
    a, b = data.draw(arrays(dtype, shapes.input_shapes[0])), data.draw(arrays(other, shapes.input_shapes[1]))
    want = getattr(np, name)(a, b)
    terms = (a, b) if name == "logaddexp" else ()
    signs = name not in ("maximum", "minimum")  # of 0 and -0 either may be the larger, in NumPy too
    assert_same(getattr(ops, name)(tg.asarray(a), tg.asarray(b)), want, roundings(name, want, *terms), signs)


INF, NAN = math.inf, math.nan
SPECIAL = {
    "pow": [
        (NAN, 0.0, 1.0), (NAN, -0.0, 1.0), (1.0, NAN, 1.0), (2.0, NAN, NAN), (2.0, INF, INF), (0.5, INF, 0.0),
        (0.5, -INF, INF), (-1.0, INF, 1.0), (INF, 0.5, INF), (INF, -0.5, 0.0), (-INF, 3.0, -INF), (-INF, 2.0, INF),
        (-INF, 0.5, INF), (-INF, -3.0, -0.0), (-INF, -0.5, 0.0), (0.0, 0.5, 0.0), (0.0, -0.5, INF), (-0.0, 3.0, -0.0),
        (-0.0, 0.5, 0.0), (-0.0, -3.0, -INF), (-0.0, -2.0, INF), (-2.0, 0.5, NAN), (-8.0, 1.5, NAN),
    ],
    "floor_divide": [
        (INF, INF, NAN), (0.0, 0.0, NAN), (INF, 2.0, INF), (INF, -2.0, -INF), (-INF, 2.0, -INF), (-INF, -2.0, INF),
        (2.0, INF, 0.0), (2.0, -INF, -0.0), (-2.0, INF, -0.0), (-2.0, -INF, 0.0), (2.0, 0.0, INF), (-2.0, 0.0, -INF),
        (0.0, -2.0, -0.0), (-0.0, 2.0, -0.0), (-7.0, 2.0, -4.0), (NAN, INF, NAN),
    ],
    "remainder": [
        (INF, 2.0, NAN), (2.0, 0.0, NAN), (2.0, INF, 2.0), (2.0, -INF, -INF), (-2.0, INF, INF), (-2.0, -INF, -2.0),
        (0.0, 2.0, 0.0), (-0.0, -2.0, -0.0), (-7.0, 2.0, 1.0), (7.0, -2.0, -1.0),
    ],
    "atan2": [
        (0.0, 0.0, 0.0), (0.0, -0.0, math.pi), (-0.0, 0.0, -0.0), (-0.0, -0.0, -math.pi), (1.0, 0.0, math.pi / 2),
        (1.0, INF, 0.0), (-1.0, INF, -0.0), (1.0, -INF, math.pi), (INF, INF, math.pi / 4),
        (-INF, -INF, -3 * math.pi / 4),
    ],
    "hypot": [(INF, NAN, INF), (NAN, -INF, INF), (NAN, 1.0, NAN), (0.0, -3.0, 3.0)],
    "logaddexp": [(INF, NAN, NAN), (INF, 1.0, INF), (-INF, -INF, -INF)],
    "copysign": [(2.0, -0.0, -2.0), (-2.0, 0.0, 2.0), (INF, -1.0, -INF), (0.0, -NAN, -0.0)],
    "divide": [(INF, INF, NAN), (0.0, 0.0, NAN), (1.0, -0.0, -INF), (-1.0, INF, -0.0)],
    "maximum": [(NAN, 1.0, NAN), (1.0, NAN, NAN)],
    "minimum": [(NAN, 1.0, NAN), (1.0, NAN, NAN)],
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values(name, dtype):
    function = getattr(ops, name)
    for a, b, expected in SPECIAL[name]:
        want = np.asarray(expected, dtype)
        x1, x2 = tg.tensor(a, dtype=dtype), tg.tensor(b, dtype=dtype)
        assert_same(function(x1, x2), want)
        assert_same(function(ops.reshape(x1, (1,)), ops.reshape(x2, (1, 1))), want.reshape(1, 1))
        assert_same(function(x1, b), want)
        assert_same(function(a, x2), want)


def test_reductions_of_nothing():
    nothing = tg.asarray([])
    for name, expected in {"mean": NAN, "std": NAN, "var": NAN, "sum": 0.0, "prod": 1.0}.items():
        assert_same(getattr(ops, name)(nothing), np.float32(expected))
    assert_same(ops.mean(tg.zeros((2, 0)), axis=1, keepdims=True), np.full((2, 1), NAN, np.float32))
    assert_same(ops.var(tg.ones((2, 3)), axis=0, correction=2), np.full(3, NAN, np.float32))
    assert_same(ops.std(tg.ones(3), correction=3.5), np.float32(NAN))


@st.composite
def reductions(draw):
    dtype = draw(st.sampled_from([*FLOATS, *INTEGERS]))
    x = draw(arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3), whole=True))
    axis = draw(st.none() | hnp.valid_tuple_axes(x.ndim))
    return x, axis, draw(st.booleans())


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all", "count_nonzero", "mean", "var", "std"])
@settings(MODERATE)
@given(drawn=reductions())
def test_reductions(name, drawn):
    x, axis, keepdims = drawn
    if name in ("mean", "var", "std"):
        x = x.astype(np.float64)
    got = getattr(ops, name)(tg.asarray(x), axis=axis, keepdims=keepdims)
    want = np.asarray(getattr(np, name)(x, axis=axis, keepdims=keepdims))
    if name in ("sum", "prod", "count_nonzero") and want.dtype.kind == "i":
        want = want.astype(np.int64)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5 if x.dtype == np.float32 else 1e-10, atol=1e-10)


@settings(MODERATE)
@given(data=st.data())
def test_moving_entries(data):
    dtype = data.draw(st.sampled_from(DTYPES))
    x = data.draw(arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)))
    t, axis = tg.asarray(x), data.draw(st.integers(-x.ndim, x.ndim - 1))
    order = data.draw(st.permutations(range(x.ndim)))
    counts = data.draw(st.lists(st.integers(0, 2), max_size=4))
    shift = data.draw(st.integers(-5, 5))
    assert_same(ops.flip(t, axis=axis), np.flip(x, axis=axis))
    assert_same(ops.roll(t, shift, axis=axis), np.roll(x, shift, axis=axis))
    assert_same(ops.roll(t, shift), np.roll(x, shift))
    assert_same(ops.permute_dims(t, tuple(order)), np.permute_dims(x, order))
    assert_same(ops.moveaxis(t, axis, 0), np.moveaxis(x, axis, 0))
    assert_same(ops.expand_dims(t, axis=axis), np.expand_dims(x, axis))
    assert_same(ops.tile(t, tuple(counts)), np.tile(x, counts))
    assert_same(ops.repeat(t, 2, axis=axis), np.repeat(x, 2, axis=axis))
    assert_same(ops.concat([t, t], axis=axis), np.concat([x, x], axis=axis))
    assert_same(ops.stack([t, t], axis=axis), np.stack([x, x], axis=axis))
    assert_same(ops.reshape(t, (-1,)), x.reshape(-1))
    assert_same(ops.diff(t, axis=axis), np.diff(x, axis=axis))
    for got, want in zip(ops.unstack(t, axis=axis), np.unstack(x, axis=axis), strict=True):
        assert_same(got, want)


@settings(MODERATE)
@given(data=st.data())
def test_sorting_searching_and_sets(data):
    dtype = data.draw(st.sampled_from([*FLOATS, *INTEGERS]))
    x = data.draw(arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=5), whole=True)) + 0
    t = tg.asarray(x)
    assert_same(ops.sort(t, axis=0), np.sort(x, axis=0))
    assert_same(ops.sort(t, descending=True), -np.sort(-x) + 0)
    assert_same(ops.argsort(t), np.argsort(x, stable=True))
    assert_same(ops.argsort(t, descending=True), np.argsort(-x, stable=True))
    assert_same(ops.argmax(t), np.argmax(x))
    assert_same(ops.isin(t, t[:1]), np.isin(x, x[:1]))
    for got, want in zip(ops.nonzero(t), np.nonzero(x), strict=True):
        assert_same(got, want)
    found = ops.unique_all(t)
    values, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    for got, want in zip(found, (values, first, inverse.reshape(x.shape), counts), strict=True):
        assert_same(got, want)
    assert_same(ops.unique_values(t), values)
    assert_same(ops.searchsorted(found.values, t, side="right"), np.searchsorted(values, x, side="right"))


@settings(MODERATE)
@given(data=st.data())
def test_indexing(data):
    x = data.draw(arrays("float64", hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)))
    index = data.draw(hnp.basic_indices(x.shape, allow_newaxis=True))
    assert_same(tg.asarray(x)[index], x[index])
    mask = data.draw(arrays("bool", x.shape[: data.draw(st.integers(0, x.ndim))]))
    assert_same(tg.asarray(x)[tg.asarray(mask)], x[mask])
    nothing = np.zeros([0, *x.shape[1:]], bool)
    assert_same(tg.asarray(x)[tg.asarray(nothing)], x[nothing])


def test_every_nan_is_a_value_of_its_own():
    x = tg.tensor([NAN, 1.0, NAN])
    assert ops.unique_values(x).shape == ops.unique_counts(x).counts.shape == (3,)
    assert ops.unique_inverse(x).inverse_indices.shape == (3,)


def test_clip_has_the_dtype_of_its_first_argument():
    x = tg.tensor([-3.0, 0.5, 3.0])
    bounds = tg.tensor([-1.0], dtype="float64"), tg.tensor([[1.0]], dtype="float64")
    assert_same(ops.clip(x, *bounds), np.asarray([[-1.0, 0.5, 1.0]], np.float32))
    assert_same(ops.clip(tg.arange(4), max=tg.tensor(2, dtype="int32")), np.asarray([0, 1, 2, 2]))


def test_diagonals_far_outside():
    x = tg.ones((2, 3))
    far = 2**80
    assert_same(ops.tril(x, k=far), np.ones((2, 3), np.float32))
    assert_same(ops.triu(x, k=far), np.zeros((2, 3), np.float32))
    assert_same(ops.eye(2, k=-far), np.zeros((2, 2), np.float32))
    assert ops.linalg.diagonal(x, offset=far).shape == (0,)


def test_dlpack():
    array = np.arange(3.0)
    shared, copied = ops.from_dlpack(array), ops.from_dlpack(array, copy=True)
    array[0] = 5.0
    assert (shared[0].item(), copied[0].item()) == (5.0, 0.0)
    assert_same(ops.from_dlpack(shared, copy=False), array)
    np.testing.assert_array_equal(np.from_dlpack(copied), [0.0, 1.0, 2.0])
    for dtype in DTYPES:
        x = tg.ones(2, dtype=dtype)
        assert_same(ops.from_dlpack(np.from_dlpack(x)), np.ones(2, dtype))
        assert x.__dlpack_device__() == (1, 0)


@pytest.mark.parametrize("version", [None, (0, 0), (1, 0), (2, 0)])
@pytest.mark.parametrize("copy", [None, True, False])
def test_dlpack_of_a_read_only_view(version, copy):
    view = ops.broadcast_to(tg.ones(()), (2,))
    if copy is False and version in (None, (0, 0)):  # the old protocol can only lend what may be written to
        with pytest.raises(BufferError):
            view.__dlpack__(max_version=version, copy=copy)
    else:
        view.__dlpack__(max_version=version, dl_device=(1, 0), copy=copy)


def test_an_axis_out_of_range_is_a_value_error_and_an_index_error():
    for call in (
        lambda: ops.expand_dims(tg.ones(2), axis=2),
        lambda: ops.expand_dims(tg.ones(2), axis=-3),
        lambda: ops.sum(tg.ones(2), axis=1),
        lambda: ops.stack([tg.ones(2)], axis=2),
    ):
        with pytest.raises(tg.errors.AxisError) as caught:
            call()
        assert isinstance(caught.value, tg.errors.ShapeError)
        assert isinstance(caught.value, IndexError)


# ---- linear algebra


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 4, 2), (2, 2, 3), (3, 0), (0, 3), (0, 2, 3)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_decompositions_of_any_matrix(shape, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    m, n = shape[-2:]
    k = min(m, n)
    stack = shape[:-2]
    bound = 64 * np.finfo(dtype).eps  # 4 orthogonal factors of at most 4 columns, entries of order 1

    def assert_basis(q):
        q = q.numpy()
        eye = np.broadcast_to(np.eye(q.shape[-1]), (*stack, q.shape[-1], q.shape[-1]))
        np.testing.assert_allclose(np.matrix_transpose(q) @ q, eye, atol=bound)

    for full in (True, False):
        u, s, vh = found = ops.linalg.svd(tg.asarray(x), full_matrices=full)
        assert found._fields == ("U", "S", "Vh")
        rows, columns = (m, n) if full else (k, k)
        assert (u.shape, s.shape, vh.shape) == ((*stack, m, rows), (*stack, k), (*stack, columns, n))
        assert {part.dtype.name for part in found} == {dtype}
        assert_basis(u)
        assert_basis(ops.matrix_transpose(vh))
        product = (u[..., :k] * ops.expand_dims(s, axis=-2)) @ vh[..., :k, :]
        np.testing.assert_allclose(product.numpy(), x, atol=bound)
    for mode, size in (("reduced", k), ("complete", m)):
        q, r = found = ops.linalg.qr(tg.asarray(x), mode=mode)
        assert found._fields == ("Q", "R")
        assert (q.shape, r.shape, q.dtype, r.dtype) == ((*stack, m, size), (*stack, size, n), dtype, dtype)
        assert_basis(q)
        assert_same(ops.triu(r), r.numpy())
        np.testing.assert_allclose((q @ r).numpy(), x, atol=bound)
    inverse = ops.linalg.pinv(tg.asarray(x)).numpy()
    assert (inverse.shape, inverse.dtype) == ((*stack, n, m), dtype)
    np.testing.assert_allclose(x @ inverse @ x, x, atol=4 * bound)
    assert_same(ops.linalg.matrix_rank(tg.asarray(x)), np.full(stack, k))


def test_results_with_names():
    x = tg.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert ops.linalg.eigh(x)._fields == ("eigenvalues", "eigenvectors")
    assert ops.linalg.slogdet(x)._fields == ("sign", "logabsdet")


def test_a_tolerance_for_each_matrix():
    x = tg.asarray(np.stack([np.diag([1.0, 1e-3])] * 2))
    rtol = tg.tensor([1e-2, 1e-4], dtype="float64")
    assert ops.linalg.matrix_rank(x, rtol=rtol).tolist() == [1, 2]
    assert ops.linalg.pinv(x, rtol=rtol)[:, 1, 1].tolist() == [0.0, 1000.0]


@pytest.mark.parametrize("order", [2, 1, 0, 3, -1, -2.5, math.inf, -math.inf])
def test_vector_norms_where_entries_are_zero_infinite_or_missing(order):
    for values in ([3.0, 4.0], [0.0, 2.0], [INF, INF], [0.0, 0.0], [NAN, 1.0]):
        want = np.linalg.vector_norm(np.asarray(values), ord=order)
        np.testing.assert_allclose(ops.linalg.vector_norm(tg.asarray(np.asarray(values)), ord=order).numpy(), want)
    assert ops.linalg.vector_norm(tg.zeros((0, 2)), axis=0, ord=order).shape == (2,)


def test_eigh_of_large_entries_does_not_overflow():
    largest = np.finfo(np.float64).max
    w = ops.linalg.eigvalsh(tg.asarray(np.diag([largest, largest / 2]))).numpy()
    np.testing.assert_allclose(w, [largest / 2, largest], rtol=1e-12)


# ---- derivatives of what the standard adds


RNG = np.random.default_rng(3)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2)])
def test_derivative_of_pinv(shape):
    assert_gradients(ops.linalg.pinv, RNG.standard_normal(shape), factor=4096)


def test_derivative_of_pinv_along_matrices_of_one_rank():
    left, right = RNG.standard_normal((4, 2)), RNG.standard_normal((2, 3))
    assert_gradients(lambda a, b: ops.linalg.pinv(a @ b, rtol=1e-8), left, right, order=1, factor=4096)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3)])
def test_derivative_of_the_complete_qr(shape):
    k = min(shape)

    def invariant(x):
        q, r = ops.linalg.qr(x, mode="complete")
        rest = q[..., k:]
        return ops.sum(q[..., :k]) + ops.sum(r) + ops.sum(ops.square(rest @ rest.mT)[0])

    assert_gradients(invariant, RNG.standard_normal(shape), factor=4096)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_derivative_of_the_full_svd(shape):
    k = min(shape)

    def invariant(x):
        u, s, vh = ops.linalg.svd(x)
        null, left = vh[..., k:, :], u[..., k:]
        return ops.sum(s) + ops.sum(ops.square(null.mT @ null)[0]) + ops.sum(ops.square(left @ left.mT)[0])

    assert_gradients(invariant, RNG.standard_normal(shape), factor=4096)


def test_derivatives_of_the_parts_of_a_real_number():
    assert_gradients(lambda x: ops.real(x) * ops.conj(x) + ops.imag(x), RNG.standard_normal(3))
    assert_gradients(lambda x: x**0.5, RNG.uniform(1, 2, 3))
