"""symvi: symmetry and variational inference for Bayesian neural networks.

Every public name is listed here; the book's API page documents each.
"""

import warnings

# ArviZ announces its next major version at every import; ours is pinned
with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    import arviz as _arviz  # noqa: F401

from symvi import (
    alignment,
    book,
    comparison,
    copies,
    data,
    draws,
    information,
    permanents,
    posteriors,
    truth,
    vi,
)
from symvi.alignment import align
from symvi.book.ledger import claim
from symvi.book.sweeps import sweep
from symvi.comparison.table import Comparison, compare
from symvi.draws import inference_data
from symvi.estimates import Bounds, Estimate, Interval, mean_interval
from symvi.information.core import orbit_information
from symvi.models import BNN, Categorical, Gaussian
from symvi.networks import MLP
from symvi.posteriors.mean_field import MeanField, Symmetrized
from symvi.posteriors.unit_normal import UnitNormal
from symvi.symmetry import Element, Symmetry, UnitGroup, swap
from symvi.torch_bridge.bridge import from_torch
from symvi.torch_bridge.network import TorchNetwork
from symvi.truth.convergence import convergence
from symvi.truth.evidence import log_evidence
from symvi.truth.nuts import GridPosterior, grid_posterior, nuts
from symvi.truth.references import reference_model, reference_posterior
from symvi.vi.fit import Fit, Monitor, elbo, fit, predict
from symvi.vi.guide import AutoSymmetrizedNormal

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
    "alignment",
    "book",
    "claim",
    "compare",
    "comparison",
    "convergence",
    "copies",
    "data",
    "draws",
    "elbo",
    "fit",
    "from_torch",
    "grid_posterior",
    "inference_data",
    "information",
    "log_evidence",
    "mean_interval",
    "nuts",
    "orbit_information",
    "permanents",
    "posteriors",
    "predict",
    "reference_model",
    "reference_posterior",
    "swap",
    "sweep",
    "truth",
    "vi",
]
