"""The interactive figures of the book, with the tables that the chapters give them."""

import json
from functools import partial
from pathlib import Path

from symvi.book import interactive

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"


def table(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


FIGURES = {
    "two_units": interactive.two_units,
    "downhill": interactive.downhill,
    "copies": interactive.copies,
    "smallest": partial(interactive.smallest, table("two-weights")),
    "widths": partial(interactive.widths, table("widths")),
}
