"""Ground truth: NUTS, quadrature, the evidence, and reference posteriors."""

from symvi.truth.diagnostics import acceptance, aligned, convergence, function_space
from symvi.truth.evidence import log_evidence
from symvi.truth.grid import GridPosterior, grid_posterior
from symvi.truth.hamiltonian import nuts
from symvi.truth.references import reference_model, reference_posterior

__all__ = [
    "GridPosterior",
    "acceptance",
    "aligned",
    "convergence",
    "function_space",
    "grid_posterior",
    "log_evidence",
    "nuts",
    "reference_model",
    "reference_posterior",
]
