r"""The exact method: log q_G by a permanent, or by the sum over the whole group.

The symmetrized posterior (Gelberg et al. 2024, equation 4) is

.. math:: q_G(w) = |G|^{-1} \sum_g q(g^{-1} w).

1. One hidden layer of n units. q gives each unit its own factor and the rest r of the weights
   another, so the sum over permutations is a matrix permanent: q_G(w) = r(w) perm(A) / n! with A_ij
   = q_i(u_j), the density of unit vector j under the posterior of unit i.
2. With sign flips, the mean over the signs of u_j goes into the entry: A_ij = (q_i(u_j) +
   q_i(-u_j)) / 2.
3. Several hidden layers: no such form is known, and the |G| terms are summed one by one.

The mean over q of log q(w) - log q_G(w) is I(g; w), without bias (Theorem 4.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
from jaxtyping import Array, Float

from symvi.arrays import log_sum_exp
from symvi.checks import expected
from symvi.information.method import Method
from symvi.permanents import MAX_EXACT, log_permanent
from symvi.posteriors.mean_field import MeanField, log_unit_densities
from symvi.symmetry import Symmetry

MAX_SUMMED = 50_000  # largest group summed element by element


def is_permanent(symmetry: Symmetry) -> bool:
    """Whether q_G is one permanent that can be computed exactly."""
    if len(symmetry.groups) != 1 or not symmetry.factorises:
        return False
    return symmetry.groups[0].size <= MAX_EXACT


def check_exact(symmetry: Symmetry, argument: str) -> None:
    """ValueError about `argument` for a group beyond a permanent or the sum over its elements."""
    if is_permanent(symmetry) or symmetry.log_order <= math.log(MAX_SUMMED):
        return
    widths = [group.size for group in symmetry.groups]
    wanted = f"one hidden layer of n <= {MAX_EXACT} units or |G| <= {MAX_SUMMED} for 'exact'"
    got = f"widths {widths} (log |G| = {symmetry.log_order:.1f} nats)"
    other = "pairwise" if symmetry.factorises else "infonce"
    raise expected(argument, wanted, got, f"use {argument}={other!r}")


def log_symmetrized(q: MeanField, params: dict) -> Float[Array, ""]:
    """log q_G(w) in nats for one set of weights, exactly (equation 4).

    By permanent for one hidden layer of at most 16 units, by the sum over all elements for |G| <=
    50,000. Raises ValueError beyond that.
    """
    check_exact(q.symmetry, "method")
    if is_permanent(q.symmetry):
        (group,) = q.symmetry.groups
        log_perm = log_permanent(log_unit_densities(q, params))
        return log_perm - math.lgamma(group.size + 1) + q.rest_log_prob(params)
    return _by_sum(q, params)


def _by_sum(q, params):
    """G is a group: summing over g or over its inverse is the same."""
    symmetry = q.symmetry

    def copy(g):
        return q.log_prob(symmetry.act(g, params))

    copies = jax.vmap(copy, axis_size=symmetry.order)(symmetry.elements())
    return log_sum_exp(copies, axis=0) - symmetry.log_order


def pointwise_exact(q: MeanField, params: dict) -> Float[Array, ""]:
    """log q(w) - log q_G(w) in nats for one draw w of q; its mean over q is I(g; w)."""
    return q.log_prob(params) - log_symmetrized(q, params)


@dataclass(frozen=True)
class Exact(Method):
    """I(g; w) without bias. One hidden layer of at most 16 units, or |G| <= 50,000."""

    name: ClassVar[str] = "exact"
    kind: ClassVar[str] = "exact"

    def check(self, symmetry: Symmetry, argument: str) -> None:
        """ValueError for a group beyond one permanent or the sum over its elements."""
        check_exact(symmetry, argument)

    def pointwise(self, q: MeanField, params: dict, key):
        """log q(w) - log q_G(w), in nats."""
        return pointwise_exact(q, params)

    def log_density(self, q: MeanField, params: dict):
        """log q_G(w), in nats."""
        return log_symmetrized(q, params)
