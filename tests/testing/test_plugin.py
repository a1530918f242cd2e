"""The pytest plugin: off unless an ini says otherwise; backends, profiles and a summary where it is on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)
ROOT = Path(__file__).resolve().parents[2]

ON = """
[pytest]
tinygrad_rnn = true
addopts = -p no:cacheprovider
"""
OFF = """
[pytest]
addopts = -p no:cacheprovider
"""
PARITY = """
import pytest
from hypothesis import given, strategies as st

@given(x=st.integers())
def test_given(backend, x):
    assert backend

class TestPlain:
    def test_plain(self, backend):
        assert backend == "numpy"

@pytest.mark.skip_backend("numpy", reason="it is too slow")
def test_left_out(backend):
    raise AssertionError

@pytest.mark.parametrize("backend", ["own"])
def test_own(backend):
    assert backend == "own"
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest in a process of its own, with the entry point of this checkout."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))

    def start(ini, text, *options):
        pytester.makeini(ini)
        pytester.makepyfile(text)
        return pytester.runpytest_subprocess("-p", "no:tinygrad_rnn", "-p", "_tinygrad_rnn_pytest", *options)

    return start


def test_without_the_ini_key_there_is_no_option_and_nothing_is_imported(run):
    seen = """
    import sys

    def test_nothing_was_imported():
        assert not [name for name in sys.modules if name.split(".")[0] in ("tinygrad_rnn", "numpy")]
    """
    run(OFF, seen, "-p", "no:hypothesispytest").assert_outcomes(passed=1)
    assert run(OFF, seen, "--backend=numpy").ret == pytest.ExitCode.USAGE_ERROR


def test_the_entry_point_imports_neither_hypothesis_nor_the_library():
    names = ("hypothesis", "numpy", "tinygrad_rnn")
    code = f"import sys, _tinygrad_rnn_pytest; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_backend_is_parametrised_for_the_session_and_works_under_given(run):
    result = run(ON, PARITY, "-v", "-rs")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines(
        ["*test_given[[]numpy[]] PASSED*", "*test_plain[[]numpy[]] PASSED*", "SKIPPED*it is too slow"]
    )


def test_backends_that_cannot_run_are_skipped_with_the_reason(run, pytester):
    pytester.makeconftest(
        """
        from tinygrad_rnn import backends

        class Absent(backends.NumpyBackend):
            @classmethod
            def availability(cls):
                return backends.Availability(False, "no such library")

        backends.register("absent", Absent)
        """
    )
    result = run(ON, "def test_it(backend):\n    assert backend == 'numpy'\n", "-rs", "--backend=numpy,absent")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*absent cannot run here: no such library*"])


def test_an_unknown_backend_is_a_usage_error(run):
    result = run(ON, PARITY, "--backend=numpy,abacus")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*there is no backend "abacus"; there are numpy*'])


@pytest.mark.parametrize(("profile", "examples"), [("dev", 50), ("ci", 100), ("nightly", 2000)])
def test_profiles_set_the_number_of_examples_and_have_no_deadline(run, profile, examples):
    text = f"""
    from hypothesis import settings

    def test_profile():
        assert settings.default.max_examples == {examples} and settings.default.deadline is None
    """
    run(ON, text, f"--grad-profile={profile}").assert_outcomes(passed=1)


def test_a_profile_of_the_users_choice_stays(run):
    text = """
    from hypothesis import settings

    def test_profile():
        assert settings.default.max_examples == 100 and settings.default.deadline is not None
    """
    run(ON, text, "--hypothesis-profile=default").assert_outcomes(passed=1)


CHECKS = """
import numpy as np
import pytest
import tinygrad_rnn as tg
from tinygrad_rnn.testing import check_gradients

@pytest.mark.parametrize("n", [1, 2])
def test_right(n):
    assert check_gradients(tg.sin, np.ones(n))

def test_open():
    assert check_gradients(tg.abs, np.zeros(1)).verdict == "inconclusive"
"""


def test_the_summary_counts_checks_and_names_the_weakest(run):
    result = run(ON, CHECKS)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "*gradients*",
            "3 checks: 2 pass, 1 inconclusive, 0 fail",
            "worst resolution: an error of * of a gradient would have shown (*::test_right[[]*[]])",
            "inconclusive 1 times: the function has a kink here*",
        ]
    )


def test_the_summary_adds_up_what_workers_found(run):
    pytest.importorskip("xdist")
    result = run(ON, CHECKS, "-n", "2")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["3 checks: 2 pass, 1 inconclusive, 0 fail", "worst resolution: *"])


def test_without_checks_there_is_no_summary(run):
    run(ON, "def test_nothing():\n    pass\n").stdout.no_fnmatch_line("*gradients*")
