"""The directive ``{primitives}``: the registry, with the derivative rule of each entry as it runs."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import tinygrad_rnn as tg

LONGEST = 12  # lines of a rule that are shown


class Primitives(SphinxDirective):
    """An entry for each primitive of the library that has a derivative, and the names of the others."""

    def run(self) -> list[nodes.Node]:
        """Make the list."""
        known = sorted(tg.registry.values(), key=lambda primitive: primitive.name)
        entries = nodes.definition_list()
        for each in known:
            if each.differentiable:
                lines = tg.inspect.rule_text(each).splitlines()
                text = "\n".join(lines if len(lines) <= LONGEST else [*lines[: LONGEST - 1], "…"])
                entry = nodes.definition_list_item()
                entry += nodes.term("", "", nodes.literal(text=each.name))
                entry += nodes.definition("", nodes.literal_block(text, text, language="text"))
                entries += entry
        others = nodes.paragraph(text="Without a derivative: ")
        for i, each in enumerate(each for each in known if not each.differentiable):
            others += [nodes.Text(", " if i else ""), nodes.literal(text=each.name)]
        return [entries, others]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("primitives", Primitives)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
