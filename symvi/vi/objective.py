"""The evidence lower bound of a posterior, plain or symmetrized."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

from symvi.checks import as_key, described, expected, positive_int
from symvi.draws import check_draws, log_joints
from symvi.estimates import Estimate, from_samples
from symvi.information.method import Method, Plain, warn_if_trivial
from symvi.information.methods import as_method, check_at
from symvi.information.symmetrized import Symmetrized
from symvi.models import BNN, check_model
from symvi.posteriors.mean_field import MeanField
from symvi.posteriors.protocol import Posterior, as_measurable, log_densities


def elbo(
    bnn: BNN,
    q,
    x,
    y,
    *,
    symmetrize: str | Method | None = None,
    key=None,
    num_samples: int = 1000,
    num_permutations: int | None = None,
) -> Estimate:
    """The evidence lower bound of `q` (or of `q` symmetrized), in nats, by Monte Carlo.

    L = E_q[log p(y, w | x)] + H(q); L_G = L + I(g; w) (Gelberg et al. 2024, Theorem 4.1).

    Parameters
    ----------
    bnn : BNN
    q : MeanField, UnitNormal, Symmetrized, Fit or another posterior
        A Symmetrized posterior is evaluated with its own method unless told otherwise. Another one
        is anything with ``sample`` and ``log_prob`` (:class:`symvi.posteriors.Posterior`), as the
        baselines; for it L is the mean of log p(y, w | x) - log q(w), and `symmetrize` is None.
    x, y : arrays (N, d_in) and (N, d_out) or, for labels, (N,)
    symmetrize : None or a method of :func:`orbit_information`
        None: L. "exact": L_G, unbiased. "infonce", "guided" (K = `num_permutations`, 20 by default)
        "pairwise", "subadditive" and "tightest": lower bounds of L_G. "bethe": an upper bound of
        L_G.
    key : JAX key, optional

    Returns
    -------
    Estimate
        kind "exact" for None and "exact" (unbiased for the bound named), otherwise "lower" or
        "upper".

    Raises
    ------
    ValueError
        Unknown `symmetrize`, num_samples < 1, K < 1, bad data, a group too large for "exact", or a
        `symmetrize` that is not None beside another posterior.
    """
    check_model(bnn)
    method = as_method(symmetrize, "symmetrize", num_permutations)
    num_samples = positive_int("num_samples", num_samples)
    key = as_key(key)
    x, y = bnn.check_data(x, y)
    q = as_measurable(q)
    if not isinstance(q, (MeanField, Symmetrized)):
        if not isinstance(method, Plain):
            remedy = "symmetrize a MeanField or UnitNormal"
            raise expected("symmetrize", f"None beside {described(q)}", str(symmetrize), remedy)
        return _by_draws(bnn, q, x, y, key, num_samples)
    if isinstance(q, Symmetrized):
        method = q.method if isinstance(method, Plain) else method
        q = q.base
    bnn.check_params(q.loc, "q")
    check_at(method, q, "symmetrize")
    if not isinstance(method, Plain):
        warn_if_trivial(q.symmetry)
    return evaluated(bnn, q, x, y, method, key, num_samples)


def evaluated(bnn: BNN, q: MeanField, x, y, method: Method, key, num_samples: int) -> Estimate:
    """:func:`elbo` of arguments that are known to be good."""
    values = pointwise_elbo(bnn, q, x, y, key, method, num_samples)
    return from_samples(np.asarray(values), method.kind)


def _by_draws(bnn: BNN, q: Posterior, x, y, key, num_samples: int) -> Estimate:
    """E_q[log p(y, w | x) - log q(w)] from draws of each stratum of q alike.

    With q = sum_k a_k q_k the mean over q is sum_k a_k E_{q_k}[.], so a_k times a stratum's
    standard error is its share of the error.
    """
    strata = q.strata() if hasattr(q, "strata") else [(1.0, q)]
    draws_of_each = -(-num_samples // len(strata))
    total, variance = 0.0, 0.0
    for index, (weight, member) in enumerate(strata):
        drawn = member.sample(jax.random.fold_in(key, index), draws_of_each)
        drawn, _ = check_draws(bnn, drawn)
        values = log_joints(bnn, drawn, x, y) - log_densities(q, drawn)
        part = from_samples(values, "exact")
        total += weight * part.value
        variance += (weight * part.std_error) ** 2
    return Estimate(total, variance**0.5, "exact")


@partial(jax.jit, static_argnames=("bnn", "method", "num_samples"))
def pointwise_elbo(bnn: BNN, q: MeanField, x, y, key, method: Method, num_samples: int):
    """`num_samples` independent unbiased draws of the bound, shape ``(num_samples,)``, in nats."""
    k_weights, k_group = jax.random.split(key)
    draws = q.sample(k_weights, num_samples)
    keys = jax.random.split(k_group, num_samples)

    def one(draw_and_key):
        draw, draw_key = draw_and_key
        return bnn.log_joint(draw, x, y) + method.pointwise(q, draw, draw_key)

    drawn = jax.lax.map(one, (draws, keys), batch_size=method.draws_at_once(q.symmetry))
    return q.entropy() + method.final_closed_form(q) + drawn
