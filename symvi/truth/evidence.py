"""The log evidence log p(y | x) by tempered sequential Monte Carlo, repeated for an error."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import fraction, positive_int, seed_to_key
from symvi.draws import check_pairs
from symvi.estimates import Estimate
from symvi.models import BNN

LEAPFROGS = 8  # steps of a Hamiltonian move
MOVES = 5  # moves of each particle at each temperature
TARGET_ACCEPTANCE = 0.8
FIRST_STEP = 0.2  # step size of the moves, in standard deviations of the particles


def log_evidence(
    bnn: BNN,
    x,
    y,
    *,
    particles: int = 1000,
    repeats: int = 8,
    target_ess: float = 0.7,
    seed: int = 0,
) -> Estimate:
    """log p(y | x) in nats, by adaptive tempered sequential Monte Carlo.

    Particles go from the prior to the posterior through p(w) p(y | x, w)^t (Del Moral, Doucet and
    Jasra 2006; BlackJAX); each next t is chosen so that the weights keep an effective sample size
    of `target_ess`. After resampling, particles move by Hamiltonian steps whose step size follows
    the acceptance rate and whose mass follows the particles' variances. Independent `repeats` run
    one after the other in one compiled loop.

    Parameters
    ----------
    particles, repeats : int
        At least 2 of each.
    target_ess : float
        Between 0 and 1, a share of the particles.

    Returns
    -------
    Estimate
        The log of the mean of the repeats' estimates of p(y | x), each nearly unbiased (the
        schedule adapts; the bias falls as particles grow); its standard error from their spread,
        itself uncertain with few repeats; kind "approximate".

    Raises
    ------
    ValueError
        particles or repeats < 2, target_ess outside (0, 1), a seed that is no int, or bad data.
    """
    particles = positive_int("particles", particles, 2)
    repeats = positive_int("repeats", repeats, 2)
    target_ess = fraction("target_ess", target_ess, example=0.7)
    keys = jax.random.split(seed_to_key(seed), repeats)
    x, y = check_pairs(bnn, x, y)
    logs = np.asarray(_repeated(bnn, keys, x, y, particles, target_ess))
    top = logs.max()
    z = np.exp(logs - top)
    std_error = z.std(ddof=1) / z.mean() / np.sqrt(repeats)
    return Estimate(float(top + np.log(z.mean())), float(std_error), "approximate")


@partial(jax.jit, static_argnames=("bnn", "particles"))
def _repeated(bnn, keys, x, y, particles, target_ess):
    """The estimate of each repeat, shape (repeats,)."""
    return jax.lax.map(partial(_log_z, bnn, x, y, particles, target_ess), keys)


def _log_z(bnn, x, y, particles, target_ess, key):
    """One estimate of log p(y | x): the sum of the tempered steps' increments."""
    from blackjax.smc import adaptive_tempered, extend_params

    kernel = _kernel(bnn, x, y, target_ess)
    k_prior, key = jax.random.split(key)
    start = jax.vmap(partial(_from_prior, bnn))(jax.random.split(k_prior, particles))

    def step(carry):
        smc, log_z, step_size, key = carry
        key, k_step = jax.random.split(key)
        tuned = {"step_size": step_size, "inverse_mass_matrix": jnp.var(smc.particles, axis=0)}
        smc, info = kernel(k_step, smc, MOVES, extend_params(tuned))
        accepted = jnp.mean(info.update_info.acceptance_rate)
        step_size = step_size * jnp.exp(accepted - TARGET_ACCEPTANCE)
        return smc, log_z + info.log_likelihood_increment, step_size, key

    def unfinished(carry):
        return carry[0].tempering_param < 1

    zero = jnp.zeros((), start.dtype)
    smc = adaptive_tempered.init(start)
    # one type throughout the loop
    smc = smc._replace(tempering_param=zero, weights=smc.weights.astype(start.dtype))
    return jax.lax.while_loop(unfinished, step, (smc, zero, zero + FIRST_STEP, key))[1]


def _from_prior(bnn, key):
    return bnn.ravel(bnn.sample_prior(key))


def _kernel(bnn, x, y, target_ess):
    """BlackJAX's tempered step: reweighting to `target_ess`, resampling, Hamiltonian moves."""
    import blackjax
    from blackjax.smc import adaptive_tempered, resampling

    def log_prior(vector):
        return bnn.log_prior(bnn.unravel(vector))

    def log_likelihood(vector):
        return bnn.log_likelihood(bnn.unravel(vector), x, y)

    return adaptive_tempered.build_kernel(
        log_prior,
        log_likelihood,
        partial(blackjax.hmc.build_kernel(), num_integration_steps=LEAPFROGS),
        blackjax.hmc.init,
        resampling.systematic,
        target_ess,
    )
