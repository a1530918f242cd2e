"""pytest's entry point to `tinygrad_rnn.testing.plugin`, which it loads where an ini says ``tinygrad_rnn = true``.

It stands outside the package, because importing any module of the package imports the package.
"""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the key that switches the plugin on."""
    parser.addini("tinygrad_rnn", "use the pytest plugin of tinygrad_rnn", type="bool", default=False)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Load the plugin if it is wanted, before the options are parsed."""
    if early_config.getini("tinygrad_rnn"):
        early_config.pluginmanager.import_plugin("tinygrad_rnn.testing.plugin")
