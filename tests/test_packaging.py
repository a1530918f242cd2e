"""What is installed is what lies in the repository."""

import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def options():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser["options"]


def test_every_folder_with_code_is_named_in_setup_cfg(options):
    """An unlisted package imports from a checkout and is missing from the wheel."""
    listed = {name for name in options["packages"].split("\n") if name}
    ours = {"tinygrad_rnn"} | {
        ".".join(("tinygrad_rnn", *path.parent.relative_to(ROOT / "tinygrad_rnn").parts))
        for path in (ROOT / "tinygrad_rnn").rglob("*.py")
        if "kernels" not in path.relative_to(ROOT).parts[:2] and path.parent != ROOT / "tinygrad_rnn"
    }
    kernels = {
        ".".join(("tinygrad_rnn.kernels", *path.parent.relative_to(ROOT / "kernels").parts))
        for path in (ROOT / "kernels").rglob("*.py")
    }
    ours = {name for name in ours if not name.startswith("tinygrad_rnn.kernels")}
    assert listed == ours | kernels


def test_every_folder_with_code_has_an_init_file():
    for top in ("tinygrad_rnn", "kernels"):
        for path in (ROOT / top).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path
