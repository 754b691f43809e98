"""The page for teachers says of each chapter what the chapter itself says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2] / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]-*.ipynb"))
PAGE = (BOOK / "teaching.md").read_text(encoding="utf-8")
LEVELS = ("run and look", "easy", "medium", "hard", "prove", "research")


def text(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def levels(chapter: str) -> list[list[str]]:
    """The levels of each exercise, from the end of its title."""
    found = re.findall(r"^`{3,}\{exercise\}(.*)$", chapter, re.M)
    return [re.search(r"\(([a-z, ]+)\)$", title)[1].split(", ") for title in found]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
class TestChapter:
    def test_its_row_counts_its_exercises_and_minutes(self, path):
        chapter = text(path)
        label = re.match(r"\((ch-[a-z-]+)\)=", chapter)[1]
        minutes = re.search(r"\*\*Reading time\.\*\* (\d+) minutes", chapter)[1]
        counts = {name: sum(name in one for one in levels(chapter)) for name in LEVELS}
        exercises = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        row = rf"| {{numref}}`{{number}}. {{name}} <{label}>` | {minutes} | {exercises} |"
        assert row in PAGE.splitlines()

    def test_its_goals_are_there(self, path):
        goals = re.search(r"\*\*Goals\.\*\*\n\n((?:\* .*\n)+)", text(path))[1]
        for goal in goals.strip().splitlines():
            assert goal in PAGE

    def test_its_exercises_are_graded_and_enough(self, path):
        grades = levels(text(path))
        assert len(grades) >= 4
        assert {name for one in grades for name in one} <= set(LEVELS)
        assert len({name for one in grades for name in one}) >= 3

    def test_some_answers_can_be_checked(self, path):
        assert len(set(re.findall(r'book\.check\("(ex-[a-z0-9-]+)"', text(path)))) >= 2
