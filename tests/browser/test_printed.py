"""The built book as one document, and a part of it printed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
SCRIPT = ROOT / "book" / "_ext" / "pdf.py"
CHAPTER = "book/03-mode-seeking"  # a theorem, wide formulas, an animation, an interactive figure

sys.path.append(str(SCRIPT.parent))
import pdf  # noqa: E402


def test_every_link_within_the_book_has_its_place():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    document = BeautifulSoup(pdf.whole_book(SITE, contents), "html.parser")
    ids = Counter(e["id"] for e in document.find_all(id=True) if e.find_parent("svg") is None)
    links = {link["href"] for link in document.select('a[href^="#"]')}
    assert len(links) > 500
    assert not {link for link in links if link[1:] not in ids}
    # sphinx-proof and sphinx-exercise name the content of each box alike; no link leads there
    assert not {name for name, count in ids.items() if count > 1 and name[-8:] != "-content"}


@pytest.fixture(scope="module")
def printed(executable, tmp_path_factory) -> PdfReader:
    folder = tmp_path_factory.mktemp("pdf")
    part = {"caption": "Part I", "chapters": [{"file": CHAPTER}]}
    contents = yaml.safe_dump({"root": "book/intro", "parts": [part]})
    (folder / "_toc.yml").write_text(contents, encoding="utf-8")
    command = [sys.executable, str(SCRIPT), str(SITE), "book.pdf"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    assert [path.name for path in folder.glob("book.*")] == ["book.pdf"]
    return PdfReader(folder / "book.pdf")


def titles(entries) -> list[str]:
    flat = []
    for entry in entries:
        flat += titles(entry) if isinstance(entry, list) else [entry.title]
    return flat


def test_the_outline_has_each_heading_once(printed):
    found = titles(printed.outline)
    assert {"Cite", "Part I"} <= set(found)
    assert sum("When is reverse KL mode seeking?" in title for title in found) == 1
    assert not [t for t in found if t[: len(t) // 2] == t[len(t) // 2 :]]


def test_text_and_pictures_are_printed(printed):
    text = "".join(page.extract_text() for page in printed.pages)
    assert 10 < len(printed.pages) < 40
    for words in ("Theorem 3.1", "Proof", "Solution to", "Fig. 3.3"):
        assert words in text
    assert "Show code cell" not in text
    assert sum(len(page.images) for page in printed.pages) > 3


def test_links_within_lead_to_pages_and_not_to_files(printed):
    notes = [note.get_object() for page in printed.pages for note in page.get("/Annots", [])]
    targets = [str(note.get("/A", {}).get("/URI", "")) for note in notes]
    assert sum(target == "" for target in targets) > 10
    assert not [target for target in targets if target.startswith("file:")]
