"""Sphinx extension: the built site needs no network and is light; docstrings may write |G|; proofs
fold.

MathJax is copied into the site from the PyPI package django-static-mathjax, and the scripts of
sphinx-thebe (live code cells from a CDN, which this book does not use) are kept out of the pages.
"""

from __future__ import annotations

import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes
from fontTools.subset import Subsetter
from fontTools.ttLib import TTFont
from PIL import Image
from PIL.Image import open as open_image
from sphinx_proof.nodes import proof_node

# The parts that _config.yml loads, the fonts, and the TeX packages that a formula may ask for. Not
# its menu, which is as large as the rest; what screen readers read (assistive-mml) is there.
MATHJAX_PARTS = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
)

# A script of 1.5 MB for icons that the icon fonts draw already, and fonts fetched ahead.
UNUSED = re.compile(
    r'<script src="[^"]*/fontawesome/[^"]*"></script>\s*|<link[^>]*/webfonts/[^>]*>\s*'
)
# In the icons' style sheet: an icon's character, and the fonts of the form that is not cut down.
ICON = re.compile(r'(?:\.fa-[\w-]+:before,?)+\{content:"\\(\w+)"\}')
WOFF2 = re.compile(r'url\([^)]*\.woff2\) format\("woff2"\),?')
ICON_CHARACTER = re.compile(r"[\ue000-\uf8ff]|\\[ef][0-9a-f]{3}\b")

# docutils calls this a list, though its children are no list items.
LIST_OF_CITATIONS = '<div role="list" class="citation-list">'


def copy_mathjax(app, exception) -> None:
    """Copy MathJax's files to ``_static/mathjax`` of the built site."""
    if exception is not None or app.builder.format != "html":
        return
    source = Path(distribution("django-static-mathjax").locate_file("mathjax/static/mathjax/es5"))
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        here, there = source / part, target / part
        if here.is_dir():
            shutil.copytree(here, there, dirs_exist_ok=True)
        else:
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here, there)


def drop_unused(app, exception) -> None:
    """Take out of the pages what the theme loads and nobody needs, and a role that is not true."""
    if exception is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = UNUSED.sub("", text).replace(LIST_OF_CITATIONS, '<div class="citation-list">')
        page.write_text(text, encoding="utf-8")


def shrink_icons(app, exception) -> None:
    """Keep of the icon fonts, 0.4 MB with their style sheet, what the pages and their style use."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    [vendor] = (static / "vendor" / "fontawesome").iterdir()
    pages = Path(app.outdir).rglob("*.html")
    used = {
        name
        for page in pages
        for name in re.findall(r"\bfa-[\w-]+", page.read_text(encoding="utf-8"))
    }
    characters = set()
    for sheet in (*static.glob("*.css"), *static.glob("styles/*.css")):
        for found in ICON_CHARACTER.findall(sheet.read_text(encoding="utf-8")):
            characters.add(int(found[1:], 16) if found[0] == "\\" else ord(found))

    def keep(rule: re.Match) -> str:
        if used.isdisjoint(re.findall(r"fa-[\w-]+", rule[0])):
            return ""
        characters.add(int(rule[1], 16))
        return rule[0]

    icons = vendor / "css" / "all.min.css"
    icons.write_text(
        WOFF2.sub("", ICON.sub(keep, icons.read_text(encoding="utf-8"))), encoding="utf-8"
    )
    for file in (vendor / "webfonts").glob("*.ttf"):
        with TTFont(file) as font:
            subsetter = Subsetter()
            subsetter.populate(unicodes=characters)
            subsetter.subset(font)
            font.save(file)


def shrink_figures(app, exception) -> None:
    """Store figures with a palette of 256 colours: a third of the bytes, to the eye the same."""
    if exception is not None or app.builder.format != "html":
        return
    for file in (Path(app.outdir) / "_images").glob("*.png"):
        with open_image(file) as image:
            if image.mode == "P":
                continue
            white = Image.new("RGBA", image.size, "white")
            opaque = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        opaque.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def drop_thebe(app, config) -> None:
    """Jupyter Book always loads sphinx-thebe; unhook it and the style sheet it would add to each
    page."""
    for listeners in app.events.listeners.values():
        listeners[:] = [
            one
            for one in listeners
            if not getattr(one.handler, "__module__", "").startswith("sphinx_thebe")
        ]
    app.registry.css_files[:] = [
        (name, options) for name, options in app.registry.css_files if name != "sphinx-thebe.css"
    ]


def escape_bars(app, what, name, thing, options, lines) -> None:
    """Bars mean absolute values and orders in symvi's docstrings; in reStructuredText they would
    mark a substitution."""
    lines[:] = [
        "".join(
            part if part.startswith("`") else part.replace("|", r"\|")
            for part in re.split(r"(``.*?``|`[^`]*`)", line)
        )
        for line in lines
    ]


def title_folded_proofs(app, doctree) -> None:
    """sphinx-proof gives a proof no title, without which sphinx-togglebutton cannot fold it and
    fails in the browser, and gives all proofs of a page one id, so that a button would fold the
    first of them."""
    for number, proof in enumerate(doctree.findall(proof_node), 1):
        box = proof[0]
        box["ids"] = [f"proof-{number}"]
        if "dropdown" in box["classes"]:
            box.insert(0, nodes.paragraph("", "Full proof", classes=["admonition-title"]))


def setup(app) -> dict:
    app.connect("config-inited", drop_thebe)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", drop_unused)
    app.connect("build-finished", shrink_icons)
    app.connect("build-finished", shrink_figures)
    app.connect("doctree-read", title_folded_proofs)
    app.connect("autodoc-process-docstring", escape_bars)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
