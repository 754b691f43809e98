"""Slides of each chapter: its title, its answer, and its figures with their captions.

`make slides` runs

    python book/_ext/slides.py _build/html

after `make book`. It writes slides/NAME.html into the built site, from whose pages the figures,
formulas and numbers come: plain pages that need no network, one screen a slide, printable.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bs4 import BeautifulSoup, Tag

STYLE = """
html { scroll-snap-type: y mandatory; scroll-behavior: smooth; font-family: sans-serif; }
body { margin: 0; font-size: clamp(1rem, 1.6vw, 2rem); line-height: 1.4; color: #222;
  background: #fff; }
section { box-sizing: border-box; min-height: 100vh; padding: 4vh 6vw; scroll-snap-align: start;
  display: flex; flex-direction: column; justify-content: center; break-after: page; }
figure { margin: 0; text-align: center; }
img { width: auto; max-width: 100%; height: 66vh; object-fit: contain; }
figcaption { margin-top: 2vh; text-align: left; }
figcaption p { margin: 0; }
a { color: #0b5ccc; }
"""

# Arrow keys, space and page keys go to the next slide or the one before.
SCRIPT = """
addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1,
    ArrowLeft: -1, ArrowUp: -1, PageUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const slides = [...document.querySelectorAll("section")];
  const here = Math.round(scrollY / innerHeight);
  slides[Math.min(Math.max(here + step, 0), slides.length - 1)].scrollIntoView();
});
"""


def slides_of(page: str, name: str) -> str | None:
    """The slides of a built page, as a page beside it in the site; None where it has no figures."""
    soup = BeautifulSoup(page, "html.parser")
    article = soup.find("article")
    figures = article.find_all("figure") if article else []
    figures = [figure for figure in figures if figure.img and figure.figcaption]
    if not figures:
        return None
    for link in article.select("a.headerlink"):
        link.decompose()
    for link in article.find_all("a", href=True):
        if "://" not in link["href"]:
            start = f"../book/{name}" if link["href"].startswith("#") else "../book/"
            link["href"] = start + link["href"]
    title = article.h1.get_text()
    answer = article.find("em")
    opening = f"<h1>{article.h1.decode_contents()}</h1><p>{answer or ''}</p>"
    whole = f'<p><a href="../book/{name}">The chapter</a></p>'
    sections = [opening + whole, *map(figure_alone, figures)]
    body = "".join(f"<section>{section}</section>\n" for section in sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style>{formula_scripts(soup)}</head>\n"
        f"<body><main>{body}</main><script>{SCRIPT}</script></body></html>\n"
    )


def figure_alone(figure: Tag) -> str:
    """A figure without the width and the links that it has on its page."""
    alt, source = figure.img.get("alt", ""), figure.img["src"]
    image = BeautifulSoup().new_tag("img", src=source, alt=alt)
    return f"<figure>{image}{figure.figcaption}</figure>"


def formula_scripts(soup: BeautifulSoup) -> str:
    """MathJax as the page loads it."""
    scripts = [
        s for s in soup.find_all("script") if "mathjax" in f"{s.get('src')}{s.string}".lower()
    ]
    return "".join(map(str, scripts))


def write_slides(site: Path) -> list[Path]:
    written = []
    (site / "slides").mkdir(exist_ok=True)
    for page in sorted((site / "book").glob("*.html")):
        slides = slides_of(page.read_text(encoding="utf-8"), page.name)
        if slides is not None:
            written.append(site / "slides" / page.name)
            written[-1].write_text(slides, encoding="utf-8")
    return written


if __name__ == "__main__":
    for path in write_slides(Path(sys.argv[1])):
        print(path)
