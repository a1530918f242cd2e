"""Where compiled loops are kept: a second process compiles nothing, and a folder that cannot be written is no error."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tinygrad_rnn import backends
from tinygrad_rnn.backends import loop_cache

if not backends.available()["numba"].can_run:
    pytest.skip("numba cannot run here", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import tinygrad_rnn as tg
x = tg.tensor([0.5, 1.0], backend="numba")
print((x + x).tolist())
"""
WITH_A_KERNEL = """
import sys
import numpy as np
import tinygrad_rnn as tg
from tinygrad_rnn import backends
x = tg.tensor([0.5, 1.0], backend="numba")
total = backends.get("numba").kernel("embedding_gradient")(np.ones((2, 1), "f4"), np.zeros(2, "i8"), 1)
print((x + x).tolist(), total.tolist(), "numba.np.npyimpl" in sys.modules)
"""


def ran(folder, program=PROGRAM):
    """What a fresh process with this cache folder prints: on standard output, and on standard error."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    kept["TINYGRAD_RNN_CACHE"] = str(folder)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=kept, capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_the_first_use_says_that_it_compiles_and_the_second_compiles_nothing(tmp_path):
    out, err = ran(tmp_path / "cache")
    assert out == "[1.0, 2.0]\n"
    folder = first_folder(tmp_path)
    assert f"tinygrad_rnn: compiling array loops, once for this machine (kept in {folder})\n" in err
    assert f"tinygrad_rnn: compiling each kernel at its first use, once for this machine (kept in {tmp_path}" in err
    (text,) = folder.glob("*.py")
    assert text.name.startswith("add-ff-f-") and "def rule(x0, x1):" in text.read_text()
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert any(path.suffix == ".nbc" for path in written)
    assert ran(tmp_path / "cache") == ("[1.0, 2.0]\n", "")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == written


def test_kept_machine_code_runs_without_what_compiling_needs(tmp_path):
    assert ran(tmp_path, WITH_A_KERNEL)[0] == "[1.0, 2.0] [[2.0]] True\n"
    assert ran(tmp_path, WITH_A_KERNEL)[0] == "[1.0, 2.0] [[2.0]] False\n"


def test_where_numba_is_told_not_to_compile_numpy_computes(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert ran(tmp_path)[0] == "[1.0, 2.0]\n"


def first_folder(tmp_path):
    (found,) = (tmp_path / "cache").glob("loops-*")
    return found


def test_a_folder_that_cannot_be_made_costs_a_warning_and_compiles_in_memory(tmp_path):
    (tmp_path / "file").write_text("in the way")
    out, err = ran(tmp_path / "file" / "cache")
    assert out.startswith("[1.0, 2.0]")
    assert "cannot keep compiled loops" in err and "Set TINYGRAD_RNN_CACHE" in err


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a folder that refuses"
)
def test_a_folder_that_is_read_only_costs_a_warning_and_compiles_in_memory(tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert "cannot keep compiled loops" in ran(tmp_path)[1]
    finally:
        tmp_path.chmod(0o700)


def test_a_damaged_text_is_written_again(tmp_path):
    ran(tmp_path / "cache")
    (text,) = first_folder(tmp_path).glob("*.py")
    good = text.read_text()
    text.write_text("def loop(args, dims, steps, data): pass\n")
    assert ran(tmp_path / "cache")[0].startswith("[1.0, 2.0]")
    assert text.read_text() == good


def test_the_folder_is_the_users_choice_or_the_systems(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_RNN_CACHE", "~/somewhere")
    assert loop_cache.cache_directory() == Path.home() / "somewhere"
    monkeypatch.delenv("TINYGRAD_RNN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert loop_cache.cache_directory() == tmp_path / "tinygrad_rnn"


def test_the_word_about_memory_is_said_once(monkeypatch, tmp_path):
    monkeypatch.setattr(loop_cache, "_said", [])
    with pytest.warns(RuntimeWarning, match="compiling them in memory, in every process"):
        loop_cache._say_in_memory(tmp_path, OSError("no"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop_cache._say_in_memory(tmp_path, OSError("no"))
