"""What is installed is what lies in the repository."""

import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("kernels", "examples")  # at the top of the repository, installed inside the package


@pytest.fixture
def options():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser["options"]


def test_every_folder_with_code_is_named_in_setup_cfg(options):
    """An unlisted package imports from a checkout and is missing from the wheel."""
    listed = {name for name in options["packages"].split("\n") if name}
    own = {path.parent for path in (ROOT / "tinygrad_rnn").rglob("*.py")}
    beside = {path.parent for top in BESIDE for path in (ROOT / top).rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in own if folder.resolve() not in beside}
    names |= {".".join(("tinygrad_rnn", *folder.relative_to(ROOT).parts)) for folder in beside}
    assert listed == names


def test_every_folder_with_code_has_an_init_file():
    for top in ("tinygrad_rnn", *BESIDE):
        for path in (ROOT / top).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path
