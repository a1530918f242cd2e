"""RNN, GRU and LSTM compute what torch's do: outputs, states and gradients, under the same names.

`torch_reference.json` keeps torch's results for a handful of networks (make_torch_reference.py wrote it), so the
comparison runs without torch; with torch it runs over every combination of options.

Tolerances: a network of T = 4 steps and two layers is a chain of at most 2 · 2 · 4 · (2H + H + 8) < 300 roundings,
forward and back, in each of the two programs. As a random walk they come to √600 eps < 25 eps of the largest entry:
3e-6 in float32, 6e-15 in float64. 1e-5 and 1e-10 are what a user may rely on.
"""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import rnn

HERE = Path(__file__).parent
REFERENCE = json.loads((HERE / "torch_reference.json").read_text())
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
KINDS = {
    "RNN tanh": (rnn.RNN, {"nonlinearity": "tanh"}),
    "RNN relu": (rnn.RNN, {"nonlinearity": "relu"}),
    "GRU": (rnn.GRU, {}),
    "LSTM": (rnn.LSTM, {}),
}


def ours(case, dtype):
    """The same network here, with the same weights."""
    make, more = KINDS[case["kind"]]
    size, hidden = np.shape(case["inputs"]["xs"])[-1], np.shape(case["weights"]["weight_hh_l0"])[1]
    learned = case["start"] == "learned"
    batch_first = case["layout"] == "batch first"
    net = make(
        size, hidden, batch_first=batch_first, learned_initial_state=learned, dtype=dtype, **more, **case["options"]
    )
    starts = {key: case["inputs"][key] for key in ("h_0", "c_0")[: net.parts]} if learned else {}
    net.load_state_dict({key: np.asarray(value) for key, value in (case["weights"] | starts).items()})
    return net


def check(case, dtype, fused):
    """Assert that the network here gives the results in `case`, relative to the largest entry of each (or to 1)."""
    net = ours(case, dtype)
    inputs = {key: tg.tensor(np.asarray(value, dtype)) for key, value in case["inputs"].items()}
    parts = [inputs[key] for key in ("h_0", "c_0")[: net.parts]] if case["start"] == "given" else []
    state = None if not parts else tuple(parts) if net.parts == 2 else parts[0]
    with tg.Tape() as tape:
        ys, last = net(inputs["xs"], state, lengths=case["lengths"], fused=fused)
        last = last if net.parts == 2 else (last,)
        loss = tg.sum(tg.sin(ys))
        for k, part in enumerate(last):
            loss = loss + (k + 1.0) * tg.sum(tg.cos(part))
    sources = inputs | dict(net.named_parameters())
    assert sources.keys() == case["gradients"].keys()
    gradients = tape.gradient(loss, sources)
    pairs = {"ys": (ys, case["ys"])}
    pairs |= {f"state {k}": (part, wanted) for k, (part, wanted) in enumerate(zip(last, case["state"], strict=True))}
    pairs |= {f"gradient of {key}": (gradients[key], wanted) for key, wanted in case["gradients"].items()}
    for what, (found, wanted) in pairs.items():
        found, wanted = found.numpy(), np.asarray(wanted)
        assert found.shape == wanted.shape, what
        assert found.dtype == dtype, what
        error = np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max())
        assert error <= TOLERANCE[dtype], f"{what}: {error:.2e}"


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "composed"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("number", range(len(REFERENCE["cases"])))
def test_results_are_those_that_torch_wrote_down(number, dtype, fused):
    check(REFERENCE["cases"][number], dtype, fused)


def test_the_reference_has_every_kind_and_is_not_trivial():
    assert {case["kind"] for case in REFERENCE["cases"]} == set(KINDS)
    for case in REFERENCE["cases"]:
        for values in (case["ys"], *case["state"], *case["gradients"].values()):
            assert np.abs(np.asarray(values)).max() > 1e-3


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "composed"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("start", ["default", "given", "learned"])
@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_torch(kind, start, dtype, fused):
    pytest.importorskip("torch")
    reference = runpy.run_path(str(HERE / "make_torch_reference.py"))["case"]
    seed = 0
    for layers in (1, 2):
        for bidirectional in (False, True):
            for bias in (True, False):
                for layout in ("time first", "batch first", "unbatched"):
                    for lengths in (None, [4, 2], [1, 3]) if layout != "unbatched" else (None,):
                        options = {"num_layers": layers, "bidirectional": bidirectional, "bias": bias}
                        seed += 1
                        more = {"layout": layout, "start": start, "lengths": lengths, "dtype": dtype, "seed": seed}
                        check(reference(kind, options, **more), dtype, fused)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_travels_both_ways(kind, bias, bidirectional):
    torch = pytest.importorskip("torch")
    make, more = KINDS[kind]
    options = {"num_layers": 2, "bias": bias, "bidirectional": bidirectional} | more
    net = make(3, 4, rng=0, **options)
    theirs = getattr(torch.nn, make.__name__)(3, 4, **options)
    names = {name: tuple(value.shape) for name, value in theirs.named_parameters()}
    assert list(names.items()) == [(name, value.shape) for name, value in net.named_parameters()]
    assert any(name.endswith("_reverse") for name in names) == bidirectional
    xs = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32")

    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in net.state_dict().items()})
    there = theirs(torch.from_numpy(xs))[0].detach().numpy()
    assert np.abs(net(tg.tensor(xs))[0].numpy() - there).max() <= TOLERANCE["float32"]

    back = make(3, 4, rng=1, **options)
    assert np.abs(back(tg.tensor(xs))[0].numpy() - there).max() > 1e-3
    back.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    for name, value in net.state_dict().items():
        assert np.array_equal(value, back.state_dict()[name]), name
