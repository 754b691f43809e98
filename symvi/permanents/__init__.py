"""Permanents of matrices of log entries: exact, bounded, approximated, and permutations drawn from them."""

from symvi.permanents.core import (
    MAX_EXACT,
    Bethe,
    bethe,
    draw_permutation,
    log_permanent,
    log_permanent_bethe,
    log_permanent_bounds,
    sample_permutations,
)
from symvi.permanents.scaling import sinkhorn

__all__ = [
    "MAX_EXACT",
    "Bethe",
    "bethe",
    "draw_permutation",
    "log_permanent",
    "log_permanent_bethe",
    "log_permanent_bounds",
    "sample_permutations",
    "sinkhorn",
]
