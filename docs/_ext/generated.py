"""Pages that are made from the code: the states of a worker and the options of the magics."""

from __future__ import annotations

from typing import ClassVar

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata

from bgpool_jupyter.engine.states import TRANSITIONS, WorkerState
from bgpool_jupyter.kernel import grammar


class Generated(SphinxDirective):
    """A directive whose content is Markdown that `lines` returns."""

    #: Modules whose change makes the page anew.
    sources: ClassVar[tuple[str, ...]] = ()

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the text."""
        for module in self.sources:
            self.env.note_dependency(ModuleAnalyzer.for_module(module).srcname)
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)

    def lines(self) -> list[str]:
        """Return the content."""
        raise NotImplementedError


class WorkerStates(Generated):
    """What each state means, from the comments at its definition."""

    sources = (WorkerState.__module__,)

    def lines(self) -> list[str]:
        """Return a table of states and meanings."""
        comments = ModuleAnalyzer.for_module(WorkerState.__module__).find_attr_docs()
        rows = [
            f"| *{state.value}* | {' '.join(comments[WorkerState.__name__, state.name]).strip()} |"
            for state in WorkerState
        ]
        return ["| state | meaning |", "|---|---|", *rows]


class WorkerTransitions(Generated):
    """Every legal move, from the engine's own table."""

    sources = (WorkerState.__module__,)

    def lines(self) -> list[str]:
        """Return a table with a row for each state and event."""
        rows = [
            f"| *{state.value}* | {event} | *{after.value}* |"
            for state, moves in TRANSITIONS.items()
            for event, after in moves.items()
        ]
        return ["| from | event | to |", "|---|---|---|", *rows]


class MagicHelp(Generated):
    """The help of every magic, from the parser that also reads its lines."""

    sources = (grammar.__name__,)

    def lines(self) -> list[str]:
        """Return a section for each magic."""
        sections = []
        for name, parser in grammar.PARSERS.items():
            title = f"`%{name}`" if parser in {grammar.POOL, grammar.DEBUG} else f"`%{name}` and `%%{name}`"
            sections += [f"## {title}", "", "```text", parser.help, "```", ""]
        return sections


def find_short_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element) -> nodes.Node | None:
    """Resolve a name as docstrings and annotations have it, `WorkerPool.stop_workers` or `engine.pool.WorkerPool`.

    Docstrings are read in terminals too, where a name with three modules before it is noise; and an
    annotation knows the module in which a class is defined, not the one in which it is documented.
    """
    if node.get("refdomain") != "py":
        return None
    known = env.domains.python_domain.objects
    parts = node["reftarget"].split(".")
    for first in range(len(parts)):
        ending = "." + ".".join(parts[first:])
        matches = [name for name in known if name.startswith("bgpool_jupyter.") and name.endswith(ending)]
        # A class is known by the module that documents it and by the one that defines it: the same place.
        places = {(known[name].docname, known[name].node_id) for name in matches}
        if len(places) == 1:
            return make_refnode(app.builder, node["refdoc"], *places.pop(), text)
        if parts[0] != "bgpool_jupyter":
            return None
    return None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directives."""
    app.add_directive("worker-states", WorkerStates)
    app.add_directive("worker-transitions", WorkerTransitions)
    app.add_directive("magics", MagicHelp)
    app.connect("missing-reference", find_short_name)
    return {"version": "1", "parallel_read_safe": True}
