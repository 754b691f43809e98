"""What the extensions know of the book: its chapters in order, and who wrote it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

TITLE = re.compile(r"^# (.+)$", re.M)


@dataclass(frozen=True)
class Chapter:
    """A numbered page of the contents, or an appendix, which has no number."""

    page: str  # "book/05-symmetrization", as Sphinx names it
    title: str
    number: int | None = None

    @property
    def name(self) -> str:
        """Without the number, so that it stays when chapters are numbered anew."""
        return re.sub(r"^\d+-", "", Path(self.page).name)


def source_file(root: Path, page: str) -> Path:
    """The notebook or the Markdown file of a page."""
    notebook = root / f"{page}.ipynb"
    return notebook if notebook.exists() else root / f"{page}.md"


def text_of(path: Path) -> str:
    """The text of a page, for a notebook that of its text cells."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return content
    cells = json.loads(content)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def read_chapters(root) -> list[Chapter]:
    """The chapters and appendices that ``_toc.yml`` lists, numbered as the site numbers them."""
    root = Path(root)
    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    found, number = [], 0
    for part in contents["parts"]:
        numbered = bool(part.get("numbered"))
        if not numbered and part["caption"] != "Appendices":
            continue
        for page in (listed["file"] for listed in part["chapters"]):
            number += numbered
            title = TITLE.search(text_of(source_file(root, page)))[1]
            found.append(Chapter(page, title, number if numbered else None))
    return found


def read_citation(root) -> dict:
    """``CITATION.cff``: the title, the version, the authors."""
    return yaml.safe_load((Path(root) / "CITATION.cff").read_text(encoding="utf-8"))


def authors(citation: dict) -> list[str]:
    """The names of the authors; a person's as "Family, Given"."""
    return [
        who["name"] if "name" in who else f"{who['family-names']}, {who['given-names']}"
        for who in citation["authors"]
    ]


def year(config) -> str:
    """The year of the book, that of its copyright in ``_config.yml``."""
    return re.search(r"\d{4}", config.copyright)[0]
