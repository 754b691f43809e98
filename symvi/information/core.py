r"""The orbit information I(g; w): what symmetrizing adds to the evidence lower bound, in nats.

Draw w from q_G by drawing g uniformly from the group and then a copy of q: I(g; w) is the mutual information of the two,
I = H(q_G) - H(q) = E_q[log q(w) - log q_G(w)], between 0 and log |G| (Gelberg et al. 2024, Theorem 4.1).

With several hidden layers the chain rule I(g; w) = sum over layers l of I(g_l; w | g_1..g_{l-1}) leads the way: a layer's
own unit vectors give a lower bound of its term, all its weights (in and out) an upper bound.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from symvi.checks import one_of, positive_int
from symvi.estimates import Bounds, Estimate, from_samples
from symvi.information.overlaps import overlap_matrices
from symvi.permanents.core import bethe, draw_permutation, log_permanent, log_permanent_bounds
from symvi.permanents.entropy import entropy_bound
from symvi.permanents.scaling import log_sum_exp, scale_matrix
from symvi.posteriors.mean_field import MeanField, Symmetrized, log_symmetrized, log_unit_densities
from symvi.symmetry import Element

KINDS = {
    "exact": "exact",
    "infonce": "lower",
    "guided": "lower",
    "pairwise": "lower",
    "bethe": "upper",
}  # what training with a method maximises
METHODS = tuple(KINDS)
SMALL = 8  # up to this many units the exact permanent costs no more than messages


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
        g = q.symmetry.sample(
            key, num_permutations - 1
        )  # uniform, so g and its inverse have the same law
        others = jax.lax.map(
            lambda e: q.log_prob(q.symmetry.act(e, params)), g
        )  # one at a time: memory traffic is what costs
        ratios = jnp.concatenate([ratios, others - base])
    return jnp.log(num_permutations) - log_sum_exp(ratios, axis=0)


def pointwise_bethe(q: MeanField, params: dict):
    """log q(w) - log q_G(w) in nats with the Bethe permanent for the permanent: never below it (one hidden layer)."""
    (group,) = q.symmetry.groups
    value = bethe(log_unit_densities(q, params), max_iter=100).value
    return q.log_prob(params) - q.rest_log_prob(params) - value + math.lgamma(group.size + 1)


def _guided_weight(q, w, key, identity):
    """log q(g^-1 w) / (|G| r(g | w)), log r(g | w) and whether g is the identity, for one g drawn layer by layer from r.

    Where `identity` is true, g is the identity instead. r draws which unit of w each unit of q accounts for, guided by
    the scaled matrix of q's unit densities. Signs are summed over in the last layer and drawn from their exact
    conditional before it.
    """
    symmetry, total, log_r, same = q.symmetry, q.rest_log_prob(w), 0.0, True
    for index, group in enumerate(symmetry.groups):
        k_perm, k_sign = jax.random.split(jax.random.fold_in(key, index))
        log_a = log_unit_densities(q, w, group.name)
        log_p = scale_matrix(jax.lax.stop_gradient(log_a)).log_p
        rows = jnp.arange(group.size)
        perm, log_r_perm = draw_permutation(k_perm, log_p, jnp.where(identity, rows, -1))
        total = total + log_a[rows, perm].sum() - math.lgamma(group.size + 1) - log_r_perm
        log_r, same = log_r + log_r_perm, same & jnp.all(perm == rows)
        if index + 1 < len(symmetry.groups):
            e = symmetry.identity()
            signs = e.signs
            if symmetry.signed:
                u = symmetry.own_units(w, group.name)[perm]
                plus, minus = (jnp.diagonal(q.unit_log_density(s * u, group.name)) for s in (1, -1))
                drawn = jnp.where(
                    identity | jax.random.bernoulli(k_sign, jax.nn.sigmoid(plus - minus)), 1, -1
                )
                signs = {**e.signs, group.name: jnp.zeros_like(rows).at[perm].set(drawn)}
                log_r, same = (
                    log_r + jax.nn.log_sigmoid(drawn * (plus - minus)).sum(),
                    same & jnp.all(drawn == 1),
                )
            w = symmetry.act(Element({**e.perms, group.name: jnp.argsort(perm)}, signs), w)
    return total, log_r, same


def pointwise_guided(q: MeanField, params: dict, key, num_permutations: int):
    """One draw of a lower and of an upper bound of I(g; w), from K = `num_permutations` guided permutations.

    With importance weights v(g) = q(g^-1 w) / (|G| r(g | w)) and g_1, g_2, ... from r: log q(w) - log mean v bounds I
    from below in expectation if one of the K elements is the identity, which truly gave w. It bounds I from above
    (Jensen) for any unbiased estimate of q_G(w); here the K draws of r and the identity, weighted by the balance
    heuristic v(g) r(g) / (K r(g) + [g = e]) (Veach and Guibas 1995), so that a draw is never above log |G| + log(K + 1).
    Both tend to I as K grows, and neither stops at log K.
    """
    keys = jax.random.split(key, num_permutations + 1)
    log_v, log_r, same = jax.vmap(lambda k, one: _guided_weight(q, params, k, one))(
        keys, jnp.arange(num_permutations + 1) == 0
    )
    log_k = jnp.log(num_permutations)
    balanced = log_v + log_r - jnp.logaddexp(log_k + log_r, jnp.where(same, 0.0, -jnp.inf))
    base = q.log_prob(params)
    return base - (log_sum_exp(log_v[:-1], axis=0) - log_k), base - log_sum_exp(balanced, axis=0)


def pointwise(q: MeanField, params: dict, key, method: str, num_permutations: int):
    """One draw of what `method` averages over w, in nats; for "guided" a pair, the lower and the upper bound."""
    if method == "exact":
        return pointwise_exact(q, params)
    if method == "infonce":
        return pointwise_infonce(q, params, key, num_permutations)
    if method == "guided":
        return pointwise_guided(q, params, key, num_permutations)
    return pointwise_bethe(q, params)


def draws_at_once(symmetry, method: str) -> int:
    """How many draws of w to work on together: fewer where each needs n x n matrices."""
    size = max((g.size for g in symmetry.groups), default=1)
    return max(1, min(100, 10**6 // size**2)) if method in ("guided", "bethe") else 100


def _own_overlaps(q, group):
    """log BC and -KL between the own unit vectors of one layer."""
    loc, scale = (q.symmetry.own_units(p, group.name) for p in (q.loc, q.scale))
    return overlap_matrices(loc, scale, q.unit_lower(group.name), signed=q.symmetry.signed)


def pairwise_objective(q: MeanField, messages: dict | None = None, max_iter: int = 100):
    """The pairwise lower bound of I(g; w) as a function to train with: ``(value, messages)``; no sampling, zero variance.

    sum over layers of log n! - log perm(BC) (Kolchinsky and Tracey 2017, applied to the orbit of q). Beyond 8 units
    the upper bound of :mod:`symvi.permanents.entropy` stands for perm, so the value stays a lower bound of I. `messages` of an
    earlier call start the next one; give `max_iter` = a few rounds then.
    """
    total, after = 0.0, {}
    for group in q.symmetry.groups:
        log_bc, _ = _own_overlaps(q, group)
        total = total + math.lgamma(group.size + 1)
        if group.size <= SMALL:
            total = total - log_permanent(log_bc)
        else:
            found = entropy_bound(
                log_bc, start=None if messages is None else messages[group.name], max_iter=max_iter
            )
            total, after[group.name] = total - found.value, found.messages
    return total, after


@jax.jit
def pairwise_bounds(q: MeanField) -> tuple:
    """Certified ``(lower, upper)`` of I(g; w) in nats, without sampling.

    log n! - log perm(BC) <= I <= log n! - log perm(exp(-KL)), summed over layers: own unit vectors below, all weights
    of the units above (for unit-wise covariances before the last layer the trivial log n! stands above). Permanents
    are exact up to 16 units and otherwise bounded on the safe side.
    """
    symmetry, below, above = q.symmetry, 0.0, 0.0
    for index, group in enumerate(symmetry.groups):
        layer = math.lgamma(group.size + 1) + (group.size * math.log(2) if symmetry.signed else 0.0)
        log_bc, log_like = _own_overlaps(q, group)
        if index + 1 < len(symmetry.groups):  # the outgoing weights belong to the next layer
            mean_field = q.unit_lower(group.name) is None
            log_like = (
                overlap_matrices(
                    *(symmetry.units(p, group.name) for p in (q.loc, q.scale)),
                    signed=symmetry.signed,
                )[1]
                if mean_field
                else None
            )
        below = below + jnp.clip(
            math.lgamma(group.size + 1) - log_permanent_bounds(log_bc)[1], 0.0, layer
        )
        above = above + (
            layer
            if log_like is None
            else jnp.clip(
                math.lgamma(group.size + 1) - log_permanent_bounds(log_like)[0], 0.0, layer
            )
        )
    return below, above


@partial(jax.jit, static_argnames=("method", "num_samples", "num_permutations"))
def _pointwise(q, key, method, num_samples, num_permutations):
    k_weights, k_group = jax.random.split(key)
    w, keys = q.sample(k_weights, num_samples), jax.random.split(k_group, num_samples)
    return jax.lax.map(
        lambda v: pointwise(q, *v, method, num_permutations),
        (w, keys),
        batch_size=draws_at_once(q.symmetry, method),
    )


def check_one_layer(symmetry, name: str, value: str) -> None:
    """ValueError if `value` (of the argument `name`) needs one hidden layer and `symmetry` has another number."""
    if value == "bethe" and len(symmetry.groups) != 1:
        raise ValueError(
            f"{name}: expected one hidden layer for 'bethe' (q_G is one permanent only there), got {len(symmetry.groups)} unit groups; use {name}='guided' or 'pairwise'"
        )


def orbit_information(
    q, method: str = "exact", key=None, *, num_samples: int = 1000, num_permutations: int = 20
) -> Estimate | Bounds:
    """Estimate or bound I(g; w) of `q` and its symmetry group, in nats. Signed groups too.

    Parameters
    ----------
    q : MeanField, UnitNormal or Symmetrized
    method : str
        ``"exact"``: unbiased, kind "exact"; one hidden layer of at most 16 units, or |G| <= 50,000.
        ``"infonce"``: the lower bound of Gelberg et al. (2024), Theorem 4.3; any network; at most log K.
        ``"guided"``: lower and upper bound from K importance-weighted permutations; any width and depth.
        ``"pairwise"``: lower and upper bound without sampling (std_error 0); any width and depth.
        ``"bethe"``: an upper bound, at most n/2 log 2 above I; one hidden layer of any width.
    key : JAX key, optional
    num_samples : int
        Draws of w.
    num_permutations : int
        K of "infonce" (the identity included) and "guided".

    Returns
    -------
    Estimate or Bounds
        Bounds for "guided" and "pairwise".

    Raises
    ------
    ValueError
        Unknown method, K < 1, num_samples < 1, a group too large for "exact", several hidden layers for "bethe".
    """
    one_of("method", method, METHODS)
    num_samples = positive_int("num_samples", num_samples)
    num_permutations = positive_int("num_permutations", num_permutations)
    q = q.base if isinstance(q, Symmetrized) else q
    check_one_layer(q.symmetry, "method", method)
    if method == "pairwise":
        lower, upper = (float(v) for v in pairwise_bounds(q))
        return Bounds(Estimate(lower, 0.0, "lower"), Estimate(upper, 0.0, "upper"))
    key = jax.random.key(0) if key is None else key
    values = _pointwise(q, key, method, num_samples, num_permutations)
    if method == "guided":
        lower, upper = (
            from_samples(np.asarray(v), kind)
            for v, kind in zip(values, ("lower", "upper"), strict=True)
        )
        return Bounds(lower, upper)
    return from_samples(np.asarray(values), KINDS[method])
