"""Every page of the built book in headless Chromium with the network blocked, as a reader without
one sees it.

Run by ``make check-pages`` after ``make book``; skipped where Chromium or the built book is
missing.
"""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parents[2] / "_build" / "html"
PAGES = sorted(
    p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if "_static" not in p.parts
)

pytestmark = pytest.mark.skipif(not PAGES, reason="there is no built book: run make book")

FORMULAS = r"""() => ({
  unrendered: [...document.querySelectorAll('.math')]
    .filter(e => !e.querySelector('mjx-container')).map(e => e.textContent),
  broken: [...document.querySelectorAll('mjx-merror, [data-mjx-error]')]
    .map(e => e.getAttribute('data-mjx-error') || e.textContent),
  markup: [...document.querySelectorAll('article .problematic, article .system-message')]
    .map(e => e.textContent.trim()),
  raw: (document.querySelector('article').innerText.match(/\\\(|\\\[|\\begin\{|\$\$/g) || []),
})"""
IMAGES = """() => [...document.querySelectorAll('article img')].map(i => (
  {src: i.src.slice(0, 100), alt: (i.getAttribute('alt') || '').trim(),
   ok: i.complete && i.naturalWidth > 0}))"""
WIDTHS = """() => ({page: document.documentElement.scrollWidth, window: window.innerWidth,
  wide: [...document.querySelectorAll('article *')]
    .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).slice(0, 3)
    .map(e => e.outerHTML.slice(0, 120))})"""


@pytest.fixture(scope="module")
def base():
    """The address of a server for the built site on this machine."""
    handler = type(
        "Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}
    )
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(SITE))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def tab(browser, base):
    """A tab, with the list of everything that went wrong in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.route(
        "**/*",
        lambda route: (
            route.continue_()
            if route.request.url.startswith((base, "data:", "blob:"))
            else route.abort()
        ),
    )
    page, faults = context.new_page(), []
    page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda e: faults.append(f"script: {e}"))
    page.on("requestfailed", lambda r: faults.append(f"request failed: {r.url}"))
    page.on(
        "response",
        lambda r: faults.append(f"request failed: {r.status} {r.url}") if r.status >= 400 else None,
    )
    yield page, faults
    context.close()


def settle(page):
    """Wait until MathJax, where a page has it, has set its formulas, and lazy images have come."""
    page.wait_for_load_state("networkidle")
    page.evaluate(
        "async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise; }"
    )


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_without_a_network(tab, base, name):
    page, faults = tab
    page.goto(base + name, wait_until="load")
    settle(page)
    assert faults == []
    if (
        page.query_selector("article") is None
    ):  # the redirect of index.html has moved on; search and the index have no article
        return
    formulas = page.evaluate(FORMULAS)
    assert formulas == {"unrendered": [], "broken": [], "markup": [], "raw": []}
    for image in page.evaluate(IMAGES):
        assert image["ok"], image
        assert image["alt"], image
        assert not image["alt"].startswith(("_images/", "../_images/")), image
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(150)
    widths = page.evaluate(WIDTHS)
    assert widths["page"] <= widths["window"] + 1, widths
    assert faults == []


def test_search_finds_a_word(tab, base):
    page, faults = tab
    page.goto(base + "search.html?q=symmetry", wait_until="load")
    page.wait_for_selector("#search-results li", timeout=10_000)
    assert faults == []


def test_every_page_of_the_contents_is_built():
    contents = (SITE.parents[1] / "_toc.yml").read_text(encoding="utf-8")
    listed = {
        line.split(":", 1)[1].strip() + ".html"
        for line in contents.splitlines()
        if line.strip().lstrip("- ").startswith(("file:", "root:"))
    }
    assert listed - set(PAGES) == set()
