"""What the chapters of the book share: their record, the claims ledger, plots and sweeps."""
