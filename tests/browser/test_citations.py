"""The built book: its anchors are where links expect them, its tags are plain, its entries copy.

Run by ``make check-pages`` after ``make book``; skipped where the built book is missing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
PAGES = sorted(SITE.glob("book/*.html"))
KEPT = (ROOT / "tests" / "book" / "anchors.txt").read_text(encoding="utf-8").split()

pytestmark = pytest.mark.skipif(not PAGES, reason="there is no built book: run make book")


def by_page() -> dict[str, set[str]]:
    found = defaultdict(set)
    for address in KEPT:
        page, anchor = address.split("#")
        found[page].add(anchor)
    return found


@pytest.mark.parametrize("page", sorted(by_page()))
def test_every_anchor_is_on_its_page(page):
    html = (SITE / "book" / page).read_text(encoding="utf-8")
    assert by_page()[page] - set(re.findall(r'\bid="([^"]+)"', html)) == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_the_tags_of_a_page_are_plain_text(path):
    html = path.read_text(encoding="utf-8")
    meta = dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', html))
    assert {"citation_title", "citation_author", "og:title", "og:image"} <= set(meta)
    shown = [unescape(meta.get(name, "")) for name in ("og:title", "og:description")]
    assert [text for text in shown if re.search(r"[\\${}]", text)] == []
    image = meta["og:image"]
    assert image.startswith("https://") or (path.parent / image).is_file()


def test_a_button_copies_an_entry(browser, base):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{base}book/cite.html")
    entries = page.locator(".highlight-bibtex")
    assert page.locator(".highlight-bibtex button.copybtn").count() == entries.count()
    entries.nth(1).locator("button.copybtn").click()
    page.wait_for_timeout(200)
    copied = page.evaluate("() => navigator.clipboard.readText()")
    context.close()
    assert copied.startswith("@book{symvi,\n") and copied.rstrip().endswith("}")
