"""symvi: symmetry and variational inference for Bayesian neural networks.

Every public name is listed in `__all__`; the rooms behind them are reached as ``symvi.posteriors``,
``symvi.truth``, and so on. The book's API page documents each. Three wings are imported only when
something of theirs is first asked for: symmetry read from programs, networks stated in PyTorch,
and the tools of the book.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from symvi import (  # noqa: F401
    alignment,
    baselines,
    comparison,
    copies,
    data,
    draws,
    information,
    permanents,
    posteriors,
    symmetry,
    truth,
    vi,
)
from symvi.alignment import align
from symvi.comparison.table import compare
from symvi.estimates import Bounds, Estimate, mean_interval
from symvi.information.orbit import orbit_information
from symvi.information.symmetrized import Symmetrized
from symvi.likelihoods import Categorical, Gaussian, Likelihood
from symvi.models import BNN
from symvi.networks import MLP
from symvi.posteriors.mean_field import MeanField
from symvi.posteriors.unit_normal import UnitNormal
from symvi.symmetry import Symmetry, UnitGroup
from symvi.truth.diagnostics import convergence
from symvi.truth.evidence import log_evidence
from symvi.truth.grid import grid_posterior
from symvi.truth.hamiltonian import nuts
from symvi.truth.references import reference_model, reference_posterior
from symvi.vi.guide import AutoSymmetrizedNormal
from symvi.vi.objective import elbo
from symvi.vi.record import Fit, load
from symvi.vi.training import fit

if TYPE_CHECKING:  # what __getattr__ below imports when it is first asked for
    from symvi import book, torch_bridge, tracing  # noqa: F401
    from symvi.book.chapter import claim
    from symvi.book.sweeps import sweep
    from symvi.torch_bridge.bridge import from_torch
    from symvi.tracing.found import find_symmetry

__version__ = "0.1.0"

__all__ = [
    "BNN",
    "MLP",
    "AutoSymmetrizedNormal",
    "Bounds",
    "Categorical",
    "Estimate",
    "Fit",
    "Gaussian",
    "Likelihood",
    "MeanField",
    "Symmetrized",
    "Symmetry",
    "UnitGroup",
    "UnitNormal",
    "align",
    "baselines",
    "book",
    "claim",
    "compare",
    "convergence",
    "data",
    "elbo",
    "find_symmetry",
    "fit",
    "from_torch",
    "grid_posterior",
    "information",
    "load",
    "log_evidence",
    "mean_interval",
    "nuts",
    "orbit_information",
    "permanents",
    "reference_model",
    "reference_posterior",
    "sweep",
]

_WINGS = ("book", "torch_bridge", "tracing")
_IN_WINGS = {
    "claim": "symvi.book.chapter",
    "find_symmetry": "symvi.tracing.found",
    "from_torch": "symvi.torch_bridge.bridge",
    "sweep": "symvi.book.sweeps",
}


def __getattr__(name: str):
    """A wing, or a name from one, imported now that it is asked for."""
    if name in _WINGS:
        return importlib.import_module(f"symvi.{name}")
    if name in _IN_WINGS:
        value = getattr(importlib.import_module(_IN_WINGS[name]), name)
        globals()[name] = value  # the next use finds it at once
        return value
    raise AttributeError(f"module 'symvi' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_WINGS})
