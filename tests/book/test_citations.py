"""A small book, built with the extensions of ours: its citations, its tags, its links."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from docutils import nodes
from pybtex.database import parse_string

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
sys.path.append(str(BOOK / "_ext"))

import api_links  # noqa: E402
import chapters  # noqa: E402
import cite  # noqa: E402
import meta_tags  # noqa: E402

CONF = f"""
import sys
sys.path.append({str(BOOK / "_ext")!r})
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_external_toc", "cite", "meta_tags",
              "api_links"]
nb_execution_mode = "off"
html_theme = "basic"
html_title = "A book"
html_static_path = [{str(BOOK / "_static")!r}]
copyright = "2026"
myst_enable_extensions = ["dollarmath"]
autodoc_docstring_signature = False
suppress_warnings = ["docutils", "ref", "myst"]
"""
CONTENTS = """
format: jb-book
root: book/intro
parts:
  - caption: One
    numbered: 2
    chapters: [{file: book/01-first}, {file: book/02-second}]
  - caption: Appendices
    chapters: [{file: book/appendix-more}]
  - caption: Reference
    chapters: [{file: book/api}, {file: book/cite}]
"""
INTRO = "# A book\n\n*What it is, for $\\lvert G\\rvert$ and\n$\\widehat R$.* More.\n"
API = """# Names

```{eval-rst}
.. autofunction:: symvi.fit
.. autofunction:: symvi.nuts
.. autofunction:: symvi.orbit_information
.. autoclass:: symvi.Bounds
.. autofunction:: symvi.data.mcycle
.. autofunction:: symvi.book.answers.check
```
"""
CITE = "# Cite\n\n" + "".join(
    f"```{{bibtex}} {group}\n```\n\n" for group in ("paper", "book", "chapters", "references")
)


def prose(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": [source]}


def code(source: str, *tags: str) -> dict:
    rest = {"outputs": [], "execution_count": None}
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": [source], **rest}


def notebook(*cells: dict) -> dict:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4}


FIRST = notebook(
    prose("(ch-first)=\n# First & foremost\n\n*An answer.*\n\n## Part\n\nText."),
    code("import symvi\nfrom symvi.data import mcycle as data", "hide-input"),
    code("fit = symvi.fit(data())\nfit.predict(1)\nsymvi.orbit_information(fit)"),
    code("symvi.nuts()", "remove-cell"),
    code("symvi.book.check('ex', 1)\nsymvi.nothing"),
)
SECOND = notebook(prose("# Second"), code("import symvi\nsymvi.fit()\nsymvi.orbit_information()"))
MORE = notebook(prose("# More"), code("from symvi import fit\nfit()"))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the built pages."""
    root = tmp_path_factory.mktemp("book")
    (root / "book").mkdir()
    files = {
        "conf.py": CONF,
        "_toc.yml": CONTENTS,
        "CITATION.cff": (ROOT / "CITATION.cff").read_text(encoding="utf-8"),
        "book/references.bib": (BOOK / "references.bib").read_text(encoding="utf-8"),
        "book/intro.md": INTRO,
        "book/api.md": API,
        "book/cite.md": CITE,
        "book/01-first.ipynb": json.dumps(FIRST),
        "book/02-second.ipynb": json.dumps(SECOND),
        "book/appendix-more.ipynb": json.dumps(MORE),
    }
    for name, content in files.items():
        (root / name).write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(root)]
    done = subprocess.run([*command, str(root / "html")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root / "html" / "book"


class Page(HTMLParser):
    """The meta tags of a page, the entries of BibTeX in it, and its small print with links."""

    def __init__(self, path: Path):
        super().__init__()
        self.meta: dict[str, list[str]] = {}
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "meta" and "content" in found:
            name = found.get("name") or found.get("property")
            self.meta.setdefault(name, []).append(found["content"])

    @property
    def entries(self) -> list[str]:
        boxes = re.findall(r'<div class="highlight-bibtex.*?<pre>(.*?)</pre>', self.html, re.S)
        return [words(box) for box in boxes]

    def paragraphs(self, name: str) -> list[str]:
        return re.findall(rf'<p class="{name}">(.*?)</p>', self.html, re.S)


def words(html: str) -> str:
    return unescape(re.sub("<[^>]*>", "", html))


def links(html: str) -> dict[str, str]:
    found = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', html, re.S)
    return {words(inner): address for address, inner in found}


# --- citations ---


def test_every_entry_is_bibtex_and_has_a_key_of_its_own(site):
    entries = Page(site / "cite.html").entries
    parsed = parse_string("\n".join(entries), "bibtex").entries
    assert list(parsed) == [
        "gelberg2024",
        "symvi",
        "symvi-first",
        "symvi-second",
        "symvi-appendix-more",
        "symvi-reference-posteriors",
    ]
    assert parsed["symvi-first"].fields["title"] == r"{First \& foremost}"
    assert parsed["symvi-second"].fields["chapter"] == "2"
    assert "chapter" not in parsed["symvi-appendix-more"].fields
    for entry in list(parsed.values())[1:]:
        assert entry.fields["year"] == "2026"
        assert entry.fields["note"] == f"Version {chapters.read_citation(ROOT)['version']}"
        assert [str(person) for person in entry.persons["author"]] == ["{The symvi contributors}"]
        assert "url" not in entry.fields


def test_a_chapter_links_to_its_entry(site):
    for name, label in (("01-first", "chapter"), ("appendix-more", "appendix")):
        foot = Page(site / f"{name}.html").paragraphs("symvi-foot")[-1]
        (address,) = links(foot).values()
        assert words(foot) == f"Cite this {label}"
        page, anchor = address.split("#")
        assert f'<p id="{anchor}">' in (site / page).read_text(encoding="utf-8")
    assert Page(site / "intro.html").paragraphs("symvi-foot") == []


def test_entries_have_addresses_once_the_site_has_one():
    entries = cite.Entries(ROOT, "2026", "https://example.org/book")
    (first, *_) = chapters.read_chapters(ROOT)
    assert "url       = {https://example.org/book/book/01-" in entries.chapter(first)
    assert "url    = {https://example.org/book/}" in entries.book()


def test_chapters_are_those_of_the_contents():
    found = chapters.read_chapters(ROOT)
    numbers = [c.number for c in found if c.number]
    assert numbers == list(range(1, len(numbers) + 1))
    filed = [(c.number, int(c.page[5:7])) for c in found if re.match(r"book/\d\d-", c.page)]
    assert [a for a, b in filed] == [b for a, b in filed]
    pages = {c.page for c in found}
    for file in [*BOOK.glob("[0-9][0-9]-*.ipynb"), *BOOK.glob("appendix-*.ipynb")]:
        assert f"book/{file.stem}" in pages


def test_the_book_shows_every_group_of_entries():
    page = (BOOK / "cite.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^```{bibtex} (\w+)$", page, re.M)) == [
        "book",
        "chapters",
        "paper",
        "references",
    ]
    assert chapters.authors({"authors": [{"family-names": "Gal", "given-names": "Y."}]}) == [
        "Gal, Y."
    ]


# --- tags ---


def test_a_chapter_has_citation_tags_and_a_preview(site):
    meta = Page(site / "01-first.html").meta
    assert meta["citation_title"] == meta["og:title"] == ["First & foremost"]
    assert meta["citation_author"] == ["The symvi contributors"]
    assert meta["citation_publication_date"] == ["2026"]
    assert meta["citation_inbook_title"] == [chapters.read_citation(ROOT)["title"]]
    assert meta["og:description"] == meta["description"] == ["An answer."]
    assert meta["og:type"] == ["article"] and meta["og:site_name"] == ["A book"]
    assert (site / meta["og:image"][0]).resolve().is_file()
    assert {"og:url", "citation_public_url"} & set(meta) == set()  # no address is known


def test_the_first_page_stands_for_the_book(site):
    meta = Page(site / "intro.html").meta
    assert meta["citation_title"] == [chapters.read_citation(ROOT)["title"]]
    assert "citation_inbook_title" not in meta and meta["og:type"] == ["website"]
    assert meta["og:description"] == ["What it is, for |G| and R-hat. More."]


def test_addresses_are_whole_once_the_site_has_one():
    book = {"title": "A", "name": "A", "authors": ["B", "C"], "year": "2026"}
    there = "https://example.org/a.html"
    found = meta_tags.tags("T", "", book=book, home=False, image="i.png", address=there)
    assert found["og:url"] == found["citation_public_url"] == there
    html = meta_tags.as_html({**found, "og:title": 'a "b" <c>'})
    assert html.count('name="citation_author"') == 2
    assert 'content="a &quot;b&quot; &lt;c&gt;"' in html and "description" not in html


def test_formulas_become_characters():
    sentence = nodes.emphasis("", "", nodes.Text("Up to "), nodes.math("", r"\log \lvert G\rvert"))
    assert meta_tags.text_of(sentence) == "Up to log |G|"
    assert meta_tags.plain(r"\log\lvert G\rvert - I") == "log|G| - I"


# --- links between chapters and the API page ---


def test_an_entry_links_to_the_chapters_that_use_it(site):
    page = Page(site / "api.html")
    lines = page.paragraphs("symvi-chapters")
    assert [words(line) for line in lines] == [
        "Developed in chapter 1; used in chapter 2, and in the appendix More.",
        "Developed in chapter 1; used in chapter 2.",
        "Developed in chapter 1.",
        "Developed in chapter 1.",
    ]
    assert links(lines[0]) == {
        "chapter 1": "01-first.html",
        "2": "02-second.html",
        "More": "appendix-more.html",
    }
    fit = page.html.index('id="symvi.fit"')
    assert fit < page.html.index(lines[0]) < page.html.index('id="symvi.nuts"')


def test_a_chapter_links_to_the_entries_of_what_it_shows(site):
    (names, _) = Page(site / "01-first.html").paragraphs("symvi-foot")
    assert links(names) == {
        "book.check": "api.html#symvi.book.answers.check",
        "data.mcycle": "api.html#symvi.data.mcycle",
        "fit": "api.html#symvi.fit",
        "orbit_information": "api.html#symvi.orbit_information",
    }
    anchors = (site / "api.html").read_text(encoding="utf-8")
    assert all(f'id="{address.split("#")[1]}"' in anchors for address in links(names).values())


def test_names_are_found_under_every_import():
    book = notebook(
        code("import symvi as s, numpy as np\nfrom symvi import vi\nimport symvi.data"),
        code("s.fit(np.ones(3), vi.predict)\nsymvi.data.mcycle().x\n[a.symvi for a in b]"),
        code("s.elbo()", "hide-cell"),
    )
    assert api_links.used_names(book) == ["symvi.fit", "symvi.vi.predict", "symvi.data.mcycle"]


@pytest.fixture(scope="module")
def table() -> dict[str, list[chapters.Chapter]]:
    """For each function and class that the API page names one by one, its chapters."""
    import symvi

    page = (BOOK / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. auto(?:class|function):: (\S+)$", page, re.M))
    named |= {name for name in api_links.DEVELOPED if api_links.found(name)}
    assert {f"symvi.{n}" for n in symvi.__all__} - named <= {
        f"symvi.{family}" for family in ("baselines", "book", "data", "information", "permanents")
    }
    whole = chapters.read_chapters(ROOT)
    used = api_links.uses(ROOT, api_links.Entries(named), [c.page for c in whole])
    return {name: api_links.chapters_of(name, whole, used) for name in named}


NOT_IN_A_CHAPTER = {
    "symvi.claim": "chapters record claims in hidden cells",
    "symvi.sweep": "the page on costs and the committed results",
}


def test_every_public_name_has_a_chapter(table):
    import symvi

    names = {f"symvi.{name}" for name in symvi.__all__} & set(table)
    assert {name for name in names if not table[name]} == set(NOT_IN_A_CHAPTER)


def test_what_is_said_to_develop_a_name_says_its_name(table):
    for name, chapter in api_links.DEVELOPED.items():
        first = table[name][0]
        assert first.name == chapter, name
        text = chapters.source_file(ROOT, first.page).read_text(encoding="utf-8")
        assert name.split(".")[-1].lower() in text.lower(), name
