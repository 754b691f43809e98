"""Each notebook is offered as a script too, with its cells in order and its text as comments."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
SPEC = importlib.util.spec_from_file_location("scripts", ROOT / "book" / "_ext" / "scripts.py")
scripts = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(scripts)


def cells(notebook: Path, kind: str) -> list[str]:
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_script_is_the_code_of_its_notebook(notebook):
    script = scripts.script_of(notebook)
    code = "\n".join(cells(notebook, "code"))
    assert ast.dump(ast.parse(script)) == ast.dump(ast.parse(code))
    title = cells(notebook, "markdown")[0].splitlines()[-1]
    assert f"# {title}" in script
    assert "kernelspec" not in script


def page_of(tmp_path: Path) -> tuple[SimpleNamespace, dict]:
    book = tmp_path / "book"
    book.mkdir()
    texts = [("markdown", "# Title\n\nText."), ("code", "x = 1 + 1"), ("code", "print(x)")]
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "cells": [
            {"cell_type": kind, "id": f"c{place}", "metadata": {}, "source": text}
            | ({"outputs": [], "execution_count": None} if kind == "code" else {})
            for place, (kind, text) in enumerate(texts)
        ],
    }
    (book / "01.ipynb").write_text(json.dumps(content), encoding="utf-8")
    (book / "words.md").write_text("# Words", encoding="utf-8")
    app = SimpleNamespace(srcdir=str(tmp_path), outdir=str(tmp_path / "html"))
    download = {"label": "download-buttons", "buttons": [{"text": ".ipynb"}, {"text": ".pdf"}]}
    context = {
        "header_buttons": [{"label": "other", "buttons": []}, download],
        "pathto": lambda name, resource: f"../{name}",
    }
    return app, context


def test_the_script_is_offered_beside_the_notebook_and_runs(tmp_path):
    app, context = page_of(tmp_path)
    scripts.add_script(app, "book/01", "page.html", context, None)
    offered = context["header_buttons"][1]["buttons"]
    assert [button["text"] for button in offered] == [".ipynb", ".py", ".pdf"]
    assert offered[1]["url"] == "../_sources/book/01.py"
    script = tmp_path / "html" / "_sources" / "book" / "01.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
    assert "# Text." in script.read_text(encoding="utf-8")


def test_a_page_that_is_no_notebook_has_no_script(tmp_path):
    app, context = page_of(tmp_path)
    scripts.add_script(app, "book/words", "page.html", context, None)
    assert len(context["header_buttons"][1]["buttons"]) == 2
    assert not (tmp_path / "html").exists()
