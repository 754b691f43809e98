"""A chapter that passed as a test is in the cache of the book, with all that it put out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CONFTEST = Path(__file__).resolve().parents[2] / "book" / "conftest.py"


def run(folder: Path, cells: list[str], *, keep: bool) -> tuple[int, Path]:
    """Test a notebook with these code cells in a book of its own: exit status and its path."""
    book = folder / "book"
    book.mkdir()
    shutil.copy(CONFTEST, book)
    path = book / "page.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    page = [new_markdown_cell("# Title"), *map(new_code_cell, cells)]
    nbformat.write(new_notebook(cells=page, metadata=kernel), path)
    options = ["--nbval-lax", "--nbval-current-env", "-q", "-p", "no:cacheprovider", "-n", "0"]
    environment = {**os.environ, "SYMVI_KEEP_RUNS": "1" if keep else ""}
    command = [sys.executable, "-m", "pytest", str(path), *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=200)
    return done.returncode, path


def from_cache(path: Path):
    """The notebook with its outputs; KeyError if it is not in the cache."""
    cache = get_cache(str(path.parents[1] / "_build" / ".jupyter_cache"))
    _, merged = cache.merge_match_into_notebook(nbformat.read(path, 4))
    return merged


def test_what_passed_is_kept(tmp_path):
    status, path = run(tmp_path, ["x = 2\nprint(x)", "x + 1"], keep=True)
    assert status == 0
    printed, shown = [cell for cell in from_cache(path).cells if cell.cell_type == "code"]
    assert printed.outputs[0].text == "2\n"
    assert shown.outputs[0].data["text/plain"] == "3"


def test_what_failed_is_not(tmp_path):
    status, path = run(tmp_path, ["print(1)", "assert False", "print(2)"], keep=True)
    assert status == 1
    with pytest.raises(KeyError):
        from_cache(path)


def test_nothing_is_kept_unasked(tmp_path):
    status, _ = run(tmp_path, ["print(1)"], keep=False)
    assert status == 0
    assert not (tmp_path / "_build").exists()
