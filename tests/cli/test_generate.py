"""generate: text from a trained model, and one clear line for whatever is wrong with the file."""

import json
import pickle
import shutil
import struct

import numpy as np
import pytest

from tinygrad_rnn import cli
from tinygrad_rnn.training import load_snapshot, save_snapshot

TINY = ["--steps", "3", "--hidden", "8", "--embedding", "4", "--layers", "2", "--window", "8", "--batch", "4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The snapshot of a short run on the grammar."""
    runs = tmp_path_factory.mktemp("runs")
    assert cli.main(["train", "--grammar", *TINY, "--runs", str(runs)]) == 0
    return runs / "grammar" / "model.safetensors"


@pytest.fixture
def run(capsys):
    """Run generate; returns its status and both outputs."""

    def call(*arguments):
        capsys.readouterr()
        return cli.main(["generate", *map(str, arguments)]), *capsys.readouterr()

    return call


def test_the_prompt_and_as_many_characters_as_asked_for(run, trained):
    code, out, err = run(trained, "--prompt", "(1+2)", "--length", 30)
    assert (code, err) == (0, "")
    assert out.startswith("(1+2)")
    assert len(out) == len("(1+2)") + 30 + 1
    assert set(out) <= set("0123456789+-*()=;\n")  # never the unknown character


def test_a_folder_is_as_good_as_the_file_in_it(run, trained):
    assert run(trained.parent) == run(trained)


def test_the_seed_decides_unless_the_temperature_is_0(run, trained):
    assert run(trained, "--seed", 1) == run(trained, "--seed", 1)
    assert run(trained, "--seed", 1) != run(trained, "--seed", 2)
    assert run(trained, "--seed", 1, "--temperature", 0) == run(trained, "--seed", 2, "--temperature", 0)


def test_a_temperature_near_0_takes_the_likeliest(run, trained):
    assert run(trained, "--temperature", "5e-324") == run(trained, "--temperature", 0)


def test_unknown_characters_of_the_prompt_are_named(run, trained):
    code, out, err = run(trained, "--prompt", "1ä+ä\udcff", "--length", 5)
    assert code == 0
    assert out.startswith("1ä+ä?")  # a lone surrogate cannot be printed
    assert err == "note: the model does not know '\\xe4', '\\udcff'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--length", 0], "--length must be at least 1; got 0"),
        (["--length", -5], "--length must be at least 1; got -5"),
        (["--temperature", -0.5], "--temperature must be a number of at least 0; got -0.5"),
        (["--temperature", "nan"], "--temperature must be a number of at least 0; got nan"),
        (["--temperature", "inf"], "--temperature must be a number of at least 0; got inf"),
        (["--seed", -1], "a seed is an integer >= 0"),
        (["--backend", "abacus"], 'there is no backend "abacus"'),
    ],
)
def test_options_out_of_range(run, trained, arguments, message):
    code, out, err = run(trained, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {message}")


def test_ctrl_c_is_a_status(run, trained, monkeypatch):
    def interrupted(*_):
        yield "7"
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygrad_rnn.cli.generate.sample", interrupted)
    assert run(trained) == (130, "7", "stopped\n")


# ---- files that are not a model


def altered(path, target, change):
    """Copy a snapshot, with its arrays and its metadata changed by a function."""
    arrays, metadata = load_snapshot(path)
    change(arrays, metadata)
    save_snapshot(target, arrays, metadata)


def poison(arrays, _):
    arrays["model.readout.bias"] = np.full_like(arrays["model.readout.bias"], np.nan)


CHANGES = {
    "hidden of 10**9": (lambda a, m: m["sizes"].update(hidden=10**9), "hidden is 1000000000; expected an integer from"),
    "layers of 10**9": (lambda a, m: m["sizes"].update(layers=10**9), "layers is 1000000000"),
    "vocabulary of 10**9": (lambda a, m: m["sizes"].update(vocabulary=10**9), "vocabulary is 1000000000"),
    "negative size": (lambda a, m: m["sizes"].update(embedding=-1), "embedding is -1"),
    "size is true": (lambda a, m: m["sizes"].update(layers=True), "layers is True"),
    "size is a text": (lambda a, m: m["sizes"].update(layers="2"), "layers is '2'"),
    "more layers than arrays": (lambda a, m: m["sizes"].update(layers=200), "lacks the array model.lstm.weight_ih_l2"),
    "fewer layers than arrays": (lambda a, m: m["sizes"].update(layers=1), "holds arrays that no run wrote"),
    "no sizes": (lambda a, m: m.pop("sizes"), "not one of a character model"),
    "another size": (lambda a, m: m["sizes"].update(depth=3), "not one of a character model"),
    "wrong shape": (lambda a, m: a.update({"model.readout.bias": np.ones(3, "f")}), "readout.bias has shape (3,)"),
    "wrong dtype": (
        lambda a, m: a.update({"model.readout.bias": a["model.readout.bias"].astype("f8")}),
        "readout.bias is of float64; expected float32",
    ),
    "missing array": (lambda a, m: a.pop("model.lstm.bias_hh_l1"), "lacks the array model.lstm.bias_hh_l1"),
    "extra array": (lambda a, m: a.update({"model.x": np.ones(1)}), "arrays that no run wrote: 'model.x'"),
    "extra part": (lambda a, m: a.update({"evil\x1b": np.ones(1)}), r"arrays that no run wrote: 'evil\x1b'"),
    "NaN": (poison, "weights are not all finite"),
    "no vocabulary": (lambda a, m: m.pop("vocabulary"), "the snapshot's vocabulary is damaged"),
    "vocabulary of words": (lambda a, m: m.update(vocabulary=["ab", "c"]), "the snapshot's vocabulary is damaged"),
    "vocabulary is a text": (lambda a, m: m.update(vocabulary="abc"), "the snapshot's vocabulary is damaged"),
    "shorter vocabulary": (lambda a, m: m["vocabulary"].pop(), "18 characters and a model for 19"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_snapshot_that_does_not_fit_is_an_error_line(run, trained, tmp_path, name):
    change, message = CHANGES[name]
    altered(trained, tmp_path / "model.safetensors", change)
    code, out, err = run(tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_vocabulary_that_cannot_be_printed_is_printed_as_question_marks(run, trained, tmp_path):
    def change(_, metadata):
        known = metadata["vocabulary"]
        known[:] = [each if each == "\ufffd" else chr(0xD800 + i) for i, each in enumerate(known)]

    altered(trained, tmp_path / "model.safetensors", change)
    code, out, err = run(tmp_path, "--length", 5)
    assert (code, out, err) == (0, "?????\n", "")


def cut(share):
    return lambda whole: whole[: int(len(whole) * share)]


BROKEN = {
    "empty": lambda whole: b"",
    "7 bytes": lambda whole: whole[:7],
    "cut in the header": cut(0.01),
    "cut in the middle": cut(0.5),
    "the last byte gone": lambda whole: whole[:-1],
    "huge header": lambda whole: struct.pack("<Q", 2**60) + whole[8:],
    "header no object": lambda whole: struct.pack("<Q", 2) + b"[]",
    "pickle": lambda whole: pickle.dumps({"weights": [1.0]}),
    "text": lambda whole: b"import this\n" * 99,
    "another's": lambda whole: struct.pack("<Q", 2) + b"{}",
    "zeros": lambda whole: bytes(len(whole)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_an_error_line(run, trained, tmp_path, name):
    path = tmp_path / "model.safetensors"
    path.write_bytes(BROKEN[name](trained.read_bytes()))
    code, out, err = run(path)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {path}")
    assert err.count("\n") == 1


def test_no_file(run, tmp_path):
    code, _, err = run(tmp_path / "nowhere")
    assert (code, err) == (1, f"error: there is no snapshot {tmp_path / 'nowhere'}\n")
    code, _, err = run(tmp_path)
    assert (code, err) == (1, f"error: there is no snapshot {tmp_path / 'model.safetensors'}\n")


def test_what_resume_needs_generate_does_not(run, trained, tmp_path):
    """A model can be passed on without the optimiser and without the run."""

    def change(arrays, metadata):
        for name in list(arrays):
            if not name.startswith("model."):
                del arrays[name]
        for name in set(metadata) - {"sizes", "vocabulary"}:
            del metadata[name]

    altered(trained, tmp_path / "model.safetensors", change)
    assert run(tmp_path) == run(trained)


# ---- what only resume reads


RESUME = {
    "no step": (lambda a, m: m.pop("step"), "step"),
    "negative step": (lambda a, m: m.update(step=-1), "step is -1"),
    "step is a text": (lambda a, m: m.update(step="3"), "step is '3'"),
    "step beyond the end": (lambda a, m: m.update(step=10**9), "step is 1000000000 of 3"),
    "no sums": (lambda a, m: m.pop("since"), "since"),
    "sums of nothing": (lambda a, m: m.update(since={}), "the sums since the last line are {}"),
    "a sum is a text": (lambda a, m: m["since"].update(loss="x"), "loss is 'x'"),
    "no lines": (lambda a, m: m.update(lines=[]), "nothing is known of its 3 steps"),
    "lines of numbers": (lambda a, m: m.update(lines=[1]), "lines"),
    "a line lacks a column": (lambda a, m: m["lines"][0].pop("clipped"), "clipped"),
    "no settings": (lambda a, m: m.pop("settings"), "lacks the settings"),
    "a setting too many": (lambda a, m: m["settings"].update(extra=1), "lacks the settings"),
    "a batch of 10**9": (lambda a, m: m["settings"].update(batch=10**9), "is too short for 1000000000 lanes"),
    "a negative window": (lambda a, m: m["settings"].update(window=-3), "--window must be a whole number"),
    "a rate that is no number": (lambda a, m: m["settings"].update(lr=float("nan")), "--lr must be a finite number"),
    "settings for another model": (lambda a, m: m["settings"].update(hidden=9), "settings say hidden 9, its sizes 8"),
    "another batch": (lambda a, m: m["settings"].update(batch=5), "carried state does not fit"),
    "no source": (lambda a, m: m.pop("source"), "on which text it was trained"),
    "a source of another kind": (lambda a, m: m["source"].update(kind="web"), "on which text it was trained"),
    "files that are numbers": (lambda a, m: m.update(source={"kind": "files", "files": [1]}), "on which text it was"),
    "another text": (lambda a, m: m.update(sha256="0" * 64), "the text has changed since the run began"),
    "a backend that is none": (lambda a, m: m.update(backend=["numpy"]), "there is no backend"),
    "no optimiser": (lambda a, m: a.pop("optimizer.0.mean"), "optimiser or its carried state does not fit"),
    "a wrong optimiser": (lambda a, m: a.update({"optimizer.0.mean": np.ones(2)}), "does not fit the model"),
    "an optimiser at another step": (lambda a, m: a.update({"optimizer.0.step": np.int64(2).reshape(())}), "3 steps"),
    "a negative square": (lambda a, m: np.negative(a["optimizer.0.square"], a["optimizer.0.square"]), "negative"),
    "a state that is infinite": (lambda a, m: a["stream.0"].fill(np.inf), "is not finite"),
    "no state": (lambda a, m: a.pop("stream.1"), "carried state does not fit"),
}


@pytest.mark.parametrize("name", RESUME)
def test_a_run_whose_state_is_damaged_is_not_resumed(capsys, trained, tmp_path, name):
    change, message = RESUME[name]
    altered(trained, tmp_path / "model.safetensors", change)
    capsys.readouterr()
    before = (tmp_path / "model.safetensors").read_bytes()
    assert cli.main(["train", "--resume", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert (tmp_path / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "another's"])
def test_a_broken_file_is_not_resumed(capsys, trained, tmp_path, name):
    shutil.copytree(trained.parent, tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    path.write_bytes(BROKEN[name](path.read_bytes()))
    capsys.readouterr()
    assert cli.main(["train", "--resume", str(tmp_path / "run")]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert all(json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
