"""Sphinx extension: from each entry of the API page to the chapters that use the name, and back.

A chapter uses a name where code that its page shows without a click has it. The first chapter that
does develops it, except for those in ``DEVELOPED``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from pathlib import Path

from chapters import Chapter, read_chapters, source_file
from docutils import nodes
from sphinx import addnodes
from sphinx.util.nodes import make_refnode

PAGE = "book/api"
HIDING_TAGS = {"hide-input", "remove-input", "hide-cell", "remove-cell"}

# What a chapter uses before the one that explains it, or only in code that is folded.
DEVELOPED = {
    "symvi.Bounds": "estimating-information",
    "symvi.Estimate": "bayesian-network",
    "symvi.Fit": "bayesian-network",
    "symvi.Likelihood": "bayesian-network",
    "symvi.Symmetry": "permutation-symmetry",
    "symvi.align": "permutation-symmetry",
    "symvi.information.pairwise_bounds": "estimating-information",
    "symvi.orbit_information": "estimating-information",
}


# --- which names a notebook uses ---


def shown_code(notebook: dict) -> list[ast.Module]:
    """The code cells of a notebook that its page shows, parsed."""
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    shown = [c for c in cells if not HIDING_TAGS & set(c["metadata"].get("tags", []))]
    return [ast.parse("".join(cell["source"])) for cell in shown]


def imported(notebook: dict) -> dict[str, str]:
    """What each name that a notebook imports from symvi stands for, as a dotted path."""
    paths = {}
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    for cell in cells:
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.Import):
                whole = {a.asname or a.name.split(".")[0]: a for a in node.names}
                paths |= {k: a.name if a.asname else k for k, a in whole.items()}
            if isinstance(node, ast.ImportFrom):
                paths |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return {name: path for name, path in paths.items() if path.split(".")[0] == "symvi"}


def used_names(notebook: dict) -> list[str]:
    """The dotted paths into symvi that the shown code has, each once, in order."""
    paths = imported(notebook)
    found: dict[str, None] = {}

    def visit(node: ast.AST) -> None:
        dotted = dotted_name(node)
        if dotted and dotted[0] in paths:
            found[".".join([paths[dotted[0]], *dotted[1:]])] = None
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    for tree in shown_code(notebook):
        visit(tree)
    return list(found)


def dotted_name(node: ast.AST) -> list[str]:
    """["symvi", "fit"] for symvi.fit; [] for what is no name."""
    if isinstance(node, ast.Attribute):
        holder = dotted_name(node.value)
        return [*holder, node.attr] if holder else []
    return [node.id] if isinstance(node, ast.Name) else []


# --- which entry of the API page documents a name ---


def found(path: str):
    """What a dotted path names: a module, or something in one; None if there is no such thing."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        holder, _, name = path.rpartition(".")
        return getattr(found(holder), name, None) if holder else None


class Entries:
    """The functions and classes of the API page, found under any name of theirs."""

    def __init__(self, documented):
        self.paths = set(documented)
        self.by_thing = {id(found(path)): path for path in documented}

    def entry(self, path: str) -> str | None:
        """The path under which the page documents the thing; a method's is that of its class."""
        while path not in self.paths and path.count(".") > 1:
            thing = found(path)
            if inspect.isroutine(thing) or inspect.isclass(thing):
                break
            path = path.rpartition(".")[0]
        return path if path in self.paths else self.by_thing.get(id(found(path)))


def uses(root, entries: Entries, pages) -> dict[str, dict[str, str]]:
    """For each notebook, the entries that it uses, each with its name in the notebook."""
    table = {}
    for page in pages:
        file = source_file(Path(root), page)
        if file.suffix != ".ipynb":
            continue
        names = used_names(json.loads(file.read_text(encoding="utf-8")))
        known = [(entries.entry(name), name) for name in names]
        table[page] = {entry: name for entry, name in reversed(known) if entry}
    return table


def chapters_of(entry: str, chapters: list[Chapter], table: dict) -> list[Chapter]:
    """The chapters that use an entry, the one that develops it first."""
    using = [c for c in chapters if entry in table.get(c.page, {})]
    first = [c for c in chapters if c.name == DEVELOPED.get(entry)]
    return first + [c for c in using if c not in first]


# --- the links ---


def documented(env) -> dict[str, str]:
    """The anchors of the functions and classes of the API page."""
    objects = env.get_domain("py").objects
    return {
        path: thing.node_id
        for path, thing in objects.items()
        if thing.docname == PAGE and thing.objtype in {"function", "class"}
    }


def link(app, doctree, page: str) -> None:
    """Add the links to a page that has its place in the book."""
    if app.builder.format != "html" or PAGE not in app.env.all_docs:
        return
    anchors = documented(app.env)
    entries = Entries(anchors)
    if page == PAGE:
        chapters = read_chapters(app.srcdir)
        table = uses(app.srcdir, entries, [c.page for c in chapters])
        link_to_chapters(app, doctree, chapters, table)
        return
    for names in uses(app.srcdir, entries, [page]).values():
        if names:
            link_to_entries(app, doctree, page, {anchors[e]: name for e, name in names.items()})


def link_to_chapters(app, doctree, chapters, table) -> None:
    def to(chapter: Chapter, text: str) -> nodes.reference:
        return make_refnode(app.builder, PAGE, chapter.page, "", nodes.Text(text), chapter.title)

    for entry in doctree.findall(addnodes.desc):
        ids = entry[0].get("ids") or [""]
        pages = chapters_of(ids[0], chapters, table)
        if pages:
            content = entry[-1]
            line = paragraph(developed_in(pages, to), "symvi-chapters")
            content.insert(min(1, len(content)), line)


def developed_in(pages: list[Chapter], to) -> list:
    """The parts of the sentence; ``to(chapter, text)`` makes a link."""
    first, *others = pages
    name = f"chapter {first.number}" if first.number else f"the appendix {first.title}"
    parts = ["Developed in ", to(first, name)]
    numbered = [c for c in others if c.number]
    places = [to(c, str(c.number)) for c in numbered]
    if places:
        parts += ["; used in chapters " if places[1:] else "; used in chapter ", *listed(places)]
    titles = [to(c, c.title) for c in others if not c.number]
    if titles:
        head = ", and in the appendix " if places else "; used in the appendix "
        parts += [head, *listed(titles)]
    return [*parts, "."]


def link_to_entries(app, doctree, page: str, names: dict[str, str]) -> None:
    ordered = sorted(names.items(), key=lambda pair: pair[1].lower())
    links = [
        make_refnode(app.builder, page, PAGE, anchor, nodes.literal("", name[len("symvi.") :]))
        for anchor, name in ordered
    ]
    doctree.append(paragraph(["Names of symvi on this page: ", *listed(links), "."], "symvi-foot"))


def listed(links: list) -> list:
    """The links with commas between them."""
    return [part for place in links for part in (", ", place)][1:]


def paragraph(parts: list, name: str) -> nodes.paragraph:
    whole = [nodes.Text(part) if isinstance(part, str) else part for part in parts]
    return nodes.paragraph("", "", *whole, classes=[name])


def setup(app) -> dict:
    app.connect("doctree-resolved", link)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
