"""Trajectories, readouts and predictions are reservoirpy's, on equal matrices.

The committed numbers are compared always; where reservoirpy is installed, they are computed anew.
"""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from tinygrad_rnn import esn

reference = runpy.run_path(str(Path(__file__).with_name("make_reservoirpy_reference.py")))
CASES, case, EVERY = reference["CASES"], reference["case"], reference["EVERY"]
TOLERANCE = 1e-10


def model_of(made, **options):
    w = csr_array(made["w"]) if made["sparse"] else made["w"]
    return esn.ESN(
        w=w,
        w_in=made["w_in"],
        w_feedback=made["w_feedback"] if made["feedback"] else None,
        bias=made["bias"],
        leak=made["leak"],
        feedback=made["feedback"],
        input_to_readout=made["input_to_readout"],
        ridge=reference["RIDGE"],
        washout=reference["WARMUP"],
        **options,
    )


def by_this_library(name, solver="svd", backend="numpy"):
    made = case(name)
    many = len(made["series"]) > 1
    x, y = (made["series"], made["targets"]) if many else (made["series"][0], made["targets"][0])
    model = model_of(made, solver=solver, backend=backend).fit(x, y)
    predictions = model.predict(x)
    found = {
        "states": [],
        "weights": model.readout_.weights.tolist(),
        "intercept": model.readout_.intercept.tolist(),
        "predictions": [each[::EVERY].tolist() for each in (predictions if many else [predictions])],
    }
    for u, target in zip(made["series"], made["targets"]):
        if made["feedback"]:
            u = np.hstack((u, np.vstack((np.zeros((1, 1)), target[:-1]))))
        found["states"].append(model.reservoir_.run(u)[0].numpy()[[0, 1, -1]].tolist())
    if made["closed_loop"]:
        found["free"] = model.generate(reference["FREE"], prime=x).tolist()
    return found


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for key in wanted:
        for a, b in zip(found[key], wanted[key], strict=True):
            assert np.abs(np.array(a) - np.array(b)).max() < TOLERANCE, key


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("solver", ["svd", "qr", "normal"])
def test_the_numbers_are_those_of_the_reference_file(name, solver):
    assert_same(by_this_library(name, solver), json.loads(reference["PATH"].read_text())[name])


@pytest.mark.parametrize("name", CASES)
def test_so_are_those_of_compiled_loops(name):
    assert_same(by_this_library(name, backend="numba"), json.loads(reference["PATH"].read_text())[name])


@pytest.mark.parametrize("name", CASES)
def test_the_reference_file_is_what_reservoirpy_computes(name):
    pytest.importorskip("reservoirpy")
    assert_same(reference["by_reservoirpy"](name), json.loads(reference["PATH"].read_text())[name])
