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


def test_a_notebook_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(alone, "_pip", lambda *_: None)
    notebook = json.loads((ROOT / "book" / "ledger.ipynb").read_text(encoding="utf-8"))
    notebook["cells"][-1]["source"] = ["raise RuntimeError('on purpose')"]
    notebook["cells"][-1]["cell_type"] = "code"
    notebook["cells"][-1] |= {"outputs": [], "execution_count": None}
    notebook["cells"] = [c for c in notebook["cells"] if c["id"] == "cell-install"] + [
        notebook["cells"][-1]
    ]
    path = tmp_path / "broken.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert not alone.run(Path(sys.executable), path, tmp_path / "alone")
    assert "on purpose" in (tmp_path / "alone" / "log.txt").read_text(encoding="utf-8")


def test_a_notebook_runs_in_an_environment_that_its_first_cell_fills(tmp_path, capsys):
    """The ledger: the others take longer. `make alone` runs them all."""
    assert alone.main(str(tmp_path), "ledger") == 0, capsys.readouterr().out
    python = tmp_path / "environment" / "bin" / "python"
    found = subprocess.run(
        [python, "-c", "import symvi; print(symvi.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=alone._settings(),
    )
    assert Path(found.stdout.strip()).is_relative_to(tmp_path)
    assert (tmp_path / "ledger" / "executed.ipynb").exists()
