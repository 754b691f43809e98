"""Each notebook by itself, as in Colab: Jupyter and nothing else, the notebook and nothing else.

    python book/_ext/alone.py FOLDER [NOTEBOOK ...]

makes a fresh environment with Jupyter in FOLDER, puts each notebook alone into a folder of its own,
and runs it there from its own first cell, which fetches the repository and installs symvi from it.
Git takes the last commit of this checkout in place of the repository's address, so that a change is
tried before it is published. What the first cells install stays from one notebook to the next,
symvi itself does not. Exits with the number of notebooks that failed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JUPYTER = ("nbconvert", "ipykernel")  # what Colab has in its own way
FIRST_CELL = "cell-install"
PATIENCE = 1800  # seconds a cell may take: the first one installs everything


def address(notebook: Path) -> str:
    """The repository that the first cell fetches."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    (first,) = [cell for cell in cells if cell.get("id") == FIRST_CELL]
    return re.search(r'BOOK = "([^"]+)"', "".join(first["source"]))[1]


def environment(folder: Path) -> Path:
    """A fresh environment with Jupyter; returns its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _pip(python, "install", *JUPYTER)
    return python


def run(python: Path, notebook: Path, folder: Path) -> bool:
    """Whether the notebook runs from end to end, alone in `folder`."""
    _pip(python, "uninstall", "--yes", "symvi")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(notebook, folder)
    command = [
        str(python),
        *("-m", "nbconvert", "--to", "notebook", "--execute", "--output", "executed"),
        f"--ExecutePreprocessor.timeout={PATIENCE}",
        notebook.name,
    ]
    log = folder / "log.txt"
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(
            command, cwd=folder, env=_settings(notebook), stdout=out, stderr=out, check=False
        )
    return done.returncode == 0


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, env=_settings())


def _settings(notebook: Path | None = None) -> dict:
    """The variables of a process: nothing of this checkout's, and its commits for the address.

    PyTorch is the one package that is held to its pin, whose default build is then the same
    everywhere; of all others pip takes the newest, as it does in Colab.
    """
    settings = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    settings["PIP_CONSTRAINT"] = str(_constraint())
    settings["PIP_NO_COMPILE"] = "1"  # Python compiles what it imports, which is far less
    if notebook is not None:
        settings["GIT_CONFIG_COUNT"] = "1"
        settings["GIT_CONFIG_KEY_0"] = f"url.{ROOT.as_uri()}.insteadOf"
        settings["GIT_CONFIG_VALUE_0"] = address(notebook)
    return settings


def _constraint() -> Path:
    """A file with the pin of PyTorch."""
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    file = ROOT / "_build" / "torch-pin.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text(re.search(r"^torch==\S+", pins, re.M)[0] + "\n", encoding="utf-8")
    return file


def main(folder: str, *names: str) -> int:
    """Run the notebooks named, or all; returns how many failed."""
    place = Path(folder).resolve()
    notebooks = [ROOT / "book" / f"{Path(name).stem}.ipynb" for name in names]
    notebooks = notebooks or sorted((ROOT / "book").glob("*.ipynb"))
    python = environment(place / "environment")
    failed = 0
    for notebook in notebooks:
        begun = time.perf_counter()
        passed = run(python, notebook, place / notebook.stem)
        failed += not passed
        verdict = "runs" if passed else f"FAILS: see {place / notebook.stem / 'log.txt'}"
        print(f"{notebook.stem}: {verdict} ({time.perf_counter() - begun:.0f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
