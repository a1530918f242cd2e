"""How the documentation is built: ``pip install ".[docs]"``, then ``python -m sphinx -W -b html docs docs/_build``.

Every example of every page runs at each build, and its printed numbers are compared (extensions/examples.py). The tests
run the same examples.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]

import tinygrad_rnn  # noqa: E402 - from this checkout

project = "tinygrad_rnn"
author = "The tinygrad_rnn authors"
copyright = author
release = version = tinygrad_rnn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "docstrings",
    "examples",
    "mathml",
    "primitives",
]
exclude_patterns = ["_build", "pictures"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a page may begin its levels where it likes

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "furo"
html_math_renderer = "mathml"
html_title = "tinygrad_rnn"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_show_sphinx = False
