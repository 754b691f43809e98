"""Tables with a caption: one look for all chapters, in a notebook, on a page and in print."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html import escape

import numpy as np

from symvi.checks import as_scalar, described, expected, positive_int
from symvi.estimates import ROUNDING, Estimate, decimals_of

MISSING = "–"  # in place of a number that is not there


def table(columns, *, caption: str = "", name: str = "", digits: int = 2) -> Table:
    """A table from its columns.

    Parameters
    ----------
    columns : dict or pandas DataFrame
        Headings, with the unit where there is one, and the entries below each. An entry is text, a
        number, True or False, an :class:`~symvi.Estimate` (value ± its standard error, if any), a
        pair (low, high), an interval of :func:`symvi.mean_interval`, or None. A DataFrame's index
        becomes the first column.
    caption : str
        What the table shows and what to see in it; MyST, so that formulas and roles work.
    name : str
        The label by which the text refers to it, with the role numref.
    digits : int
        How many digits follow the point, in all floats; more where a standard error would be
        shown as 0. Whole numbers are shown whole.

    Returns
    -------
    Table
        Shown by a notebook, and as a numbered table on the book's page.

    Raises
    ------
    ValueError
        Columns of unlike length, or an entry of another kind.
    """
    digits = positive_int("digits", digits, least=0)
    columns = _as_columns(columns)
    lengths = {heading: len(entries) for heading, entries in columns.items()}
    if len(set(lengths.values())) != 1:
        raise expected("columns", "columns of one length", lengths, "fill gaps with None")
    if name and not re.fullmatch(r"[a-z0-9-]+", name):
        remedy = "write for example tab-smallest-kl"
        raise expected("name", "lower-case letters, digits and hyphens", repr(name), remedy)
    texts = {}
    for heading, entries in columns.items():
        texts[heading] = tuple(_text(heading, entry, digits) for entry in entries)
    numeric = tuple(not any(isinstance(e, str) for e in column) for column in columns.values())
    rows = tuple(zip(*texts.values(), strict=True))
    return Table(tuple(columns), rows, numeric, caption, name)


@dataclass(frozen=True)
class Table:
    """Headings and rows of text, with a caption; shows itself.

    Attributes
    ----------
    headings : tuple of str
    rows : tuple of tuple of str
    numeric : tuple of bool
        Which columns hold numbers; those are aligned to the right.
    caption, name : str
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    caption: str = ""
    name: str = ""

    def __repr__(self) -> str:
        lines = [self.headings, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headings))]
        shown = ["  ".join(self._padded(line, widths)).rstrip() for line in lines]
        return "\n".join(shown)

    def _padded(self, line, widths) -> list[str]:
        cells = zip(line, widths, self.numeric, strict=True)
        return [text.rjust(width) if right else text.ljust(width) for text, width, right in cells]

    def to_markdown(self) -> str:
        """The table in MyST Markdown, as a numbered table if it has a caption."""
        marks = ["---:" if right else ":---" for right in self.numeric]
        lines = [self.headings, marks, *self.rows]
        escaped = [[text.replace("|", r"\|") for text in line] for line in lines]
        body = "\n".join("| " + " | ".join(line) + " |" for line in escaped)
        if not self.caption:
            return body
        label = f":name: {self.name}\n" if self.name else ""
        return f":::{{table}} {self.caption}\n:class: symvi-table\n{label}\n{body}\n:::"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        columns = zip(self.headings, self.numeric, strict=True)
        head = "".join(self._cell("th", *cell) for cell in columns)
        body = ""
        for row in self.rows:
            cells = zip(row, self.numeric, strict=True)
            body += "<tr>" + "".join(self._cell("td", *cell) for cell in cells) + "</tr>"
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    @staticmethod
    def _cell(tag: str, text: str, right: bool) -> str:
        side = "right" if right else "left"
        return f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>'


def _as_columns(columns) -> dict[str, list]:
    if hasattr(columns, "reset_index"):  # a pandas DataFrame
        frame = columns.rename_axis(columns.index.name or "").reset_index()
        columns = {str(heading): frame[heading].tolist() for heading in frame.columns}
    if not isinstance(columns, dict) or not columns:
        wanted = "a dict of headings and entries, or a DataFrame"
        raise expected("columns", wanted, described(columns), "pass {heading: entries}")
    return {str(heading): list(entries) for heading, entries in columns.items()}


def _text(heading: str, entry, digits: int) -> str:
    """How an entry is shown."""
    if entry is None:
        return MISSING
    if isinstance(entry, str):
        return entry.replace("\n", " ")
    if isinstance(entry, Estimate):
        return _estimate(entry, digits)
    if hasattr(entry, "low") and hasattr(entry, "high"):  # an Interval has its mean beside them
        entry = (entry.low, entry.high)
    if isinstance(entry, (tuple, list, np.ndarray)) and len(entry) == 2:
        low, high = (_text(heading, end, digits) for end in entry)
        return f"[{low}, {high}]"
    if isinstance(entry, (bool, np.bool_)):
        return "yes" if entry else "no"
    number = as_scalar(entry)
    if number is None:
        wanted = "text, a number, an Estimate, a pair or None"
        raise expected(heading, wanted, described(entry), "pass one entry for each row")
    return _number(number, digits)


def _estimate(entry: Estimate, digits: int) -> str:
    """Value ± error, with more digits where they would show the error as 0; a closed form alone."""
    if entry.std_error <= ROUNDING:
        return _number(entry.value, digits)
    places = decimals_of(entry.std_error)
    if places is not None:
        digits = max(digits, places - 1)  # the first digit of the error
    plus_minus = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"  # both numbers stay on one line
    return _number(entry.value, digits) + plus_minus + _number(entry.std_error, digits)


def _number(value, digits: int) -> str:
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if not math.isfinite(value):
        return MISSING
    shown = f"{value:,.{digits}f}"
    return shown.replace("-", "−") if float(shown.replace(",", "")) != 0 else shown.lstrip("-")
