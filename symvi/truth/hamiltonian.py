"""Ground truth by sampling: NumPyro's NUTS, with a word where its draws cannot be trusted."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import jax
import numpy as np
from numpyro.infer import MCMC, NUTS

from symvi.checks import arviz, flag, fraction, positive_int, seed_to_key, shows_progress
from symvi.draws import check_pairs, posterior_draws
from symvi.models import BNN
from symvi.truth.diagnostics import (
    LOW_BFMI,
    MAX_RHAT,
    MAX_SATURATED,
    MIN_DRAWS,
    function_space,
    summary,
)

if TYPE_CHECKING:
    from arviz import InferenceData

FIELDS = ("diverging", "energy", "num_steps", "accept_prob", "potential_energy")


def nuts(
    bnn: BNN,
    x,
    y,
    *,
    chains: int = 4,
    warmup: int = 1000,
    draws: int = 1000,
    seed: int = 0,
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    progress: bool = True,
) -> InferenceData:
    """Draw from the posterior of `bnn` with NumPyro's NUTS (Hoffman and Gelman 2014).

    Chains run side by side from independent random starts, in parallel where JAX has a device for
    each (on a processor, call ``numpyro.set_host_device_count`` before anything else), vectorised
    otherwise.

    Parameters
    ----------
    target_accept : float
        Acceptance rate that the step size is tuned to; nearer to 1 means smaller steps and fewer
        divergences.
    max_tree_depth : int
        A draw takes at most 2^max_tree_depth - 1 leapfrog steps.

    Returns
    -------
    arviz.InferenceData
        Groups posterior (each parameter, ``(chains, draws, *shape)``), log_likelihood (``(chains,
        draws, N)``, nats), sample_stats (with divergences, energy, the number of steps, and
        max_tree_depth among its attributes) and observed_data.

    Raises
    ------
    ValueError
        chains, warmup, draws or max_tree_depth < 1, target_accept outside (0, 1), a seed that is no
        int, or bad data.

    Warns
    -----
    UserWarning
        Of divergent steps; of chains with E-BFMI below 0.3; where more than 5 % of the draws hit
        the limit of the tree's depth; and, with 2 chains or more of at least 4 draws, where R-hat
        of the functions (outputs at up to 50 inputs, log joint density, log noise) is above 1.01.
    """
    progress = flag("progress", progress)
    chains = positive_int("chains", chains)
    warmup = positive_int("warmup", warmup)
    draws = positive_int("draws", draws)
    max_tree_depth = positive_int("max_tree_depth", max_tree_depth)
    target_accept = fraction("target_accept", target_accept)
    key = seed_to_key(seed)
    x, y = check_pairs(bnn, x, y)
    kernel = NUTS(
        bnn.numpyro_model, target_accept_prob=target_accept, max_tree_depth=max_tree_depth
    )
    side_by_side = "parallel" if 1 < chains <= jax.local_device_count() else "vectorized"
    mcmc = MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method=side_by_side,
        progress_bar=shows_progress(progress),
    )
    mcmc.run(key, x, y, extra_fields=FIELDS)
    drawn = arviz().from_numpyro(mcmc)
    drawn.sample_stats.attrs["max_tree_depth"] = max_tree_depth
    complaints = [
        of_divergences(drawn.sample_stats),
        of_energies(drawn.sample_stats),
        of_depth(drawn.sample_stats, max_tree_depth),
        of_functions(bnn, drawn, x, y),
    ]
    for complaint in filter(None, complaints):
        warnings.warn(f"nuts: {complaint}", stacklevel=2)
    return drawn


def of_divergences(stats) -> str | None:
    """What there is to say of divergent steps, from the group sample_stats; None if nothing."""
    diverging = stats["diverging"].values
    if not diverging.any():
        return None
    where = ", ".join(str(chain) for chain in np.flatnonzero(diverging.any(axis=1)))
    share = f"{diverging.sum()} of {diverging.size} draws diverged (chains {where})"
    return f"{share}, so the draws may miss parts of the posterior; raise target_accept"


def of_energies(stats) -> str | None:
    """What there is to say of slow moves between energies."""
    energy = stats["energy"].values
    if energy.shape[1] < MIN_DRAWS:
        return None
    bfmi = arviz().bfmi(energy)
    if not np.any(bfmi < LOW_BFMI):
        return None
    low = f"E-BFMI is {bfmi.min():.2f} in chain {bfmi.argmin()}, below {LOW_BFMI}"
    return f"{low}, so the chain moves slowly between energies; draw longer or change the prior"


def of_depth(stats, max_tree_depth: int) -> str | None:
    """What there is to say of draws whose trajectory was cut off at the tree's depth."""
    saturated = stats["n_steps"].values >= 2**max_tree_depth - 1
    if saturated.mean() <= MAX_SATURATED:
        return None
    share = f"{100 * saturated.mean():.0f} % of the draws hit max_tree_depth={max_tree_depth}"
    remedy = f"standardise the data or warm up longer, or pass max_tree_depth={max_tree_depth + 2}"
    return f"{share}, so the chains move slowly and the draws depend on each other; {remedy}"


def of_functions(bnn: BNN, drawn: InferenceData, x, y) -> str | None:
    """What there is to say of chains that disagree about the functions."""
    chains, draws = drawn.sample_stats["energy"].shape
    if chains < 2 or draws < MIN_DRAWS:
        return None
    rhat = summary(function_space(bnn, posterior_draws(drawn), x, y))["rhat"]
    if not rhat > MAX_RHAT:
        return None
    found = f"R-hat of the functions is {rhat:.2f}, above {MAX_RHAT}"
    return f"{found}, so the chains have not mixed; warm up and draw longer, see symvi.convergence"
