"""The orbit information I(g; w): one file a method, one table, and the symmetrized posterior."""

from symvi.information.bethe import Bethe, pointwise_bethe
from symvi.information.exact import Exact, log_symmetrized, pointwise_exact
from symvi.information.guided import Guided, pointwise_guided
from symvi.information.infonce import InfoNCE, pointwise_infonce
from symvi.information.method import Method, Plain
from symvi.information.methods import METHODS, as_method
from symvi.information.orbit import orbit_information
from symvi.information.overlaps import divergences, log_bhattacharyya, overlap_matrices
from symvi.information.pairwise import Pairwise, pairwise_bounds, pairwise_objective
from symvi.information.subadditive import Subadditive, subadditive_bounds
from symvi.information.symmetrized import Symmetrized
from symvi.information.tightest import Tightest

__all__ = [
    "METHODS",
    "Bethe",
    "Exact",
    "Guided",
    "InfoNCE",
    "Method",
    "Pairwise",
    "Plain",
    "Subadditive",
    "Symmetrized",
    "Tightest",
    "as_method",
    "divergences",
    "log_bhattacharyya",
    "log_symmetrized",
    "orbit_information",
    "overlap_matrices",
    "pairwise_bounds",
    "pairwise_objective",
    "pointwise_bethe",
    "pointwise_exact",
    "pointwise_guided",
    "pointwise_infonce",
    "subadditive_bounds",
]
