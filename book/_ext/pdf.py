"""The whole book as one PDF, from the built site.

`make pdf` runs

    python book/_ext/pdf.py _build/html _build/symmetry-and-variational-inference.pdf

after `make book`. The pages of the contents are put behind each other, links between them become
links within the document, proofs and solutions are unfolded, hidden code and buttons are left out,
and Chromium prints the result with an outline.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfWriter
from pypdf.generic import NameObject, TextStringObject
from slides import formula_scripts

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PLACED = "whole-book"  # how the file begins that Chromium prints
LONGEST = 900_000  # milliseconds for some hundred pages

# What leads nowhere on paper: links to a heading itself, buttons, controls, scripts, folded code.
LEFT_OUT = (
    "a.headerlink, script, button, input, select, details.above-input, details.hide > summary, "
    ".anim-controls"
)
FIRST_FRAME = re.compile(r'frames\[0\] = "(data:image/png;base64,.+?)"', re.S)
# Attributes that name the id of another element.
NAMING = ("id", "for", "aria-labelledby", "aria-describedby", "aria-controls")

STYLE = """
@page { size: A4; margin: 18mm 16mm 20mm; }
html { font-size: 10.5pt !important; }
body { background: #fff; color: #000; }
main { display: block; max-width: none; }
article, .part { break-before: page; }
article:first-child { break-before: auto; }
.part { display: flex; height: 240mm; align-items: center; justify-content: center; }
h1 { font-size: 20pt; } h2 { font-size: 15pt; } h3 { font-size: 12pt; }
h1, h2, h3, h4, h5, .admonition-title, summary, caption { break-after: avoid; }
figure, tr, svg, .cell_output img, mjx-container[display="true"], .cell_input, .highlight,
.proof, .admonition.exercise { break-inside: avoid; }
figcaption { break-before: avoid; }
img, svg { max-width: 100%; height: auto; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 8pt; }
code { overflow-wrap: anywhere; }
table { font-size: 8pt; display: table !important; width: auto; max-width: 100%; }
td { overflow-wrap: anywhere; }
th, td strong { overflow-wrap: normal; }
.toggle-hidden, .toggle-hidden > *, .dropdown > * { display: block !important;
  height: auto !important;
  visibility: visible !important; opacity: 1 !important; }
.math, .pst-scrollable-table-container, .cell_output { overflow: visible !important; }
"""

PAPER = {"width": 673, "height": 980}  # between the margins of A4, in CSS pixels

# Formulas wider than the page are set smaller.
FIT_FORMULAS = """
async () => {
  await MathJax.startup.promise;
  for (const formula of document.querySelectorAll("mjx-container[display='true'] > mjx-math")) {
    const room = formula.closest(".math, p, dd, li, div").clientWidth;
    const width = formula.getBoundingClientRect().width;
    if (width > room) formula.style.fontSize = `${Math.floor(98 * room / width)}%`;
  }
}
"""

FOOTER = (
    '<div style="width: 100%; font-size: 8px; text-align: center; color: #555">'
    '<span class="pageNumber"></span></div>'
)


def whole_book(site: Path, contents: dict) -> str:
    """All pages of the contents as one page, which belongs into the site's folder book/."""
    root = contents["root"]
    first = BeautifulSoup((site / f"{root}.html").read_text(encoding="utf-8"), "html.parser")
    names = {name for part in contents["parts"] for name in _pages(part)} | {root}
    articles = [_article(site, root, names)]
    for part in contents["parts"]:
        articles.append(f'<div class="part"><h1>{part["caption"]}</h1></div>')
        articles += [_article(site, name, names) for name in _pages(part)]
    body = "\n".join(articles)
    styles = "".join(map(str, first.select('link[rel~="stylesheet"]')))
    return (
        '<!doctype html>\n<html lang="en" data-theme="light" data-mode="light"><head>'
        f'<meta charset="utf-8"><title>{first.title.get_text()}</title>{styles}'
        f"<style>{STYLE}</style>{formula_scripts(first)}</head>\n"
        f'<body><main class="bd-content">{body}</main></body></html>\n'
    )


def _pages(part: dict) -> list[str]:
    return [listed["file"] for listed in part["chapters"]]


def _article(site: Path, name: str, names: set[str]) -> str:
    """The text of one page, with ids of its own and links that stay in the document."""
    page = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    article = page.find("article")
    for animation in article.select(".animation"):
        animation.img["src"] = _first_frame(animation)
    for unwanted in article.select(LEFT_OUT):
        if not unwanted.decomposed:
            unwanted.decompose()
    for details in article.find_all("details"):
        details["open"] = ""
    for element in article.find_all(True):
        _rename(element, name, names)
    article["id"] = _id(name, "")
    return str(article)


def _first_frame(animation: Tag) -> str:
    """The picture that an animation begins with, as its script holds it."""
    script = animation.find_next("script").string
    return FIRST_FRAME.search(script)[1].replace("\\\n", "")


def _rename(element: Tag, name: str, names: set[str]) -> None:
    for attribute in NAMING:
        if attribute in element.attrs and not element.find_parent("svg"):
            targets = " ".join(element.get_attribute_list(attribute)).split()
            element[attribute] = " ".join(_id(name, target) for target in targets)
    if element.name == "a" and "href" in element.attrs:
        link = _link(element["href"], name, names)
        if link is None:
            del element["href"]
        else:
            element["href"] = link


def _link(link: str, name: str, names: set[str]) -> str | None:
    """Where a link of the page `name` leads in the document; None for a file that is not in it.

    A link to another site stays what it is.
    """
    if "://" in link or link.startswith("mailto:"):
        return link
    file, _, anchor = urljoin(f"/{name}.html", link).removeprefix("/").partition("#")
    target = file.removesuffix(".html")
    return f"#{_id(target, anchor)}" if target in names else None


def _id(name: str, anchor: str) -> str:
    return f"{Path(name).name}--{anchor}"


def browser_path() -> str:
    """The path of Chromium: $CHROMIUM, or the first of its usual names."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise FileNotFoundError("Chromium is missing: install it, or name its path in $CHROMIUM")
    return found


@contextmanager
def placed(document: str, folder: Path) -> Iterator[Path]:
    """The document as a file of its own in the folder: two may print at once. It goes again."""
    name = f"{PLACED}-{os.getpid()}-{secrets.token_hex(4)}.html"
    path = folder / name
    path.write_text(document, encoding="utf-8")
    try:
        yield path
    finally:
        path.unlink()


def write_pdf(site: Path, document: str, path: Path) -> None:
    """Print a document that belongs into the site's folder book/; nothing half-written is left."""
    from playwright.sync_api import sync_playwright

    begun = path.with_suffix(".part")
    with sync_playwright() as play, placed(document, site / "book") as file:
        browser = play.chromium.launch(executable_path=browser_path(), args=FLAGS)
        page = browser.new_page(viewport=PAPER)
        page.set_default_timeout(LONGEST)
        page.emulate_media(media="print", color_scheme="light")
        page.goto(file.resolve().as_uri(), wait_until="load")
        page.evaluate(FIT_FORMULAS)
        page.pdf(
            path=str(begun),
            prefer_css_page_size=True,
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            outline=True,
            tagged=True,
        )
        browser.close()
    _mend_outline(begun)
    begun.replace(path)


def _mend_outline(path: Path) -> None:
    """Chromium writes a heading at the top of a page twice into the outline: "CiteCite"."""
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it notes that Chromium miscounts objects
    document = PdfWriter(clone_from=path)
    entries = [document.root_object["/Outlines"]]
    for entry in entries:
        title = entry.get("/Title", "")
        first, second = title[: len(title) // 2], title[len(title) // 2 :]
        if title and first == second:
            entry[NameObject("/Title")] = TextStringObject(first)
        entries += [entry[place] for place in ("/First", "/Next") if place in entry]
    document.write(path)


def main(site: str, path: str) -> None:
    contents = yaml.safe_load(Path("_toc.yml").read_text(encoding="utf-8"))
    print("Printing the book takes some minutes.", flush=True)
    write_pdf(Path(site), whole_book(Path(site), contents), Path(path))
    print(f"The book is in {path} ({Path(path).stat().st_size / 1e6:.0f} MB)")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FileNotFoundError as error:
        sys.exit(str(error))
