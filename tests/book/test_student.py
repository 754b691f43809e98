"""The edition without solutions: nothing of an answer is left, all else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from symvi.book.student import without_solutions, write_student_edition

ROOT = Path(__file__).resolve().parents[2]


def text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def code(source: str, *tags: str) -> dict:
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": [source]}


def sources(cells: list[dict]) -> list[str]:
    shorter = without_solutions({"cells": cells, "nbformat": 4})
    assert shorter["nbformat"] == 4
    return ["".join(cell["source"]) for cell in shorter["cells"]]


EXERCISE = "```{exercise}\n:label: ex-1\nDo it.\n```\n"
SOLUTION = "```{solution} ex-1\n:class: dropdown\nThis way.\n```\n"


def test_a_solution_and_its_cells_go():
    cells = [text(EXERCISE + "\n" + SOLUTION), code("answer()", "hide-cell"), text("After.")]
    assert sources(cells) == [EXERCISE + "\n", "After."]


def test_a_cell_of_nothing_but_a_solution_goes():
    cells = [text(EXERCISE), code("check(...)"), text(SOLUTION), code("a()", "hide-cell")]
    assert sources(cells) == [EXERCISE, "check(...)"]


def test_longer_fences_and_colons():
    inner = "````{solution} ex-1\n```python\nx = 1\n```\n````\nNext.\n"
    colons = ":::{solution} ex-1\nThis way.\n:::\nNext.\n"
    assert sources([text(inner), text(colons)]) == ["Next.\n", "Next.\n"]


def test_other_hidden_cells_stay():
    cells = [code("set_up()", "hide-cell"), text("Text."), code("draw()", "hide-cell")]
    assert sources(cells) == ["set_up()", "Text.", "draw()"]


def test_only_the_cells_right_after_a_solution_go():
    cells = [text(SOLUTION), code("a()", "hide-cell"), code("shown()"), code("b()", "hide-cell")]
    assert sources(cells) == ["shown()", "b()"]


def test_the_book_has_an_edition_without_solutions(tmp_path):
    written = write_student_edition(ROOT, tmp_path / "edition")
    names = {path.name for path in written}
    assert names == {path.name for path in (ROOT / "book").glob("*.ipynb")}
    whole = "".join(path.read_text(encoding="utf-8") for path in written)
    assert "{exercise}" in whole
    assert "{solution}" not in whole
    for name in ("_config.yml", "_toc.yml", "CITATION.cff"):  # what its build reads
        assert (tmp_path / "edition" / name).is_file()
    again = write_student_edition(ROOT, tmp_path / "edition")  # replaced, not mixed
    assert again == written


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="target: expected a new folder"):
        write_student_edition(ROOT, tmp_path)
    with pytest.raises(ValueError, match="source: expected a folder with _toc"):
        write_student_edition(tmp_path, tmp_path / "new")


def test_the_command_says_what_it_wrote(tmp_path):
    command = [sys.executable, "-m", "symvi.book.student"]
    run = subprocess.run([*command, str(ROOT), str(tmp_path / "e")], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert "notebooks without solutions are in" in run.stdout
    notebook = json.loads((tmp_path / "e/book/05-symmetrization.ipynb").read_text(encoding="utf-8"))
    assert notebook["cells"]
    assert subprocess.run(command, capture_output=True).returncode == 1
