"""Sphinx extension: citation tags and Open Graph tags in the head of every page.

Reference managers read the former, in Highwire Press's names; pages that show a preview of a link
read the latter. Addresses stand there in full once ``html: baseurl`` of ``_config.yml`` is set.
"""

from __future__ import annotations

import re
from html import escape

from chapters import authors, read_citation, year
from docutils import nodes

IMAGE = "_static/between-modes.png"
IMAGE_ALT = "The posterior of two weights, mean field between its two peaks, the symmetrized cure"


def plain(formula: str) -> str:
    """A short formula as characters: what a preview cannot set."""
    formula = formula.replace(r"\widehat R", "R-hat")
    formula = re.sub(r"\\lvert\s*|\\rvert", "|", formula)
    return re.sub(r"\\(\w+)", r"\1", formula)


def text_of(node: nodes.Node) -> str:
    if isinstance(node, nodes.math):
        return plain(node.astext())
    if isinstance(node, nodes.Text):
        return node.astext()
    return "".join(map(text_of, node.children))


def description(doctree) -> str:
    """The first paragraph of a page that stands by itself: in a chapter, the answer in italics."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            return " ".join(text_of(paragraph).split())
    return ""


def tags(title: str, about: str, *, book: dict, home: bool, image: str, address: str) -> dict:
    """The contents of the tags by name. `book` has the title, the authors and the year."""
    found = {
        "citation_title": book["title"] if home else title,
        "citation_author": book["authors"],
        "citation_publication_date": book["year"],
        "citation_inbook_title": "" if home else book["title"],
        "citation_language": "en",
        "citation_public_url": address,
        "description": about,
        "og:title": title,
        "og:type": "website" if home else "article",
        "og:site_name": book["name"],
        "og:description": about,
        "og:image": image,
        "og:image:alt": IMAGE_ALT,
        "og:url": address,
    }
    return {name: content for name, content in found.items() if content}


def as_html(found: dict) -> str:
    lines = []
    for name, content in found.items():
        kind = "property" if name.startswith("og:") else "name"
        for value in content if isinstance(content, list) else [content]:
            lines.append(f'<meta {kind}="{name}" content="{escape(value)}" />')
    return "\n".join(lines) + "\n"


def add_tags(app, page: str, template: str, context: dict, doctree) -> None:
    """Called for each page; those that Sphinx makes, search and index, have no text."""
    if doctree is None:
        return
    citation = read_citation(app.srcdir)
    base = app.config.html_baseurl and app.config.html_baseurl.rstrip("/") + "/"
    book = {
        "title": citation["title"],
        "name": app.config.html_title,
        "authors": authors(citation),
        "year": year(app.config),
    }
    found = tags(
        app.env.titles[page].astext(),
        description(doctree),
        book=book,
        home=page == app.config.root_doc,
        image=f"{base}{IMAGE}" if base else context["pathto"](IMAGE, resource=True),
        address=f"{base}{app.builder.get_target_uri(page)}" if base else "",
    )
    context["metatags"] = context.get("metatags", "") + as_html(found)


def setup(app) -> dict:
    app.connect("html-page-context", add_tags)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
