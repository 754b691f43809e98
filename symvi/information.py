r"""The orbit information I(g; w): what symmetrizing adds to the evidence lower bound, in nats.

Draw w from q_G by drawing g uniformly from the group and then a copy of q: I(g; w) is the mutual information of the two,
I = H(q_G) - H(q) = E_q[log q(w) - log q_G(w)], between 0 and log |G| (Gelberg et al. 2024, Theorem 4.1).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import one_of, positive_int
from symvi.estimates import Estimate, from_samples
from symvi.permanents import log_sum_exp
from symvi.posteriors import MeanField, Symmetrized, log_symmetrized

METHODS = ("exact", "infonce")


def pointwise_exact(q: MeanField, params: dict):
    """log q(w) - log q_G(w) in nats for one draw w of q; its mean over q is I(g; w)."""
    return q.log_prob(params) - log_symmetrized(q, params)


def pointwise_infonce(q: MeanField, params: dict, key, num_permutations: int):
    """One draw of the paper's lower bound (Theorem 4.3): -log (1/K)[1 + sum_{j<K} q(g_j^-1 w) / q(w)], g_j uniform.

    Never above log K. K = `num_permutations` counts the identity, so K = 1 gives 0.
    """
    base = q.log_prob(params)
    ratios = jnp.zeros(1, base.dtype)
    if num_permutations > 1:
        g = q.symmetry.sample(key, num_permutations - 1)  # uniform, so g and its inverse have the same law
        others = jax.vmap(lambda e: q.log_prob(q.symmetry.act(e, params)))(g)
        ratios = jnp.concatenate([ratios, others - base])
    return jnp.log(num_permutations) - log_sum_exp(ratios, axis=0)


@partial(jax.jit, static_argnames=("method", "num_samples", "num_permutations"))
def _pointwise(q, key, method, num_samples, num_permutations):
    k_weights, k_group = jax.random.split(key)
    w = q.sample(k_weights, num_samples)
    if method == "exact":
        return jax.lax.map(lambda v: pointwise_exact(q, v), w, batch_size=100)
    keys = jax.random.split(k_group, num_samples)
    return jax.lax.map(lambda v: pointwise_infonce(q, v[0], v[1], num_permutations), (w, keys), batch_size=100)


def orbit_information(q, method: str = "exact", key=None, *, num_samples: int = 1000, num_permutations: int = 20) -> Estimate:
    """Estimate I(g; w) of `q` and its symmetry group, in nats.

    Parameters
    ----------
    q : MeanField or Symmetrized
    method : str
        ``"exact"``: unbiased, kind "exact"; one hidden layer of at most 16 units, or |G| <= 50,000.
        ``"infonce"``: the lower bound of Gelberg et al. (2024), Theorem 4.3; any network; at most log K.
    key : JAX key, optional
    num_samples : int
        Draws of w.
    num_permutations : int
        K of the InfoNCE bound, the identity included.

    Raises
    ------
    ValueError
        Unknown method, K < 1, num_samples < 1, or a group too large for "exact".
    """
    one_of("method", method, METHODS)
    num_samples = positive_int("num_samples", num_samples)
    num_permutations = positive_int("num_permutations", num_permutations)
    q = q.base if isinstance(q, Symmetrized) else q
    key = jax.random.key(0) if key is None else key
    values = _pointwise(q, key, method, num_samples, num_permutations)
    return from_samples(np.asarray(values), "exact" if method == "exact" else "lower")
