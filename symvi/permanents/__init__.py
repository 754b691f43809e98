"""Permanents of matrices of log entries: perm(A) = sum over permutations g of prod_i A[i, g(i)].

Exact up to n = 16; beyond that the Bethe permanent (a lower bound with a known gap), upper bounds
by entropy and by fractional belief propagation, and permutations drawn with nearly the right
weights, whose importance weights estimate perm(A) without bias.
"""

from symvi.permanents.bethe_permanent import Bethe, bethe, log_permanent_bethe
from symvi.permanents.bounds import log_permanent_bounds
from symvi.permanents.entropy import EntropyBound, entropy_bound
from symvi.permanents.exact import MAX_EXACT, log_permanent
from symvi.permanents.fractional import FractionalBound, fractional_bound
from symvi.permanents.sampling import draw_permutation, sample_permutations
from symvi.permanents.scaling import Scaling, sinkhorn

__all__ = [
    "MAX_EXACT",
    "Bethe",
    "EntropyBound",
    "FractionalBound",
    "Scaling",
    "bethe",
    "draw_permutation",
    "entropy_bound",
    "fractional_bound",
    "log_permanent",
    "log_permanent_bethe",
    "log_permanent_bounds",
    "sample_permutations",
    "sinkhorn",
]
