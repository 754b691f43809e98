"""What the chapters of the book share: their record, the claims ledger, plots and sweeps."""

from symvi.book import ledger, mode_seeking, plots, sweeps

__all__ = ["ledger", "mode_seeking", "plots", "sweeps"]
