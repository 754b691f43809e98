"""The log evidence log p(y | x) by tempered sequential Monte Carlo, repeated for a standard error."""

from __future__ import annotations

from functools import partial

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.smc import adaptive_tempered, extend_params, resampling
from jax.flatten_util import ravel_pytree

from symvi.checks import positive_int, seed_to_key
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
    """log p(y | x) in nats, by adaptive tempered sequential Monte Carlo (Del Moral, Doucet and Jasra 2006; BlackJAX).

    Particles go from the prior to the posterior through p(w) p(y | x, w)^t; each next t is chosen so that the weights keep
    an effective sample size of `target_ess`. After resampling, particles move by Hamiltonian steps whose step size follows
    the acceptance rate and whose mass follows the particles' variances. Independent `repeats` run side by side.

    Returns
    -------
    Estimate
        The log of the mean of the repeats' estimates of p(y | x), each nearly unbiased (the schedule adapts; the bias falls as
        particles grow); its standard error from their spread, itself uncertain with few repeats; kind "approximate".

    Raises
    ------
    ValueError
        particles or repeats < 2, target_ess outside (0, 1), a seed that is no int, or bad data.
    """
    particles, repeats = (
        positive_int("particles", particles, 2),
        positive_int("repeats", repeats, 2),
    )
    if not 0 < target_ess < 1:
        raise ValueError(
            f"target_ess: expected a number between 0 and 1, got {target_ess!r}; pass for example 0.7"
        )
    key = seed_to_key(seed)
    x, y = bnn.check_data(x, y)
    logs = np.asarray(
        _repeat(bnn, jax.random.split(key, repeats), x, y, particles, float(target_ess))
    )
    top = logs.max()
    z = np.exp(logs - top)
    return Estimate(
        float(top + np.log(z.mean())),
        float(z.std(ddof=1) / z.mean() / np.sqrt(repeats)),
        "approximate",
    )


@partial(jax.jit, static_argnames=("bnn", "particles"))
def _repeat(bnn, keys, x, y, particles, target_ess):
    """The estimate of each repeat, shape (repeats,)."""
    unravel = ravel_pytree(
        jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(bnn.init, jax.random.key(0))
        )
    )[1]
    kernel = adaptive_tempered.build_kernel(
        lambda v: bnn.log_prior(unravel(v)),
        lambda v: bnn.log_likelihood(unravel(v), x, y),
        partial(blackjax.hmc.build_kernel(), num_integration_steps=LEAPFROGS),
        blackjax.hmc.init,
        resampling.systematic,
        target_ess,
    )

    def once(key):
        k_prior, key = jax.random.split(key)
        start = jax.vmap(lambda k: ravel_pytree(bnn.sample_prior(k))[0])(
            jax.random.split(k_prior, particles)
        )

        def step(state):
            smc, log_z, step_size, key = state
            key, k = jax.random.split(key)
            mass = {"step_size": step_size, "inverse_mass_matrix": jnp.var(smc.particles, axis=0)}
            smc, info = kernel(k, smc, MOVES, extend_params(mass))
            accepted = jnp.mean(info.update_info.acceptance_rate)
            return (
                smc,
                log_z + info.log_likelihood_increment,
                step_size * jnp.exp(accepted - TARGET_ACCEPTANCE),
                key,
            )

        zero, state = jnp.zeros((), start.dtype), adaptive_tempered.init(start)
        state = state._replace(
            tempering_param=zero, weights=state.weights.astype(start.dtype)
        )  # one type throughout the loop
        return jax.lax.while_loop(
            lambda s: s[0].tempering_param < 1, step, (state, zero, zero + FIRST_STEP, key)
        )[1]

    return jax.lax.map(once, keys)
