"""Ground truth: NUTS, quadrature, the evidence, and reference posteriors."""

from symvi.truth.bridge import bridge_evidence
from symvi.truth.diagnostics import (
    acceptance,
    aligned,
    convergence,
    function_space,
    posteriordb_rule,
)
from symvi.truth.evidence import Evidence, log_evidence
from symvi.truth.grid import GridPosterior, grid_posterior
from symvi.truth.hamiltonian import nuts
from symvi.truth.references import reference_model, reference_posterior

__all__ = [
    "Evidence",
    "GridPosterior",
    "acceptance",
    "aligned",
    "bridge_evidence",
    "convergence",
    "function_space",
    "grid_posterior",
    "log_evidence",
    "nuts",
    "posteriordb_rule",
    "reference_model",
    "reference_posterior",
]
