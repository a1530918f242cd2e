"""train: what it prints and writes, that it learns, that it can be stopped anywhere, and what it refuses."""

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn import backends, cli
from tinygrad_rnn.cli import training_run
from tinygrad_rnn.cli.console import LiveLine
from tinygrad_rnn.training import load_snapshot

TINY = ["--grammar", "--hidden", "16", "--embedding", "8", "--window", "16", "--batch", "8"]
SHORT = [*TINY, "--steps", "12", "--every", "5"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    """Every test has a working folder of its own, and a short sample."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training_run, "SAMPLE", 20)


@pytest.fixture
def train(capsys):
    """Run train; returns its status and both outputs."""

    def call(*arguments):
        capsys.readouterr()
        return cli.main(["train", *map(str, arguments)]), *capsys.readouterr()

    return call


def stopping_at(monkeypatch, step, stop):
    """Call stop(run) after a step of the next run."""
    one_step = training_run.TrainingRun._one_step

    def step_and_stop(run):
        bits = one_step(run)
        if run.step == step:
            stop(run)
        return bits

    monkeypatch.setattr(training_run.TrainingRun, "_one_step", step_and_stop)


def ctrl_c(_):
    signal.raise_signal(signal.SIGINT)


def without_speed(lines):
    return [{key: value for key, value in line.items() if key != "characters_per_second"} for line in lines]


def read_lines(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def assert_same_run(one, other):
    """Weights, optimiser, carried state: bit for bit. Lines, sums and step: equal, but for the speed."""
    (arrays, metadata), (others, more) = (load_snapshot(Path(each) / "model.safetensors") for each in (one, other))
    assert set(arrays) == set(others)
    for name, array in arrays.items():
        assert array.dtype == others[name].dtype
        assert array.tobytes() == others[name].tobytes(), name
    assert without_speed(metadata.pop("lines")) == without_speed(more.pop("lines"))
    assert metadata == more
    assert without_speed(read_lines(one)) == without_speed(read_lines(other))
    assert {each.name for each in Path(one).iterdir()} == {each.name for each in Path(other).iterdir()}


# ---- a run


def test_it_prints_what_it_does_and_beats_the_unigram_baseline(train):
    code, out, err = train(*TINY, "--steps", 120, "--every", 40, "--lr", "0.02")
    assert (code, err) == (0, "")
    said = [line.strip() for line in out.splitlines()]
    assert f"backend     {backends.resolve(otherwise=backends.fastest()).name}" in said
    assert "corpus      arithmetic grammar, seed 0: 199,988 characters, 1 file" in said
    assert re.search(r"^ +SHA-256 [0-9a-f]{64}$", out, re.MULTILINE)
    assert "vocabulary  19 characters" in said
    assert "model       1 LSTM layer of 16, 2,139 parameters" in said
    baselines = re.search(r"^baselines +uniform (\S+), unigram (\S+), bigram (\S+) bits/char$", out, re.MULTILINE)
    uniform, unigram, bigram = map(float, baselines.groups())
    assert uniform > unigram > bigram > 1
    difference = re.search(r"^gradient +largest relative difference from finite differences: (\S+)$", out, re.MULTILINE)
    assert float(difference[1]) < 1e-6
    assert f"run         {Path('runs/grammar')}, step 0 of 120" in said
    lines = re.findall(
        r"^step +(\d+)   train (\S+)   validation (\S+) bits/char +([\d,]+) char/s   \|g\| (\S+)   clipped +(\d+)%"
        r" +(\d+) s left$",
        out,
        re.MULTILINE,
    )
    assert [int(line[0]) for line in lines] == [40, 80, 120]
    assert float(lines[-1][2]) < unigram
    sample = re.search(r"^sample:\n((?:    \|.*\n)+)", out, re.MULTILINE)[1]
    assert len(re.sub(r"^    \| ", "", sample, flags=re.MULTILINE)) == 20 + 1
    assert "below the unigram baseline" in out
    for name in ("model.safetensors", "metrics.jsonl", "tape.txt", "curve.png"):
        assert str(Path("runs/grammar") / name) in out
    assert {each.name for each in Path("runs/grammar").iterdir()} == {
        "model.safetensors", "metrics.jsonl", "tape.txt", "curve.png",
    }  # fmt: skip


def test_the_files_it_writes(train):
    train(*SHORT)
    folder = Path("runs/grammar")
    lines = read_lines(folder)
    assert [line["step"] for line in lines] == [5, 10, 12]
    for line in lines:
        assert set(line) == set(training_run.COLUMNS)
        assert all(isinstance(value, (int, float)) and value >= 0 for value in line.values())
        assert line["clipped"] <= 1
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    tape = (folder / "tape.txt").read_text()
    assert "one window, as trained: 16 time steps, 8 lanes" in tape
    assert "recorded step by step: 6 time steps, 8 lanes" in tape
    arrays, metadata = load_snapshot(folder / "model.safetensors")
    assert metadata["lines"] == lines
    assert arrays["model.lstm.weight_hh_l0"].shape == (64, 16)


def test_clipping_and_its_share_are_reported(train):
    train(*SHORT, "--clip", "1e-6")
    assert all(line["clipped"] == 1 for line in read_lines("runs/grammar"))


def test_equal_runs_are_equal_and_each_has_its_own_folder(train):
    train(*SHORT)
    train(*SHORT)
    train(*SHORT, "--seed", 1)
    assert_same_run("runs/grammar", "runs/grammar-2")
    assert read_lines("runs/grammar-3")[0]["train_bits"] != read_lines("runs/grammar")[0]["train_bits"]


def test_the_standard_library_is_the_default(train):
    code, out, _ = train("--steps", 1, "--hidden", 8, "--embedding", 4, "--batch", 4, "--window", 8)
    assert code == 0
    assert "corpus      standard library of Python" in out
    assert f"    | {training_run.PROMPT}" in out
    assert Path("runs/stdlib/model.safetensors").exists()


def test_files_and_folders_name_the_run(train):
    Path("verse").mkdir()
    Path("verse/a.txt").write_text("the rose is red\n" * 100)
    small = ["--steps", 1, "--batch", 2, "--window", 8, "--hidden", 4]
    assert train("verse/a.txt", *small)[0] == 0
    assert train("verse", *small, "--runs", "elsewhere", "--name", "a b/c")[0] == 0
    assert Path("runs/a/curve.png").exists()
    assert Path("elsewhere/a b/c/curve.png").exists()


# ---- odd sizes


def test_one_step_is_a_run(train):
    code, out, _ = train(*TINY, "--steps", 1)
    assert code == 0
    assert "run         runs/grammar, step 0 of 1\n" in out.replace("\\", "/")
    assert len(read_lines("runs/grammar")) == 1


def test_a_report_comes_at_the_end_even_if_every_is_larger(train):
    assert train(*TINY, "--steps", 3, "--every", 1000)[0] == 0
    assert [line["step"] for line in read_lines("runs/grammar")] == [3]


def test_windows_of_one_step_and_one_lane(train):
    Path("text.txt").write_text("the rose is red\n" * 100)
    code, _, err = train("text.txt", "--steps", 3, "--hidden", 1, "--embedding", 1, "--window", 1, "--batch", 1)
    assert (code, err) == (0, "")
    assert "1 time step, 1 lane\n" in Path("runs/text/tape.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", 100_000], "is too short for 100000 lanes with windows of 16 steps"),
        (["--window", 10**9], "is too short for 8 lanes with windows of 1000000000 steps"),
        (["--steps", 0], "--steps must be a whole number of at least 1; got 0"),
        (["--every", 0], "--every must be a whole number of at least 1; got 0"),
        (["--seed", -1], "--seed must be a whole number of at least 0; got -1"),
        (["--hidden", 10**9], "--hidden must be at most 16,384; got 1,000,000,000"),
        (["--layers", 10**9], "--layers must be at most 256"),
        (["--lr", 0], "--lr must be a finite number above 0; got 0.0"),
        (["--lr", "nan"], "--lr must be a finite number above 0; got nan"),
        (["--clip", "inf"], "--clip must be a finite number above 0; got inf"),
        (["--backend", "abacus"], 'there is no backend "abacus"'),
        (["file.txt"], "give files or --grammar, not both"),
    ],
)
def test_options_out_of_range(train, arguments, message):
    code, out, err = train(*TINY, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no text"),
        (b" \n" * 2000, "holds no text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\xff" * 500, "is not UTF-8 text"),
        (b"\0" * 5000, "contains NUL characters"),
        (b"too short\n", "has 10 characters"),
        (b"some words\n" * 200, "is too short for 48 lanes with windows of 64 steps"),
        (None, "does not exist"),
    ],
)
def test_a_text_that_cannot_be_learnt_from(train, content, message):
    if content is not None:
        Path("text.txt").write_bytes(content)
    code, out, err = train("text.txt")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err
    assert not Path("runs").exists()


def test_a_text_of_rare_characters_only(train):
    """All of its characters would count as unknown."""
    Path("text.txt").write_text("".join(map(chr, range(0x4E00, 0x4E00 + 3000))), encoding="utf-8")
    code, out, err = train("text.txt", *TINY[1:], "--steps", 2)
    assert (code, out) == (1, "")
    assert "has no character 10 times or more: there is nothing to learn from it" in err


def test_its_own_files_do_not_become_its_text(train):
    Path("a.txt").write_text("the rose is red\n" * 100)
    code, _, err = train(".")
    assert code == 1
    assert "name another folder for it: --runs FOLDER" in err


def test_a_folder_that_cannot_be_written_shows_before_the_work(train):
    Path("runs").write_text("a file")
    code, out, err = train(*SHORT)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: .*runs.*\n", err)


def test_a_run_is_not_overwritten(train):
    train(*SHORT, "--name", "mine")
    before = Path("runs/mine/model.safetensors").read_bytes()
    code, _, err = train(*SHORT, "--name", "mine")
    assert code == 1
    assert "holds a run. Choose another --name, or go on with it: --resume" in err
    assert Path("runs/mine/model.safetensors").read_bytes() == before


def test_without_rich_and_matplotlib_there_is_no_picture_and_it_says_so(train, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("rich", "matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = train(*SHORT)
    assert (code, err) == (0, "")
    assert 'no picture: matplotlib is missing (pip install "tinygrad_rnn[cli]")' in out
    assert "curve.png" not in out
    assert not Path("runs/grammar/curve.png").exists()
    assert Path("runs/grammar/tape.txt").exists()


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("rate", ["1e6", "1e20", "3e38"])
def test_a_run_that_diverges_stops_and_keeps_its_last_good_snapshot(train, rate, every):
    code, _, err = train(*TINY, "--steps", 60, "--every", every, "--lr", rate)
    assert code == 1
    assert re.fullmatch(r"error: after step \d+ the .*: the run has diverged\. Try a smaller --lr .*\n", err)
    kept = int(re.search(r"The snapshot of step (\d+) is kept", err)[1])
    arrays, metadata = load_snapshot("runs/grammar/model.safetensors")
    assert metadata["step"] == kept
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert [line["step"] for line in read_lines("runs/grammar")] == list(range(every, kept + 1, every))


def test_weights_that_are_not_finite_are_not_saved_on_ctrl_c(train, monkeypatch):
    stopping_at(monkeypatch, 1, ctrl_c)
    code, _, err = train(*TINY, "--steps", 60, "--lr", "3e38")
    assert code == 1
    assert err.startswith("error: after step 1 the weights are not finite: the run has diverged.")
    assert load_snapshot("runs/grammar/model.safetensors").metadata["step"] == 0


# ---- stopping and going on


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 12 steps that was never stopped, with lines at 5, 10 and 12."""
    folder = tmp_path_factory.mktemp("whole")
    assert cli.main(["train", *SHORT, "--runs", str(folder)]) == 0
    return folder / "grammar"


@pytest.mark.parametrize("step", [1, 5, 7, 11])
@pytest.mark.parametrize("stop", [ctrl_c, lambda run: setattr(run, "stop", True)], ids=["ctrl-c", "stop"])
def test_a_run_that_was_stopped_and_resumed_is_the_whole_run(train, monkeypatch, whole, step, stop):
    with monkeypatch.context() as patch:
        stopping_at(patch, step, stop)
        code, out, _ = train(*SHORT)
    assert code == 130
    last = out.splitlines()[-1]
    assert last == f"stopped after step {step}. Go on: python -m tinygrad_rnn train --resume {Path('runs/grammar')}"
    assert load_snapshot("runs/grammar/model.safetensors").metadata["step"] == step
    code, out, err = train(*shlex.split(last)[-2:])
    assert (code, err) == (0, "")
    assert f"step {step} of 12" in out
    assert_same_run("runs/grammar", whole)


def test_a_run_stopped_after_every_single_step_is_the_whole_run(train, monkeypatch, whole):
    with monkeypatch.context() as patch:
        one_step = training_run.TrainingRun._one_step
        patch.setattr(training_run.TrainingRun, "_one_step", lambda run: (setattr(run, "stop", True), one_step(run))[1])
        train(*SHORT)
        while train("--resume", "runs/grammar")[0] == 130:
            pass
    assert_same_run("runs/grammar", whole)


def test_ctrl_c_in_the_last_step_comes_too_late(train, monkeypatch, whole):
    stopping_at(monkeypatch, 12, ctrl_c)
    assert train(*SHORT)[0] == 0
    assert_same_run("runs/grammar", whole)


def test_a_second_ctrl_c_stops_at_once_and_leaves_the_last_snapshot(train, monkeypatch, whole):
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        stopping_at(patch, 8, lambda run: (ctrl_c(run), ctrl_c(run)))
        code, _, err = train(*SHORT)
    assert code == 130
    assert err == "stopped at once; step 5 is saved. Go on: python -m tinygrad_rnn train --resume " + str(
        Path("runs/grammar\n")
    )
    assert signal.getsignal(signal.SIGINT) is before
    assert train("--resume", "runs/grammar")[0] == 0
    assert_same_run("runs/grammar", whole)


def test_ctrl_c_before_the_first_step_and_after_the_last(train, monkeypatch, whole):
    for name in ("_introduce", "_finish"):
        with monkeypatch.context() as patch:
            patch.setattr(training_run.TrainingRun, name, ctrl_c)
            code, _, err = train(*SHORT) if name == "_introduce" else train("--resume", "runs/grammar")
        assert code == 130
        assert err.startswith(f"stopped at once; step {0 if name == '_introduce' else 12} is saved. Go on: ")
    assert not Path("runs/grammar/tape.txt").exists()
    assert train("--resume", "runs/grammar")[0] == 0
    assert_same_run("runs/grammar", whole)


def test_an_error_between_two_snapshots_loses_the_steps_and_no_more(train, monkeypatch, whole):
    def fail(run):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        stopping_at(patch, 9, fail)
        with pytest.raises(ZeroDivisionError):
            train(*SHORT)
    assert load_snapshot("runs/grammar/model.safetensors").metadata["step"] == 5
    assert train("--resume", Path("runs/grammar/model.safetensors"))[0] == 0
    assert_same_run("runs/grammar", whole)


def test_sigint_from_outside(train, whole):
    """The whole of it once in a process of its own: a signal while it trains, and the command that it prints."""
    path = os.path.dirname(os.path.dirname(importlib.util.find_spec("tinygrad_rnn").origin))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tinygrad_rnn", "train", *TINY, "--steps", "100000", "--every", "7"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        while not process.stdout.readline().startswith("step     7"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    step = int(re.match(r"stopped after step (\d+)\. Go on: ", out.splitlines()[-1])[1])
    assert load_snapshot("runs/grammar/model.safetensors").metadata["step"] == step
    assert train("--resume", "runs/grammar", "--steps", step + 3)[0] == 0
    assert load_snapshot("runs/grammar/model.safetensors").metadata["step"] == step + 3


def test_a_finished_run_says_so_and_can_be_given_more_steps(train, monkeypatch):
    train(*SHORT)
    before = load_snapshot("runs/grammar/model.safetensors")
    code, out, err = train("--resume", "runs/grammar")
    assert (code, err) == (0, "")
    assert "the run has finished its 12 steps; to go on, give more with --steps" in out
    after = load_snapshot("runs/grammar/model.safetensors")
    assert after.metadata == before.metadata
    assert train("--resume", "runs/grammar", "--steps", 14)[0] == 0
    assert [line["step"] for line in read_lines("runs/grammar")] == [5, 10, 12, 14]
    code, out, err = train("--resume", "runs/grammar", "--steps", 10)
    assert (code, out) == (1, "")
    assert err == "error: --steps is 10, and the run has done 14 already; give at least that\n"


def test_a_stopped_run_can_be_ended_where_it_stands(train, monkeypatch):
    with monkeypatch.context() as patch:
        stopping_at(patch, 3, ctrl_c)
        train(*SHORT)
    code, out, _ = train("--resume", "runs/grammar", "--steps", 3)
    assert code == 0
    assert "sample:" in out
    assert [line["step"] for line in read_lines("runs/grammar")] == [3]
    assert Path("runs/grammar/curve.png").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--lr", "0.1"], "--lr"),
        (["--hidden", 16], "--hidden"),  # even the same: it has no effect, and should not seem to have one
        (["--grammar", "--seed", 3], "--seed, --grammar"),
        (["file.txt"], "FILE"),
        (["--name", "x"], "--name"),
        (["--runs", "x"], "--runs"),
    ],
)
def test_a_resumed_run_keeps_its_settings(train, whole, arguments, named):
    code, out, err = train("--resume", whole, *arguments)
    assert (code, out) == (1, "")
    assert err == f"error: a resumed run keeps its settings; leave out {named}. Only --steps may grow.\n"


def test_a_changed_text_is_refused(train, monkeypatch):
    Path("verse.txt").write_text("the rose is red\n" * 100)
    small = ["--steps", 4, "--batch", 2, "--window", 8, "--hidden", 4]
    assert train("verse.txt", *small)[0] == 0
    assert train("--resume", "runs/verse", "--steps", 5)[0] == 0
    Path("verse.txt").write_text("the rose is blue\n" * 100)
    code, out, err = train("--resume", "runs/verse", "--steps", 6)
    assert (code, out) == (1, "")
    assert err.startswith("error: the text has changed since the run began: its SHA-256 was ")
    assert err.count("\n") == 1
    Path("verse.txt").unlink()
    code, _, err = train("--resume", "runs/verse", "--steps", 6)
    assert code == 1
    assert "does not exist" in err


def test_files_are_found_again_from_another_folder(train, monkeypatch, tmp_path):
    Path("verse.txt").write_text("the rose is red\n" * 100)
    assert train("verse.txt", "--steps", 2, "--batch", 2, "--window", 8, "--hidden", 4)[0] == 0
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert train("--resume", tmp_path / "runs" / "verse", "--steps", 3)[0] == 0


def test_no_run_to_resume(train):
    code, out, err = train("--resume", "runs/none")
    assert (code, out) == (1, "")
    assert err == f"error: there is no snapshot {Path('runs/none/model.safetensors')}\n"


def test_the_bar_does_not_disturb_the_lines(train, monkeypatch):
    """On a terminal the lines stand above the bar; what is printed to a file holds them all."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(LiveLine, "update", lambda *_: None)
    code, out, _ = train(*SHORT)
    assert code == 0
    assert len(re.findall(r"^step +\d+   train", out, re.MULTILINE)) == 3
