"""Ground truth: NUTS draws by NumPyro, and exact posteriors on a grid for networks with two parameters."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer import MCMC, NUTS

from symvi.checks import positive_int, seed_to_key, shows_progress
from symvi.models import BNN

LOW_BFMI = 0.3  # below it the chains move too slowly between energies (Betancourt 2017)


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
    progress: bool = True,
) -> az.InferenceData:
    """Draw from the posterior of `bnn` with NumPyro's NUTS (Hoffman and Gelman 2014; Phan et al. 2019).

    Chains run side by side from independent random starts, in parallel where JAX has a device for each (on a processor, call
    ``numpyro.set_host_device_count`` before anything else), vectorised otherwise. Divergent steps and chains with E-BFMI below 0.3 are
    reported by a warning.

    Parameters
    ----------
    target_accept : float
        Acceptance rate that the step size is tuned to; nearer to 1 means smaller steps and fewer divergences.

    Returns
    -------
    arviz.InferenceData
        Groups posterior (each parameter, ``(chains, draws, *shape)``), log_likelihood (``(chains, draws, N)``, nats),
        sample_stats (with divergences and energy) and observed_data.

    Raises
    ------
    ValueError
        chains, warmup or draws < 1, target_accept outside (0, 1), a seed that is no int, or bad data.
    """
    chains, warmup, draws = (
        positive_int("chains", chains),
        positive_int("warmup", warmup),
        positive_int("draws", draws),
    )
    if (
        isinstance(target_accept, bool)
        or not isinstance(target_accept, (int, float))
        or not 0 < target_accept < 1
    ):
        raise ValueError(
            f"target_accept: expected a number between 0 and 1, got {target_accept!r}; pass for example 0.9"
        )
    key = seed_to_key(seed)
    x, y = bnn.check_data(x, y)
    method = "parallel" if 1 < chains <= jax.local_device_count() else "vectorized"
    kernel = NUTS(bnn.numpyro_model, target_accept_prob=target_accept)
    mcmc = MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method=method,
        progress_bar=shows_progress(progress),
    )
    mcmc.run(
        key,
        x,
        y,
        extra_fields=("diverging", "energy", "num_steps", "accept_prob", "potential_energy"),
    )
    drawn = az.from_numpyro(mcmc)
    _report(drawn.sample_stats)
    return drawn


def _report(stats) -> None:
    """Warn of divergent steps and slow energies."""
    diverging = stats["diverging"].values
    if diverging.any():
        where = ", ".join(str(c) for c in np.flatnonzero(diverging.any(axis=1)))
        warnings.warn(
            f"nuts: {diverging.sum()} of {diverging.size} draws diverged (chains {where}), so the draws may miss parts of the posterior; raise target_accept",
            stacklevel=3,
        )
    if diverging.shape[1] >= 4:
        bfmi = az.bfmi(stats["energy"].values)
        if np.any(bfmi < LOW_BFMI):
            warnings.warn(
                f"nuts: E-BFMI is {bfmi.min():.2f} in chain {bfmi.argmin()}, below {LOW_BFMI}, so the chain moves slowly between energies; draw longer or change the prior",
                stacklevel=3,
            )


@dataclass(frozen=True)
class GridPosterior:
    """The exact posterior of a model with two parameters, on a tensor grid of quadrature nodes.

    Attributes
    ----------
    nodes, weights : arrays (m,)
        Gauss-Legendre nodes and weights, shared by both axes; 0 is a panel boundary.
    log_joint : array (m, m)
        log p(y, w | x) in nats at (w_1, w_2) = (nodes[i], nodes[j]).
    log_evidence : float
        log p(y | x) in nats, restricted to the square that the grid covers.
    """

    nodes: np.ndarray
    weights: np.ndarray
    log_joint: np.ndarray
    log_evidence: float

    @property
    def log_mass(self) -> np.ndarray:
        """log posterior probability of each node's cell, shape ``(m, m)``; sums to 1 after exp."""
        log_w = np.log(self.weights)
        return self.log_joint + log_w[:, None] + log_w[None, :] - self.log_evidence

    def expect(self, values) -> float:
        """The posterior mean of `values` given at the nodes, shape ``(m, m)``."""
        return float(np.sum(np.exp(self.log_mass) * values))


def grid_posterior(
    bnn: BNN, x, y, *, limit: float = 6.0, panels: int = 120, order: int = 10
) -> GridPosterior:
    """Integrate the posterior of a two-parameter model exactly, by composite Gauss-Legendre quadrature.

    The square [-limit, limit]^2 is cut into panels at which the integrand may have kinks only at 0 (as the two-weight
    ReLU network has); within a panel the rule of `order` nodes is exact to the order 2 `order` - 1. Use float64.

    Parameters
    ----------
    limit : float
        Half the side of the square; the posterior outside it is neglected (take at least 6 prior standard deviations,
        or where the likelihood has died out).
    panels : int
        Panels along half an axis. Narrow posteriors need panels no wider than about their standard deviation.

    Raises
    ------
    ValueError
        If the model does not have exactly two scalar parameters, or limit, panels or order are out of range.
    """
    panels, order = positive_int("panels", panels), positive_int("order", order)
    if not limit > 0:
        raise ValueError(
            f"limit: expected a positive number, got {limit!r}; pass for example 6 prior standard deviations"
        )
    x, y = bnn.check_data(x, y)
    start = bnn.init(jax.random.key(0))
    flat, unravel = ravel_pytree(start)
    if flat.size != 2:
        raise ValueError(
            f"bnn: expected a model with 2 parameters, got {flat.size}; use nuts for larger models"
        )
    nodes, weights = np.polynomial.legendre.leggauss(order)
    edges = np.linspace(0, limit, panels + 1)
    half = np.diff(edges)[:, None] / 2
    positive = (edges[:-1, None] + half * (1 + nodes)).ravel()
    positive_weights = (half * weights).ravel()
    nodes, weights = (
        np.concatenate([-positive[::-1], positive]),
        np.concatenate([positive_weights[::-1], positive_weights]),
    )

    @jax.jit
    def table(nodes):
        def row(w1):
            return jax.vmap(lambda w2: bnn.log_joint(unravel(jnp.stack([w1, w2])), x, y))(nodes)

        return jax.lax.map(row, nodes)

    log_joint = np.asarray(table(jnp.asarray(nodes)))
    log_w = np.log(weights)
    total = log_joint + log_w[:, None] + log_w[None, :]
    top = total.max()
    return GridPosterior(nodes, weights, log_joint, float(top + np.log(np.exp(total - top).sum())))
