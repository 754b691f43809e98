"""Every page of the built book in headless Chromium with the network blocked, as a reader without
one sees it: whole, light, not cut off, and fit for readers who see or move less.

Run by ``make check-pages`` after ``make book``; skipped where Chromium or the built book is
missing. Each page is opened once, for all of its tests.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SITE = Path(__file__).resolve().parents[2] / "_build" / "html"
PAGES = sorted(
    p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if "_static" not in p.parts
)
FIRST_LOAD = 2_500_000  # bytes

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

# The captions of tables that one has to scroll to read, as [text, width].
WIDE_CAPTIONS = """() => [...document.querySelectorAll('article table.symvi-table caption')]
  .map(e => [e.textContent.slice(0, 80), e.getBoundingClientRect().width])
  .filter(([text, width]) => width > window.innerWidth)"""

# What is folded is opened: it is read too. A page answers a change of its size, as by marking what
# now scrolls, when it is drawn next: two frames later it has.
UNFOLD = """async () => {
  document.querySelectorAll('details').forEach(e => { e.open = true; });
  document.querySelectorAll('.toggle-hidden').forEach(e => e.classList.remove('toggle-hidden'));
  await document.fonts.ready;
  const drawn = () => new Promise(resolve => requestAnimationFrame(resolve));
  await drawn();
  await drawn();
}"""

# Boxes that are narrower than what is in them, as [what, how]. A scroll box has a cue where shadows
# that do not scroll are part of its background, and nothing painted lies over its right edge. Text
# for screen readers only is cut on purpose.
CUT = """() => {
  const aside = 'mjx-assistive-mml, .visually-hidden, .sr-only, option, svg *, mjx-container *';
  const opaque = e => !/, 0(\\.\\d+)?\\)|\\/ 0?\\.\\d+\\)|transparent/
    .test(getComputedStyle(e).backgroundColor);
  const cue = box => {
    const style = getComputedStyle(box), edge = box.getBoundingClientRect().right - 2;
    const covers = e => opaque(e) && e.getBoundingClientRect().left < edge
      && e.getBoundingClientRect().right > edge;
    return style.backgroundAttachment.includes('local')
      && style.backgroundAttachment.includes('scroll')
      && style.backgroundImage.includes('gradient')
      && ![...box.querySelectorAll('*')].some(covers);
  };
  return [...document.querySelectorAll('article *')].flatMap(e => {
    const over = getComputedStyle(e).overflowX;
    if (e.matches(aside) || over === 'visible' || e.scrollWidth <= e.clientWidth + 1) return [];
    const scrolls = over === 'auto' || over === 'scroll';
    const how = !scrolls ? 'cut off' : cue(e) ? 'scrolls' : 'scrolls without a cue';
    return [[e.outerHTML.slice(0, 160), how, e.matches('.math, mjx-container') ? 'math' : 'text']];
  });
}"""

# A page has thousands of coloured words of code, and axe looks at each. One of a kind is enough.
ONE_OF_A_KIND = """() => {
  const seen = new Set();
  for (const word of document.querySelectorAll('article pre span[class]:not(:has(*))')) {
    if (word.id || word.closest('a')) continue;
    if (seen.has(word.className)) word.replaceWith(word.textContent);
    seen.add(word.className);
  }
  document.querySelectorAll('article pre').forEach(e => e.normalize());
}"""


@dataclass
class Opened:
    """A page in the browser, everything that went wrong in it, and the bytes it fetched."""

    name: str
    page: Page
    faults: list[str] = field(default_factory=list)
    weights: Counter[str] = field(default_factory=Counter)

    def look(self, scheme: str, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.evaluate("s => { document.documentElement.dataset.theme = s; }", scheme)


# Colours half-way between two schemes are nobody's: they are not what is checked.
NO_TRANSITIONS = "*, *::before, *::after { transition: none !important; }"


@pytest.fixture(scope="module")
def open_page(browser, base):
    """Opens a page with an empty cache, at 1280 pixels, without a network."""
    contexts = []

    def show(address: str) -> Opened:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        context.route(
            "**/*",
            lambda route: (
                route.continue_()
                if route.request.url.startswith((base, "data:", "blob:"))
                else route.abort()
            ),
        )
        opened = Opened(address, context.new_page())
        listen(opened)
        opened.page.goto(base + address)
        opened.page.wait_for_url(base + leads_to(address), wait_until="load")
        opened.page.add_style_tag(content=NO_TRANSITIONS)
        return opened

    yield show
    for context in contexts:
        context.close()


def leads_to(address: str) -> str:
    """The page that is shown: another one where the page sends its readers on."""
    file = re.split("[?#]", address)[0]
    text = (SITE / file).read_text(encoding="utf-8")
    sent_on = re.search(r'http-equiv="Refresh" content="0; url=(.+?)"', text)
    return sent_on[1] if sent_on else address


def listen(opened: Opened) -> None:
    page, faults = opened.page, opened.faults
    page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda e: faults.append(f"script: {e}"))
    page.on("requestfailed", lambda r: faults.append(f"request failed: {r.url}"))
    page.on(
        "response",
        lambda r: faults.append(f"request failed: {r.status} {r.url}") if r.status >= 400 else None,
    )

    def weigh(request) -> None:
        if request.url.startswith("http"):
            opened.weights[request.url] += request.sizes()["responseBodySize"]

    page.on("requestfinished", weigh)


@pytest.fixture(scope="module", params=PAGES)
def opened(request, open_page):
    """A page of the book, with its formulas set."""
    opened = open_page(request.param)
    opened.page.wait_for_load_state("networkidle")
    opened.page.evaluate(
        "async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise; }"
    )
    yield opened
    opened.page.context.close()


def test_page_is_whole_without_a_network(opened):
    page = opened.page
    assert opened.faults == []
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


def test_the_first_load_is_light(opened):
    heaviest = opened.weights.most_common(5)
    assert opened.weights.total() <= FIRST_LOAD, heaviest


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_code_and_tables_fit_beside_the_menus(opened, scheme):
    opened.look(scheme, 1280)
    opened.page.evaluate(UNFOLD)
    cut = opened.page.evaluate(CUT)
    assert [box for box in cut if box[1:] != ["scrolls", "math"]] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_wider_than_a_phone_shows_that_it_scrolls(opened, scheme):
    opened.look(scheme, 390)
    opened.page.evaluate(UNFOLD)
    widths = opened.page.evaluate(WIDTHS)
    assert widths["page"] <= widths["window"] + 1, widths
    assert [box for box in opened.page.evaluate(CUT) if box[1] != "scrolls"] == []
    assert opened.page.evaluate(WIDE_CAPTIONS) == []
    assert opened.faults == []


@pytest.mark.parametrize(
    ("scheme", "width", "rules"),
    [
        ("light", 1280, None),
        ("dark", 1280, ["color-contrast", "link-in-text-block"]),
        ("light", 390, ["scrollable-region-focusable"]),
    ],
)
def test_readers_who_see_or_move_less(opened, scheme, width, rules):
    """No serious fault by axe-core; in the dark and on a phone, by the rules that these touch."""
    opened.look(scheme, width)
    opened.page.evaluate(UNFOLD)
    opened.page.evaluate(ONE_OF_A_KIND)
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = Axe().run(opened.page, options=options).response["violations"]
    faults = [
        (fault["id"], node["target"], node["failureSummary"])
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
    assert faults == []


def test_search_finds_a_word(open_page):
    opened = open_page("search.html?q=symmetry")
    opened.page.wait_for_selector("#search-results li", timeout=10_000)
    assert opened.faults == []


def test_every_page_of_the_contents_is_built():
    contents = (SITE.parents[1] / "_toc.yml").read_text(encoding="utf-8")
    listed = {
        line.split(":", 1)[1].strip() + ".html"
        for line in contents.splitlines()
        if line.strip().lstrip("- ").startswith(("file:", "root:"))
    }
    assert listed - set(PAGES) == set()
