"""Write reservoirpy_reference.json: what reservoirpy computes for the cases of test_reservoirpy_parity.py.

Run ``python tests/esn/make_reservoirpy_reference.py`` where reservoirpy is installed. The matrices are made by `case`
from a seed, so the file holds results only.
"""

import json
from pathlib import Path

import numpy as np

STEPS, UNITS, RIDGE, WARMUP, FREE, EVERY = 60, 12, 1e-3, 10, 8, 4
CASES = {
    "dense": {"inputs": 2},
    "sparse with leak": {"inputs": 2, "sparse": True, "leak": 0.3},
    "vector leak": {"inputs": 1, "leak": "vector"},
    "input to readout": {"inputs": 2, "input_to_readout": True},
    "feedback": {"inputs": 1, "feedback": True, "leak": 0.6},
    "several series": {"inputs": 2, "series": 3, "sparse": True},
    "closed loop": {"inputs": 1, "closed_loop": True, "leak": 0.8},
}
PATH = Path(__file__).with_name("reservoirpy_reference.json")


def case(name):
    """The matrices and the series of a case: a dict that both libraries are fed from."""
    options = CASES[name]
    rng = np.random.default_rng(list(CASES).index(name))
    inputs = options["inputs"]
    w = rng.normal(size=(UNITS, UNITS))
    if options.get("sparse"):
        w *= rng.random((UNITS, UNITS)) < 0.3
    w *= 0.9 / np.abs(np.linalg.eigvals(w)).max()
    leak = options.get("leak", 1.0)
    leak = rng.uniform(0.2, 1.0, UNITS) if leak == "vector" else leak
    made = {
        "w": w,
        "w_in": rng.uniform(-1, 1, (UNITS, inputs)),
        "w_feedback": rng.uniform(-1, 1, (UNITS, 1)),
        "bias": rng.uniform(-0.3, 0.3, UNITS),
        "leak": leak,
        **{key: options.get(key, False) for key in ("sparse", "input_to_readout", "feedback", "closed_loop")},
    }
    series, targets = [], []
    for k in range(options.get("series", 1)):
        u = rng.uniform(-1, 1, (STEPS + 5 * k, inputs))
        if options.get("closed_loop"):
            u = np.sin(0.3 * np.arange(STEPS + 1.0))[:, None] * np.cos(0.11 * np.arange(STEPS + 1.0))[:, None]
            series.append(u[:-1])
            targets.append(u[1:])
        else:
            series.append(u)
            targets.append(np.tanh(np.cumsum(u, axis=0)[:, :1] * 0.3) + 0.5 * u[:, :1])
    return made | {"series": series, "targets": targets}


def by_reservoirpy(name):
    """States, readout and predictions by reservoirpy."""
    import scipy.sparse
    from reservoirpy import ESN
    from reservoirpy.nodes import Reservoir, Ridge

    made = case(name)
    w = scipy.sparse.csr_array(made["w"]) if made["sparse"] else made["w"]
    w_in = np.hstack((made["w_in"], made["w_feedback"])) if made["feedback"] else made["w_in"]

    def reservoir():
        return Reservoir(W=w, Win=w_in, bias=made["bias"], lr=made["leak"])

    def driven(x, y):
        """The inputs of the reservoir; with feedback the target of the step before stands beside them."""
        return np.hstack((x, np.vstack((np.zeros((1, 1)), y[:-1])))) if made["feedback"] else x

    states = [reservoir().run(driven(x, y)) for x, y in zip(made["series"], made["targets"])]
    readout = Ridge(ridge=RIDGE)
    if made["feedback"]:  # a model with feedback teaches with columns in another order than it runs with
        readout.fit(states[0][WARMUP:], made["targets"][0][WARMUP:])
        model = ESN(reservoir=reservoir(), readout=readout, feedback=True)
    else:
        model = ESN(reservoir=reservoir(), readout=readout, input_to_readout=made["input_to_readout"])
        many = len(made["series"]) > 1
        model.fit(
            made["series"] if many else made["series"][0],
            made["targets"] if many else made["targets"][0],
            warmup=WARMUP,
        )
    if made["feedback"]:
        model.initialize(made["series"][0], made["targets"][0])
    model.reset()
    predictions = []
    for x in made["series"]:
        model.reset()
        predictions.append(model.run(x))
    found = {
        "states": [each[[0, 1, -1]].tolist() for each in states],
        "weights": readout.Wout.tolist(),
        "intercept": np.ravel(readout.bias).tolist(),
        "predictions": [each[::EVERY].tolist() for each in predictions],
    }
    if made["closed_loop"]:
        free, y = [], predictions[0][-1]
        for _ in range(FREE):
            free.append(np.ravel(y).tolist())
            y = model.run(np.reshape(y, (1, -1)))[0]
        found["free"] = free
    return found


if __name__ == "__main__":
    PATH.write_text(json.dumps({name: by_reservoirpy(name) for name in CASES}) + "\n")
