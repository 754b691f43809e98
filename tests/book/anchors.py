"""The anchors of the book that others may link to, found in its sources.

``python tests/book/anchors.py`` adds the new ones to anchors.txt; none is ever taken from it.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
KEPT = Path(__file__).with_name("anchors.txt")

sys.path.append(str(BOOK / "_ext"))

TARGET = re.compile(r"^\(([\w.-]+)\)=$", re.M)  # of a chapter or a section
OPTION = re.compile(r"^:(?:label|name): *(\S+)$", re.M)  # of a theorem, an exercise, a figure
EQUATION = re.compile(r"\$\$ *\(([\w.-]+)\)")


def of_text(text: str) -> list[str]:
    """The anchors in Markdown; Sphinx puts a word before those of equations."""
    equations = [f"equation-{label}" for label in EQUATION.findall(text)]
    return TARGET.findall(text) + OPTION.findall(text) + equations


def of_cell(cell: dict) -> list[str]:
    """The anchors that a code cell makes: its numbered figure, and the tables that it shows."""
    figure = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
    calls = [n for n in ast.walk(ast.parse("".join(cell["source"]))) if isinstance(n, ast.Call)]
    names = [k.value.value for c in calls for k in c.keywords if is_name_of_table(k)]
    return [figure, *names] if figure else names


def is_name_of_table(keyword: ast.keyword) -> bool:
    value = getattr(keyword.value, "value", None)
    return keyword.arg == "name" and isinstance(value, str) and value.startswith("tab-")


def of_page(path: Path) -> list[str]:
    """The anchors of a page, as often as they stand there."""
    if path.suffix != ".ipynb":
        return of_text(path.read_text(encoding="utf-8"))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    found = [label for text in texts for label in of_text(text)]
    return found + [a for c in cells if c["cell_type"] == "code" for a in of_cell(c)]


def of_claims(path: Path) -> list[str]:
    """The anchors of the boxes of the claims that a file records."""
    claims = json.loads(path.read_text(encoding="utf-8"))["claims"]
    return [f"claim-{claim['id']}" for claim in claims]


def of_citations() -> list[str]:
    from chapters import read_chapters
    from cite import anchor

    return [anchor(chapter) for chapter in read_chapters(ROOT)]


def labels() -> list[tuple[str, str]]:
    """Every label of the book with its page; they are unique in the whole book."""
    pages = sorted([*BOOK.glob("*.ipynb"), *BOOK.glob("*.md")])
    return [(path.stem, label) for path in pages for label in of_page(path)]


def anchors() -> list[str]:
    """Every anchor as the end of an address, ``05-symmetrization.html#thm-ch5-gain``."""
    claims = [(p.stem, a) for p in (BOOK / "claims").glob("*.json") for a in of_claims(p)]
    cited = [("cite", anchor) for anchor in of_citations()]
    return sorted({f"{page}.html#{anchor}" for page, anchor in labels() + claims + cited})


def kept() -> list[str]:
    return KEPT.read_text(encoding="utf-8").split() if KEPT.exists() else []


if __name__ == "__main__":
    whole = sorted({*kept(), *anchors()})
    print(f"{len(set(whole) - set(kept()))} anchors added, {len(whole)} in all")
    KEPT.write_text("\n".join(whole) + "\n", encoding="utf-8")
