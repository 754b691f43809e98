"""symvi: symmetry and variational inference for Bayesian neural networks.

Every public name is listed here; the book's API page documents each.
"""

import warnings

with warnings.catch_warnings():  # ArviZ announces its next major version at every import; ours is pinned
    warnings.simplefilter("ignore", FutureWarning)
    import arviz as _arviz  # noqa: F401

from symvi import comparison, data, diagnostics, distances, draws, entropy_bound, information, ledger, mixing, mode_seeking, overlaps, permanents, plots, references, scaling
from symvi.comparison import Comparison, compare
from symvi.diagnostics import align
from symvi.draws import inference_data
from symvi.estimates import Bounds, Estimate, Interval, mean_interval
from symvi.evidence import log_evidence
from symvi.guides import AutoSymmetrizedNormal
from symvi.information import orbit_information
from symvi.ledger import claim
from symvi.mixing import convergence
from symvi.models import BNN, Categorical, Gaussian
from symvi.networks import MLP
from symvi.posteriors import MeanField, Symmetrized
from symvi.references import reference_model, reference_posterior
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
    "Comparison",
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
    "compare",
    "comparison",
    "convergence",
    "data",
    "diagnostics",
    "distances",
    "draws",
    "elbo",
    "entropy_bound",
    "fit",
    "from_torch",
    "grid_posterior",
    "inference_data",
    "information",
    "ledger",
    "log_evidence",
    "mean_interval",
    "mixing",
    "mode_seeking",
    "nuts",
    "orbit_information",
    "overlaps",
    "permanents",
    "plots",
    "predict",
    "reference_model",
    "reference_posterior",
    "references",
    "scaling",
    "swap",
    "sweep",
]
