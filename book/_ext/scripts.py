"""Sphinx extension: each chapter as a Python script, to download beside its notebook.

The script holds the text as comments and runs from top to bottom (`python 05-symmetrization.py`).
Cells begin with `# %%`, which editors know.
"""

from __future__ import annotations

from pathlib import Path

import jupytext


def script_of(notebook: Path) -> str:
    """The cells of a notebook as a script, the text among them as comments."""
    cells = jupytext.read(notebook)
    cells.metadata = {}  # the kernel and the versions of tools say nothing to a reader
    return jupytext.writes(cells, fmt="py:percent")


def add_script(app, page: str, template: str, context: dict, doctree) -> None:
    """Write the script of a notebook's page and offer it where the notebook is offered."""
    notebook = Path(app.srcdir) / f"{page}.ipynb"
    if not notebook.exists():
        return
    script = Path(app.outdir) / "_sources" / f"{page}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(script_of(notebook), encoding="utf-8")
    for group in context["header_buttons"]:
        if group["label"] == "download-buttons":
            group["buttons"].insert(1, button(f"{context['pathto']('_sources', 1)}/{page}.py"))


def button(address: str) -> dict:
    return {
        "type": "link",
        "url": address,
        "text": ".py",
        "icon": "fab fa-python",
        "tooltip": "Download script",
        "label": "download-script-button",
    }


def setup(app) -> dict:
    app.connect("html-page-context", add_script, priority=502)  # after the theme's own buttons
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
