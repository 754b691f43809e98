"""Sphinx extension: BibTeX for the book and its chapters, made from what they are called now.

    ```{bibtex} chapters
    ```

shows the entries of a group: book, chapters, references or paper. At the foot of each chapter a
link leads to its entry.
"""

from __future__ import annotations

import re
from pathlib import Path

from chapters import authors, read_chapters, read_citation, source_file, year
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

PAGE = "book/cite"
PAPER = "gelberg2024"
BIBLIOGRAPHY = "book/references.bib"


def bibtex(kind: str, key: str, fields: dict) -> str:
    """An entry. Doubled braces keep the capitals of titles and the names of groups whole."""
    width = max(map(len, fields))
    lines = [f"  {name:{width}} = {{{value}}}" for name, value in fields.items() if value]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"


def whole(text: str) -> str:
    """Text in braces of its own, with the characters that LaTeX gives a meaning made plain."""
    return "{" + re.sub(r"([&%#_$])", r"\\\1", text) + "}"


class Entries:
    """The entries of a book in the folder `root`; pages have an address once `base` is set."""

    def __init__(self, root, year: str, base: str = ""):
        self.root = Path(root)
        self.base = base and base.rstrip("/") + "/"
        citation = read_citation(root)
        self.title = whole(citation["title"])
        self.common = {
            "author": " and ".join(
                name if ", " in name else whole(name) for name in authors(citation)
            ),
            "year": year,
            "note": f"Version {citation['version']}",
        }

    def address(self, page: str) -> str:
        return f"{self.base}{page}.html" if self.base else ""

    def book(self) -> str:
        return bibtex("book", "symvi", {"title": self.title, **self.common, "url": self.base})

    def chapter(self, chapter) -> str:
        fields = {
            "title": whole(chapter.title),
            "chapter": str(chapter.number or ""),
            "booktitle": self.title,
            **self.common,
            "url": self.address(chapter.page),
        }
        return bibtex("incollection", f"symvi-{chapter.name}", fields)

    def references(self) -> str:
        fields = {
            "title": whole("Reference posteriors of small Bayesian neural networks"),
            "howpublished": "Data set in the package symvi",
            **self.common,
            "url": self.base,
        }
        return bibtex("misc", "symvi-reference-posteriors", fields)

    def paper(self) -> str:
        """As it stands in the book's own bibliography."""
        text = (self.root / BIBLIOGRAPHY).read_text(encoding="utf-8")
        return re.search(rf"^@\w+{{{PAPER},.*?^}}$", text, re.M | re.S)[0]


def anchor(chapter) -> str:
    return f"cite-{chapter.name}"


class Bibtex(SphinxDirective):
    """The directive ``{bibtex}``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        for file in ("_config.yml", "_toc.yml", "CITATION.cff", BIBLIOGRAPHY):
            self.env.note_dependency(str(root / file))
        entries = Entries(root, year(self.config), self.config.html_baseurl)
        group = self.arguments[0]
        if group != "chapters":
            return [box(getattr(entries, group)())]
        found = []
        for chapter in read_chapters(root):
            self.env.note_dependency(str(source_file(root, chapter.page)))
            found += [self.heading(chapter), box(entries.chapter(chapter))]
        return found

    def heading(self, chapter) -> nodes.paragraph:
        """The chapter's name, which links to it; what links to the entry leads here."""
        number = f"{chapter.number}. " if chapter.number else ""
        link = addnodes.pending_xref(
            "",
            nodes.inline("", chapter.title),
            refdomain="std",
            reftype="doc",
            reftarget=f"/{chapter.page}",
            refdoc=self.env.docname,
            refexplicit=True,
            refwarn=True,
        )
        return nodes.paragraph("", number, link, ids=[anchor(chapter)])


def box(entry: str) -> nodes.literal_block:
    return nodes.literal_block(entry, entry, language="bibtex")


def link_to_entry(app, doctree, page: str) -> None:
    """At the foot of a chapter, a link to its entry."""
    if app.builder.format != "html" or PAGE not in app.env.all_docs:
        return
    for chapter in read_chapters(app.srcdir):
        if chapter.page == page:
            target = f"{app.builder.get_relative_uri(page, PAGE)}#{anchor(chapter)}"
            kind = "chapter" if chapter.number else "appendix"
            link = nodes.reference("", f"Cite this {kind}", refuri=target, internal=True)
            doctree.append(nodes.paragraph("", "", link, classes=["symvi-foot"]))


def setup(app) -> dict:
    app.add_directive("bibtex", Bibtex)
    app.connect("doctree-resolved", link_to_entry, priority=600)  # after the names of symvi
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
