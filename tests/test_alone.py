"""Each notebook by itself: from its own first cell, with nothing else there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import alone  # noqa: E402

NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_fetches_the_books_repository(notebook):
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    assert alone.address(notebook) == re.search(r"^  url: (\S+)", config, re.M)[1]


def test_git_takes_this_checkout_for_the_address(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    settings = alone._settings(NOTEBOOKS[0])
    assert "PYTHONPATH" not in settings
    command = ["git", "clone", "--quiet", "--depth", "1", alone.address(NOTEBOOKS[0]), "here"]
    subprocess.run(command, cwd=tmp_path, env=settings, check=True)
    assert (tmp_path / "here" / "symvi" / "__init__.py").exists()


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Of an environment with Jupyter and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_COMPILE", "1")  # most of it is never imported
        yield alone.environment(tmp_path_factory.mktemp("environment"))


def test_a_notebook_that_fails_is_told(python, tmp_path):
    cell = {"cell_type": "code", "id": "broken", "metadata": {}, "outputs": []}
    cell |= {"execution_count": None, "source": ["raise RuntimeError('on purpose')"]}
    notebook = json.loads((ROOT / "book" / "ledger.ipynb").read_text(encoding="utf-8"))
    first = next(c for c in notebook["cells"] if c["id"] == alone.FIRST_CELL)
    first["source"] = [line for line in first["source"] if line.startswith("BOOK")]
    notebook["cells"] = [first, cell]
    path = tmp_path / "broken.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert not alone.run(python, path, tmp_path / "alone")
    assert "on purpose" in (tmp_path / "alone" / "log.txt").read_text(encoding="utf-8")


def test_a_notebook_runs_in_an_environment_that_its_first_cell_fills(python, tmp_path):
    """The ledger: the others take longer. `make alone` runs them all."""
    passed = alone.run(python, ROOT / "book" / "ledger.ipynb", tmp_path / "alone")
    assert passed, (tmp_path / "alone" / "log.txt").read_text(encoding="utf-8")
    assert (tmp_path / "alone" / "executed.ipynb").exists()
    found = subprocess.run(
        [python, "-c", "import symvi; print(symvi.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=alone._settings(),
    )
    assert Path(found.stdout.strip()).is_relative_to(python.parents[1])
