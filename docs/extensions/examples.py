"""The examples of the pages: run at every build, compared with what the page says, and shown in the explorer.

A page's ``>>>`` lines are one doctest, as in the test suite; a wrong number stops the build. The directive

    ```{explorer} tape
    :target: loss
    ```

shows a tape of the page's examples, as it stands after the last of them, in the page that `Tape.to_html` writes.
"""

import doctest
import io
import linecache
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from hypothesis import settings
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import tinygrad_rnn as tg

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS  # those of the test suite
variables: dict[str, dict[str, object]] = {}  # of each page, after its last example


def run_examples(app: Sphinx) -> None:
    """Run the examples of all pages, each page in a namespace of its own."""
    settings.register_profile("docs", deadline=None, database=None)
    settings.load_profile("docs")
    for path in sorted(Path(app.srcdir).rglob("*.md")):
        if Path(app.outdir) in path.parents:
            continue
        text = path.read_text(encoding="utf-8")
        test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, path.name, str(path), 0)
        for number, example in enumerate(test.examples):  # so that the explorer can show the line of a record
            name = f"<doctest {path.name}[{number}]>"
            linecache.cache[name] = (len(example.source), None, example.source.splitlines(keepends=True), name)
        said = io.StringIO()
        before = set(tg.registry)
        outcome = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.write, clear_globs=False)
        for name in set(tg.registry) - before:  # a page's primitives are its own
            del tg.registry[name]
        if outcome.failed:
            raise ExtensionError(f"an example of {path} went wrong:\n{said.getvalue()}")
        variables[path.relative_to(app.srcdir).with_suffix("").as_posix()] = test.globs


class Explorer(SphinxDirective):
    """A tape of the page's examples, live."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {  # noqa: RUF012 - docutils reads it so
        "target": directives.unchanged,
        "losses": directives.unchanged,
        "title": directives.unchanged,
        "height": directives.nonnegative_int,
    }

    def run(self) -> list[nodes.Node]:
        """Write the page, and frame it."""
        known = variables[self.env.docname]
        tape, target, losses = (
            eval(text, known) if text else None
            for text in (self.arguments[0], self.options.get("target"), self.options.get("losses"))
        )
        number = self.env.new_serialno("explorer")
        title = self.options.get("title", "the tape of this page")
        name = f"explorers/{self.env.docname.replace('/', '-')}-{number}.html"
        path = Path(self.env.app.outdir) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tape.to_html(path, target, losses=losses, names=known, title=title)
        where = "../" * self.env.docname.count("/") + name
        frame = (
            f'<iframe src="{where}" sandbox="allow-scripts" title="Tape explorer: {title}" loading="lazy" '
            f'style="width:100%;height:{self.options.get("height", 640)}px;border:1px solid #8886;border-radius:8px">'
            f'</iframe><p><a href="{where}">Open the explorer in a page of its own.</a></p>'
        )
        return [nodes.raw("", frame, format="html")]


def trim(app: Sphinx, tree: nodes.document) -> None:
    """Take off the empty line with which an example must end in the source."""
    for block in tree.findall(nodes.literal_block):
        text = block.astext().rstrip()
        block.children, block.rawsource = [nodes.Text(text)], text


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the examples and the directive."""
    app.add_directive("explorer", Explorer)
    app.connect("builder-inited", run_examples)
    app.connect("doctree-read", trim)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
