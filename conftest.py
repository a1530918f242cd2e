"""Tests of a checkout find the pytest plugin here, installed or not."""

pytest_plugins = ("tinygrad_rnn.testing.plugin",)
