"""The book without solutions, for a course: the same pages, exercises and checks, no answers.

Run ``make student``, or ``python -m symvi.book.student SOURCE TARGET`` in the book's root.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from symvi.checks import expected
from symvi.files import write_text

# A fence of three or more backticks or colons, the directive, and all up to the same fence.
SOLUTION = re.compile(r"^(?P<fence>`{3,}|:{3,})\{solution\}.*?^(?P=fence)[ \t]*\n?", re.M | re.S)
SOLUTION_TAG = "hide-cell"  # of the cells that run a solution


def without_solutions(notebook: dict) -> dict:
    """A notebook without its solutions and the cells that run them.

    A solution is a ``{solution}`` block in the text. Its cells are the code cells tagged
    ``hide-cell`` that come next, up to the next text or cell that is shown.

    Parameters
    ----------
    notebook : dict
        As read from an ``.ipynb`` file; not changed.

    Returns
    -------
    dict
        The notebook for students. Checks of answers stay.
    """
    kept, after_solution = [], False
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            shorter = SOLUTION.sub("", text)
            after_solution = shorter != text
            if after_solution and not shorter.strip():
                continue
            kept.append({**cell, "source": shorter.splitlines(keepends=True)})
            continue
        is_solution = SOLUTION_TAG in cell["metadata"].get("tags", [])
        if after_solution and is_solution:
            continue
        after_solution = False
        kept.append(cell)
    return {**notebook, "cells": kept}


def write_student_edition(source: Path, target: Path) -> list[Path]:
    """Copy a book with its settings into `target`, without solutions.

    Parameters
    ----------
    source : Path
        The book's root, with ``_config.yml``, ``_toc.yml``, ``CITATION.cff`` and ``book/``.
    target : Path
        A folder that does not hold anything else; an earlier edition in it is replaced.

    Returns
    -------
    list of Path
        The notebooks written.

    Raises
    ------
    ValueError
        A source without a book, or a target that holds other things.
    """
    source, target = Path(source), Path(target)
    if not (source / "_toc.yml").is_file():
        raise expected("source", "a folder with _toc.yml", str(source), "pass the book's root")
    if target.exists() and any(target.iterdir()):
        if not (target / "_toc.yml").is_file():
            raise expected("target", "a new folder", str(target), "choose an empty folder")
        shutil.rmtree(target)
    target.mkdir(parents=True, exist_ok=True)
    for name in ("_config.yml", "_toc.yml", "CITATION.cff"):
        shutil.copy(source / name, target / name)
    shutil.copytree(source / "book", target / "book", dirs_exist_ok=True)
    written = sorted((target / "book").glob("*.ipynb"))
    for path in written:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        shorter = without_solutions(notebook)
        write_text(path, json.dumps(shorter, indent=1, ensure_ascii=False) + "\n")
    return written


def main(arguments: list[str]) -> None:
    """Write the edition that the two arguments name."""
    if len(arguments) != 2:
        raise SystemExit("usage: python -m symvi.book.student SOURCE TARGET")
    written = write_student_edition(Path(arguments[0]), Path(arguments[1]))
    print(f"{len(written)} notebooks without solutions are in {arguments[1]}.")


if __name__ == "__main__":
    main(sys.argv[1:])
