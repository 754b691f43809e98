"""What the chapters of the book share: their record, the claims ledger, plots and sweeps."""

from symvi.book import answers, interactive, ledger, mode_seeking, plots, sweeps, tables, words
from symvi.book.answers import check
from symvi.book.chapter import Chapter
from symvi.book.tables import table

__all__ = [
    "Chapter",
    "answers",
    "check",
    "interactive",
    "ledger",
    "mode_seeking",
    "plots",
    "sweeps",
    "table",
    "tables",
    "words",
]
