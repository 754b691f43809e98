"""What the chapters of the book share: their record, the claims ledger, plots and sweeps."""

from symvi.book import ledger, mode_seeking, plots, sweeps
from symvi.book.chapter import Chapter

__all__ = ["Chapter", "ledger", "mode_seeking", "plots", "sweeps"]
