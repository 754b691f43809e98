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
from symvi.truth.posteriordb import export_posteriordb
from symvi.truth.references import reference_model, reference_posterior
from symvi.truth.stan_code import from_stan_draws, stan_data, stan_draws, stan_program

__all__ = [
    "Evidence",
    "GridPosterior",
    "acceptance",
    "aligned",
    "bridge_evidence",
    "convergence",
    "export_posteriordb",
    "from_stan_draws",
    "function_space",
    "grid_posterior",
    "log_evidence",
    "nuts",
    "posteriordb_rule",
    "reference_model",
    "reference_posterior",
    "stan_data",
    "stan_draws",
    "stan_program",
]
