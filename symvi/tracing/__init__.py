"""The symmetry of any network, read from its program."""

from symvi.tracing.found import Found, find_symmetry

__all__ = ["Found", "find_symmetry"]
