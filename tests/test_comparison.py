"""The page that compares this book with others: what it says of this one is so, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MARKS = {"yes", "no", "part", "not found"}

# Where each feature of this book is: a file, and what it must say. Where the page says "no", the
# file must not say it.
EVIDENCE = {
    "built by one command": ("Makefile", r"^book:"),
    "tested by one command": ("Makefile", r"^test:"),
    "run time and memory on the page": ("book/05-symmetrization.ipynb", r"run_time.*memory"),
    "each chapter as notebook and script": ("_config.yml", r"scripts: book/_ext"),
    "Colab and Binder, with a cell that installs": ("book/05-symmetrization.ipynb", "pip.*install"),
    "numbered chapters, theorems, figures, equations, linked": ("_config.yml", "numfig: true"),
    "exercises with folded solutions that run": ("book/05-symmetrization.ipynb", "{solution}"),
    "exercises that check themselves": ("book/05-symmetrization.ipynb", r"symvi\.book\.check\("),
    "numbers in the text from the run": ("book/05-symmetrization.ipynb", r"{glue:text}"),
    "ledger of claims, sortable": ("symvi/book/ledger_table.py", "aria-sort"),
    "interactive figures without a server": ("book/03-mode-seeking.ipynb", "interactive"),
    "one figure style, light and dark": ("book/_static/book.css", "invert"),
    "alt text and keyboard, tested": ("tests/browser/test_pages.py", "Axe"),
    "phone layout without cut code, tested": ("tests/browser/test_pages.py", "390"),
    "a site without a network, tested": ("tests/browser/test_pages.py", r"route\.abort"),
    "PDF": ("Makefile", r"^pdf:"),
    "BibTeX of a chapter, metadata on pages": ("book/cite.md", r"{bibtex} chapters"),
    "API and chapters linked both ways": ("_config.yml", "api_links"),
    "the reader's own network in and out": ("book/api.md", "from_torch"),
    "instructor page and course plans": ("_toc.yml", "book/teaching"),
}


def rows() -> dict[str, list[str]]:
    text = (ROOT / "book" / "comparison.md").read_text(encoding="utf-8")
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line[:2] == "| "]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def test_twenty_features_of_six_books():
    assert set(rows()) == set(EVIDENCE)
    assert len(EVIDENCE) == 20
    assert {len(cells) for cells in rows().values()} == {6}
    assert {cell for cells in rows().values() for cell in cells[1:]} <= MARKS | {"notebook"}


@pytest.mark.parametrize("feature", EVIDENCE)
def test_what_is_said_of_this_book_is_so(feature):
    name, pattern = EVIDENCE[feature]
    text = (ROOT / name).read_text(encoding="utf-8")
    there = re.search(pattern, text, re.M) is not None
    assert there == (rows()[feature][0] != "no")
