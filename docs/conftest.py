"""A page's primitives are its own: the next page finds the registry as this one found it."""

from collections.abc import Iterator

import pytest

import tinygrad_rnn as tg


@pytest.fixture(autouse=True)
def own_primitives() -> Iterator[None]:
    """Take out of the registry what a page has added."""
    before = dict(tg.registry)
    yield
    for name in set(tg.registry) - set(before):
        del tg.registry[name]
