"""symvi: symmetry and variational inference for Bayesian neural networks.

Every public name is listed here; the book's API page documents each.
"""

import warnings

with warnings.catch_warnings():  # ArviZ announces its next major version at every import; ours is pinned
    warnings.simplefilter("ignore", FutureWarning)
    import arviz as _arviz  # noqa: F401

from symvi import data, diagnostics, distances, entropy_bound, information, ledger, mode_seeking, overlaps, permanents, plots, scaling
from symvi.diagnostics import align
from symvi.estimates import Bounds, Estimate, Interval, mean_interval
from symvi.guides import AutoSymmetrizedNormal
from symvi.information import orbit_information
from symvi.ledger import claim
from symvi.models import BNN, Categorical, Gaussian
from symvi.networks import MLP
from symvi.posteriors import MeanField, Symmetrized
from symvi.sweeps import sweep
from symvi.symmetry import Element, Symmetry, UnitGroup, swap
from symvi.torch_bridge import from_torch
from symvi.torch_network import TorchNetwork
from symvi.truth import GridPosterior, grid_posterior, nuts
from symvi.unit_normal import UnitNormal
from symvi.vi import Fit, Monitor, elbo, fit, predict

__version__ = "0.1.0"

__all__ = [
    "BNN",
    "MLP",
    "AutoSymmetrizedNormal",
    "Bounds",
    "Categorical",
    "Element",
    "Estimate",
    "Fit",
    "Gaussian",
    "GridPosterior",
    "Interval",
    "MeanField",
    "Monitor",
    "Symmetrized",
    "Symmetry",
    "TorchNetwork",
    "UnitGroup",
    "UnitNormal",
    "align",
    "claim",
    "data",
    "diagnostics",
    "distances",
    "elbo",
    "entropy_bound",
    "fit",
    "from_torch",
    "grid_posterior",
    "information",
    "ledger",
    "mean_interval",
    "mode_seeking",
    "nuts",
    "orbit_information",
    "overlaps",
    "permanents",
    "plots",
    "predict",
    "scaling",
    "swap",
    "sweep",
]
