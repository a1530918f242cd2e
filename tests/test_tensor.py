"""Tensor and Parameter: dtypes, immutability, conversions, copies, and how they print."""

import copy
import pickle

import numpy as np
import pytest
from helpers import close

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, DTypeError, GradientError, ImmutableError, ShapeError, TapeError


@pytest.fixture
def default_dtype():
    """Put the default dtype back after a test that changes it."""
    yield
    tg.set_default_dtype("float32")


# ---- dtypes


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([[1, 2.5]], "float32"),
        (1, "int64"),
        ([1, 2], "int64"),
        (True, "bool"),
        ([True, False], "bool"),
        ([], "float32"),
        (np.float64(1.5), "float64"),
        (np.ones(2), "float64"),
        (np.ones(2, np.int32), "int32"),
        ((1.0, 2.0), "float32"),
        (range(3), "int64"),
    ],
    ids=repr,
)
def test_lists_and_numbers_get_the_default_dtype_and_arrays_keep_theirs(data, dtype):
    assert tg.tensor(data).dtype == dtype
    assert tg.asarray(data).dtype == dtype


def test_the_default_dtype_can_be_chosen(default_dtype):
    tg.set_default_dtype("float64")
    assert tg.tensor([1.0]).dtype == np.float64
    assert tg.tensor([1]).dtype == np.int64
    assert tg.tensor(np.ones(1, np.float32)).dtype == np.float32
    with pytest.raises(DTypeError, match="must be float32 or float64; got int64"):
        tg.set_default_dtype("int64")
    assert tg.tensor([1.0]).dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_python_number_never_changes_the_dtype_of_a_float_tensor(dtype):
    x = tg.tensor([1.0, 2.0], dtype=dtype)
    results = [x * 2.0, 2.0 * x, x + 1, x - 1.5, 1 / x, x**2, 2.0**x, x**0.5, -x, tg.where(x > 1, x, 0.0), x % 1.5]
    assert [y.dtype for y in results] == [dtype] * len(results)
    with tg.Tape():
        recorded = [x * 2.0, 2.0 * x, x**2, tg.where(x > 1, x, 0.0)]
    assert [y.dtype for y in recorded] == [dtype] * len(recorded)


def test_tensors_of_two_dtypes_promote_as_in_numpy():
    a, b, i = tg.tensor([1.0]), tg.tensor([1.0], dtype="float64"), tg.tensor([1])
    assert (a * b).dtype == np.float64
    assert (i + 1).dtype == np.int64
    assert (i * True).dtype == np.int64
    assert (a > b).dtype == np.bool_


@pytest.mark.parametrize("dtype", ["float16", "int8", "complex128", "uint64", "no such", object])
def test_a_dtype_outside_the_five_raises(dtype):
    with pytest.raises(DTypeError, match="dtypes are bool, int32, int64, float32 and float64; got"):
        tg.tensor([1], dtype=dtype)


def test_an_array_of_another_dtype_raises_and_names_the_cast():
    with pytest.raises(DTypeError, match=r'float16\. Cast it first: data\.astype\("float32"\)'):
        tg.tensor(np.ones(2, np.float16))
    with pytest.raises(DTypeError, match="complex128"):
        tg.tensor([1j])


@pytest.mark.parametrize("data", [[[1, 2], [3]], ["a"], object(), None, {"a": 1}], ids=lambda data: type(data).__name__)
def test_what_is_not_an_array_of_numbers_raises(data):
    with pytest.raises(DTypeError):
        tg.tensor(data)


def test_an_integer_that_requires_a_gradient_raises_and_names_the_cast():
    with pytest.raises(GradientError, match=r'int64.*dtype="float32", requires_grad=True'):
        tg.tensor([1, 2], requires_grad=True)


# ---- making one


def test_tensor_copies_and_asarray_shares():
    array = np.zeros(2)
    copied, shared = tg.tensor(array), tg.asarray(array)
    array[0] = 1.0
    assert copied.tolist() == [0.0, 0.0]
    assert shared.tolist() == [1.0, 0.0]
    assert tg.asarray(shared) is shared
    assert tg.asarray(array, copy=True).tolist() == [1.0, 0.0]
    assert not np.shares_memory(tg.asarray(shared, copy=True).numpy(), array)


def test_asarray_without_copy_raises_where_one_would_be_needed():
    with pytest.raises(ArgumentError, match="a list cannot be used without a copy"):
        tg.asarray([1.0], copy=False)
    with pytest.raises(ArgumentError, match="float64 cannot become float32 without a copy"):
        tg.asarray(np.ones(1), dtype="float32", copy=False)
    with pytest.raises(ArgumentError, match='choose a backend instead: backend="cupy"'):
        tg.asarray([1.0], device="cuda")


def test_the_class_itself_cannot_be_called():
    with pytest.raises(TypeError, match=r"tg\.tensor\(data\)"):
        tg.Tensor([1.0])


def test_a_list_of_tensors_becomes_one_unless_a_gradient_would_be_lost():
    x = tg.tensor([1.0, 2.0])
    assert tg.tensor([x, [3.0, 4.0]]).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    with tg.Tape():
        y = x * 2.0
        with pytest.raises(TapeError, match=r"Use tg\.stack"):
            tg.tensor([y, y])


# ---- immutability


def test_writing_into_a_tensor_raises_and_names_what_to_use_instead():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(ImmutableError, match=r"tg\.put\(x, i, v\).*tg\.scatter_add.*tg\.where.*test_tensor\.py:\d+"):
        x[0] = 3.0
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 3.0
    with pytest.raises(ValueError, match="read-only"):
        x.data[0] = 3.0
    with pytest.raises(AttributeError):
        x.shape = (2, 1)
    assert x.tolist() == [1.0, 2.0]


def test_the_ways_out_that_the_message_names_do_what_it_says():
    x = tg.tensor([1.0, 2.0])
    assert tg.put(x, 0, 3.0).tolist() == [3.0, 2.0]
    assert tg.scatter_add(x, 0, 3.0).tolist() == [4.0, 2.0]
    assert tg.where(x > 1.5, 3.0, x).tolist() == [1.0, 3.0]
    assert x.tolist() == [1.0, 2.0]


def test_augmented_assignment_rebinds_the_name():
    x = y = tg.tensor([1.0, 2.0])
    x += 1.0
    x *= 2.0
    assert x.tolist() == [4.0, 6.0]
    assert y.tolist() == [1.0, 2.0]
    assert x is not y


# ---- Parameter


def test_a_parameter_requires_a_gradient_and_changes_by_assign():
    w = tg.Parameter([1.0, 2.0])
    assert w.requires_grad
    assert w.dtype == np.float32
    w.assign(np.array([3.0, 4.0]))
    assert w.tolist() == [3.0, 4.0]
    assert w.dtype == np.float32
    w.assign(tg.tensor([5.0, 6.0], dtype="float64"))
    assert w.tolist() == [5.0, 6.0]
    assert w.dtype == np.float32
    with pytest.raises(ShapeError, match=r"expected shape \(2,\); got \(3,\)"):
        w.assign(np.ones(3))
    assert w.tolist() == [5.0, 6.0]


def test_a_grad_must_have_the_shape_of_its_tensor():
    w = tg.Parameter([1.0, 2.0])
    with pytest.raises(ShapeError, match=r"Tensor of shape \(2,\); got \(3,\)"):
        w.grad = tg.tensor([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError):
        w.grad = np.ones(2)


# ---- NumPy on either side


def test_a_numpy_array_on_the_left_gives_a_tensor_and_a_gradient():
    x = tg.tensor(np.arange(3.0))
    left = np.array([2.0, 3.0, 4.0])
    with tg.Tape() as tape:
        y = left * x + left - x
        z = tg.sum(np.exp(x) + np.float64(2.0) * y)
    assert isinstance(y, tg.Tensor)
    # two roundings for each of three terms
    close(tape.gradient(z, x), np.exp(x.numpy()) + 2 * (left - 1), 6)
    assert isinstance(left @ x, tg.Tensor)
    assert isinstance(left < x, tg.Tensor)


def test_numpy_functions_without_a_counterpart_raise_and_name_the_way_out():
    x = tg.tensor([1.0, 2.0])
    for call in (lambda: np.add.reduce(x), lambda: np.exp(x, out=np.ones(2)), lambda: np.cbrt(x)):
        with pytest.raises(DTypeError, match=r"does not take Tensors.*x\.numpy\(\)"):
            call()


def test_numpy_may_read_a_tensor_except_where_a_gradient_would_be_lost():
    x = tg.tensor([1.0, 2.0])
    assert np.asarray(x).tolist() == [1.0, 2.0]
    with tg.Tape():
        y = x * 2.0
        with pytest.raises(TapeError, match=r"the gradient would be lost.*x\.numpy\(\).*test_tensor\.py:\d+"):
            np.asarray(y)
        assert np.asarray(x).tolist() == [1.0, 2.0]
        assert y.numpy().tolist() == [2.0, 4.0]
    assert np.asarray(y).tolist() == [2.0, 4.0]


def test_numpy_may_not_read_what_an_outer_tape_recorded():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape():
        y = x * 2.0
        with tg.Tape():
            z = y * 2.0
            with pytest.raises(TapeError, match="the gradient would be lost"):
                np.asarray(y)
        with pytest.raises(TapeError, match="the gradient would be lost"):
            np.asarray(z)  # its own tape is left; the outer one still follows it


def test_a_copy_of_a_recorded_tensor_raises_because_its_gradient_would_be_lost():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape():
        y = x * 2.0
        assert tg.asarray(y) is y
        for call in (lambda: tg.tensor(y), lambda: tg.asarray(y, dtype="float64"), lambda: tg.asarray(y, copy=True)):
            with pytest.raises(TapeError, match=r"x\.astype\(dtype\).*x\.detach\(\)"):
                call()
        assert tg.tensor(x).tolist() == [1.0, 2.0]
        assert tg.tensor(y.detach()).tolist() == [2.0, 4.0]
    assert tg.tensor(y).tolist() == [2.0, 4.0]


def test_arrays_are_exchanged_by_dlpack_without_a_copy():
    x = tg.tensor(np.arange(3.0))
    assert np.shares_memory(np.from_dlpack(x), x._array)
    assert x.__array_namespace__().exp is tg.exp


# ---- single values, copies and printing


def test_a_tensor_of_one_entry_is_a_number_and_a_longer_one_raises():
    x = tg.tensor(2.5)
    assert (float(x), int(x), bool(x), x.item(), f"{x:.3f}") == (2.5, 2, True, 2.5, "2.500")
    assert [10, 20, 30][tg.tensor(1)] == 20
    pair = tg.tensor([1.0, 2.0])
    assert len(pair) == 2
    assert [v.item() for v in pair] == [1.0, 2.0]
    with pytest.raises(ShapeError, match=r"tg\.any\(x\) or tg\.all\(x\)"):
        bool(pair)
    with pytest.raises(ShapeError, match=r"shape \(2,\)"):
        pair.item()
    with pytest.raises(DTypeError, match="0-d"):
        len(x)
    with pytest.raises(DTypeError, match="float32"):
        [10, 20][x]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("make", [tg.tensor, tg.Parameter], ids=["tensor", "Parameter"])
def test_copies_and_pickles_keep_class_values_dtype_and_requires_grad(again, make):
    x = make(np.arange(3.0), requires_grad=True)
    with tg.Tape():
        y = again(x)
        z = again(x * 2.0)
    assert type(y) is type(x)
    assert y is not x
    assert y.tolist() == x.tolist()
    assert y.dtype == np.float64
    assert y.requires_grad
    assert y.backend == x.backend
    assert z._tape is None
    assert not z.requires_grad


def test_a_deep_copy_and_a_pickle_share_no_memory_with_the_original():
    w = tg.Parameter([1.0, 2.0])
    for other in (copy.deepcopy(w), pickle.loads(pickle.dumps(w))):
        assert not np.shares_memory(other._array, w._array)
        assert other._array.flags.writeable  # an optimizer may work in place


def test_detach_keeps_the_values_and_stops_the_gradient():
    x = tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        y = x * 3.0
        z = tg.sum(y.detach() * x)
    assert tape.gradient(z, x).tolist() == [3.0, 6.0]


@tg.backend("numpy")
def test_a_tensor_prints_its_values_dtype_and_what_is_unusual_about_it():
    assert repr(tg.tensor([1.0, 2.0])) == "Tensor([1., 2.], dtype=float32)"
    assert repr(tg.tensor([[1, 2], [3, 4]])) == "Tensor([[1, 2],\n        [3, 4]], dtype=int64)"
    assert repr(tg.tensor(1.0, requires_grad=True)) == "Tensor(1., dtype=float32, requires_grad=True)"
    assert repr(tg.Parameter([1.0])) == "Parameter([1.], dtype=float32, requires_grad=True)"
    assert str(tg.tensor(True)) == "Tensor(True, dtype=bool)"


def test_tensors_are_hashed_by_identity_and_compared_by_value():
    a, b = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.0])
    assert (a == b).tolist() == [True, True]
    assert (a != b).tolist() == [False, False]
    assert len({a, b, a}) == 2
