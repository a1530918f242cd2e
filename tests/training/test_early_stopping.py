"""EarlyStopping: when it stops, what it restores, and how it continues."""

import json
import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, StateDictError
from tinygrad_rnn.training import EarlyStopping


def run(stopping, values, model=None):
    return [stopping.update(value, model, step) for step, value in enumerate(values)]


def test_it_stops_after_as_many_validations_without_improvement_as_patience_says():
    stopping = EarlyStopping(3, restore=False)
    assert run(stopping, [5, 4, 6, 6, 3, 3, 4, 5]) == [False] * 7 + [True]
    assert (stopping.best, stopping.best_step, stopping.waited) == (3.0, 4, 3)


def test_it_can_watch_a_metric_that_should_rise():
    stopping = EarlyStopping(2, mode="max", restore=False)
    assert run(stopping, [0.5, 0.7, 0.6, 0.7]) == [False, False, False, True]
    assert stopping.best == 0.7


def test_a_change_below_min_delta_is_no_improvement():
    stopping = EarlyStopping(2, min_delta=0.5, restore=False)
    assert run(stopping, [5.0, 4.6, 4.5]) == [False, False, True]
    assert stopping.best == 5.0


def test_nan_is_no_improvement_even_at_first():
    stopping = EarlyStopping(2, restore=False)
    assert run(stopping, [math.nan, 3.0, math.nan, math.nan]) == [False, False, False, True]
    assert stopping.best == 3.0


def test_the_best_weights_come_back_with_the_buffers():
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.BatchNorm(3))
    stopping = EarlyStopping(1)
    kept = None
    for step, value in enumerate([3.0, 1.0, 2.0]):
        model(tg.tensor(np.random.default_rng(step).standard_normal((4, 2)).astype("float32")))
        model[0].weight.assign(np.full((3, 2), float(step), np.float32))
        if value == 1.0:
            kept = model.state_dict()
        stopping.update(value, model, step)
    assert stopping.should_stop
    assert stopping.restore_best(model) == 1.0
    for name, array in model.state_dict().items():
        assert_array_equal(array, kept[name])


def test_it_continues_from_its_saved_state_as_if_it_had_not_stopped():
    values = [5, 4, 4.5, 3, 3.5, 3.2, 3.1]
    model = nn.Linear(1, 1, rng=0)
    for cut in range(len(values)):
        first, second, whole = EarlyStopping(3), EarlyStopping(3), EarlyStopping(3)
        expected = run(whole, values, model)
        found = run(first, values[:cut], model)
        saved = first.state_dict()
        weights = saved.pop("weights")
        second.load_state_dict({**json.loads(json.dumps(saved)), "weights": weights})
        found += [second.update(value, model, step) for step, value in enumerate(values[cut:], start=cut)]
        assert found == expected
        assert (second.best, second.best_step, second.waited) == (whole.best, whole.best_step, whole.waited)
        assert second.restore_best(model) == 3.0


def test_it_names_what_is_wrong():
    for patience in (0, -1, 1.5, True, None):
        with pytest.raises(ArgumentError, match="at least 1; got"):
            EarlyStopping(patience)
    with pytest.raises(ArgumentError, match='"min" .* or "max"'):
        EarlyStopping(1, mode="lowest")
    for min_delta in (-1, math.nan, math.inf):
        with pytest.raises(ArgumentError, match="min_delta"):
            EarlyStopping(1, min_delta=min_delta)
    with pytest.raises(ArgumentError, match="needs the model"):
        EarlyStopping(1).update(1.0)
    with pytest.raises(ArgumentError, match="no best weights"):
        EarlyStopping(1).restore_best(nn.Linear(1, 1, rng=0))
    with pytest.raises(StateDictError, match="lacks best_step"):
        EarlyStopping(1).load_state_dict({"best": 1.0, "waited": 0, "weights": None})
    good = {"best": 1.0, "best_step": 3, "waited": 0, "weights": None}
    for name, bad in (("best", "low"), ("waited", -1), ("waited", None), ("best_step", 1.5), ("weights", [1])):
        with pytest.raises(StateDictError, match=f"has {name} ="):
            EarlyStopping(1).load_state_dict({**good, name: bad})


def test_the_weights_of_another_architecture_do_not_come_back():
    stopping = EarlyStopping(1)
    stopping.update(1.0, nn.Linear(2, 3, rng=0))
    with pytest.raises(StateDictError, match="weight: expected shape"):
        stopping.restore_best(nn.Linear(3, 3, rng=0))
