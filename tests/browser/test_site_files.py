"""The files of the built book fit together: its links lead to pages and places that exist, and its
icons are in the icon fonts, which hold no others.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from fontTools.ttLib import TTFont

SITE = Path(__file__).resolve().parents[2] / "_build" / "html"
PAGES = sorted(
    p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if "_static" not in p.parts
)

pytestmark = pytest.mark.skipif(not PAGES, reason="there is no built book: run make book")


class Anchors(HTMLParser):
    """The places of a page, and where its links, pictures and scripts lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.places.add(value or "")
            elif name in ("href", "src"):
                self.links.add(value or "")


def broken(pages: dict[str, Anchors], site: Path) -> list[tuple[str, str]]:
    found = []
    for name, page in pages.items():
        for link in sorted(page.links):
            if urlsplit(link).scheme:  # another site, mail, or data
                continue
            target = urlsplit(urljoin(f"/{name}", link))
            path, place = unquote(target.path).lstrip("/"), unquote(target.fragment)
            there = (site / path).is_file()
            no_place = place and path in pages and place not in pages[path].places
            if not there or no_place:
                found.append((name, link))
    return found


def test_internal_links_and_anchors_lead_somewhere():
    pages = {name: Anchors((SITE / name).read_text(encoding="utf-8")) for name in PAGES}
    assert broken(pages, SITE) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").touch()
    page = Anchors('<p id="here"><a href="#here"><a href="a.html#there"><img src="gone.png">')
    assert broken({"a.html": page}, tmp_path) == [
        ("a.html", "a.html#there"),
        ("a.html", "gone.png"),
    ]


def test_every_icon_of_the_pages_is_in_a_font():
    [icons] = (SITE / "_static" / "vendor" / "fontawesome").iterdir()
    sheet = (icons / "css" / "all.min.css").read_text(encoding="utf-8")
    assert len(sheet) < 30_000
    drawn = set()
    for file in (icons / "webfonts").glob("*.ttf"):
        with TTFont(file) as font:
            drawn |= set(font.getBestCmap())
    assert len(drawn) < 100
    text = "".join((SITE / name).read_text(encoding="utf-8") for name in PAGES)
    named = {
        name
        for classes in re.findall(r'<i class="([^"]*)"', text)
        for name in classes.split()
        if name.startswith("fa-") and name not in ("fa-solid", "fa-brands", "fa-regular", "fa-lg")
    }
    for name in named:
        rule = re.search(rf'\.{name}:before(?:,[^{{]*)?{{content:"\\(\w+)"', sheet)
        assert rule is not None, name
        assert int(rule[1], 16) in drawn, name
