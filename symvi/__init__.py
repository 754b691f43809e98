"""symvi: symmetry and variational inference for Bayesian neural networks.

Every public name is listed here; the book's API page documents each.
"""

import warnings

with warnings.catch_warnings():  # ArviZ announces its next major version at every import; ours is pinned
    warnings.simplefilter("ignore", FutureWarning)
    import arviz as _arviz  # noqa: F401

from symvi import data, diagnostics, distances, ledger, mode_seeking, permanents, plots
from symvi.diagnostics import align
from symvi.estimates import Estimate
from symvi.guides import AutoSymmetrizedNormal
from symvi.information import orbit_information
from symvi.ledger import claim
from symvi.models import BNN, Categorical, Gaussian
from symvi.networks import MLP
from symvi.posteriors import MeanField, Symmetrized
from symvi.symmetry import Element, Symmetry, UnitGroup, swap
from symvi.truth import GridPosterior, grid_posterior, nuts
from symvi.vi import Fit, elbo, fit, predict

__version__ = "0.1.0"

__all__ = [
    "BNN",
    "MLP",
    "AutoSymmetrizedNormal",
    "Categorical",
    "Element",
    "Estimate",
    "Fit",
    "Gaussian",
    "GridPosterior",
    "MeanField",
    "Symmetrized",
    "Symmetry",
    "UnitGroup",
    "align",
    "claim",
    "data",
    "diagnostics",
    "distances",
    "elbo",
    "fit",
    "grid_posterior",
    "ledger",
    "mode_seeking",
    "nuts",
    "orbit_information",
    "permanents",
    "plots",
    "predict",
    "swap",
]
