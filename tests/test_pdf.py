"""The built pages become one document: ids of their own, links within, nothing folded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

sys.path.append(str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import pdf

INTRO = """<html><head><title>Book</title><link rel="stylesheet" href="../_static/book.css">
<script>window.MathJax = {}</script><script defer src="../_static/mathjax/startup.js"></script>
<script src="../_static/other.js"></script></head><body><nav>menu</nav><article>
<h1>Book<a class="headerlink" href="#book">#</a></h1>
<a href="01.html">chapter</a><a href="01.html#thm">theorem</a><a href="#here">here</a>
<a href="https://example.com/">away</a><p id="here">text</p></article></body></html>"""

CHAPTER = """<html><body><article><section id="one"><span id="ch-one"></span><h1>One</h1>
<details class="hide above-input"><summary>Show code</summary>hidden code</details>
<details><summary>Proof</summary>unfolded</details><p id="thm">Theorem</p>
<a href="intro.html#here">back</a><a href="../index.html">elsewhere</a>
<svg><g id="clip"></g></svg><label for="thm">label</label>
<div class="animation"><img alt="Moving"><div class="anim-controls">controls</div></div>
<script>frames[0] = "data:image/png;base64,AAA\\
BBB"
frames[1] = "data:image/png;base64,CCC"</script></section></article></body></html>"""

CONTENTS = {
    "root": "book/intro",
    "parts": [{"caption": "Part I", "chapters": [{"file": "book/01"}]}],
}


@pytest.fixture
def document(tmp_path) -> BeautifulSoup:
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "intro.html").write_text(INTRO, encoding="utf-8")
    (tmp_path / "book" / "01.html").write_text(CHAPTER, encoding="utf-8")
    return BeautifulSoup(pdf.whole_book(tmp_path, CONTENTS), "html.parser")


def test_pages_stand_in_the_order_of_the_contents(document):
    headings = [heading.get_text() for heading in document.find_all("h1")]
    assert headings == ["Book", "Part I", "One"]
    assert "menu" not in document.get_text()


def test_links_stay_in_the_document(document):
    links = {link.get_text(): link["href"] for link in document.find_all("a", href=True)}
    assert links == {
        "chapter": "#01--",
        "theorem": "#01--thm",
        "here": "#intro--here",
        "away": "https://example.com/",
        "back": "#intro--here",
    }
    assert "elsewhere" in document.get_text()
    for link in links.values():
        assert not link.startswith("#") or document.find(id=link[1:]) is not None


def test_ids_are_of_their_own_page_and_drawings_keep_theirs(document):
    ids = [element["id"] for element in document.find_all(id=True)]
    chapter = ["01--", "01--ch-one", "01--one", "01--thm", "clip"]
    assert sorted(ids) == [*chapter, "intro--", "intro--here"]
    assert document.find("label")["for"] == "01--thm"


def test_what_leads_nowhere_on_paper_is_left_out(document):
    text = document.main.get_text()
    assert "hidden code" not in text and "controls" not in text and "#" not in text
    assert [details.get("open") for details in document.find_all("details")] == [""]
    assert document.img["src"] == "data:image/png;base64,AAABBB"


def test_only_formulas_have_a_script(document):
    assert len(document.find_all("script")) == 2
    assert document.main.find("script") is None
    assert document.find("link", rel="stylesheet")["href"] == "../_static/book.css"


def test_a_missing_browser_is_said(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"install it, or name its path in \$CHROMIUM"):
        pdf.browser_path()


def test_two_may_be_printed_at_once_and_nothing_stays(tmp_path):
    with pdf.placed("first", tmp_path) as first, pdf.placed("second", tmp_path) as second:
        texts = [path.read_text(encoding="utf-8") for path in (first, second)]
        assert texts == ["first", "second"]
    assert not list(tmp_path.iterdir())
