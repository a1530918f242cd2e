"""The strategies: values on the lattice, layouts, shapes, cotangents, cells."""

import math

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.testing.strategies import (
    CELLS,
    DOMAINS,
    broadcastable,
    cells,
    cotangents,
    shapes,
    tensors,
)

settings.register_profile("testing-strategies", deadline=None, max_examples=50)
FEW = settings.get_profile("testing-strategies")


@FEW
@given(st.data(), st.sampled_from(["float32", "float64"]), st.sampled_from(sorted(DOMAINS)))
def test_values_lie_on_the_lattice_and_in_their_domain(data, dtype, domain):
    x = data.draw(tensors(dtype=dtype, domain=domain, allow_empty=True))
    array = x.numpy().astype(np.float64)
    assert x.dtype == np.dtype(dtype)
    assert np.all((array * 32) % 2 == 1), "odd multiples of 2**-5"
    assert np.array_equal(array.astype(np.float16).astype(np.float64), array), "exact in every float type"
    inside = np.zeros(array.shape, bool)
    for low, high in DOMAINS[domain]:
        inside |= (low < array) & (array < high)
    assert inside.all()


@FEW
@given(st.data(), st.floats(-3, 3))
def test_values_keep_half_a_spacing_from_any_kink(data, kink):
    x = data.draw(tensors(shape=(5,), away_from=(kink, 0.5), spacing=2**-3))
    assert np.abs(x.numpy() - kink).min() >= 2**-4 and np.abs(x.numpy() - 0.5).min() >= 2**-4


@FEW
@given(tensors(shape=st.sampled_from([(30,), (3, 7), ()]), unique=True, domain="unit"))
def test_unique_values_differ(x):
    assert len(np.unique(x.numpy())) == x.size and np.abs(x.numpy()).max() < 1


@settings(FEW, max_examples=5)
@given(tensors(shape=(40, 10), unique=True), tensors(shape=(1000,), domain=(-1000, 1000), layouts=("C",)))
def test_large_tensors_are_drawn_from_a_seed(x, y):
    assert len(np.unique(x.numpy())) == 400
    assert np.abs(y.numpy()).max() < 1000 and len(np.unique(y.numpy())) > 500


def test_a_domain_with_too_few_values_is_divided_more_finely():
    x = find(tensors(shape=(20,), domain=(0, 1), spacing=0.25, unique=True), lambda x: True).numpy()
    assert len(np.unique(x)) == 20 and x.min() > 0 and x.max() < 1


def test_integers_and_booleans():
    whole = find(tensors(shape=(4,), dtype="int64", unique=True), lambda x: True)
    assert whole.dtype == np.int64 and len(set(whole.tolist())) == 4 and 0 not in whole.tolist()
    assert find(tensors(shape=(2,), dtype="bool"), lambda x: x.numpy().any()).dtype == bool


@pytest.mark.parametrize("layout", ["C", "F", "strided", "broadcast"])
def test_memory_layouts(layout):
    seen = []

    @settings(FEW, max_examples=30, database=None)
    @given(tensors(shape=(3, 4), layouts=(layout,)))
    def look(x):
        array = x._array
        assert x.shape == (3, 4) and np.isfinite(array).all()
        seen.append((array.flags.c_contiguous, array.flags.f_contiguous, 0 in array.strides))

    look()
    expected = {"C": (True, False, False), "F": (False, True, False)}.get(layout, (False, False, layout == "broadcast"))
    assert set(seen) == {expected}


def test_every_layout_and_shape_is_reached():
    kinds = tensors(allow_empty=True)
    find(kinds, lambda x: x.ndim == 0)
    find(kinds, lambda x: x.size == 0)
    find(kinds, lambda x: x.ndim == 3 and min(x.shape) > 1)
    find(kinds, lambda x: x.ndim == 2 and any(stride < 0 for stride in x._array.strides))
    find(kinds, lambda x: x.size > 2 and 0 in x._array.strides)


def test_values_shrink_to_the_simplest():
    assert find(tensors(), lambda x: True).tolist() == 0.03125
    assert find(tensors(shape=(3,)), lambda x: x.numpy()[1] < 0).tolist() == [0.03125, -0.03125, 0.03125]
    assert find(tensors(domain="above_one", shape=(1,)), lambda x: True).tolist() == [1.03125]


@FEW
@given(shapes(1, 2, 2, 3), shapes(allow_empty=True), shapes(allow_scalar=False))
def test_shapes_keep_their_bounds(a, b, c):
    assert 1 <= len(a) <= 2 and all(2 <= side <= 3 for side in a)
    assert len(b) <= 3 and all(0 <= side <= 4 for side in b)
    assert len(c) >= 1 and min(c) >= 1


@FEW
@given(broadcastable(3, allow_empty=True, dtype="float32", domain="positive"))
def test_broadcastable_shapes_broadcast(parts):
    shape = np.broadcast_shapes(*[x.shape for x in parts])
    assert (parts[0] + parts[1] * parts[2]).shape == shape
    assert all(x.dtype == np.float32 and (x.numpy() > 0).all() for x in parts)


def test_broadcastable_reaches_every_kind_of_stretching():
    pairs = broadcastable(2)
    find(pairs, lambda p: p[0].ndim == 2 and p[1].ndim == 1)
    find(pairs, lambda p: p[0].ndim == p[1].ndim == 2 and p[0].shape[0] == 1 < p[1].shape[0])
    find(pairs, lambda p: p[0].ndim == 0 < p[1].ndim)
    with pytest.raises(tg.errors.ArgumentError, match="shapes itself"):
        broadcastable(2, shape=(3,))


@FEW
@given(st.data(), tensors(dtype="float32", allow_empty=True))
def test_cotangents_fit_what_they_are_for(data, y):
    v, (w, u) = data.draw(cotangents(y)), data.draw(cotangents((y, tg.ones((2, 2), dtype="float64"))))
    assert (v.shape, v.dtype, v.backend) == (y.shape, y.dtype, y.backend) == (w.shape, w.dtype, w.backend)
    assert u.shape == (2, 2) and u.dtype == np.float64
    assert np.all((np.abs(v.numpy()) > 0.5) & (np.abs(v.numpy()) < 1))


@FEW
@given(cells(), st.integers(1, 8))
def test_a_cell_runs_and_has_gradients(case, steps):
    cell, xs, loss = case.run(steps)
    assert xs.shape[0] == min(steps, case.steps) and xs.shape[1] == case.batch
    result = tg.gradients.BPTT().gradient(cell, xs, loss)
    assert result.loss.shape == () and math.isfinite(result.loss.item())
    for name, parameter in cell.named_parameters():
        gradient = result.gradients[name]
        assert (
            gradient.shape == parameter.shape and gradient.dtype == np.float64 and np.isfinite(gradient.numpy()).all()
        )


def test_every_cell_is_reached():
    first = settings(deadline=None, max_examples=1000, database=None, phases=[Phase.generate])
    for kind in (tg.rnn.ElmanCell, tg.rnn.GRUCell, tg.rnn.LSTMCell, tg.rnn.StackedCell):
        find(cells(), lambda case, kind=kind: type(case.cell) is kind and case.steps > 2, settings=first)
    for name in CELLS:
        case = find(cells([name], dtype="float32"), lambda case: True, settings=first)
        assert case.xs.dtype == np.float32 and all(p.dtype == np.float32 for p in case.cell.parameters())
    stack = find(cells(["stacked"]), lambda case: len(list(case.cell.parameters())) == 8, settings=first)
    assert isinstance(stack.cell, tg.rnn.StackedCell)


@FEW
@given(cells(["elman_relu"]))
def test_a_relu_cell_stays_away_from_its_kink(case):
    h = case.cell.initial_state(case.batch)
    w_ih, w_hh, b_ih, b_hh = [p.numpy() for p in case.cell.weights()]
    for x in case.xs:
        before = x.numpy() @ w_ih.T + h.numpy() @ w_hh.T + b_ih + b_hh
        assert np.abs(before).min() > 0.25
        h = case.cell(x, h)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: tensors(domain="imaginary"),
        lambda: tensors(domain=(2, 1)),
        lambda: tensors(layouts=("C", "diagonal")),
        lambda: tensors(domain=(0.2, 0.8), dtype="int64"),
        lambda: shapes(3, 2),
        lambda: cells(["transformer"]),
    ],
)
def test_wrong_arguments_are_named_at_once(wrong):
    with pytest.raises(tg.errors.ArgumentError):
        wrong()
