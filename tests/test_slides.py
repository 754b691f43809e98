"""Slides are made of a chapter's figures and captions, and lead back to it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "book" / "_ext" / "slides.py"
SPEC = importlib.util.spec_from_file_location("slides", FILE)
slides = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(slides)

PAGE = """<html><head><script>window.MathJax = {"tex": {}}</script><script src="other.js"></script>
<script defer src="../_static/mathjax/startup.js"></script></head><body><article>
<h1>1. Title<a class="headerlink" href="#title">#</a></h1><p><em>The answer, $x$.</em></p>
<figure id="fig-a"><a href="../_images/a.png">
<img src="../_images/a.png" alt="A curve" width="9"></a>
<figcaption><p>Fig. 1.1 See <a href="#fig-b">this</a>, <a href="02.html#x">that</a> and
<a href="https://example.com/">more</a>.</p></figcaption></figure>
<figure><figcaption>no picture</figcaption></figure></article></body></html>"""


def test_a_chapter_becomes_slides(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "01.html").write_text(PAGE, encoding="utf-8")
    (tmp_path / "book" / "words.html").write_text("<article><h1>W</h1></article>", encoding="utf-8")
    [written] = slides.write_slides(tmp_path)
    text = written.read_text(encoding="utf-8")
    assert written == tmp_path / "slides" / "01.html"
    assert text.count("<section>") == 2
    assert "<h1>1. Title</h1><p><em>The answer, $x$.</em></p>" in text
    assert '<img alt="A curve" src="../_images/a.png"/>' in text
    for link in ("../book/01.html#fig-b", "../book/02.html#x", "https://example.com/"):
        assert f'href="{link}"' in text
    assert "startup.js" in text and "window.MathJax" in text and "other.js" not in text
