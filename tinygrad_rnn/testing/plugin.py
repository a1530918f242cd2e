"""The pytest plugin: backends and Hypothesis profiles by option, and a summary of the checks.

A project switches it on in its own ini (``[tool:pytest]`` of setup.cfg, ``[tool.pytest.ini_options]`` of
pyproject.toml, ``[pytest]`` of pytest.ini)::

    tinygrad_rnn = true

Where it is off, having it installed changes nothing: not one option is added, and neither this package nor Hypothesis
is imported (the entry point is a small module of its own).

--backend NAMES         run tests that take a parameter ``backend`` on each of these: ``numpy,numba``, or ``all``.
--grad-profile NAME     how many examples Hypothesis draws: ``dev`` (the default) 50, ``ci`` 100, the same ones every
                        time, ``nightly`` 2000. None has a deadline: compilers take their time on a first call.
@pytest.mark.skip_backend("numba", reason="...")
                        leave a test out on a backend.

A parameter ``backend`` holds the backend's name. It is parametrised for the whole session, so it may stand beside
``@given``, whose rule against fixtures that are made once a function does not concern it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .ledger import Ledger, open_ledgers

PROFILES: dict[str, dict[str, Any]] = {
    "dev": {"max_examples": 50},
    "ci": {"max_examples": 100, "derandomize": True, "database": None, "print_blob": True},
    "nightly": {"max_examples": 2000, "print_blob": True},
}
_KEY = "tinygrad_rnn"
_ledger = pytest.StashKey[Ledger]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, and the ini key for a checkout whose entry point is not installed."""
    group = parser.getgroup(_KEY, "gradient tests (tinygrad_rnn)")
    group.addoption(
        "--backend", default="numpy", metavar="NAMES", help='backends of tests that take one: "numpy,numba", or "all"'
    )
    group.addoption("--grad-profile", choices=sorted(PROFILES), default="dev", help="how many examples are drawn")
    if _KEY not in parser._inidict:
        parser.addini(_KEY, "use the pytest plugin of tinygrad_rnn", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Load the profile, look the backends up, and open the ledger."""
    config.addinivalue_line("markers", "skip_backend(name, reason=''): leave the test out on this backend")
    _load_profile(config)
    _chosen_backends(config)
    ledger = config.stash[_ledger] = Ledger()
    open_ledgers.append(ledger)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the ledger."""
    ledger = config.stash.get(_ledger, None)
    if ledger in open_ledgers:
        open_ledgers.remove(ledger)


def _load_profile(config: pytest.Config) -> None:
    if config.getoption("--hypothesis-profile", None):
        return
    try:
        from hypothesis import HealthCheck, settings
    except ImportError:  # a project may test without it
        return
    for name, options in PROFILES.items():
        settings.register_profile(
            f"{_KEY}-{name}", deadline=None, suppress_health_check=[HealthCheck.too_slow], **options
        )
    settings.load_profile(f"{_KEY}-{config.getoption('--grad-profile')}")


def _chosen_backends(config: pytest.Config) -> dict[str, str]:
    """The backends of this run, and why each cannot run here ("" if it can)."""
    from ..backends import available

    known = available()
    names = [name.strip() for name in config.getoption("--backend").split(",") if name.strip()]
    if names == ["all"]:
        names = list(known)
    for name in names:
        if name not in known:
            raise pytest.UsageError(f'--backend: there is no backend "{name}"; there are {", ".join(known)}, and all')
    return {name: "" if known[name].can_run else f"{name} cannot run here: {known[name].reason}" for name in names}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise ``backend`` where nobody else does."""
    if "backend" not in metafunc.fixturenames or "backend" in metafunc._arg2fixturedefs:
        return
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        if "backend" in (names.replace(" ", "").split(",") if isinstance(names, str) else names):
            return
    left_out = {}
    for mark in metafunc.definition.iter_markers("skip_backend"):
        left_out[mark.args[0] if mark.args else mark.kwargs["name"]] = mark.kwargs.get("reason") or "skip_backend"
    chosen = []
    for name, reason in _chosen_backends(metafunc.config).items():
        reason = left_out.get(name, reason)
        chosen.append(pytest.param(name, marks=[pytest.mark.skip(reason=reason)] if reason else []))
    metafunc.parametrize("backend", chosen, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tell the ledger where it is."""
    item.config.stash[_ledger].place = item.nodeid
    return (yield)


# ---- the summary; under xdist the workers send theirs


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of xdist: hand the counts over."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_KEY] = session.config.stash[_ledger].as_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """Take a worker's counts."""
    counts = getattr(node, "workeroutput", {}).get(_KEY)
    if counts is not None:
        node.config.stash[_ledger].add(counts)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how many checks there were, how many stayed open, and how weak the weakest one was."""
    ledger = config.stash[_ledger]
    if not ledger.checks:
        return
    counts = ", ".join(f"{ledger.verdicts[kind]} {kind}" for kind in ("pass", "inconclusive", "fail"))
    terminalreporter.section("gradients")
    terminalreporter.write_line(f"{ledger.checks} checks: {counts}")
    if ledger.worst:
        terminalreporter.write_line(
            f"worst resolution: an error of {ledger.worst:.1e} of a gradient would have shown ({ledger.worst_at})"
        )
    for reason, count in ledger.reasons.most_common(3):
        terminalreporter.write_line(f"inconclusive {count} times: {reason}")
